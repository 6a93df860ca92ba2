"""What one import writes: decided contact by contact, written at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records
from activecampaign_sandbox.records import ACTIVE, BOUNCED, UNSUBSCRIBED
from activecampaign_sandbox.wire import reference

if TYPE_CHECKING:
    import sqlite3

    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store

_TEXT_KEYS = ("first_name", "last_name", "phone", "customer_acct_name")
_AT_ONCE = 500  # values in one IN (...)
_ROWS = 50  # rows in one INSERT

# A key that wasn't sent is NULL here and leaves the column as it is.
_UPDATE = (
    "UPDATE contact SET first_name = coalesce(?, first_name), last_name = coalesce(?, last_name),"
    " phone = coalesce(?, phone), organization = coalesce(?, organization), udate = ?,"
    " times_imported = times_imported + 1 WHERE id = ?"
)


class _Insert:
    """An INSERT that takes many rows a call: a call into SQLite costs more than a row does."""

    def __init__(self, head: str, marks: str, tail: str = "") -> None:
        self._one = f"{head} VALUES {marks} {tail}"
        self._many = f"{head} VALUES {', '.join([marks] * _ROWS)} {tail}"

    def run(self, db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
        """Insert the rows in their order."""
        whole = len(rows) - len(rows) % _ROWS
        db.executemany(
            self._many,
            [[*chain(*rows[start : start + _ROWS])] for start in range(0, whole, _ROWS)],
        )
        db.executemany(self._one, rows[whole:])


_CONTACTS = _Insert(
    "INSERT INTO contact (id, email, first_name, last_name, phone, organization, cdate, udate,"
    " times_imported)",
    "(?, ?, ?, ?, ?, ?, ?, ?, 1)",
)
_VALUES = _Insert(
    "INSERT INTO field_value",
    "(?, ?, ?, ?, ?)",
    "ON CONFLICT (contact, field) DO UPDATE SET value = excluded.value, udate = excluded.udate",
)
# How a membership ended stays empty: the rows that an import touches are none of an opt-out.
_MEMBERSHIPS = _Insert(
    "INSERT INTO membership (contact, list, status, sourceid, sdate, udate)",
    "(?, ?, ?, 0, ?, ?)",
    "ON CONFLICT (contact, list) DO UPDATE SET status = excluded.status,"
    " sdate = coalesce(excluded.sdate, sdate), udate = excluded.udate",
)
_TAGS = _Insert("INSERT OR IGNORE INTO contact_tag", "(?, ?, ?)")


@dataclass(frozen=True)
class Excluded:
    """The account's exclusion list: whole addresses, and domains written ``@domain``."""

    patterns: frozenset[str]

    def covers(self, email: str) -> bool:
        """Whether the address, or its domain, is on the list."""
        key = records.email_key(email)
        return key in self.patterns or f"@{key.rpartition('@')[2]}" in self.patterns


@dataclass
class _Person:
    """A contact as the import finds it: its id, whether it bounced, its status on each list."""

    id: int
    bounced: bool
    lists: dict[int, int] = field(default_factory=dict)


class Plan:
    """The rows that one import writes, and what it reports.

    Args:
        store: The account's data, inside a transaction.
        options: The sandbox's switches.
        excluded: The exclusion list.
        tags: Ids of tags by name; new ones are added.
        contacts: The import's contacts, as they were sent and checked.
        dropped: Keys of addresses that a fault drops.

    Attributes:
        created: Ids of the contacts that are new.
        updated: Ids of those that were there.
        failure: Addresses that were refused, as they were sent.
        beyond_limit: Whether one was refused because the account is full.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        *,
        excluded: Excluded,
        tags: dict[str, int],
        contacts: list[dict[str, Any]],
        dropped: set[str],
    ) -> None:
        self.created: list[int] = []
        self.updated: list[int] = []
        self.failure: list[str] = []
        self.beyond_limit = False
        self._store = store
        self._options = options
        self._excluded = excluded
        self._tag_ids = tags
        self._dropped = dropped
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._values: list[tuple[Any, ...]] = []
        self._members: list[tuple[Any, ...]] = []
        self._tags: list[tuple[Any, ...]] = []
        self._moment = records.now()
        self._types: dict[int, str] = {
            row["id"]: row["type"] for row in store.all("SELECT id, type FROM field")
        }
        self._lists = {row["id"] for row in store.all("SELECT id FROM list")}
        self._next_id = 1 + store.number("SELECT seq FROM sqlite_sequence WHERE name = 'contact'")
        limit = options.account_limit
        self._room = limit - store.number("SELECT count(*) FROM contact") if limit else None
        keys = [records.email_key(contact["email"]) for contact in contacts]
        self._people = self._known(list(set(keys)))
        for key, contact in zip(keys, contacts, strict=True):
            self._add(key, contact)

    def write(self) -> None:
        """Write all rows; the same person twice ends with the later values."""
        db = self._store.db
        _CONTACTS.run(db, self._inserts)
        db.executemany(_UPDATE, self._updates)
        _VALUES.run(db, self._values)
        _MEMBERSHIPS.run(db, self._members)
        _TAGS.run(db, self._tags)

    def _known(self, keys: list[str]) -> dict[str, _Person]:
        """The people among these addresses whom the account holds."""
        people: dict[str, _Person] = {}
        for row in self._rows("SELECT id, email, bounced FROM contact WHERE email IN", keys):
            people[records.email_key(row["email"])] = _Person(row["id"], bool(row["bounced"]))
        by_id = {person.id: person for person in people.values()}
        for row in self._rows(
            "SELECT contact, list, status FROM membership WHERE contact IN", list(by_id)
        ):
            by_id[row["contact"]].lists[row["list"]] = row["status"]
        return people

    def _rows(self, query: str, values: list[Any]) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(values), _AT_ONCE):
            part = values[start : start + _AT_ONCE]
            rows += self._store.all(f"{query} ({', '.join('?' * len(part))})", *part)
        return rows

    def _add(self, key: str, contact: dict[str, Any]) -> None:
        """Plan one contact: refused, updated or made."""
        person = self._people.get(key)
        if self._refused(key, person, contact):
            self.failure.append(contact["email"])
            if not self._still_updates(key, person):
                return
        first, last, phone, company = [as_text(contact.get(name)) for name in _TEXT_KEYS]
        organization = records.organization_id(self._store, company) if company else None
        moment = self._moment
        if person is None:
            person = self._people[key] = _Person(self._next_id, bounced=False)
            self._next_id += 1
            self.created.append(person.id)
            email = contact["email"].strip()
            names = (first or "", last or "", phone or "")
            self._inserts.append((person.id, email, *names, organization, moment, moment))
        else:
            self.updated.append(person.id)
            self._updates.append((first, last, phone, organization, moment, person.id))
        self._add_values(person, contact)
        self._add_memberships(person, contact)
        self._add_tags(person, contact)

    def _refused(self, key: str, person: _Person | None, contact: dict[str, Any]) -> bool:
        """Whether the queue drops the contact, for one of the documented reasons [doc]."""
        options = self._options
        if key in self._dropped or (self._excluded.patterns and self._excluded.covers(key)):
            return True
        if options.bad_email == "drop" and not records.valid_email(key):
            return True
        if options.apostrophe == "drop" and "'" in key:
            return True
        if person is not None:
            return person.bounced or any(
                person.lists.get(number) in (UNSUBSCRIBED, BOUNCED)
                for number in _list_ids(contact, "subscribe")
            )
        if self._room is None:
            return False
        self._room -= 1
        full = self._room < 0
        self.beyond_limit = self.beyond_limit or full
        return full

    def _still_updates(self, key: str, person: _Person | None) -> bool:
        """Whether someone refused for an opt-out gets the import's values all the same."""
        return (
            self._options.opted_out == "update"
            and person is not None
            and not person.bounced
            and key not in self._dropped
        )

    def _add_values(self, person: _Person, contact: dict[str, Any]) -> None:
        """Values of custom fields; an unknown field is ignored [rep]."""
        moment = self._moment
        for entry in contact.get("fields") or ():
            number, value = reference(entry["id"]), entry["value"]
            kind = self._types.get(number or 0)
            if kind:
                if kind == "datetime" or not isinstance(value, str):
                    value = records.saved_value(kind, as_text(value) or "")
                self._values.append((person.id, number, value, moment, moment))

    def _add_memberships(self, person: _Person, contact: dict[str, Any]) -> None:
        """Memberships; an unknown list is ignored, and an opt-out never undone [doc]."""
        out = (UNSUBSCRIBED, BOUNCED)
        for number in _list_ids(contact, "subscribe"):
            if number in self._lists and person.lists.get(number) not in (ACTIVE, *out):
                person.lists[number] = ACTIVE
                self._members.append((person.id, number, ACTIVE, self._moment, None))
        for number in _list_ids(contact, "unsubscribe"):
            stranger = number not in person.lists
            if stranger and self._options.unsubscribe_stranger == "ignore":
                continue
            if number in self._lists and person.lists.get(number) not in out:
                person.lists[number] = UNSUBSCRIBED
                self._members.append((person.id, number, UNSUBSCRIBED, None, self._moment))

    def _add_tags(self, person: _Person, contact: dict[str, Any]) -> None:
        """Tags by name; "New tags will be created if they do not already exist" [doc]."""
        for tag in contact.get("tags") or ():
            name = (as_text(tag) or "").strip()
            if name:
                self._tags.append((person.id, self._tag_id(name), self._moment))

    def _tag_id(self, name: str) -> int:
        """A tag's id; the few names that imports repeat are remembered."""
        number = self._tag_ids.get(name)
        if number is None:
            if len(self._tag_ids) >= _AT_ONCE:
                self._tag_ids.clear()
            number = self._tag_ids[name] = records.tag_id(self._store, name)
        return number


def _list_ids(contact: dict[str, Any], key: str) -> list[int]:
    return [number for entry in contact.get(key) or () if (number := reference(entry["listid"]))]


def as_text(value: Any) -> str | None:
    """A scalar as PHP would write it; None stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value)
