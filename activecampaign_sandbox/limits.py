"""The account's limits: requests a second, and imports a minute."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activecampaign_sandbox.options import Options


class Window:
    """At most ``limit`` in any ``seconds`` (sliding), or in each period of them (fixed).

    Args:
        limit: How many are let through; 0 for all.
        seconds: The window's length.
        fixed: Count per period instead of over the last seconds.
        count_refused: What is refused uses up the limit too.
    """

    def __init__(self, limit: int, seconds: float, *, fixed: bool, count_refused: bool) -> None:
        self.limit = limit
        self.seconds = seconds
        self._fixed = fixed
        self._count_refused = count_refused
        self._taken: deque[float] = deque()

    def take(self) -> float:
        """Ask for one: 0.0 when it is let through, else the seconds until one would be."""
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
        """How many would be let through now."""
        self._forget(time.monotonic())
        return max(0, self.limit - len(self._taken))

    def _end(self, taken: float) -> float:
        """When what was taken then no longer counts."""
        start = taken - taken % self.seconds if self._fixed else taken
        return start + self.seconds

    def _forget(self, now: float) -> None:
        while self._taken and self._end(self._taken[0]) <= now:
            self._taken.popleft()


class Limits:
    """The three windows of an account; the minute's length is the option ``window``."""

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
