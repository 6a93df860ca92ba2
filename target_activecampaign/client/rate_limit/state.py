"""What processes on one account share, and what follows from it for the next request.

A `SharedState` is one small JSON document, read and written as a whole, on the clock of the
place where it is kept. A slot in it is one number: the moment by which the server has seen its
request, as `budget` reasons. A window later the slot is free, whoever took it.

While the answer is out that moment is a guess, so that a process which dies with a slot in hand
blocks nobody for good: an import may reach the server up to a lease after its slot was given
out. Other requests, which are many and cost little when they are refused, have `UNANSWERED`
seconds; as a process may be held up between taking a slot and sending, that is longer than
`ARRIVAL`, which the sender itself measures once the answer is there.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from target_activecampaign.client.rate_limit.limiter import (
    ARRIVAL,
    MAX_RETRY_AFTER,
    RULES,
    whole_window,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_activecampaign.client.rate_limit.limiter import Kind

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")

UNANSWERED = 0.5
"""Seconds after a slot was given out in which a request that is no import reaches the server."""

LESSON_SECONDS = 3600.0
"""How long what the server taught is kept: unlike a process, the document never ends."""

_POLLS_PER_SLOT = 4
"""An answer that is due is looked for so often in the time that the limit allows one request."""


class StoreFailure(Exception):  # noqa: N818 - becomes a `BudgetUnavailable` if it lasts
    """The document could not be read or written.

    Args:
        reason: Why: a clause, or the error, whose first line says it.
        may_pass: Whether the place may just be starting anew.
    """

    def __init__(self, reason: str | Exception, *, may_pass: bool = False) -> None:
        self.may_pass = may_pass
        lines = str(reason).strip().splitlines() or [type(reason).__name__]
        super().__init__(lines[0].rstrip("."))


class Store(Protocol):
    """Where the document of one account is kept."""

    place: str
    """What to call it in a message."""

    def update(self, change: Callable[[bytes | None, float], tuple[bytes | None, T]]) -> T:
        """Read the document, and replace it, while nobody else does.

        Args:
            change: Gets the document (None if there is none) and the store's time in seconds.
                Gives the document to keep (None for the one that is there) and any result. May
                be called again if somebody else was faster.

        Returns:
            The result of `change`.

        Raises:
            StoreFailure: It could not be done, or nobody knows whether it was.
        """

    def close(self) -> None:
        """Give back what is open."""


@dataclass(frozen=True)
class Rule:
    """At most `limit` in `seconds`.

    Attributes:
        limit: How many; infinitely many if nothing limits them.
        seconds: The window's length.
        arrival: Seconds after sending in which a request is taken to reach the server.
        lease: The same after its slot was given out, as long as there is no answer.
    """

    limit: float
    seconds: float
    arrival: float
    lease: float


def limiting_rules(
    requests_per_second: float | None,
    imports_per_minute: float | None,
    single_imports_per_minute: float | None,
    minute: float,
    lease: float,
) -> dict[Kind, Rule]:
    """Make the rules that limit anything."""
    rules: dict[Kind, Rule] = {
        "request": Rule(*whole_window(requests_per_second, 1.0), ARRIVAL, UNANSWERED),
        "import": Rule(*whole_window(imports_per_minute, minute), math.inf, lease),
        "single_import": Rule(*whole_window(single_imports_per_minute, minute), math.inf, lease),
    }
    return {kind: rule for kind, rule in rules.items() if rule.limit < math.inf}


class _Slot(msgspec.Struct, array_like=True):
    id: str
    sent: float
    seen_by: float


class _Document(msgspec.Struct, omit_defaults=True):
    at: float
    origin: str
    slots: dict[str, list[_Slot]] = msgspec.field(default_factory=dict)
    held_until: dict[str, float] = msgspec.field(default_factory=dict)
    limit: int | None = None
    arrival: float | None = None
    lessons_until: float = 0.0


class SharedState:
    """A document at one moment.

    Args:
        document: As `document` gave it; None to begin with. What no such document can hold, a
            hold or a slot in a far future or a limit of none, is put right.
        now: The time in seconds. Should it be earlier than when the document was written (the
            clock was set back, or the machine started anew and counts from there), all goes on
            as if no time had passed.
        rules: The reader's own limits, only those that limit anything.
        longest_hold: Seconds that a hold lasts at most.
    """

    def __init__(
        self,
        document: bytes | None,
        now: float,
        rules: Mapping[Kind, Rule],
        longest_hold: float = MAX_RETRY_AFTER,
    ) -> None:
        self._now = now
        self._rules = rules
        self._longest_hold = longest_hold
        kept = None if document is None else _decoded(document)
        self._changed = kept is None
        self._kept = _Document(now, secrets.token_hex(4)) if kept is None else kept
        if document is not None and kept is None:
            logger.warning("The rate budget that is shared was damaged: it is begun anew.")
            self.begin_anew()
        if now < self._kept.at:
            self._move(now - self._kept.at)
        self._put_right()
        if now >= self._kept.lessons_until:
            self._kept.limit = self._kept.arrival = None

    def document(self) -> bytes | None:
        """Give the document to keep, without what no longer matters; None if nothing changed."""
        if not self._changed:
            return None
        self._kept.at = self._now
        for name in self._rules:
            self._kept.slots[name] = [
                slot for slot in self._slots(name) if self._counts(name, slot)
            ]
        held_until = self._kept.held_until
        self._kept.held_until = {name: at for name, at in held_until.items() if at > self._now}
        return msgspec.json.encode(self._kept)

    @property
    def origin(self) -> str:
        """Whose successor this document is: another one if it was lost and begun again."""
        return self._kept.origin

    def limit(self, name: Kind) -> float:
        """How many requests a rule lets through, by the reader's limit or a lower one learned."""
        limit = self._rules[name].limit
        learned = self._kept.limit if name == "request" else None
        return limit if learned is None else min(limit, learned)

    def take(self, kind: Kind, slot: str) -> float:
        """Take a slot if there is one.

        Args:
            kind: What the request counts as.
            slot: A name that no other slot has.

        Returns:
            0 if the slot is taken, else the seconds until there may be one. There may still be
            none then, if the answer to a request that is out has not come.
        """
        wait = max(map(self.own_wait, RULES[kind]))
        if wait > 0:
            return wait
        for name in self._rules.keys() & set(RULES[kind]):
            arrival, lease = self._arrival(name), self._rules[name].lease
            seen_by = self._now + (lease if math.isinf(arrival) else max(arrival, lease))
            self._put(name, _Slot(slot, self._now, seen_by))
        return 0.0

    def holds(self) -> dict[Kind, float]:
        """Seconds that nobody may send because the server refused, by kind."""
        held_until = self._kept.held_until
        return {
            kind: held_until[kind] - self._now
            for kind in RULES
            if held_until.get(kind, self._now) > self._now
        }

    def own_wait(self, name: Kind) -> float:
        """Seconds until a rule may let a request through, whatever the others do; 0 if now."""
        held = self._kept.held_until.get(name, 0.0) - self._now
        return max(0.0, held, self._window_wait(name) if name in self._rules else 0.0)

    def answered(self, kind: Kind, slot: str, took: float) -> None:
        """Note that the answer to a slot's request came, `took` seconds after it was sent."""
        sent = self._now - took
        for name in RULES[kind]:
            if name in self._rules:
                seen_by = min(self._now, sent + self._arrival(name))
                self._put(name, _Slot(slot, sent, seen_by))

    def refused(self, kind: Kind, seconds: float) -> None:
        """Note that the server refused: nobody of that kind gets a slot for so many seconds."""
        held_until = self._kept.held_until.get(kind, self._now)
        if held_until <= self._now and kind == "request" and kind in self._rules:
            # Requests reach the server later than thought; refusals of one moment are one.
            arrival = self._arrival(kind)
            self._kept.arrival = max(arrival, min(arrival * 2, self._rules[kind].seconds))
            self._kept.lessons_until = self._now + LESSON_SECONDS
        self._hold(kind, seconds)

    def learn(self, limit: int | None, remaining: int | None) -> None:
        """Take in what an answer says about the requests a second, if those are limited."""
        if limit and limit < self.limit("request"):
            self._kept.limit = limit
            self._kept.lessons_until = self._now + LESSON_SECONDS
            self._changed = True
        if remaining == 0 and not self._used_up():
            self._hold("request", self._rules["request"].seconds)

    def begin_anew(self) -> None:
        """Let a window pass first: what was sent in the last one is not known."""
        for name, rule in self._rules.items():
            self._hold(name, rule.seconds)

    def _window_wait(self, name: Kind) -> float:
        rule, limit = self._rules[name], int(self.limit(name))
        taken = [slot for slot in self._slots(name) if slot.seen_by + rule.seconds > self._now]
        if len(taken) < limit:
            return 0.0
        free_at = sorted(
            min(slot.seen_by, self._now, slot.sent + self._arrival(name)) + rule.seconds
            for slot in taken
        )
        wait = free_at[len(taken) - limit] - self._now
        return wait if wait > 0 else rule.seconds / limit / _POLLS_PER_SLOT

    def _used_up(self) -> bool:
        """Whether our own requests may be why none remain."""
        return sum(map(self._is_recent, self._slots("request"))) >= self.limit("request")

    def _counts(self, name: Kind, slot: _Slot) -> bool:
        free_at = slot.seen_by + self._rules[name].seconds
        return free_at > self._now or (name == "request" and self._is_recent(slot))

    def _is_recent(self, slot: _Slot) -> bool:
        """Whether a request was sent in the last two windows, as its answer may take a while."""
        return slot.sent + 2 * self._rules["request"].seconds > self._now

    def _arrival(self, name: Kind) -> float:
        """Seconds after sending, as the rule says or longer as learned of requests."""
        learned = self._kept.arrival if name == "request" else None
        return max(self._rules[name].arrival, learned or 0.0)

    def _slots(self, name: Kind) -> list[_Slot]:
        return self._kept.slots.get(name, [])

    def _put(self, name: Kind, slot: _Slot) -> None:
        others = [other for other in self._slots(name) if other.id != slot.id]
        self._kept.slots[name] = [*others, slot]
        self._changed = True

    def _hold(self, name: Kind, seconds: float) -> None:
        held_until = self._kept.held_until.get(name, self._now)
        until = self._now + min(seconds, self._longest_hold)
        self._kept.held_until[name] = max(held_until, until)
        self._changed = True

    def _put_right(self) -> None:
        """Bound what is kept by what can have been written at this time."""
        kept, now = self._kept, self._now
        latest = now + self._longest_hold
        if any(until > latest for until in kept.held_until.values()):
            kept.held_until = {name: min(until, latest) for name, until in kept.held_until.items()}
            self._changed = True
        for name, rule in self._rules.items():
            last = now + max(rule.lease, rule.seconds, self._longest_hold)
            for slot in self._slots(name):
                if slot.sent > now or slot.seen_by > last:
                    slot.sent, slot.seen_by = min(slot.sent, now), min(slot.seen_by, last)
                    self._changed = True
        if kept.limit is not None and kept.limit < 1:
            kept.limit, self._changed = None, True
        if kept.arrival is not None and not 0 <= kept.arrival <= self._longest_hold:
            kept.arrival, self._changed = None, True
        if kept.lessons_until > now + LESSON_SECONDS:
            kept.lessons_until, self._changed = now + LESSON_SECONDS, True

    def _move(self, seconds: float) -> None:
        kept = self._kept
        for slots in kept.slots.values():
            for slot in slots:
                slot.sent += seconds
                slot.seen_by += seconds
        kept.held_until = {name: until + seconds for name, until in kept.held_until.items()}
        kept.lessons_until += seconds
        self._changed = True


def _decoded(document: bytes) -> _Document | None:
    """Read a document; None if it is none, or has a time that is no number."""
    try:
        return msgspec.json.decode(document, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        return None
