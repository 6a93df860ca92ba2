"""Settling: each record read ends in exactly one way, and each way is counted here.

A record is settled as *added* (ActiveCampaign confirmed it, and the ledger had not known the
person in this stream), *changed* (confirmed, of someone known), *unchanged* (as it was
delivered, so not sent), *skipped* (left out by the stream's mode, or marked as deleted), *merged*
(into a later record of the same person), *invalid* (refused by us before sending) or *rejected*
(refused by ActiveCampaign). All records that a refused contact was made of are refused with it, so
that piping the reject file in again loses nothing.

People who leave a list are no records: they are counted apart.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from target_activecampaign.accounting.throughput import Throughput
from target_activecampaign.model.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.accounting.rejects import RejectFiles
    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.accounting.state import Checkpoints
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source

OUTCOMES = ("added", "changed", "unchanged", "skipped", "merged", "invalid", "rejected")
"""The ways in which a record can be settled."""


class DeliveredContact(Protocol):
    """What is asked of a contact that was sent.

    Attributes:
        key: Whom it stands for.
        contact: The contact.
        sources: The records that it was made of; none for a removal.
        known: Whether the ledger knew the contact in the last record's stream.
        marks: What the ledger keeps, by segment.
        needs_resubscribe: The memberships that were begun anew for it.
    """

    key: str
    contact: Contact
    sources: list[Source]
    known: bool
    marks: dict[int, Any]
    needs_resubscribe: tuple[Any, ...]


class RecordAccounting:
    """Settles records: counts them, writes refused ones to their file, frees their STATE.

    Safe between threads: records are read on one and confirmed on another.

    Attributes:
        counts: By stream: records read, and settled by kind.
        codes: Refused records by code.
        skipped: Records skipped for a reason of their own, by code.
        left: By segment: people who have left.
        not_left: By segment: those whom ActiveCampaign has not let go.
        throughput: Contacts confirmed over time, leavers among them.
        arrived: The address of someone whom ActiveCampaign has as the source has them; None until
            there is one.
    """

    def __init__(self, checkpoints: Checkpoints, rejects: RejectFiles, samples: Samples) -> None:
        self._lock = threading.Lock()
        self._checkpoints = checkpoints
        self._rejects = rejects
        self._samples = samples
        self.counts: dict[str, Counter[str]] = {}
        self.codes: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.left: Counter[int] = Counter()
        self.not_left: Counter[int] = Counter()
        self.throughput = Throughput()
        self.arrived: str | None = None

    @property
    def epoch(self) -> int:
        """The epoch that records belong to which are read now."""
        return self._checkpoints.epoch

    def read(self, stream: str, count: int = 1) -> int:
        """Count records as read; returns the epoch that they belong to."""
        with self._lock:
            self._count(stream, "read", count)
        return self._checkpoints.read(count)

    def reading(self) -> None:
        """Records have come that are not counted yet."""
        self._checkpoints.reading()

    def unchanged(self, stream: str, count: int) -> None:
        """Count records as read and settled, as what is known to be unchanged."""
        with self._lock:
            counts = self.counts.setdefault(stream, Counter())
            counts["read"] += count
            counts["unchanged"] += count
        self._checkpoints.reading()

    def confirmed(self, entries: Iterable[DeliveredContact]) -> None:
        """Settle contacts that ActiveCampaign has imported."""
        epochs: Counter[int] = Counter()
        plain: Counter[tuple[str, bool, int]] = Counter()
        contacts = 0
        with self._lock:
            for contacts, entry in enumerate(entries, 1):  # noqa: B007 - it is their number then
                sources = entry.sources
                if sources:
                    self.arrived = entry.key
                if len(sources) == 1:
                    plain[sources[0].name, entry.known, sources[0].epoch] += 1
                elif sources:
                    self._settle(sources, "changed" if entry.known else "added", epochs)
                else:
                    self.left[next(iter(entry.marks))] += 1
            for (name, known, epoch), count in plain.items():
                self._count(name, "changed" if known else "added", count)
                epochs[epoch] += count
            self.throughput.add(contacts)
        self._checkpoints.settle(epochs)

    def settled(self, sources: list[Source], kind: str, code: str | None = None) -> None:
        """Settle the records of one contact, of which the last counts and the others merged."""
        epochs: Counter[int] = Counter()
        with self._lock:
            self._settle(sources, kind, epochs)
            if code is not None:
                self.skipped[code] += 1
        self._checkpoints.settle(epochs)

    def _settle(self, sources: list[Source], kind: str, epochs: Counter[int]) -> None:
        *merged, last = sources
        for source in merged:
            self._count(source.name, "merged")
            epochs[source.epoch] += 1
        self._count(last.name, kind)
        epochs[last.epoch] += 1

    def kept(self, entry: DeliveredContact) -> None:
        """Count someone whom ActiveCampaign has not let go."""
        with self._lock:
            self.not_left[next(iter(entry.marks))] += 1

    def refused(self, sources: list[Source], code: str, reason: str, person: str | None) -> None:
        """Settle records that were refused.

        Args:
            sources: The records.
            code: A code out of `CODES`.
            reason: Why, as a sentence.
            person: The address of the one whom they stand for, if that can be told.
        """
        with self._lock:
            for source in sources:
                self._rejects.write(source, code, reason)
                self._samples.refused(source.name, person, code, reason)
                self._count(source.name, CODES[code].kind)
                self.codes[code] += 1
        # Only now may STATE pass them: the file holds them.
        self._checkpoints.settle(Counter(source.epoch for source in sources))

    def _count(self, stream: str, what: str, count: int = 1) -> None:
        self.counts.setdefault(stream, Counter())[what] += count

    @property
    def total(self) -> Counter[str]:
        """Read and settled, all streams together."""
        with self._lock:
            return sum(self.counts.values(), Counter())

    def confirmed_over_time(self) -> dict[str, Any]:
        """Contacts confirmed in each interval until now, and how long an interval is."""
        with self._lock:
            self.throughput.add(0)
            return {
                "seconds": self.throughput.seconds,
                "contacts": list(self.throughput.contacts),
            }

    @property
    def confirmed_contacts(self) -> int:
        """Contacts confirmed so far, leavers among them."""
        with self._lock:
            return self.throughput.total

    @property
    def leavers(self) -> int:
        """People who have left so far, and those whom ActiveCampaign has not let go."""
        with self._lock:
            return self.left.total() + self.not_left.total()

    @property
    def refusals(self) -> int:
        """Records refused so far."""
        with self._lock:
            return self.codes.total()
