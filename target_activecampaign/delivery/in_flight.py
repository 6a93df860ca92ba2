"""The contacts in flight, limited by number and memory, and the queue of their batches."""

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
    """The contacts that were submitted for delivery and have no outcome yet. Thread-safe.

    Args:
        max_contacts: Limit of contacts in flight.

    Attributes:
        count: Number of contacts in flight.
    """

    def __init__(self, max_contacts: int) -> None:
        self._max_contacts = max_contacts
        self._changed = threading.Condition()
        self._entries: dict[str, tuple[Entry, ...]] = {}
        self.count = 0
        self._bytes = 0
        self._is_closed = False

    def add(self, entries: Collection[Entry], *, block: bool = False) -> None:
        """Add contacts.

        Args:
            entries: The contacts.
            block: Whether to wait for room. If this is closed meanwhile, nothing is added.
        """
        count, size = len(entries), sum([entry.weight for entry in entries])
        with self._changed:
            if block:
                self._changed.wait_for(lambda: self._is_closed or self._has_room(count, size))
                if self._is_closed:
                    return
            for entry in entries:
                self._entries[entry.key] = (*self._entries.get(entry.key, ()), entry)
            self._bytes += size
            self.count += count

    def _has_room(self, count: int, size: int) -> bool:
        return not self.count or (
            self.count + count <= self._max_contacts and self._bytes + size <= _MAX_BYTES
        )

    def find(self, contacts: Collection[bytes]) -> set[bytes]:
        """Return those contacts, given by their hashes, that are in flight."""
        with self._changed:
            hashes = {one.contact_hash for some in self._entries.values() for one in some}
        return hashes.intersection(contacts)

    def has(self, key: str) -> bool:
        """Return whether a contact with this key is in flight."""
        with self._changed:
            return key in self._entries

    def release(self, entries: Collection[Entry]) -> None:
        """Remove contacts that have their outcome."""
        with self._changed:
            for entry in entries:
                mine = self._entries.pop(entry.key)
                if len(mine) > 1:
                    self._entries[entry.key] = tuple(one for one in mine if one is not entry)
            self._bytes -= sum([entry.weight for entry in entries])
            self.count -= len(entries)
            self._changed.notify_all()

    def marks(
        self, keys: AbstractSet[str], later: Mapping[str, dict[int, MemberUpdate]]
    ) -> dict[str, dict[int, MemberUpdate]]:
        """Return the planned ledger updates of contacts in flight, by contact key and segment.

        Args:
            keys: The keys of the contacts.
            later: The updates of contacts that are not in flight yet. They take precedence.
        """
        with self._changed:
            marks = {
                key: {
                    number: mark for one in self._entries[key] for number, mark in one.marks.items()
                }
                for key in keys & self._entries.keys()
            }
        for key, one in later.items():
            marks[key] = {**marks.get(key, {}), **one}
        return marks

    def wait(self) -> None:
        """Wait until no contact is in flight, or this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or not self.count)

    def close(self) -> None:
        """End all waiting. From now on, a blocking `add` adds nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class BatchQueue:
    """The batches that wait to be posted. Batches of the same contact keep their order.

    Not thread-safe.

    Args:
        contacts: The contacts in flight, those of all batches included.
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
        """Return batches that may be posted now, and mark their contacts as busy.

        A batch with a busy contact waits, and later batches overtake it.

        Args:
            count: The maximum number of batches.
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
        """Remove contacts that have their outcome."""
        self._busy.difference_update([entry.key for entry in entries])
        self._contacts.release(entries)
