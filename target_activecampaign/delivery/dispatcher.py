"""One thread that decides, and pools of threads that wait on its behalf."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Action = Callable[[], None]

T = TypeVar("T")


class Dispatcher:
    """Runs actions one after the other on a thread of its own.

    Args:
        pools: Names of pools, and how many calls each may have out at once.
        after: Called after each action.
        failed: Called with an error that an action let out; the thread goes on.
    """

    def __init__(
        self, pools: Mapping[str, int], after: Action, failed: Callable[[Exception], None]
    ) -> None:
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._pools = {name: ThreadPoolExecutor(size, name) for name, size in pools.items()}
        self._after = after
        self._failed = failed
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
        """Run an action after a time. Only for actions to call, as are the following."""
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
                then(result, error)  # type: ignore[arg-type] # the pools let no other out

            self.do(action)

        future = self._pools[pool].submit(function)
        self._calls += 1
        future.add_done_callback(report)

    def _called(self) -> None:
        self._calls -= 1

    def expect(self) -> None:
        """Keep `finish` waiting until `fulfil` is called as often."""
        self._expected += 1

    def fulfil(self) -> None:
        """Something that was expected has come."""
        self._expected -= 1

    def finish(self) -> None:
        """Wait until nothing is out and nothing is expected; then the thread ends."""
        self._actions.put(None)
        self._thread.join()

    def close(self) -> None:
        """End now: calls that wait for a thread are dropped, those out are left to end."""
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
            self._guarded(action)
            while self._due and self._due[0][0] <= time.monotonic():
                self._guarded(heapq.heappop(self._due)[2])
            self._guarded(self._after)

    def _until_due(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _guarded(self, action: Action) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - must reach those who wait
            self._failed(error)


def _nothing() -> None:
    pass
