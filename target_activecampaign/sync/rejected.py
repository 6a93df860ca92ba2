"""Rejected records that the next run of their stream tries again, and what replaces them.

A later record of the same contact or source row replaces them, whatever it says. It may be read
before their import is rejected, so the order of reading is remembered.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.json import deserialize_json, serialize_json

from target_activecampaign.ledger import RejectedContact, source_of
from target_activecampaign.model.codes import CODES
from target_activecampaign.model.email import contact_key as key_of
from target_activecampaign.model.record import REJECT_CODE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from target_activecampaign.config.settings import Settings
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.model.record import Source
    from target_activecampaign.sync.segment import Segment

_MAX_IN_MEMORY = 50_000
"""Limit of contacts and rows whose place is remembered in memory."""


class ReadingOrder:
    """Remembers the latest record that was read of each contact and row. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[tuple[int, bytes], int] = {}
        self._file: sqlite3.Connection | None = None

    def note(self, segment: int, identities: Iterable[bytes], number: int) -> None:
        """Remember a record.

        Args:
            segment: Its segment.
            identities: The hashes of its contact and its row. Empty ones are ignored.
            number: Its place in the order of reading, which only grows.
        """
        with self._lock:
            for one in identities:
                if one:
                    self._latest[segment, one] = number
            if len(self._latest) > _MAX_IN_MEMORY:
                self._write()

    def _write(self) -> None:
        """Move all to a temporary file: memory does not grow with the stream."""
        if self._file is None:
            self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._file.execute(
                "CREATE TABLE latest (segment INTEGER, identity BLOB, number INTEGER, "
                "PRIMARY KEY (segment, identity)) WITHOUT ROWID"
            )
        rows = sorted((*key, number) for key, number in self._latest.items())
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO latest VALUES (?, ?, ?)", rows)
        self._file.execute("COMMIT")
        self._latest.clear()

    def has_later(self, segment: int, identities: Iterable[bytes], number: int) -> bool:
        """Return whether a later record of a contact or row was read."""
        with self._lock:
            return any(self._number(segment, one) > number for one in identities if one)

    def _number(self, segment: int, identity: bytes) -> int:
        found = self._latest.get((segment, identity))
        if found is None and self._file is not None:
            query = "SELECT number FROM latest WHERE segment = ? AND identity = ?"
            row = self._file.execute(query, (segment, identity)).fetchone()
            found = None if row is None else int(row[0])
        return -1 if found is None else found

    def close(self) -> None:
        """Delete the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


@dataclass
class RetryCounts:
    """The rejected records of earlier runs of one stream.

    Attributes:
        retried: The number of records that were tried again.
        given_up: The number of those that are not tried any more, by code.
        waiting: The number of contacts whose records the next run tries.
    """

    retried: int = 0
    given_up: Counter[str] = field(default_factory=Counter)
    waiting: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return what the report shows."""
        return {
            "retried": self.retried,
            "given_up": dict(sorted(self.given_up.items())),
            "waiting": self.waiting,
        }


class RejectedRecords:
    """Stores rejected records for the next run, unless there is a later one. Thread-safe.

    Args:
        ledger: Stores them.
        settings: The limits.

    Attributes:
        counts: The figures by stream, after stream maps.
        is_retrying: Whether the records that are read now are themselves rejected ones.
    """

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._max_attempts = settings.retry_max_attempts
        self._order = ReadingOrder()
        self._segments: dict[tuple[str, str], Segment] = {}
        self.counts: dict[str, RetryCounts] = {}
        self.is_retrying = False

    def close(self) -> None:
        """Delete what is remembered of the order."""
        self._order.close()

    def add_stream(self, source: str, name: str, segment: Segment) -> None:
        """Add a stream of the run.

        Args:
            source: The tap's stream.
            name: The stream after stream maps.
            segment: The segment that it is loaded into.
        """
        self._segments[source, name] = segment
        self.counts.setdefault(name, RetryCounts())

    def note(
        self, segment: Segment, contact: bytes | None, rows: Iterable[bytes], number: int
    ) -> None:
        """Remember a record that was read. It is later than all before it.

        Args:
            segment: Its segment.
            contact: The hash of its contact, if it has one.
            rows: The keys of its source row, if rows are known.
            number: Its place in the order of reading.
        """
        if segment.settings.retry_rejected:
            self._order.note(segment.number, (contact or b"", *rows), number)

    def discard(
        self, segment: Segment, contacts: Collection[bytes], rows: Collection[bytes]
    ) -> None:
        """Delete what is stored of contacts and rows that have a record in this run's input."""
        if not self.is_retrying:
            self._ledger.rejected.discard(segment.number, contacts, rows)

    def add(self, sources: list[Source], code: str, contact_key: str | None) -> None:
        """Store rejected records of a contact for the next run, or give them up.

        Args:
            sources: The records, in their order.
            code: The code of the rejection.
            contact_key: The contact's address, if the records have a valid one.
        """
        by_stream: dict[tuple[str, str], list[Source]] = {}
        for source in sources:
            by_stream.setdefault((source.stream.name, source.name), []).append(source)
        for name, some in by_stream.items():
            segment = self._segments.get(name)
            if segment is None or not segment.settings.retry_rejected:
                continue  # of a suppression stream, for one
            if not self._store(segment, some, code, contact_key) and some[-1].attempt > 1:
                self.counts[name[1]].given_up[code] += len(some)

    def _store(
        self, segment: Segment, sources: list[Source], code: str, contact_key: str | None
    ) -> bool:
        """Store records unless there is a later one. Return False if they are given up."""
        last = sources[-1]
        contact = b"" if contact_key is None else self._ledger.contact_hash(key_of(contact_key))
        if self._order.has_later(segment.number, (contact, last.row), last.number):
            return True
        if not contact or not CODES[code].retry or last.attempt > self._max_attempts:
            return False
        self._ledger.rejected.add(
            RejectedContact(
                segment.number,
                contact,
                last.row or None,
                source_of(last.stream.name),
                code,
                last.attempt,
                # Of rows that share the contact, the last one counts.
                [_original(one) for one in sources if one.row == last.row],
            )
        )
        return True


def _original(source: Source) -> bytes:
    """Return a record as the tap wrote it, if it comes from a reject file."""
    if REJECT_CODE not in source.stream.schema.get("properties", {}):
        return source.line
    try:
        message = deserialize_json(source.line)
        record = message["record"]
        message["record"] = {n: v for n, v in record.items() if not n.startswith("_reject_")}
        return serialize_json(message).encode()
    except (ValueError, RecursionError, ArithmeticError):
        return source.line
