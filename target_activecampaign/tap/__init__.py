"""A Singer tap that reads opt-outs, bounces and the exclusion list of an account.

`TapActiveCampaignConsent` reads the account that the target loads, and writes nothing to it. Its
command is `cli.tap`.
"""
