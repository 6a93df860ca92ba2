"""Contacts posted in imports, confirmed by polling, and settled.

In: contacts to send. Out: outcomes for the accounting, marks for the ledger.
It knows nothing of streams, mappings or reports.
"""
