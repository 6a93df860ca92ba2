"""Contacts: /contacts and its subresources, and /contact/sync."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NoReturn

from activecampaign_sandbox import records, shapes
from activecampaign_sandbox import values as field_values
from activecampaign_sandbox.memberships import MEMBERSHIP
from activecampaign_sandbox.pages import page_bounds
from activecampaign_sandbox.selection import select
from activecampaign_sandbox.value_rules import ValueRules
from activecampaign_sandbox.wire import (
    Answer,
    Call,
    fail,
    invalid,
    not_found,
    reference,
    refuse_query,
    text,
)

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.shapes import Style

_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
_EMAIL_POINTER = "/data/attributes/email"
_COLUMNS = {"firstName": "first_name", "lastName": "last_name", "phone": "phone"}


def find(account: Account, number: int) -> Row:
    """Return a contact.

    Raises:
        ApiError: There is none: 404 with the model's name ``Subscriber``.
    """
    row = records.contact_by_id(account.store, number)
    return row if row is not None else not_found("Subscriber", number)


def index(account: Account, call: Call) -> Answer:
    """GET /contacts."""
    limit, offset = page_bounds(call, account.options)
    chosen = select(call, account.options)
    rows = account.store.all(
        f"SELECT {records.CONTACT_COLUMNS} FROM {chosen.source}"  # noqa: S608 - our own names
        f"{chosen.where}{chosen.order} LIMIT ? OFFSET ?",
        *chosen.values, limit, offset,
    )  # fmt: skip
    total = account.store.number(
        f"SELECT count(*) FROM {chosen.counted}{chosen.where}",  # noqa: S608 - our own names
        *chosen.values,
    )
    beside = _included(account, call, [row["id"] for row in rows])
    contacts = []
    for row in rows:
        contact = shapes.contact(row, call.style)
        contact["scoreValues"] = []
        contact["accountContacts"] = shapes.account_contacts(row)
        for name, items in beside.items():
            contact[name] = [one["id"] for one in items if one["contact"] == contact["id"]]
        contacts.append(contact)
    page_input = {
        "segmentid": 0,
        "formid": 0,
        "listid": call.number("listid", 0),
        "tagid": call.number("tagid", 0),
        "limit": limit,
        "offset": offset,
        "search": call.arg("search"),
        "sort": None,
        "seriesid": 0,
        "waitid": 0,
        "status": call.number("status", -1),
        "forceQuery": 0,
        "cacheid": hashlib.md5(call.query_string.encode(), usedforsecurity=False).hexdigest(),
    }
    meta = {"total": str(total), "sortable": True, "page_input": page_input}
    body = {"scoreValues": [], **beside, "contacts": contacts, "meta": meta}
    return Answer(200, body, dict(_ANY_ORIGIN))


def _included(account: Account, call: Call, ids: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Return what ``include`` asks for of these contacts, by its name; the form is unverified."""
    if account.options.include != "yes":
        return {}
    read = {"contactLists": _memberships, "contactTags": _tags, "fieldValues": _values}
    names = [name.strip() for name in (call.arg("include") or "").split(",") if name.strip()]
    for name in names:
        if name not in read:
            refuse_query("include", f"the sandbox includes only {', '.join(read)}.", 501)
    return {
        name: [row for number in ids for row in read[name](account, call.style, number)]
        for name in names
    }


def _columns(account: Account, item: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that a request changes, with their values."""
    rules = ValueRules(account.store, account.options)
    columns: dict[str, Any] = {
        column: rules.text(text(item, key))
        for key, column in _COLUMNS.items()
        if item.get(key) is not None
    }
    if "email" in item:
        columns["email"] = _email(account, item)
    return columns


def _email(account: Account, item: dict[str, Any]) -> str:
    address = text(item, "email").strip()
    is_refused = bool(account.malformed) and records.email_key(address) in account.malformed
    if is_refused or not records.is_valid_email(address):
        error = {
            "title": "Contact Email Address is not valid.",
            "code": "email_invalid",
            "error": "must_be_valid_email_address",
            "source": {"pointer": _EMAIL_POINTER},
        }
        fail(int(account.options.invalid_email_status), errors=[error])
    return address


def _duplicate() -> NoReturn:
    title = "Email address already exists in the system"
    invalid(title, _EMAIL_POINTER, code="duplicate")


def _refuse_excluded(account: Account, address: str) -> None:
    """Refuse an address on the exclusion list that no contact has yet; the answer is unverified."""
    if account.queue.exclusions().covers(address):
        invalid("Contact Email Address is on the exclusion list.", _EMAIL_POINTER)


def _save_values(account: Account, contact: int, item: dict[str, Any]) -> list[Row]:
    """Save the ``fieldValues`` of a request and return their rows; ignore unknown fields [rep]."""
    values = item.get("fieldValues") or []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        invalid("The fieldValues are not valid.", "/data/attributes/fieldValues")
    given = [(reference(value.get("field")) or 0, text(value, "value")) for value in values]
    return field_values.save(account, contact, given)


def _with_values(
    body: dict[str, Any], rows: list[Row], call: Call, *, with_ids: bool = True
) -> dict[str, Any]:
    """Return an answer with the values that were saved, and their ids in the contact [doc]."""
    if not rows:
        return body
    values = [shapes.field_value(row, call.style) for row in rows]
    if with_ids:
        body["contact"]["fieldValues"] = [value["id"] for value in values]
    return {**body, "fieldValues": values}


def create(account: Account, call: Call) -> Answer:
    """POST /contacts."""
    item = call.item("contact")
    columns = _columns(account, {"email": "", **item})
    if records.contact_by_email(account.store, columns["email"]):
        _duplicate()
    _refuse_excluded(account, columns["email"])
    number = records.create_contact(account.store, columns["email"], columns)
    return Answer(201, _created(account, call, item, number), dict(_ANY_ORIGIN))


def _created(account: Account, call: Call, item: dict[str, Any], number: int) -> dict[str, Any]:
    values = _save_values(account, number, item)
    body = {"contact": shapes.new_contact(find(account, number), call.style)}
    return _with_values(body, values, call)


def sync(account: Account, call: Call) -> Answer:
    """POST /contact/sync: 201 for a new contact, 200 for an existing one."""
    item = call.item("contact")
    if not text(item, "email").strip():
        detail = "Contact email must be provided for sync"
        fail(400, errors=[{"status": 400, "title": "Bad Request", "detail": detail}])
    columns = _columns(account, item)
    known = records.contact_by_email(account.store, columns["email"])
    if known is None:
        _refuse_excluded(account, columns["email"])
        number = records.create_contact(account.store, columns["email"], columns)
        return Answer(201, _created(account, call, item, number), dict(_ANY_ORIGIN))
    del columns["email"]
    records.update_contact(account.store, known["id"], columns)
    values = _save_values(account, known["id"], item)
    body = {"contact": shapes.contact(find(account, known["id"]), call.style)}
    return Answer(200, _with_values(body, values, call), dict(_ANY_ORIGIN))


def read(account: Account, call: Call) -> Answer:
    """GET /contacts/:id, with its memberships and values."""
    row = find(account, call.id)
    lists = _memberships(account, call.style, call.id)
    values = _values(account, call.style, call.id)
    beside: dict[str, list[Any]] = {
        "contactAutomations": [],
        "contactLists": lists,
        "deals": [],
        "fieldValues": values,
        "geoIps": [],
        "accountContacts": shapes.account_contact_links(row),
    }
    contact = shapes.contact(row, call.style)
    contact.update({key: [item["id"] for item in items] for key, items in beside.items()})
    if call.style.is_old:
        contact["sentiment"] = None
    return Answer(200, {**beside, "contact": contact}, dict(_ANY_ORIGIN))


def update(account: Account, call: Call) -> Answer:
    """PUT /contacts/:id. A new address leaves all else of the contact as it is."""
    contact = find(account, call.id)
    item = call.item("contact")
    columns = _columns(account, item)
    address = columns.get("email", contact["email"])
    if records.email_key(address) != records.email_key(contact["email"]):
        _check_new_address(account, call.id, address)
    records.update_contact(account.store, call.id, columns)
    values = _save_values(account, call.id, item)
    body = {"contact": shapes.contact(find(account, call.id), call.style)}
    return Answer(200, _with_values(body, values, call, with_ids=False))


def _check_new_address(account: Account, contact: int, address: str) -> None:
    """Refuse an address that a contact can't get. A bounced contact can get one (unverified)."""
    if records.contact_by_email(account.store, address):
        _duplicate()
    _refuse_excluded(account, address)
    if account.options.rename_contact == "refuse":
        invalid("The address of a contact can't be changed.", _EMAIL_POINTER)
    if account.options.rename_opted_out == "refuse" and account.store.number(
        "SELECT count(*) FROM membership WHERE contact = ? AND status = ?",
        contact,
        records.UNSUBSCRIBED,
    ):
        invalid("The address of an unsubscribed contact can't be changed.", _EMAIL_POINTER)


def delete(account: Account, call: Call) -> Answer:
    """DELETE /contacts/:id; the text of its 404 is another one than elsewhere [doc]."""
    if records.contact_by_id(account.store, call.id) is None:
        fail(404, message=f"No result found for contact with id {call.id}")
    account.store.db.execute("DELETE FROM contact WHERE id = ?", (call.id,))
    for table in ("membership", "contact_tag", "field_value", "bounce"):
        account.store.db.execute(
            f"DELETE FROM {table} WHERE contact = ?",  # noqa: S608 - constant names
            (call.id,),
        )
    return Answer(200, {})


def _memberships(account: Account, style: Style, contact: int) -> list[dict[str, Any]]:
    rows = account.store.all(
        f"{MEMBERSHIP} WHERE membership.contact = ? ORDER BY membership.list", contact
    )
    return [shapes.contact_list(row, style) for row in rows]


def _tags(account: Account, style: Style, contact: int) -> list[dict[str, Any]]:
    rows = account.store.all("SELECT * FROM contact_tag WHERE contact = ? ORDER BY tag", contact)
    return [shapes.contact_tag(row, style) for row in rows]


def _values(account: Account, style: Style, contact: int) -> list[dict[str, Any]]:
    return [shapes.field_value(row, style) for row in field_values.of_contact(account, contact)]


def memberships(account: Account, call: Call) -> Answer:
    """GET /contacts/:id/contactLists."""
    find(account, call.id)
    return Answer(200, {"contactLists": _memberships(account, call.style, call.id)})


def values(account: Account, call: Call) -> Answer:
    """GET /contacts/:id/fieldValues."""
    find(account, call.id)
    return Answer(200, {"fieldValues": _values(account, call.style, call.id)})


def bounce_logs(account: Account, call: Call) -> Answer:
    """GET /contacts/:id/bounceLogs [doc]: all of them, as nothing is documented on pages."""
    find(account, call.id)
    rows = account.store.all(
        "SELECT bounce.*, email FROM bounce JOIN contact ON contact.id = bounce.contact"
        " WHERE bounce.contact = ? ORDER BY bounce.id",
        call.id,
    )
    return Answer(200, {"bounceLogs": [shapes.bounce_log(row, call.style) for row in rows]})


def tags(account: Account, call: Call) -> Answer:
    """GET /contacts/:id/contactTags."""
    find(account, call.id)
    return Answer(200, {"contactTags": _tags(account, call.style, call.id)})
