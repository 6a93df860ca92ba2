"""The account's rate limits, kept by the threads of one process or shared by several.

In: requests that wait. Out: slots, each held until its answer has come.
It knows nothing of what is requested.
"""
