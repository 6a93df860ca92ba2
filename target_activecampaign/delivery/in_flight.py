"""The contacts that are under way: who they are, and waiting until there is room for more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from collections.abc import Set as AbstractSet

    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.ledger import MemberUpdate

_MAX_BYTES = 48 * 1024 * 1024


class InFlightContacts:
    """Contacts from their delivery's beginning to its end, so many at most. Safe between threads.

    Args:
        max_contacts: How many there may be: it bounds the memory.

    Attributes:
        count: How many there are.
    """

    def __init__(self, max_contacts: int) -> None:
        self._max_contacts = max_contacts
        self._changed = threading.Condition()
        self._people: dict[str, tuple[Entry, ...]] = {}
        self.count = 0
        self._bytes = 0
        self._ended = False

    def enter(self, entries: Collection[Entry]) -> None:
        """Take contacts, whether there is room or not."""
        with self._changed:
            self._enter(entries)

    def add_when_room(self, entries: Collection[Entry]) -> None:
        """Wait until there is room for contacts, and take them; after the end they stay out."""
        count, size = len(entries), sum(entry.weight for entry in entries)
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._has_room(count, size))
            if not self._ended:
                self._enter(entries)

    def _enter(self, entries: Collection[Entry]) -> None:
        for entry in entries:
            key = entry.key
            self._people[key] = (*self._people.get(key, ()), entry)
        self._bytes += sum([entry.weight for entry in entries])
        self.count += len(entries)

    def _has_room(self, count: int, size: int) -> bool:
        return not self.count or (
            self.count + count <= self._max_contacts and self._bytes + size <= _MAX_BYTES
        )

    def has(self, key: str) -> bool:
        """Whether a contact of a person is under way."""
        with self._changed:
            return key in self._people

    def release(self, entries: Collection[Entry]) -> None:
        """Let go of contacts that are settled."""
        with self._changed:
            for entry in entries:
                mine = self._people.pop(entry.key)
                if len(mine) > 1:
                    self._people[entry.key] = tuple(one for one in mine if one is not entry)
            self._bytes -= sum([entry.weight for entry in entries])
            self.count -= len(entries)
            self._changed.notify_all()

    def marks(
        self, keys: AbstractSet[str], later: Mapping[str, dict[int, MemberUpdate]]
    ) -> dict[str, dict[int, MemberUpdate]]:
        """What the ledger is to keep of those of some people who are under way.

        Args:
            keys: The people.
            later: What it is to keep of those who will be; of what both tell, the later holds.
        """
        with self._changed:
            marks = {
                key: {
                    number: mark for one in self._people[key] for number, mark in one.marks.items()
                }
                for key in keys & self._people.keys()
            }
        for key, one in later.items():
            marks[key] = {**marks.get(key, {}), **one}
        return marks

    def wait(self) -> None:
        """Wait until all are settled, or the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not self.count)

    def end(self) -> None:
        """Let nobody wait any more, and take none whom there would have to be room for."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
