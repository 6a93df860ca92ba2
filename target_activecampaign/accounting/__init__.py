"""The accounting of records: it counts outcomes, writes reject files, and releases STATE.

In: outcomes. Out: counts, reject files, STATE lines.
It does not know how outcomes are decided.
"""
