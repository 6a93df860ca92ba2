"""Users, lists and memberships: /users/me, /lists, /contactLists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import records, shapes
from activecampaign_sandbox.pages import read_page
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

MEMBERSHIP = (
    "SELECT membership.*, contact.first_name, contact.last_name FROM membership"
    " JOIN contact ON contact.id = membership.contact"
)
_STATUSES = ("0", "1", "2", "3")


def me(account: Account, call: Call) -> Answer:
    """GET /users/me."""
    return Answer(200, {"user": shapes.user(call.base, account.started)})


def find(account: Account, number: int) -> Row:
    """Return a list.

    Raises:
        ApiError: There is none: 404 with the model's documented name ``_List``.
    """
    row = account.store.one("SELECT * FROM list WHERE id = ?", number)
    return row if row is not None else not_found("_List", number)


def index(account: Account, call: Call) -> Answer:
    """GET /lists: ``filters[name]`` is the exact name, ``filters[name][contains]`` a part."""
    rows, meta = read_page(
        account,
        call,
        "SELECT * FROM list",
        call.arg("filters[name]"),
        call.arg("filters[name][contains]"),
        table="list",
        where="(?1 IS NULL OR name = ?1) AND (?2 IS NULL OR instr(lower(name), lower(?2)))",
    )
    return Answer(200, {"lists": [shapes.list_(row, call.base) for row in rows], "meta": meta})


def create(account: Account, call: Call) -> Answer:
    """POST /lists."""
    item = call.item("list")
    required = ("name", "stringid", "sender_url", "sender_reminder")
    for key in required:
        if not text(item, key):
            invalid(f"The list's {key} is required.", f"/data/attributes/{key}", "field_missing")
    moment = records.now()
    number = account.store.insert(
        "INSERT INTO list (name, stringid, sender_url, sender_reminder, cdate, udate)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        *(text(item, key) for key in required), moment, moment,
    )  # fmt: skip
    return Answer(201, {"list": shapes.new_list(find(account, number), call.base)})


def read(account: Account, call: Call) -> Answer:
    """GET /lists/:id."""
    return Answer(200, {"list": shapes.list_(find(account, call.id), call.base)})


def update(account: Account, call: Call) -> Answer:
    """PUT /lists/:id: change the name; the answer is empty, with an error code [rec]."""
    row, item = find(account, call.id), call.item("list")
    account.store.db.execute(
        "UPDATE list SET name = ?, stringid = ?, udate = ? WHERE id = ?",
        (
            text(item, "name", row["name"]),
            text(item, "stringid", row["stringid"]),
            records.now(),
            call.id,
        ),
    )
    return Answer(200, b"", {"X-Ac-Error": "Code 9001"})


def delete(account: Account, call: Call) -> Answer:
    """DELETE /lists/:id: its memberships are deleted too."""
    find(account, call.id)
    account.store.db.execute("DELETE FROM list WHERE id = ?", (call.id,))
    account.store.db.execute("DELETE FROM membership WHERE list = ?", (call.id,))
    account.store.db.execute("DELETE FROM field_rel WHERE relid = ?", (call.id,))
    account.store.db.execute("DELETE FROM exclusion_list WHERE list = ?", (call.id,))
    account.queue.clear_cache()
    return Answer(200, {})


def memberships(account: Account, call: Call) -> Answer:
    """GET /contactLists."""
    rows, meta = read_page(
        account, call, MEMBERSHIP, table="membership", order="membership.contact, membership.list"
    )
    memberships = [shapes.contact_list(row, call.base) for row in rows]
    return Answer(200, {"contactLists": memberships, "meta": meta})


def subscribe(account: Account, call: Call) -> Answer:
    """POST /contactLists: set a membership's status; this undoes an opt-out too [doc]."""
    item = call.item("contactList")
    for key in ("list", "contact", "status"):
        if item.get(key) is None:
            invalid(f"The {key} is required.", f"/data/attributes/{key}", "field_missing")
    if text(item, "status") not in _STATUSES:
        invalid("The value you selected is not a valid choice.", "/data/attributes/status")
    row = find(account, reference(item["list"]) or 0)
    contact = records.contact_by_id(account.store, reference(item["contact"]) or 0)
    if contact is None:
        not_found("Subscriber", text(item, "contact"))
    known = account.store.one(
        "SELECT 1 FROM membership WHERE contact = ? AND list = ?", contact["id"], row["id"]
    )
    source = reference(item.get("sourceid"))
    records.set_membership(
        account.store, contact["id"], row["id"], int(text(item, "status")),
        source=3 if source is None else source,
    )  # fmt: skip
    if account.options.membership_updates_contact == "yes":
        records.update_contact(account.store, contact["id"], {})
    saved = account.store.one(
        f"{MEMBERSHIP} WHERE membership.contact = ? AND list = ?", contact["id"], row["id"]
    )
    if saved is None:
        fail(500, message="The membership was not saved.")
    body = {
        "contacts": [shapes.contact(contact, call.base)],
        "contactList": shapes.new_contact_list(saved, call.base, item),
    }
    return Answer(200 if known else 201, body)
