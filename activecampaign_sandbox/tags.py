"""Tags and the tags of contacts: /tags, /contactTags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import records, shapes
from activecampaign_sandbox.pages import read_page
from activecampaign_sandbox.store import pair_id, split_pair
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
_ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}


def _find(account: Account, number: int) -> Row:
    row = account.store.one(f"{_TAG} WHERE id = ?", number)
    return row if row is not None else not_found("Tag", number)


def index(account: Account, call: Call) -> Answer:
    """GET /tags: ``search`` is a part of the name, without case."""
    rows, meta = read_page(
        account,
        call,
        _TAG,
        call.arg("search"),
        table="tag",
        where="(?1 IS NULL OR instr(lower(name), lower(?1)))",
    )
    tags = [shapes.tag(row, call.base) for row in rows]
    return Answer(200, {"tags": tags, "meta": meta}, dict(_ANY_ORIGIN))


def create(account: Account, call: Call) -> Answer:
    """POST /tags: 201; for an existing name, the option ``duplicate_tag`` sets the answer."""
    item = call.item("tag")
    name = text(item, "tag").strip()
    if not name:
        invalid("The tag's name is required.", "/data/attributes/tag", "field_missing")
    known = account.store.one(f"{_TAG} WHERE name = ?", name)
    if known is not None:
        if account.options.duplicate_tag == "refuse":
            invalid("There is already a tag with this name", "/data/attributes/tag", "duplicate")
        return Answer(200, {"tag": shapes.tag(known, call.base)})
    number = records.tag_id(account.store, name)
    account.store.db.execute(
        "UPDATE tag SET type = ?, description = ? WHERE id = ?",
        (text(item, "tagType", "contact"), text(item, "description"), number),
    )
    return Answer(201, {"tag": shapes.new_tag(_find(account, number), call.base)})


def read(account: Account, call: Call) -> Answer:
    """GET /tags/:id."""
    return Answer(200, {"tag": shapes.tag(_find(account, call.id), call.base)})


def update(account: Account, call: Call) -> Answer:
    """PUT /tags/:id."""
    row, item = _find(account, call.id), call.item("tag")
    account.store.db.execute(
        "UPDATE tag SET name = ?, type = ?, description = ?, udate = ? WHERE id = ?",
        (
            text(item, "tag", row["name"]),
            text(item, "tagType", row["type"]),
            text(item, "description", row["description"]),
            records.now(),
            call.id,
        ),
    )
    account.queue.clear_cache()
    return Answer(200, {"tag": shapes.tag(_find(account, call.id), call.base)})


def delete(account: Account, call: Call) -> Answer:
    """DELETE /tags/:id: the tag is removed from all contacts."""
    _find(account, call.id)
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
    _find(account, tag)
    new = records.add_tag(account.store, contact["id"], tag)
    row = _find_contact_tag(account, pair_id(contact["id"], tag))
    body = {
        "contacts": [shapes.contact(contact, call.base)],
        "contactTag": shapes.new_contact_tag(row, call.base),
    }
    return Answer(201 if new else 200, body)


def _find_contact_tag(account: Account, number: int) -> Row:
    row = account.store.one(
        "SELECT * FROM contact_tag WHERE contact = ? AND tag = ?", *split_pair(number)
    )
    return row if row is not None else not_found("SubscriberTag", number)


def read_contact_tag(account: Account, call: Call) -> Answer:
    """GET /contactTags/:id."""
    row = _find_contact_tag(account, call.id)
    return Answer(200, {"contactTag": shapes.contact_tag(row, call.base)})


def remove(account: Account, call: Call) -> Answer:
    """DELETE /contactTags/:id."""
    _find_contact_tag(account, call.id)
    account.store.db.execute(
        "DELETE FROM contact_tag WHERE contact = ? AND tag = ?", split_pair(call.id)
    )
    return Answer(200, {})
