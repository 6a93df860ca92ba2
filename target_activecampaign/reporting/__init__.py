"""What people are told of a run: progress, report, page, webhook.

In: counts and samples. Out: files, log lines, one request to a webhook.
It knows nothing of how records are delivered.
"""
