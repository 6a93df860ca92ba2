"""A local ActiveCampaign: the API v3 as far as a list is loaded with it, in one process and file.

Start it with ``activecampaign-sandbox`` or ``python -m target_activecampaign.sandbox``. It
imports nothing from the rest of the package: what a client and this server agree on is the API.
"""
