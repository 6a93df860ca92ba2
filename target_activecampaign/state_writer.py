"""STATE on standard output: what may leave, and no more often than it is to."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from singer_sdk.singerlib.json import serialize_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.checkpoints import Checkpoints


class StateWriter:
    """Writes STATE. Safe between threads.

    Args:
        checkpoints: What may leave.
        seconds: How much time is to lie between one STATE and the next.
        before: Called before STATE is written in its time: what it passes must be kept.
    """

    def __init__(
        self, checkpoints: Checkpoints, seconds: float, *, before: Callable[[], None]
    ) -> None:
        self._checkpoints = checkpoints
        self._seconds = seconds
        self._before = before
        self._lock = threading.Lock()
        self._written_at = time.monotonic()

    def write(self, *, at_once: bool = False) -> None:
        """Write the latest STATE that may leave, if there is one and it is time.

        Args:
            at_once: Whether it is time whenever the last one was written.
        """
        with self._lock:
            now = time.monotonic()
            if not at_once and now - self._written_at < self._seconds:
                return
            self._written_at = now
            if not at_once:
                self._before()
            state = self._checkpoints.take()
            if state is not None:
                sys.stdout.write(serialize_json(state) + "\n")
                sys.stdout.flush()
