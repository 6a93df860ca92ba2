"""Batches in flight: posted, confirmed, settled; tried again, taken apart, at last refused.

One thread, the dispatcher, owns all batches and decides; two small pools wait for
ActiveCampaign's answers and report back to it. So nothing here needs a lock but the count
of contacts under way, on which the reading thread waits.

A batch is posted (accepted?), then asked about until its import is completed (imported?).
Posting and asking have pools of their own: an import may wait long for its turn in the
account's limit, and no confirmation should wait behind it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_activecampaign.account import QUESTIONS_AT_ONCE
from target_activecampaign.activecampaign import (
    ActiveCampaignError,
    ImportRefused,
    InvalidRequest,
    LimitReached,
    NotFound,
)
from target_activecampaign.activecampaign.shared_budget import BudgetUnavailable
from target_activecampaign.contact import person_key
from target_activecampaign.diagnosis import Diagnosis
from target_activecampaign.dispatcher import Dispatcher
from target_activecampaign.ledger import LedgerError
from target_activecampaign.privacy import where_it_failed
from target_activecampaign.suspects import IndexBase, Suspects

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.activecampaign import Accepted, Client, ImportStatus
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.packer import Batch, Entry
    from target_activecampaign.settlement import Settlement

logger = logging.getLogger("target-activecampaign")

_MAX_CONTACTS_UNDER_WAY = 16_000
_MAX_BYTES_UNDER_WAY = 48 * 1024 * 1024
_ATTEMPTS = 2
_HOPELESS_REFUSALS = 40
"""So many imports refused with none accepted between: a bad contact in each is not the reason."""
_HOPELESS_IMPORTS = 20
"""So many imports accepted and come to nothing, with none completed between: likewise."""
_FIRST_LATENCY_SECONDS = 0.5
_MIN_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 15.0
_UNKNOWN_GRACE_SECONDS = 10.0


class DeliveryError(Exception):
    """The delivery ended before everything was settled. Its cause is the reason."""


class QueueBrokenError(Exception):
    """ActiveCampaign's import queue fails whatever it is given."""


def _told(error: Exception) -> str:
    """What may be said of an error: of an unforeseen one only where, its text may quote a value."""
    if isinstance(error, (ActiveCampaignError, BudgetUnavailable, LedgerError, QueueBrokenError)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__} ({error.filename or 'no file'})."
    return f"An unforeseen {type(error).__name__} ended the delivery:\n{where_it_failed(error)}"


@dataclass(slots=True)
class _Flight:
    """An import that ActiveCampaign has accepted.

    Attributes:
        number: Its number in the ledger.
        batch: Its contacts; None for one that an earlier run left behind.
    """

    number: int
    batch_id: str
    batch: Batch | None
    since: float
    questions: int = 0


class Delivery:
    """Delivers batches in the order in which they come, several at once.

    The same person is never in two imports under way: a batch with a person of an earlier
    one waits until that is settled, and later batches pass it by.

    Args:
        client: Where to.
        settlement: What is told of each contact's end.
        ledger: What is told of each import before and after it is posted.
        on_settled: Called on the dispatcher after contacts were settled.
        import_timeout: Seconds from accepted to confirmed after which an import is tried again.
        max_in_flight: Imports being posted at once.
        diagnose_limit: Refused contacts whose reason is asked for.
        max_contacts: Contacts under way, above which `submit` blocks: it bounds the memory.
    """

    def __init__(
        self,
        client: Client,
        settlement: Settlement,
        ledger: Ledger,
        *,
        on_settled: Callable[[], None],
        import_timeout: float,
        max_in_flight: int = 8,
        diagnose_limit: int = 100,
        max_contacts: int = _MAX_CONTACTS_UNDER_WAY,
    ) -> None:
        self._client = client
        self._settlement = settlement
        self._ledger = ledger
        self._on_settled = on_settled
        self._import_timeout = import_timeout
        self._max_in_flight = max_in_flight
        self._diagnosis = Diagnosis(client, diagnose_limit)
        self._max_contacts = max_contacts
        self._waiting: deque[Batch] = deque()
        self._posting = 0
        self._busy: set[str] = set()
        self._recovering = 0
        self._latency = _FIRST_LATENCY_SECONDS
        self._base = IndexBase()
        self._refusals_in_vain = 0
        self._imports_in_vain = 0
        self._room = threading.Condition()
        self._under_way = 0
        self._bytes_under_way = 0
        self._failure: Exception | None = None
        self.imports = 0
        self._dispatcher = Dispatcher(
            pools={"post": max_in_flight, "ask": QUESTIONS_AT_ONCE},
            after=self._post_waiting,
            failed=self._fail,
        )
        self._dispatcher.do(self._recover)

    # What the reading thread calls

    def submit(self, batch: Batch) -> None:
        """Take a batch to deliver; blocks while too many contacts are under way.

        Raises:
            DeliveryError: The delivery has failed.
        """
        count, size = len(batch.entries), sum(entry.weight for entry in batch.entries)
        with self._room:
            self._room.wait_for(lambda: self._failure or self._has_room(count, size))
            self.check()
            self._under_way += count
            self._bytes_under_way += size
        self._dispatcher.do(lambda: self._waiting.append(batch))

    def _has_room(self, count: int, size: int) -> bool:
        return not self._under_way or (
            self._under_way + count <= self._max_contacts
            and self._bytes_under_way + size <= _MAX_BYTES_UNDER_WAY
        )

    def check(self) -> None:
        """See whether all is well.

        Raises:
            DeliveryError: The delivery has failed.
        """
        if self._failure is not None:
            raise DeliveryError(_told(self._failure)) from self._failure

    def wait(self) -> None:
        """Wait until all batches are settled.

        Raises:
            DeliveryError: The delivery has failed; what ActiveCampaign had accepted by then
                has been asked about and settled as far as it answered.
        """
        with self._room:
            self._room.wait_for(lambda: self._failure or not self._under_way)
        if self._failure is not None:
            self._dispatcher.finish()
        self.check()

    def close(self) -> None:
        """End the threads. What is not settled stays so."""
        self._client.close()
        self._dispatcher.close()

    def _fail(self, error: Exception) -> None:
        """Nothing more is posted; what was accepted is still asked about."""
        with self._room:
            self._failure = self._failure or error
            self._waiting.clear()
            self._room.notify_all()

    # What an earlier run left in flight

    def _recover(self) -> None:
        """Ask about leftovers; nothing is posted before it is known what became of them."""
        for leftover in self._ledger.leftovers():
            if leftover.batch_id is None:
                # It may have been accepted; as nobody can tell, its contacts are sent again.
                self._ledger.dropped(leftover.id)
            else:
                self._recovering += 1
                self._fly(leftover.id, leftover.batch_id, None)
        if self._recovering:
            logger.info(
                "An earlier run was cut off with %d imports in flight: asking what became of "
                "them first.",
                self._recovering,
            )

    # Posting: is it accepted?

    def _post_waiting(self) -> None:
        """Post what may go: in order, past those that have a person under way."""
        if self._failure is not None:
            self._waiting.clear()
        if self._recovering:
            return
        held: set[str] = set()
        passed: list[Batch] = []
        while self._waiting and self._posting < self._max_in_flight:
            batch = self._waiting.popleft()
            keys = batch.keys
            if keys.isdisjoint(self._busy) and keys.isdisjoint(held):
                self._busy |= keys
                self._start(batch)
            else:
                held |= keys
                passed.append(batch)
        self._waiting.extendleft(reversed(passed))

    def _start(self, batch: Batch) -> None:
        """Post a batch, but for contacts that are known to have arrived just as they are."""
        entries, arrived = self._ledger.undelivered(batch.entries)
        for entry in arrived:
            self._confirm(entry)
        if entries:
            self._send(batch.of(entries))
        if arrived:
            self._on_settled()

    def _send(self, batch: Batch) -> None:
        """Post a batch whose people are marked as under way."""
        if self._failure is not None:
            return
        number = self._ledger.posting(batch.entries)
        self._posting += 1
        body, count = batch.body(), len(batch.entries)

        def done(accepted: Accepted | None, error: Exception | None) -> None:
            self._posting -= 1
            if accepted is not None:
                self.imports += 1
                self._refusals_in_vain = 0
                self._ledger.accepted(number, accepted.batch_id)
                self._fly(number, accepted.batch_id, batch)
            elif isinstance(error, LimitReached):
                # Others use the account's limit up; nothing was queued, so wait on.
                self._ledger.dropped(number)
                self._send(batch)
            elif isinstance(error, (ImportRefused, InvalidRequest)):
                self._ledger.dropped(number)
                self._refused(batch, error)
            elif error is not None:
                self._fail(error)

        self._dispatcher.call("post", lambda: self._client.import_contacts(body, count), done)

    def _refused(self, batch: Batch, refusal: ImportRefused | InvalidRequest) -> None:
        """An import was refused whole: find the contacts that are meant, and send the others."""
        named = refusal.contacts if isinstance(refusal, ImportRefused) else []
        suspects = Suspects(batch.entries, named, self._base)
        if suspects.guilty:
            for entry, reason in suspects.guilty:
                self._refuse(entry, "REFUSED_BY_IMPORT", reason)
            if suspects.others:
                self._send(batch.of(suspects.others))
        elif suspects.reordered is not None and not batch.reordered:
            # Which of two was meant is not known yet: ask again with the two far apart.
            again = batch.of(suspects.reordered)
            again.reordered = True
            self._send(again)
        else:
            self._refusals_in_vain += 1
            self._halve(batch, "REFUSED_BY_IMPORT", "The import was refused whole.")

    def _halve(self, batch: Batch, code: str, reason: str) -> None:
        """An import can't be had as a whole: try its halves, refuse what fails alone."""
        in_vain = max(self._refusals_in_vain, self._imports_in_vain)
        if self._refusals_in_vain > _HOPELESS_REFUSALS or self._imports_in_vain > _HOPELESS_IMPORTS:
            self._fail(
                QueueBrokenError(
                    f"ActiveCampaign has let {in_vain} imports in a row come to nothing ({code}). "
                    "That is not for their contacts, so none of them is refused: see "
                    "status.activecampaign.com, then run again; what is not settled is sent again."
                )
            )
        elif len(batch.entries) == 1:
            self._refuse(batch.entries[0], code, reason)
        else:
            middle = len(batch.entries) // 2
            self._send(batch.of(batch.entries[:middle]))
            self._send(batch.of(batch.entries[middle:]))

    # Asking: is it imported?

    def _fly(self, number: int, batch_id: str, batch: Batch | None) -> None:
        flight = _Flight(number, batch_id, batch, time.monotonic())
        self._dispatcher.expect()
        self._dispatcher.later(self._latency, lambda: self._ask(flight))

    def _ask(self, flight: _Flight) -> None:
        flight.questions += 1
        self._dispatcher.call(
            "ask",
            lambda: self._client.import_status(flight.batch_id),
            lambda status, error: self._answered(flight, status, error),
        )

    def _answered(
        self, flight: _Flight, status: ImportStatus | None, error: Exception | None
    ) -> None:
        waited = time.monotonic() - flight.since
        unknown = isinstance(error, (NotFound, InvalidRequest))
        if status is not None and status.done:
            self._learn_latency(flight, waited)
            self._imported(flight, status)
        elif status is not None and status.broken:
            self._came_to_nothing(flight, "IMPORT_FAILED", f"It ended as '{status.status}'.")
        elif unknown and waited > min(_UNKNOWN_GRACE_SECONDS, self._import_timeout):
            self._came_to_nothing(flight, "IMPORT_LOST", "ActiveCampaign knows it no more.")
        elif error is not None and not unknown:
            self._dispatcher.fulfil()
            self._fail(error)
        elif waited > self._import_timeout:
            self._came_to_nothing(flight, "IMPORT_TIMEOUT", "It was not confirmed in time.")
        else:
            pause = min(max(_MIN_PAUSE_SECONDS, waited * 0.3), _MAX_PAUSE_SECONDS)
            self._dispatcher.later(pause, lambda: self._ask(flight))

    def _learn_latency(self, flight: _Flight, waited: float) -> None:
        """Find the time after which most imports are done, so that few are asked about twice."""
        if flight.questions == 1:
            self._latency = max(_MIN_PAUSE_SECONDS, 0.8 * self._latency)
        else:
            self._latency += 0.5 * (min(waited, _MAX_PAUSE_SECONDS) - self._latency)

    def _came_to_nothing(self, flight: _Flight, code: str, reason: str) -> None:
        """An import ended without importing: to import the same again is harmless, so do."""
        self._dispatcher.fulfil()
        self._ledger.dropped(flight.number)
        batch = flight.batch
        if batch is None:
            self._recovering -= 1
            return
        self._imports_in_vain += 1
        batch.attempts += 1
        if batch.attempts < _ATTEMPTS:
            logger.warning("An import came to nothing (%s). Sending it again.", code)
            self._send(batch)
        else:
            self._halve(batch, code, reason)

    def _imported(self, flight: _Flight, status: ImportStatus) -> None:
        self._dispatcher.fulfil()
        self._ledger.imported(flight.number, status.failed)
        batch = flight.batch
        if batch is None:
            self._recovering -= 1
            return
        self._imports_in_vain = 0
        failed = {person_key(address) for address in status.failed}
        dropped = [entry for entry in batch.entries if entry.key in failed]
        for entry in batch.entries:
            if entry.key not in failed:
                self._confirm(entry)
        if len(dropped) < len(failed):
            logger.warning(
                "ActiveCampaign named %d addresses as failed that its import did not have.",
                len(failed) - len(dropped),
            )
        full = self._diagnosis.seems_full(len(dropped), len(status.succeeded))
        for entry in dropped:
            self._look_into(entry, full=full)
        self._on_settled()

    def _look_into(self, entry: Entry, *, full: bool) -> None:
        """Refuse a contact that the queue has dropped, with the reason if it can be had."""
        if not self._diagnosis.may_ask():
            self._refuse(entry, *self._diagnosis.unknown)
            return

        def found(reason: tuple[str, str] | None, error: Exception | None) -> None:
            self._dispatcher.fulfil()
            if error is not None:
                logger.warning("Could not ask why a contact was refused: %s", error)
            self._refuse(entry, *(reason or self._diagnosis.unknown))

        self._dispatcher.expect()
        self._dispatcher.call("ask", lambda: self._diagnosis.ask(entry, full=full), found)

    # Settling

    def _confirm(self, entry: Entry) -> None:
        self._settlement.confirmed(entry)
        self._release(entry)

    def _refuse(self, entry: Entry, code: str, reason: str) -> None:
        self._settlement.refused(entry.sources, code, reason)
        self._release(entry)
        self._on_settled()

    def _release(self, entry: Entry) -> None:
        self._busy.discard(entry.key)
        with self._room:
            self._under_way -= 1
            self._bytes_under_way -= entry.weight
            self._room.notify_all()
