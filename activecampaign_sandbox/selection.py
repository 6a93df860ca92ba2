"""The query of GET /contacts as SQL: filters and order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox.clock import moment_of
from activecampaign_sandbox.wire import invalid, whole_number

if TYPE_CHECKING:
    from activecampaign_sandbox.wire import Call

    # Conditions, each with the values for its question marks.
    Terms = list[tuple[str, list[Any]]]

_ORDERS = {
    "cdate": "contact.cdate",
    "email": "contact.email",
    "first_name": "contact.first_name",
    "last_name": "contact.last_name",
}


@dataclass(frozen=True)
class Selection:
    """Parts of a query for contacts.

    Attributes:
        source: The tables from which contacts are read.
        counted: The tables in which they are counted: fewer, if those suffice.
        where: The WHERE clause; empty for all contacts.
        values: The values of its question marks.
        order: The ORDER BY clause.
    """

    source: str
    counted: str
    where: str
    values: list[Any]
    order: str


def select(call: Call) -> Selection:
    """Return the selection that a call asks for; unknown filters are ignored."""
    list_id, status = call.number("listid", 0), call.number("status", -1)
    texts = _text_terms(call)
    if list_id:
        # Read a list by its memberships, which the index has in the order of ids: no page needs a
        # sort, and members are counted without reading contacts.
        number = "membership.contact"
        source = "membership JOIN contact ON contact.id = membership.contact"
        counted = source if texts else "membership"
    else:
        number, source, counted = "contact.id", "contact", "contact"
    times = _time_terms(call)
    counted = source if times else counted
    terms = [*_member_terms(list_id, status), *_id_terms(call, number), *texts, *times]
    where = " AND ".join(term for term, _ in terms)
    return Selection(
        source=source,
        counted=counted,
        where=f" WHERE {where}" if where else "",
        values=[value for _, values in terms for value in values],
        order=_order(call, number),
    )


def _member_terms(list_id: int, status: int) -> Terms:
    """Return the condition on list and status; without a list, on the status on any list.

    The default status -1 is any: unsubscribed and bounced members count too.
    """
    if list_id and status >= 0:
        return [("membership.list = ?", [list_id]), ("membership.status = ?", [status])]
    if list_id:
        # The plus disables the index, which has the ids in order within one status only.
        return [("+membership.list = ?", [list_id])]
    if status >= 0:
        inner = "SELECT 1 FROM membership WHERE contact = contact.id AND status = ?"
        return [(f"EXISTS ({inner})", [status])]
    return []


def _id_terms(call: Call, number: str) -> Terms:
    """Return the conditions on a contact's id, which is in the column ``number``."""
    terms: Terms = []
    wanted = [value for key, value in call.query if key == "ids[]"]
    wanted += (call.arg("ids") or "").split(",")
    ids = list({whole_number(value) for value in wanted if value.isdecimal()})
    if ids:
        terms.append((f"{number} IN ({', '.join('?' * len(ids))})", ids))
    for name, sign in (("id_greater", ">"), ("id_less", "<"), ("exclude", "<>")):
        if call.arg(name):
            terms.append((f"{number} {sign} ?", [call.number(name, 0)]))
    if call.number("tagid", 0):
        inner = "SELECT contact FROM contact_tag WHERE tag = ?"
        terms.append((f"{number} IN ({inner})", [call.number("tagid", 0)]))
    return terms


def _text_terms(call: Call) -> Terms:
    """Return the conditions on a contact's address, names and phone number."""
    terms: Terms = []
    for name, term in (
        ("email", "contact.email = ?"),
        ("email_like", "instr(lower(contact.email), lower(?)) > 0"),
        ("phone", "instr(contact.phone, ?) = 1"),
    ):
        if call.arg(name):
            terms.append((term, [call.arg(name)]))
    if call.arg("search"):
        columns = ("email", "first_name", "last_name")
        parts = " OR ".join(f"instr(lower(contact.{name}), lower(?)) > 0" for name in columns)
        terms.append((f"({parts})", [call.arg("search")] * len(columns)))
    return terms


def _time_terms(call: Call) -> Terms:
    """Return the conditions on when a contact was created or last changed [doc].

    The forms of a time that are accepted, and whether one equal to it counts, are unverified.
    """
    terms: Terms = []
    for column in ("created", "updated"):
        for side, sign in (("after", ">"), ("before", "<")):
            name = f"filters[{column}_{side}]"
            if value := call.arg(name):
                try:
                    moment = moment_of(value)
                except (ValueError, OverflowError):
                    invalid("The time is not valid.", f"/data/attributes/{name}")
                terms.append((f"contact.{column[0]}date {sign} ?", [moment]))
    return terms


def _order(call: Call, number: str) -> str:
    """Return the ORDER BY clause of a call; the newest first by default, as recorded."""
    for key, value in call.query:
        name = key[len("orders[") : -1] if key.startswith("orders[") else ""
        column = number if name == "id" else _ORDERS.get(name)
        if column:
            direction = "DESC" if value.upper() == "DESC" else "ASC"
            ties = f", {number} {direction}" if column != number else ""
            return f" ORDER BY {column} {direction}{ties}"
    return f" ORDER BY {number} DESC"
