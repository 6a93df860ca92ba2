"""The mapping of records to contacts: the destination of each property, and the form of its values.

In: a stream's schema, its settings, the account's fields. Out: a `StreamMapping`, which converts
records to contacts. It does not know the ledger or the delivery.

`compiler` makes the mapping of a stream. `resolver` finds the destinations, through `explicit` (by
settings) and `automatic` (by name), in the `catalog` of fields. `mapping` converts records by
`steps`.
"""
