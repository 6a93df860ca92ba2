"""The retries of one call: whether its request is sent again, and after how long."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import backoff

from target_activecampaign.client.errors import (
    ActiveCampaignError,
    ImportRateLimited,
    LimitReached,
    ServerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.client.rate_limit.limiter import RateLimiter
    from target_activecampaign.client.rate_limit.state import Kind


class Retries:
    """The requests of one call so far, and the decision about the next one.

    Args:
        kind: Kind of request in the budget.
        budget: The rate limiter, which learns of refusals for a limit.
        max_retry_after: Longest wait in seconds that the server may ask for.
        max_pause: Longest pause in seconds that it does not ask for.

    Attributes:
        sent: Number of times the request was sent.
        pause: Seconds to wait before it is sent again; None if it is not.
    """

    def __init__(
        self, kind: Kind, budget: RateLimiter, max_retry_after: float, max_pause: float
    ) -> None:
        self.sent = 0
        self.pause: float | None = None
        self._kind = kind
        self._budget = budget
        self._max_retry_after = max_retry_after
        self._started: float | None = None
        self._failures: Counter[str] = Counter()
        self._last: ActiveCampaignError | None = None
        self._effect_unknown = False
        self._pauses = _exponential_pauses(max_pause)

    def begin(self) -> None:
        """Count the request that is being sent. The call's time starts with the first one."""
        self.sent += 1
        if self._started is None:
            self._started = time.monotonic()

    def record(self, error: ActiveCampaignError, max_seconds: float) -> None:
        """Record a failure, and set `pause`.

        Args:
            error: The failure. Its `effect_unknown` becomes true if that of an earlier one was.
            max_seconds: Longest time of the call, from its first request on.
        """
        self._last, self.pause = error, None
        self._effect_unknown = error.effect_unknown = self._effect_unknown or error.effect_unknown
        self._failures[error.code] += 1
        if not error.retried or self._failures[error.code] == error.max_attempts:
            return
        pause = self._next_pause(error)
        elapsed = 0.0 if self._started is None else time.monotonic() - self._started
        # A wait that the server asked for ends at a known time: it is worth one more request.
        if elapsed + (pause if self.requested_wait(error) is None else 0.0) <= max_seconds:
            self.pause = pause

    def are_over(self, error: Exception) -> bool:
        """Return whether the error ends the call. An error that was not recorded does."""
        return error is not self._last or self.pause is None

    def requested_wait(self, error: ActiveCampaignError) -> float | None:
        """Return the seconds that the server asks to wait; None if it does not ask.

        A wait of 0 seconds counts as none, so that retries never follow each other at once.
        """
        return min(error.retry_after, self._max_retry_after) if error.retry_after else None

    def _next_pause(self, error: ActiveCampaignError) -> float:
        requested = self.requested_wait(error)
        if isinstance(error, ImportRateLimited):
            return self._budget.note_refusal(self._kind, requested)
        if isinstance(error, LimitReached):
            return self._budget.note_refusal("request", requested)
        if isinstance(error, ServerError) and error.status == 503:  # noqa: PLR2004
            held = self._budget.note_refusal("request", requested)
            return requested or max(held, next(self._pauses))
        return requested or next(self._pauses)


def _exponential_pauses(longest: float) -> Iterator[float]:
    """Yield random pauses of up to 1, 2, 4, 8, ... seconds, so that clients spread out."""
    waits = backoff.expo(max_value=longest)
    next(waits)  # backoff's generators begin with a value that is no wait
    for seconds in waits:
        yield backoff.full_jitter(seconds)
