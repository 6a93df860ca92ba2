"""The mapping of records to contacts: the destination of each property, and the form of its values.

In: a stream's schema, its settings, the account's fields. Out: a `StreamMapping`, which converts
records to contacts. It does not know the ledger or the delivery.

The way of a stream: `compiler` plans; `resolver` finds destinations, by `explicit` (settings) and
`automatic` (names), in the `catalog` of fields; `mapping` converts records, by its `steps`.
"""
