"""Records to contacts, contacts compared with the ledger, and removals from lists.

In: records of the tap, many at a time. Out: contacts to send and to remove; each other record's
outcome. It decides; it knows nothing of requests and their answers.
"""
