"""The commands: options, `--test`, `--rejects`, and `target-activecampaign-ledger`.

In: the command line. Out: text for people, JSON for programs, exit codes.
No other package imports this one.
"""
