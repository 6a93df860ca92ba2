"""Exclusions: /lists/exclusions. There is no documented way to add or delete one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from activecampaign_sandbox import exclusion_rules, pages, shapes
from activecampaign_sandbox.wire import Answer, Call, fail, invalid, not_found, reference, text

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account

_COLUMNS = (
    "exclusion.*, (SELECT group_concat(list) FROM (SELECT list FROM exclusion_list"
    " WHERE exclusion = exclusion.id ORDER BY list DESC)) AS lists"
)
_SELECT = f"SELECT {_COLUMNS} FROM exclusion"  # noqa: S608 - constant
_FILTERS = ("filters[matchPhrase]", "filters[lists][]")
_ORDERS = {"matchPhrase": "phrase", "lists": "lists"}
_PARAMETER = re.compile(r"(filters|orders)\[.*")
PARAMETERS = pages.PARAMETERS | {*_FILTERS, *(f"orders[{name}]" for name in _ORDERS)}
"""The query parameters of GET /lists/exclusions [doc]."""


def index(account: Account, call: Call) -> Answer:
    """GET /lists/exclusions [doc]; the total is a number, unlike elsewhere.

    ``filters[matchPhrase]`` is a part of the phrase. ``filters[lists][]`` selects the exclusions
    that name one of the lists; whether those of all lists count too is unverified, and so are
    paging and the text for an unknown order.
    """
    _check_permission(account)
    _check_query(call)
    terms: list[tuple[str, list[Any]]] = []
    if (phrase := call.filter_text(_FILTERS[0])) is not None:
        terms.append(("instr(lower(phrase), lower(?)) > 0", [phrase]))
    if call.has(_FILTERS[1]):
        lists = call.filter_ids(_FILTERS[1])
        marks = ", ".join("?" * len(lists))
        inner = f"SELECT exclusion FROM exclusion_list WHERE list IN ({marks})"  # noqa: S608 - marks
        terms.append((f"exclusion.id IN ({inner})", lists))
    order = pages.order_by(call, _ORDERS, "exclusion.id")
    rows, meta = pages.read_page(account, call, _SELECT, terms, table="exclusion", order=order)
    exclusions = [shapes.exclusion(row) for row in rows]
    return Answer(200, {"exclusions": exclusions, "meta": {"total": int(meta["total"])}})


def _check_query(call: Call) -> None:
    """Refuse an unknown filter [doc] or order (its text is unverified) with 422."""
    for name, _ in call.query:
        parameter = _PARAMETER.fullmatch(name)
        if parameter and name not in PARAMETERS:
            _refuse("order" if parameter[1] == "orders" else "filter", name)


def _refuse(kind: str, name: str) -> NoReturn:
    """Refuse an unknown filter [doc] or order with 422."""
    error = {
        "status": 422,
        "title": "Invalid attribute",
        "detail": f"Invalid {kind} field: {name.partition('[')[2].partition(']')[0]}",
        "source": {"pointer": f"/data/attributes/{name}"},
    }
    fail(422, errors=[error])


def _check_permission(account: Account) -> None:
    """Refuse with 403, if the options say so."""
    if account.options.exclusions == "no":
        fail(403, message="You don't have permission to access this resource")


def _find(account: Account, number: int) -> Row:
    _check_permission(account)
    row = account.store.one(f"{_SELECT} WHERE exclusion.id = ?", number)
    return row if row is not None else not_found("Exclusion", number)


def read(account: Account, call: Call) -> Answer:
    """GET /lists/exclusions/:id: the object itself, under no key [doc]."""
    return Answer(200, shapes.exclusion(_find(account, call.id)))


def update(account: Account, call: Call) -> Answer:
    """PUT /lists/exclusions/:id: the object itself, sent and answered under no key [doc].

    That keys which are not sent keep their values is unverified, and so is the answer to values
    that are wrong.
    """
    item = {**shapes.exclusion(_find(account, call.id)), **call.document()}
    given = item["lists"] if isinstance(item["lists"], list) else [None]
    lists = [number for one in given if (number := reference(one)) is not None]
    if len(lists) < len(given):
        invalid("The lists are not valid.", "/data/attributes/lists")
    phrase, kind = text(item, "matchPhrase"), text(item, "matchType")
    try:
        exclusion_rules.change(
            account.store, call.id, phrase, kind, text(item, "channel"), lists=lists
        )
    except ValueError:
        invalid("The exclusion is not valid.", "/data/attributes/matchType")
    account.queue.clear_cache()
    return read(account, call)
