"""The end of a stopped run if ActiveCampaign does not answer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from target_activecampaign.errors import DeliveryError

if TYPE_CHECKING:
    from target_activecampaign.client import Client
    from target_activecampaign.delivery.dispatcher import Dispatcher, Failable
    from target_activecampaign.model.timings import Timings

logger = logging.getLogger("target-activecampaign")

_STOP_SECONDS = 60.0
"""A stopped run does not last longer than this because ActiveCampaign asks for a wait."""
_LONG_WAIT_SECONDS = 10.0
"""Waits shorter than this are accepted."""


class StopWatch:
    """Ends a stopped run if ActiveCampaign does not answer or asks for a long wait.

    Args:
        client: The client of the account. It is closed then.
        dispatcher: Runs the checks.
        delivery: Is ended with an error.
        timings: The times of the checks.
    """

    def __init__(
        self, client: Client, dispatcher: Dispatcher, delivery: Failable, timings: Timings
    ) -> None:
        self._client = client
        self._dispatcher = dispatcher
        self._delivery = delivery
        self._timings = timings

    def start(self) -> None:
        """Start the checks. May be called from a signal handler."""
        stopped = time.monotonic()
        self._dispatcher.do(lambda: self._stop_if_unresponsive(stopped))

    def _stop_if_unresponsive(self, stopped: float) -> None:
        since_stop = time.monotonic() - stopped
        silence, wait = (
            min(self._client.seconds_without_answer(), since_stop),
            self._client.requested_wait,
        )
        is_too_long = wait >= _LONG_WAIT_SECONDS and since_stop + wait >= _STOP_SECONDS
        if is_too_long:
            logger.warning("ActiveCampaign asked to wait %.0f s more; ending the run now.", wait)
            cause = "ActiveCampaign asked for a long wait"
        elif silence >= self._timings.max_silence_seconds:
            logger.warning(
                "ActiveCampaign has not answered for %.0f s since the run was stopped; ending the "
                "run now.",
                silence,
            )
            cause = "ActiveCampaign stopped answering"
        else:
            pause = self._timings.stop_check_seconds
            self._dispatcher.later(pause, lambda: self._stop_if_unresponsive(stopped))
            return
        self._delivery.fail(
            DeliveryError(
                f"The run was stopped, and {cause}. Nothing is lost: the next run checks the "
                "imports that were accepted, and sends unconfirmed records again."
            )
        )
        self._client.close(at_once=True)
