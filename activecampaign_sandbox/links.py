"""The links in answers: what each leads to.

A link to something that the sandbox has is served; one to things of which a new account has none
answers with an empty collection, in a form that is unverified. `NOT_SERVED` are the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import contacts, fields, lists, memberships, shapes, tags, users, values
from activecampaign_sandbox.wire import Answer, Call, not_found

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account

    Finder = Callable[[Account, int], Row]
    Handler = Callable[[Account, Call], Answer]

_PARAMETERS = frozenset({"limit", "offset", "orders[lastdate]"})

# Links to things of which the sandbox has none.
_NOTHING: dict[str, tuple[str, ...]] = {
    "contacts": (
        *("contactAutomations", "contactGoals", "contactLogs", "contactDeals", "deals", "geoIps"),
        *("notes", "trackingLogs", "scoreValues", "automationEntryCounts"),
    ),
    "lists": ("contactGoalLists", "addressLists"),
    "tags": ("contactGoalTags",),
    "users": ("dealGroupTotals", "dealGroupUsers", "configs"),
}
NOT_SERVED: dict[str, tuple[str, ...]] = {
    "contacts": ("contactData", "plusAppend"),
    "contactLists": (
        *("automation", "form", "autosyncLog", "campaign", "unsubscribeAutomation", "message"),
    ),
    "bounceLogs": ("bounce", "campaign", "message", "code"),
    "listGroups": ("group",),
    "userGroups": ("group",),
    "users": ("dealConnection", "userConversationsPermission", "seatUser"),
}
"""The links that lead to a 404, by resource."""


def _find_bounce(account: Account, number: int) -> Row:
    row = account.store.one("SELECT * FROM bounce WHERE id = ?", number)
    return row if row is not None else not_found("BounceLog", number)


def _find_list_group(account: Account, number: int) -> Row:
    row = account.store.one("SELECT * FROM list_group WHERE id = ?", number)
    return row if row is not None else not_found("ListGroup", number)


def _nothing(name: str, find: Finder | None) -> Handler:
    """Return a handler that answers with an empty collection."""

    def answer(account: Account, call: Call) -> Answer:
        if find is not None:
            find(account, call.id)
        return Answer(200, {name: []})

    return answer


def _other(find: Finder, column: str, read: Handler) -> Handler:
    """Return a handler that answers with the resource whose id is in a column of another."""

    def answer(account: Account, call: Call) -> Answer:
        call.params["id"] = find(account, call.id)[column]
        return read(account, call)

    return answer


def _options(account: Account, call: Call) -> Answer:
    fields.find(account, call.id)
    rows = account.store.all("SELECT * FROM field_option WHERE field = ?", call.id)
    return Answer(200, {"fieldOptions": [shapes.option(row, call.style) for row in rows]})


def _relations(account: Account, call: Call) -> Answer:
    fields.find(account, call.id)
    rows = account.store.all("SELECT * FROM field_rel WHERE field = ?", call.id)
    return Answer(200, {"fieldRels": [shapes.field_rel(row) for row in rows]})


def _organization(account: Account, call: Call) -> Answer:
    row = contacts.find(account, call.id)
    number = row["organization"]
    organization = {"name": row["organization_name"], "links": [], "id": str(number)}
    return Answer(200, {"organization": organization if number else None})


def _account_contacts(account: Account, call: Call) -> Answer:
    row = contacts.find(account, call.id)
    return Answer(200, {"accountContacts": shapes.account_contact_links(row)})


def _user(account: Account, call: Call) -> Answer:
    return users.me(account, call)


_FINDERS: dict[str, Finder | None] = {
    "contacts": contacts.find,
    "lists": lists.find,
    "tags": tags.find,
    "users": None,
}
_OTHERS: tuple[tuple[str, Finder, str, Handler], ...] = (
    ("contactLists/{id:number}/contact", memberships.find, "contact", contacts.read),
    ("contactLists/{id:number}/list", memberships.find, "list", lists.read),
    ("contactTags/{id:number}/contact", tags.find_contact_tag, "contact", contacts.read),
    ("contactTags/{id:number}/tag", tags.find_contact_tag, "tag", tags.read),
    ("fieldValues/{id:number}/owner", values.find, "contact", contacts.read),
    ("fieldValues/{id:number}/field", values.find, "field", fields.read),
    ("fieldOptions/{id:number}/field", fields.find_option, "field", fields.read),
    ("bounceLogs/{id:number}/contact", _find_bounce, "contact", contacts.read),
    ("listGroups/{id:number}/list", _find_list_group, "list", lists.read),
)

ROUTES: tuple[tuple[str, Handler, frozenset[str]], ...] = (
    *(
        (f"{resource}/{{id:number}}/{name}", _nothing(name, _FINDERS[resource]), _PARAMETERS)
        for resource, names in _NOTHING.items()
        for name in names
    ),
    *((path, _other(find, column, read), frozenset()) for path, find, column, read in _OTHERS),
    ("contacts/{id:number}/organization", _organization, frozenset()),
    ("contacts/{id:number}/accountContacts", _account_contacts, _PARAMETERS),
    ("fields/{id:number}/options", _options, _PARAMETERS),
    ("fields/{id:number}/relations", _relations, _PARAMETERS),
    ("lists/{id:number}/user", _user, frozenset()),
    ("users/{id:number}/lists", lists.index, lists.PARAMETERS),
    ("userGroups/{id:number}/user", _user, frozenset()),
)
"""The paths of links, with their handlers and query parameters."""
