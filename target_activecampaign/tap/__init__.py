"""The way back: a Singer tap for what ActiveCampaign knows about consent.

`TapActiveCampaignConsent` reads opt-outs, bounces and the exclusion list of the account that the
target loads, and writes nothing to it. Its command is `cli.tap`.
"""
