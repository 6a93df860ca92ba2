"""Contacts held against the rows of their source: whose address has changed, and who shares one.

A record of a known row with another address waits until the input has ended, and so does a record
of a new row that claims the address of another row (see `renames`). All others go on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import asdict, replace

from target_activecampaign.ledger import SourceRow, WaitingRecord
from target_activecampaign.model.codes import CODES, Refusal
from target_activecampaign.model.contact import Contact  # noqa: TC001 - msgspec reads it
from target_activecampaign.model.record import Source, SourceStream
from target_activecampaign.model.withheld import WithheldReason
from target_activecampaign.sync.withholding import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from target_activecampaign.delivery.batches import Entry, Packer
    from target_activecampaign.ledger import Ledger, Member, MemberUpdate
    from target_activecampaign.sync.ownership import PendingContact
    from target_activecampaign.sync.segment import Segment

_MAX_MOVING = 10_000
"""Limit of contacts that are remembered as moving; beyond it, no record of the run is unchanged by
its hash alone."""

OPTED_OUT = Refusal(
    "OPTED_OUT",
    "The person has opted out with an earlier address, so this address is not subscribed.",
)
IN_DOUBT = Refusal(
    "ADDRESS_IN_DOUBT",
    "The address is that of another row's contact, and the latest record of that row was rejected.",
)
_ADDRESS_CHANGED = Refusal(
    "ADDRESS_CHANGED",
    "The row had another e-mail address before, and 'on_address_change' is 'reject'.",
)


class _StoredSource(msgspec.Struct, array_like=True, gc=False):
    """A record as the ledger stores it: a `Source` with the number of its stream."""

    name: str
    stream: int
    line: bytes
    epoch: int
    number: int
    row: bytes
    contact_key: str
    contact_hash: bytes
    read_at: float
    record_hash: bytes | None
    attempt: int


class _StoredEntry(msgspec.Struct, array_like=True, gc=False):
    """A waiting contact as the ledger stores it.

    Attributes:
        contact: The contact.
        sources: Its records.
        raw: The hash of its record.
        rows: The keys of its rows.
    """

    contact: Contact
    sources: list[_StoredSource]
    raw: bytes | None
    rows: tuple[bytes, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_StoredEntry)


class EntryCodec:
    """Encodes contacts with their records for the ledger, and decodes them.

    Args:
        packer: Makes the decoded contacts.
    """

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._streams: list[SourceStream] = []

    def encode(self, entry: Entry) -> bytes:
        """Return a contact as bytes, which only this object can decode."""
        sources = [
            _StoredSource(**{**asdict(one), "stream": self._number_of(one.stream)})
            for one in entry.sources
        ]
        return _encoder.encode(_StoredEntry(entry.contact, sources, entry.raw, entry.rows))

    def _number_of(self, stream: SourceStream) -> int:
        if stream not in self._streams:
            self._streams.append(stream)
        return self._streams.index(stream)

    def decode(self, stored: bytes, contact_hash: bytes) -> Entry:
        """Return the contact that was encoded."""
        one = _decoder.decode(stored)
        sources = [
            Source(**{**asdict(stored), "stream": self._streams[stored.stream]})
            for stored in one.sources
        ]
        entry = self._packer.entry(one.contact, sources)
        entry.contact_hash, entry.raw, entry.rows = contact_hash, one.raw, one.rows
        return entry


@dataclass(slots=True)
class Resolved:
    """The contacts of a window after they were held against their rows.

    Attributes:
        rest: The contacts to compare, in their order.
        refused: The contacts that are refused, those of rejected records first of all.
        seen: By segment: contacts that are in the stream, although their records wait or are
            refused.
        former: Contacts of rejected or skipped records with the contact that their row has, if
            that is another: the row may have moved.
    """

    rest: list[PendingContact] = field(default_factory=list)
    refused: list[tuple[PendingContact, Refusal]] = field(default_factory=list)
    seen: dict[int, list[bytes]] = field(default_factory=dict)
    former: list[tuple[PendingContact, bytes]] = field(default_factory=list)
    waiting: list[PendingContact] = field(default_factory=list)


class _Rows:
    """The rows of one segment in a window: as in the ledger, and as they change.

    Attributes:
        segment: The segment.
        known: The rows by key, as they are now.
        waiting: The keys of rows that have waiting records.
        changed: The rows to store, by key.
        left: Contacts that their rows have left.
    """

    def __init__(
        self, segment: Segment, known: dict[bytes, SourceRow], waiting: set[bytes]
    ) -> None:
        self.segment = segment
        self.known = known
        self.waiting = waiting
        self.changed: dict[bytes, SourceRow] = {}
        self.left: list[bytes] = []

    def set(self, row: SourceRow) -> None:
        """Change a row."""
        self.known[row.key] = self.changed[row.key] = row

    def located(self, key: bytes) -> SourceRow | None:
        """Return a row of which there is a valid record, so that its address is known again."""
        row = self.known.get(key)
        if row is not None and row.may_have_moved:
            self.set(row._replace(may_have_moved=False))
        return self.known.get(key)

    def mark_seen(self, row: SourceRow) -> None:
        """Note that the current sync has a row, if it shares its contact."""
        if row.seen is not None:
            self.set(row._replace(seen=self.segment.seen or 0))


class RowTracker:
    """Holds contacts against the rows of their source.

    Args:
        ledger: Has the rows.
        codec: Encodes records that wait.
    """

    def __init__(self, ledger: Ledger, codec: EntryCodec) -> None:
        self._ledger = ledger
        self._codec = codec
        self._is_resolving = False
        self._shared: frozenset[bytes] = frozenset()

    def begin_resolving(self, shared: Iterable[bytes]) -> None:
        """From now on, no record waits: the input has ended, and contacts have new addresses.

        Args:
            shared: Contacts of several rows.
        """
        self._is_resolving = True
        self._shared = frozenset(shared)

    def end_resolving(self) -> None:
        """End what `begin_resolving` began."""
        self._is_resolving = False
        self._shared = frozenset()

    def resolve(
        self,
        window: Sequence[PendingContact],
        members: Mapping[bytes, Sequence[Member]],
        in_flight: Mapping[str, Mapping[int, MemberUpdate]],
    ) -> Resolved:
        """Hold contacts against their rows, and store what is new of these.

        Args:
            window: The contacts, in their order.
            members: Their members in the ledger, by contact.
            in_flight: The planned ledger updates of those in flight, by contact key and segment.
        """
        resolved = Resolved()
        tracked = self._look_up(window)
        waiting: list[WaitingRecord] = []
        # Contacts of this window that are not in the ledger yet, with their rows.
        new: dict[tuple[int, bytes], bytes] = {}
        for one in window:
            rows = tracked.get(one.segment.number)
            if one.refusal is not None or self._is_withheld_mover(one, rows):
                one.refusal = one.refusal or REFUSALS[one.withheld or WithheldReason.NO_CONSENT]
                resolved.refused.append((one, one.refusal))
                self._reject(one, rows, resolved, waiting)
                continue
            if rows is None or not one.entry.rows:
                resolved.rest.append(one)
                continue
            if not one.segment.follows:
                self._assign(one.entry, rows)
                resolved.rest.append(one)
                continue
            entry, number, (key,) = one.entry, one.segment.number, one.entry.rows
            before = rows.located(key)
            is_claimed = new.get((number, entry.contact_hash), key) != key or _is_held(
                members.get(entry.contact_hash, ()), in_flight.get(entry.key, {}), number
            )
            refusal = self._refusal_of(one, before)
            if refusal is not None:
                resolved.refused.append((one, refusal))
            elif self._waits(one, before, rows, is_claimed=is_claimed):
                waiting.append(self._wait(one, before, rows, self._codec.encode(entry)))
                resolved.waiting.append(one)
            else:
                self._assign(entry, rows)
                new[number, entry.contact_hash] = key
                resolved.rest.append(one)
                continue
            if before is not None:
                resolved.seen.setdefault(number, []).append(before.contact)
                rows.mark_seen(before)
        # First, in case of a kill: a row that has moved already would not leave it again.
        for number, rows in tracked.items():
            if rows.segment.leaves_when_deleted:
                self._ledger.departures.add(number, rows.left)
        self._store(tracked.values())
        self._ledger.waiting.add(waiting)
        return resolved

    def rows_of(self, segment: Segment, keys: Iterable[bytes]) -> dict[bytes, SourceRow]:
        """Return the rows with these keys, by key."""
        return self._ledger.source_rows.find(segment.number, {key for key in keys if key})

    def delete(
        self, segment: Segment, known: Mapping[bytes, SourceRow], keys: Collection[bytes]
    ) -> dict[bytes, list[Source]]:
        """Store that rows are gone.

        Args:
            segment: Their segment.
            known: The rows in the ledger, by key.
            keys: The keys of those that are gone.

        Returns:
            By key: the records of these rows that waited. They have no outcome yet.
        """
        gone = [
            known[key]._replace(is_gone=True)
            for key in keys
            if key in known and not known[key].is_gone
        ]
        self._ledger.source_rows.store(segment.number, gone)
        found: dict[bytes, list[Source]] = {}
        for one in self._ledger.waiting.take(segment.number, keys):
            found.setdefault(one.key, []).extend(
                self._codec.decode(one.entry, one.person_to).sources
            )
        return found

    def delete_rows_of(self, segment: Segment, contacts: Collection[bytes]) -> None:
        """Store that the rows of contacts are gone: their deletions carry no key.

        If rows share a contact, it is unknown which of them was deleted.
        """
        if contacts:
            self._ledger.source_rows.end_rows_of(segment.number, contacts)

    def _look_up(self, window: Iterable[PendingContact]) -> dict[int, _Rows]:
        keys: dict[int, set[bytes]] = {}
        segments: dict[int, Segment] = {}
        for one in window:
            if one.entry.rows:
                keys.setdefault(one.segment.number, set()).update(one.entry.rows)
                segments[one.segment.number] = one.segment
        return {
            number: _Rows(
                segments[number],
                self._ledger.source_rows.find(number, some),
                self._ledger.waiting.keys(number, some),
            )
            for number, some in keys.items()
        }

    def _reject(
        self,
        one: PendingContact,
        rows: _Rows | None,
        resolved: Resolved,
        waiting: list[WaitingRecord],
    ) -> None:
        """Note what a rejected record says of its row: its address.

        The contact of the row is to get this address, which waits. If it can't, the records of the
        row that wait are refused too: its latest address is another, or none.
        """
        if rows is None or not one.entry.rows:
            return
        entry, number, (key,) = one.entry, one.segment.number, one.entry.rows
        before = rows.known.get(key)
        is_withheld = one.withheld is not None or (
            one.refusal is not None and CODES[one.refusal.code].is_skip
        )
        if key in rows.waiting and (before is None or not entry.key or is_withheld):
            entry.sources[:0] = self._take_waiting(rows, key, waiting)
        if before is None or (before.is_gone and not entry.key):
            return
        resolved.seen.setdefault(number, []).append(before.contact)
        rows.mark_seen(before)
        if before.seen is not None:
            entry.raw = None  # each row of a shared contact must be seen
        if not one.segment.follows or self._refusal_of(one, before) is not None:
            return
        may_have_moved = entry.contact_hash != before.contact
        now = rows.known[key]._replace(
            may_have_moved=may_have_moved, is_gone=before.is_gone and may_have_moved
        )
        if now != rows.known[key]:
            rows.set(now)
        if may_have_moved:
            resolved.former.append((one, before.contact))
            one.segment.add_moving(before.contact, _MAX_MOVING)
        if entry.key and not is_withheld and self._waits(one, before, rows, is_claimed=False):
            address_only = self._codec.encode(replace(entry, sources=[]))
            waiting.append(self._wait(one, before, rows, address_only))

    def _take_waiting(self, rows: _Rows, key: bytes, waiting: list[WaitingRecord]) -> list[Source]:
        """Remove what waits of a row, also in its window. Return the records."""
        number = rows.segment.number
        taken = self._ledger.waiting.take(number, [key])
        taken += [one for one in waiting if (one.segment, one.key) == (number, key)]
        waiting[:] = [one for one in waiting if (one.segment, one.key) != (number, key)]
        rows.waiting.remove(key)
        return [
            source
            for one in taken
            for source in self._codec.decode(one.entry, one.person_to).sources
        ]

    @staticmethod
    def _is_withheld_mover(one: PendingContact, rows: _Rows | None) -> bool:
        """Return whether a row without consent has another address: its contact gets none."""
        if one.withheld is None or rows is None or not one.segment.follows or not one.entry.rows:
            return False
        (key,) = one.entry.rows
        before = rows.known.get(key)
        moves = before is not None and before.contact != one.entry.contact_hash
        return moves or key in rows.waiting

    def _refusal_of(self, one: PendingContact, before: SourceRow | None) -> Refusal | None:
        if before is None or before.contact == one.entry.contact_hash:
            return None
        if before.is_opted_out:
            return OPTED_OUT
        return _ADDRESS_CHANGED if one.segment.settings.on_address_change == "reject" else None

    def _waits(
        self, one: PendingContact, before: SourceRow | None, rows: _Rows, *, is_claimed: bool
    ) -> bool:
        if one.withheld is not None or self._is_resolving:
            return False
        if one.segment.settings.on_address_change == "reject":
            return False
        if one.entry.rows[0] in rows.waiting:
            return True
        if before is None:
            return is_claimed
        return before.contact != one.entry.contact_hash

    def _wait(
        self, one: PendingContact, before: SourceRow | None, rows: _Rows, stored: bytes
    ) -> WaitingRecord:
        entry, (key,) = one.entry, one.entry.rows
        rows.waiting.add(key)
        contact = None if before is None else before.contact
        one.segment.add_moving(contact or entry.contact_hash, _MAX_MOVING)
        return WaitingRecord(rows.segment.number, key, contact, entry.contact_hash, stored)

    def _assign(self, entry: Entry, rows: _Rows) -> None:
        """Give the rows of a contact this contact."""
        contact, sync_number = entry.contact_hash, rows.segment.seen
        is_shared = contact in self._shared
        for key in entry.rows:
            before = rows.known.get(key)
            if before is not None and before.contact == contact:
                entry.contact_id = before.contact_id
            if before is None or before.contact != contact:
                if before is not None and not before.is_gone:
                    rows.left.append(before.contact)
                rows.set(SourceRow(key, contact))
                rows.segment.identity.shared_address += is_shared
            elif before.is_gone:
                rows.segment.returned += 1
                rows.set(before._replace(is_gone=False, seen=before.seen and sync_number))
            if is_shared or rows.known[key].seen is not None:
                # Each row of a shared contact must be seen, so no record is unchanged by its hash.
                entry.raw = None
                rows.set(rows.known[key]._replace(seen=sync_number or 0))

    def _store(self, tracked: Iterable[_Rows]) -> None:
        for rows in tracked:
            self._ledger.source_rows.store(rows.segment.number, rows.changed.values())


def _is_held(
    members: Iterable[Member], in_flight: Mapping[int, MemberUpdate], segment: int
) -> bool:
    """Return whether a source row stands behind a contact in a segment, or did: it may return."""
    update = in_flight.get(segment)
    if update is not None and update.keyed:
        return True
    return any(one.keyed and one.segment == segment for one in members)
