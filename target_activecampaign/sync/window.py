"""The window: records are taken as they come, looked up together, and made into contacts.

All records pass it, many at a time. The ledger is asked once for all contacts of a window, and what
is made of the records is compared together.

Most records are not even decoded. One that has the same bytes as the record that a contact was last
made of, while all else that makes a contact of it is as it was then, is unchanged: a hash tells.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.record import Source
from target_activecampaign.singer.deletions import DELETED
from target_activecampaign.singer.messages import describe_place
from target_activecampaign.singer.records import read_record_line
from target_activecampaign.sync import changes
from target_activecampaign.sync.routes import NESTED, UNREADABLE
from target_activecampaign.sync.segment import of_lists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.state import Checkpoints
    from target_activecampaign.ledger import Ledger, Member, MemberUpdate
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.reader import MessageReader
    from target_activecampaign.singer.records import ReadRecord
    from target_activecampaign.sync.routes import Problem, Route, RoutedStream

_MAX_WAIT_SECONDS = 0.5

_NUL = b"\\u0000"
"""U+0000 as JSON has it."""

_one = msgspec.json.Decoder(float_hook=Decimal)
_several = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)


@dataclass(slots=True)
class _Records:
    """Records of one stream and version that came one after the other.

    Attributes:
        stream: The tap's stream.
        version: The version of their messages.
        raws: The records as JSON; empty where only the whole message can be read.
        lines: The messages.
        places: Where they stand.
        read: Records that were read already, by their number here.
        batches: The same records on each route.
    """

    stream: RoutedStream
    version: object
    raws: Sequence[msgspec.Raw]
    lines: Sequence[bytes]
    places: Sequence[Place]
    read: dict[int, ReadRecord]
    batches: list[_Batch] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Records on one route.

    Attributes:
        route: The route.
        numbers: Their numbers in `_Records`.
        keys: The keys of their contacts, empty where they have none.
        people: The hashes that stand for these.
        hashes: The hashes of the records.
        mapped: Those that were mapped already: the record and what is wrong with it, by number.
    """

    route: Route
    numbers: Sequence[int]
    keys: list[str]
    people: list[bytes]
    hashes: list[bytes | None]
    mapped: dict[int, tuple[dict[str, Any], Problem]]


@dataclass(slots=True)
class _Candidates:
    """Records on a route that are looked into: lists side by side, as tuples would cost more.

    Attributes:
        batch: The records on the route.
        indexes: Their indexes in `batch`.
        records: The records, mapped and checked.
        problems: What is wrong with each.
    """

    batch: _Batch
    indexes: list[int]
    records: list[dict[str, Any]]
    problems: list[Problem]


class _State(NamedTuple):
    value: Any


@dataclass(slots=True)
class _Known:
    """Knowledge of the contacts of a window.

    Attributes:
        people: Those that the ledger was asked for.
        rows: What it has of them.
        in_flight: What is in flight of them.
        changing: Contacts of which an earlier record is looked into. The records that follow are
            looked into too, and so go after it.
    """

    people: set[bytes]
    rows: dict[bytes, list[Member]]
    in_flight: dict[str, dict[int, MemberUpdate]]
    changing: set[str]


@dataclass
class RecordWindow:
    """Takes records and STATE in their order.

    Args:
        reader: Reads the lines that the quick decoder gives up on.
        ledger: The contacts that were delivered.
        accounting: Counts records.
        changes: Takes the contacts.
        checkpoints: Takes STATE when its turn comes.
    """

    reader: MessageReader
    ledger: Ledger
    accounting: RecordAccounting
    changes: changes.ChangeDetector
    checkpoints: Checkpoints
    _items: list[_Records | _State] = field(default_factory=list)
    _count: int = 0
    _bytes: int = 0
    _since: float = 0.0

    def take(
        self,
        stream: RoutedStream,
        version: object,
        raws: Sequence[msgspec.Raw],
        lines: Sequence[bytes],
        places: Sequence[Place],
        *,
        read: ReadRecord | None = None,
    ) -> None:
        """Take records of one stream and version.

        Args:
            stream: The tap's stream; it has a route.
            version: The version of their messages.
            raws: The records as JSON.
            lines: The whole messages.
            places: Where they stand.
            read: The only record, where it was read from its line; then it has no raw text.

        Raises:
            Errors of `flush`.
        """
        routes = len(stream.routes)
        while lines:
            room = max(1, (self.changes.window_records - self._count) // routes)
            known = {} if read is None else {0: read}
            self._append(_Records(stream, version, raws[:room], lines[:room], places[:room], known))
            raws, lines, places = raws[room:], lines[room:], places[room:]

    def _append(self, records: _Records) -> None:
        if not self._items:
            self._since = time.monotonic()
            self.accounting.reading()
        self._items.append(records)
        self._count += len(records.lines) * len(records.stream.routes)
        self._bytes += sum(map(len, records.lines))
        is_full = self._count >= self.changes.window_records
        if is_full or self._bytes >= changes.WINDOW_BYTES:
            self.flush()

    def queue_state(self, value: Any) -> None:
        """Take a STATE message's value, to be handed on after the records before it."""
        if self._items:
            self._items.append(_State(value))
        else:
            self.checkpoints.state(value)

    @property
    def due(self) -> bool:
        """Return whether records have waited long enough."""
        return bool(self._items) and time.monotonic() - self._since > _MAX_WAIT_SECONDS

    def flush(self) -> None:
        """Process all that wait.

        Raises:
            InvalidInputLine, MappingError, SingerSDKError: A record ends the run. The records and
                STATE after it are dropped.
            DeliveryError, LedgerError, ActiveCampaignError: The delivery can't go on.
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
        keys = {key for batch in batches for key in batch.keys}
        # Asked for first: of contacts that are settled meanwhile the ledger knows more, not less.
        in_flight = self.changes.in_flight(keys)
        segments = of_lists(batch.route.segment for batch in batches)
        people = {
            contact_hash for batch in batches for contact_hash in batch.people if contact_hash
        }
        rows = self.ledger.members.find(segments, people)
        # Of contacts in flight, the ledger may know an earlier state than the last.
        known = _Known(people, rows, in_flight, self.changes.waiting | in_flight.keys())
        for item in items:
            if isinstance(item, _State):
                self.checkpoints.state(item.value)
            else:
                self._process(item, known)
        self.changes.compare(known.people, known.rows, known.in_flight)

    def _identify(self, records: _Records, route: Route) -> _Batch:
        """Tell the contacts of records on a route, as far as possible without a look into them."""
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
                # They have none, or one that takes more than a glance.
                mapped = self._map(records, route, [n for n, key in enumerate(keys) if not key])
                for number, (record, _) in mapped.items():
                    keys[number] = route.mapping.contact_key(record) or ""
            hashes = route.hash_all(records.raws)
        return _Batch(route, numbers, keys, self.ledger.contact_hashes(keys), hashes, mapped)

    def _map(
        self, records: _Records, route: Route, numbers: Sequence[int]
    ) -> dict[int, tuple[dict[str, Any], Problem]]:
        """Decode and map records; those that a filter drops are left out.

        Returns:
            The records, and what is wrong with each, by number.
        """
        mapped, problems = route.map(*self._decode(records, numbers))
        return {
            number: (record, problem)
            for number, record, problem in zip(numbers, mapped, problems, strict=True)
            if record is not None
        }

    def _decode(
        self, records: _Records, numbers: Sequence[int]
    ) -> tuple[list[dict[str, Any]], list[Problem]]:
        """Return records, and what is wrong with each."""
        if not records.read:
            found_all = _decode_all([records.raws[number] for number in numbers])
            if found_all is not None:
                return found_all, [None] * len(found_all)
        found = [self._read(records, number) for number in numbers]
        return [record for record, _ in found], [problem for _, problem in found]

    def _read(self, records: _Records, number: int) -> tuple[dict[str, Any], Problem]:
        """Return a record, and why it can't be read whole or ends the run, if so."""
        if number not in records.read:
            with suppress(*UNREADABLE):
                record = _one.decode(records.raws[number])
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
        """Settle the records that are unchanged by their hash, and make contacts of the others."""
        stream = records.stream
        stream.progress.add_records(len(records.lines), records.version)
        found_all: list[_Candidates] = []
        for batch in records.batches:
            route = batch.route
            unchanged, rest = self._split(batch, known)
            found = self._look_into(records, batch, rest) if rest else None
            if found is not None and not found.records:
                found = None
            if unchanged or found:
                self._begin_pass(stream, route, known)
            if unchanged:
                self._settle(route, unchanged)
            if found is not None:
                found_all.append(found)
        if len(found_all) == 1:
            self._take_contacts(records, found_all[0], range(len(found_all[0].records)))
            return
        # All routes of a record come before the next record.
        order = sorted(
            (one.batch.numbers[index], which, place)
            for which, one in enumerate(found_all)
            for place, index in enumerate(one.indexes)
        )
        for _, which, place in order:
            self._take_contacts(records, found_all[which], range(place, place + 1))

    def _split(self, batch: _Batch, known: _Known) -> tuple[list[bytes], list[int]]:
        """Return the people whose records are unchanged, and the indexes of the other records."""
        changing = known.changing
        if not batch.route.hashes:
            changing.update(batch.keys)
            return [], list(range(len(batch.keys)))
        is_unchanged = self.changes.unchanged_by_record_hash(
            batch.route.segment, batch.people, batch.hashes, known.rows
        )
        unchanged: list[bytes] = []
        rest: list[int] = []
        for index, (same, key) in enumerate(zip(is_unchanged, batch.keys, strict=True)):
            if same and key not in changing:
                unchanged.append(batch.people[index])
                self.accounting.arrived = key
            else:
                changing.add(key)
                rest.append(index)
        return unchanged, rest

    def _look_into(self, records: _Records, batch: _Batch, indexes: list[int]) -> _Candidates:
        """Decode, map and check records; those that a filter drops are left out."""
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
            found, problems = self._decode(records, indexes)
        return _Candidates(batch, indexes, found, route.check(found, problems))

    def _begin_pass(self, stream: RoutedStream, route: Route, known: _Known) -> None:
        """Begin a pass of a mirror, if the records do."""
        name, progress, segment = stream.source.name, stream.progress, route.segment
        if segment.begins_pass(name, progress):
            # The contacts that came before belong to the pass before. What is known of them, and of
            # those that were looked up with them, is outdated then.
            self.changes.compare(known.people, known.rows, known.in_flight)
            known.people, known.in_flight = set(), {}
            segment.begin_pass(name, progress)
        segment.record(name, progress)

    def _settle(self, route: Route, people: list[bytes]) -> None:
        """Settle records that are unchanged."""
        segment, count = route.segment, len(people)
        segment.has_contacts = True
        segment.unchanged_by_hash += count
        segment.deleted.difference_update(people)
        # Noted first: STATE may not pass a contact that a mirror has not noted.
        self.ledger.members.record_seen(segment.number, segment.seen, unchanged=people, outdated=())
        route.counter.increment(count)
        self.accounting.unchanged(route.name, count)

    def _take_contacts(self, records: _Records, candidates: _Candidates, places: range) -> None:
        """Hand the contacts of some of the candidates on, in their order.

        This is the only place where a record becomes a contact.
        """
        batch, indexes = candidates.batch, candidates.indexes
        route, numbers, lines = batch.route, batch.numbers, records.lines
        keys, people, hashes = batch.keys, batch.people, batch.hashes
        mapping, segment, maps = route.mapping, route.segment, route.maps
        name, stream, take = route.name, route.source, self.changes.take
        epoch, taken = self.accounting.epoch, 0
        refused: list[tuple[Source, Refusal, dict[str, Any]]] = []
        try:
            for place in places:
                index, record = indexes[place], candidates.records[place]
                problem = candidates.problems[place]
                if problem is not None and not isinstance(problem, (str, Refusal)):
                    raise problem
                line = lines[numbers[index]]
                if maps or (b"\\" in line and _NUL in line):  # the first costs next to nothing
                    record = route.without_nul(record)
                source = Source(name, stream, line, epoch)
                if problem is DELETED:
                    # A stream map that fails on it leaves open which contact it is about.
                    key = mapping.contact_key(record) if maps else keys[index]
                    contact_hash = people[index] if key == keys[index] else None
                    self.changes.delete(source, segment, key, contact_hash)
                    taken += 1
                    continue
                try:
                    if isinstance(problem, Refusal):
                        raise problem
                    contact = mapping.to_contact(record)
                    if route.wants_sample:
                        route.take_sample(contact)
                    contact_hash = people[index] if contact.key == keys[index] else None
                    take(contact, source, segment, hashes[index], contact_hash)
                except (Refusal, RecursionError) as error:
                    refusal = error if isinstance(error, Refusal) else NESTED
                    placed = refusal.at(describe_place(records.places[numbers[index]]))
                    refused.append((source, placed, record))
                taken += 1
        finally:
            # Also when a record ends the run. They are counted before any of them is settled.
            if taken:
                route.counter.increment(taken)
                self.accounting.read(name, taken)
            for source, refusal, record in refused:
                self.changes.refuse(source, refusal, segment, mapping.contact_key(record))


def _decode_all(raws: list[msgspec.Raw]) -> list[dict[str, Any]] | None:
    """Return several records at once; None if they are not all objects that can be read so."""
    with suppress(*UNREADABLE):
        records = _several.decode(b"[" + b",".join(raws) + b"]")
        return records if len(records) == len(raws) else None
    return None
