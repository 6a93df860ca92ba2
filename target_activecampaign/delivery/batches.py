"""Contacts into imports: the same person once, cut at the limits of ActiveCampaign's import.

One packer serves all streams. Records come in the source's order, so of two records of
one person the later is known to be the later, whichever streams or schemas they came with.
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

    from target_activecampaign.ledger import Known, Mark
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source


_HEAD = b'{"contacts":['
_TAIL = b"]}"

_MAX_SOURCES = 1000
"""Records that are merged into one contact at most, since they are all kept until it is settled."""
_EXCLUDE_AUTOMATIONS = b',"exclude_automations":true}'


class Entry(msgspec.Struct, eq=False, gc=False):
    """A contact on its way, with the records that it was made of, in their order.

    Attributes:
        contact: The contact.
        body: The contact as the import takes it.
        sources: Its records; none for someone who leaves.
        person: The hash that stands for the person in the ledger.
        raw: The digest of its one record; None where there are several, or it has none.
        marks: What the ledger keeps once it is confirmed, by segment.
        known: Whether the ledger knew the person in the last record's stream.
        needs_resubscribe: What is to be seen to before the import, for someone who has left lists.
        parts: What it was merged from, when that goes to different lists: if one of them has it
            refused, the others may still be had.
        key: Whom it stands for.
        weight: Bytes that it holds in memory, roughly. It is taken once: what is counted as under
            way is taken off again to the byte.
    """

    contact: Contact
    body: bytes
    sources: list[Source]
    person: bytes = b""
    raw: bytes | None = None
    marks: dict[int, Mark] = {}  # msgspec gives each entry a new one
    known: bool = False
    needs_resubscribe: tuple[Return, ...] = ()
    parts: tuple[Entry, ...] = ()
    weight: int = 0
    key: str = ""

    def __post_init__(self) -> None:
        """Keep whom it stands for at hand: that is asked for most often."""
        self.key = self.contact.key

    def leave_out(self, destinations: Collection[str | int]) -> None:
        """Leave some of the person's values as they are: see `Contact.leave_out`."""
        for one in (*self.parts, self):
            one.contact.leave_out(destinations)
            one.body = one.contact.encode()

    def followed_by(self, later: Entry) -> Entry | None:
        """Both as one; None when that holds too many records."""
        if len(self.sources) + len(later.sources) > _MAX_SOURCES:
            return None
        contact = self.contact.merged_into(later.contact)
        alike = self.contact.lists == later.contact.lists and not self.parts
        return Entry(
            contact,
            contact.encode(),
            self.sources + later.sources,
            later.person,
            None,
            self._joined(later.marks),
            later.known,
            self.needs_resubscribe + later.needs_resubscribe,
            () if alike else (*(self.parts or (self,)), later),
            self.weight + later.weight,
        )

    def _joined(self, later: dict[int, Mark]) -> dict[int, Mark]:
        """The marks of both: the later ones, which may leave the membership to the earlier."""
        joined = {**self.marks, **later}
        for number in self.marks.keys() & later.keys():
            if later[number].membership is None:
                membership = self.marks[number].membership
                joined[number] = replace(later[number], membership=membership)
        return joined


@dataclass(slots=True)
class Batch:
    """Contacts of one import, each person once.

    Attributes:
        entries: The contacts, at least one.
        exclude_automations: ActiveCampaign's switch. Its documentation describes it for the
            whole import, its example has it in a contact. As automations that run against
            the user's will can't be undone, it is sent in both places.
        attempts: How often it was accepted in vain.
        sent: Its number in the order in which imports were posted, or that of the import that it
            was part of; 0 before.
        posted: When it was, on ActiveCampaign's clock.
        accused: Contacts that were in it and that a refusal has named, with the reasons. They are
            at fault if it is accepted without them.
        suspected: Who was meant by the refusal before, if it was reordered to tell.
        checked: Whether the reading of positions was proven since someone was accused.
        restarted: Whether the accused were put back once, as the reading was wrong.
    """

    entries: list[Entry]
    exclude_automations: bool = False
    attempts: int = 0
    sent: int = 0
    posted: float = 0.0
    accused: list[tuple[Entry, str]] = field(default_factory=list)
    suspected: dict[int, frozenset[int]] | None = None
    checked: bool = False
    restarted: bool = False

    @property
    def keys(self) -> set[str]:
        """The people in it."""
        return {entry.contact.key for entry in self.entries}

    def body(self) -> bytes:
        """The import's body in JSON."""
        if not self.exclude_automations:
            return _HEAD + b",".join([entry.body for entry in self.entries]) + _TAIL
        bodies = (entry.body[:-1] + _EXCLUDE_AUTOMATIONS for entry in self.entries)
        return _HEAD + b",".join(bodies) + _TAIL[:-1] + _EXCLUDE_AUTOMATIONS

    def of(self, entries: list[Entry]) -> Batch:
        """Some of its contacts as an import of their own, not yet tried."""
        return Batch(entries, self.exclude_automations, sent=self.sent)


class Packer:
    """Fills batches.

    Args:
        max_contacts: Contacts a batch, 250 at most.
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
        """A contact as it can be packed.

        Raises:
            Refusal: `CONTACT_TOO_LARGE`, or a value that can't be encoded.
        """
        body = contact.encode()
        weight = len(body) + sum([len(source.line) for source in sources])
        entry = Entry(contact, body, sources, weight=weight)
        if len(body) > self._max_size - self._extra:
            raise Refusal(
                "CONTACT_TOO_LARGE",
                f"The contact is {self._size_of(entry):,} bytes as ActiveCampaign takes it; "
                f"an import may have {MAX_BYTES_PER_IMPORT:,}.",
            )
        return entry

    def fits(self, entry: Entry) -> bool:
        """Whether a contact is small enough for an import of its own."""
        return self._size_of(entry) <= self._max_size

    def marks(self, keys: AbstractSet[str]) -> dict[str, dict[int, Mark]]:
        """What the ledger is to keep of those of some people who are in the open batch."""
        return {key: self._open[key].marks for key in keys & self._open.keys()}

    def add(self, entry: Entry) -> list[Batch]:
        """Put a contact that fits an import into the open batch.

        Returns:
            The batches that are full thereby, in their order: none or one, or two when the
            contact did not fit the batch and fills the next alone.
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

    def drop(self, key: str, segment: int) -> list[Source]:
        """Take a person's contact of a segment out of the open batch.

        What other streams bring of the person stays. Where both go to the same list they are one
        contact that can't be taken apart: then all of it stays.

        Returns:
            The records that the contact was made of; none if nothing was taken out.
        """
        entry = self._open.get(key)
        if entry is None or segment not in entry.marks:
            return []
        parts = entry.parts or (entry,)
        gone = [part for part in parts if segment in part.marks]
        stays = [part for part in parts if segment not in part.marks]
        if any(len(part.marks) > 1 for part in gone):
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

    def flush(self) -> list[Batch]:
        """The open batch, however small; nothing when there is none."""
        return self._cut()

    def age(self) -> float:
        """Seconds since the open batch got its first contact; 0 when it has none."""
        return time.monotonic() - self._since if self._open else 0.0

    def _merged(self, later: Entry) -> bool:
        """Merge a contact into the same person's in the open batch, if that fits."""
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


class Return(NamedTuple):
    """Someone who has left a list and is in a stream of it again.

    Attributes:
        list_id: The list that they left.
        segment: The segment whose row in the ledger says so.
        known: That row.
        marked: The segment that they come back to, whose mark waits for what is found.
    """

    list_id: int
    segment: int
    known: Known
    marked: int
