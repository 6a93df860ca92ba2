"""The account's rate limits, for the threads of one process or for several processes.

In: requests that wait. Out: slots, each held until its answer is there.
It does not know the content of requests.
"""
