"""Tags and the tags of contacts: /tags, /contactTags."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from activecampaign_sandbox import pages, records, shapes
from activecampaign_sandbox.wire import (
    Answer,
    Call,
    fail,
    invalid,
    not_found,
    reference,
    text,
)

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account

_TAG = "SELECT tag.*, (SELECT count(*) FROM contact_tag WHERE tag = tag.id) AS subscribers FROM tag"
_SEARCH = "filters[search]"
_ORDERS = {"search": "name COLLATE NOCASE"}
_FILTERS = pages.text_filters(_SEARCH)
PARAMETERS = pages.PARAMETERS | _FILTERS | {"search", "orders[search]"}
"""The query parameters of GET /tags [doc]."""

_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}


def find(account: Account, number: int) -> Row:
    """Return a tag.

    Raises:
        ApiError: There is none (404).
    """
    row = account.store.one(f"{_TAG} WHERE id = ?", number)
    return row if row is not None else not_found("Tag", number)


def index(account: Account, call: Call) -> Answer:
    """GET /tags [doc]: ``search`` and ``filters[search]`` are a part of the name, without case."""
    pages.check_filters(call, _FILTERS)
    terms = list(pages.text_terms(call, _SEARCH, "name"))
    if (part := call.arg("search")) is not None:
        terms.append(("instr(lower(name), lower(?)) > 0", [part]))
    order = pages.order_by(call, _ORDERS, "id")
    rows, meta = pages.read_page(account, call, _TAG, terms, table="tag", order=order)
    tags = [shapes.tag(row, call.style) for row in rows]
    return Answer(200, {"tags": tags, "meta": meta}, dict(_ANY_ORIGIN))


def create(account: Account, call: Call) -> Answer:
    """POST /tags: 201; for an existing name, the option ``duplicate_tag`` sets the answer."""
    item = call.item("tag")
    name = text(item, "tag").strip()
    if not name:
        invalid("The tag's name is required.", "/data/attributes/tag", "field_missing")
    known = _with_name(account, name)
    if known is not None:
        if account.options.duplicate_tag == "refuse":
            _refuse_duplicate()
        return Answer(200, {"tag": shapes.tag(find(account, known), call.style)})
    number = records.tag_id(account.store, name, exact=True)
    account.store.db.execute(
        "UPDATE tag SET type = ?, description = ? WHERE id = ?",
        (text(item, "tagType", "contact"), text(item, "description"), number),
    )
    return Answer(201, {"tag": shapes.new_tag(find(account, number), call.style)})


def _with_name(account: Account, name: str) -> int | None:
    return records.find_tag(account.store, name, exact=account.options.tag_case == "exact")


def _refuse_duplicate() -> NoReturn:
    invalid("There is already a tag with this name", "/data/attributes/tag", "duplicate")


def read(account: Account, call: Call) -> Answer:
    """GET /tags/:id."""
    return Answer(200, {"tag": shapes.tag(find(account, call.id), call.style)})


def update(account: Account, call: Call) -> Answer:
    """PUT /tags/:id."""
    row, item = find(account, call.id), call.item("tag")
    name = text(item, "tag", row["name"])
    if _with_name(account, name) not in (None, call.id):
        _refuse_duplicate()
    account.store.db.execute(
        "UPDATE tag SET name = ?, type = ?, description = ?, udate = ? WHERE id = ?",
        (
            name,
            text(item, "tagType", row["type"]),
            text(item, "description", row["description"]),
            records.now(),
            call.id,
        ),
    )
    account.queue.clear_cache()
    return Answer(200, {"tag": shapes.tag(find(account, call.id), call.style)})


def delete(account: Account, call: Call) -> Answer:
    """DELETE /tags/:id: the tag is removed from all contacts."""
    find(account, call.id)
    account.store.db.execute("DELETE FROM tag WHERE id = ?", (call.id,))
    account.store.db.execute("DELETE FROM contact_tag WHERE tag = ?", (call.id,))
    account.queue.clear_cache()
    return Answer(200, {})


def add(account: Account, call: Call) -> Answer:
    """POST /contactTags: 201; 200 with the same id if the contact already has the tag [rep]."""
    item = call.item("contactTag")
    tag = reference(item.get("tag"))
    if tag is None:
        parameter = "contactTag.tag"
        error = {
            "title": f"Invalid value for query parameter {parameter}",
            "detail": "No tag id provided",
            "source": {"parameter": parameter},
        }
        fail(400, errors=[error])
    contact = records.contact_by_id(account.store, reference(item.get("contact")) or 0)
    if contact is None:
        not_found("Subscriber", text(item, "contact"))
    find(account, tag)
    new = records.add_tag(account.store, contact["id"], tag)
    row = account.store.one(
        "SELECT * FROM contact_tag WHERE contact = ? AND tag = ?", contact["id"], tag
    )
    if row is None:
        fail(500, message="The tag was not added.")
    body = {
        "contacts": [shapes.contact(contact, call.style)],
        "contactTag": shapes.new_contact_tag(row, call.style),
    }
    return Answer(201 if new else 200, body)


def find_contact_tag(account: Account, number: int) -> Row:
    """Return a contact's tag.

    Raises:
        ApiError: There is none (404).
    """
    row = account.store.one("SELECT * FROM contact_tag WHERE id = ?", number)
    return row if row is not None else not_found("SubscriberTag", number)


def contact_tags(account: Account, call: Call) -> Answer:
    """GET /contactTags: the tags of all contacts [rec]."""
    rows, meta = pages.read_page(account, call, "SELECT * FROM contact_tag", table="contact_tag")
    return Answer(
        200, {"contactTags": [shapes.contact_tag(row, call.style) for row in rows], "meta": meta}
    )


def read_contact_tag(account: Account, call: Call) -> Answer:
    """GET /contactTags/:id."""
    row = find_contact_tag(account, call.id)
    return Answer(200, {"contactTag": shapes.contact_tag(row, call.style)})


def remove(account: Account, call: Call) -> Answer:
    """DELETE /contactTags/:id."""
    find_contact_tag(account, call.id)
    account.store.db.execute("DELETE FROM contact_tag WHERE id = ?", (call.id,))
    return Answer(200, {})
