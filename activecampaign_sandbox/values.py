"""The values of custom fields: /fieldValues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records, shapes
from activecampaign_sandbox.pages import PARAMETERS as PARAMETERS_OF_PAGES
from activecampaign_sandbox.pages import check_filters, read_page
from activecampaign_sandbox.value_rules import ValueRefusedError, ValueRules
from activecampaign_sandbox.wire import Answer, Call, invalid, not_found, reference, text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account


_FILTERS = ("filters[fieldid]", "filters[val]")
PARAMETERS = PARAMETERS_OF_PAGES | set(_FILTERS)
"""The query parameters of GET /fieldValues [doc]."""

_RELATED = "field IN (SELECT field FROM field_rel)"


def find(account: Account, number: int) -> Row:
    """Return a contact's value of a field.

    Raises:
        ApiError: There is none (404).
    """
    row = account.store.one("SELECT * FROM field_value WHERE id = ?", number)
    return row if row is not None else not_found("FieldValue", number)


def of_contact(account: Account, contact: int) -> list[Row]:
    """Return the values of a contact that are shown."""
    hides = account.options.unrelated_field != "store"
    shown = f" AND {_RELATED}" if hides else ""
    return account.store.all(
        f"SELECT * FROM field_value WHERE contact = ?{shown} ORDER BY field",  # noqa: S608
        contact,
    )


def index(account: Account, call: Call) -> Answer:
    """GET /fieldValues: ``filters[fieldid]`` and ``filters[val]``, both exact."""
    check_filters(call, _FILTERS)
    terms: list[tuple[str, list[Any]]] = []
    if (field := call.filter_number("filters[fieldid]")) is not None:
        terms.append(("field = ?", [field]))
    if (value := call.filter_text("filters[val]")) is not None:
        terms.append(("value = ?", [value]))
    if account.options.unrelated_field != "store":
        terms.append((_RELATED, []))
    rows, meta = read_page(
        account, call, "SELECT * FROM field_value", terms,
        table="field_value", order="contact, field",
    )  # fmt: skip
    values = [shapes.field_value(row, call.style) for row in rows]
    return Answer(200, {"fieldValues": values, "meta": meta})


def save(account: Account, contact: int, given: Iterable[tuple[int, str]]) -> list[Row]:
    """Save values of a contact by fields and return their rows; ignore unknown fields [rep].

    Raises:
        ApiError: A value is none of its field's options, and the options refuse that (422).
    """
    rules = ValueRules(account.store, account.options)
    fields = set()
    for field, value in given:
        if not rules.knows(field):
            continue
        try:
            saved = rules.value(field, value)
        except ValueRefusedError:
            invalid("The value is none of the field's options.", "/data/attributes/value")
        if saved is not None:
            records.set_value(account.store, contact, field, saved)
            fields.add(field)
    rows = account.store.all("SELECT * FROM field_value WHERE contact = ? ORDER BY field", contact)
    return [row for row in rows if row["field"] in fields]


def _save_one(account: Account, contact: int, field: int, value: str) -> Row:
    """Save a value and return its row; this also updates the contact's ``udate`` [rec]."""
    rows = save(account, contact, [(field, value)])
    if not rows:  # it was dropped: the row, if any, is the one that was there
        rows = account.store.all(
            "SELECT * FROM field_value WHERE contact = ? AND field = ?", contact, field
        )
    if not rows:
        invalid("The value is none of the field's options.", "/data/attributes/value")
    records.update_contact(account.store, contact, {})
    return rows[0]


def create(account: Account, call: Call) -> Answer:
    """POST /fieldValues: 201; an earlier value of the contact is replaced [rep]."""
    item = call.item("fieldValue")
    contact = records.contact_by_id(account.store, reference(item.get("contact")) or 0)
    if contact is None:
        not_found("Subscriber", text(item, "contact"))
    field = account.store.one("SELECT * FROM field WHERE id = ?", reference(item.get("field")))
    if field is None:
        invalid("Field id not valid", "/data/attributes/field")
    if not ValueRules(account.store, account.options).knows(field["id"]):
        not_found("Field", field["id"])
    row = _save_one(account, contact["id"], field["id"], text(item, "value"))
    body = {
        "contacts": [shapes.contact(contact, call.style)],
        "fieldValue": shapes.new_field_value(row, call.style),
    }
    return Answer(201, body)


def read(account: Account, call: Call) -> Answer:
    """GET /fieldValues/:id."""
    return Answer(200, {"fieldValue": shapes.field_value(find(account, call.id), call.style)})


def update(account: Account, call: Call) -> Answer:
    """PUT /fieldValues/:id."""
    row, item = find(account, call.id), call.item("fieldValue")
    contact = records.contact_by_id(account.store, row["contact"])
    if contact is None:
        not_found("FieldValue", call.id)
    saved = _save_one(account, row["contact"], row["field"], text(item, "value"))
    body = {
        "contacts": [shapes.contact(contact, call.style)],
        "fieldValue": shapes.field_value(saved, call.style),
    }
    return Answer(200, body)


def delete(account: Account, call: Call) -> Answer:
    """DELETE /fieldValues/:id."""
    find(account, call.id)
    account.store.db.execute("DELETE FROM field_value WHERE id = ?", (call.id,))
    return Answer(200, {})
