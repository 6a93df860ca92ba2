"""A local ActiveCampaign: the parts of API v3 that load contacts, in one process and one file.

Start it with ``activecampaign-sandbox`` or ``python -m activecampaign_sandbox``. It shares no code
with the target: the only thing that both have in common is the API.

Behaviour is marked by its source: [doc] documented, [rec] recorded from a real account, [rep]
reported by others; "unverified" is a guess.
"""
