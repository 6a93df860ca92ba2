"""The account at the other end: connected once a run, its lists and fields read once.

In: the settings. Out: a client, lists and fields.
It also starts the embedded sandbox, as a process of its own.
"""
