"""Finding the contacts meant by a refusal, whether ActiveCampaign counts from 0 or from 1."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.contact import Contact
from target_activecampaign.packer import Entry
from target_activecampaign.suspects import IndexBase, Suspects


def entries(count: int) -> list[Entry]:
    addresses = (f"p{n}@example.com" for n in range(count))
    return [Entry(Contact(address, address), b"", []) for address in addresses]


def refusal(sent: list[Entry], guilty: set[str], base: int) -> list[tuple[int, str]]:
    return [(n + base, "bad") for n, entry in enumerate(sent) if entry.key in guilty]


@given(st.integers(0, 1), st.integers(1, 40), st.data())
def test_only_the_guilty_are_named_after_one_question_more(
    base: int, count: int, data: st.DataObject
) -> None:
    batch = entries(count)
    guilty = data.draw(st.sets(st.sampled_from([e.key for e in batch]), min_size=1))
    known = IndexBase()
    suspects = Suspects(batch, refusal(batch, guilty, base), known)
    if suspects.guilty is None:
        assert suspects.reordered is not None
        assert {e.key for e in suspects.reordered} == {e.key for e in batch}
        again = suspects.reordered
        suspects = Suspects(again, refusal(again, guilty, base), known)
    assert suspects.guilty is not None
    assert {entry.key for entry, _ in suspects.guilty} == guilty
    assert {entry.key for entry in suspects.others} == {e.key for e in batch} - guilty


@given(st.integers(0, 1), st.integers(1, 40), st.data())
def test_once_it_is_known_a_refusal_is_clear_at_once(
    base: int, count: int, data: st.DataObject
) -> None:
    known = IndexBase()
    known.value = base
    batch = entries(count)
    guilty = data.draw(st.sets(st.sampled_from([e.key for e in batch]), min_size=1))
    suspects = Suspects(batch, refusal(batch, guilty, base), known)
    assert suspects.guilty is not None
    assert {entry.key for entry, _ in suspects.guilty} == guilty


def test_positions_that_make_no_sense_accuse_nobody() -> None:
    for position in (-1, 7, 99):
        suspects = Suspects(entries(5), [(position, "bad")], IndexBase())
        assert suspects.guilty is None
        assert suspects.reordered is None
