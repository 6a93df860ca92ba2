"""The algorithm: how many requests an account still allows.

ActiveCampaign counts three things [doc]: 5 requests a second, 100 imports of several contacts
a minute, 20 imports of one contact a minute. It does not document whether its windows are fixed
or sliding. So no window of that length may ever hold more.

A slot is the right to send one request. It is free again one window after `seen_by`, the moment
by which the server has seen the request. That moment lies between sending and answer:

- Imports: the answer. The limit can't be broken then. A breach would cost a minute, a second of
  answer time costs next to nothing.
- Other requests: the answer, but at most `ARRIVAL` seconds after sending. Counting from the answer
  would cost too much: at 200 ms an answer, 5 requests in 1.2 s. Most of that time is the server's
  work, not the way there. With fast answers the rule is as strict as for imports. With slow ones
  it allows 3.8 requests a second, enough for 100 imports a minute and their status requests. If a
  slow connection breaks the estimate, it costs one retry, and each refusal doubles the estimate.

Until the answer is there, `seen_by` is a guess. In memory, each holder of a slot gives it back. In
a shared store the holder may die, so the slot expires: an import's after `lease` seconds, any other
after `UNANSWERED`. That is longer than `ARRIVAL`, as a process may be delayed between taking a slot
and sending.
"""

from __future__ import annotations

import logging
import math
import secrets
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Kind = Literal["request", "import", "single_import"]

logger = logging.getLogger("target_activecampaign.client")

COUNTS_FOR: dict[Kind, tuple[Kind, ...]] = {
    "request": ("request",),
    "import": ("request", "import"),
    "single_import": ("request", "single_import"),
}
"""The rules that a request of each kind counts for."""

ARRIVAL = 0.3
"""Seconds after sending in which a request is assumed to reach the server, at first."""

UNANSWERED = 0.5
"""Seconds that a slot of a request other than an import is kept for a process that may be dead."""

LESSON_SECONDS = 3600.0
"""Seconds that a limit or an arrival time learned from the server is kept."""

MAX_RETRY_AFTER = 300.0
"""Longest wait in seconds that a server may ask for, unless the client is told otherwise."""

_POLLS_PER_SLOT = 4
"""Checks for another process's answer, in the time in which the limit allows one request."""

_CLOCK_DRIFT = 1.001
"""Windows are this much longer than the server's, whose clock may run faster than ours."""


class StoreFailure(Exception):  # noqa: N818 - becomes a `BudgetUnavailable` if it lasts
    """The document could not be read or written.

    Args:
        reason: The cause: a clause, or the error, whose first line names it.
        may_pass: Whether the place may just be restarting.
    """

    def __init__(self, reason: str | Exception, *, may_pass: bool = False) -> None:
        self.may_pass = may_pass
        lines = str(reason).strip().splitlines() or [type(reason).__name__]
        super().__init__(lines[0].rstrip("."))


class Store(Protocol):
    """The place that keeps an account's document. One thread uses it at a time."""

    place: str
    """Its name in a message."""

    is_shared: bool
    """True if other processes use it, too."""

    def update(self, change: Callable[[Document | None, float], tuple[Document | None, T]]) -> T:
        """Read the document and replace it, while nobody else does.

        Args:
            change: Takes the document (None if there is none) and the store's time in seconds.
                Returns the document to keep (None to keep it as it is) and any result. May be
                called again if another process was faster.

        Returns:
            The result of `change`.

        Raises:
            StoreFailure: It failed, or it is unknown whether it did.
        """

    def close(self) -> None:
        """Close what is open."""


class Rule(NamedTuple):
    """At most `limit` requests in `seconds`.

    A request has arrived `arrival` seconds after it was sent, or at its answer if that is sooner.
    The slot of one without an answer expires after `lease` seconds.
    """

    limit: int
    seconds: float
    arrival: float
    lease: float


class Limits:
    """A process's own limits. The arguments are those of `RateLimiter`.

    Attributes:
        rules: The rules by name, without those that limit nothing.
        rules_of: The names of the rules that a request of each kind counts for.
        default_hold: Seconds to hold each kind after a refusal that names no time.
        longest_hold: Seconds that a hold lasts at most.
        is_shared: Whether other processes use the same document.
    """

    def __init__(
        self,
        requests_per_second: float | None,
        imports_per_minute: float | None,
        single_imports_per_minute: float | None,
        *,
        minute: float = 60.0,
        lease: float = 120.0,
        max_retry_after: float = MAX_RETRY_AFTER,
        is_shared: bool = True,
    ) -> None:
        self.is_shared = is_shared
        self.default_hold: dict[Kind, float] = {
            "request": 1.0,
            "import": minute,
            "single_import": minute,
        }
        rates = (requests_per_second, imports_per_minute, single_imports_per_minute)
        self.rules: dict[Kind, Rule] = {}
        for (name, seconds), rate in zip(self.default_hold.items(), rates, strict=True):
            if rate:
                whole = max(1, math.floor(rate))  # 2.5 a second becomes 2 in 0.8 seconds
                arrival, expires = (ARRIVAL, UNANSWERED) if name == "request" else (math.inf, lease)
                if not is_shared:
                    expires = arrival
                window = seconds * whole / rate * _CLOCK_DRIFT
                self.rules[name] = Rule(whole, window, arrival, expires)
        self.rules_of = {
            kind: [name for name in names if name in self.rules]
            for kind, names in COUNTS_FOR.items()
        }
        windows = (rule.seconds for rule in self.rules.values())
        self.longest_hold = max(max_retry_after, *self.default_hold.values(), *windows)


class Slot(msgspec.Struct, array_like=True):
    """The right to send one request; times on the store's clock."""

    id: str
    sent: float
    seen_by: float


class Document(msgspec.Struct, omit_defaults=True):
    """The data that a store keeps for an account; times in seconds on the store's clock.

    Attributes:
        at: Time of the last change.
        origin: Random name; another one if the document was lost and a new one started.
        slots: The slots that still count, by rule.
        held_until: End of each hold, by kind.
        limit: Requests a second that the server allows, if it said fewer than we do.
        arrival: Learned replacement for `ARRIVAL`.
        lessons_until: End of `limit` and `arrival`.
    """

    at: float
    origin: str
    slots: dict[str, list[Slot]] = msgspec.field(default_factory=dict)
    held_until: dict[str, float] = msgspec.field(default_factory=dict)
    limit: int | None = None
    arrival: float | None = None
    lessons_until: float = 0.0


encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Document)
_DAMAGED = ""
"""The origin of a document that could not be decoded."""


def decode(content: bytes | None) -> Document | None:
    """Decode a stored document; None if it is missing or empty."""
    if not content:
        return None
    try:
        return _decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return Document(0.0, _DAMAGED)


class BudgetState:
    """The rate budget at one moment: the document, read by the rules of one process.

    Args:
        document: The document; None to start one. It is changed in place.
        now: The time in seconds. If it is before the last change (the clock was set back, or the
            machine restarted), everything goes on as if no time had passed.
        limits: The limits of the process that reads it.
    """

    def __init__(self, document: Document | None, now: float, limits: Limits) -> None:
        self._now = now
        self._limits = limits
        self._rules = limits.rules
        is_damaged = document is not None and document.origin == _DAMAGED
        self._changed = document is None or is_damaged
        if document is None or is_damaged:
            document = Document(now, secrets.token_hex(4))
        self._document = document
        for name in self._rules:
            document.slots.setdefault(name, [])
        if is_damaged:
            logger.warning("The shared rate budget was damaged; starting a new one.")
            self.hold_one_window()
        if limits.is_shared:
            before = encode(document)
            self._repair()
            self._changed |= encode(document) != before
        if now >= document.lessons_until:
            document.limit = document.arrival = None

    def changed_document(self) -> Document | None:
        """Return the document without holds that have ended; None if nothing changed."""
        if not self._changed:
            return None
        self._document.at = now = self._now
        if self._document.held_until:
            self._document.held_until = {
                name: until for name, until in self._document.held_until.items() if until > now
            }
        return self._document

    @property
    def origin(self) -> str:
        """The document's origin."""
        return self._document.origin

    def limit(self, name: Kind) -> int:
        """Return how many requests a rule allows: our own limit, or a lower one learned."""
        limit = self._rules[name].limit
        learned = self._document.limit if name == "request" else None
        return limit if learned is None else min(limit, learned)

    def seconds_until_free(self, kind: Kind) -> float:
        """Return the seconds until a slot of a kind may be free: 0 if one is.

        It is infinite if only an answer to this process can free one. In a shared store it is a
        guess: there may still be none then, if another process's answer has not come.
        """
        return max(map(self.seconds_until_allowed, COUNTS_FOR[kind]))

    def seconds_until_allowed(self, name: Kind) -> float:
        """Return the seconds until one rule allows a request, regardless of the other rules."""
        held = self._document.held_until.get(name, 0.0) - self._now
        return max(0.0, held, self._window_wait(name) if name in self._rules else 0.0)

    def take(self, kind: Kind, slot: str) -> float:
        """Take a slot under a unique name. Return 0, or `seconds_until_free` if none is free."""
        wait = self.seconds_until_free(kind)
        if wait <= 0:
            for name in self._limits.rules_of[kind]:
                lease, arrival = self._rules[name].lease, self._arrival(name)
                expires = lease if math.isinf(arrival) else max(arrival, lease)
                self._store_slot(name, Slot(slot, self._now, self._now + expires))
        return wait

    def give_back(self, kind: Kind, slot: str, duration: float) -> None:
        """Note that a slot's answer came, `duration` seconds after the request was sent."""
        sent = self._now - duration
        for name in self._limits.rules_of[kind]:
            self._store_slot(name, Slot(slot, sent, min(self._now, sent + self._arrival(name))))

    def holds(self) -> dict[Kind, float]:
        """Return the seconds for which the server's refusals hold each kind."""
        held_until, now = self._document.held_until, self._now
        return {kind: held_until[kind] - now for kind in COUNTS_FOR if kind in held_until}

    def note_refusal(self, kind: Kind, seconds: float) -> None:
        """Note that the server refused a request: give no slots of that kind for these seconds."""
        is_held = self._document.held_until.get(kind, self._now) > self._now
        if not is_held and kind == "request" and kind in self._rules:
            # Requests reach the server later than assumed. Refusals of one moment count once.
            arrival = self._arrival(kind)
            self._document.arrival = max(arrival, min(arrival * 2, self._rules[kind].seconds))
            self._document.lessons_until = self._now + LESSON_SECONDS
        self._hold(kind, seconds)

    def learn(self, limit: int | None, remaining: int | None) -> None:
        """Note what an answer says about requests a second, if those are limited.

        Args:
            limit: The server's limit; kept if it is lower than ours.
            remaining: Requests that remain in this second. With 0, all wait for the next second,
                unless our own requests may have used it up.
        """
        if limit and limit < self.limit("request"):
            self._document.limit = limit
            self._document.lessons_until = self._now + LESSON_SECONDS
            self._changed = True
        if remaining == 0 and not self._is_used_up_by_us():
            self._hold("request", self._rules["request"].seconds)

    def hold_one_window(self) -> None:
        """Hold everything for one window, as the requests of the last one are not known."""
        for name, rule in self._rules.items():
            self._hold(name, rule.seconds)

    def _window_wait(self, name: Kind) -> float:
        slots, limit, now = self._document.slots[name], self.limit(name), self._now
        seconds = self._rules[name].seconds
        if len(slots) < limit:
            return 0.0
        taken = [slot for slot in slots if slot.seen_by + seconds > now]
        if len(taken) < limit:
            return 0.0
        if not self._limits.is_shared:
            return sorted(slot.seen_by for slot in taken)[len(taken) - limit] + seconds - now
        # Another process's answer may be there already: it is looked for as early as it can be.
        arrival = self._arrival(name)
        seen_by = sorted(min(slot.seen_by, now, slot.sent + arrival) for slot in taken)
        wait = seen_by[len(taken) - limit] + seconds - now
        return wait if wait > 0 else seconds / limit / _POLLS_PER_SLOT

    def _is_used_up_by_us(self) -> bool:
        """Tell whether our own requests may be why none remain in this second.

        The last two windows count, as the answer that says so may have been on its way a while.
        """
        since = self._now - 2 * self._rules["request"].seconds
        return sum(slot.sent > since for slot in self._document.slots["request"]) >= self.limit(
            "request"
        )

    def _arrival(self, name: Kind) -> float:
        learned = self._document.arrival if name == "request" else None
        return max(self._rules[name].arrival, learned or 0.0)

    def _store_slot(self, name: Kind, slot: Slot) -> None:
        """Add a slot, or replace it, and remove those of its rule that no longer count."""
        free_since = self._now - self._rules[name].seconds
        # Requests are kept for two windows: see `_is_used_up_by_us`.
        sent_since = free_since - self._rules[name].seconds if name == "request" else math.inf
        slots = [
            one
            for one in self._document.slots[name]
            if (one.seen_by > free_since or one.sent > sent_since) and one.id != slot.id
        ]
        slots.append(slot)
        self._document.slots[name] = slots
        self._changed = True

    def _hold(self, name: Kind, seconds: float) -> None:
        until = self._now + min(seconds, self._limits.longest_hold)
        self._document.held_until[name] = max(self._document.held_until.get(name, until), until)
        self._changed = True

    def _repair(self) -> None:
        """Undo a clock that went back, and bound values that nobody can have written by now."""
        document, now, longest_hold = self._document, self._now, self._limits.longest_hold
        back = min(0.0, now - document.at)
        document.held_until = {
            name: min(until + back, now + longest_hold)
            for name, until in document.held_until.items()
        }
        for name, slots in document.slots.items():
            rule = self._rules.get(name)  # type: ignore[call-overload]
            last = now + (max(rule.lease, rule.seconds, longest_hold) if rule else math.inf)
            for slot in slots:
                slot.sent = min(slot.sent + back, now)
                slot.seen_by = min(slot.seen_by + back, last)
        document.lessons_until = min(document.lessons_until + back, now + LESSON_SECONDS)
        if document.limit is not None and document.limit < 1:
            document.limit = None
        if document.arrival is not None and not 0 <= document.arrival <= longest_hold:
            document.arrival = None
