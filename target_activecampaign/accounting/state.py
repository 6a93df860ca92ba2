"""STATE: a STATE message is written once every record before it has an outcome.

The time between two STATE messages is an epoch. Each record belongs to the epoch in which it was
read. A STATE closes its epoch. It may be written once that epoch and all earlier ones have no open
record. So STATE stays in order and never runs ahead, while later records are already processed.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.json import serialize_json

from target_activecampaign.errors import StateError
from target_activecampaign.storage import output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.ledger import Ledger
    from target_activecampaign.outcomes.writer import OutcomeWriter


class Checkpoints:
    """Counts the records without an outcome by epoch. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._read_since = False
        self._unsettled: dict[int, int] = {}
        self._states: deque[tuple[int, Any]] = deque()

    @property
    def epoch(self) -> int:
        """The current epoch."""
        return self._epoch

    def read(self, count: int = 1) -> int:
        """Count records as read, and return their epoch."""
        with self._lock:
            self._read_since = True
            self._unsettled[self._epoch] = self._unsettled.get(self._epoch, 0) + count
            return self._epoch

    def reading(self) -> None:
        """Note that records were read since the last STATE, which `read` does not count (yet)."""
        with self._lock:
            self._read_since = True

    def settle(self, epochs: Mapping[int, int]) -> None:
        """Count records that have their outcome, by epoch."""
        with self._lock:
            for epoch, count in epochs.items():
                left = self._unsettled[epoch] - count
                if left:
                    self._unsettled[epoch] = left
                else:
                    del self._unsettled[epoch]

    def state(self, value: Any) -> None:
        """Add the value of a STATE message, which waits for all records read so far."""
        with self._lock:
            self._read_since = False
            if self._epoch not in self._unsettled and self._states:
                last, _ = self._states[-1]
                if last == self._epoch - 1:
                    # No record since the last STATE: replace it.
                    self._states[-1] = (last, value)
                    return
            self._states.append((self._epoch, value))
            self._epoch += 1

    def take(self) -> Any | None:
        """Remove and return the latest STATE that may be written; None if there is none."""
        with self._lock:
            # Epochs only grow, so the first key of the dictionary is the oldest.
            oldest = next(iter(self._unsettled), self._epoch)
            value = None
            while self._states and self._states[0][0] < oldest:
                value = self._states.popleft()[1]
            return value

    @property
    def complete(self) -> bool:
        """True if a tap that continues from the last STATE would repeat no record."""
        with self._lock:
            return not (self._states or self._unsettled or self._read_since)

    @property
    def unsettled(self) -> int:
        """The number of records without an outcome."""
        with self._lock:
            return sum(self._unsettled.values())


_NOT_WRITTEN = (
    "STATE could not be written to standard output: {}. What was delivered is in the ledger. Make "
    "sure that something reads or stores the output, then run again: records after the last STATE "
    "that arrived are read once more."
)


class StateWriter:
    """Writes STATE. Thread-safe.

    Args:
        checkpoints: The STATE messages.
        seconds: The minimum time between two STATE messages.

    Attributes:
        ledger: The ledger, once it is open. It is flushed before a STATE is written.
        rows: The rows of outcomes, if any are written. They are stored before a STATE.
    """

    def __init__(self, checkpoints: Checkpoints, seconds: float) -> None:
        self.ledger: Ledger | None = None
        self.rows: OutcomeWriter | None = None
        self._checkpoints = checkpoints
        self._seconds = seconds
        self._lock = threading.Lock()
        self._written_at = time.monotonic()

    def write(self, *, at_once: bool = False) -> None:
        """Write the latest STATE that may be written, if there is one and it is due.

        Args:
            at_once: Whether to write it even if the last one was written just now.

        Raises:
            StateError: It can't be written.
            OutcomesError: The rows can't be stored, and they are required.
        """
        with self._lock:
            now = time.monotonic()
            if not at_once and now - self._written_at < self._seconds:
                return
            self._written_at = now
            if not at_once and self.ledger is not None:
                self.ledger.flush()
            if self.rows is not None:
                self.rows.flush()  # if that fails, the STATE has not been taken
            state = self._checkpoints.take()
            if state is not None:
                if self.ledger is not None:
                    # After `take`: these are all that were rejected before this STATE.
                    self.ledger.rejected.flush()
                if self.rows is not None:
                    self.rows.flush()  # those of records that had their outcome in between
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
    """Return a STATE's value as JSON in ASCII. One that can't be decoded stays as it was."""
    if not isinstance(state, msgspec.Raw):
        return serialize_json(state)
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], bytes(state).decode())
