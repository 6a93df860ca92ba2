"""STATE on standard output: what may leave, and no more often than it is to."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.json import serialize_json

from target_activecampaign import output

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.checkpoints import Checkpoints

_NOT_WRITTEN = (
    "STATE could not be written to standard output: {}. What was delivered is in the ledger. See "
    "to it that something reads or stores the output, then run again: records after the last STATE "
    "that arrived are read once more."
)


class StateError(Exception):
    """STATE can't be written; the text says why and what that means."""


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

        Raises:
            StateError: It can't be written.
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
                _print(_text(state) + "\n")


def _print(text: str) -> None:
    """Write to standard output.

    Raises:
        StateError: It can't be written.
    """
    try:
        output.write(text)
    except output.OutputError as error:
        raise StateError(_NOT_WRITTEN.format(error)) from None


def _text(state: Any) -> str:
    """A STATE's value as JSON in ASCII; one that can't be read goes as the tap has written it."""
    if not isinstance(state, msgspec.Raw):
        return serialize_json(state)
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], bytes(state).decode())
