"""Batches in flight: posted, confirmed, settled; tried again, taken apart, at last refused.

One thread, the dispatcher, owns all batches and decides; two small pools wait for
ActiveCampaign's answers and report back to it. So nothing here needs a lock but the count
of contacts under way, on which the reading thread waits.

A batch is posted (accepted?), then asked about until its import is completed (imported?).
Posting and asking have pools of their own: an import may wait long for its turn in the
account's limit, and no confirmation should wait behind it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_activecampaign.activecampaign import ImportRefused, InvalidRequest
from target_activecampaign.contact import person_key
from target_activecampaign.suspects import IndexBase, Suspects

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.activecampaign import Accepted, Client, ImportStatus
    from target_activecampaign.packer import Batch, Entry
    from target_activecampaign.settlement import Settlement

logger = logging.getLogger("target-activecampaign")

_MAX_CONTACTS_UNDER_WAY = 16_000
_ATTEMPTS = 2
_FIRST_LATENCY_SECONDS = 0.5
_MIN_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 15.0


class DeliveryError(Exception):
    """The delivery ended before everything was settled. Its cause is the reason."""


@dataclass(slots=True)
class _Flight:
    """A batch that ActiveCampaign has accepted."""

    batch: Batch
    batch_id: str
    since: float
    questions: int = 0


@dataclass(slots=True)
class _Event:
    """What a pool reports: run `then` on the dispatcher with what the call came to."""

    then: Callable[[Any, Exception | None], None]
    result: Any = None
    error: Exception | None = None


class Delivery:
    """Delivers batches in the order in which they come, several at once.

    The same person is never in two imports under way: a batch with a person of an earlier
    one waits until that is settled, and later batches pass it by.

    Args:
        client: Where to.
        settlement: What is told of each contact's end.
        on_settled: Called on the dispatcher after contacts were settled.
        import_timeout: Seconds from accepted to confirmed after which an import is tried again.
        max_in_flight: Requests out at once to post imports.
        max_contacts: Contacts under way, above which `submit` blocks: it bounds the memory.
    """

    def __init__(
        self,
        client: Client,
        settlement: Settlement,
        *,
        on_settled: Callable[[], None],
        import_timeout: float,
        max_in_flight: int = 8,
        max_contacts: int = _MAX_CONTACTS_UNDER_WAY,
    ) -> None:
        self._client = client
        self._settlement = settlement
        self._on_settled = on_settled
        self._import_timeout = import_timeout
        self._max_in_flight = max_in_flight
        self._max_contacts = max_contacts
        self._events: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._posts = ThreadPoolExecutor(max_in_flight, "post")
        self._questions = ThreadPoolExecutor(4, "ask")
        self._waiting: deque[Batch] = deque()
        self._posting = 0
        self._flights = 0
        self._busy: set[str] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._tie = itertools.count()
        self._latency = _FIRST_LATENCY_SECONDS
        self._base = IndexBase()
        self._room = threading.Condition()
        self._under_way = 0
        self._failure: Exception | None = None
        self.imports = 0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    # What the reading thread calls

    def submit(self, batch: Batch) -> None:
        """Take a batch to deliver; blocks while too many contacts are under way.

        Raises:
            DeliveryError: The delivery has failed.
        """
        count = len(batch.entries)
        with self._room:
            self._room.wait_for(
                lambda: self._failure or self._under_way + count <= self._max_contacts
            )
            self._raise_failure()
            self._under_way += count
        self._events.put(_Event(lambda *_: self._enqueue(batch)))

    def check(self) -> None:
        """See whether all is well.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self._raise_failure()

    def wait(self) -> None:
        """Wait until all batches are settled.

        Raises:
            DeliveryError: The delivery has failed; what ActiveCampaign had accepted by then
                has been asked about and settled as far as it answered.
        """
        with self._room:
            self._room.wait_for(lambda: self._failure or not self._under_way)
        if self._failure is not None:
            self._events.put(None)
            self._thread.join()
        self._raise_failure()

    def close(self) -> None:
        """End the threads. What is not settled stays so."""
        self._client.close()
        self._events.put(None)
        for pool in (self._posts, self._questions):
            pool.shutdown(wait=False, cancel_futures=True)
        self._thread.join(timeout=5)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise DeliveryError(str(self._failure)) from self._failure

    # The dispatcher

    def _run(self) -> None:
        ending = False
        while not (ending and not self._posting and not self._flights):
            try:
                event = self._events.get(timeout=self._until_due())
            except queue.Empty:
                event = _Event(lambda *_: None)
            if event is None:
                ending = True
                continue
            try:
                event.then(event.result, event.error)
                self._run_due()
                self._post_waiting()
            except Exception as error:  # noqa: BLE001 - must reach the reading thread
                self._fail(error)

    def _until_due(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _run_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._tie), do))

    def _call(
        self,
        pool: ThreadPoolExecutor,
        function: Callable[[], Any],
        then: Callable[[Any, Exception | None], None],
    ) -> None:
        def report(future: Future[Any]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                self._events.put(_Event(then, result=future.result()))
            else:
                self._events.put(_Event(then, error=error))  # type: ignore[arg-type]

        pool.submit(function).add_done_callback(report)

    def _fail(self, error: Exception) -> None:
        """Nothing more is posted; what was accepted is still asked about."""
        with self._room:
            self._failure = self._failure or error
            self._waiting.clear()
            self._room.notify_all()

    # Posting: is it accepted?

    def _enqueue(self, batch: Batch) -> None:
        if self._failure is None:
            self._waiting.append(batch)

    def _post_waiting(self) -> None:
        """Post what may go: in order, past those that have a person under way."""
        held: set[str] = set()
        for _ in range(len(self._waiting)):
            batch = self._waiting.popleft()
            keys = {entry.key for entry in batch.entries}
            free = self._posting < self._max_in_flight
            if free and keys.isdisjoint(self._busy) and keys.isdisjoint(held):
                self._post(batch, keys)
            else:
                held |= keys
                self._waiting.append(batch)

    def _post(self, batch: Batch, keys: set[str]) -> None:
        self._busy |= keys
        self._send(batch, lambda accepted: self._accepted(batch, accepted))

    def _send(self, batch: Batch, then: Callable[[Accepted], None]) -> None:
        """Post a batch whose people are marked as under way."""
        self._posting += 1
        body, count = batch.body(), len(batch.entries)

        def done(accepted: Accepted | None, error: Exception | None) -> None:
            self._posting -= 1
            if accepted is not None:
                self.imports += 1
                then(accepted)
            elif isinstance(error, ImportRefused) and error.contacts:
                self._take_apart(batch, error)
            elif isinstance(error, (ImportRefused, InvalidRequest)):
                self._halve(batch, "REFUSED_BY_IMPORT", "The import was refused whole.")
            elif error is not None:
                self._fail(error)

        self._call(self._posts, lambda: self._client.import_contacts(body, count), done)

    def _take_apart(self, batch: Batch, refusal: ImportRefused) -> None:
        """An import was refused for single contacts: find them, and send the others."""
        suspects = Suspects(batch.entries, refusal.contacts, self._base)
        if suspects.guilty is not None:
            for entry, reason in suspects.guilty:
                self._settle_refused(entry, "REFUSED_BY_IMPORT", reason)
            if suspects.others:
                again = batch.of(suspects.others)
                self._send(again, lambda accepted: self._accepted(again, accepted))
            return
        if suspects.reordered is None or batch.attempts:
            self._halve(batch, "REFUSED_BY_IMPORT", "The import was refused whole.")
            return
        # Which of two was meant is not known yet: ask again with the two far apart.
        asked = batch.of(suspects.reordered)
        asked.attempts = 1
        self._send(asked, lambda accepted: self._accepted(asked, accepted))

    def _halve(self, batch: Batch, code: str, reason: str) -> None:
        """An import can't be had as a whole: try its halves, refuse what fails alone."""
        if len(batch.entries) == 1:
            self._settle_refused(batch.entries[0], code, reason)
            return
        middle = len(batch.entries) // 2
        for half in (batch.entries[:middle], batch.entries[middle:]):
            part = batch.of(half)
            self._send(part, lambda accepted, part=part: self._accepted(part, accepted))  # type: ignore[misc]

    # Asking: is it imported?

    def _accepted(self, batch: Batch, accepted: Accepted) -> None:
        self._flights += 1
        flight = _Flight(batch, accepted.batch_id, time.monotonic())
        self._later(self._latency, lambda: self._ask(flight))

    def _ask(self, flight: _Flight) -> None:
        flight.questions += 1
        self._call(
            self._questions,
            lambda: self._client.import_status(flight.batch_id),
            lambda status, error: self._answered(flight, status, error),
        )

    def _answered(
        self, flight: _Flight, status: ImportStatus | None, error: Exception | None
    ) -> None:
        waited = time.monotonic() - flight.since
        if status is None:
            self._flights -= 1
            if error is not None:
                self._fail(error)
        elif status.done:
            self._flights -= 1
            self._learn_latency(flight, waited)
            self._imported(flight.batch, status)
        elif status.broken:
            self._flights -= 1
            self._try_again(
                flight.batch, "IMPORT_FAILED", f"The import ended as '{status.status}'."
            )
        elif waited > self._import_timeout:
            self._flights -= 1
            self._try_again(flight.batch, "IMPORT_TIMEOUT", "The import was not confirmed in time.")
        else:
            pause = min(max(_MIN_PAUSE_SECONDS, waited * 0.3), _MAX_PAUSE_SECONDS)
            self._later(pause, lambda: self._ask(flight))

    def _learn_latency(self, flight: _Flight, waited: float) -> None:
        """Find the time after which most imports are done, so that few are asked about twice."""
        if flight.questions == 1:
            self._latency = max(_MIN_PAUSE_SECONDS, 0.8 * self._latency)
        else:
            self._latency += 0.5 * (min(waited, _MAX_PAUSE_SECONDS) - self._latency)

    def _try_again(self, batch: Batch, code: str, reason: str) -> None:
        """An import came to nothing: importing the same again is harmless, so do."""
        batch.attempts += 1
        if batch.attempts < _ATTEMPTS:
            logger.warning("An import came to nothing (%s). Sending it again.", code)
            self._send(batch, lambda accepted: self._accepted(batch, accepted))
        else:
            self._halve(batch, code, reason)

    def _imported(self, batch: Batch, status: ImportStatus) -> None:
        failed = {person_key(address) for address in status.failed}
        for entry in batch.entries:
            if entry.key in failed:
                failed.discard(entry.key)
                self._settle_refused(
                    entry, "REFUSED_BY_IMPORT", "ActiveCampaign named the address as failed."
                )
            else:
                self._settlement.confirmed(entry)
                self._release(entry)
        if failed:
            logger.warning(
                "ActiveCampaign named %d addresses as failed that its import did not have.",
                len(failed),
            )
        self._on_settled()

    def _settle_refused(self, entry: Entry, code: str, reason: str) -> None:
        self._settlement.refused(entry.sources, code, reason)
        self._release(entry)
        self._on_settled()

    def _release(self, entry: Entry) -> None:
        self._busy.discard(entry.key)
        with self._room:
            self._under_way -= 1
            self._room.notify_all()
