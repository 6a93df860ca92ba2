"""Rows that the API, the import queue and the control API have in common."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any, NamedTuple

from activecampaign_sandbox.clock import CLOCK

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.store import Store

ACTIVE, UNSUBSCRIBED, BOUNCED = 1, 2, 3

# The documented rules: something before the @, no special characters, and in the domain a dot with
# at least two letters after it. Control characters are refused too (unverified), as SQLite's
# comparisons end at U+0000.
_BARRED = r'\s\x00-\x1f\x7f"(),:;<>@\[\\\]'
_EMAIL = re.compile(rf"[^{_BARRED}]+@[^{_BARRED}]+\.[^\W\d_]{{2}}[^{_BARRED}.]*")

_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}

CONTACT_COLUMNS = (
    "contact.*,"
    " (SELECT name FROM organization WHERE id = contact.organization) AS organization_name"
)
CONTACT = f"SELECT {CONTACT_COLUMNS} FROM contact"  # noqa: S608 - constant


class OptOut(NamedTuple):
    """The reason and the origin of an opt-out, as far as they are known; the last three are ids."""

    reason: str | None = None
    campaign: int | None = None
    message: int | None = None
    automation: int | None = None


_UNKNOWN = OptOut()


def now() -> int:
    """Return the account's time, in whole seconds since the epoch."""
    return CLOCK.now()


def email_key(address: str) -> str:
    """Return the key of an address: trimmed, and without case in ASCII, as SQLite's NOCASE."""
    address = address.strip()
    return address.lower() if address.isascii() else address.translate(_LOWER)


def is_valid_email(address: str) -> bool:
    """Return whether an address follows the documented rules."""
    return _EMAIL.fullmatch(address) is not None


def contact_by_email(store: Store, address: str) -> Row | None:
    """Return the contact with this address, compared without case."""
    return store.one(f"{CONTACT} WHERE email = ?", address)


def contact_by_id(store: Store, number: int) -> Row | None:
    """Return the contact with this id."""
    return store.one(f"{CONTACT} WHERE contact.id = ?", number)


def create_contact(store: Store, address: str, columns: dict[str, Any]) -> int:
    """Create a contact and return its id."""
    moment = now()
    number = store.insert(
        "INSERT INTO contact (email, cdate, udate) VALUES (?, ?, ?)", address, moment, moment
    )
    update_contact(store, number, columns)
    return number


def update_contact(store: Store, number: int, columns: dict[str, Any]) -> None:
    """Update columns of a contact; their names must not come from a client."""
    names = "".join(f"{name} = ?, " for name in columns)
    store.db.execute(
        f"UPDATE contact SET {names}udate = ? WHERE id = ?",  # noqa: S608 - names of columns
        (*columns.values(), now(), number),
    )


def organization_id(store: Store, name: str) -> int | None:
    """Return the id of the company with this name, created if it is new; None without a name."""
    if not name:
        return None
    return store.number("SELECT id FROM organization WHERE name = ?", name) or store.insert(
        "INSERT INTO organization (name) VALUES (?)", name
    )


def find_tag(store: Store, name: str, *, exact: bool) -> int | None:
    """Return the id of the tag with this name; without ``exact``, case does not count."""
    collation = "BINARY" if exact else "NOCASE"
    row = store.one(f"SELECT id FROM tag WHERE name = ? COLLATE {collation}", name)  # noqa: S608
    return row["id"] if row is not None else None


def tag_id(store: Store, name: str, *, exact: bool = False) -> int:
    """Return the id of the tag with this name, created if it is new."""
    number = find_tag(store, name, exact=exact)
    return number or store.insert(
        "INSERT INTO tag (name, type, description, cdate, udate) VALUES (?, 'contact', '', ?, ?)",
        name,
        now(),
        now(),
    )


def set_value(store: Store, contact: int, field: int, value: str) -> None:
    """Save a contact's value of a field as it is, replacing an earlier one."""
    moment = now()
    store.db.execute(
        "INSERT INTO field_value (contact, field, value, cdate, udate) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (contact, field) DO UPDATE SET value = excluded.value,"
        " udate = excluded.udate",
        (contact, field, value, moment, moment),
    )


def set_membership(
    store: Store,
    options: Options,
    contact: int,
    list_id: int,
    status: int,
    *,
    source: int = 0,
    opt_out: OptOut = _UNKNOWN,
) -> None:
    """Set the status of a contact on a list.

    The options say which of its dates change when the contact subscribes again, also if it is
    active (unverified). The columns on how an earlier membership ended are overwritten
    (unverified).

    Args:
        store: The account's data, inside a transaction.
        options: The sandbox's options.
        contact: The contact's id.
        list_id: The list's id.
        status: The new status.
        source: The ``sourceid``.
        opt_out: How the membership ended.
    """
    moment = now()
    store.db.execute(
        "INSERT INTO membership (contact, list, status, sourceid, sdate, udate, unsubreason,"
        " campaign, message, unsubscribe_automation, created, updated)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (contact, list) DO UPDATE SET"
        " status = excluded.status, sourceid = excluded.sourceid,"
        " sdate = CASE WHEN ? THEN coalesce(excluded.sdate, sdate)"
        " ELSE coalesce(sdate, excluded.sdate) END,"
        " udate = CASE WHEN ? THEN NULL ELSE coalesce(excluded.udate, udate) END,"
        " updated = excluded.updated,"
        " unsubreason = excluded.unsubreason, campaign = excluded.campaign,"
        " message = excluded.message, unsubscribe_automation = excluded.unsubscribe_automation",
        (
            contact,
            list_id,
            status,
            source,
            moment if status == ACTIVE else None,
            moment if status == UNSUBSCRIBED else None,
            opt_out.reason or "",
            opt_out.campaign,
            opt_out.message,
            opt_out.automation,
            moment,
            moment,
            options.sdate_on_reactivation == "renew",
            status == ACTIVE and options.udate_on_reactivation == "clear",
        ),
    )


def add_bounce(
    store: Store,
    contact: int,
    *,
    hard: bool = True,
    campaign: int | None = None,
    message: int | None = None,
    code: int | None = None,
    error: str = "",
    source: str = "",
) -> None:
    """Record that a mail to a contact bounced: permanently, or softly if not ``hard``.

    The others are the ids and texts that the bounce log shows.
    """
    column = "bounced" if hard else "bounced_soft"
    store.db.execute(
        f"UPDATE contact SET {column} = {column} + 1 WHERE id = ?",  # noqa: S608 - a column
        (contact,),
    )
    store.db.execute(
        "INSERT INTO bounce (contact, at, campaign, message, code, error, source)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (contact, now(), campaign, message, code, error, source),
    )


def add_tag(store: Store, contact: int, tag: int) -> bool:
    """Add a tag to a contact; return False if the contact already had it."""
    cursor = store.db.execute(
        "INSERT OR IGNORE INTO contact_tag (contact, tag, cdate) VALUES (?, ?, ?)",
        (contact, tag, now()),
    )
    return cursor.rowcount > 0
