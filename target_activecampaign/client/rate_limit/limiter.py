"""How many requests the account still allows.

ActiveCampaign counts three things [doc]: 5 requests a second, 100 imports of several contacts
a minute, 20 imports of one contact a minute. How its windows lie (fixed, sliding) is not
documented, so a `Budget` sees to it that no window of that length, wherever it lies, ever
holds more.

When does a request count? The server saw it at some moment between sending and answer. If a
slot only becomes free a full window after the *answer*, any later request arrives a full
window after this one did, and the limit can't be broken: that is the rule for imports, where
a breach costs a minute of standing still and a second of answer time costs next to nothing.
For the requests a second it would cost dearly: at 200 ms an answer, 5 in 1.2 s. Most of an
answer's time is the server's work, though, not the way there. So a request counts as seen
with its answer, but no later than `ARRIVAL` after it was sent: with fast answers the rule is
as strict as that of imports, with slow ones it costs a quarter at most: 3.8 requests a
second, which is still enough for 100 imports a minute and the questions about them. Should the
server refuse all the same (a slow connection can overtake the estimate), one retry a second
later is all it costs, and the estimate grows with each refusal.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager


Kind = Literal["request", "import", "single_import"]

ARRIVAL = 0.3
"""Seconds after sending in which a request is taken to reach the server, to begin with."""

RULES: dict[Kind, tuple[Kind, ...]] = {
    "request": ("request",),
    "import": ("request", "import"),
    "single_import": ("request", "single_import"),
}
"""The limits that each kind of request counts for."""

IMPORT_KINDS: tuple[Kind, ...] = ("import", "single_import")

_REMEMBERED = 100

_CLOCK_DRIFT = 1.001
"""Windows are this much longer than the server's, whose clock may run faster than ours."""


class BudgetClosed(Exception):  # noqa: N818 - an order to stop, not a fault
    """The budget was closed: there are no more slots."""


class RateBudget(Protocol):
    """What a client needs of a budget; one shared by several processes fits as well."""

    def slot(self, kind: Kind) -> AbstractContextManager[None]:
        """Wait for a slot, and hold it until the answer has come."""

    def refused(self, kind: Kind, retry_after: float | None) -> float:
        """Note that the server refused; return the seconds nobody of that kind may send."""

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer's headers say about the limits."""

    def held(self) -> float:
        """Return the seconds that someone has to wait because the server refused; 0 for nobody."""

    def close(self) -> None:
        """Wake all who wait, with `BudgetClosed`."""


@dataclass(slots=True, eq=False)
class _Slot:
    sent: float
    answered: float = math.inf


class _Window:
    """One rule: at most so many in so many seconds. Not thread-safe; `Budget` locks."""

    def __init__(self, limit: float, seconds: float, arrival: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self._arrival = arrival
        self._slots: list[_Slot] = []
        self._last_sent: deque[float] = deque(maxlen=_REMEMBERED)

    def wait(self, now: float) -> float:
        """Seconds until a slot is free: 0 if now, inf if only an answer can free one."""
        self._slots = [slot for slot in self._slots if self._free_at(slot) > now]
        if len(self._slots) < self.limit:
            return 0.0
        surplus = len(self._slots) - int(self.limit)
        return sorted(map(self._free_at, self._slots))[surplus] - now

    def take(self, now: float) -> _Slot:
        """Take a slot, which has to be given back by setting its `answered`."""
        slot = _Slot(now)
        self._last_sent.append(now)
        if not math.isinf(self.limit):
            self._slots.append(slot)
        return slot

    def used_up(self, now: float) -> bool:
        """Whether our own requests may be why the server has none left.

        Two windows are looked at, as the answer that says so may be a while under way.
        """
        recent = sum(sent > now - 2 * self.seconds for sent in self._last_sent)
        return recent >= min(self.limit, _REMEMBERED)

    def expect_late_arrival(self) -> None:
        """Take it that requests reach the server later than thought, a window at most."""
        if self._arrival < self.seconds:
            self._arrival = min(self._arrival * 2, self.seconds)

    def _free_at(self, slot: _Slot) -> float:
        return min(slot.answered, slot.sent + self._arrival) + self.seconds


class Budget:
    """The account's limits, kept by all threads of one process.

    Args:
        requests_per_second: Requests of any kind a second. None or 0: as many as one likes;
            likewise for the next two.
        imports_per_minute: Imports of several contacts a minute.
        single_imports_per_minute: Imports of one contact a minute.
        minute: Seconds in a minute; tests have less time.
        clock: Gives the time in seconds, never going back.
    """

    def __init__(
        self,
        requests_per_second: float | None = 5.0,
        imports_per_minute: float | None = 100,
        single_imports_per_minute: float | None = 20,
        minute: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._closed = False
        self._waiting: Counter[Kind] = Counter()
        self._held_until: dict[Kind, float] = {}
        self._default_hold = default_holds(minute)
        self._windows: dict[Kind, _Window] = {
            "request": _window(requests_per_second, 1.0, ARRIVAL),
            "import": _window(imports_per_minute, minute),
            "single_import": _window(single_imports_per_minute, minute),
        }

    @contextmanager
    def slot(self, kind: Kind) -> Iterator[None]:
        """Wait until a request of this kind may be sent, and hold its slot meanwhile.

        Imports go before other requests when both wait for the same second.

        Args:
            kind: ``import`` (several contacts), ``single_import`` (one) or ``request``
                (anything else). An import counts as a request, too.

        Raises:
            BudgetClosed: The budget was closed before the slot was there.
        """
        slots = self._take(kind)
        try:
            yield
        finally:
            with self._changed:
                for slot in slots:
                    slot.answered = self._clock()
                self._changed.notify_all()

    def wait(self, kind: Kind) -> float:
        """Seconds until a slot of this kind is free, as things stand.

        Returns:
            0 if one is free now, infinity if that takes an answer to a request under way.
        """
        with self._changed:
            return self._wait(kind)

    def refused(self, kind: Kind, retry_after: float | None) -> float:
        """Note that the server refused: nobody of that kind gets a slot for a while.

        Args:
            kind: The limit that was met; ``request`` holds everything.
            retry_after: Seconds the server asked for. None: a minute for imports, as the
                API's answer says [doc], and a second for requests.

        Returns:
            The seconds the kind is held.
        """
        seconds = self._default_hold[kind] if retry_after is None else retry_after
        with self._changed:
            now = self._clock()
            held_until = self._held_until.get(kind, now)
            if held_until <= now:  # several refusals of the same moment are one
                self._windows[kind].expect_late_arrival()
            self._held_until[kind] = max(held_until, now + seconds)
        return seconds

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in ``RateLimit-Limit`` and ``RateLimit-Remaining`` [doc] of an answer.

        A limit lower than ours is kept from now on. "None remain" is news only if we can't
        have used them up ourselves: then others work on the account, and everybody waits for
        the next second instead of being refused.
        """
        limit, remaining = limit_and_remaining(headers)
        with self._changed:
            window, now = self._windows["request"], self._clock()
            if math.isinf(window.limit):  # somebody decided that there is no limit
                return
            if limit:
                window.limit = min(window.limit, limit)
            if remaining == 0 and not window.used_up(now):
                self._held_until["request"] = max(
                    self._held_until.get("request", now), now + window.seconds
                )

    def held(self) -> float:
        """Return the seconds that someone has to wait because the server refused; 0 for nobody."""
        with self._changed:
            return longest_hold(self._waiting, self._held_until, self._clock())

    def close(self) -> None:
        """Give no more slots: whoever waits, or asks later, gets `BudgetClosed`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, kind: Kind) -> list[_Slot]:
        with self._changed:
            self._waiting[kind] += 1
            try:
                while True:
                    if self._closed:
                        raise BudgetClosed
                    seconds = self._wait(kind)
                    if seconds <= 0:
                        if not (kind == "request" and self._import_goes_first()):
                            break
                        seconds = math.inf  # the import tells when it has taken its slot
                    self._changed.wait(None if math.isinf(seconds) else seconds)
                now = self._clock()
                return [self._windows[rule].take(now) for rule in RULES[kind]]
            finally:
                self._waiting[kind] -= 1
                self._changed.notify_all()

    def _wait(self, kind: Kind) -> float:
        now = self._clock()
        return max(
            0.0,
            *(self._windows[rule].wait(now) for rule in RULES[kind]),
            *(self._held_until.get(rule, now) - now for rule in RULES[kind]),
        )

    def _import_goes_first(self) -> bool:
        return any(self._waiting[kind] and self._wait(kind) <= 0 for kind in IMPORT_KINDS)


def _window(limit: float | None, seconds: float, arrival: float = math.inf) -> _Window:
    return _Window(*whole_window(limit, seconds), arrival)


def whole_window(limit: float | None, seconds: float) -> tuple[float, float]:
    """Make a limit of a rate: 2.5 a second becomes 2 in 0.8 seconds, and a little longer.

    Returns:
        How many in how many seconds; infinitely many where there is no limit (None or 0).
    """
    if not limit:
        return math.inf, seconds
    whole = max(1, math.floor(limit))
    return whole, seconds * whole / limit * _CLOCK_DRIFT


def longest_hold(
    waiting: Mapping[Kind, int], held_until: Mapping[Kind, float], now: float
) -> float:
    """Return the longest that anyone who waits has to wait for the end of a hold."""
    rules = {rule for kind, count in waiting.items() if count for rule in RULES[kind]}
    return max([0.0, *(held_until.get(rule, now) - now for rule in rules)])


def default_holds(minute: float) -> dict[Kind, float]:
    """Seconds nobody sends after a refusal that names none: the length of its window."""
    return {"request": 1.0, "import": minute, "single_import": minute}


def limit_and_remaining(headers: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Read ``RateLimit-Limit`` and ``RateLimit-Remaining``; None for what is not there."""
    return (
        _whole_number(headers.get("RateLimit-Limit")),
        _whole_number(headers.get("RateLimit-Remaining")),
    )


def _whole_number(text: str | None) -> int | None:
    digits = (text or "").strip()
    # More digits than these are no limit of anybody's, and `int` refuses more than 4,300.
    return int(digits) if len(digits) <= 9 and digits.isascii() and digits.isdigit() else None  # noqa: PLR2004


MAX_RETRY_AFTER = 300.0
"""Seconds to wait at most because a server asks for it, unless the client is told otherwise."""
