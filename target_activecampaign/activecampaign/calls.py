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

from target_activecampaign.activecampaign import answers, errors
from target_activecampaign.activecampaign.address import parse_api_url
from target_activecampaign.activecampaign.budget import Budget, BudgetClosed
from target_activecampaign.activecampaign.connection import Connection
from target_activecampaign.activecampaign.retries import Attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from target_activecampaign.activecampaign.budget import Kind, RateBudget
    from target_activecampaign.activecampaign.connection import Query
    from target_activecampaign.activecampaign.decoding import Page

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.activecampaign")

PAGE_SIZE = 100
"""Items a page, the most there may be; without asking it is 20 [doc]."""

_FIRST_CONTACT_SECONDS = 30.0
"""How long a connection is tried for while none ever stood: a wrong address shows soon."""

_SERVER_AT_FAULT = 500
"""The status from which on an answer tells no more than that there is none to be had."""

_HALF_A_SECOND = 0.5
"""What a ``Date`` lacks on average, as it holds whole seconds."""


class Caller:
    """A connection to one account, for use by any number of threads: `Client` without its calls.

    Args and errors are those of `Client`.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        budget: RateBudget | None = None,
        timeout: float = 30.0,
        retry_seconds: float = 300.0,
        pool_size: int = 8,
        user_agent: str | None = None,
    ) -> None:
        self.base_url = parse_api_url(base_url)
        self._connection = Connection(
            self.base_url, api_key, timeout=timeout, pool_size=pool_size, user_agent=user_agent
        )
        self._budget: RateBudget = Budget() if budget is None else budget
        self._retry_seconds = retry_seconds
        self._closed = threading.Event()
        self._connected = False
        self._answered_at = time.monotonic()
        self._asked_in_vain = False
        self._count_lock = threading.Lock()
        self._request_count = 0
        self._paused_until = 0.0
        self._clock_lead = 0.0

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

    def server_time(self) -> float:
        """Tell ActiveCampaign's time now, which times in its answers are to be compared with.

        Returns:
            Seconds since the epoch, to half a second and the time the latest answer took: the
            local clock, put right by that answer's ``Date``. Before any answer with a ``Date``
            it is the local clock as it is.
        """
        return time.time() + self._clock_lead

    def silence(self) -> float:
        """Tell for how many seconds there has been no answer; 0 unless one was asked for in vain.

        An answer that the server is at fault is none.
        """
        return time.monotonic() - self._answered_at if self._asked_in_vain else 0.0

    def close(self) -> None:
        """Send nothing more: calls that wait raise `ClientClosed`, those under way end."""
        self._closed.set()
        self._budget.close()
        self._connection.close()

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
            last = len(page.items) < PAGE_SIZE if page.total is None else offset >= page.total
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
        attempts = Attempts(kind, self._budget)
        pause = 0.0
        while True:
            try:
                with self._turn(where, kind, pause):
                    attempts.begin()
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
            logger.warning(
                "%s: %s, trying again in %.1f s (attempt %d)",
                where,
                brief,
                pause,
                attempts.number + 1,
            )

    @contextmanager
    def _turn(self, where: str, kind: Kind, pause: float) -> Iterator[None]:
        """Wait for the pause and then for a slot, unless the client is closed meanwhile."""
        if self._closed.wait(pause):
            raise errors.ClientClosed(where)
        try:
            with self._budget.slot(kind):
                yield
        except BudgetClosed:
            raise errors.ClientClosed(where) from None

    def _patience(self, error: errors.ActiveCampaignError) -> float:
        """Seconds a call may take in all, should it end in this error."""
        if self._connected or not isinstance(error, errors.ConnectionFailed):
            return self._retry_seconds
        return min(self._retry_seconds, _FIRST_CONTACT_SECONDS)

    def _exchange(self, where: str, query: Query | None, body: bytes | None) -> answers.Answer:
        """Send one request, and learn from its answer what holds for the next ones.

        Raises:
            OutcomeUnknown, ClientClosed: As `Connection.exchange` does.
        """
        with self._count_lock:
            self._request_count += 1
        answered = False
        try:
            answer = self._connection.exchange(where, query, body)
            answered = answer.status < _SERVER_AT_FAULT
        finally:
            self._asked_in_vain = not answered
            if answered:
                self._answered_at = time.monotonic()
        self._connected = True
        self._budget.learn(answer.headers)
        self._set_clock(answer.headers)
        return answer

    def _set_clock(self, headers: Mapping[str, str]) -> None:
        date = answers.date_of(headers)
        if date is not None:
            self._clock_lead = date + _HALF_A_SECOND - time.time()


def nothing(answer: Any) -> None:
    """Read an answer that tells no more than that it was done, with any status 2xx."""


def json_body(name: str, item: Any) -> bytes:
    """The JSON to send: what there is to say, under the name that the API has for it."""
    return msgspec.json.encode({name: item})
