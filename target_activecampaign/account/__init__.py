"""The ActiveCampaign account: its connection, lists and fields, for one run.

In: the settings. Out: a client, lists and fields.
It also starts the embedded sandbox in a process of its own.
"""
