"""Who a contact is, which addresses pass, and what merging keeps."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.contact import Contact, Refusal, person_key, valid_address

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


@pytest.mark.parametrize(
    ("given_address", "sent"),
    [
        ("  ada@example.com ", "ada@example.com"),
        ("Ada.Byron@EXAMPLE.com", "Ada.Byron@example.com"),
        ("o'hara+news@mail.example.org", "o'hara+news@mail.example.org"),
        ("info@münchen.example.com", "info@münchen.example.com"),
    ],
)
def test_good_addresses_pass(given_address: str, sent: str) -> None:
    assert valid_address(given_address) == sent


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "EMAIL_MISSING"),
        ("", "EMAIL_MISSING"),
        (" \t", "EMAIL_MISSING"),
        (17, "EMAIL_INVALID"),
        ("nobody", "EMAIL_INVALID"),
        ("two words@example.com", "EMAIL_INVALID"),
        ("a@b@example.com", "EMAIL_INVALID"),
        ("a@example", "EMAIL_INVALID"),
        ("a@example.c", "EMAIL_INVALID"),
        ("a..b@example.com", "EMAIL_INVALID"),
        ("a" * 250 + "@example.com", "EMAIL_INVALID"),
    ],
)
def test_bad_addresses_are_refused_without_being_quoted(value: object, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        valid_address(value)
    assert refusal.value.code == code
    if isinstance(value, str) and value.strip():
        assert value not in refusal.value.reason


def test_two_spellings_are_one_person() -> None:
    assert person_key(" Ada@Example.COM ") == person_key("ada@example.com")


@given(contacts, contacts)
def test_the_later_value_wins_and_null_leaves_the_earlier(earlier: Contact, later: Contact) -> None:
    merged = earlier.merged_into(later)
    for name in ("first_name", "last_name", "phone", "customer_account"):
        before, after = getattr(earlier, name), getattr(later, name)
        assert getattr(merged, name) == (before if after is None else after)
    assert merged.fields == {**earlier.fields, **later.fields}
    assert set(merged.tags) == {*earlier.tags, *later.tags}
    assert set(merged.lists) == {*earlier.lists, *later.lists}


@given(contacts)
def test_the_wire_form_holds_every_value_and_no_null(contact: Contact) -> None:
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


def test_half_a_character_is_refused() -> None:
    contact = Contact(key="a@example.com", email="a@example.com", first_name="\ud800")
    with pytest.raises(Refusal) as refusal:
        contact.encode()
    assert refusal.value.code == "VALUE_INVALID"
