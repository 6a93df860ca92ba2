"""Records on the direct way: looked up, made into contacts and compared, a window at a time.

Most records need nothing of what the SDK does for each: no stream map touches them. They are
taken as they come, in windows; whom they are of is looked up for all of a window at once, and
what is made of them is compared together. Records of streams that stream maps change go the
SDK's way, one by one.

Many records are not even looked into. One that is the same bytes as the one that a person's
contact was last made of, while all that makes a contact of it is as it was then, is what was
delivered: a digest tells. In it are the stream's schema, settings and mapping, the account's
fields, and the record.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.record import Source
from target_activecampaign.singer.deletions import DELETED
from target_activecampaign.singer.messages import describe_place
from target_activecampaign.sync import changes
from target_activecampaign.sync.segment import of_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.ledger import Ledger, Member
    from target_activecampaign.mapping.mapping import StreamMapping
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import SourceStream
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.sync.completeness import StreamProgress
    from target_activecampaign.sync.segment import Segment

MODES = ("upsert", "mirror")
"""The modes in which a person whom the ledger knows is neither left out nor asked about."""

_MAX_WAIT_SECONDS = 0.5

_NUL = b"\\u0000"
"""U+0000 as JSON has it."""

_records = msgspec.json.Decoder(float_hook=Decimal)
_several = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)


class Maker(NamedTuple):
    """What makes contacts of a stream's records.

    Attributes:
        mapping: The stream's mapping.
        clean: Takes U+0000 out of a record.
        problems: Says of records what is wrong with each, if anything is; `DELETED` of those that
            are marked as deleted.
        contact: Makes the contact of a record, given what is wrong with it, or raises `Refusal`.
        tally: Is told how many records were taken.
    """

    mapping: StreamMapping
    clean: Callable[[dict[str, Any]], dict[str, Any]]
    problems: Callable[[list[dict[str, Any]]], list[str | None]]
    contact: Callable[[dict[str, Any], str | None], Contact]
    tally: Callable[[int], None]


@dataclass
class _Stream:
    """A stream whose records may come the direct way.

    Attributes:
        source: The stream as the tap announced it, which stream maps leave alone.
        segment: Where it goes.
        passage: How far it has come.
        maker: What makes its contacts.
        addresses: Reads the address of a record; None where it is inside of an object.
        seed: What each digest begins with; None where records are not proved unchanged.
        version: The version of the records that it takes.
    """

    source: SourceStream
    segment: Segment
    passage: StreamProgress
    maker: Maker
    addresses: msgspec.json.Decoder[Any] | None
    seed: Any
    version: object = field(default_factory=object)

    def took(self, count: int) -> None:
        """Note that it has come further by some records, before any of them is settled."""
        self.passage.took(count)
        self.maker.tally(count)

    def digest(self, raw: msgspec.Raw) -> bytes | None:
        """The digest of a record and of all that makes a contact of it."""
        if self.seed is None:
            return None
        one = self.seed.copy()
        one.update(raw)
        digest: bytes = one.digest()
        return digest

    def key(self, raw: msgspec.Raw) -> str:
        """Whom a record stands for; empty if that can't be told, and so it can't be sent."""
        try:
            text = None if self.addresses is None else self.addresses.decode(raw).address
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            text = None
        if text is not None and text.isascii():
            key: str = text.strip().lower()
            return key
        with suppress(*_UNREADABLE):
            record = _records.decode(raw)
            return (type(record) is dict and self.maker.mapping.contact_key(record)) or ""
        return ""


@dataclass(slots=True)
class _Run:
    """Records of a stream that came one after the other, and whom they are of."""

    stream: _Stream
    raws: Sequence[msgspec.Raw]
    lines: Sequence[bytes]
    places: Sequence[Place]
    keys: list[str] = field(default_factory=list)
    people: list[bytes] = field(default_factory=list)
    digests: list[bytes | None] = field(default_factory=list)


class _State(NamedTuple):
    value: Any


@dataclass
class RecordWindow:
    """Takes records and STATE in their order.

    Args:
        settings: Whether unchanged profiles are sent all the same, and records checked.
        ledger: What was delivered.
        settlement: What is told of records that are unchanged.
        comparison: Where contacts go, and what says whether a record's contact was delivered.
        long_way: Takes the line of a record that goes the SDK's way, its place, and the digest.
        read: Reads a record, with patience, out of its line, whose place is given too; it tells
            the record, and why it can't be read whole, if it can't.
        refuse: Takes a record that is refused, and whom it stands for, if that can be told.
        state: Takes a STATE's value when its turn comes.
    """

    settings: Settings
    ledger: Ledger
    settlement: RecordAccounting
    comparison: changes.ChangeDetector
    long_way: Callable[[bytes, Place, bytes | None], None]
    read: Callable[[bytes, Place], tuple[dict[str, Any], Refusal | None]]
    refuse: Callable[[Source, Refusal, Segment, str | None], None]
    state: Callable[[Any], None]
    _streams: dict[str, _Stream] = field(default_factory=dict)
    _items: list[_Run | _State] = field(default_factory=list)
    _count: int = 0
    _bytes: int = 0
    _since: float = 0.0

    def open(
        self,
        source: SourceStream,
        segment: Segment,
        passage: StreamProgress,
        maker: Maker,
        schema: Mapping[str, Any],
    ) -> None:
        """Let a stream's records come the direct way from its next record on.

        Args:
            source: The stream, which stream maps leave alone.
            segment: Where it goes.
            passage: How far it has come.
            maker: What makes its contacts.
            schema: Its schema.
        """
        self.close(source.name)
        proves = self.settings.skip_unchanged and not self.settings.full_resync
        address, addresses, seed = maker.mapping.email_property, None, None
        if address is not None and address.isprintable() and not set('"\\') & set(address):
            reads = msgspec.defstruct(
                "Address", [("address", str | None, None)], rename={"address": address}, gc=False
            )
            addresses = msgspec.json.Decoder(reads)
        if (
            proves
            and addresses
            and maker.mapping.supports_record_hash
            and segment.settings.sync_mode in MODES
        ):
            makes = (
                _versions(),
                source.name,
                self.settings.validate_records,
                maker.mapping.fingerprint,
            )
            rules = json.dumps(schema, sort_keys=True, default=str)
            seed = self.ledger.record_hasher((repr(makes) + rules).encode("utf-8", "surrogatepass"))
        self._streams[source.name] = _Stream(source, segment, passage, maker, addresses, seed)

    def close(self, name: str) -> None:
        """Let a stream's records go the SDK's way."""
        self._streams.pop(name, None)

    def take(
        self,
        name: str,
        version: object,
        raws: Sequence[msgspec.Raw],
        lines: Sequence[bytes],
        places: Sequence[Place],
    ) -> bool:
        """Take records of one stream and version; False if they have to go the SDK's way at once.

        Args:
            name: The tap's stream.
            version: The version of their messages.
            raws: The records as JSON.
            lines: The whole messages.
            places: Where they stand.

        Raises:
            What the SDK's way raises, and the comparison.
        """
        stream = self._streams.get(name)
        if stream is None:
            self.flush()
            return False
        if version != stream.version:
            # The SDK's way sees to what a new version means; the records after it are as any.
            self.flush()
            stream.version = version
            self.long_way(lines[0], places[0], stream.digest(raws[0]))
            raws, lines, places = raws[1:], lines[1:], places[1:]
        while raws:
            room = max(1, changes.WINDOW - self._waiting)
            self._put(_Run(stream, raws[:room], lines[:room], places[:room]))
            raws, lines, places = raws[room:], lines[room:], places[room:]
        return True

    def _put(self, run: _Run) -> None:
        if not self._items:
            self._since = time.monotonic()
            self.settlement.reading()
        self._items.append(run)
        self._count += len(run.raws)
        self._bytes += sum(map(len, run.lines))
        if self._waiting >= changes.WINDOW or self._bytes >= changes.WINDOW_BYTES:
            self.flush()

    @property
    def _waiting(self) -> int:
        """How many records wait, here or, as they came on the SDK's way, in the comparison."""
        return self._count + self.comparison.count

    def queue_state(self, value: Any) -> None:
        """Take a STATE message's value, to be handed on after the records before it."""
        if self._items:
            self._items.append(_State(value))
        else:
            self.state(value)

    @property
    def due(self) -> bool:
        """Whether records have waited long enough."""
        return bool(self._items) and time.monotonic() - self._since > _MAX_WAIT_SECONDS

    def flush(self) -> None:
        """See to all that wait.

        Raises:
            What the SDK's way raises, and the comparison; what comes after such a record is then
            dropped, and with it the STATE that would pass it.
        """
        if not self._items:
            return
        items, self._items, self._count, self._bytes = self._items, [], 0, 0
        runs = [one for one in items if isinstance(one, _Run)]
        for run in runs:
            self._identify(run)
        self.comparison.recovered()
        # Asked for first: of whom is settled in the meantime the ledger knows more, not less.
        under_way = self.comparison.under_way({key for run in runs for key in run.keys})
        segments = of_lists(run.stream.segment for run in runs) | self.comparison.segments
        people = {person for run in runs for person in run.people if person}
        rows = self.ledger.members.find(segments, people)
        # Of someone who is on the way, the ledger may know an earlier contact than the last.
        changing = self.comparison.waiting | under_way.keys()
        for item in items:
            if isinstance(item, _State):
                self.state(item.value)
            else:
                self._process(item, rows, changing)
        self.comparison.compare(people, rows, under_way)

    def _identify(self, run: _Run) -> None:
        stream = run.stream
        run.keys = list(map(stream.key, run.raws))
        run.people = self.ledger.contact_hashes(run.keys)
        run.digests = list(map(stream.digest, run.raws))

    def _process(self, run: _Run, rows: Mapping[bytes, list[Member]], changing: set[str]) -> None:
        """See to records that came one after the other.

        Args:
            run: The records.
            rows: What the ledger knows of people.
            changing: People of whom an earlier record has to be looked into; what comes after it
                of the same person is looked into too, and so goes after it.
        """
        stream = run.stream
        same: list[bytes] = []
        places: list[int] = []
        proved = self._proved(run, rows)
        for place, (is_proved, key) in enumerate(zip(proved, run.keys, strict=True)):
            if is_proved and key not in changing:
                same.append(run.people[place])
                self.settlement.arrived = key
            else:
                changing.add(key)
                places.append(place)
        if places:
            self._take_contacts(run, places)
        if same:
            self._settle(stream, same)

    def _take_contacts(self, run: _Run, places: list[int]) -> None:
        """Hand the contacts of some of the records to the comparison."""
        stream = run.stream
        source, segment, make = stream.source, stream.segment, stream.maker.contact
        refused: list[tuple[Source, Refusal, dict[str, Any]]] = []
        records = _decoded([run.raws[place] for place in places])
        problems = stream.maker.problems(records) if records else []
        epoch, taken = self.settlement.epoch, 0
        try:
            for number, place in enumerate(places):
                unread, problem = None, None
                if records:
                    record, problem = records[number], problems[number]
                else:
                    record, unread = self._record(run, place)
                    (problem,) = stream.maker.problems([record])
                line = run.lines[place]
                if b"\\" in line and _NUL in line:  # the first costs next to nothing
                    record = stream.maker.clean(record)
                one = Source(source.name, source, line, epoch)
                if problem is DELETED:
                    self.comparison.delete(one, segment, run.keys[place], run.people[place])
                    taken += 1
                    continue
                try:
                    if unread is not None:
                        raise unread
                    contact = make(record, problem)
                    # Whom it is of was told at a glance.
                    known = run.people[place] if contact.key == run.keys[place] else None
                    self.comparison.take(contact, one, segment, run.digests[place], known)
                except Refusal as error:
                    refused.append((one, error.at(describe_place(run.places[place])), record))
                taken += 1
        finally:
            # Also when a later record ends the run.
            if taken:
                stream.took(taken)
                self.settlement.read(source.name, taken)
            for one, refusal, record in refused:
                self.refuse(one, refusal, segment, stream.maker.mapping.contact_key(record))

    def _record(self, run: _Run, place: int) -> tuple[dict[str, Any], Refusal | None]:
        """A record, and why it can't be read whole, if it can't."""
        with suppress(*_UNREADABLE):
            record = _records.decode(run.raws[place])
            if type(record) is dict:
                return record, None
        return self.read(run.lines[place], run.places[place])

    def _proved(self, run: _Run, rows: Mapping[bytes, list[Member]]) -> Sequence[bool]:
        if run.stream.seed is None:
            return [False] * len(run.raws)
        return self.comparison.proved(run.stream.segment, run.people, run.digests, rows)

    def _settle(self, stream: _Stream, same: list[bytes]) -> None:
        """Settle records that are proved unchanged."""
        segment = stream.segment
        segment.has_contacts = True
        segment.proved += len(same)
        segment.deleted.difference_update(same)
        stream.took(len(same))
        # Noted first: STATE may not pass someone whom a mirror has not seen.
        self.ledger.members.record_seen(segment.number, segment.seen, unchanged=same, outdated=())
        self.settlement.unchanged(stream.source.name, len(same))


def _decoded(raws: list[msgspec.Raw]) -> list[dict[str, Any]]:
    """Several records at once; nothing if not all of them are objects that can be read so."""
    with suppress(*_UNREADABLE):
        records = _several.decode(b"[" + b",".join(raws) + b"]")
        return records if len(records) == len(raws) else []
    return []


@cache
def _versions() -> list[str | None]:
    """The versions of what gives values their form; they are looked up in files, so only once."""
    names = ("target-activecampaign", "email-validator", "phonenumbers")
    return [_version(name) for name in names]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # of an extra
        return None
