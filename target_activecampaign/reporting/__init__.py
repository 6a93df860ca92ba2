"""Reporting: progress, report, page and webhook.

In: counts and samples. Out: files, log lines, one request to a webhook.
It does not know how records are delivered.
"""
