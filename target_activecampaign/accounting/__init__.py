"""The outcomes of records: counted once each, written to reject files, and STATE released.

In: outcomes. Out: counts, reject files, STATE lines.
It knows nothing of what decided the outcomes.
"""
