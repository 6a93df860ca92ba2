"""A run that sends nothing: its client, its copy of the ledger, and what it would change.

In: the settings of a run with `dry_run`. Out: what the report says of the preview.
It knows nothing of how records are read.
"""
