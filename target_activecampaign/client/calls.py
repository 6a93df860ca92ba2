"""Calls: a question waits its turn, is asked, tried again, and its answer read.

Every call goes through `Caller._call`. It waits on an event rather than with ``backoff``'s
decorators, whose ``time.sleep`` `Caller.close` could not wake; the pauses are backoff's.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from target_activecampaign.client import errors
from target_activecampaign.client import responses as answers
from target_activecampaign.client.address import parse_api_url
from target_activecampaign.client.connection import Connection
from target_activecampaign.client.rate_limit.limiter import RateLimiter, RateLimiterClosed
from target_activecampaign.client.rate_limit.state import MAX_RETRY_AFTER
from target_activecampaign.client.retries import Attempts

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
"""Items a page, the most there may be; without asking it is 20 [doc]."""

_FIRST_CONTACT_SECONDS = 30.0
"""How long a connection is tried for while none ever stood: a wrong address shows soon."""

_HALF_A_SECOND = 0.5
"""What a ``Date`` lacks on average, as it holds whole seconds."""

_CLOCK_LEAP = 3600.0
"""A ``Date`` that is so many seconds from what was known is believed once a second one agrees."""

_LONG_WAIT = 10.0
"""Seconds from which on it is said that the server asked for a wait."""

_COUNTLESS = 1e9
"""Seconds that are not told to the second any more."""


class Caller:
    """A connection to one account, for use by any number of threads: `Client` without its calls.

    Args and errors are those of `Client`.

    Attributes:
        is_hopeless: Tells why nobody will answer, however often it is tried after an error; None
            as long as someone may.
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
        pool_size: int = 8,
        user_agent: str | None = None,
    ) -> None:
        self.base_url = parse_api_url(base_url)
        self._connection = Connection(
            self.base_url, api_key, timeout=timeout, pool_size=pool_size, user_agent=user_agent
        )
        self._budget: RateLimiter = RateLimiter() if budget is None else budget
        self._retry_seconds = retry_seconds
        self._max_retry_after = max_retry_after
        self._closed = threading.Event()
        self._connected = False
        self._count_lock = threading.Lock()
        self._request_count = 0
        self._under_way = 0
        self._unanswered_since: float | None = None
        self._paused_until = 0.0
        self._asked_until = 0.0
        self._clock_lead = 0.0
        self._other_lead = 0.0
        self.is_hopeless: Callable[[errors.ActiveCampaignError], str | None] = lambda _: None

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
        """HTTP requests sent so far, repeated ones included."""
        return self._request_count

    @property
    def pause(self) -> float:
        """Seconds until a call that is to be tried again is; 0 if there is none."""
        return max(0.0, self._paused_until - time.monotonic())

    @property
    def asked_pause(self) -> float:
        """Seconds that a call still waits because the server asked for it; 0 if none does."""
        return max(0.0, self._asked_until - time.monotonic(), self._budget.hold_seconds)

    def server_time(self) -> float:
        """Tell ActiveCampaign's time now, which times in its answers are to be compared with.

        Returns:
            Seconds since the epoch, to half a second and the time the latest answer took: the
            local clock, put right by that answer's ``Date``. Before any answer with a ``Date``
            it is the local clock as it is. One ``Date`` that is an hour or more from what the
            others said is not believed.
        """
        return time.time() + self._clock_lead

    def silence(self) -> float:
        """Tell for how many seconds requests have been out without a whole answer; 0 if none is.

        An answer that the server is at fault or that a limit is used up is none, and neither is
        one that can't be understood.
        """
        since = self._unanswered_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self, *, at_once: bool = False) -> None:
        """Send nothing more: calls that wait raise `ClientClosed`.

        Args:
            at_once: Whether those under way do so, too; else their answers are waited for.
        """
        self._closed.set()
        self._connection.close(at_once=at_once)
        self._budget.close()

    def _all_pages(
        self, path: str, decode: Callable[[Any], Page[T]], **filters: str | int
    ) -> list[T]:
        """Turn pages until all items are there, or a page brings nothing new."""
        found: dict[T, None] = {}  # in order, and none twice if items move while we read
        offset = 0
        while True:
            query = {**filters, "limit": PAGE_SIZE, "offset": offset}
            page = self._call("GET", path, decode, query=query)
            known = len(found)
            found.update(dict.fromkeys(page.items))
            offset += len(page.items)
            # A total of fewer than have come is none.
            told = page.total is not None and page.total >= offset
            last = offset == page.total if told else len(page.items) < PAGE_SIZE
            if last or len(found) == known:
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
        look: Callable[[], T | None] | None = None,
        once: bool = False,
    ) -> T:
        """Ask until there is an answer, an error that repeating can't mend, or no time left.

        Args:
            method: GET, POST, ...
            path: Where, below ``/api/3``.
            decode: As for `answers.read`.
            kind: What the request counts as.
            query: The query's parameters.
            body: JSON to send.
            look: For what must not be done twice: looks whether it was done, and gives what
                the answer would have been if so. Called before the request is repeated or its
                error raised, if it may have taken effect.
            once: Whether an error is raised at once if the request may have taken effect.
        """
        where = f"{method} {path}"
        attempts = Attempts(kind, self._budget, self._max_retry_after)
        pause = 0.0
        while True:
            try:
                with self._turn(where, kind, pause):
                    attempts.begin()
                    # In the slot still: until it is read, nobody knows whether it is an answer.
                    with self._asking():
                        answer = self._exchange(where, query, body)
                        return answers.read(where, answer, decode)
            except errors.ActiveCampaignError as error:
                next_pause = attempts.pause_after(error, self._patience(error))
                done = look() if look is not None and error.effect_unknown else None
                if done is not None:
                    return done
                if next_pause is None or (once and error.effect_unknown):
                    raise
                pause, brief = next_pause, error.brief
                self._paused_until = max(self._paused_until, time.monotonic() + pause)
                if attempts.wait_asked_for(error) is not None:
                    self._asked_until = max(self._asked_until, time.monotonic() + pause)
                asked = _told_wait(error.retry_after, pause)
            logger.warning(
                "%s: %s, trying again in %.1f s (attempt %d)%s",
                where,
                brief,
                pause,
                attempts.number + 1,
                asked,
            )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Send a request and read its answer inside; notes whether it is one."""
        self._begin()
        answered = False
        try:
            yield
            answered = True
        except errors.RequestRefused as refusal:
            answered = not isinstance(refusal, errors.LimitReached)
            raise
        finally:
            self._finish(answered=answered)

    def _begin(self) -> None:
        with self._count_lock:
            self._request_count += 1
            self._under_way += 1
            if self._unanswered_since is None:
                self._unanswered_since = time.monotonic()

    def _finish(self, *, answered: bool) -> None:
        with self._count_lock:
            self._under_way -= 1
            if answered:
                self._unanswered_since = time.monotonic() if self._under_way else None

    @contextmanager
    def _turn(self, where: str, kind: Kind, pause: float) -> Iterator[None]:
        """Wait for the pause and then for a slot, unless the client is closed meanwhile."""
        if self._closed.wait(pause):
            raise errors.ClientClosed(where)
        try:
            with self._budget.acquire(kind):
                yield
        except RateLimiterClosed:
            raise errors.ClientClosed(where) from None

    def _patience(self, error: errors.ActiveCampaignError) -> float:
        """Seconds a call may take in all, should it end in this error."""
        if self.is_hopeless(error) is not None:
            return -1.0
        if self._connected or not isinstance(error, errors.ConnectionFailed):
            return self._retry_seconds
        return min(self._retry_seconds, _FIRST_CONTACT_SECONDS)

    def _exchange(self, where: str, query: Query | None, body: bytes | None) -> answers.Answer:
        """Send one request, and learn from its answer what holds for the next ones.

        Raises:
            OutcomeUnknown, ClientClosed: As `Connection.exchange` does.
        """
        try:
            answer = self._connection.exchange(where, query, body)
        except errors.ConnectionFailed as error:
            why = self.is_hopeless(error)
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
        # A single answer with another time is a fault; a clock that is off is off twice.
        if min(abs(lead - self._clock_lead), abs(lead - self._other_lead)) < _CLOCK_LEAP:
            self._clock_lead = lead
        self._other_lead = lead


def nothing(answer: Any) -> None:
    """Read an answer that tells no more than that it was done, with any status 2xx."""


def _told_wait(asked: float | None, pause: float) -> str:
    """Return what a log line says of a wait that the server asked for, if it is a long one."""
    if asked is None or (asked < _LONG_WAIT and asked <= pause):
        return ""
    seconds = f"{asked:,.0f} s" if asked < _COUNTLESS else f"more than {_COUNTLESS:,.0f} s"
    cut = ", which is more than 'max_retry_after' allows" if asked > pause else ""
    return f": ActiveCampaign asked to wait {seconds}{cut}"


def json_body(name: str, item: Any) -> bytes:
    """The JSON to send: what there is to say, under the name that the API has for it."""
    return msgspec.json.encode({name: item})
