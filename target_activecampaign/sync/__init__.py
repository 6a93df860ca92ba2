"""What is sent, what is not, and what leaves a list: each stream held against the ledger.

In: records and their streams. Out: contacts for the delivery, outcomes for the accounting.
It knows nothing of HTTP, reports or the command line.
"""
