"""The delivery: it posts contacts in imports, polls them, and records outcomes.

In: contacts to send. Out: outcomes for the accounting, updates for the ledger.
It does not know streams, mappings or reports.
"""
