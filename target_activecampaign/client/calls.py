"""The calls to the API: wait for a slot, send the request, retry it, decode the answer."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import backoff
import msgspec

from target_activecampaign.client import errors
from target_activecampaign.client import responses as answers
from target_activecampaign.client.address import parse_api_url
from target_activecampaign.client.connection import Connection
from target_activecampaign.client.rate_limit.limiter import RateLimiter, RateLimiterClosed
from target_activecampaign.client.rate_limit.state import MAX_RETRY_AFTER
from target_activecampaign.client.retries import Retries
from target_activecampaign.model.timings import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from target_activecampaign.client.connection import Query
    from target_activecampaign.client.decoding import Page
    from target_activecampaign.client.rate_limit.state import Kind

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")

PAGE_SIZE = 100
"""Items per page: the maximum; the default is 20 [doc]."""

_FIRST_CONTACT_SECONDS = 30.0
"""Time limit of calls until a first connection is made, so that a wrong address fails soon."""

_HALF_A_SECOND = 0.5
"""Average error of a ``Date`` header, which has whole seconds."""

_MAX_CLOCK_STEP = 3600.0
"""A ``Date`` that differs by more seconds is ignored until a second one agrees with it."""

_LONG_WAIT = 10.0
"""Waits of at least this many seconds, if the server asked for them, are logged as such."""

_LARGEST_SECONDS = 1e9
"""Largest number of seconds in the log: a server may ask for more, even for infinity."""


class Caller:
    """Base of `Client`: sends requests to one account, from any number of threads.

    For arguments and errors, see `Client`.

    Attributes:
        page_size: Number of items that a page is asked for.
        permanent_cause: Function that returns why no later request can succeed after an error, or
            None if one may. Set by the process that runs the server itself (the sandbox).
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        budget: RateLimiter | None = None,
        timeout: float = 30.0,
        retry_seconds: float = 300.0,
        max_retry_after: float = MAX_RETRY_AFTER,
        max_retry_pause: float = Timings.max_retry_pause_seconds,
        pool_size: int = 8,
    ) -> None:
        self.base_url = parse_api_url(base_url)
        self._connection = Connection(self.base_url, api_key, timeout=timeout, pool_size=pool_size)
        self._budget: RateLimiter = RateLimiter() if budget is None else budget
        self._retry_seconds = retry_seconds
        self._max_retry_after = max_retry_after
        self._max_retry_pause = max_retry_pause
        self.page_size = PAGE_SIZE
        self._closed = threading.Event()
        self._connected = False
        self._count_lock = threading.Lock()
        self._request_count = 0
        self._in_flight = 0
        self._unanswered_since: float | None = None
        self._paused_until = 0.0
        self._requested_until = 0.0
        self._clock_lead = 0.0
        self._other_lead = 0.0
        self.permanent_cause: Callable[[errors.ActiveCampaignError], str | None] = lambda _: None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def request_count(self) -> int:
        """Number of HTTP requests sent so far, including retries."""
        return self._request_count

    @property
    def retry_wait(self) -> float:
        """Seconds until the next retry of a failed request; 0 if none is due."""
        return max(0.0, self._paused_until - time.monotonic())

    @property
    def requested_wait(self) -> float:
        """Seconds that requests still have to wait as the server asked; 0 if none has to."""
        return max(0.0, self._requested_until - time.monotonic(), self._budget.hold_seconds)

    def server_time(self) -> float:
        """Return ActiveCampaign's current time, to compare with times in its answers.

        This is the local clock, corrected by the ``Date`` of the latest answer. A single ``Date``
        that is off by an hour or more is ignored.

        Returns:
            Seconds since the epoch, exact to half a second plus the time of an answer.
        """
        return time.time() + self._clock_lead

    def seconds_without_answer(self) -> float:
        """Return for how long requests have been in flight without an answer; 0 if none is.

        Server errors, rate limits and unreadable answers do not count as answers.
        """
        since = self._unanswered_since
        return 0.0 if since is None else time.monotonic() - since

    def pause(self, seconds: float) -> None:
        """Wait, unless the client is closed.

        Raises:
            ClientClosed: It was closed before or meanwhile.
        """
        if self._closed.wait(seconds):
            raise errors.ClientClosed

    def close(self, *, at_once: bool = False) -> None:
        """Send no more requests: calls that wait raise `ClientClosed`.

        Args:
            at_once: Requests in flight raise it, too; otherwise their answers are still read.
        """
        self._closed.set()
        self._connection.close(at_once=at_once)
        self._budget.close()

    def _all_pages(
        self, path: str, decode: Callable[[Any], Page[T]], **filters: str | int
    ) -> list[T]:
        """Return the items of all pages. Also stop at a page without a new item."""
        found: dict[T, None] = {}  # ordered, and without duplicates if items move meanwhile
        offset = 0
        while True:
            query = {**filters, "limit": self.page_size, "offset": offset}
            page = self._call("GET", path, decode, query=query)
            known = len(found)
            found.update(dict.fromkeys(page.items))
            offset += len(page.items)
            if is_last(page, offset, self.page_size) or len(found) == known:
                return list(found)

    def _call(
        self,
        method: str,
        path: str,
        decode: Callable[[Any], T],
        *,
        kind: Kind = "request",
        query: Query | None = None,
        body: bytes | None = None,
        find_effect: Callable[[], T | None] | None = None,
        once: bool = False,
    ) -> T:
        """Send a request, and retry it until it is answered, fails finally or runs out of time.

        Args:
            method: GET, POST, ...
            path: Path below ``/api/3``.
            decode: As for `answers.read`.
            kind: Kind of request in the budget.
            query: Parameters of the query.
            body: JSON to send.
            find_effect: For requests that must not take effect twice: returns the result if the
                request took effect, else None. Called after each failure that leaves this unknown.
            once: Do not retry if the request may have taken effect.
        """
        where = f"{method} {path}"
        retries = Retries(kind, self._budget, self._max_retry_after, self._max_retry_pause)

        def send_once() -> T:
            try:
                with self._slot(where, kind):
                    retries.begin()
                    # Decode within the slot: an answer that can't be decoded counts as none.
                    with self._request_in_flight():
                        answer = self._exchange(where, query, body)
                        return answers.read(where, answer, decode)
            except errors.ActiveCampaignError as error:
                retries.record(error, self._max_seconds(error))
                done = find_effect() if find_effect and error.effect_unknown else None
                if done is not None:
                    return done
                raise

        def is_final(error: Any) -> bool:
            return retries.are_over(error) or (once and error.effect_unknown)

        return backoff.on_exception(
            backoff.runtime,
            errors.ActiveCampaignError,
            giveup=is_final,
            # backoff would sleep for the returned seconds, and `close` could not interrupt that. So
            # `_pause` waits itself and returns 0.
            value=lambda error: self._pause(where, retries, error),
            jitter=None,
            logger=None,
        )(send_once)()

    def _pause(self, where: str, retries: Retries, error: errors.ActiveCampaignError) -> float:
        """Wait before a retry, or until the client is closed. Return 0, the seconds left."""
        pause = retries.pause or 0.0
        logger.warning(
            "%s: %s, trying again in %.1f s (attempt %d)%s",
            where,
            error.brief,
            pause,
            retries.sent + 1,
            _describe_requested_wait(error.retry_after, pause),
        )
        until = time.monotonic() + pause
        self._paused_until = max(self._paused_until, until)
        if retries.requested_wait(error) is not None:
            self._requested_until = max(self._requested_until, until)
        self._closed.wait(pause)
        return 0.0

    @contextmanager
    def _request_in_flight(self) -> Iterator[None]:
        """Count a request, and record whether it got an answer."""
        with self._count_lock:
            self._request_count += 1
            self._in_flight += 1
            if self._unanswered_since is None:
                self._unanswered_since = time.monotonic()
        answered = False
        try:
            yield
            answered = True
        except errors.RequestRefused as refusal:
            answered = not isinstance(refusal, errors.LimitReached)
            raise
        finally:
            with self._count_lock:
                self._in_flight -= 1
                if answered:
                    self._unanswered_since = time.monotonic() if self._in_flight else None

    @contextmanager
    def _slot(self, where: str, kind: Kind) -> Iterator[None]:
        """Wait for a slot of the budget and hold it, unless the client is closed meanwhile."""
        try:
            with self._budget.acquire(kind):
                yield
        except RateLimiterClosed:
            raise errors.ClientClosed(where) from None

    def _max_seconds(self, error: errors.ActiveCampaignError) -> float:
        """Return the time limit of a call after this error; negative if a retry is pointless."""
        if self.permanent_cause(error) is not None:
            return -1.0
        if self._connected or not isinstance(error, errors.ConnectionFailed):
            return self._retry_seconds
        return min(self._retry_seconds, _FIRST_CONTACT_SECONDS)

    def _exchange(self, where: str, query: Query | None, body: bytes | None) -> answers.Answer:
        """Send one request. Learn the limits and the server's time from the answer's headers.

        Raises:
            OutcomeUnknown, ClientClosed: As `Connection.exchange` does.
        """
        try:
            answer = self._connection.exchange(where, query, body)
        except errors.ConnectionFailed as error:
            why = self.permanent_cause(error)
            if why is None:
                raise
            gone = errors.ConnectionFailed(where, detail=why)
            gone.effect_unknown = error.effect_unknown
            raise gone from None
        self._connected = True
        self._budget.learn(answer.headers)
        self._set_clock(answer.headers)
        return answer

    def _set_clock(self, headers: Mapping[str, str]) -> None:
        date = answers.date_of(headers)
        if date is None:
            return
        lead = date + _HALF_A_SECOND - time.time()
        # A single outlier is the server's fault; if two agree, our clock is wrong.
        if min(abs(lead - self._clock_lead), abs(lead - self._other_lead)) < _MAX_CLOCK_STEP:
            self._clock_lead = lead
        self._other_lead = lead


def is_last(page: Page[Any], offset: int, size: int) -> bool:
    """Return whether a page is the last one.

    Args:
        page: The page.
        offset: The number of items up to its end.
        size: The number of items that was asked for.
    """
    if page.total is not None and page.total >= offset:
        return offset == page.total
    return len(page.items) < size  # there is no total, or a wrong one


def ignore_content(answer: Any) -> None:
    """Decode nothing: the status of the answer is enough."""


def json_body(name: str, item: Any) -> bytes:
    """Return a JSON object with one member: the item, under the API's name for it."""
    return msgspec.json.encode({name: item})


def _describe_requested_wait(requested: float | None, pause: float) -> str:
    """Return the end of a log line if the server asked for a long wait, else an empty text."""
    if requested is None or (requested < _LONG_WAIT and requested <= pause):
        return ""
    seconds = min(requested, _LARGEST_SECONDS)
    cut = ", which is more than 'max_retry_after' allows" if requested > pause else ""
    return f": ActiveCampaign asked to wait {seconds:,.0f} s{cut}"
