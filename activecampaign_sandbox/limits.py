"""The account's limits: requests per second, and imports per minute."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activecampaign_sandbox.options import Options


class Window:
    """A limit for the number of events in a window of time.

    Args:
        limit: The number of events that are allowed in a window; 0 for no limit.
        seconds: The window's length.
        fixed: Whether windows are fixed periods, instead of sliding.
        count_refused: Whether refused events count against the limit too.
    """

    def __init__(self, limit: int, seconds: float, *, fixed: bool, count_refused: bool) -> None:
        self.limit = limit
        self.seconds = seconds
        self._fixed = fixed
        self._count_refused = count_refused
        self._taken: deque[float] = deque()

    def take(self) -> float:
        """Count an event; return 0.0 if it is allowed, else the seconds until one would be."""
        if not self.limit:
            return 0.0
        now = time.monotonic()
        self._forget(now)
        beyond = len(self._taken) - self.limit
        wait = self._end(self._taken[beyond]) - now if beyond >= 0 else 0.0
        if not wait or self._count_refused:
            self._taken.append(now)
        return wait

    def remaining(self) -> int:
        """Return the number of events that are allowed now."""
        self._forget(time.monotonic())
        return max(0, self.limit - len(self._taken))

    def _end(self, taken: float) -> float:
        """Return the time at which an event no longer counts."""
        start = taken - taken % self.seconds if self._fixed else taken
        return start + self.seconds

    def _forget(self, now: float) -> None:
        while self._taken and self._end(self._taken[0]) <= now:
            self._taken.popleft()


class Limits:
    """The three limits of an account; the option ``window`` is the length of the minute."""

    def __init__(self, options: Options) -> None:
        def window(limit: int, seconds: float) -> Window:
            return Window(
                limit,
                seconds,
                fixed=options.window_kind == "fixed",
                count_refused=options.count_refused == "yes",
            )

        self.requests = window(options.requests_per_second, 1.0)
        self.multi_imports = window(options.multi_imports_per_minute, options.window)
        self.single_imports = window(options.single_imports_per_minute, options.window)
