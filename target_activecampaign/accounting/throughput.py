"""Throughput: how many contacts were confirmed in each ten seconds of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 10
_MOST = 120
"""Intervals kept: as many as a chart can show, which is twenty minutes of ten seconds."""


class Throughput:
    """Counts contacts by the interval in which they were confirmed, from now on.

    A long run has longer intervals: when there are too many, each two become one.

    Args:
        clock: Seconds, from any beginning.

    Attributes:
        seconds: How long an interval is.
        contacts: By interval, the first one first.
        total: All of them together.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self.seconds = _SECONDS
        self.contacts: list[int] = []
        self.total = 0

    def add(self, count: int) -> None:
        """Count contacts as confirmed now; 0 only lets time pass."""
        passed = self._clock() - self._begun
        while passed >= _MOST * self.seconds:
            self.contacts = [sum(self.contacts[n : n + 2]) for n in range(0, len(self.contacts), 2)]
            self.seconds *= 2
        missing = int(passed // self.seconds) + 1 - len(self.contacts)
        self.contacts += [0] * missing
        self.contacts[-1] += count
        self.total += count
