"""When one call is tried again: the error tree's word, exponential pauses, bounded time."""

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
from target_activecampaign.client.rate_limit.state import MAX_RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.client.rate_limit.limiter import RateLimiter
    from target_activecampaign.client.rate_limit.state import Kind


_LONGEST_PAUSE = 30.0


class Attempts:
    """The attempts of one call so far.

    Args:
        kind: What the call counts as in the budget.
        budget: Is told when the server refuses for a limit.
        max_retry_after: Seconds to wait at most because the server asks for it.

    Attributes:
        number: How often the request was sent.
    """

    def __init__(
        self, kind: Kind, budget: RateLimiter, max_retry_after: float = MAX_RETRY_AFTER
    ) -> None:
        self.number = 0
        self._max_retry_after = max_retry_after
        self._kind = kind
        self._budget = budget
        self._started: float | None = None
        self._failures: Counter[str] = Counter()
        self._unsure = False
        self._pauses = _pauses()

    def begin(self) -> None:
        """Note that the request is being sent; the call's time runs from the first one on."""
        self.number += 1
        if self._started is None:
            self._started = time.monotonic()

    def pause_after(self, error: ActiveCampaignError, patience: float) -> float | None:
        """Decide how to go on after a failure.

        Args:
            error: The failure. Its `effect_unknown` becomes true if that of an earlier one was.
            patience: Seconds the call may take in all.

        Returns:
            Seconds to wait before the next attempt, or None to give up.
        """
        self._unsure = error.effect_unknown = self._unsure or error.effect_unknown
        self._failures[error.code] += 1
        if not error.retried or self._failures[error.code] == error.max_attempts:
            return None
        asked = self.wait_asked_for(error)
        pause = self._pause(error, asked)
        elapsed = 0.0 if self._started is None else time.monotonic() - self._started
        if asked is not None and elapsed <= patience:
            return pause  # the end of the wait is known, so it is worth one more attempt
        return pause if elapsed + pause <= patience else None

    def wait_asked_for(self, error: ActiveCampaignError) -> float | None:
        """Return the seconds to wait because the server asks for it, None if it does not.

        To ask for none at all is not to ask: nobody may knock as fast as the network allows.
        """
        return min(error.retry_after, self._max_retry_after) if error.retry_after else None

    def _pause(self, error: ActiveCampaignError, asked: float | None) -> float:
        if isinstance(error, ImportRateLimited):
            return self._budget.note_refusal(self._kind, asked)
        if isinstance(error, LimitReached):
            return self._budget.note_refusal("request", asked)
        if isinstance(error, ServerError) and error.status == 503:  # noqa: PLR2004
            held = self._budget.note_refusal("request", asked)
            return asked or max(held, next(self._pauses))
        return asked or next(self._pauses)


def _pauses() -> Iterator[float]:
    """Up to 1, 2, 4, 8, ... 30 seconds, at random below that so that nobody marches in step."""
    waits = backoff.expo(max_value=_LONGEST_PAUSE)
    next(waits)  # backoff's generators begin with a value that is no wait
    for seconds in waits:
        yield backoff.full_jitter(seconds)
