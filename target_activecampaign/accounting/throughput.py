"""Throughput: the number of contacts confirmed in each interval of a run."""

from __future__ import annotations

_SECONDS = 10
_MOST = 120
"""Limit of intervals, as many as a chart can show. At first they cover twenty minutes."""


class Throughput:
    """Counts contacts by the interval in which they were confirmed.

    A long run has longer intervals: if there are too many, pairs are merged.

    Args:
        start: The beginning of the first interval, in seconds of a monotonic clock.

    Attributes:
        seconds: The length of an interval.
        contacts: Contacts by interval, the first one first.
        total: All contacts.
    """

    def __init__(self, start: float) -> None:
        self._start = start
        self.seconds = _SECONDS
        self.contacts: list[int] = []
        self.total = 0

    def add(self, count: int, now: float) -> None:
        """Count contacts that were confirmed.

        Args:
            count: The number of contacts; 0 only adds the intervals until now.
            now: The time, by the same clock.
        """
        passed = now - self._start
        while passed >= _MOST * self.seconds:
            self.contacts = [sum(self.contacts[n : n + 2]) for n in range(0, len(self.contacts), 2)]
            self.seconds *= 2
        missing = int(passed // self.seconds) + 1 - len(self.contacts)
        self.contacts += [0] * missing
        self.contacts[-1] += count
        self.total += count
