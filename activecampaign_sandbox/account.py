"""One account: its data, switches, limits, faults and import queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import records
from activecampaign_sandbox.clock import CLOCK
from activecampaign_sandbox.faults import Faults
from activecampaign_sandbox.importqueue import ImportQueue
from activecampaign_sandbox.limits import Limits

if TYPE_CHECKING:
    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store


class Account:
    """Everything that a request may need.

    Args:
        store: The account's data.
        options: The sandbox's switches.

    Attributes:
        malformed: Addresses (as keys) that the account refuses whatever they look like: which
            ones the real API refuses at once beyond its documented rules is not known.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self.store = store
        self.options = options
        self.started = records.now()
        self.queue = ImportQueue(store, options)
        self.limits = Limits(options)
        self.faults = Faults()
        self.malformed: set[str] = set()

    def reset(self) -> None:
        """Start anew: no contacts, imports, faults or log; the limits have seen nothing.

        The clock shows the true time again.
        """
        CLOCK.reset()
        self.store.clear()
        self.queue.forget_cached()
        self.limits = Limits(self.options)
        self.faults = Faults()
        self.malformed = set()
