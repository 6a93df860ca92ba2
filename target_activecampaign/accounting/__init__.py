"""The end of each record: counted once, refused ones kept, STATE set free.

In: outcomes. Out: counts, reject files, STATE lines.
It knows nothing of what decided them.
"""
