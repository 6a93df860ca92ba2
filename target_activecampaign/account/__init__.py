"""The ActiveCampaign account: connected once per run, with its lists and fields.

In: the settings. Out: a client, lists and fields.
It also starts the embedded sandbox in a process of its own.
"""
