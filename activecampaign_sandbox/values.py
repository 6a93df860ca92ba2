"""The values of custom fields: /fieldValues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import records, shapes
from activecampaign_sandbox.pages import read_page
from activecampaign_sandbox.store import pair_id, split_pair
from activecampaign_sandbox.wire import Answer, Call, invalid, not_found, reference, text

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account


def _find(account: Account, number: int) -> Row:
    row = account.store.one(
        "SELECT * FROM field_value WHERE contact = ? AND field = ?", *split_pair(number)
    )
    return row if row is not None else not_found("FieldValue", number)


def index(account: Account, call: Call) -> Answer:
    """GET /fieldValues: ``filters[fieldid]`` and ``filters[val]``, both exact."""
    rows, meta = read_page(
        account,
        call,
        "SELECT * FROM field_value",
        reference(call.arg("filters[fieldid]")),
        call.arg("filters[val]"),
        table="field_value",
        where="(?1 IS NULL OR field = ?1) AND (?2 IS NULL OR value = ?2)",
        order="contact, field",
    )
    values = [shapes.field_value(row, call.base) for row in rows]
    return Answer(200, {"fieldValues": values, "meta": meta})


def _save(account: Account, contact: Row, field: Row, value: str) -> Row:
    """Save a value and return its row; this also updates the contact's ``udate`` [rec]."""
    records.set_value(account.store, contact["id"], field, value)
    records.update_contact(account.store, contact["id"], {})
    return _find(account, pair_id(contact["id"], field["id"]))


def create(account: Account, call: Call) -> Answer:
    """POST /fieldValues: 201; an earlier value of the contact is replaced [rep]."""
    item = call.item("fieldValue")
    contact = records.contact_by_id(account.store, reference(item.get("contact")) or 0)
    if contact is None:
        not_found("Subscriber", text(item, "contact"))
    field = account.store.one("SELECT * FROM field WHERE id = ?", reference(item.get("field")))
    if field is None:
        invalid("Field id not valid", "/data/attributes/field")
    row = _save(account, contact, field, text(item, "value"))
    body = {
        "contacts": [shapes.contact(contact, call.base)],
        "fieldValue": shapes.new_field_value(row, call.base),
    }
    return Answer(201, body)


def read(account: Account, call: Call) -> Answer:
    """GET /fieldValues/:id."""
    return Answer(200, {"fieldValue": shapes.field_value(_find(account, call.id), call.base)})


def update(account: Account, call: Call) -> Answer:
    """PUT /fieldValues/:id."""
    row, item = _find(account, call.id), call.item("fieldValue")
    contact = records.contact_by_id(account.store, row["contact"])
    field = account.store.one("SELECT * FROM field WHERE id = ?", row["field"])
    if contact is None or field is None:
        not_found("FieldValue", call.id)
    saved = _save(account, contact, field, text(item, "value"))
    body = {
        "contacts": [shapes.contact(contact, call.base)],
        "fieldValue": shapes.field_value(saved, call.base),
    }
    return Answer(200, body)


def delete(account: Account, call: Call) -> Answer:
    """DELETE /fieldValues/:id."""
    _find(account, call.id)
    account.store.db.execute(
        "DELETE FROM field_value WHERE contact = ? AND field = ?", split_pair(call.id)
    )
    return Answer(200, {})
