"""Settling: each record read ends in exactly one way, and each way is counted here.

A record is settled as *added or changed* (ActiveCampaign confirmed it), *merged* (into a
later record of the same person, which was confirmed), *invalid* (refused by us before
sending) or *rejected* (refused by ActiveCampaign). All records that a refused contact was
made of are refused with it, so that piping the reject file in again loses nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from target_activecampaign.codes import CODES

if TYPE_CHECKING:
    from target_activecampaign.checkpoints import Checkpoints
    from target_activecampaign.packer import Entry, Source
    from target_activecampaign.rejects import RejectFiles

SETTLED = ("added_or_changed", "merged", "invalid", "rejected")
"""The ways in which a record can be settled."""


class Settlement:
    """Settles records: counts them, writes refused ones to their file, frees their STATE.

    Safe between threads: records are read on one and confirmed on another.
    """

    def __init__(self, checkpoints: Checkpoints, rejects: RejectFiles) -> None:
        self._lock = threading.Lock()
        self._checkpoints = checkpoints
        self._rejects = rejects
        self.counts: dict[str, Counter[str]] = {}
        self.codes: Counter[str] = Counter()

    def read(self, stream: str) -> int:
        """Count a record as read; returns the epoch that it belongs to."""
        with self._lock:
            self._count(stream, "read")
        return self._checkpoints.read()

    def confirmed(self, entry: Entry) -> None:
        """Settle a contact that ActiveCampaign has imported."""
        with self._lock:
            *merged, last = entry.sources
            for source in merged:
                self._count(source.name, "merged")
            self._count(last.name, "added_or_changed")
        for source in entry.sources:
            self._checkpoints.settle(source.epoch)

    def refused(self, sources: list[Source], code: str, reason: str) -> None:
        """Settle records that were refused, with a code out of `CODES`."""
        with self._lock:
            for source in sources:
                self._rejects.write(source, code, reason)
                self._count(source.name, "invalid" if CODES[code].ours else "rejected")
                self.codes[code] += 1
        # Only now may STATE pass them: the file holds them.
        for source in sources:
            self._checkpoints.settle(source.epoch)

    def _count(self, stream: str, what: str) -> None:
        self.counts.setdefault(stream, Counter())[what] += 1

    @property
    def total(self) -> Counter[str]:
        """Read and settled, all streams together."""
        with self._lock:
            return sum(self.counts.values(), Counter())

    @property
    def refusals(self) -> int:
        """Records refused so far."""
        with self._lock:
            return self.codes.total()
