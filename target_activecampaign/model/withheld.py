"""The reasons for which a record is withheld: nothing of its person may be sent to the list."""

from __future__ import annotations

from enum import IntEnum


class WithheldReason(IntEnum):
    """A reason for which a record is withheld.

    The ledger stores the numbers. The names are codes of `CODES`.
    """

    NO_CONSENT = 1
    """The record says that its person has not consented."""
    CONSENT_UNKNOWN = 2
    """The record does not say whether its person has consented."""
    SUPPRESSED = 3
    """The person is suppressed."""
