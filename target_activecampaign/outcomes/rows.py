"""Rows of outcomes: the columns, and how a row is made of a record."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from target_activecampaign.model.email import contact_key
from target_activecampaign.text import storable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from target_activecampaign.ledger import Ledger
    from target_activecampaign.model.record import Source, SourceStream

Row = list[Any]
"""The values of `COLUMNS`, in their order. Times are texts in ISO 8601."""

COLUMNS = (
    "id", "run", "stream", "list_id", "source_key", "person", "address", "outcome", "code",
    "reason", "batch_id", "contact_id", "read_at", "posted_at", "confirmed_at", "attempt",
    "record_hash",
)  # fmt: skip
"""The columns of the table `activecampaign_outcomes`."""

ID = COLUMNS.index("id")
RUN = COLUMNS.index("run")
PERSON = COLUMNS.index("person")
OUTCOME = COLUMNS.index("outcome")
SOURCE_KEY = COLUMNS.index("source_key")
RECORD_HASH = COLUMNS.index("record_hash")
BATCH_ID = COLUMNS.index("batch_id")
CONTACT_ID = COLUMNS.index("contact_id")
POSTED_AT = COLUMNS.index("posted_at")
CONFIRMED_AT = COLUMNS.index("confirmed_at")

DELIVERED = ("added", "changed")
"""The outcomes of contacts that ActiveCampaign has imported."""

_PURPOSE = b"outcomes"
_NULL = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class ImportFacts(NamedTuple):
    """The facts about the import of a contact, as far as they are known.

    Attributes:
        batch_id: ActiveCampaign's id for it.
        posted: The time when it was posted, by ActiveCampaign's clock.
        confirmed: The time when it was confirmed.
        contact_id: ActiveCampaign's id of the contact.
    """

    batch_id: str | None = None
    posted: float | None = None
    confirmed: float | None = None
    contact_id: int | None = None


NO_IMPORT = ImportFacts()


class RowMaker:
    """Makes rows of records.

    Args:
        run_id: The run.
        ledger: Its key is that of the hashes.
        personal: Whether rows have the address.

    Attributes:
        lists: The id of each stream's list, by the stream's name after stream maps.
    """

    def __init__(self, run_id: str, ledger: Ledger, *, personal: bool) -> None:
        self._run_id = run_id
        self._ledger = ledger
        self._personal = personal
        self._hasher = ledger.record_hasher(_PURPOSE)
        self._streams: dict[str, _RowStream] = {}
        self.lists: dict[str, int] = {}

    def make(
        self, source: Source, outcome: str, code: str | None = None, reason: str | None = None
    ) -> Row:
        """Return the row of a record.

        Args:
            source: The record.
            outcome: Its outcome.
            code: A code of `CODES`, if there is one.
            reason: The reason, as a sentence that may be shown.
        """
        stream = self._streams.get(source.name)
        if stream is None or stream.source is not source.stream:
            stream = self._add_stream(source)
        return [
            # Of a fixed width, so that ids are in the order of the records.
            f"{self._run_id}-{source.number:09d}",
            self._run_id,
            stream.name,
            stream.list_id,
            stream.key.read(source),
            source.contact_hash.hex() or None,
            (storable(source.contact_key) or None) if self._personal else None,
            outcome,
            code,
            reason and storable(reason),
            None,
            None,
            _iso(source.read_at),
            None,
            None,
            source.attempt,
            (source.record_hash or self._hash(source)).hex(),
        ]

    def _add_stream(self, source: Source) -> _RowStream:
        names = source.stream.key_properties
        stream = self._streams[source.name] = _RowStream(
            source.stream,
            storable(source.name),
            self.lists.get(source.name),
            _KeyReader(names, self._ledger, personal=self._personal),
        )
        return stream

    def _hash(self, source: Source) -> bytes:
        """Return the keyed hash of a record that has none yet."""
        hasher = self._hasher.copy()
        # Of the record alone: the rest of the message has the time at which it was written.
        try:
            hasher.update(_envelope.decode(source.line).record)
        except _UNREADABLE:
            hasher.update(source.line)
        digest: bytes = hasher.digest()
        return digest


class _Envelope(msgspec.Struct, gc=False):
    record: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)


class _RowStream(NamedTuple):
    """The parts that the rows of a stream have in common."""

    source: SourceStream
    name: str
    list_id: int | None
    key: _KeyReader


class _KeyReader:
    """Reads the key of a stream's records from their messages.

    Args:
        names: The key properties.
        ledger: Hashes addresses.
        personal: Whether a key may show an address.
    """

    def __init__(self, names: Sequence[str], ledger: Ledger, *, personal: bool) -> None:
        self._ledger = ledger
        self._personal = personal
        self._names = list(dict.fromkeys(names))
        attributes = [f"f{index}" for index in range(len(self._names))]
        try:
            key = msgspec.defstruct(
                "Key",
                # As they are in the message: a number keeps its digits.
                [(attribute, msgspec.Raw, _NULL) for attribute in attributes],
                rename=dict(zip(attributes, self._names, strict=True)),
                gc=False,
            )
            message = msgspec.defstruct("Message", [("record", key)], gc=False)
            self._decode: Callable[[bytes], Any] | None = msgspec.json.Decoder(message).decode
        except ValueError:  # msgspec has no quotes and backslashes in names
            self._decode = None
        self._start = f'{{"{names[0]}":"' if len(self._names) == 1 else ""

    def read(self, source: Source) -> str | None:
        """Return a record's key as JSON; None if its stream has no key, or it can't be read."""
        if not self._names:
            return None
        try:
            if self._decode is not None:
                text = _encode(self._decode(source.line).record).decode()
            else:
                record = msgspec.json.decode(source.line)["record"]
                text = _encode({storable(one): record.get(one) for one in self._names}).decode()
            if ("@" in text or "\\" in text) and not self._personal:
                return self._without_addresses(text, source)
        except _UNREADABLE:
            return None
        return text

    def _without_addresses(self, text: str, source: Source) -> str:
        """Return a key with the hash of each address instead of it."""
        start = self._start
        if start and text.startswith(start) and text[len(start) : -2].lower() == source.contact_key:
            return f'{start}{source.contact_hash.hex()}"}}'  # nearly all such keys
        shown = {
            name: self._shown(value, source) if "@" in str(value) else value
            for name, value in msgspec.json.decode(text).items()
        }
        return _encode(shown).decode()

    def _shown(self, value: Any, source: Source) -> str:
        if not isinstance(value, str):
            return "(hidden)"  # an array or an object with an address in it
        key = contact_key(value)
        known = source.contact_hash if key == source.contact_key else b""
        return (known or self._ledger.contact_hash(key)).hex()


@lru_cache(maxsize=1024)
def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds")


def with_contact_id(rows: list[Row], contact_id: int | None) -> list[Row]:
    """Return rows after setting the id of their contact in each."""
    for row in rows:
        row[CONTACT_ID] = contact_id
    return rows


def add_facts(rows: Sequence[Row], facts: ImportFacts) -> None:
    """Set the facts about the import of records in their rows."""
    posted = facts.posted and _iso(facts.posted)
    confirmed = facts.confirmed and _iso(facts.confirmed)
    for row in rows:
        row[BATCH_ID] = facts.batch_id
        if facts.contact_id is not None:
            row[CONTACT_ID] = facts.contact_id
        row[POSTED_AT], row[CONFIRMED_AT] = posted, confirmed
