"""Contacts into imports: the same person once, cut at the limits of ActiveCampaign's import.

One packer serves all streams. Records come in the source's order, so of two records of
one person the later is known to be the later, whichever streams or schemas they came with.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.contact import Refusal
from target_activecampaign.settings import MAX_BYTES_PER_IMPORT, MAX_CONTACTS_PER_IMPORT

if TYPE_CHECKING:
    from target_activecampaign.contact import Contact
    from target_activecampaign.rejects import SourceStream

_HEAD = b'{"contacts":['
_TAIL = b"]}"

_MAX_SOURCES = 1000
"""Records that are merged into one contact at most, since they are all kept until it is settled."""
_EXCLUDE_AUTOMATIONS = b',"exclude_automations":true}'


class Source(NamedTuple):
    """Where a contact came from.

    Attributes:
        name: The stream's name after stream maps, under which the record is counted.
        stream: The stream as the tap announced it.
        line: The tap's own RECORD message, for the reject file.
        epoch: The span between two STATE messages in which it was read.
    """

    name: str
    stream: SourceStream
    line: bytes
    epoch: int


@dataclass(slots=True)
class Entry:
    """A contact on its way, with the records that it was made of, in their order.

    Attributes:
        key: The person.
        body: The contact as the import takes it.
        sources: Its records.
        lists: The lists that it is to be put on.
    """

    key: str
    body: bytes
    sources: list[Source]
    lists: tuple[int, ...] = ()

    @property
    def weight(self) -> int:
        """Bytes that it holds in memory, roughly."""
        return len(self.body) + sum(len(source.line) for source in self.sources)


@dataclass(slots=True)
class Batch:
    """Contacts of one import, each person once.

    Attributes:
        entries: The contacts, at least one.
        tail: What closes the body after them.
        attempts: How often it was accepted in vain.
        reordered: Whether its contacts were reordered to tell whom a refusal means.
    """

    entries: list[Entry]
    tail: bytes = _TAIL
    attempts: int = 0
    reordered: bool = False

    @property
    def keys(self) -> set[str]:
        """The people in it."""
        return {entry.key for entry in self.entries}

    def body(self) -> bytes:
        """The import's body in JSON."""
        return _HEAD + b",".join(entry.body for entry in self.entries) + self.tail

    def of(self, entries: list[Entry]) -> Batch:
        """Some of its contacts as an import of their own, not yet tried."""
        return Batch(entries, self.tail)


@dataclass(slots=True)
class _Open:
    """The batch that is being filled."""

    contacts: dict[str, Contact] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 0
    since: float = 0.0


class Packer:
    """Fills batches.

    Args:
        max_contacts: Contacts a batch, 250 at most.
        exclude_automations: ActiveCampaign's switch. Its documentation describes it for the
            whole import, its example has it in a contact. As automations that run against
            the user's will can't be undone, it is sent in both places.
    """

    def __init__(
        self,
        max_contacts: int = MAX_CONTACTS_PER_IMPORT,
        *,
        exclude_automations: bool = False,
    ) -> None:
        self._max_contacts = max_contacts
        self._exclude_automations = exclude_automations
        self._tail = _TAIL[:-1] + _EXCLUDE_AUTOMATIONS if exclude_automations else _TAIL
        self._max_size = MAX_BYTES_PER_IMPORT - len(_HEAD) - len(self._tail)
        self._open = _Open()

    def add(self, contact: Contact, source: Source) -> list[Batch]:
        """Put a contact into the open batch.

        Returns:
            The batches that are full thereby, in their order: none or one, or two when the
            contact did not fit the batch and fills the next alone.

        Raises:
            Refusal: `CONTACT_TOO_LARGE`, or a value that can't be encoded. Nothing changes.
        """
        if self._merged(contact, source):
            return []
        body = self._encoded(contact)
        if len(body) > self._max_size:
            raise Refusal(
                "CONTACT_TOO_LARGE",
                f"The contact is {len(body):,} bytes as ActiveCampaign takes it; "
                f"an import may have {MAX_BYTES_PER_IMPORT:,}.",
            )
        full = []
        if contact.key in self._open.entries or not self._has_room(body):
            full += self._cut()
        self._append(contact, body, source)
        if len(self._open.entries) >= self._max_contacts:
            full += self._cut()
        return full

    def flush(self) -> list[Batch]:
        """The open batch, however small; nothing when there is none."""
        return self._cut()

    def age(self) -> float:
        """Seconds since the open batch got its first contact; 0 when it has none."""
        return time.monotonic() - self._open.since if self._open.entries else 0.0

    def _merged(self, contact: Contact, source: Source) -> bool:
        """Merge a contact into the same person's in the open batch, if that is there and fits."""
        entry = self._open.entries.get(contact.key)
        if entry is None or len(entry.sources) >= _MAX_SOURCES:
            return False
        merged = self._open.contacts[contact.key].merged_into(contact)
        body = self._encoded(merged)
        size = self._open.size + len(body) - len(entry.body)
        if size > self._max_size:
            return False
        self._open.size = size
        self._open.contacts[contact.key] = merged
        entry.body = body
        entry.lists = merged.lists
        entry.sources.append(source)
        return True

    def _encoded(self, contact: Contact) -> bytes:
        body = contact.encode()
        return body[:-1] + _EXCLUDE_AUTOMATIONS if self._exclude_automations else body

    def _has_room(self, body: bytes) -> bool:
        return not self._open.entries or self._open.size + 1 + len(body) <= self._max_size

    def _append(self, contact: Contact, body: bytes, source: Source) -> None:
        if not self._open.entries:
            self._open.since = time.monotonic()
        self._open.size += len(body) + (1 if self._open.entries else 0)
        self._open.contacts[contact.key] = contact
        self._open.entries[contact.key] = Entry(contact.key, body, [source], contact.lists)

    def _cut(self) -> list[Batch]:
        entries = list(self._open.entries.values())
        self._open = _Open()
        return [Batch(entries, self._tail)] if entries else []
