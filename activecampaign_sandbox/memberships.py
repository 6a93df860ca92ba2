"""Memberships of lists: /contactLists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import lists, records, shapes
from activecampaign_sandbox.pages import read_page
from activecampaign_sandbox.wire import Answer, Call, fail, invalid, not_found, reference, text

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account

MEMBERSHIP = (
    "SELECT membership.*, contact.first_name, contact.last_name, list.channel FROM membership"
    " JOIN contact ON contact.id = membership.contact JOIN list ON list.id = membership.list"
)
_STATUSES = ("0", "1", "2", "3")
_RESUBSCRIPTION = 4


def find(account: Account, number: int) -> Row:
    """Return a membership.

    Raises:
        ApiError: There is none (404).
    """
    row = account.store.one(f"{MEMBERSHIP} WHERE membership.id = ?", number)
    return row if row is not None else not_found("SubscriberList", number)


def index(account: Account, call: Call) -> Answer:
    """GET /contactLists; its filters have no effect [rep]."""
    rows, meta = read_page(
        account, call, MEMBERSHIP, table="membership", order="membership.contact, membership.list"
    )
    memberships = [shapes.contact_list(row, call.style) for row in rows]
    return Answer(200, {"contactLists": memberships, "meta": meta})


def save(account: Account, call: Call) -> Answer:
    """POST /contactLists: set a membership's status; this undoes an opt-out too [doc]."""
    item = call.item("contactList")
    for key in ("list", "contact", "status"):
        if item.get(key) is None:
            invalid(f"The {key} is required.", f"/data/attributes/{key}", "field_missing")
    if text(item, "status") not in _STATUSES:
        invalid("The value you selected is not a valid choice.", "/data/attributes/status")
    list_id = lists.find(account, reference(item["list"]) or 0)["id"]
    contact = records.contact_by_id(account.store, reference(item["contact"]) or 0)
    if contact is None:
        not_found("Subscriber", text(item, "contact"))
    known = _find_pair(account, contact["id"], list_id)
    source, status = reference(item.get("sourceid")), int(text(item, "status"))
    if known is not None and not _may_become(account, known, status, source):
        item = {**item, "status": known["status"]}
    else:
        records.set_membership(
            account.store, account.options, contact["id"], list_id, status,
            source=3 if source is None else source,
        )  # fmt: skip
        if account.options.membership_updates_contact == "yes":
            records.update_contact(account.store, contact["id"], {})
    saved = _find_pair(account, contact["id"], list_id)
    if saved is None:
        fail(500, message="The membership was not saved.")
    membership = shapes.saved_contact_list(saved, call.style, item, is_new=known is None)
    body = {"contacts": [shapes.contact(contact, call.style)], "contactList": membership}
    return Answer(201 if known is None else 200, body)


def _find_pair(account: Account, contact: int, list_id: int) -> Row | None:
    return account.store.one(
        f"{MEMBERSHIP} WHERE membership.contact = ? AND membership.list = ?", contact, list_id
    )


def _may_become(account: Account, known: Row, status: int, source: int | None) -> bool:
    """Return whether a membership gets a status, which for opt-outs depends on the options."""
    if known["status"] != records.UNSUBSCRIBED or status != records.ACTIVE:
        return True
    options = account.options
    if source == _RESUBSCRIPTION:
        return options.resubscribe_with_sourceid == "yes"
    return options.resubscribe_without_sourceid == "yes"
