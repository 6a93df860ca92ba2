"""The contacts that are on a list now.

A few contacts are cheaper to look up singly. For many it is cheaper to read the whole list, 100
contacts per request. The number is not known beforehand, so contacts are looked up until that has
cost as much as reading the list. Then the list is read. At worst this costs twice the optimum.
"""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client.calls import PAGE_SIZE
from target_activecampaign.model.email import contact_key
from target_activecampaign.sync.stop import StopRequest
from target_activecampaign.text import chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_activecampaign.client import Client, Membership
    from target_activecampaign.ledger import Ledger

logger = logging.getLogger("target-activecampaign")

_REQUESTS_PER_CONTACT = 2
_CHUNK = 1000


class ListMembers:
    """The contacts of one list.

    Args:
        client: The client of the account.
        list_id: The list.
        status: Their status on it, such as 1 for active; None for any.
        ledger: Computes the contact hashes.
        stop: Stops the lookups; None if they can't be stopped.
    """

    def __init__(
        self,
        client: Client,
        list_id: int,
        status: int | None,
        ledger: Ledger,
        stop: StopRequest | None = None,
    ) -> None:
        self._client = client
        self._list_id = list_id
        self._status = status
        self._ledger = ledger
        self._stop = stop or StopRequest()
        self._spent = 0
        self._read: sqlite3.Connection | None = None

    def find(self, addresses: Mapping[bytes, str | None]) -> dict[bytes, int]:
        """Return the ids of those contacts that are on the list, by contact hash.

        Args:
            addresses: The addresses of the contacts, by contact hash. If one is not known, the
                whole list is read.
        """
        if self._read is None and addresses:
            cost = _REQUESTS_PER_CONTACT * len(addresses)
            total = self._client.count_contacts(list_id=self._list_id, status=self._status)
            if total == 0:
                return {}
            known = {one: address for one, address in addresses.items() if address is not None}
            is_cheap = total is not None and self._spent + cost <= total / PAGE_SIZE
            if is_cheap and len(known) == len(addresses):
                self._spent += cost
                return self._ask(known)
            self._read = self._read_list(total)
        return self._look_up(addresses)

    def all(self) -> Iterator[dict[bytes, int]]:
        """Yield all of them, some at a time: the ids by contact hash."""
        if self._read is None:
            self._read = self._read_list(
                self._client.count_contacts(list_id=self._list_id, status=self._status)
            )
        rows = self._read.execute("SELECT hash, contact FROM person")
        while some := rows.fetchmany(_CHUNK):
            yield dict(some)

    def memberships(self, addresses: Mapping[bytes, str]) -> dict[bytes, Membership]:
        """Return the memberships of those contacts that are on the list."""
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE, "list-members") as pool:
            found = zip(addresses, pool.map(self._membership, addresses.values()), strict=True)
            return {contact_hash: one[1] for contact_hash, one in found if one is not None}

    def forget(self) -> None:
        """Forget what was read of the list: addresses have changed since."""
        self.close()
        self._read = None

    def close(self) -> None:
        """Delete the copy of the list."""
        if self._read is not None:
            self._read.close()

    def _ask(self, addresses: Mapping[bytes, str]) -> dict[bytes, int]:
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE, "list-members") as pool:
            found = {}
            answers = pool.map(self._membership, addresses.values())
            for contact_hash, membership in zip(addresses, answers, strict=True):
                if membership is not None:
                    found[contact_hash] = membership[0]
                self._stop.check()
            return found

    def _membership(self, address: str) -> tuple[int, Membership] | None:
        """Return a contact's id and membership; None if it is not on the list."""
        contact = self._client.find_contact(address)
        for one in self._client.memberships(contact.id) if contact else ():
            if one.list_id == self._list_id and self._status in (None, one.status):
                return (contact.id if contact else 0), one
        return None

    def _read_list(self, total: int | None) -> sqlite3.Connection:
        logger.info("Reading the contacts of list %d (%s).", self._list_id, total or "unknown")
        # A temporary file, as the name is empty: memory does not grow with the list.
        db = sqlite3.connect("")
        db.execute("CREATE TABLE person (hash BLOB PRIMARY KEY, contact INTEGER) WITHOUT ROWID")
        for some in chunks(self._client.contacts(list_id=self._list_id, status=self._status)):
            rows = [(self._ledger.contact_hash(contact_key(one.email)), one.id) for one in some]
            db.executemany("INSERT OR REPLACE INTO person VALUES (?, ?)", rows)
            self._stop.check()
        return db

    def _look_up(self, addresses: Mapping[bytes, str | None]) -> dict[bytes, int]:
        if self._read is None:
            return {}
        found = {}
        for contact_hash in addresses:
            row = self._read.execute("SELECT contact FROM person WHERE hash = ?", [contact_hash])
            contact = row.fetchone()
            if contact is not None:
                found[contact_hash] = int(contact[0])
        return found
