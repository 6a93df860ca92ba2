"""Records to contacts: which property goes where, and in which form.

In: a stream's schema, its settings, the account's fields. Out: a function, record to contact.
It knows nothing of the ledger or of delivery.
"""
