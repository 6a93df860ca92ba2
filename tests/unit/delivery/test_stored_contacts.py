"""A contact counts as arrived only if the account has it exactly as it was sent."""

from __future__ import annotations

from typing import Any, cast

import pytest

from target_activecampaign.client import Client, Field, FieldValue, Membership
from target_activecampaign.client import Contact as AccountContact
from target_activecampaign.client.models import Tag
from target_activecampaign.delivery.stored_contacts import StoredContacts
from target_activecampaign.model.contact import Contact

POSTED = 1_000_000.0
TEXT, TIME = 1, 2


class Account:
    """An account with one contact, as the client returns it."""

    def __init__(self, **stored: Any) -> None:
        self.stored = {
            "first_name": "Ada",
            "fields": {},
            "tags": (),
            "status": 1,
            "updated_at": POSTED,
            **stored,
        }

    def find_contact(self, email: str) -> AccountContact:
        some = {name: self.stored[name] for name in ("first_name", "updated_at")}
        return AccountContact(7, email, **some)

    def memberships(self, _: int) -> list[Membership]:
        return [Membership(3, self.stored["status"])]

    def contact_field_values(self, contact_id: int) -> list[FieldValue]:
        return [FieldValue(contact_id, *one) for one in self.stored["fields"].items()]

    def fields(self) -> list[Field]:
        return [Field(TEXT, "Note", "text", "NOTE"), Field(TIME, "Seen", "datetime", "SEEN")]

    def contact_tags(self, _: int) -> dict[int, int]:
        return dict.fromkeys(map(hash, self.stored["tags"]), 1)

    def find_tag(self, name: str) -> Tag | None:
        return Tag(hash(name), name)


def compared(sent: dict[str, Any], stored: dict[str, Any], posted: float | None = None) -> bool:
    """Whether the account has a contact as it was sent."""
    contacts = StoredContacts(cast("Client", Account(**stored)))
    contact = Contact("ada@x.io", "ada@x.io", **{"first_name": "Ada", "lists": (3,), **sent})
    return contacts.difference(contact, posted) is None


OSLO, UTC = "2026-03-01T11:00:00+01:00", "2026-03-01T10:00:00+00:00"


@pytest.mark.parametrize(
    ("sent", "stored", "same"),
    [
        ({}, {}, True),
        ({"first_name": "Eve"}, {}, False),
        ({"first_name": None}, {"first_name": "Other"}, True),
        ({"first_name": ""}, {}, False),
        ({"first_name": "Ada "}, {}, False),
        ({}, {"status": 2}, False),
        ({}, {"status": 0}, False),
        ({"lists": (), "unsubscribe_lists": (3,)}, {}, False),
        ({"lists": (), "unsubscribe_lists": (3,)}, {"status": 2}, True),
        ({"fields": {TEXT: "x"}}, {}, False),
        ({"fields": {TEXT: ""}}, {}, True),
        ({"fields": {TEXT: ""}}, {"fields": {TEXT: "x"}}, False),
        ({"fields": {TIME: UTC}}, {"fields": {TIME: OSLO}}, True),
        ({"fields": {TIME: UTC}}, {"fields": {TIME: OSLO.replace("11", "12")}}, False),
        ({"fields": {TEXT: UTC}}, {"fields": {TEXT: OSLO}}, False),
        ({"tags": ("vip",)}, {}, False),
        ({"tags": ("vip",)}, {"tags": ("vip", "other")}, True),
    ],
)
def test_exact_comparison(sent: dict[str, Any], stored: dict[str, Any], *, same: bool) -> None:
    assert compared(sent, stored) is same


def test_comparison_after_an_import_that_was_followed_is_lenient() -> None:
    assert compared({"first_name": "Ada "}, {}, POSTED)
    odd = {"fields": {TIME: "01.03.2026 11:00"}}
    assert compared({"fields": {TIME: UTC}}, odd, POSTED)
    assert not compared({"fields": {TIME: UTC}}, {**odd, "updated_at": POSTED - 60}, POSTED)


@pytest.mark.parametrize(("changed", "proof"), [(0.0, True), (-1.0, True), (-60.0, False)])
def test_contact_that_was_as_sent_before_is_no_proof(changed: float, *, proof: bool) -> None:
    contacts = StoredContacts(cast("Client", Account(updated_at=POSTED + changed)))
    sent = Contact("ada@x.io", "ada@x.io", "Ada", lists=(3,))
    assert contacts.has_import(sent, POSTED) is proof
