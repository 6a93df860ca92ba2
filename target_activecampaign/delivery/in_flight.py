"""The contacts in flight: as many at most as memory allows."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from target_activecampaign.delivery.batches import Batch, Entry
    from target_activecampaign.ledger import MemberUpdate

_MAX_BYTES = 48 * 1024 * 1024


class InFlightContacts:
    """The contacts that were handed to the delivery and are not settled. Safe between threads.

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
        self._is_closed = False

    def add(self, entries: Collection[Entry], *, block: bool = False) -> None:
        """Add contacts.

        Args:
            entries: The contacts.
            block: Whether to wait until there is room; once closed, they are not added then.
        """
        count, size = len(entries), sum([entry.weight for entry in entries])
        with self._changed:
            if block:
                self._changed.wait_for(lambda: self._is_closed or self._has_room(count, size))
                if self._is_closed:
                    return
            for entry in entries:
                self._people[entry.key] = (*self._people.get(entry.key, ()), entry)
            self._bytes += size
            self.count += count

    def _has_room(self, count: int, size: int) -> bool:
        return not self.count or (
            self.count + count <= self._max_contacts and self._bytes + size <= _MAX_BYTES
        )

    def has(self, key: str) -> bool:
        """Return whether a contact of a person is in flight."""
        with self._changed:
            return key in self._people

    def release(self, entries: Collection[Entry]) -> None:
        """Remove contacts that are settled."""
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
        """Return what the ledger will keep of some people whose contacts are not settled.

        Args:
            keys: The people.
            later: The same of contacts that are not in flight yet. It comes before what is.
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
        """Wait until there is none, or it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self.count)

    def close(self) -> None:
        """End all waiting, and add none any more that would have to wait."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class BatchQueue:
    """The batches that wait to be posted, each person's in their order. Not safe between threads.

    Args:
        contacts: The contacts in flight; it has those of all batches.
    """

    def __init__(self, contacts: InFlightContacts) -> None:
        self._contacts = contacts
        self._waiting: deque[Batch] = deque()
        self._busy: set[str] = set()

    def put(self, batches: Iterable[Batch]) -> None:
        """Add batches at the end."""
        self._waiting.extend(batches)

    def put_first(self, batches: Iterable[Batch]) -> None:
        """Add batches before all others."""
        self._waiting.extendleft(reversed(list(batches)))

    def clear(self) -> None:
        """Remove all batches."""
        self._waiting.clear()

    def take(self, count: int) -> list[Batch]:
        """Take the batches that may be posted, and count their people as being imported.

        A batch with a person who is being imported waits, and later ones overtake it.

        Args:
            count: How many to take at most.
        """
        taken: list[Batch] = []
        passed: list[Batch] = []
        held: set[str] = set()
        while self._waiting and len(taken) < count:
            batch = self._waiting.popleft()
            keys = batch.keys
            if keys.isdisjoint(self._busy) and keys.isdisjoint(held):
                self._busy |= keys
                taken.append(batch)
            else:
                held |= keys
                passed.append(batch)
        self._waiting.extendleft(reversed(passed))
        return taken

    def release(self, entries: Collection[Entry]) -> None:
        """Remove contacts that are settled."""
        self._busy.difference_update([entry.key for entry in entries])
        self._contacts.release(entries)
