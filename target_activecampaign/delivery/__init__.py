"""Contacts posted in imports, confirmed by questions, and settled.

In: contacts that are to be sent. Out: outcomes for the accounting, marks for the ledger.
It knows nothing of streams, mappings or reports.
"""
