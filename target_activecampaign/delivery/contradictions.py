"""Contradictions in ActiveCampaign's answers: counted for the report, and the first ones logged."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("target-activecampaign")

_LOGGED_OF_A_KIND = 5
"""Limit of logged contradictions per kind. The report counts all."""


class Contradictions:
    """The contradictory answers of a run. They confirm and reject no contact."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, kind: str, text: str) -> None:
        """Count a contradiction.

        Args:
            kind: Its kind, as in the report.
            text: Its description, a sentence without a value of a record.
        """
        self._counts[kind] += 1
        self._first.setdefault(kind, text)
        if self._counts[kind] <= _LOGGED_OF_A_KIND:
            logger.warning("%s", text)

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the contradictions by kind, for the report."""
        return [
            {"kind": kind, "times": times, "first": self._first[kind]}
            for kind, times in sorted(self._counts.items())
        ]

    def accounts_for_all(
        self,
        *,
        sent: int,
        queued: int | None,
        failed: int,
        dropped: int,
        ids: Sequence[str],
        is_doubtful: bool,
    ) -> bool:
        """Return whether the answers to a completed import agree about each of its contacts.

        Args:
            sent: Contacts in the import.
            queued: Contacts that were queued; None if the answer doesn't say.
            failed: Addresses that are listed as failed.
            dropped: Contacts in the import whose address is among these.
            ids: Contact ids that are listed as created.
            is_doubtful: Whether the answers may be about another import.
        """
        agrees = queued is not None and not is_doubtful
        if queued is not None and sent - queued > dropped:
            self.add(
                "QUEUED_FEWER",
                f"An import of {sent} contacts: {queued} were queued, {dropped} are listed as "
                "failed.",
            )
            agrees = False
        if failed > dropped:
            self.add(
                "FAILURE_UNKNOWN",
                f"The result of an import of {sent} contacts has {failed - dropped} failed "
                "addresses that the import did not have.",
            )
            agrees = False
        if len(ids) > sent:
            self.add("SUCCESS_MORE", f"An import of {sent} contacts lists {len(ids)} as created.")
            agrees = False
        elif len(set(ids)) < len(ids) or not all(map(str.isdecimal, ids)):
            self.add("SUCCESS_ODD", f"An import of {sent} contacts lists impossible contact ids.")
        return agrees
