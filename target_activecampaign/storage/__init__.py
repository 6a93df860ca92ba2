"""Files for their owner alone, and SQLite files that may be damaged or another program's.

In: paths. Out: open files, and reasons why one can't be used.
It knows nothing of what the files hold.
"""
