"""Exclusions: /lists/exclusions. They can be read; there is no documented way to add one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import shapes
from activecampaign_sandbox.pages import read_page
from activecampaign_sandbox.wire import Answer, Call, fail, not_found, reference

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


def index(account: Account, call: Call) -> Answer:
    """GET /lists/exclusions [doc]; the total is a number, unlike elsewhere.

    ``filters[matchPhrase]`` is a part of the phrase. ``filters[lists][]`` selects the exclusions
    that name one of the lists; whether those of all lists count too is unverified, and so are
    paging and the text for an unknown order.
    """
    order = "exclusion.id"
    for name, value in call.query:
        parameter = _PARAMETER.fullmatch(name)
        if parameter and parameter[1] == "orders":
            column = _ORDERS.get(name[len("orders[") : -1]) or _refuse("order", name)
            order = f"{column} {'DESC' if value.upper() == 'DESC' else 'ASC'}, exclusion.id"
        elif parameter and name not in _FILTERS:
            _refuse("filter", name)
    lists = [reference(value) or 0 for name, value in call.query if name == _FILTERS[1]]
    marks = ", ".join(f"?{number}" for number in range(2, 2 + len(lists)))
    inner = f"SELECT exclusion FROM exclusion_list WHERE list IN ({marks})"  # noqa: S608 - marks
    rows, meta = read_page(
        account,
        call,
        _SELECT,
        call.arg(_FILTERS[0]),
        *lists,
        table="exclusion",
        where="(?1 IS NULL OR instr(lower(phrase), lower(?1)))"
        + (f" AND exclusion.id IN ({inner})" if lists else ""),
        order=order,
    )
    exclusions = [shapes.exclusion(row) for row in rows]
    return Answer(200, {"exclusions": exclusions, "meta": {"total": int(meta["total"])}})


def _refuse(kind: str, name: str) -> Any:
    """Refuse an unknown filter [doc] or order with 422."""
    error = {
        "status": 422,
        "title": "Invalid attribute",
        "detail": f"Invalid {kind} field: {name.partition('[')[2].partition(']')[0]}",
        "source": {"pointer": f"/data/attributes/{name}"},
    }
    fail(422, errors=[error])


def read(account: Account, call: Call) -> Answer:
    """GET /lists/exclusions/:id: the object itself, under no key [doc]."""
    row: Row | None = account.store.one(f"{_SELECT} WHERE exclusion.id = ?", call.id)
    return Answer(
        200, shapes.exclusion(row if row is not None else not_found("Exclusion", call.id))
    )
