"""Lists: /lists, and the groups of users that see them: /listGroups."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import pages, records, shapes
from activecampaign_sandbox.wire import Answer, Call, invalid, not_found, reference, text

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.store import Store

_LIST = (
    "SELECT list.*,"
    " (SELECT count(*) FROM membership WHERE membership.list = list.id AND status = 1) AS active,"
    " (SELECT count(*) FROM membership WHERE membership.list = list.id) AS members FROM list"
)
_NAME = "filters[name]"
_ORDERS = {"name": "name", "id": "id"}
_FILTERS = pages.text_filters(_NAME) | {"filters[id]", "filters[channel]"}
PARAMETERS = pages.PARAMETERS | _FILTERS | {f"orders[{name}]" for name in _ORDERS}
"""The query parameters of GET /lists [doc]."""

_REQUIRED = ("name", "sender_url", "sender_reminder")
_CHANNELS = ("email", "sms")
# The optional keys of a request, with their columns.
_OPTIONAL = {
    "user": "userid",
    "send_last_broadcast": "send_last_broadcast",
    "carboncopy": "carboncopy",
    "subscription_notify": "subscription_notify",
    "unsubscription_notify": "unsubscription_notify",
    "channel": "channel",
}


def find(account: Account, number: int) -> Row:
    """Return a list.

    Raises:
        ApiError: There is none: 404 with the model's documented name ``_List``.
    """
    row = account.store.one(f"{_LIST} WHERE id = ?", number)
    return row if row is not None else not_found("_List", number)


def index(account: Account, call: Call) -> Answer:
    """GET /lists [doc]: ``filters[name]`` is a part of the name."""
    pages.check_filters(call, _FILTERS)
    terms = list(pages.text_terms(call, _NAME, "name"))
    if (number := call.filter_number("filters[id]")) is not None:
        terms.append(("id = ?", [number]))
    if (channel := call.filter_text("filters[channel]")) is not None:
        terms.append(("channel = ?", [channel]))
    order = pages.order_by(call, _ORDERS, "id")
    rows, meta = pages.read_page(account, call, _LIST, terms, table="list", order=order)
    return Answer(200, {"lists": [shapes.list_(row, call.style) for row in rows], "meta": meta})


def create(account: Account, call: Call) -> Answer:
    """POST /lists; without a ``stringid`` it is derived from the name [rep]."""
    item = call.item("list")
    for key in _REQUIRED:
        if not text(item, key):
            invalid(f"The list's {key} is required.", f"/data/attributes/{key}", "field_missing")
    stringid = text(item, "stringid") or _free_stringid(account.store, text(item, "name"))
    columns = {**_columns(item), "stringid": stringid}
    moment = records.now()
    number = account.store.insert(
        f"INSERT INTO list ({', '.join(columns)}, cdate, udate)"  # noqa: S608 - our own names
        f" VALUES ({'?, ' * len(columns)}?, ?)",
        *columns.values(), moment, moment,
    )  # fmt: skip
    return Answer(201, {"list": shapes.new_list(find(account, number), call.style)})


def _columns(item: dict[str, Any]) -> dict[str, str]:
    """Return the columns that a request sets, with their values."""
    columns = {key: text(item, key) for key in _REQUIRED}
    for key, column in _OPTIONAL.items():
        if item.get(key) is not None:
            # False is 0 here, unlike in other texts.
            columns[column] = text(item, key) or ("0" if item[key] is False else "")
    if columns.get("channel", _CHANNELS[0]) not in _CHANNELS:
        invalid("The list's channel is not valid.", "/data/attributes/channel")
    return columns


def _free_stringid(store: Store, name: str) -> str:
    """Return a list's name for URLs, with a number if it is taken (unverified)."""
    slug = re.sub(r"[\W_]+", "-", name.lower()).strip("-") or "list"
    number, candidate = 1, slug
    while store.one("SELECT 1 FROM list WHERE stringid = ?", candidate):
        number += 1
        candidate = f"{slug}-{number}"
    return candidate


def read(account: Account, call: Call) -> Answer:
    """GET /lists/:id."""
    return Answer(200, {"list": shapes.list_(find(account, call.id), call.style)})


def update(account: Account, call: Call) -> Answer:
    """PUT /lists/:id. A partial update changes nothing: its answer is empty, with a code [rec].

    That it changes nothing is reported; that it is the lack of these keys is unverified.
    """
    row, item = find(account, call.id), call.item("list")
    if not all(text(item, key) for key in _REQUIRED):
        return Answer(200, b"", {"X-Ac-Error": "Code 9001"})
    columns = {**_columns(item), "stringid": text(item, "stringid", row["stringid"])}
    account.store.db.execute(
        f"UPDATE list SET {''.join(f'{column} = ?, ' for column in columns)}udate = ?"  # noqa: S608
        " WHERE id = ?",
        (*columns.values(), records.now(), call.id),
    )
    return Answer(200, {"list": shapes.list_(find(account, call.id), call.style)})


def delete(account: Account, call: Call) -> Answer:
    """DELETE /lists/:id: its memberships are deleted too."""
    find(account, call.id)
    account.store.db.execute("DELETE FROM list WHERE id = ?", (call.id,))
    account.store.db.execute("DELETE FROM membership WHERE list = ?", (call.id,))
    account.store.db.execute("DELETE FROM field_rel WHERE relid = ?", (call.id,))
    account.store.db.execute("DELETE FROM exclusion_list WHERE list = ?", (call.id,))
    account.store.db.execute("DELETE FROM list_group WHERE list = ?", (call.id,))
    account.queue.clear_cache()
    return Answer(200, {})


def add_group(account: Account, call: Call) -> Answer:
    """POST /listGroups: show a list to a group of users [doc]; here all lists are shown anyway."""
    item = call.item("listGroup")
    row = find(account, reference(item.get("listid")) or 0)
    if reference(item.get("groupid")) != shapes.GROUP:
        not_found("Group", text(item, "groupid"))
    account.store.db.execute(
        "INSERT OR IGNORE INTO list_group (list, user_group) VALUES (?, ?)",
        (row["id"], shapes.GROUP),
    )
    return Answer(
        201, {"listGroup": shapes.list_group(_find_group(account, row["id"]), call.style)}
    )


def _find_group(account: Account, list_id: int) -> Row:
    row = account.store.one("SELECT * FROM list_group WHERE list = ?", list_id)
    return row if row is not None else not_found("ListGroup", list_id)
