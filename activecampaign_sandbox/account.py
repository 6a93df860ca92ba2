"""The account that the sandbox serves: data, options, limits, faults and import queue."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

from activecampaign_sandbox import records
from activecampaign_sandbox.clock import CLOCK
from activecampaign_sandbox.faults import Faults
from activecampaign_sandbox.import_queue import ImportQueue
from activecampaign_sandbox.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store


class Account:
    """The state that requests read and change.

    Args:
        store: The account's data.
        options: The sandbox's options.

    Attributes:
        malformed: The keys of addresses that imports refuse, even if they look valid. Beyond its
            documented rules, it is unknown which addresses the real API refuses.
        bodies: The bodies of all requests, if the option `keep_bodies` is on.
    """

    def __init__(self, store: Store, options: Options) -> None:
        CLOCK.set(options.time_zone, options.clock_offset)
        self.store = store
        self.options = options
        self.started = records.now()
        self.queue = ImportQueue(store, options)
        self.limits = Limits(options)
        self.faults = Faults()
        self.malformed: set[str] = set()
        self.bodies: list[bytes] = []
        self._bases = self._index_bases()

    def _index_bases(self) -> Iterator[int]:
        alternates = self.options.index_base == "alternating"
        return cycle((1, 0) if alternates else (int(self.options.index_base),))

    def take_index_base(self) -> int:
        """Return the number of the first contact in the next answer that refuses an import."""
        return next(self._bases)

    def reset(self) -> None:
        """Delete contacts, imports, faults and log; reset the limits and the clock."""
        CLOCK.reset()
        self.store.clear()
        self.queue.clear_cache()
        self.limits = Limits(self.options)
        self.faults = Faults()
        self.malformed = set()
        self.bodies = []
        self._bases = self._index_bases()
