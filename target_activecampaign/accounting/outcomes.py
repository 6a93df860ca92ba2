"""The outcomes of records: every record that is read gets exactly one.

- *added*: confirmed by ActiveCampaign; the contact is new in the ledger for this stream
- *changed*: confirmed; the ledger knew the contact
- *unchanged*: equal to the contact last delivered, so not sent
- *skipped*: excluded by the sync mode, or marked as deleted
- *merged*: into a later record of the same contact
- *invalid*: refused by the target before it was sent
- *rejected*: refused by ActiveCampaign

If a contact is refused, all records merged into it are refused, so that replaying the reject file
loses nothing. Removals are not records, and are counted separately.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from target_activecampaign.accounting.throughput import Throughput
from target_activecampaign.model.codes import CODES
from target_activecampaign.outcomes.rows import NO_IMPORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_activecampaign.accounting.rejects import RejectFiles
    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.accounting.state import Checkpoints
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source
    from target_activecampaign.outcomes.rows import ImportFacts, Row
    from target_activecampaign.outcomes.writer import OutcomeWriter

OUTCOMES = ("added", "changed", "unchanged", "skipped", "merged", "invalid", "rejected")
"""The outcomes that a record can have."""


class DeliveredContact(Protocol):
    """The attributes of a sent contact that matter for counting.

    Attributes:
        key: The normalised address, which identifies the contact.
        contact: The contact.
        sources: The records that it was made of; none for a removal.
        known: Whether the ledger knew the contact in the last record's stream.
        marks: The ledger updates, by segment.
        joins: The segments that it is not in yet.
        contact_id: ActiveCampaign's id of the contact, if the run got to know it.
        needs_resubscribe: The lists that it had to be subscribed to again.
    """

    key: str
    contact: Contact
    sources: list[Source]
    known: bool
    marks: dict[int, Any]
    joins: tuple[int, ...]
    contact_id: int | None
    needs_resubscribe: tuple[Any, ...]


class RetryStore(Protocol):
    """Stores rejected records that the next run tries again."""

    def add(self, sources: list[Source], code: str, contact_key: str | None) -> None:
        """Store the records of a contact, as for `RecordAccounting.refused`."""


class RecordAccounting:
    """Counts records by outcome, writes refused ones to reject files, and releases STATE.

    Thread-safe: one thread reads records, another confirms them.

    Args:
        checkpoints: Tracks records that are read and records that have an outcome.
        rejects: The reject files.
        samples: Refused records that the report shows.

    Attributes:
        counts: By stream: records read, and outcomes by kind.
        codes: Refused records by code.
        skipped: Records that were skipped for a reason of their own, by code.
        joined: By segment: contacts that were delivered, and not in it before.
        removed: By segment: contacts that were removed.
        not_removed: By segment: contacts whose removal ActiveCampaign rejected.
        throughput: Contacts confirmed over time, removals among them.
        arrived: The key of a contact that ActiveCampaign has for certain; None until there is one.
        retries: Stores rejected records for the next run; None until the ledger is open.
        numbers: The numbers of the records that have a `Source`.
        rows: Stores the rows of outcomes; None if no rows are written. Those of imported contacts
            are stored by the delivery.
    """

    def __init__(self, checkpoints: Checkpoints, rejects: RejectFiles, samples: Samples) -> None:
        self._lock = threading.Lock()
        self._checkpoints = checkpoints
        self._rejects = rejects
        self._samples = samples
        self.counts: dict[str, Counter[str]] = {}
        self.codes: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.joined: Counter[int] = Counter()
        self.removed: Counter[int] = Counter()
        self.not_removed: Counter[int] = Counter()
        self.throughput = Throughput(time.monotonic())
        self.arrived: str | None = None
        self.retries: RetryStore | None = None
        self._rejected_again = 0
        self.numbers = itertools.count(1)
        self.rows: OutcomeWriter | None = None

    @property
    def epoch(self) -> int:
        """The epoch of records that are read now (see `Checkpoints`)."""
        return self._checkpoints.epoch

    def read(self, stream: str, count: int = 1) -> int:
        """Count records as read, and return their epoch."""
        with self._lock:
            self._count(stream, "read", count)
        return self._checkpoints.read(count)

    def tried_again(self, stream: str, count: int) -> None:
        """Count rejected records of earlier runs that are tried again."""
        with self._lock:
            self._count(stream, "retried", count)
        self._checkpoints.read(count)

    def hold_state(self) -> int:
        """Write no STATE from here on. Return what `release_state` needs."""
        return self._checkpoints.read()

    def release_state(self, held: int) -> None:
        """End what `hold_state` began."""
        self._checkpoints.settle({held: 1})

    def reading(self) -> None:
        """Note that records are waiting that are not counted as read yet."""
        self._checkpoints.reading()

    def unchanged(self, stream: str, count: int, sources: Sequence[Source] = ()) -> None:
        """Count records as read and unchanged.

        Args:
            stream: The stream.
            count: The number of records.
            sources: The records, if unchanged ones get rows.
        """
        if self.rows is not None:
            for source in sources:
                self.rows.add([source], "unchanged")
        with self._lock:
            counts = self.counts.setdefault(stream, Counter())
            counts["read"] += count
            counts["unchanged"] += count
        self._checkpoints.reading()

    def skipped_again(
        self,
        stream: str,
        codes: Mapping[str, int],
        records: Sequence[tuple[Source, str]] = (),
    ) -> None:
        """Count records as read and skipped, for the same reasons as in an earlier run.

        Args:
            stream: The stream.
            codes: The number of records by code.
            records: The records with their codes, if they get rows.
        """
        if self.rows is not None:
            for source, code in records:
                self.rows.add([source], "skipped", code)
        count = sum(codes.values())
        with self._lock:
            counts = self.counts.setdefault(stream, Counter())
            counts["read"] += count
            counts["skipped"] += count
            self.skipped.update(codes)
        self._checkpoints.reading()

    def finished(
        self, stream: str, outcomes: Mapping[str, int], skipped: Mapping[str, int]
    ) -> None:
        """Count records as read that need no delivery and have their outcome at once.

        Args:
            stream: The stream.
            outcomes: The number of records by outcome.
            skipped: The number of skipped ones by code.
        """
        with self._lock:
            counts = self.counts.setdefault(stream, Counter())
            counts["read"] += sum(outcomes.values())
            counts.update(outcomes)
            self.skipped.update(skipped)
        self._checkpoints.reading()

    def confirmed(self, entries: Iterable[DeliveredContact]) -> None:
        """Record the outcome of contacts that ActiveCampaign has imported."""
        epochs: Counter[int] = Counter()
        plain: Counter[tuple[str, bool, int]] = Counter()
        contacts = 0
        with self._lock:
            for contacts, entry in enumerate(entries, 1):  # noqa: B007 - the number of entries
                sources = entry.sources
                if sources:
                    self.arrived = entry.key
                for segment in entry.joins:
                    self.joined[segment] += 1
                if len(sources) == 1:
                    plain[sources[0].name, entry.known, sources[0].epoch] += 1
                elif sources:
                    self._record(sources, "changed" if entry.known else "added", epochs)
                else:
                    self.removed[next(iter(entry.marks))] += 1
            for (name, known, epoch), count in plain.items():
                self._count(name, "changed" if known else "added", count)
                epochs[epoch] += count
            self.throughput.add(contacts, time.monotonic())
        self._checkpoints.settle(epochs)

    def record_outcome(self, sources: list[Source], kind: str, code: str | None = None) -> None:
        """Record the outcome of one contact's records. All except the last count as merged.

        Args:
            sources: The records, in their order.
            kind: The outcome, one of `OUTCOMES`.
            code: The reason for which they were skipped, if it is reported.
        """
        if self.rows is not None:
            self.rows.add(sources, kind, code)
        epochs: Counter[int] = Counter()
        with self._lock:
            self._record(sources, kind, epochs)
            if code is not None:
                self.skipped[code] += 1
        self._checkpoints.settle(epochs)

    def _record(self, sources: list[Source], kind: str, epochs: Counter[int]) -> None:
        *merged, last = sources
        for source in merged:
            self._count(source.name, "merged")
            epochs[source.epoch] += 1
        self._count(last.name, kind)
        epochs[last.epoch] += 1

    def rows_in_flight(self, entries: Sequence[DeliveredContact]) -> list[list[Row]]:
        """Return the rows that contacts have once they are confirmed; empty without rows."""
        rows = self.rows
        if rows is None or not rows.wants_delivered:
            return []
        return [
            rows.rows_in_flight(entry.sources, known=entry.known, contact_id=entry.contact_id)
            for entry in entries
        ]

    def removal_rejected(self, entry: DeliveredContact) -> None:
        """Count a removal that ActiveCampaign rejected."""
        with self._lock:
            self.not_removed[next(iter(entry.marks))] += 1

    def refused(
        self,
        sources: list[Source],
        code: str,
        reason: str,
        contact_key: str | None,
        facts: ImportFacts = NO_IMPORT,
    ) -> None:
        """Record that records were refused.

        Args:
            sources: The records.
            code: A code of `CODES`.
            reason: The reason, as a sentence.
            contact_key: The contact's key, if the records have a valid address.
            facts: The facts about their import, if they were sent.
        """
        if self.rows is not None:
            self.rows.add_refused(sources, code, self._samples.shown_reason(code, reason), facts)
        with self._lock:
            for source in sources:
                self._rejects.write(source, code, reason)
                self._samples.refused(source.name, contact_key, code, reason)
                self._count(source.name, CODES[code].kind)
                self.codes[code] += 1
                self._rejected_again += source.attempt > 1
        if self.retries is not None:
            self.retries.add(sources, code, contact_key)
        # Only now, as they are in the file: STATE may then be written.
        self._checkpoints.settle(Counter(source.epoch for source in sources))

    def _count(self, stream: str, what: str, count: int = 1) -> None:
        self.counts.setdefault(stream, Counter())[what] += count

    def counts_of(self, stream: str) -> Counter[str]:
        """Return the records of a stream that were read, and their outcomes by kind."""
        with self._lock:
            return Counter(self.counts.get(stream, ()))

    @property
    def total(self) -> Counter[str]:
        """Records read, and outcomes by kind, of all streams together."""
        with self._lock:
            return sum(self.counts.values(), Counter())

    def confirmed_over_time(self) -> dict[str, Any]:
        """Return the contacts confirmed in each interval until now, and an interval's seconds."""
        with self._lock:
            self.throughput.add(0, time.monotonic())
            return {
                "seconds": self.throughput.seconds,
                "contacts": list(self.throughput.contacts),
            }

    @property
    def confirmed_contacts(self) -> int:
        """Contacts confirmed so far, removals among them."""
        with self._lock:
            return self.throughput.total

    @property
    def removals(self) -> int:
        """Contacts removed so far, and those whose removal ActiveCampaign rejected."""
        with self._lock:
            return self.removed.total() + self.not_removed.total()

    @property
    def refusals(self) -> int:
        """Records of this run's input that were refused so far.

        Those of earlier runs that are tried again count in the run that read them.
        """
        with self._lock:
            return self.codes.total() - self._rejected_again
