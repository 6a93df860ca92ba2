"""Contacts packed into imports: each address once, within the limits of ActiveCampaign's import.

One packer serves all streams. It gets contacts in the order of their records, so that the later of
two records wins, even if they come from different streams.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from target_activecampaign.config.definitions import MAX_BYTES_PER_IMPORT, MAX_CONTACTS_PER_IMPORT
from target_activecampaign.model.codes import Refusal

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Set as AbstractSet

    from target_activecampaign.ledger import Member, MemberUpdate
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source
    from target_activecampaign.outcomes.rows import Row


_HEAD = b'{"contacts":['
_TAIL = b"]}"

_MAX_SOURCES = 1000
"""Limit of records merged into one contact: they stay in memory until it has an outcome."""
_EXCLUDE_AUTOMATIONS = b',"exclude_automations":true}'


class Entry(msgspec.Struct, eq=False, gc=False):
    """A contact to deliver, with the records that it was made of, in their order.

    Attributes:
        contact: The contact.
        body: The contact as JSON, as the import takes it.
        sources: Its records; none for a removal.
        contact_hash: The contact's hash in the ledger.
        raw: The hash of its record; None if it has several records, or none.
        rows: The keys of its source rows, where the ledger knows them.
        list_ids: The lists of its segments, also if it is sent without them.
        joins: The segments that it is not in yet, by the ledger.
        marks: The ledger updates for when the contact is confirmed, by segment.
        known: Whether the ledger knew the contact in the last record's stream.
        needs_resubscribe: The lists that it must be subscribed to again before the import.
        parts: The contacts of different lists that were merged into it. If it is refused, they
            are sent one by one.
        contact_id: ActiveCampaign's id of the contact, if the run got to know it.
        key: The normalised address, which identifies the contact.
        weight: Its approximate size in memory, in bytes. It never changes: the in-flight total
            adds it and later subtracts it.
    """

    contact: Contact
    body: bytes
    sources: list[Source]
    contact_hash: bytes = b""
    raw: bytes | None = None
    marks: dict[int, MemberUpdate] = {}  # msgspec makes a new one for each entry
    known: bool = False
    needs_resubscribe: tuple[Resubscription, ...] = ()
    parts: tuple[Entry, ...] = ()
    weight: int = 0
    key: str = ""
    rows: tuple[bytes, ...] = ()
    list_ids: tuple[int, ...] = ()
    joins: tuple[int, ...] = ()
    contact_id: int | None = None

    def __post_init__(self) -> None:
        """Set the key, which is read most often."""
        self.key = self.contact.key

    def is_only_of(self, row: bytes) -> bool:
        """Return whether it has no other source row than this; always if none is given."""
        return not row or all(one == row for one in self.rows)

    def leave_out(self, destinations: Collection[str | int]) -> None:
        """Remove values from the contact: see `Contact.drop_values`."""
        for one in (*self.parts, self):
            one.contact.drop_values(destinations)
            one.body = one.contact.encode()

    def followed_by(self, later: Entry) -> Entry | None:
        """Merge a later contact of the same key into this one. Return None if it gets too large."""
        if len(self.sources) + len(later.sources) > _MAX_SOURCES:
            return None
        # Contacts for different lists are merged too. To cut the batch instead would make an import
        # of each pair where one stream is loaded into two lists record by record.
        contact = self.contact.merged_with(later.contact)
        alike = self.contact.lists == later.contact.lists and not self.parts
        return Entry(
            contact,
            contact.encode(),
            self.sources + later.sources,
            later.contact_hash,
            None,
            self._merged_marks(later.marks),
            later.known,
            self.needs_resubscribe + later.needs_resubscribe,
            () if alike else (*(self.parts or (self,)), later),
            self.weight + later.weight,
            rows=self.rows if self.rows == later.rows else (*self.rows, *later.rows),
            list_ids=tuple({*self.list_ids, *later.list_ids}),
            joins=self.joins + later.joins,
        )

    def _merged_marks(self, later: dict[int, MemberUpdate]) -> dict[int, MemberUpdate]:
        """Return the updates of both. A later one without an ownership keeps the earlier one's."""
        joined = {**self.marks, **later}
        for number in self.marks.keys() & later.keys():
            if later[number].ownership is None:
                ownership = self.marks[number].ownership
                joined[number] = replace(later[number], ownership=ownership)
        return joined


class Rejected(NamedTuple):
    """A contact that was refused.

    Attributes:
        batch: The import that was refused because of it.
        entry: The contact.
        reason: ActiveCampaign's reason.
    """

    batch: Batch
    entry: Entry
    reason: str


@dataclass(slots=True)
class Batch:
    """Contacts of one import, each address once.

    Attributes:
        entries: The contacts, at least one.
        exclude_automations: ActiveCampaign's switch. Its documentation describes it for the whole
            import, its example has it in a contact [doc]. As automations that were not wanted
            can't be undone, it is sent in both places.
        attempts: Number of times that it was accepted and then failed.
        sent: Its number in the order of posting, or the number of the import that it was split
            from; 0 before it is posted.
        posted: The time when it was posted, by ActiveCampaign's clock.
        first_posted: The time when an import of its contacts was posted that has arrived, perhaps
            without them; None if there is none.
        accused: Contacts that a refusal has named. They are at fault if the batch is accepted
            without them.
        is_base_checked: Whether a contact that was sent alone has shown the base of positions.
        batch_id: ActiveCampaign's id for it, once it was accepted.
        rows: The rows of outcomes of each contact, for when it is confirmed; empty if no rows are
            written.
    """

    entries: list[Entry]
    exclude_automations: bool = False
    attempts: int = 0
    sent: int = 0
    posted: float = 0.0
    first_posted: float | None = None
    accused: list[Rejected] = field(default_factory=list)
    is_base_checked: bool = False
    batch_id: str | None = None
    rows: list[list[Row]] = field(default_factory=list)

    @property
    def accused_entries(self) -> list[Entry]:
        """The contacts that a refusal has named."""
        return [one.entry for one in self.accused]

    @property
    def keys(self) -> set[str]:
        """The keys of its contacts."""
        return {entry.contact.key for entry in self.entries}

    def body(self) -> bytes:
        """Return the import's body in JSON."""
        if not self.exclude_automations:
            return _HEAD + b",".join([entry.body for entry in self.entries]) + _TAIL
        bodies = (entry.body[:-1] + _EXCLUDE_AUTOMATIONS for entry in self.entries)
        return _HEAD + b",".join(bodies) + _TAIL[:-1] + _EXCLUDE_AUTOMATIONS

    def of(self, entries: list[Entry]) -> Batch:
        """Return some of its contacts as a new import."""
        return Batch(
            entries, self.exclude_automations, sent=self.sent, first_posted=self.first_posted
        )


class Packer:
    """Packs contacts into batches.

    Args:
        max_contacts: Contacts per batch, 250 at most [doc].
        exclude_automations: See `Batch`.
    """

    def __init__(
        self,
        max_contacts: int = MAX_CONTACTS_PER_IMPORT,
        *,
        exclude_automations: bool = False,
    ) -> None:
        self._max_contacts = max_contacts
        self._exclude_automations = exclude_automations
        extra = len(_EXCLUDE_AUTOMATIONS) - 1 if exclude_automations else 0
        self._extra = extra
        self._max_size = MAX_BYTES_PER_IMPORT - len(_HEAD) - len(_TAIL) - extra
        self._open: dict[str, Entry] = {}
        self._size = 0
        self._since = 0.0

    def entry(self, contact: Contact, sources: list[Source]) -> Entry:
        """Return a contact that can be packed.

        Raises:
            Refusal: `CONTACT_TOO_LARGE`, or a value that can't be encoded.
        """
        body = contact.encode()
        weight = len(body) + sum([len(source.line) for source in sources])
        entry = Entry(contact, body, sources, weight=weight)
        if len(body) > self._max_size - self._extra:
            raise Refusal(
                "CONTACT_TOO_LARGE",
                f"The contact has {self._size_of(entry):,} bytes as JSON; "
                f"an import may have {MAX_BYTES_PER_IMPORT:,}.",
            )
        return entry

    def fits(self, entry: Entry) -> bool:
        """Return whether a contact is small enough for an import of its own."""
        return self._size_of(entry) <= self._max_size

    def marks(self, keys: AbstractSet[str]) -> dict[str, dict[int, MemberUpdate]]:
        """Return the planned ledger updates of contacts that are in the open batch."""
        return {key: self._open[key].marks for key in keys & self._open.keys()}

    def add(self, entry: Entry) -> list[Batch]:
        """Add a contact that fits an import to the open batch.

        Returns:
            The batches that are full now, in order. These are two if the contact did not fit the
            open batch and fills the next one alone.
        """
        if entry.key in self._open and self._merged(entry):
            return []
        full = []
        size = self._size_of(entry) + (1 if self._open else 0)
        if self._open and (self._size + size > self._max_size or entry.key in self._open):
            full += self._cut()
            size = self._size_of(entry)
        if not self._open:
            self._since = time.monotonic()
        self._open[entry.key] = entry
        self._size += size
        if len(self._open) >= self._max_contacts:
            full += self._cut()
        return full

    def drop(self, key: str, segments: Collection[int], row: bytes = b"") -> list[Source]:
        """Remove a contact of segments, and of a source row if given, from the open batch.

        Contacts of other segments with the same key stay. One of the same list is merged with this
        contact for good, so then both stay.

        Args:
            key: The contact's key.
            segments: The segments, by their numbers.
            row: The key of the source row; empty for any.

        Returns:
            The records that the contact was made of; none if nothing was removed.
        """
        entry = self._open.get(key)
        if entry is None:
            return []
        parts, numbers = entry.parts or (entry,), set(segments)
        gone = [part for part in parts if numbers & part.marks.keys() and part.is_only_of(row)]
        stays = [part for part in parts if part not in gone]
        if not gone or any(part.marks.keys() - numbers for part in gone):
            return []
        rest: Entry | None = None
        for part in stays:
            rest = part if rest is None else rest.followed_by(part)
        size = self._size - self._size_of(entry)
        if rest is None:
            del self._open[key]
            self._size = size - 1 if self._open else 0
        elif size + self._size_of(rest) <= self._max_size:
            self._open[key] = rest
            self._size = size + self._size_of(rest)
        else:
            return []
        return [source for part in gone for source in part.sources]

    def drop_contacts(self, contacts: Collection[bytes]) -> list[Entry]:
        """Remove contacts, given by their hashes, from the open batch, and return them."""
        gone = [one for one in self._open.values() if one.contact_hash in contacts]
        for one in gone:
            del self._open[one.key]
            self._size = self._size - self._size_of(one) - 1 if self._open else 0
        return gone

    def flush(self) -> list[Batch]:
        """Close the open batch and return it; return an empty list if there is none."""
        return self._cut()

    def age(self) -> float:
        """Return the seconds since the open batch got its first contact; 0 if it has none."""
        return time.monotonic() - self._since if self._open else 0.0

    def _merged(self, later: Entry) -> bool:
        """Merge a contact into the one of the same key. Return False if that gets too large."""
        earlier = self._open[later.key]
        merged = earlier.followed_by(later)
        if merged is None:
            return False
        size = self._size + self._size_of(merged) - self._size_of(earlier)
        if size > self._max_size:
            return False
        self._open[later.key] = merged
        self._size = size
        return True

    def _size_of(self, entry: Entry) -> int:
        return len(entry.body) + self._extra

    def _cut(self) -> list[Batch]:
        entries = list(self._open.values())
        self._open = {}
        self._size = 0
        return [Batch(entries, self._exclude_automations)] if entries else []


class Resubscription(NamedTuple):
    """A list that we unsubscribed a contact from, which a stream now has again.

    Attributes:
        list_id: The list.
        segment: The segment whose member in the ledger shows that we did.
        known: That member.
        returns_to: The segment of the stream. Its ledger update gets the resulting ownership.
    """

    list_id: int
    segment: int
    known: Member
    returns_to: int
