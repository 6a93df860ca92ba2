"""Private files, SQLite files that may be damaged or another program's, and standard output.

In: paths and texts. Out: open files, and reasons why one can't be used.
It knows nothing of what the files hold.
"""
