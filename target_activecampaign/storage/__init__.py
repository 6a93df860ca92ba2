"""Private files, checks of SQLite files, and standard output.

In: paths and texts. Out: open files, and reasons why a file can't be used.
It does not know the content of the files.
"""
