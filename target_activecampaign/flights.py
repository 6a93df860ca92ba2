"""Imports that ActiveCampaign has accepted: asked about until they are done or come to nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from target_activecampaign.activecampaign import InvalidRequest, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.activecampaign import Client, ImportStatus
    from target_activecampaign.dispatcher import Dispatcher
    from target_activecampaign.packer import Batch

_FIRST_LATENCY_SECONDS = 0.5
_MIN_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 15.0
_UNKNOWN_GRACE_SECONDS = 10.0


@dataclass(slots=True)
class Flight:
    """An import that ActiveCampaign has accepted.

    Attributes:
        number: Its number in the ledger.
        batch_id: ActiveCampaign's id for it.
        batch: Its contacts; None for one that an earlier run left behind.
        since: When it was accepted.
        questions: How often it was asked about.
    """

    number: int
    batch_id: str
    batch: Batch | None
    since: float
    questions: int = 0


class Flights:
    """Asks about imports, on the dispatcher's thread.

    Args:
        client: Whom to ask.
        dispatcher: Whose pool `ask` waits for the answers.
        import_timeout: Seconds from accepted to confirmed.
        imported: Called with an import that is done, and how it went.
        came_to_nothing: Called with one that did not take effect, a code, and the reason.
        failed: Called with an error that ends the delivery.

    Attributes:
        count: How many are asked about.
    """

    def __init__(
        self,
        client: Client,
        dispatcher: Dispatcher,
        *,
        import_timeout: float,
        imported: Callable[[Flight, ImportStatus], None],
        came_to_nothing: Callable[[Flight, str, str], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._import_timeout = import_timeout
        self._imported = imported
        self._came_to_nothing = came_to_nothing
        self._failed = failed
        self._latency = _FIRST_LATENCY_SECONDS
        self.count = 0

    def add(self, number: int, batch_id: str, batch: Batch | None) -> None:
        """Ask about an import from now on."""
        flight = Flight(number, batch_id, batch, time.monotonic())
        self.count += 1
        self._dispatcher.expect()
        self._dispatcher.later(self._latency, lambda: self._ask(flight))

    def _ask(self, flight: Flight) -> None:
        flight.questions += 1
        self._dispatcher.call(
            "ask",
            lambda: self._client.import_status(flight.batch_id),
            lambda status, error: self._answered(flight, status, error),
        )

    def _answered(
        self, flight: Flight, status: ImportStatus | None, error: Exception | None
    ) -> None:
        waited = time.monotonic() - flight.since
        unknown = isinstance(error, (NotFound, InvalidRequest))
        if status is not None and status.done:
            self._learn_latency(flight, waited)
            self._landed()
            self._imported(flight, status)
        elif status is not None and status.broken:
            self._end(flight, "IMPORT_FAILED", f"It ended as '{status.status}'.")
        elif unknown and waited > min(_UNKNOWN_GRACE_SECONDS, self._import_timeout):
            self._end(flight, "IMPORT_LOST", "ActiveCampaign knows it no more.")
        elif error is not None and not unknown:
            self._landed()
            self._failed(error)
        elif waited > self._import_timeout:
            self._end(flight, "IMPORT_TIMEOUT", "It was not confirmed in time.")
        else:
            pause = min(max(_MIN_PAUSE_SECONDS, waited * 0.3), _MAX_PAUSE_SECONDS)
            self._dispatcher.later(pause, lambda: self._ask(flight))

    def _end(self, flight: Flight, code: str, reason: str) -> None:
        self._landed()
        self._came_to_nothing(flight, code, reason)

    def _landed(self) -> None:
        self.count -= 1
        self._dispatcher.fulfil()

    def _learn_latency(self, flight: Flight, waited: float) -> None:
        """Find the time after which most imports are done, so that few are asked about twice."""
        if flight.questions == 1:
            self._latency = max(_MIN_PAUSE_SECONDS, 0.8 * self._latency)
        else:
            self._latency += 0.5 * (min(waited, _MAX_PAUSE_SECONDS) - self._latency)
