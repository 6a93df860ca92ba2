"""The rows that one import writes: planned contact by contact, then written together."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records
from activecampaign_sandbox.records import ACTIVE, BOUNCED, UNSUBSCRIBED
from activecampaign_sandbox.value_rules import ValueRefusedError, ValueRules
from activecampaign_sandbox.wire import reference

if TYPE_CHECKING:
    import sqlite3

    from activecampaign_sandbox.exclusion_rules import ExclusionRules
    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store

# The texts of a contact, each with the option on an empty one.
_TEXTS = {
    "first_name": "empty_name",
    "last_name": "empty_name",
    "phone": "empty_phone",
    "customer_acct_name": None,
}
_AT_ONCE = 500  # values in one IN (...)
_ROWS = 50  # rows in one INSERT

# A key that wasn't sent is NULL here, which keeps the column's value.
_UPDATE = (
    "UPDATE contact SET first_name = coalesce(?, first_name), last_name = coalesce(?, last_name),"
    " phone = coalesce(?, phone), organization = coalesce(?, organization), udate = ?,"
    " times_imported = times_imported + 1 WHERE id = ?"
)


class _Insert:
    """An INSERT of many rows per call, as a call into SQLite costs more than a row."""

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
    "INSERT INTO field_value (contact, field, value, cdate, udate)",
    "(?, ?, ?, ?, ?)",
    "ON CONFLICT (contact, field) DO UPDATE SET value = excluded.value, udate = excluded.udate",
)
# The columns on how a membership ended stay empty: these are never rows of an opt-out.
_MEMBERSHIPS = _Insert(
    "INSERT INTO membership (contact, list, status, sourceid, sdate, udate, created, updated)",
    "(?, ?, ?, 0, ?, ?, ?, ?)",
    "ON CONFLICT (contact, list) DO UPDATE SET status = excluded.status,"
    " sdate = coalesce(excluded.sdate, sdate), udate = coalesce(excluded.udate, udate),"
    " updated = excluded.updated",
)
_TAGS = _Insert("INSERT OR IGNORE INTO contact_tag (contact, tag, cdate)", "(?, ?, ?)")


@dataclass
class _KnownContact:
    """A contact of the account: its id, whether it bounced, and its status by list."""

    id: int
    bounced: bool
    lists: dict[int, int] = field(default_factory=dict)


class ImportPlan:
    """The rows that one import writes, and the result that it reports.

    Args:
        store: The account's data, inside a transaction.
        options: The sandbox's options.
        exclusions: The account's exclusions.
        tags: Ids of tags by name; new ones are added.
        contacts: The import's contacts as they were sent; they have been validated.
        dropped: Keys of addresses that a fault drops.

    Attributes:
        created: Ids of new contacts.
        updated: Ids of existing contacts.
        failure: Addresses that were refused, as they were sent.
        beyond_limit: Whether one was refused because the account is full.
        names_deleted_list: Whether a contact names a list that was deleted, and the options say
            that the import fails for it.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        *,
        exclusions: ExclusionRules,
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
        self._exclusions = exclusions
        self._tag_ids = tags
        self._dropped = dropped
        self._inserts: list[tuple[Any, ...]] = []
        self._updates: list[tuple[Any, ...]] = []
        self._values: list[tuple[Any, ...]] = []
        self._members: list[tuple[Any, ...]] = []
        self._reactivated: list[tuple[int, int]] = []
        self._tags: list[tuple[Any, ...]] = []
        self._moment = records.now()
        self._rules = ValueRules(store, options)
        self._lists = {row["id"] for row in store.all("SELECT id FROM list")}
        self.names_deleted_list = options.deleted_list == "fail" and self._deleted(contacts)
        self._next_id = 1 + store.number("SELECT seq FROM sqlite_sequence WHERE name = 'contact'")
        limit = options.account_limit
        self._room = limit - store.number("SELECT count(*) FROM contact") if limit else None
        entries = self._entries(contacts)
        self._contacts = self._known(list({key for key, _ in entries}))
        for key, contact in entries:
            self._add(key, contact)

    def _deleted(self, contacts: list[dict[str, Any]]) -> bool:
        """Return whether a contact names a list that was deleted."""
        last = self._store.number("SELECT seq FROM sqlite_sequence WHERE name = 'list'")
        return any(
            number <= last and number not in self._lists
            for contact in contacts
            for key in ("subscribe", "unsubscribe")
            for number in list_ids(contact, key)
        )

    def _entries(self, contacts: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries that count, each with the key of its address."""
        entries = [(records.email_key(contact["email"]), contact) for contact in contacts]
        which = self._options.same_person_twice
        if which == "last":
            return list(dict(entries).items())
        return list(dict(reversed(entries)).items())[::-1] if which == "first" else entries

    def write(self) -> None:
        """Write all rows; a contact that was sent twice gets the later values."""
        db = self._store.db
        _CONTACTS.run(db, self._inserts)
        db.executemany(_UPDATE, self._updates)
        _VALUES.run(db, self._values)
        _MEMBERSHIPS.run(db, self._members)
        for contact, list_id in self._reactivated:
            records.set_membership(self._store, self._options, contact, list_id, ACTIVE)
        _TAGS.run(db, self._tags)

    def _known(self, keys: list[str]) -> dict[str, _KnownContact]:
        """Return the account's contacts among these addresses, by key."""
        known: dict[str, _KnownContact] = {}
        for row in self._rows("SELECT id, email, bounced FROM contact WHERE email IN", keys):
            known[records.email_key(row["email"])] = _KnownContact(row["id"], bool(row["bounced"]))
        by_id = {known_contact.id: known_contact for known_contact in known.values()}
        for row in self._rows(
            "SELECT contact, list, status FROM membership WHERE contact IN", list(by_id)
        ):
            by_id[row["contact"]].lists[row["list"]] = row["status"]
        return known

    def _rows(self, query: str, values: list[Any]) -> list[Any]:
        rows: list[Any] = []
        for start in range(0, len(values), _AT_ONCE):
            part = values[start : start + _AT_ONCE]
            rows += self._store.all(f"{query} ({', '.join('?' * len(part))})", *part)
        return rows

    def _add(self, key: str, contact: dict[str, Any]) -> None:
        """Plan one contact: refuse, update or create it."""
        known_contact = self._contacts.get(key)
        try:
            values = self._saved_values(contact)
        except ValueRefusedError:
            self.failure.append(contact["email"])
            return
        if self._is_refused(key, known_contact, contact):
            self.failure.append(contact["email"])
            if not self._is_still_updated(key, known_contact, contact):
                return
        first, last, phone, company = self._texts(contact)
        organization = records.organization_id(self._store, company) if company else None
        moment = self._moment
        if known_contact is None:
            known_contact = self._contacts[key] = _KnownContact(self._next_id, bounced=False)
            self._next_id += 1
            self.created.append(known_contact.id)
            email = contact["email"].strip()
            names = (first or "", last or "", phone or "")
            self._inserts.append((known_contact.id, email, *names, organization, moment, moment))
        else:
            self.updated.append(known_contact.id)
            self._updates.append((first, last, phone, organization, moment, known_contact.id))
        for number, value in values:
            self._values.append((known_contact.id, number, value, moment, moment))
        self._add_memberships(known_contact, contact)
        self._add_tags(known_contact, contact)

    def _is_refused(
        self, key: str, known_contact: _KnownContact | None, contact: dict[str, Any]
    ) -> bool:
        """Return whether the queue drops a contact, for one of the documented reasons [doc]."""
        options = self._options
        if key in self._dropped:
            return True
        if self._exclusions and self._exclusions.covers(key, list_ids(contact, "subscribe")):
            return True
        if options.bad_email == "drop" and not records.is_valid_email(key):
            return True
        if options.apostrophe == "drop" and "'" in key:
            return True
        if known_contact is not None:
            wanted = list_ids(contact, "subscribe")
            if not wanted and options.opted_out_without_list == "skip":
                return known_contact.bounced or UNSUBSCRIBED in known_contact.lists.values()
            out = (BOUNCED,) if options.opted_out == "subscribe" else (UNSUBSCRIBED, BOUNCED)
            return known_contact.bounced or any(
                known_contact.lists.get(number) in out for number in wanted
            )
        if self._room is None:
            return False
        self._room -= 1
        full = self._room < 0
        self.beyond_limit = self.beyond_limit or full
        return full

    def _is_still_updated(
        self, key: str, known_contact: _KnownContact | None, contact: dict[str, Any]
    ) -> bool:
        """Return whether a contact that is refused for its opt-out is updated all the same."""
        return (
            self._options.opted_out == "update"
            and known_contact is not None
            and not known_contact.bounced
            and key not in self._dropped
            and bool(list_ids(contact, "subscribe"))
        )

    def _texts(self, contact: dict[str, Any]) -> list[str | None]:
        """Return names, phone number and company as they are saved; None keeps what was there."""
        texts = []
        for name, empty in _TEXTS.items():
            text = as_text(contact.get(name))
            if text == "" and empty and getattr(self._options, empty) == "keep":
                text = None
            texts.append(self._rules.text(text) if text else text)
        return texts

    def _saved_values(self, contact: dict[str, Any]) -> list[tuple[int, str]]:
        """Return the values of custom fields by field; an unknown field is ignored [rep].

        Raises:
            ValueRefusedError: The contact is refused for one of them.
        """
        values = []
        for entry in contact.get("fields") or ():
            number, value = reference(entry["id"]) or 0, as_text(entry["value"]) or ""
            if not self._rules.knows(number):
                continue
            if not value and self._options.empty_field == "keep":
                continue
            saved = self._rules.value(number, value)
            if saved is not None:
                values.append((number, saved))
        return values

    def _add_memberships(self, known_contact: _KnownContact, contact: dict[str, Any]) -> None:
        """Plan memberships; an unknown list is ignored, and an opt-out is not undone [doc]."""
        out = (UNSUBSCRIBED, BOUNCED)
        for number in list_ids(contact, "subscribe"):
            status = known_contact.lists.get(number)
            if number not in self._lists or status == ACTIVE:
                continue
            if status not in out:
                self._add_membership(known_contact, number, ACTIVE)
            elif status == UNSUBSCRIBED and self._options.opted_out == "subscribe":
                known_contact.lists[number] = ACTIVE
                self._reactivated.append((known_contact.id, number))
        for number in list_ids(contact, "unsubscribe"):
            is_stranger = number not in known_contact.lists
            if is_stranger and self._options.unsubscribe_stranger == "ignore":
                continue
            if number in self._lists and known_contact.lists.get(number) not in out:
                self._add_membership(known_contact, number, UNSUBSCRIBED)

    def _add_membership(self, known_contact: _KnownContact, number: int, status: int) -> None:
        known_contact.lists[number] = status
        moment = self._moment
        times = (moment, None) if status == ACTIVE else (None, moment)
        self._members.append((known_contact.id, number, status, *times, moment, moment))

    def _add_tags(self, known_contact: _KnownContact, contact: dict[str, Any]) -> None:
        """Plan tags, by name; "New tags will be created if they do not already exist" [doc]."""
        names = [as_text(tag) or "" for tag in contact.get("tags") or ()]
        if self._options.split_tags == "yes":
            names = [part for name in names for part in name.split(",")]
        for name in map(str.strip, names):
            if name:
                self._tags.append((known_contact.id, self._tag_id(name), self._moment))

    def _tag_id(self, name: str) -> int:
        """Return a tag's id, from a cache of the names that imports repeat."""
        number = self._tag_ids.get(name)
        if number is None:
            if len(self._tag_ids) >= _AT_ONCE:
                self._tag_ids.clear()
            number = self._tag_ids[name] = records.tag_id(
                self._store, name, exact=self._options.tag_case == "exact"
            )
        return number


def list_ids(contact: dict[str, Any], key: str) -> list[int]:
    """Return the ids of the lists under a contact's ``subscribe`` or ``unsubscribe``."""
    return [number for entry in contact.get(key) or () if (number := reference(entry["listid"]))]


def as_text(value: Any) -> str | None:
    """Return a scalar as PHP writes it; None stays None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value)
