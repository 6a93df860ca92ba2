"""Which contacts the query of GET /contacts asks for, and in which order, as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox.wire import whole_number

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
        source: The tables to read them from.
        counted: The tables to count them in: fewer, where those hold all that is asked for.
        where: The WHERE clause, empty for all contacts.
        values: What its question marks stand for.
        order: The ORDER BY clause.
    """

    source: str
    counted: str
    where: str
    values: list[Any]
    order: str


def select(call: Call) -> Selection:
    """The contacts that a call asks for; filters that aren't known are ignored."""
    list_id, status = call.number("listid", 0), call.number("status", -1)
    texts = _text_terms(call)
    if list_id:
        # A list is read from its memberships, in the order of their ids: a page begins where it
        # starts, and what follows is counted without a look at the contacts.
        number = "membership.contact"
        source = "membership JOIN contact ON contact.id = membership.contact"
        counted = source if texts else "membership"
    else:
        number, source, counted = "contact.id", "contact", "contact"
    terms = [*_member_terms(list_id, status), *_id_terms(call, number), *texts]
    where = " AND ".join(term for term, _ in terms)
    return Selection(
        source=source,
        counted=counted,
        where=f" WHERE {where}" if where else "",
        values=[value for _, values in terms for value in values],
        order=_order(call, number),
    )


def _member_terms(list_id: int, status: int) -> Terms:
    """Being on this list with this status; without a list, having the status on any.

    An unsubscribed or bounced member is still the list's, as the default status -1 is any.
    """
    if list_id and status >= 0:
        return [("membership.list = ?", [list_id]), ("membership.status = ?", [status])]
    if list_id:
        # The plus keeps off the index, which has the ids in order within one status only.
        return [("+membership.list = ?", [list_id])]
    if status >= 0:
        inner = "SELECT 1 FROM membership WHERE contact = contact.id AND status = ?"
        return [(f"EXISTS ({inner})", [status])]
    return []


def _id_terms(call: Call, number: str) -> Terms:
    """What is asked of a contact's id, which stands in the column ``number``."""
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
    """What is asked of a contact's address, names and phone number."""
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


def _order(call: Call, number: str) -> str:
    """The query's ORDER BY; the newest first without one, as recorded."""
    for key, value in call.query:
        name = key[len("orders[") : -1] if key.startswith("orders[") else ""
        column = number if name == "id" else _ORDERS.get(name)
        if column:
            direction = "DESC" if value.upper() == "DESC" else "ASC"
            ties = f", {number} {direction}" if column != number else ""
            return f" ORDER BY {column} {direction}{ties}"
    return f" ORDER BY {number} DESC"
