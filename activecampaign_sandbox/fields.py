"""Custom fields: /fields, /fieldRels, /fieldOption/bulk, /fieldOptions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import pages, records, shapes
from activecampaign_sandbox.value_rules import ValueRules
from activecampaign_sandbox.wire import (
    Answer,
    Call,
    fail,
    invalid,
    not_found,
    parse,
    reference,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.shapes import Style
    from activecampaign_sandbox.store import Store

_FILTERS = ("filters[perstag]",)
PARAMETERS = pages.PARAMETERS | set(_FILTERS)
"""The query parameters of GET /fields [doc]."""

_TYPES = {
    "dropdown", "hidden", "checkbox", "date", "text", "datetime", "textarea", "NULL", "listbox",
    "radio", "number",
}  # fmt: skip


def find(account: Account, number: int) -> Row:
    """Return a field.

    Raises:
        ApiError: There is none (404).
    """
    row = account.store.one("SELECT * FROM field WHERE id = ?", number)
    return row if row is not None else not_found("Field", number)


def _embedded(account: Account, rows: Iterable[Row], style: Style) -> dict[str, list[Any]]:
    """Return fields with the ids of their options and relations, and the latter in own lists."""
    body: dict[str, list[Any]] = {"fieldOptions": [], "fieldRels": [], "fields": []}
    for row in rows:
        options = account.store.all("SELECT * FROM field_option WHERE field = ?", row["id"])
        relations = account.store.all("SELECT * FROM field_rel WHERE field = ?", row["id"])
        body["fieldOptions"] += [shapes.option(option, style) for option in options]
        body["fieldRels"] += [shapes.field_rel(relation) for relation in relations]
        field = shapes.field(row, style)
        field["options"] = [str(option["id"]) for option in options]
        field["relations"] = [str(relation["id"]) for relation in relations]
        body["fields"].append(field)
    return body


def index(account: Account, call: Call) -> Answer:
    """GET /fields, with all options and relations; pages of 20 by default [rep]."""
    pages.check_filters(call, _FILTERS)
    perstag = call.filter_text("filters[perstag]")
    terms = [] if perstag is None else [("perstag = ?", [perstag])]
    rows, meta = pages.read_page(account, call, "SELECT * FROM field", terms, table="field")
    body = _embedded(account, rows, call.style)
    return Answer(200, {**body, "meta": {**meta, "selected": None}})


def create_field(store: Store, item: dict[str, Any]) -> int:
    """Create a field and return its id; its personalisation tag is upper-cased [rec].

    Raises:
        ApiError: Title or type is missing or unknown, or the title is taken (422).
    """
    title, kind = text(item, "title").strip(), text(item, "type")
    if not title:
        invalid("The field's title is required.", "/data/attributes/title", "field_missing")
    if kind not in _TYPES:
        invalid("The field's type is not valid.", "/data/attributes/type", "field_invalid")
    if store.one("SELECT 1 FROM field WHERE title = ?", title):
        fail(422, errors=[_taken(title)])
    perstag = _free_perstag(store, text(item, "perstag"), title)
    moment = records.now()
    return store.insert(
        "INSERT INTO field (title, descript, type, isrequired, perstag, defval, visible,"
        " ordernum, cdate, udate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        title, text(item, "descript"), kind, text(item, "isrequired", "0"), perstag,
        text(item, "defval"), text(item, "visible", "1"),
        store.number("SELECT count(*) FROM field") + 1, moment, moment,
    )  # fmt: skip


def _taken(title: str) -> dict[str, str]:
    return {
        "title": "There is already a field with this title",
        "detail": f"There is already a field named '{title}' -- choose another name",
        "code": "duplicate",
    }


def _free_perstag(store: Store, wish: str, title: str) -> str:
    """Return a field's tag: the wished one without blanks, in capitals [rec], else of the title.

    How it is made of a title, and the number of one that is taken, is unverified.
    """
    wish = re.sub(r"\s+", "", wish.strip("% ")) or title
    perstag = re.sub(r"\W+", "_", wish).strip("_").upper() or "FIELD"
    number = 1
    candidate = perstag
    while store.one("SELECT 1 FROM field WHERE perstag = ?", candidate):
        number += 1
        candidate = f"{perstag}_{number}"
    return candidate


def create(account: Account, call: Call) -> Answer:
    """POST /fields."""
    item = call.item("field")
    number = create_field(account.store, item)
    return Answer(201, {"field": shapes.new_field(find(account, number), call.style, item)})


def read(account: Account, call: Call) -> Answer:
    """GET /fields/:id, with its options and relations."""
    row = find(account, call.id)
    if not ValueRules(account.store, account.options).knows(call.id):
        not_found("Field", call.id)
    body: dict[str, Any] = _embedded(account, [row], call.style)
    body["field"] = body.pop("fields")[0]
    return Answer(200, body)


def update(account: Account, call: Call) -> Answer:
    """PUT /fields/:id."""
    row, item = find(account, call.id), call.item("field")
    title = text(item, "title", row["title"])
    if account.store.one("SELECT 1 FROM field WHERE title = ? AND id <> ?", title, call.id):
        fail(422, errors=[_taken(title)])
    position = reference(item.get("ordernum"))
    names = ("descript", "type", "isrequired", "defval", "visible")
    account.store.db.execute(
        "UPDATE field SET title = ?, descript = ?, type = ?, isrequired = ?, defval = ?,"
        " visible = ?, ordernum = coalesce(?, ordernum), udate = ? WHERE id = ?",
        (
            title,
            *(text(item, name, row[name]) for name in names),
            position,
            records.now(),
            call.id,
        ),
    )
    return Answer(200, {"field": shapes.field(find(account, call.id), call.style)})


def delete(account: Account, call: Call) -> Answer:
    """DELETE /fields/:id: its options, relations and values are deleted too."""
    find(account, call.id)
    account.store.db.execute("DELETE FROM field WHERE id = ?", (call.id,))
    for table in ("field_option", "field_rel", "field_value"):
        account.store.db.execute(
            f"DELETE FROM {table} WHERE field = ?",  # noqa: S608 - constant names
            (call.id,),
        )
    return Answer(200, {})


def create_rel(store: Store, field: int, relid: int) -> int:
    """Relate a field to a list, or to all by 0, and return the relation's id."""
    return store.insert(
        "INSERT INTO field_rel (field, relid, cdate) VALUES (?, ?, ?)", field, relid, records.now()
    )


def relate(account: Account, call: Call) -> Answer:
    """POST /fieldRels."""
    item = call.item("fieldRel")
    field = find(account, reference(item.get("field")) or 0)
    relid = reference(item.get("relid"))
    if relid is None:
        invalid("The relid is required.", "/data/attributes/relid", "field_missing")
    number = create_rel(account.store, field["id"], relid)
    return Answer(201, {"fieldRel": shapes.new_field_rel(_find_relation(account, number))})


def _find_relation(account: Account, number: int) -> Row:
    row = account.store.one("SELECT * FROM field_rel WHERE id = ?", number)
    return row if row is not None else not_found("FieldRel", number)


def relations(account: Account, call: Call) -> Answer:
    """GET /fieldRels."""
    rows, meta = pages.read_page(account, call, "SELECT * FROM field_rel", table="field_rel")
    return Answer(200, {"fieldRels": [shapes.field_rel(row) for row in rows], "meta": meta})


def read_relation(account: Account, call: Call) -> Answer:
    """GET /fieldRels/:id."""
    return Answer(200, {"fieldRel": shapes.field_rel(_find_relation(account, call.id))})


def delete_relation(account: Account, call: Call) -> Answer:
    """DELETE /fieldRels/:id."""
    _find_relation(account, call.id)
    account.store.db.execute("DELETE FROM field_rel WHERE id = ?", (call.id,))
    return Answer(200, {})


def create_option(store: Store, field: int, item: dict[str, Any]) -> int:
    """Add an option to a field and return the option's id."""
    moment = records.now()
    return store.insert(
        "INSERT INTO field_option (field, orderid, value, label, isdefault, cdate, udate)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        field, text(item, "orderid", "0"), text(item, "value"),
        text(item, "label", text(item, "value")), text(item, "isdefault", "0"), moment, moment,
    )  # fmt: skip


def create_options(account: Account, call: Call) -> Answer:
    """POST /fieldOption/bulk."""
    try:
        items = parse(call.body)["fieldOptions"]
    except (ValueError, TypeError, KeyError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        fail(
            422,
            errors="Bulk operation failed. Request must contain an array of fieldOption objects.",
        )
    numbers = []
    for item in items:
        field = find(account, reference(item.get("field")) or 0)
        numbers.append(create_option(account.store, field["id"], item))
    created = [shapes.new_option(find_option(account, number), call.style) for number in numbers]
    return Answer(201, {"fieldOptions": created})


def find_option(account: Account, number: int) -> Row:
    """Return an option of a field.

    Raises:
        ApiError: There is none (404).
    """
    row = account.store.one("SELECT * FROM field_option WHERE id = ?", number)
    return row if row is not None else not_found("FieldOption", number)


def read_option(account: Account, call: Call) -> Answer:
    """GET /fieldOptions/:id."""
    return Answer(200, {"fieldOption": shapes.option(find_option(account, call.id), call.style)})


def delete_option(account: Account, call: Call) -> Answer:
    """DELETE /fieldOptions/:id."""
    find_option(account, call.id)
    account.store.db.execute("DELETE FROM field_option WHERE id = ?", (call.id,))
    return Answer(200, {})
