"""The rate limiter: threads wait here for a slot of a budget that is kept in a store.

    Client(url, key, budget=RateLimiter(5, 100, 20, store=open_store("redis://cache/0", url)))

`state` holds the algorithm, and each store has a module: memory, for the threads of one process;
SQL and Redis, for several processes. The limiter asks for slots, waits, and handles store failures.

Sharing is fair by chance: a process without a slot asks again when one may be free, after a random
delay. A process that took one pauses before it asks for the next, so that others come first.

If the store fails, nothing is sent: requests wait and ask again, with growing pauses, for
`patience` seconds, then raise `BudgetUnavailable`. A slot that could not be given back expires,
like a dead process's. If the store has lost its data, one window passes before the first request.

Why not a library such as pyrate-limiter (4.3)? It counts a request from the time when its slot is
taken, not from the answer, and knows nothing of holders that died. Processes can't share a refusal,
its Redis bucket uses each machine's own clock, and `close` can't end its waits.
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from target_activecampaign.client.rate_limit.state import (
    COUNTS_FOR,
    MAX_RETRY_AFTER,
    BudgetState,
    Limits,
    StoreFailure,
)
from target_activecampaign.client.rate_limit.stores import MemoryStore
from target_activecampaign.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_activecampaign.client.rate_limit.state import Document, Kind, Store

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")

_IMPORTS: tuple[Kind, ...] = ("import", "single_import")

_LONGEST_PAUSE = 2.0

_START_SECONDS = 30.0
"""Seconds for which `check` waits for a store that may be restarting."""

_LONGEST_COURTESY = 0.05
"""Longest pause in seconds that a process makes for others."""


class RateLimiterClosed(Exception):  # noqa: N818 - an order to stop, not a fault
    """The limiter was closed: there are no more slots."""


class BudgetUnavailable(TargetError):  # noqa: N818 - like RateLimiterClosed
    """The store of the shared budget can't be used; the text gives the cause and the remedy."""

    def __init__(self, place: str, reason: StoreFailure) -> None:
        super().__init__(
            f"The rate budget can't be shared through {place}: {reason}. Check rate_budget_url and "
            "whether that place can be reached from here. Without rate_budget_url each process "
            "keeps the account's limits on its own."
        )


class RateLimiter:
    """An account's rate limits, for the threads of this process and all processes with its store.

    Processes that share a store should have the same limits. If they do not, each keeps its own,
    counting the others' requests.

    Args:
        requests_per_second: Requests of any kind per second. None or 0 is no limit, also for the
            next two.
        imports_per_minute: Imports of several contacts per minute.
        single_imports_per_minute: Imports of one contact per minute.
        store: The store of the budget, from `open_store`; None for this process's memory.
        minute: Seconds in a minute; less in tests.
        lease: Seconds after which an import's slot is taken back from a process that may have
            died with it: more than the client's timeout, so that the import has arrived.
        patience: Seconds for which requests wait for a store that fails.
        max_retry_after: Longest wait in seconds that a server may ask for. Longer holds are
            neither kept in the store nor accepted from it.
    """

    def __init__(
        self,
        requests_per_second: float | None = 5.0,
        imports_per_minute: float | None = 100,
        single_imports_per_minute: float | None = 20,
        *,
        store: Store | None = None,
        minute: float = 60.0,
        lease: float = 120.0,
        patience: float = 60.0,
        max_retry_after: float = MAX_RETRY_AFTER,
    ) -> None:
        self._store = store or MemoryStore()
        self._limits = limits = Limits(
            requests_per_second,
            imports_per_minute,
            single_imports_per_minute,
            minute=minute,
            lease=lease,
            max_retry_after=max_retry_after,
            is_shared=self._store.is_shared,
        )
        self._patience = patience
        # Seconds to let pass for other processes after a slot; kinds without limits have none.
        longest = _LONGEST_COURTESY if self._store.is_shared else 0.0
        pauses = {name: rule.seconds / rule.limit / 10 for name, rule in limits.rules.items()}
        self._courtesy: dict[Kind, float] = {
            kind: min(longest, *(pauses[name] for name in names))
            for kind, names in limits.rules_of.items()
            if names
        }
        self._changed = threading.Condition()
        self._closed = False
        self._users = 0
        self._waiting: Counter[Kind] = Counter()
        # All on `time.monotonic`; the store's clock is its own.
        self._held_until: dict[Kind, float] = {}
        self._next_ask: dict[Kind, float] = {}
        self._own_rule_until: dict[Kind, float] = {}
        self._known_limit = 0
        self._known_origin: str | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._down_until = 0.0

    @contextmanager
    def acquire(self, kind: Kind) -> Iterator[None]:
        """Wait until a request of this kind may be sent, and hold its slot meanwhile.

        Imports of this process go before its other requests when both wait for the same second.

        Args:
            kind: ``import`` (several contacts), ``single_import`` (one) or ``request``
                (anything else). An import counts as a request, too.

        Raises:
            RateLimiterClosed: The limiter was closed before there was a slot.
            BudgetUnavailable: The store failed for `patience` seconds.
        """
        slot = self._take(kind)
        sent = time.monotonic()
        try:
            yield
        finally:
            duration = time.monotonic() - sent
            with self._changed:
                if kind in self._courtesy:
                    self._tell(lambda state: state.give_back(kind, slot, duration))
                self._users -= 1
                self._close_store_if_unused()

    def seconds_until_free(self, kind: Kind) -> float:
        """Return the seconds until a slot of this kind may be free: 0 if one is.

        It is infinite if only an answer to this process can free one.

        Raises:
            StoreFailure: The store failed.
        """
        held_until = max(self._held_until.get(rule, 0.0) for rule in COUNTS_FOR[kind])
        wait = self._update(lambda state: state.seconds_until_free(kind))
        return max(wait, held_until - time.monotonic())

    def note_refusal(self, kind: Kind, retry_after: float | None) -> float:
        """Note that the server refused a request: give no slot of that kind for a while.

        Args:
            kind: The limit that was met; ``request`` holds everything.
            retry_after: Seconds the server asked for. None: a minute for imports, as the
                API's answer says [doc], and a second for requests.

        Returns:
            The seconds for which the kind is held.
        """
        seconds = self._limits.default_hold[kind] if retry_after is None else retry_after
        seconds = min(seconds, self._limits.longest_hold)
        until = time.monotonic() + seconds
        with self._changed:  # noted here as well, should the kind be unlimited or the store fail
            self._held_until[kind] = max(self._held_until.get(kind, until), until)
        if self._limits.rules:
            self._tell(lambda state: state.note_refusal(kind, seconds))
        return seconds

    def learn(self, headers: Mapping[str, str]) -> None:
        """Note ``RateLimit-Limit`` and ``RateLimit-Remaining`` [doc] of an answer.

        The store is updated only if they may be news. All processes keep a lower limit for an hour.
        If no request remains, all wait for the next second, unless they may have used it up.
        """
        if "request" not in self._limits.rules:
            return
        limit = _whole_number(headers.get("RateLimit-Limit"))
        remaining = _whole_number(headers.get("RateLimit-Remaining"))
        if remaining == 0 or (limit and limit < self._known_limit):
            self._tell(lambda state: state.learn(limit, remaining))

    @property
    def hold_seconds(self) -> float:
        """Longest time that a thread waits because the server refused; 0 if none waits."""
        # Without the lock, which is held while the store is asked.
        waiting, held_until, now = self._waiting.copy(), self._held_until.copy(), time.monotonic()
        rules = {rule for kind, count in waiting.items() if count for rule in COUNTS_FOR[kind]}
        return max([0.0, *(held_until.get(rule, now) - now for rule in rules)])

    def close(self) -> None:
        """Give no more slots: waiting and later calls raise `RateLimiterClosed`.

        Slots in use are given back as usual. This may wait some seconds for the store's current
        request.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._close_store_if_unused()

    def check(self) -> None:
        """Read and write the store once. Wait for one that may be restarting.

        Raises:
            BudgetUnavailable: It failed, and the limiter is closed.
        """
        deadline = time.monotonic() + min(_START_SECONDS, self._patience)
        while True:
            try:
                self._update(lambda _: None)
            except StoreFailure as failure:
                if not failure.may_pass or time.monotonic() >= deadline:
                    self.close()
                    raise BudgetUnavailable(self._store.place, failure) from None
            else:
                return
            time.sleep(max(0.0, self._down_until - time.monotonic()))

    def _close_store_if_unused(self) -> None:
        if self._closed and not self._users:
            self._store.close()

    def _take(self, kind: Kind) -> str:
        """Wait for a slot, and return its name; the caller then counts as a user of the store."""
        slot = secrets.token_hex(6)
        with self._changed:
            self._users += 1
            self._waiting[kind] += 1
            try:
                while True:
                    pause = self._pause(kind)
                    if pause > 0:
                        self._changed.wait(None if pause == math.inf else pause)
                    elif self._import_goes_first(kind):
                        self._changed.wait()  # the import notifies when it has asked
                    elif kind not in self._courtesy or self._ask(kind, slot):
                        return slot
            except BaseException:
                self._users -= 1
                self._close_store_if_unused()
                raise
            finally:
                self._waiting[kind] -= 1
                self._changed.notify_all()

    def _pause(self, kind: Kind) -> float:
        """Return the seconds until it makes sense to ask for a slot.

        Raises:
            RateLimiterClosed: The limiter was closed.
        """
        if self._closed:
            raise RateLimiterClosed
        held_until = (self._held_until.get(rule, 0.0) for rule in COUNTS_FOR[kind])
        return max(*held_until, self._next_ask.get(kind, 0.0)) - time.monotonic()

    def _import_goes_first(self, kind: Kind) -> bool:
        """Return whether an import waits that no rule of its own holds back."""
        if kind != "request" or kind not in self._limits.rules:
            return False
        now = time.monotonic()
        return any(
            self._waiting[other]
            and max(self._held_until.get(other, 0.0), self._own_rule_until.get(other, 0.0)) <= now
            for other in _IMPORTS
        )

    def _ask(self, kind: Kind, slot: str) -> bool:
        """Ask for a slot once, and set the time when this process asks next.

        Raises:
            BudgetUnavailable: The store has failed for too long.
        """
        try:
            wait, own_wait, holds = self._update(
                lambda state: (
                    state.take(kind, slot),
                    state.seconds_until_allowed(kind),
                    state.holds(),
                )
            )
        except StoreFailure as failure:
            failing_since = self._failing_since or 0.0
            if time.monotonic() - failing_since >= self._patience:
                raise BudgetUnavailable(self._store.place, failure) from None
            self._next_ask = dict.fromkeys(self._courtesy, self._down_until)
            is_taken = False
        else:
            courtesy = self._courtesy[kind]
            pause = wait + random.uniform(0, courtesy) if wait > 0 else courtesy  # noqa: S311
            now = time.monotonic()
            for name, seconds in holds.items():
                self._held_until[name] = max(self._held_until.get(name, now), now + seconds)
            self._next_ask[kind], self._own_rule_until[kind] = now + pause, now + own_wait
            is_taken = wait <= 0
        self._changed.notify_all()
        return is_taken

    def _tell(self, change: Callable[[BudgetState], None]) -> None:
        """Pass on an update that may get lost, as slots and holds expire anyway."""
        with self._changed:
            is_unused = self._closed and not self._users
            if not is_unused and time.monotonic() >= self._down_until:
                with suppress(StoreFailure):
                    self._update(change)
            if not self._store.is_shared:  # waits in memory are exact, so all have to be new
                self._next_ask.clear()
                self._own_rule_until.clear()
                self._changed.notify_all()

    def _update(self, change: Callable[[BudgetState], T]) -> T:
        """Change the budget in the store.

        Raises:
            StoreFailure: The store failed.
        """

        def change_document(
            document: Document | None, now: float
        ) -> tuple[Document | None, tuple[BudgetState, T]]:
            state = BudgetState(document, now, self._limits)
            if self._known_origin not in {None, state.origin}:
                state.hold_one_window()
            result = change(state)
            return state.changed_document(), (state, result)

        with self._changed:
            try:
                state, result = self._store.update(change_document)
            except StoreFailure as failure:
                self._note_failure(failure)
                raise
            if self._failing_since is not None:
                self._failing_since, self._failures = None, 0
                logger.warning("Rate budget: %s is back.", self._store.place)
            self._known_origin = state.origin
            if "request" in self._limits.rules:
                self._known_limit = state.limit("request")
            return result

    def _note_failure(self, failure: StoreFailure) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            logger.warning(
                "Rate budget: %s can't be reached (%s); requests wait for it.",
                self._store.place,
                failure,
            )
        pause = min(_LONGEST_PAUSE, 0.1 * 2 ** min(self._failures, 10))
        self._failures += 1
        self._down_until = now + pause * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _whole_number(text: str | None) -> int | None:
    digits = (text or "").strip()
    # No limit has more digits than this, and `int` refuses more than 4,300.
    return int(digits) if len(digits) <= 9 and digits.isascii() and digits.isdigit() else None  # noqa: PLR2004
