"""Imports that an interrupted run left in flight: checked before anything is posted."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_activecampaign.delivery.contradictions import Contradictions
    from target_activecampaign.delivery.polling import ImportPoller, PendingImport
    from target_activecampaign.ledger import Ledger

logger = logging.getLogger("target-activecampaign")


class InterruptedImports:
    """The imports of interrupted runs whose result is unknown.

    Args:
        ledger: The ledger.
        contradictions: Counts contradictory answers.
    """

    def __init__(self, ledger: Ledger, contradictions: Contradictions) -> None:
        self._ledger = ledger
        self._contradictions = contradictions
        self._unchecked: int | None = None
        self._done_or_failed = threading.Event()

    @property
    def count(self) -> int:
        """Number of imports not checked yet; 0 before it is known."""
        return self._unchecked or 0

    @property
    def is_checked(self) -> bool:
        """True once all are checked, so that imports may be posted."""
        return self._unchecked == 0

    def wait(self) -> None:
        """Wait until all are checked, or the delivery has failed."""
        self._done_or_failed.wait()

    def stop_waiting(self) -> None:
        """End all waiting, as the delivery has failed."""
        self._done_or_failed.set()

    def check(self, poller: ImportPoller) -> None:
        """Start to poll each of them."""
        imports = self._ledger.journal.leftovers()
        asked = 0
        for one in imports:
            if one.batch_id is None or poller.knows(one.batch_id):
                # It is unknown whether it was accepted, so its contacts are sent again.
                self._ledger.journal.mark_lost(one.id)
            else:
                poller.add(one.id, one.batch_id, None)
                asked += 1
        self._unchecked = asked
        count = sum(1 for one in imports if one.batch_id is not None)
        if count:
            logger.info(
                "The previous run was interrupted with %d imports in flight; checking them first.",
                count,
            )
        self._note_checked(0)

    def settle(self, pending: PendingImport, failed: set[str]) -> None:
        """Store the result of a completed import. Only hashes of its contacts are known.

        Args:
            pending: The import.
            failed: The addresses that it lists as failed.
        """
        journal = self._ledger.journal
        dropped = {self._ledger.contact_hash(key) for key in failed}
        is_certain = not pending.is_doubtful
        if not dropped <= journal.contacts(pending.number):
            is_certain = False
            self._contradictions.add(
                "FAILURE_UNKNOWN",
                "An import of the previous run lists addresses as failed that it did not have. Its "
                "contacts are sent again.",
            )
        if is_certain:
            self._ledger.contact_index.add_created(journal.confirm(pending.number, dropped))
        else:
            journal.mark_lost(pending.number)
        self._note_checked()

    def drop(self, pending: PendingImport) -> None:
        """Delete a failed import from the ledger."""
        self._ledger.journal.discard(pending.number)
        self._note_checked()

    def _note_checked(self, count: int = 1) -> None:
        self._unchecked = (self._unchecked or 0) - count
        if not self._unchecked:
            self._done_or_failed.set()
