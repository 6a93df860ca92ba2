"""The window: collects records, looks them up in the ledger together, and makes contacts of them.

Every record passes through it. One query looks up all contacts of a window, and the contacts made
of its records are compared together.

Most records are not even decoded: a record whose hash is in the ledger is unchanged. The hash
covers the record's bytes and everything else that its contact depends on (see `Route`).
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec.structs import replace
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.record import Source
from target_activecampaign.singer.deletions import DELETED
from target_activecampaign.singer.messages import describe_place
from target_activecampaign.singer.records import read_record_line
from target_activecampaign.sync import changes
from target_activecampaign.sync.order import OUTDATED, ReadOrder
from target_activecampaign.sync.routes import NESTED, UNREADABLE
from target_activecampaign.sync.suppression import CheckedRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.state import Checkpoints
    from target_activecampaign.ledger import Ledger, Member, MemberUpdate
    from target_activecampaign.model.withheld import WithheldReason
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.reader import MessageReader
    from target_activecampaign.singer.records import ReadRecord
    from target_activecampaign.sync.order import RecordNumbers
    from target_activecampaign.sync.routes import (
        Problem,
        RecordRoute,
        Route,
        RoutedStream,
        SuppressionRoute,
    )
    from target_activecampaign.sync.suppression import Suppressor

_MAX_WAIT_SECONDS = 0.5

_NUL = b"\\u0000"
"""U+0000 as JSON escapes it."""

_CHANGED = Refusal(
    "RECORD_INVALID", "does not fit its stream any more, or the stream's map.", needs_place=True
)

_record_decoder = msgspec.json.Decoder(float_hook=Decimal)
_list_decoder = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)


@dataclass(slots=True)
class _Records:
    """Consecutive records of one stream and version.

    Attributes:
        stream: The tap's stream.
        version: The version of their messages.
        raws: The records as JSON; empty where only the whole message can be decoded.
        lines: The messages.
        places: The places of the records in the input.
        read: Records that are already decoded, by their number: their index in these lists.
        attempts: For rejected records of earlier runs: the number of runs that have tried each,
            with this one.
        batches: The records on each route.
    """

    stream: RoutedStream
    version: object
    raws: Sequence[msgspec.Raw]
    lines: Sequence[bytes]
    places: Sequence[Place]
    read: dict[int, ReadRecord]
    attempts: Sequence[int] = ()
    batches: list[_Batch] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Records on one route.

    Attributes:
        route: The route.
        numbers: The numbers of the records in `_Records`.
        keys: The keys of their contacts; empty for a record without a valid address.
        contact_hashes: The hashes of these keys.
        hashes: The hashes of the records.
        mapped: Records that are already mapped, each with its problem, by number.
    """

    route: Route
    numbers: Sequence[int]
    keys: list[str]
    contact_hashes: list[bytes]
    hashes: list[bytes | None]
    mapped: dict[int, tuple[dict[str, Any], Problem]]


@dataclass(slots=True)
class _Split:
    """Records on a route, split by what their hash shows.

    Attributes:
        unchanged: The contacts of unchanged records.
        withheld: The index and the contact of records that were withheld before, with the reason.
        rest: The indexes of the other records.
    """

    unchanged: list[bytes]
    withheld: list[tuple[int, bytes, WithheldReason]]
    rest: list[int]

    @property
    def has_known(self) -> bool:
        """True if any record is known by its hash."""
        return bool(self.unchanged or self.withheld)


@dataclass(slots=True)
class _Candidates:
    """Records on a route that may have changed: parallel lists, as tuples would cost more.

    Attributes:
        batch: The records on the route.
        indexes: Their indexes in `batch`.
        records: The records, mapped and checked.
        problems: The problem of each record, if any.
        rows: The keys of their source rows; an empty list if rows need not be known.
    """

    batch: _Batch
    indexes: list[int]
    records: list[dict[str, Any]]
    problems: list[Problem]
    rows: list[bytes]


class _State(NamedTuple):
    value: Any


@dataclass(slots=True)
class _Known:
    """Facts about the contacts of a window.

    Attributes:
        contact_hashes: The contacts that were looked up in the ledger.
        rows: Their members in the ledger.
        in_flight: The ledger updates of those in flight, by contact key and segment.
        changing: Keys of contacts with an earlier record that may have changed. Their later
            records are compared too, so that they stay behind it.
        is_single: Whether the records of the window are all of one batch.
        row_contacts: Contacts whose source rows have such a record. It may have another address,
            or none if the row was deleted.
    """

    contact_hashes: set[bytes]
    rows: dict[bytes, list[Member]]
    in_flight: dict[str, dict[int, MemberUpdate]]
    changing: set[str]
    is_single: bool
    row_contacts: set[bytes] = field(default_factory=set)


@dataclass
class RecordWindow:
    """Collects records and STATE, and processes them in their order.

    Args:
        reader: Reads lines that the fast decoder can't decode.
        ledger: The contacts that were delivered.
        accounting: Counts records.
        changes: Compares the contacts.
        checkpoints: Gets each STATE after the records before it.
        suppressor: Gets the records of people who must never be sent.
    """

    reader: MessageReader
    ledger: Ledger
    accounting: RecordAccounting
    changes: changes.ChangeDetector
    checkpoints: Checkpoints
    suppressor: Suppressor
    _items: list[_Records | _State] = field(default_factory=list)
    _count: int = 0
    _bytes: int = 0
    _since: float = 0.0
    _order: ReadOrder = field(default_factory=ReadOrder)

    def close(self) -> None:
        """Delete what is remembered of the records."""
        self._order.close()
        self.suppressor.close()

    def take(
        self,
        stream: RoutedStream,
        version: object,
        raws: Sequence[msgspec.Raw],
        lines: Sequence[bytes],
        places: Sequence[Place],
        *,
        read: ReadRecord | None = None,
        attempts: Sequence[int] = (),
    ) -> None:
        """Add consecutive records of one stream and version.

        Args:
            stream: The tap's stream. It has at least one route of either kind.
            version: The version of their messages.
            raws: The records as JSON.
            lines: The whole messages.
            places: Their places in the input.
            read: The record, if it is a single one that is already decoded. Its raw text is empty.
            attempts: For rejected records of earlier runs: the number of runs that have tried each,
                with this one. Their raw texts are empty.

        Raises:
            Errors of `flush`.
        """
        routes = stream.width
        while lines:
            room = max(1, (self.changes.window_records - self._count) // routes)
            known = {} if read is None else {0: read}
            some = raws[:room], lines[:room], places[:room]
            self._append(_Records(stream, version, *some, known, attempts[:room]))
            raws, lines, places = raws[room:], lines[room:], places[room:]
            attempts = attempts[room:]

    def _append(self, records: _Records) -> None:
        if not self._items:
            self._since = time.monotonic()
            self.accounting.reading()
        self._items.append(records)
        self._count += len(records.lines) * records.stream.width
        self._bytes += sum(map(len, records.lines))
        is_full = self._count >= self.changes.window_records
        if is_full or self._bytes >= changes.WINDOW_BYTES:
            self.flush()

    def queue_state(self, value: Any) -> None:
        """Add the value of a STATE message, to be passed on after the records before it."""
        if self._items:
            self._items.append(_State(value))
        else:
            self.checkpoints.state(value)

    @property
    def due(self) -> bool:
        """True if the first record has waited long enough."""
        return bool(self._items) and time.monotonic() - self._since > _MAX_WAIT_SECONDS

    def flush(self) -> None:
        """Process all records and STATE of the window.

        Raises:
            InvalidInputLine, MappingError, SingerSDKError: A record ends the run. The records and
                STATE after it are dropped.
            DeliveryError, LedgerError, ActiveCampaignError: The delivery can't continue.
        """
        if not self._items:
            return
        items, self._items, self._count, self._bytes = self._items, [], 0, 0
        batches: list[_Batch] = []
        for item in items:
            if isinstance(item, _Records):
                item.batches = [self._identify(item, route) for route in item.stream.routes]
                batches += item.batches
        self.changes.wait_until_recovered()
        # First of all: nothing of these people may be sent, whatever comes before their record.
        for item in items:
            if isinstance(item, _Records):
                for suppression in item.stream.suppressions:
                    self._suppress(item, suppression)
        keys = {key for batch in batches for key in batch.keys}
        # Before the ledger: a contact confirmed in between is then found in both, not in neither.
        in_flight = self.changes.in_flight(keys)
        segments = {batch.route.segment.number: batch.route.segment for batch in batches}
        contact_hashes = {one for batch in batches for one in batch.contact_hashes if one}
        rows = self.changes.members(segments.values(), contact_hashes)
        # For contacts in flight, the ledger may be out of date.
        changing = self.changes.waiting | in_flight.keys()
        known = _Known(contact_hashes, rows, in_flight, changing, len(batches) == 1)
        for item in items:
            if isinstance(item, _State):
                self.checkpoints.state(item.value)
            else:
                self._process(item, known)
        self.changes.compare(known.contact_hashes, known.rows, known.in_flight)

    def _identify(self, records: _Records, route: Route) -> _Batch:
        """Find the contacts of records on a route, and decode only records for which it must."""
        if not (records.raws[0] and route.finds_address):
            numbers: Sequence[int] = range(len(records.lines))
            mapped = self._map(records, route, numbers)
            numbers = list(mapped)
            keys = [route.mapping.contact_key(record) or "" for record, _ in mapped.values()]
            hashes = route.hash_all([records.raws[number] for number in numbers])
        else:
            mapped = {}
            keys = route.find_keys(records.raws)
            numbers = range(len(keys))
            if not all(keys):
                # These have no address, or one that only the whole record shows.
                mapped = self._map(records, route, [n for n, key in enumerate(keys) if not key])
                for number, (record, _) in mapped.items():
                    keys[number] = route.mapping.contact_key(record) or ""
            hashes = route.hash_all(records.raws)
        return _Batch(route, numbers, keys, self.ledger.contact_hashes(keys), hashes, mapped)

    def _suppress(self, records: _Records, route: SuppressionRoute) -> None:
        """Suppress the people of records, or lift their suppression."""
        mapped = self._map(records, route, range(len(records.lines)))
        found = [record for record, _ in mapped.values()]
        problems = route.check(found, [problem for _, problem in mapped.values()])
        checked = [
            CheckedRecord(
                record,
                problem,
                records.lines[number],
                records.places[number],
                _number_of(records, number, route.numbers),
            )
            for number, record, problem in zip(mapped, found, problems, strict=True)
        ]
        if checked:
            self.suppressor.take(route, checked)

    def _map(
        self, records: _Records, route: RecordRoute, numbers: Sequence[int]
    ) -> dict[int, tuple[dict[str, Any], Problem]]:
        """Decode and map records, without those that a stream map filters out.

        Returns:
            Each record with its problem, if any, by number.
        """
        mapped, problems = route.map(*self._decode(records, numbers))
        if records.attempts:
            problems = list(map(_without_errors, problems))
        return {
            number: (record, problem)
            for number, record, problem in zip(numbers, mapped, problems, strict=True)
            if record is not None
        }

    def _decode(
        self, records: _Records, numbers: Sequence[int]
    ) -> tuple[list[dict[str, Any]], list[Problem]]:
        """Return the decoded records, and the problem of each, if any."""
        if not records.read:
            decoded = _decode_all([records.raws[number] for number in numbers])
            if decoded is not None:
                return decoded, [None] * len(decoded)
        found = [self._read(records, number) for number in numbers]
        return [record for record, _ in found], [problem for _, problem in found]

    def _read(self, records: _Records, number: int) -> tuple[dict[str, Any], Problem]:
        """Return a decoded record, and the reason why it is unreadable or ends the run, if any."""
        if number not in records.read:
            with suppress(*UNREADABLE):
                record = _record_decoder.decode(records.raws[number])
                if type(record) is dict:
                    return record, None
            try:
                records.read[number] = read_record_line(
                    self.reader, records.lines[number], records.places[number]
                )
            except InvalidInputLine as error:
                return {}, error
        return records.read[number]

    def _process(self, records: _Records, known: _Known) -> None:
        """Count the records that are unchanged by their hash, and make contacts of the others."""
        stream = records.stream
        stream.progress.add_records(len(records.lines), records.version)
        prepared: list[_Candidates] = []
        for batch in records.batches:
            route = batch.route
            split = self._split(batch, known)
            found = self._prepare(records, batch, split.rest) if split.rest else None
            # If all records of the window may have changed, none can be taken for unchanged.
            if (
                found is not None
                and (split.has_known or not known.is_single)
                and self._add_row_contacts(found, known)
                and split.has_known
            ):
                split = self._split(batch, known)
                found = self._prepare(records, batch, split.rest)
            if found is not None and not found.records:
                found = None
            if (split.has_known or found) and not records.attempts:
                self._begin_sync(stream, route, known)
            if split.unchanged:
                self._count_unchanged(records, batch, split)
            if split.withheld:
                self._count_withheld(records, batch, split.withheld)
            if found is not None:
                prepared.append(found)
        if len(prepared) == 1:
            self._take_contacts(records, prepared[0], range(len(prepared[0].records)))
            return
        # All routes of a record come before the next record.
        order = sorted(
            (one.batch.numbers[index], which, place)
            for which, one in enumerate(prepared)
            for place, index in enumerate(one.indexes)
        )
        for _, which, place in order:
            self._take_contacts(records, prepared[which], range(place, place + 1))

    def _split(self, batch: _Batch, known: _Known) -> _Split:
        """Split records into those that are known by their hash, and the others."""
        changing, row_contacts = known.changing, known.row_contacts
        if not batch.route.hashes:
            changing.update(batch.keys)
            return _Split([], [], list(range(len(batch.keys))))
        is_unchanged = self.changes.unchanged_by_record_hash(
            batch.route.segment, batch.contact_hashes, batch.hashes, known.rows
        )
        others = [index for index, same in enumerate(is_unchanged) if not same]
        reasons = self.changes.withheld_by_record_hash(
            batch.route.segment,
            [batch.contact_hashes[index] for index in others],
            [batch.hashes[index] for index in others],
        )
        withheld = dict(zip(others, reasons, strict=False))
        found = _Split([], [], [])
        # The report shows what arrives of a record, even if all of them are unchanged.
        wants_sample = batch.route.wants_sample
        for index, (same, key) in enumerate(zip(is_unchanged, batch.keys, strict=True)):
            contact_hash = batch.contact_hashes[index]
            is_known = key not in changing and contact_hash not in row_contacts
            if same and is_known and not wants_sample:
                found.unchanged.append(contact_hash)
                self.accounting.arrived = key
            elif is_known and (reason := withheld.get(index)) is not None:
                found.withheld.append((index, contact_hash, reason))
            else:
                changing.add(key)
                found.rest.append(index)
                wants_sample = False
        return found

    def _prepare(self, records: _Records, batch: _Batch, indexes: list[int]) -> _Candidates:
        """Decode, map and check records, without those that a stream map filters out."""
        route, numbers, mapped = batch.route, batch.numbers, batch.mapped
        found: list[dict[str, Any]]
        problems: list[Problem]
        if mapped or route.maps:
            todo = [number for index in indexes if (number := numbers[index]) not in mapped]
            if todo:
                mapped |= self._map(records, route, todo)
            indexes = [index for index in indexes if numbers[index] in mapped]
            found = [mapped[numbers[index]][0] for index in indexes]
            problems = [mapped[numbers[index]][1] for index in indexes]
        else:
            found, problems = self._decode(records, [numbers[index] for index in indexes])
        rows = [] if route.row_keys is None else [route.row_keys.key_of(one) for one in found]
        candidates = _Candidates(batch, indexes, found, route.check(found, problems), rows)
        if route.numbers is not None:
            self._mark_outdated(records, candidates, route.numbers)
        return candidates

    def _add_row_contacts(self, candidates: _Candidates, known: _Known) -> bool:
        """Add the contacts of these records' source rows. Return whether any are new."""
        if not candidates.rows or not candidates.batch.route.hashes:
            return False
        segment, before = candidates.batch.route.segment, len(known.row_contacts)
        known.row_contacts |= self.changes.contacts_of_rows(segment, candidates.rows)
        return len(known.row_contacts) > before

    def _mark_outdated(
        self, records: _Records, candidates: _Candidates, numbers: RecordNumbers
    ) -> None:
        """Set the problem of records that are older than one that was read before."""
        batch, route = candidates.batch, candidates.batch.route
        for place, index in enumerate(candidates.indexes):
            identity = candidates.rows[place] if candidates.rows else b""
            identity = identity or batch.contact_hashes[index]
            number = _number_of(records, batch.numbers[index], numbers)
            if identity and number is not None:
                segment = route.segment.number
                if self._order.is_outdated(segment, identity, number):
                    candidates.problems[place] = OUTDATED

    def _begin_sync(self, stream: RoutedStream, route: Route, known: _Known) -> None:
        """Begin a new sync of a mirror if these records belong to one."""
        name, progress, segment = stream.source.name, stream.progress, route.segment
        if segment.begins_pass(name, progress):
            # The contacts so far belong to the previous sync. Comparing them outdates everything
            # that was looked up.
            self.changes.compare(known.contact_hashes, known.rows, known.in_flight)
            known.contact_hashes, known.in_flight = set(), {}
            segment.begin_pass(name, progress)
        segment.record(name, progress)

    def _count_unchanged(self, records: _Records, batch: _Batch, split: _Split) -> None:
        """Count records as unchanged, and store that a mirror has seen their contacts."""
        route, contact_hashes = batch.route, split.unchanged
        segment, count = route.segment, len(contact_hashes)
        segment.has_contacts = True
        segment.unchanged_by_hash += count
        segment.deleted.difference_update(contact_hashes)
        self.changes.rejected.discard(segment, contact_hashes, ())
        # Stored before they are counted: STATE must not run ahead of what a mirror has seen.
        self.ledger.members.record_seen(
            segment.number, segment.seen, unchanged=contact_hashes, outdated=()
        )
        route.counter.increment(count)
        sources: list[Source] = []
        if self.accounting.rows is not None and self.accounting.rows.wants_unchanged:
            others = {*split.rest, *(index for index, _, _ in split.withheld)}
            now = self.ledger.now()
            sources = [
                self._source(records, batch, index, now)
                for index in range(len(batch.keys))
                if index not in others
            ]
        self.accounting.unchanged(route.name, count, sources)

    def _source(self, records: _Records, batch: _Batch, index: int, now: float) -> Source:
        """Return a record that is counted without a delivery, for its row of outcomes."""
        return Source(
            batch.route.name,
            batch.route.source,
            records.lines[batch.numbers[index]],
            self.accounting.epoch,
            next(self.accounting.numbers),
            b"",
            batch.keys[index],
            batch.contact_hashes[index],
            now,
            batch.hashes[index],
        )

    def _count_withheld(
        self,
        records: _Records,
        batch: _Batch,
        withheld: list[tuple[int, bytes, WithheldReason]],
    ) -> None:
        """Count records as skipped that were withheld before, and are the same."""
        route = batch.route
        segment = route.segment
        segment.has_contacts = True
        contacts = [contact for _, contact, _ in withheld]
        segment.deleted.difference_update(contacts)
        self.changes.rejected.discard(segment, contacts, ())
        # Stored before they are counted, as above. A contact may still be on the list.
        self.ledger.members.record_seen(
            segment.number, segment.seen, unchanged=contacts, outdated=()
        )
        route.counter.increment(len(withheld))
        codes = Counter(reason.name for _, _, reason in withheld)
        rows: list[tuple[Source, str]] = []
        if self.accounting.rows is not None:
            now = self.ledger.now()
            rows = [
                (self._source(records, batch, index, now), reason.name)
                for index, _, reason in withheld
            ]
        self.accounting.skipped_again(route.name, codes, rows)

    def _take_contacts(self, records: _Records, candidates: _Candidates, places: range) -> None:
        """Make contacts of the candidates at these places, in order, and pass them on.

        This is the only call site that makes a contact of a record.
        """
        batch, indexes = candidates.batch, candidates.indexes
        route, numbers, lines = batch.route, batch.numbers, records.lines
        keys, contact_hashes, hashes = batch.keys, batch.contact_hashes, batch.hashes
        mapping, segment, maps = route.mapping, route.segment, route.maps
        name, stream, take = route.name, route.source, self.changes.take
        consent, skips = mapping.consent, segment.settings.without_consent == "skip"
        epoch, taken = self.accounting.epoch, 0
        numbers_of_records, now = self.accounting.numbers, self.ledger.now()
        row_keys, attempts = candidates.rows, records.attempts
        try:
            for place in places:
                index, record = indexes[place], candidates.records[place]
                problem = candidates.problems[place]
                if problem is not None and not isinstance(problem, (str, Refusal)):
                    raise problem
                line = lines[numbers[index]]
                if maps or (b"\\" in line and _NUL in line):  # the first costs next to nothing
                    record = route.without_nul(record)
                row = row_keys[place] if row_keys else b""
                attempt = attempts[numbers[index]] if attempts else 1
                source = Source(
                    name, stream, line, epoch, next(numbers_of_records), row,
                    keys[index], contact_hashes[index], now, hashes[index], attempt,
                )  # fmt: skip
                if problem is DELETED or problem is OUTDATED:
                    self._skip(problem, source, batch, index, record, row)
                    taken += 1
                    continue
                reason = consent.withheld_reason(record) if consent else None
                try:
                    if isinstance(problem, Refusal):
                        raise problem
                    if reason is not None and skips:
                        contact = mapping.valid_address_of(record)
                    else:
                        contact = mapping.to_contact(record)
                        if route.wants_sample:
                            route.take_sample(contact)
                    same_key = contact.key == keys[index]
                    source = source if same_key else self._with_key(source, contact.key)
                    take(contact, source, segment, hashes[index], source.contact_hash, row, reason)
                except (Refusal, RecursionError) as error:
                    refusal = error if isinstance(error, Refusal) else NESTED
                    placed = refusal.at(describe_place(records.places[numbers[index]]))
                    address = mapping.address_of(record)
                    self.changes.refuse(source, placed, segment, address, row, reason=reason)
                taken += 1
        finally:
            # Even if a record ends the run.
            self._count_taken(route, taken, are_retried=bool(attempts))

    def _count_taken(self, route: Route, count: int, *, are_retried: bool) -> None:
        if are_retried:
            self.accounting.tried_again(route.name, count)
        elif count:
            route.counter.increment(count)
            self.accounting.read(route.name, count)

    def _with_key(self, source: Source, key: str) -> Source:
        """Return a record whose contact has another key than the one found in its JSON."""
        return replace(source, contact_key=key, contact_hash=self.ledger.contact_hash(key))

    def _skip(  # noqa: PLR0917 - all that is known about the record
        self,
        problem: object,
        source: Source,
        batch: _Batch,
        index: int,
        record: dict[str, Any],
        row: bytes,
    ) -> None:
        """Pass on a record that is marked as deleted, or is outdated."""
        if problem is OUTDATED:
            self.changes.skip(source, batch.route.segment, "OUTDATED")
            return
        route, key = batch.route, batch.keys[index]
        if route.maps:
            # Without an address, if the stream map failed on it: then the key is None.
            key = route.mapping.contact_key(record) or ""
        contact_hash = batch.contact_hashes[index] if key == batch.keys[index] else None
        self.changes.delete(source, route.segment, key, contact_hash or None, row)


def _without_errors(problem: Problem) -> Problem:
    """Return the problem of a rejected record of an earlier run, which never ends this run.

    Its stream may have changed since.
    """
    is_error = isinstance(problem, Exception) and not isinstance(problem, Refusal)
    return _CHANGED if is_error else problem


def _number_of(records: _Records, at: int, numbers: RecordNumbers | None) -> int | None:
    """Return the number that a record has in its change log; None if it has none."""
    if numbers is None:
        return None
    read = records.read.get(at)
    return numbers.number_of(records.raws[at], None if read is None else read[0])


def _decode_all(raws: list[msgspec.Raw]) -> list[dict[str, Any]] | None:
    """Decode records together. Return None if one can't be decoded, or is not an object."""
    with suppress(*UNREADABLE):
        records = _list_decoder.decode(b"[" + b",".join(raws) + b"]")
        return records if len(records) == len(raws) else None
    return None
