"""The current values of contacts in the account, for `only_if_empty`.

As in `ListMembers`, contacts are looked up singly until that has cost as many requests as reading
the whole account. Then the account is read, 100 contacts or values per request.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client import NotFound
from target_activecampaign.client.calls import PAGE_SIZE
from target_activecampaign.model.email import contact_key
from target_activecampaign.text import chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from target_activecampaign.client import Client
    from target_activecampaign.client import Contact as StoredContact
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

_TABLES = """
CREATE TABLE asked (person BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE contact (id INTEGER PRIMARY KEY, person BLOB);
CREATE TABLE filled (person BLOB, destination, PRIMARY KEY (person, destination)) WITHOUT ROWID;
"""


class StoredValues:
    """The values of contacts at some destinations.

    Args:
        client: The client of the account.
        destinations: The destinations that matter: attributes of a `Contact` (`first_name`,
            `last_name`, `phone`, `customer_account`) and ids of custom fields.
        ledger: Computes the contact hashes.
        stop: Stops the lookups.

    Attributes:
        destinations: As given.
    """

    def __init__(
        self,
        client: Client,
        destinations: tuple[str | int, ...],
        ledger: Ledger,
        stop: StopRequest,
    ) -> None:
        self.destinations = frozenset(destinations)
        self._client = client
        self._attributes = [one for one in destinations if isinstance(one, str)]
        self._fields = [one for one in destinations if isinstance(one, int)]
        self._ledger = ledger
        self._stop = stop
        self._spent = 0
        self._pages: int | None = None
        self._read = False
        self._again: set[bytes] = set()
        # A temporary file, as the name is empty: memory does not grow with the account.
        self._db = sqlite3.connect("")
        self._db.executescript(_TABLES)

    def filled(self, addresses: Mapping[bytes, str]) -> dict[bytes, set[str | int]]:
        """Return the destinations at which contacts have a value, stored or in flight.

        Args:
            addresses: The addresses of the contacts.

        Returns:
            The destinations by contact; contacts without any are left out.
        """
        again = self._again and {who: addresses[who] for who in self._again & addresses.keys()}
        unknown = {} if self._read else self._not_asked(addresses)
        if self._read and again:
            self._ask(again)
        elif unknown:
            if self._spent + len(unknown) * (2 if self._fields else 1) <= self._reading_costs():
                self._ask(unknown)
            else:
                self._read_account()
        self._again.difference_update(addresses)
        found: dict[bytes, set[str | int]] = {}
        for contact_hash in addresses:
            rows = self._db.execute(
                "SELECT destination FROM filled WHERE person = ?", [contact_hash]
            )
            if destinations := {row[0] for row in rows}:
                found[contact_hash] = destinations
        return found

    def fill(self, contact_hash: bytes, destinations: Collection[str | int]) -> None:
        """Store that a contact has values, or is sent values, for some destinations."""
        rows = [(contact_hash, one) for one in self.destinations.intersection(destinations)]
        self._db.executemany("INSERT OR IGNORE INTO filled VALUES (?, ?)", rows)

    def forget(self, contact_hash: bytes) -> None:
        """Look a contact up again: its values that were stored here are not sent after all."""
        self._db.execute("DELETE FROM asked WHERE person = ?", [contact_hash])
        self._db.execute("DELETE FROM filled WHERE person = ?", [contact_hash])
        self._again.add(contact_hash)

    def close(self) -> None:
        """Delete the copy of the values."""
        self._db.close()

    def _not_asked(self, addresses: Mapping[bytes, str]) -> dict[bytes, str]:
        asked = "SELECT 1 FROM asked WHERE person = ?"
        return {
            contact_hash: address
            for contact_hash, address in addresses.items()
            if self._db.execute(asked, [contact_hash]).fetchone() is None
        }

    def _reading_costs(self) -> int:
        """Return the number of requests that reading the account takes; 0 if it is unknown."""
        if self._pages is None:
            counts = [self._client.count_contacts()]
            counts += [self._client.count_field_values(one) for one in self._fields]
            known = [count for count in counts if count is not None]
            pages = sum(max(1, math.ceil(count / PAGE_SIZE)) for count in known)
            self._pages = pages if len(known) == len(counts) else 0
        return self._pages

    def _ask(self, addresses: Mapping[bytes, str]) -> None:
        pool = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "stored-values")
        try:
            answers = pool.map(self._values, addresses.values())
            for contact_hash, (destinations, requests) in zip(addresses, answers, strict=True):
                self._spent += requests
                self._db.execute("INSERT INTO asked VALUES (?)", [contact_hash])
                self.fill(contact_hash, destinations)
                self._stop.check()
        finally:
            # If it is stopped or fails, look up no more contacts.
            pool.shutdown(cancel_futures=True)

    def _values(self, address: str) -> tuple[set[str | int], int]:
        """Return the destinations at which a contact has a value, and the requests that it took."""
        contact = self._client.find_contact(address)
        if contact is None:
            return set(), 1
        found = self._standard_values(contact)
        if not self._fields:
            return found, 1
        with suppress(NotFound):  # deleted meanwhile
            values = self._client.contact_field_values(contact.id)
            found.update(one.field_id for one in values if one.value)
        return found, 2

    def _standard_values(self, contact: StoredContact) -> set[str | int]:
        """Return the attributes in which a contact has a value."""
        names = {"customer_account": "organization"}
        return {one for one in self._attributes if getattr(contact, names.get(one, one))}

    def _read_account(self) -> None:
        logger.info(
            "Reading %d values of all contacts, as 'only_if_empty' needs them.",
            len(self.destinations),
        )
        for some in chunks(self._client.contacts(), PAGE_SIZE):
            for contact in some:
                contact_hash = self._ledger.contact_hash(contact_key(contact.email))
                self.fill(contact_hash, self._standard_values(contact))
                if self._fields:
                    self._db.execute(
                        "INSERT INTO contact VALUES (?, ?)", [contact.id, contact_hash]
                    )
            self._stop.check()
        for number in self._fields:
            for values in chunks(self._client.field_values(number), PAGE_SIZE):
                rows = [(one.field_id, one.contact_id) for one in values if one.value]
                self._db.executemany(
                    "INSERT OR IGNORE INTO filled SELECT person, ? FROM contact WHERE id = ?", rows
                )
                self._stop.check()
        self._read = True
