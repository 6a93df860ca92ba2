"""Cutting imports: nothing is lost, nobody comes twice, and no limit is passed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.delivery.batches import Batch, Packer
from target_activecampaign.ledger import MemberUpdate
from target_activecampaign.model.contact import Contact, Refusal
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.model.record import Source, SourceStream

STREAM = SourceStream("profiles", {"properties": {}})
LIMIT = 399_999


def contact(person: int, **values: Any) -> Contact:
    address = f"p{person}@example.com"
    return Contact(key=address, email=address, lists=(1,), **values)


def source(number: int) -> Source:
    return Source("profiles", STREAM, b"{}", number)


def packed(contacts: list[Contact], packer: Packer) -> list[Batch]:
    batches = []
    for number, one in enumerate(contacts):
        batches += packer.add(packer.entry(one, [source(number)]))
    return batches + packer.flush()


def sent(batch: Batch) -> list[dict[str, object]]:
    contacts: list[dict[str, object]] = json.loads(batch.body())["contacts"]
    return contacts


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["", "x", "y"]))))
def test_each_record_is_in_one_batch_and_each_person_once_per_batch(
    records: list[tuple[int, str]],
) -> None:
    contacts = [contact(person, first_name=name) for person, name in records]
    batches = packed(contacts, Packer(5))
    numbers = [s.epoch for batch in batches for entry in batch.entries for s in entry.sources]
    assert sorted(numbers) == list(range(len(records)))
    for batch in batches:
        assert 1 <= len(batch.entries) <= 5
        keys = [entry.key for entry in batch.entries]
        assert len(set(keys)) == len(keys)


@given(st.lists(st.tuples(st.integers(0, 6), st.none() | st.sampled_from("abc"))))
def test_batches_in_order_give_the_values_of_the_records(
    records: list[tuple[int, str | None]],
) -> None:
    expected: dict[str, str | None] = {}
    for person, name in records:
        key = f"p{person}@example.com"
        expected[key] = expected.get(key) if name is None else name
    contacts = [Contact(f"p{p}@example.com", f"p{p}@example.com", n) for p, n in records]
    account: dict[str, object] = {}
    for batch in packed(contacts, Packer(3)):
        for one in sent(batch):
            key = str(one["email"])
            account[key] = one.get("first_name", account.get(key))
    assert account == expected


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 150_000)), max_size=12))
def test_no_body_is_larger_than_an_import_may_be(records: list[tuple[int, int]]) -> None:
    contacts = [contact(person, last_name="é" * (size // 2)) for person, size in records]
    batches = packed(contacts, Packer())
    assert all(len(batch.body()) <= LIMIT for batch in batches)
    assert sum(len(entry.sources) for b in batches for entry in b.entries) == len(records)


def test_a_batch_may_be_exactly_as_large_as_allowed() -> None:
    room = LIMIT - len(Batch([]).body())
    bare = len(contact(1, last_name="").encode())
    fits = packed([contact(1, last_name="x" * (room - bare))], Packer())
    assert [len(batch.body()) for batch in fits] == [LIMIT]
    with pytest.raises(Refusal) as refusal:
        Packer().entry(contact(1, last_name="x" * (room - bare + 1)), [source(0)])
    assert refusal.value.code == "CONTACT_TOO_LARGE"


def test_a_refused_contact_leaves_the_open_batch_as_it_was() -> None:
    packer = Packer()
    packer.add(packer.entry(contact(1, first_name="kept"), [source(0)]))
    with pytest.raises(Refusal):
        packer.entry(contact(2, last_name="x" * LIMIT), [source(1)])
    (batch,) = packer.flush()
    assert [one["email"] for one in sent(batch)] == ["p1@example.com"]


def test_the_body_stays_within_the_limit_when_automations_are_excluded() -> None:
    packer = Packer(exclude_automations=True)
    batches = packed([contact(n, last_name="x" * 99_800) for n in range(5)], packer)
    for batch in batches:
        body = json.loads(batch.body())
        assert body["exclude_automations"] is True
        assert all(one["exclude_automations"] is True for one in body["contacts"])
        assert len(batch.body()) <= LIMIT


def test_merged_mark_without_membership_takes_the_earlier_one() -> None:
    packer = Packer()
    first, second = (packer.entry(contact(1), [source(n)]) for n in (0, 1))
    first.marks = {
        7: MemberUpdate(7, b"first", Ownership.ADDED_BY_US),
        8: MemberUpdate(8, b"other", Ownership.PRE_EXISTING),
    }
    second.marks = {7: MemberUpdate(7, b"second", None)}
    packer.add(first)
    packer.add(second)
    (batch,) = packer.flush()
    assert batch.entries[0].marks == {
        7: MemberUpdate(7, b"second", Ownership.ADDED_BY_US),
        8: MemberUpdate(8, b"other", Ownership.PRE_EXISTING),
    }
