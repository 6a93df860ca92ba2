"""Imports that ActiveCampaign has accepted: asked about until they are done or come to nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_activecampaign.client import InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.client import Client, ImportStatus
    from target_activecampaign.delivery.batches import Batch
    from target_activecampaign.delivery.dispatcher import Dispatcher

_FIRST_LATENCY_SECONDS = 0.5
_MIN_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 15.0
_UNKNOWN_GRACE_SECONDS = 10.0

_STAGES = {
    "waiting": 0, "claimed": 1, "active": 2, "completed": 3, "failed": 3, "interrupted": 3,
}  # fmt: skip
"""The documented statuses, in the order in which an import has them."""


@dataclass(slots=True)
class PendingImport:
    """An import that ActiveCampaign has accepted.

    Attributes:
        number: Its number in the ledger.
        batch_id: ActiveCampaign's id for it.
        batch: Its contacts; None for one that an earlier run left behind.
        since: When it was accepted.
        queued: How many contacts were queued; None where that is not known.
        doubtful: Whether what is answered about it may be about another import.
        questions: How often it was asked about.
        status: What was answered last.
    """

    number: int
    batch_id: str
    batch: Batch | None
    since: float
    queued: int | None = None
    doubtful: bool = False
    questions: int = 0
    status: str = ""


class ImportPoller:
    """Asks about imports, on the dispatcher's thread.

    Args:
        client: Whom to ask.
        dispatcher: Whose pool `ask` waits for the answers.
        import_timeout: Seconds from accepted to confirmed.
        imported: Called with an import that is done, and how it went.
        on_failed: Called with one that did not take effect, a code, and the reason.
        failed: Called with an error that ends the delivery.
        contradiction: Called with the kind of a contradiction in an answer, and a sentence.

    Attributes:
        count: How many are asked about.
    """

    def __init__(
        self,
        client: Client,
        dispatcher: Dispatcher,
        *,
        import_timeout: float,
        imported: Callable[[PendingImport, ImportStatus], None],
        on_failed: Callable[[PendingImport, str, str], None],
        failed: Callable[[Exception], None],
        contradiction: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._import_timeout = import_timeout
        self._imported = imported
        self._came_to_nothing = on_failed
        self._failed = failed
        self._contradiction = contradiction
        self._pending: dict[str, PendingImport] = {}
        self._latency = _FIRST_LATENCY_SECONDS
        self.count = 0

    def pending(self, batch_id: str) -> PendingImport | None:
        """Return the import with this id, if it is still asked about."""
        return self._pending.get(batch_id)

    def add(
        self, number: int, batch_id: str, batch: Batch | None, queued: int | None = None
    ) -> None:
        """Ask about an import from now on."""
        flight = PendingImport(number, batch_id, batch, time.monotonic(), queued)
        self._pending[batch_id] = flight
        self.count += 1
        self._dispatcher.expect()
        self._dispatcher.later(self._latency, lambda: self._ask(flight))

    def _ask(self, flight: PendingImport) -> None:
        flight.questions += 1
        self._dispatcher.call(
            "ask",
            lambda: self._client.import_status(flight.batch_id),
            lambda status, error: self._answered(flight, status, error),
        )

    def _answered(
        self, flight: PendingImport, status: ImportStatus | None, error: Exception | None
    ) -> None:
        waited = time.monotonic() - flight.since
        unknown = isinstance(error, (NotFound, InvalidRequest))
        if status is not None:
            status = self._believed(flight, status)
        if status is not None and status.is_done:
            self._learn_latency(flight, waited)
            self._landed(flight)
            self._imported(flight, status)
        elif status is not None and status.is_broken:
            self._end(flight, "IMPORT_FAILED", f"It ended as '{status.status}'.")
        elif unknown and waited > min(_UNKNOWN_GRACE_SECONDS, self._import_timeout):
            self._end(flight, "IMPORT_LOST", "ActiveCampaign knows it no more.")
        elif error is not None and not unknown:
            self._landed(flight)
            self._failed(error)
        elif waited > self._import_timeout:
            self._end(flight, "IMPORT_TIMEOUT", "It was not confirmed in time.")
        else:
            pause = min(max(_MIN_PAUSE_SECONDS, waited * 0.3), _MAX_PAUSE_SECONDS)
            self._dispatcher.later(pause, lambda: self._ask(flight))

    def _believed(self, flight: PendingImport, status: ImportStatus) -> ImportStatus | None:
        """Return an answer about an import; None if it is about another one."""
        if status.batch_id and status.batch_id != flight.batch_id:
            self._contradiction(
                "BATCH_ID_OTHER", "The answer about an import has the id of another import."
            )
            return None
        before, flight.status = flight.status, status.status
        if status.status not in _STAGES:
            if status.status != before:
                self._contradiction(
                    "STATUS_UNKNOWN",
                    "The status of an import is none that ActiveCampaign documents. It is asked "
                    "about again until it has one.",
                )
        elif before in _STAGES and _STAGES[status.status] < _STAGES[before]:
            self._contradiction(
                "STATUS_BACKWARDS",
                f"The status of an import went back from '{before}' to '{status.status}'.",
            )
        return status

    def _end(self, flight: PendingImport, code: str, reason: str) -> None:
        self._landed(flight)
        self._came_to_nothing(flight, code, reason)

    def _landed(self, flight: PendingImport) -> None:
        if self._pending.get(flight.batch_id) is flight:
            del self._pending[flight.batch_id]
        self.count -= 1
        self._dispatcher.fulfil()

    def _learn_latency(self, flight: PendingImport, waited: float) -> None:
        """Find the time after which most imports are done, so that few are asked about twice."""
        if flight.questions == 1:
            self._latency = max(_MIN_PAUSE_SECONDS, 0.8 * self._latency)
        else:
            self._latency += 0.5 * (min(waited, _MAX_PAUSE_SECONDS) - self._latency)
