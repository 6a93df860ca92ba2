"""How many requests the account still allows, shared by all processes that work on it.

`shared_budget` makes a `RateBudget` whose slots lie in a file, for processes of one machine, or
on a Redis or PostgreSQL server, for several::

    Client(url, key, budget=shared_budget("redis://cache:6379/0", url, requests_per_second=5, ...))

What the limits mean stands in `shared_budget_state`; the places are modules of their own; here
is who asks, waits, and what becomes of a place that can't be reached.

It is fair by chance: who finds no slot asks again when one may be free, after a random delay.
A process that got one lets as much time pass before the next, so that others come first.

If the place can't be reached, nobody sends: requests wait and ask it again, with growing
pauses, for `patience` seconds; then they end in `BudgetUnavailable`. A slot that could not be
given back expires as that of a dead process does. If the place comes back without what it knew,
a window passes before the first request.

Why not pyrate-limiter (4.3)? It counts a request when its slot is taken and knows neither the
answer that it should be counted from nor holders that died; a refusal can't be shared; its
Redis bucket goes by each machine's own clock; and its waits can't be ended by `close`.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from target_activecampaign.client.address import parse_api_url
from target_activecampaign.client.rate_limit.limiter import (
    IMPORT_KINDS,
    MAX_RETRY_AFTER,
    RULES,
    BudgetClosed,
    default_holds,
    limit_and_remaining,
    longest_hold,
)
from target_activecampaign.client.rate_limit.state import SharedState, StoreFailure, limiting_rules
from target_activecampaign.client.rate_limit.stores import open_store
from target_activecampaign.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_activecampaign.client.rate_limit.limiter import Kind, RateBudget
    from target_activecampaign.client.rate_limit.state import Rule, Store

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")

_LONGEST_PAUSE = 2.0

START_SECONDS = 30.0
"""How long a place that is away, and may come back, is tried at the start."""

_LONGEST_COURTESY = 0.05
"""Seconds that a process lets pass for others at most."""


class BudgetUnavailable(TargetError):  # noqa: N818 - like BudgetClosed
    """The place where the budget is shared can't be used; the text says why, and what to do."""

    def __init__(self, place: str, reason: StoreFailure) -> None:
        super().__init__(
            f"The rate budget can't be shared through {place}: {reason}. Check rate_budget_url and "
            "whether that place can be reached from here. Without rate_budget_url each process "
            "keeps the account's limits on its own."
        )


def shared_budget(
    url: str,
    account: str,
    *,
    requests_per_second: float | None,
    imports_per_minute: float | None,
    single_imports_per_minute: float | None,
    minute: float = 60.0,
    lease: float = 120.0,
    patience: float = 60.0,
    max_retry_after: float = MAX_RETRY_AFTER,
) -> RateBudget:
    """Make a budget that all processes which are given the same place and account share.

    They should be given the same limits, too. If they are not, each keeps its own, counting
    the others' requests.

    Args:
        url: The place: a file's path or ``sqlite:///path``, ``redis://...``, ``rediss://...``,
            ``postgresql://...`` or ``postgresql+psycopg://...``.
        account: The account's API address, in any form that `parse_api_url` takes. Several
            accounts may share a place.
        requests_per_second: Requests of any kind a second. None or 0: as many as one likes, at
            no cost; likewise for the next two.
        imports_per_minute: Imports of several contacts a minute.
        single_imports_per_minute: Imports of one contact a minute.
        minute: Seconds in a minute; tests have less time.
        lease: Seconds after which a slot is taken back from a process that may have died with
            it, and which an import certainly needs less to reach the server: more than the
            client's timeout.
        patience: Seconds for which requests wait for the place when it can't be reached.
        max_retry_after: Seconds to wait at most because the server asks for it. Longer waits are
            neither kept in the place nor believed of it.

    Raises:
        ValueError: The URL is none of these, its driver is not installed, or the address is
            none. The message repeats nothing of the URL.
        BudgetUnavailable: The place can't be used now.
    """
    rules = limiting_rules(
        requests_per_second, imports_per_minute, single_imports_per_minute, minute, lease
    )
    store = open_store(url, parse_api_url(account))
    budget = SharedBudget(store, rules, default_holds(minute), patience, max_retry_after)
    try:
        budget.check()
    except BudgetUnavailable:
        budget.close()
        raise
    return budget


class SharedBudget:
    """The limits of an account, kept by the threads of this process together with others.

    Made by `shared_budget`.

    Args:
        store: Where the account's document is. It is used by one thread at a time.
        rules: The limits there are.
        default_hold: Seconds nobody sends after a refusal that names none.
        patience: Seconds for which the store may fail.
        max_retry_after: Seconds to wait at most because the server asks for it.
    """

    def __init__(
        self,
        store: Store,
        rules: Mapping[Kind, Rule],
        default_hold: Mapping[Kind, float],
        patience: float,
        max_retry_after: float = MAX_RETRY_AFTER,
    ) -> None:
        self._store = store
        self._longest_hold = max(
            max_retry_after, *default_hold.values(), *(rule.seconds for rule in rules.values())
        )
        self._rules = rules
        self._default_hold = default_hold
        self._patience = patience
        self._courtesy = _courtesy(rules)
        self._changed = threading.Condition()
        self._closed = False
        self._users = 0
        self._waiting: Counter[Kind] = Counter()
        self._held_until: dict[Kind, float] = {}
        self._next_ask: dict[Kind, float] = {}
        self._own_rule_until: dict[Kind, float] = {}
        self._known_limit = 0.0
        self._known_origin: str | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._down_until = 0.0

    @contextmanager
    def slot(self, kind: Kind) -> Iterator[None]:
        """Wait until a request of this kind may be sent, and hold its slot meanwhile.

        Imports of this process go before its other requests when both wait for the same second.

        Args:
            kind: ``import`` (several contacts), ``single_import`` (one) or ``request``
                (anything else). An import counts as a request, too.

        Raises:
            BudgetClosed: The budget was closed before the slot was there.
            BudgetUnavailable: The shared place could not be reached for `patience` seconds.
        """
        with self._in_use():
            slot = self._take(kind)
            sent = time.monotonic()
            try:
                yield
            finally:
                took = time.monotonic() - sent
                if kind in self._courtesy:
                    self._tell(lambda state: state.answered(kind, slot, took))

    def refused(self, kind: Kind, retry_after: float | None) -> float:
        """Note that the server refused: no process gets a slot of that kind for a while.

        Args:
            kind: The limit that was met; ``request`` holds everything.
            retry_after: Seconds the server asked for. None: a minute for imports, as the
                API's answer says [doc], and a second for requests.

        Returns:
            The seconds the kind is held.
        """
        seconds = self._default_hold[kind] if retry_after is None else retry_after
        seconds = min(seconds, self._longest_hold)
        until = time.monotonic() + seconds
        with self._changed:  # noted here as well, should the kind or the store be out of reach
            self._held_until[kind] = max(self._held_until.get(kind, until), until)
        if self._rules:
            self._tell(lambda state: state.refused(kind, seconds))
        return seconds

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in ``RateLimit-Limit`` and ``RateLimit-Remaining`` [doc] of an answer.

        The shared place is asked only if that may be news. A lower limit is then kept by all
        for an hour. "None remain" lets all wait for the next second, unless they may have used
        them up themselves.
        """
        if "request" not in self._rules:
            return
        limit, remaining = limit_and_remaining(headers)
        if remaining == 0 or (limit and limit < self._known_limit):
            self._tell(lambda state: state.learn(limit, remaining))

    def held(self) -> float:
        """Return the seconds that someone has to wait because the server refused; 0 for nobody."""
        # Without the lock, which is held while the shared place is asked.
        return longest_hold(self._waiting.copy(), self._held_until.copy(), time.monotonic())

    def close(self) -> None:
        """Give no more slots: whoever waits, or asks later, gets `BudgetClosed`.

        Slots that are held are given back as ever. It takes as long as what is just being asked
        of the shared place: seconds at most.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._close_store_if_unused()

    def check(self) -> None:
        """Read and write in the shared place once; one that starts anew gets some time for it.

        Raises:
            BudgetUnavailable: It can't be done.
        """
        deadline = time.monotonic() + min(START_SECONDS, self._patience)
        while True:
            try:
                self._update(lambda _: None)
            except StoreFailure as failure:
                if not failure.may_pass or time.monotonic() >= deadline:
                    raise BudgetUnavailable(self._store.place, failure) from None
            else:
                return
            time.sleep(max(0.0, self._down_until - time.monotonic()))

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the store open meanwhile, even if the budget is closed."""
        with self._changed:
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._close_store_if_unused()

    def _close_store_if_unused(self) -> None:
        if self._closed and not self._users:
            self._store.close()

    def _take(self, kind: Kind) -> str:
        """Wait for a slot, and return its name."""
        slot = secrets.token_hex(6)
        with self._changed:
            self._waiting[kind] += 1
            try:
                while True:
                    if self._closed:
                        raise BudgetClosed
                    pause = self._pause(kind)
                    if pause > 0:
                        self._changed.wait(pause)
                    elif self._lets_an_import_go_first(kind):
                        self._changed.wait()  # the import tells when it has asked
                    elif kind not in self._courtesy or self._ask(kind, slot):
                        return slot
            finally:
                self._waiting[kind] -= 1
                self._changed.notify_all()

    def _pause(self, kind: Kind) -> float:
        """Seconds until it makes sense to ask for a slot."""
        held_until = (self._held_until.get(rule, 0.0) for rule in RULES[kind])
        return max(*held_until, self._next_ask.get(kind, 0.0)) - time.monotonic()

    def _lets_an_import_go_first(self, kind: Kind) -> bool:
        """Whether an import waits, and for nothing but what this request waits for, too."""
        if kind != "request" or kind not in self._rules:
            return False
        now = time.monotonic()
        return any(
            self._waiting[other]
            and max(self._held_until.get(other, 0.0), self._own_rule_until.get(other, 0.0)) <= now
            for other in IMPORT_KINDS
        )

    def _ask(self, kind: Kind, slot: str) -> bool:
        """Ask for a slot once, and settle when this process asks next.

        Raises:
            BudgetUnavailable: The store has failed for too long.
        """
        try:
            wait, own_wait, holds = self._update(
                lambda state: (state.take(kind, slot), state.own_wait(kind), state.holds())
            )
        except StoreFailure as failure:
            failing_since = self._failing_since or 0.0
            if time.monotonic() - failing_since >= self._patience:
                raise BudgetUnavailable(self._store.place, failure) from None
            self._next_ask = dict.fromkeys(self._courtesy, self._down_until)
            taken = False
        else:
            courtesy = self._courtesy[kind]
            pause = wait + random.uniform(0, courtesy) if wait > 0 else courtesy  # noqa: S311
            now = time.monotonic()
            for name, seconds in holds.items():
                self._held_until[name] = max(self._held_until.get(name, now), now + seconds)
            self._next_ask[kind], self._own_rule_until[kind] = now + pause, now + own_wait
            taken = wait <= 0
        self._changed.notify_all()
        return taken

    def _tell(self, change: Callable[[SharedState], None]) -> None:
        """Pass on what can do without an answer: what is lost with it, time mends."""
        with self._changed:
            unused = self._closed and not self._users
            if not unused and time.monotonic() >= self._down_until:
                with suppress(StoreFailure):
                    self._update(change)

    def _update(self, change: Callable[[SharedState], T]) -> T:
        """Change what is shared, if the store can be reached."""

        def change_document(
            document: bytes | None, now: float
        ) -> tuple[bytes | None, tuple[SharedState, T]]:
            state = SharedState(document, now, self._rules, self._longest_hold)
            if self._known_origin not in {None, state.origin}:
                state.begin_anew()
            result = change(state)
            return state.document(), (state, result)

        with self._changed:
            try:
                state, result = self._store.update(change_document)
            except StoreFailure as failure:
                self._note_failure(failure)
                raise
            self._note_success(state)
            return result

    def _note_failure(self, failure: StoreFailure) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            logger.warning(
                "%s that shares the account's limits can't be reached (%s), requests wait for it",
                self._store.place,
                failure,
            )
        pause = min(_LONGEST_PAUSE, 0.1 * 2 ** min(self._failures, 10))
        self._failures += 1
        self._down_until = now + pause * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def _note_success(self, state: SharedState) -> None:
        if self._failing_since is not None:
            self._failing_since, self._failures = None, 0
            logger.warning("%s that shares the account's limits is back", self._store.place)
        self._known_origin = state.origin
        if "request" in self._rules:
            self._known_limit = state.limit("request")


def _courtesy(rules: Mapping[Kind, Rule]) -> dict[Kind, float]:
    """Seconds to let pass for other processes, by kind; without kinds that nothing limits."""
    times = {
        kind: [rules[name].seconds / rules[name].limit for name in names if name in rules]
        for kind, names in RULES.items()
    }
    return {
        kind: min(_LONGEST_COURTESY, *(one / 10 for one in a_slot))
        for kind, a_slot in times.items()
        if a_slot
    }
