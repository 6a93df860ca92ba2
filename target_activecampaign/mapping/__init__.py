"""The mapping of records to contacts: the destination of each property, and the form of its values.

In: a stream's schema, its settings, the account's fields. Out: a `StreamMapping`, which converts
records to contacts. It does not know the ledger or the delivery. Modules in their order: `catalog`
finds fields; `explicit` and `automatic` map properties for `resolver`; `compiler` makes a `mapping`
of that, whose `steps` convert values.
"""
