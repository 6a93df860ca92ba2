"""Finding the contacts meant by a refusal, whether ActiveCampaign counts from 0 or from 1."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.delivery.batches import Entry
from target_activecampaign.delivery.refusals import Finding, PositionBase, examine
from target_activecampaign.model.contact import Contact


def entries(count: int) -> list[Entry]:
    addresses = (f"p{n}@example.com" for n in range(count))
    return [Entry(Contact(address, address), b"", []) for address in addresses]


def refusal(sent: list[Entry], rejected: set[str], base: int) -> list[tuple[int, str]]:
    return [(n + base, "bad") for n, entry in enumerate(sent) if entry.key in rejected]


def keys(finding: Finding) -> set[str]:
    return {entry.key for entry, _ in finding.rejected}


@given(st.integers(0, 1), st.integers(1, 40), st.booleans(), st.data())
def test_only_the_guilty_are_named_after_one_question_more(
    base: int, count: int, first_only: bool, data: st.DataObject
) -> None:
    batch = entries(count)
    rejected = data.draw(st.sets(st.sampled_from([e.key for e in batch]), min_size=1))
    known = PositionBase()

    def refused(sent: list[Entry]) -> list[tuple[int, str]]:
        named = refusal(sent, rejected, base)
        return named[:1] if first_only else named

    finding = examine(batch, refused(batch), known)
    if not finding.rejected:
        assert known.value is None, "one answer is not believed"
        again = finding.again
        assert {e.key for e in again} == {e.key for e in batch}
        finding = examine(again, refused(again), known, suspected=finding.readings)
    if first_only and not finding.rejected:
        return  # whoever was moved to the front was at fault too, and is named in place of others
    assert keys(finding) <= rejected
    assert first_only or keys(finding) == rejected
    assert {entry.key for entry in finding.others} == {e.key for e in batch} - keys(finding)
    if count > 1 and len(finding.rejected) < count:
        assert known.value == base


@given(st.integers(0, 1), st.integers(2, 40), st.data())
def test_once_it_is_known_a_refusal_is_clear_at_once(
    base: int, count: int, data: st.DataObject
) -> None:
    known = PositionBase()
    known.value = base
    batch = entries(count)
    names = st.sampled_from([e.key for e in batch])
    rejected = data.draw(st.sets(names, min_size=1, max_size=count - 1))
    finding = examine(batch, refusal(batch, rejected, base), known)
    assert keys(finding) == rejected


def test_positions_that_make_no_sense_accuse_nobody() -> None:
    for position in (-1, 7, 99):
        for value in (None, 0, 1):
            base = PositionBase()
            base.value = value
            finding = examine(entries(5), [(position, "bad"), (2, "bad")], base)
            assert not finding.rejected
            assert not finding.again
            assert base.value is None


def test_a_position_that_contradicts_what_is_known_takes_it_back() -> None:
    base = PositionBase()
    base.value = 1
    finding = examine(entries(5), [(0, "bad")], base)
    assert finding.contradicted
    assert not finding.rejected
    assert base.value is None


def test_an_answer_that_names_others_when_asked_again_accuses_nobody() -> None:
    base = PositionBase()
    batch = entries(20)
    finding = examine(batch, [(0, "bad")], base)
    finding = examine(finding.again, [(7, "bad")], base, suspected=finding.readings)
    assert not finding.rejected
    assert not finding.again
    assert base.value is None
