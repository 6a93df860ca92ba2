"""One thread that decides, and pools of threads that wait for answers."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Action = Callable[[], None]

T = TypeVar("T")


class Failable(Protocol):
    """A part that an error can end."""

    def fail(self, error: Exception) -> None:
        """End with an error."""


class DispatcherOwner(Failable, Protocol):
    """The part whose actions a dispatcher runs. It gets the errors that they raise."""

    def after_action(self) -> None:
        """Called after each action, to do what is due."""


class Dispatcher:
    """Runs actions one after the other on a thread of its own.

    Args:
        pools: Number of threads of each pool, by name.
        owner: Called after each action, and for errors.
    """

    def __init__(self, pools: Mapping[str, int], owner: DispatcherOwner) -> None:
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._pools = {name: ThreadPoolExecutor(size, name) for name, size in pools.items()}
        self._owner = owner
        self._due: list[tuple[float, int, Action]] = []
        self._tie = itertools.count()
        self._calls = 0
        self._expected = 0
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def do(self, action: Action) -> None:
        """Run an action soon. May be called from any thread."""
        self._actions.put(action)

    def later(self, seconds: float, action: Action) -> None:
        """Run an action after some seconds. Only actions may call this, `call` and `expect`."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._tie), action))

    def call(
        self,
        pool: str,
        function: Callable[[], T],
        then: Callable[[T | None, Exception | None], None],
    ) -> None:
        """Call a function in a pool, then run an action with its result or its error."""

        def report(future: Future[T]) -> None:
            if future.cancelled():
                self.do(self._called)
                return
            error = future.exception()
            result = future.result() if error is None else None

            def action() -> None:
                self._called()
                then(result, error)  # type: ignore[arg-type] # pools raise no other

            self.do(action)

        future = self._pools[pool].submit(function)
        self._calls += 1
        future.add_done_callback(report)

    def _called(self) -> None:
        self._calls -= 1

    def expect(self) -> None:
        """Make `finish` wait for one more call of `fulfil`."""
        self._expected += 1

    def fulfil(self) -> None:
        """Note that one expected event has happened."""
        self._expected -= 1

    def finish(self) -> None:
        """Wait until no call runs and nothing is expected, then end the thread."""
        self._actions.put(None)
        self._thread.join()

    def close(self) -> None:
        """End now: drop calls that wait for a thread, and do not wait for those that run."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        self._expected = 0
        self._actions.put(None)
        self._thread.join(timeout=5)

    def _run(self) -> None:
        ending = False
        while not (ending and not self._calls and not self._expected):
            try:
                action: Action | None = self._actions.get(timeout=self._until_due())
            except queue.Empty:
                action = _nothing
            if action is None:
                ending = True
                continue
            self._run_guarded(action)
            while self._due and self._due[0][0] <= time.monotonic():
                self._run_guarded(heapq.heappop(self._due)[2])
            self._run_guarded(self._owner.after_action)

    def _until_due(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _run_guarded(self, action: Action) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - must reach the waiting threads
            self._owner.fail(error)


def _nothing() -> None:
    pass
