"""Polling of accepted imports, until they are completed or have failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from target_activecampaign.client import InvalidRequest, NotFound
from target_activecampaign.delivery.dispatcher import Failable

if TYPE_CHECKING:
    from target_activecampaign.client import Client, ImportStatus
    from target_activecampaign.delivery.batches import Batch
    from target_activecampaign.delivery.contradictions import Contradictions
    from target_activecampaign.delivery.dispatcher import Dispatcher
    from target_activecampaign.model.timings import Timings

_MAX_PAUSE_SECONDS = 15.0
_UNKNOWN_GRACE_SECONDS = 10.0
"""ActiveCampaign may take this long until it knows the id of a new import."""

_STAGES = {
    "waiting": 0, "claimed": 1, "active": 2, "completed": 3, "failed": 3, "interrupted": 3,
}  # fmt: skip
"""The documented statuses [doc], in the order in which an import has them."""

_MAX_IDS_KNOWN = 10_000
"""Number of latest batch ids that are remembered, to detect one that is given twice."""


@dataclass(slots=True)
class PendingImport:
    """An import that ActiveCampaign has accepted.

    Attributes:
        number: Its number in the ledger.
        batch_id: ActiveCampaign's id for it.
        batch: Its contacts; None for an import of the previous run.
        since: The time when it was accepted.
        queued: Number of contacts that were queued; None if that is not known.
        is_doubtful: Whether the answers about it may be about another import.
        questions: Number of times that it was polled.
        status: The status in the latest answer.
    """

    number: int
    batch_id: str
    batch: Batch | None
    since: float
    queued: int | None = None
    is_doubtful: bool = False
    questions: int = 0
    status: str = ""


class ImportReceiver(Failable, Protocol):
    """The part that gets the results of imports. An error of the account ends it."""

    def on_imported(self, pending: PendingImport, status: ImportStatus) -> None:
        """Handle a completed import, given the last answer about it."""

    def on_failed(self, pending: PendingImport, code: str, reason: str) -> None:
        """Handle a failed import, given a code of `CODES` and the reason as a sentence."""


class ImportPoller:
    """Polls imports, on the dispatcher's thread.

    Args:
        client: The client of the account.
        dispatcher: Its pool `ask` waits for the answers.
        receiver: Gets the results of the imports.
        contradictions: Counts contradictory answers.
        import_timeout: Seconds after which an accepted import that is not confirmed has failed.
        timings: The times of the polls.

    Attributes:
        count: Number of imports that are not confirmed yet.
    """

    def __init__(
        self,
        client: Client,
        dispatcher: Dispatcher,
        receiver: ImportReceiver,
        contradictions: Contradictions,
        *,
        import_timeout: float,
        timings: Timings,
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._receiver = receiver
        self._contradictions = contradictions
        self._import_timeout = import_timeout
        self._pending: dict[str, PendingImport] = {}
        self._known_ids: dict[str, None] = {}
        self._latency = timings.first_poll_seconds
        self._min_pause = timings.min_poll_pause_seconds
        self.count = 0

    def knows(self, batch_id: str) -> bool:
        """Return whether an import of this run has had this id."""
        return batch_id in self._known_ids

    def pending(self, batch_id: str) -> PendingImport | None:
        """Return the import with this id, if it is still polled."""
        return self._pending.get(batch_id)

    def add(
        self, number: int, batch_id: str, batch: Batch | None, queued: int | None = None
    ) -> None:
        """Start to poll an import."""
        pending = PendingImport(number, batch_id, batch, time.monotonic(), queued)
        self._pending[batch_id] = pending
        self._known_ids[batch_id] = None
        if len(self._known_ids) > _MAX_IDS_KNOWN:
            del self._known_ids[next(iter(self._known_ids))]
        self.count += 1
        self._dispatcher.expect()
        self._dispatcher.later(self._latency, lambda: self._ask(pending))

    def _ask(self, pending: PendingImport) -> None:
        pending.questions += 1
        self._dispatcher.call(
            "ask",
            lambda: self._client.import_status(pending.batch_id),
            lambda status, error: self._take_answer(pending, status, error),
        )

    def _take_answer(
        self, pending: PendingImport, status: ImportStatus | None, error: Exception | None
    ) -> None:
        waited = time.monotonic() - pending.since
        is_unknown = isinstance(error, (NotFound, InvalidRequest))
        if status is not None:
            status = self._checked(pending, status)
        if status is not None and status.is_done:
            self._learn_latency(pending, waited)
            self._remove(pending)
            self._receiver.on_imported(pending, status)
        elif status is not None and status.is_broken:
            self._end(pending, "IMPORT_FAILED", f"It ended as '{status.status}'.")
        elif is_unknown and waited > min(_UNKNOWN_GRACE_SECONDS, self._import_timeout):
            self._end(pending, "IMPORT_LOST", "ActiveCampaign no longer knows it.")
        elif error is not None and not is_unknown:
            self._remove(pending)
            self._receiver.fail(error)
        elif waited > self._import_timeout:
            self._end(pending, "IMPORT_TIMEOUT", "It was not confirmed in time.")
        else:
            pause = min(max(self._min_pause, waited * 0.3), _MAX_PAUSE_SECONDS)
            self._dispatcher.later(pause, lambda: self._ask(pending))

    def _checked(self, pending: PendingImport, status: ImportStatus) -> ImportStatus | None:
        """Return an answer about an import; None if it is about another one."""
        if status.batch_id and status.batch_id != pending.batch_id:
            self._contradictions.add(
                "BATCH_ID_OTHER", "The answer about an import has the id of another import."
            )
            return None
        before, pending.status = pending.status, status.status
        if status.status not in _STAGES:
            if status.status != before:
                self._contradictions.add(
                    "STATUS_UNKNOWN",
                    "An import has a status that ActiveCampaign does not document; polling until "
                    "it has one that is documented.",
                )
        elif before in _STAGES and _STAGES[status.status] < _STAGES[before]:
            self._contradictions.add(
                "STATUS_BACKWARDS",
                f"The status of an import went back from '{before}' to '{status.status}'.",
            )
        return status

    def _end(self, pending: PendingImport, code: str, reason: str) -> None:
        self._remove(pending)
        self._receiver.on_failed(pending, code, reason)

    def _remove(self, pending: PendingImport) -> None:
        if self._pending.get(pending.batch_id) is pending:
            del self._pending[pending.batch_id]
        self.count -= 1
        self._dispatcher.fulfil()

    def _learn_latency(self, pending: PendingImport, waited: float) -> None:
        """Learn the time after which most imports are done, so that few are polled twice."""
        if pending.questions == 1:
            self._latency = max(self._min_pause, 0.8 * self._latency)
        else:
            self._latency += 0.5 * (min(waited, _MAX_PAUSE_SECONDS) - self._latency)
