"""People of a table and their contacts, as they must be: a model that knows nothing of the target.

A contact belongs to the rows that stand for it. It moves with its row to another address; a row
that leaves a shared contact, or whose new address another contact has, goes to the contact there.
Who has opted out stays so, whatever the address.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(eq=False)
class Contact:
    """A contact in ActiveCampaign.

    Attributes:
        address: Its address.
        ours: Whether the target has put it on the list.
        opted_out: Whether the person has left the list.
        on_list: Whether it is an active member.
    """

    address: str
    ours: bool = True
    opted_out: bool = False
    on_list: bool = False


@dataclass
class People:
    """The contacts of an account, and the rows that stand for them.

    Attributes:
        contacts: The contacts by address.
        of_row: The contact of each row that ever was.
        barred: Rows whose person has opted out under an earlier address.
        rows: The rows as of the last day: their addresses.
    """

    contacts: dict[str, Contact] = field(default_factory=dict)
    of_row: dict[int, Contact] = field(default_factory=dict)
    barred: set[int] = field(default_factory=set)
    rows: dict[int, str] = field(default_factory=dict)

    @property
    def active(self) -> set[str]:
        """The addresses that may be mailed."""
        return {one.address for one in self.contacts.values() if one.on_list}

    def opt_out(self, address: str) -> None:
        """Let a person leave the list."""
        self.contacts[address].opted_out = True
        self.contacts[address].on_list = False

    def end_day(self, rows: Mapping[int, str]) -> set[int]:
        """Bring the contacts in line with the table; returns the rows whose contact was renamed."""
        movers = {
            key
            for key, address in rows.items()
            if key in self.of_row and self.of_row[key].address != address
        } - self.barred
        stay = {
            id(self.of_row[key])
            for key in rows
            if key in self.of_row and key not in movers and key not in self.barred
        }
        renamed = {key for key in movers if id(self.of_row[key]) not in stay}
        while stuck := {key for key in renamed if self._is_taken(rows[key], renamed)}:
            renamed -= stuck
        moved = [(self.of_row[key], rows[key]) for key in renamed]
        for contact, _ in moved:
            self.contacts.pop(contact.address)
        for contact, address in moved:
            contact.address = address
            self.contacts[address] = contact
        for key in movers - renamed:
            self._go_elsewhere(key, rows[key])
        for key, address in rows.items():
            if key not in self.of_row:
                contact = self.of_row[key] = self._at(address)
                if contact.opted_out and not contact.ours:
                    self.barred.add(key)  # a contact that was never ours can't be renamed later
        self.rows = dict(rows)
        self._subscribe()
        return renamed

    def _is_taken(self, address: str, renamed: set[int]) -> bool:
        there = self.contacts.get(address)
        return there is not None and all(self.of_row[key] is not there for key in renamed)

    def _go_elsewhere(self, key: int, address: str) -> None:
        if self.of_row[key].opted_out:
            self.barred.add(key)
        else:
            self.of_row[key] = self._at(address)

    def _at(self, address: str) -> Contact:
        return self.contacts.setdefault(address, Contact(address))

    def _subscribe(self) -> None:
        """Put those on the list who are in the table, and take off those of ours who are not."""
        held = {id(self.of_row[key]) for key in self.rows if key not in self.barred}
        for contact in self.contacts.values():
            if id(contact) in held:
                contact.on_list = not contact.opted_out
            elif contact.ours:
                contact.on_list = False
