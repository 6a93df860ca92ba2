"""The sync: it makes contacts of records, compares them with the ledger, and plans removals.

In: records of the tap, many at a time. Out: contacts to send and to remove, and the outcomes of
records that need no delivery. It does not know how imports are sent.
"""
