"""Previews: a run that sends nothing, with its client, its copy of the ledger and its findings.

In: the settings of a run with `dry_run`. Out: the preview section of the report.
It does not know how records are read.
"""
