"""Imports that an interrupted run left in flight: checked before anything is posted."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from target_activecampaign.outcomes.rows import ImportFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.delivery.contradictions import Contradictions
    from target_activecampaign.delivery.dispatcher import Dispatcher, Failable
    from target_activecampaign.delivery.lost_answers import LostAnswers
    from target_activecampaign.delivery.polling import ImportPoller, PendingImport
    from target_activecampaign.ledger import Clock, Ledger, LeftoverImport

logger = logging.getLogger("target-activecampaign")


class InterruptedImports:
    """The imports of interrupted runs whose result is unknown.

    Args:
        clock: ActiveCampaign's clock.
        accounting: Stores the rows of outcomes.
        ledger: The ledger.
        contradictions: Counts contradictory answers.
        lost_answers: Finds out if an import without a batch id has arrived.
        dispatcher: Its pool `post` waits for that: nothing is posted meanwhile.
        delivery: Is ended by an error.
    """

    def __init__(
        self,
        clock: Clock,
        accounting: RecordAccounting,
        ledger: Ledger,
        contradictions: Contradictions,
        *,
        lost_answers: LostAnswers,
        dispatcher: Dispatcher,
        delivery: Failable,
    ) -> None:
        self._clock = clock
        self._accounting = accounting
        self._ledger = ledger
        self._contradictions = contradictions
        self._lost_answers = lost_answers
        self._dispatcher = dispatcher
        self._delivery = delivery
        self._unchecked: int | None = None
        self._done_or_failed = threading.Event()
        # Contacts of imports that have arrived, perhaps without some of them: the time when the
        # import was posted, and the contact's digests by segment.
        self._arrived: dict[bytes, tuple[float, dict[int, bytes]]] = {}

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
        """Start to check each of them."""
        journal = self._ledger.journal
        polled = 0
        asked: list[LeftoverImport] = []
        for one in journal.leftovers():
            if one.batch_id is not None and not poller.knows(one.batch_id):
                poller.add(one.id, one.batch_id, None)
                polled += 1
            elif one.probes:
                asked.append(one)
            else:
                # Nothing shows if it was accepted, so its contacts are sent again.
                journal.mark_lost(one.id)
        self._unchecked = polled + len(asked)
        if self._unchecked:
            logger.info(
                "The previous run was interrupted with %d imports in flight; checking them first.",
                self._unchecked,
            )
        self._read_arrived()
        for one in asked:
            self._ask(one)
        self._note_checked(0)

    def _ask(self, one: LeftoverImport) -> None:
        """Find out if an import without a batch id has arrived."""

        def found(has_arrived: bool | None, error: Exception | None) -> None:
            if error is not None:
                self._delivery.fail(error)
                return
            if has_arrived:
                self._keep_arrived(one.id)
            else:
                self._ledger.journal.mark_lost(one.id)
            self._note_checked()

        self._dispatcher.call(
            "post", lambda: self._lost_answers.has_arrived(one.probes, one.posted), found
        )

    def _keep_arrived(self, number: int) -> None:
        """Store that an import has arrived, but perhaps without some of its contacts."""
        self._ledger.journal.mark_arrived(number)
        self._read_arrived()

    def _read_arrived(self) -> None:
        for posted, contacts in self._ledger.journal.arrived():
            for contact, updates in contacts:
                # A removal has no digest: the ledger knows by itself which ones are uncertain.
                digests = {one.segment: one.digest for one in updates if one.digest is not None}
                self._arrived[contact] = posted, digests

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
                "The result of an import of the previous run has failed addresses that the import "
                "did not have. Its contacts are looked up, and sent again unless they have "
                "arrived.",
            )
        if is_certain:
            self._write_rows(pending.number, pending.batch_id, dropped)
            self._ledger.contact_index.add_created(journal.confirm(pending.number, dropped))
        else:
            self._keep_arrived(pending.number)
        self._note_checked()

    def _write_rows(self, number: int, batch_id: str | None, dropped: set[bytes]) -> None:
        """Store the rows of outcomes of an import's contacts that have arrived.

        Call it before the journal forgets the import, in case of a kill.
        """
        if self._accounting.rows is None:
            return
        posted, outcomes = self._ledger.journal.outcomes(number)
        rows = [row for contact, some in outcomes if contact not in dropped for row in some]
        facts = ImportFacts(batch_id, posted, max(posted, self._clock.server_time()))
        self._accounting.rows.write_recovered(rows, facts)

    def drop(self, pending: PendingImport) -> None:
        """Delete a failed import from the ledger."""
        self._ledger.journal.discard(pending.number)
        self._note_checked()

    @property
    def has_arrived_contacts(self) -> bool:
        """True if there are contacts that may have arrived."""
        return bool(self._arrived)

    def take_arrived(self, entries: Sequence[Entry]) -> tuple[float, list[Entry]]:
        """Return those contacts that may have arrived: they were in an import that has.

        A contact is returned once: if it is found not to have arrived, it is sent.

        Returns:
            The time when the first of their imports was posted, and the contacts.
        """
        found: list[Entry] = []
        since: list[float] = []
        for entry in entries if self._arrived else ():
            posted, digests = self._arrived.pop(entry.contact_hash, (0.0, {}))
            sent = {number: mark.digest for number, mark in entry.marks.items()}
            # With another digest, it has other values now.
            if sent and sent.items() <= digests.items():
                found.append(entry)
                since.append(posted)
        return min(since, default=0.0), found

    def _note_checked(self, count: int = 1) -> None:
        self._unchecked = (self._unchecked or 0) - count
        if not self._unchecked:
            self._done_or_failed.set()
