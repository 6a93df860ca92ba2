"""The Singer input: messages, batch files, schemas, stream maps.

In: bytes from a tap. Out: records, each with its place in the input.
It does not know ActiveCampaign.
"""
