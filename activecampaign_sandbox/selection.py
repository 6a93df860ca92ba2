"""The query of GET /contacts as SQL: filters and order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox.clock import moment_of
from activecampaign_sandbox.records import ACTIVE
from activecampaign_sandbox.wire import invalid, refuse_query

if TYPE_CHECKING:
    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.wire import Call

    # Conditions, each with the values for its question marks.
    Terms = list[tuple[str, list[Any]]]

_ORDERS = {
    "id": ("",),
    "cdate": ("contact.cdate",),
    "email": ("contact.email",),
    "first_name": ("contact.first_name",),
    "last_name": ("contact.last_name",),
    "name": ("contact.first_name", "contact.last_name"),
    "score": (),  # nobody has a score here, so that all are equal
}
_TIMES = {
    f"filters[{column}_{side}]": f"contact.{column[0]}date {sign} ?"
    for column in ("created", "updated")
    for side, sign in (("after", ">"), ("before", "<"))
}
_ORGANIZATION = "(SELECT name FROM organization WHERE id = contact.organization)"
_SEARCHED = (
    "contact.email",
    "contact.first_name || ' ' || contact.last_name",
    "contact.phone",
    f"coalesce({_ORGANIZATION}, '')",
)

# Filters of the API for things that the sandbox does not have; 0 is none.
_NOT_SERVED = ("segmentid", "formid", "seriesid", "waitid")

PARAMETERS = frozenset(
    {
        *("ids", "ids[]", "email", "email_like", "exclude", "id_greater", "id_less", "listid"),
        *("phone", "search", "status", "tagid", "include", "limit", "offset"),
        # Neither has an effect here: the key's user may see all lists.
        *("in_group_lists", "forceQuery"),
        *(*_NOT_SERVED, *_TIMES, *(f"orders[{name}]" for name in _ORDERS)),
    }
)
"""The query parameters of GET /contacts [doc]."""


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


def select(call: Call, options: Options) -> Selection:
    """Return the selection that a call asks for.

    Raises:
        ApiError: A filter is unknown, has no value that can be used, or needs what the sandbox
            does not have. A filter without effect would select every contact.
    """
    _check_filters(call)
    list_id, status = call.filter_number("listid") or 0, call.filter_number("status")
    if list_id and status is None and options.listid_alone == "active":
        status = ACTIVE
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
    terms = [
        *_member_terms(list_id, -1 if status is None else status),
        *_id_terms(call, number, with_ids=options.ids_filter == "applied"),
        *texts,
        *times,
    ]
    where = " AND ".join(term for term, _ in terms)
    return Selection(
        source=source,
        counted=counted,
        where=f" WHERE {where}" if where else "",
        values=[value for _, values in terms for value in values],
        order=_order(call, number),
    )


def _check_filters(call: Call) -> None:
    """Refuse filters that the sandbox can't apply."""
    for name, _ in call.query:
        if name.startswith("filters") and name not in _TIMES:
            refuse_query(name, "it is no filter of contacts that the sandbox knows.")
    for name in _NOT_SERVED:
        if call.filter_number(name):
            refuse_query(name, "the sandbox has no segments, forms and automations.", 501)


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


def _id_terms(call: Call, number: str, *, with_ids: bool) -> Terms:
    """Return the conditions on a contact's id, which is in the column ``number``."""
    terms: Terms = []
    if with_ids and any(call.has(name) for name in ("ids[]", "ids")):
        ids = call.filter_ids("ids[]", "ids")
        terms.append((f"{number} IN ({', '.join('?' * len(ids))})", ids))
    for name, sign in (("id_greater", ">"), ("id_less", "<")):
        bound = call.filter_number(name)
        if bound is not None:
            terms.append((f"{number} {sign} ?", [bound]))
    if call.has("exclude"):
        excluded = call.filter_ids("exclude")
        terms.append((f"{number} NOT IN ({', '.join('?' * len(excluded))})", excluded))
    if tag := call.filter_number("tagid"):
        inner = "SELECT contact FROM contact_tag WHERE tag = ?"
        terms.append((f"{number} IN ({inner})", [tag]))
    return terms


def _text_terms(call: Call) -> Terms:
    """Return the conditions on a contact's address, names, company and phone number."""
    terms: Terms = []
    for name, term in (
        ("email", "contact.email = ?"),
        ("email_like", "instr(lower(contact.email), lower(?)) > 0"),
        ("phone", "instr(contact.phone, ?) = 1"),
    ):
        if (value := call.filter_text(name)) is not None:
            terms.append((term, [value]))
    if (value := call.filter_text("search")) is not None:
        parts = " OR ".join(f"instr(lower({text}), lower(?)) > 0" for text in _SEARCHED)
        terms.append((f"({parts})", [value] * len(_SEARCHED)))
    return terms


def _time_terms(call: Call) -> Terms:
    """Return the conditions on when a contact was created or last changed [doc].

    The forms of a time that are accepted, and whether one equal to it counts, are unverified.
    """
    terms: Terms = []
    for name, term in _TIMES.items():
        if (value := call.filter_text(name)) is not None:
            try:
                terms.append((term, [moment_of(value)]))
            except (ValueError, OverflowError):
                invalid("The time is not valid.", f"/data/attributes/{name}")
    return terms


def _order(call: Call, number: str) -> str:
    """Return the ORDER BY clause of a call; the newest first by default, as recorded."""
    terms: list[str] = []
    last = "DESC"
    for key, value in call.query:
        columns = _ORDERS.get(key[len("orders[") : -1]) if key.startswith("orders[") else None
        if columns is not None:
            last = "DESC" if value.upper() == "DESC" else "ASC"
            terms += [f"{column or number} {last}" for column in columns]
    if number not in {term.partition(" ")[0] for term in terms}:
        terms.append(f"{number} {last}")
    return f" ORDER BY {', '.join(terms)}"
