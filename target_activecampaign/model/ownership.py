"""Ownership of a list membership: who brought it about, and how it ended."""

from __future__ import annotations

from enum import IntEnum


class Ownership(IntEnum):
    """Ownership of a contact's membership in a segment. The ledger stores the numbers."""

    UNTRACKED = 0
    """Delivered. Nobody checked if the contact was on the list before."""
    ADDED_BY_US = 1
    """On the list; it was not before we added it."""
    PRE_EXISTING = 2
    """On the list without us: it was there before, or subscribed on its own."""
    UNSUBSCRIBED_BY_US = 3
    """Was added by us and active; we unsubscribed it."""
    OPTED_OUT = 4
    """Was added by us; unsubscribed on its own or by somebody else."""
    LEFT_STREAM = 5
    """Missing from the stream; its list membership was not changed."""
    UNCERTAIN = 6
    """Perhaps added by us: the response to that import was lost."""
    WITHHELD = 7
    """Delivered without the list, as the person may not be subscribed."""


CURRENT = (
    Ownership.UNTRACKED,
    Ownership.ADDED_BY_US,
    Ownership.PRE_EXISTING,
    Ownership.UNCERTAIN,
)
"""Ownership of contacts that are in the stream, as far as the ledger knows."""
