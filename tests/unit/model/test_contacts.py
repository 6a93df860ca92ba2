"""Contacts: merging, and the form in an import."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.contact import Contact

text = st.text(max_size=20)
maybe = st.none() | text
contacts = st.builds(
    Contact,
    key=st.just("p@example.com"),
    email=st.sampled_from(["p@example.com", "P@example.com"]),
    first_name=maybe,
    last_name=maybe,
    phone=maybe,
    customer_account=maybe,
    fields=st.dictionaries(st.integers(1, 9), text),
    tags=st.lists(text, unique=True).map(tuple),
    lists=st.lists(st.integers(1, 5), unique=True).map(tuple),
)


@given(contacts, contacts)
def test_merged_with_prefers_later_values_and_keeps_earlier_on_null(
    earlier: Contact, later: Contact
) -> None:
    merged = earlier.merged_with(later)
    for name in ("first_name", "last_name", "phone", "customer_account"):
        before, after = getattr(earlier, name), getattr(later, name)
        assert getattr(merged, name) == (before if after is None else after)
    assert merged.fields == {**earlier.fields, **later.fields}
    assert set(merged.tags) == {*earlier.tags, *later.tags}
    assert set(merged.lists) == {*earlier.lists, *later.lists}


@given(contacts)
def test_encode_writes_all_values_and_no_null(contact: Contact) -> None:
    try:
        wire = json.loads(contact.encode())
    except Refusal:
        return  # a lone surrogate
    assert wire["email"] == contact.email
    for name, key in (("first_name", "first_name"), ("customer_account", "customer_acct_name")):
        value = getattr(contact, name)
        assert wire.get(key) == value
        assert (key in wire) == (value is not None)
    assert {f["id"]: f["value"] for f in wire.get("fields", [])} == contact.fields
    assert tuple(one["listid"] for one in wire.get("subscribe", [])) == contact.lists
    assert wire.get("tags", []) == sorted(contact.tags)


def test_encode_refuses_lone_surrogate() -> None:
    contact = Contact(key="a@example.com", email="a@example.com", first_name="\ud800")
    with pytest.raises(Refusal) as refusal:
        contact.encode()
    assert refusal.value.code == "VALUE_INVALID"
