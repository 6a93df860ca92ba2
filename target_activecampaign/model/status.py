"""A contact's status on a list, as the API numbers it [doc]."""

ACTIVE, UNSUBSCRIBED, BOUNCED = 1, 2, 3
