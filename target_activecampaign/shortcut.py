"""Records that are known to be unchanged before they are looked into.

A record is the same bytes as the one that a person's contact was last made of, and all that
makes a contact of it is as it was then: so the contact is what was delivered. To see that takes
the record's address, a digest, and a look into the ledger, for many records at once. All others
go the long way, in their order.

What makes a contact of a record is the stream's schema, settings and mapping, and the account's
fields; all of it is in the digest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_activecampaign.comparison import Comparison
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.mapping import StreamMapping
    from target_activecampaign.segment import Passage, Segment
    from target_activecampaign.settings import Settings
    from target_activecampaign.settlement import Settlement

MODES = ("upsert", "mirror")
"""The modes in which a person whom the ledger knows is neither left out nor asked about."""

_WINDOW = 1000
"""Records that are looked up at once."""
_WINDOW_BYTES = 8 * 1024 * 1024
_MAX_WAIT_SECONDS = 0.5


@dataclass
class _Stream:
    """A stream whose records may take the shortcut.

    Attributes:
        name: Its name, which stream maps leave alone.
        segment: Where it goes.
        passage: How far it has come.
        version: The version of the records that it takes.
        seed: What each digest begins with.
        addresses: Reads the address of a record.
    """

    name: str
    segment: Segment
    passage: Passage
    version: object
    seed: Any
    addresses: msgspec.json.Decoder[Any]

    def digest(self, raw: msgspec.Raw) -> bytes:
        """The digest of a record and of all that makes a contact of it."""
        one = self.seed.copy()
        one.update(raw)
        digest: bytes = one.digest()
        return digest


class _Record(NamedTuple):
    stream: _Stream
    raw: msgspec.Raw
    line: bytes
    number: int


class _State(NamedTuple):
    value: Any


class _Sighting(NamedTuple):
    """Whom a record is of (key and hash), its digest, and whether the person is unchanged."""

    key: str
    person: bytes
    digest: bytes
    same: bool


@dataclass
class Shortcut:
    """Takes records and STATE in their order.

    Args:
        settings: Whether unchanged profiles are sent all the same, and records checked.
        ledger: What was delivered.
        settlement: What is told of records that are unchanged.
        comparison: What says whether a contact is as it was delivered.
        long_way: Takes the line of a record that goes the long way, its number in the input, and
            the digest.
        state: Takes a STATE's value when its turn comes.
    """

    settings: Settings
    ledger: Ledger
    settlement: Settlement
    comparison: Comparison
    long_way: Callable[[bytes, int, bytes], None]
    state: Callable[[Any], None]
    _streams: dict[str, _Stream] = field(default_factory=dict)
    _items: list[_Record | _State] = field(default_factory=list)
    _bytes: int = 0
    _since: float = 0.0

    def open(
        self,
        name: str,
        segment: Segment,
        passage: Passage,
        mapping: StreamMapping,
        schema: Mapping[str, Any],
    ) -> None:
        """Let a stream's records take the shortcut from its next record on, if they may.

        Args:
            name: The stream, which stream maps leave alone.
            segment: Where it goes.
            passage: How far it has come.
            mapping: What becomes of its records.
            schema: Its schema.
        """
        self.close(name)
        wanted = self.settings.skip_unchanged and not self.settings.full_resync
        address = mapping.shortcut
        if address is None or not wanted or segment.settings.sync_mode not in MODES:
            return
        reads = msgspec.defstruct(
            "Address", [("address", str | None, None)], rename={"address": address}
        )
        makes = (_versions(), name, self.settings.validate_records, mapping.makes)
        rules = msgspec.json.encode(schema, order="sorted")
        seed = self.ledger.seed(repr(makes).encode() + rules)
        addresses = msgspec.json.Decoder(reads)
        self._streams[name] = _Stream(name, segment, passage, object(), seed, addresses)

    def close(self, name: str) -> None:
        """Let a stream's records go the long way."""
        self._streams.pop(name, None)

    def take(self, name: str, raw: msgspec.Raw, line: bytes, version: object, number: int) -> bool:
        """Take a record; False for one that has to go the long way at once.

        Raises:
            What the long way raises.
        """
        stream = self._streams.get(name)
        if stream is None:
            self.flush()
            return False
        if version != stream.version:
            # The long way sees to what a new version means; the records after it are as any.
            self.flush()
            stream.version = version
            self.long_way(line, number, stream.digest(raw))
            return True
        if not self._items:
            self._since = time.monotonic()
            self.settlement.reading()
        self._items.append(_Record(stream, raw, line, number))
        self._bytes += len(line)
        if len(self._items) >= _WINDOW or self._bytes >= _WINDOW_BYTES:
            self.flush()
        return True

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
            What the long way raises; what comes after such a record is then dropped, and with it
            the STATE that would pass it.
        """
        if not self._items:
            return
        items, self._items, self._bytes = self._items, [], 0
        sightings = iter(self._sightings([one for one in items if isinstance(one, _Record)]))
        gone: set[str] = set()
        same: dict[str, list[bytes]] = {}
        for item in items:
            if isinstance(item, _State):
                self._settle(same)
                same = {}
                self.state(item.value)
                continue
            one = next(sightings)
            if one.same and one.key not in gone and not self.comparison.holds(one.key):
                same.setdefault(item.stream.name, []).append(one.person)
            else:
                # What comes after it of the same person goes after it.
                gone.add(one.key)
                self.long_way(item.line, item.number, one.digest)
        self._settle(same)

    def _sightings(self, records: list[_Record]) -> list[_Sighting]:
        """Whom records are of, and whether the ledger proves them unchanged."""
        self.comparison.recovered()
        people = [self._person(one) for one in records]
        segments = {number for one in records for number in one.stream.segment.of_list}
        known = self.ledger.members.known(segments, {person for _, person in people if person})
        found = []
        for one, (key, person) in zip(records, people, strict=True):
            digest = one.stream.digest(one.raw)
            rows = known.get(person)
            same = rows is not None and self.comparison.proves(one.stream.segment, rows, digest)
            found.append(_Sighting(key, person, digest, same))
        return found

    def _person(self, record: _Record) -> tuple[str, bytes]:
        """Whom a record is of, by key and hash; empty where only the long way can tell."""
        try:
            text = record.stream.addresses.decode(record.raw).address
        except (msgspec.DecodeError, UnicodeDecodeError):
            return "", b""
        if text is None or not text.isascii():
            return "", b""
        key = text.strip().lower()
        return key, self.ledger.person(key)

    def _settle(self, same: dict[str, list[bytes]]) -> None:
        for name, people in same.items():
            stream = self._streams[name]
            segment = stream.segment
            segment.peopled = True
            segment.proved += len(people)
            stream.passage.took(len(people))
            # Noted first: STATE may not pass someone whom a mirror has not seen.
            self.ledger.members.note(segment.number, segment.seen, unchanged=people, outdated=())
            self.settlement.unchanged(name, len(people))


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
