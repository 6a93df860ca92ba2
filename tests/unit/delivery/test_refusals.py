"""Finding the contacts meant by a refusal, whether ActiveCampaign counts from 0 or from 1."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.delivery.batches import Batch, Entry
from target_activecampaign.delivery.contradictions import Contradictions
from target_activecampaign.delivery.refusals import RefusalReader
from target_activecampaign.model.contact import Contact

if TYPE_CHECKING:
    from target_activecampaign.delivery.refusals import NextStep


def entries(count: int) -> list[Entry]:
    addresses = (f"p{n}@example.com" for n in range(count))
    return [Entry(Contact(address, address), b"", []) for address in addresses]


@dataclass
class Account:
    """An account that refuses imports of bad contacts, and what a reader makes of it.

    Attributes:
        bad: The keys of the bad contacts.
        base: The number from which it counts contacts.
        first_only: Whether a refusal names the first bad contact only.
        odd: Positions that its next refusals name instead of the right ones.
    """

    bad: set[str]
    base: int
    first_only: bool = False
    odd: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.contradictions = Contradictions()
        self.reader = RefusalReader(self.contradictions)
        self.accepted: list[str] = []
        self.rejected: list[str] = []
        self.sizes: list[int] = []

    def load(self, batch: list[Entry]) -> Account:
        """Import contacts until each is accepted or rejected."""
        waiting = deque([Batch(batch)])
        while waiting:
            step = self._import(waiting.popleft())
            self.rejected += [one.entry.key for one in step.rejected]
            waiting.extend(step.send)
        return self

    def _import(self, batch: Batch) -> NextStep:
        self.sizes.append(len(batch.entries))
        assert len(self.sizes) < 1000
        places = [n for n, one in enumerate(batch.entries) if one.key in self.bad]
        named = [(place + self.base, "bad") for place in places]
        if self.odd:
            return self.reader.refused(batch, [(one, "odd") for one in self.odd.pop(0)])
        if not named:
            self.accepted += [one.key for one in batch.entries]
            return self.reader.accepted(batch)
        return self.reader.refused(batch, named[:1] if self.first_only else named)

    @property
    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.contradictions.as_dicts()]


@given(
    st.integers(0, 1), st.integers(1, 40), st.booleans(), st.sampled_from([None, 0, 1]), st.data()
)
def test_only_bad_contacts_are_rejected(
    base: int, count: int, first_only: bool, known: int | None, data: st.DataObject
) -> None:
    batch = entries(count)
    keys = [one.key for one in batch]
    account = Account(set(data.draw(st.sets(st.sampled_from(keys)))), base, first_only)
    account.reader.position_base = known
    account.load(batch)
    assert sorted(account.rejected) == sorted(account.bad)
    assert sorted(account.accepted) == sorted(set(keys) - account.bad)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("known", [0, 1])
@pytest.mark.parametrize("first_only", [True, False])
@pytest.mark.parametrize("count", range(1, 7))
def test_every_set_of_bad_contacts_is_found_whatever_base_is_believed(
    base: int, known: int, first_only: bool, count: int
) -> None:
    for mask in range(2**count):
        batch = entries(count)
        bad = {one.key for n, one in enumerate(batch) if mask >> n & 1}
        account = Account(bad, base, first_only)
        account.reader.position_base = known
        account.load(batch)
        assert sorted(account.rejected) == sorted(bad)
        assert sorted(account.accepted) == sorted({one.key for one in batch} - bad)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 5, 8, 9])
def test_one_bad_contact_costs_two_imports_of_one_contact_and_shows_the_base(
    base: int, place: int
) -> None:
    batch = entries(10)
    account = Account({batch[place].key}, base).load(batch)
    assert account.rejected == [batch[place].key]
    assert account.sizes in ([10, 1, 1, 8], [10, 1, 9])
    assert account.reader.position_base == base
    assert account.kinds == []


@given(st.integers(0, 1), st.integers(2, 40), st.data())
def test_with_a_known_base_a_refusal_costs_one_import(
    base: int, count: int, data: st.DataObject
) -> None:
    batch = entries(count)
    names = st.sampled_from([one.key for one in batch])
    account = Account(data.draw(st.sets(names, min_size=1, max_size=count - 1)), base)
    account.reader.position_base = base
    account.load(batch)
    assert set(account.rejected) == account.bad
    assert account.sizes == [count, count - len(account.bad)]


def test_several_bad_contacts_are_all_found_by_one_refusal() -> None:
    batch = entries(100)
    account = Account({one.key for one in batch[20:60]}, 1).load(batch)
    assert len(account.rejected) == 40
    assert account.sizes == [100, 1, 1, 59]


@pytest.mark.parametrize("base", [0, 1])
def test_where_all_are_named_one_is_sent_alone(base: int) -> None:
    batch = entries(50)
    account = Account({one.key for one in batch}, base).load(batch)
    assert len(account.rejected) == 50
    assert account.sizes == [50, 1]
    assert account.reader.position_base is None, "that all are named shows no base"


@pytest.mark.parametrize("position", [-1, 7, 99])
@pytest.mark.parametrize("known", [None, 0, 1])
def test_positions_that_make_no_sense_reject_nobody(position: int, known: int | None) -> None:
    account = Account(set(), 0, odd=[[position, 2]])
    account.reader.position_base = known
    account.load(entries(5))
    assert account.rejected == []
    assert len(account.accepted) == 5
    assert account.reader.position_base is None
    assert account.kinds == ([] if known is None else ["POSITIONS"])


@pytest.mark.parametrize("odd", [0, 1, 7, 19, 20])
def test_a_refusal_of_contacts_that_are_accepted_alone_rejects_nobody(odd: int) -> None:
    account = Account(set(), 0, odd=[[odd]]).load(entries(20))
    assert account.rejected == []
    assert len(account.accepted) == 20
    assert account.reader.position_base is None
    assert account.kinds == ["POSITIONS"]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 5, 8, 9])
def test_a_base_that_turns_out_wrong_is_taken_back(base: int, place: int) -> None:
    batch = entries(10)
    account = Account({batch[place].key}, base)
    account.reader.position_base = 1 - base
    account.load(batch)
    assert account.rejected == [batch[place].key]
    assert len(account.accepted) == 9
    assert account.reader.position_base in (base, None)
    assert account.kinds == ["POSITIONS"]
