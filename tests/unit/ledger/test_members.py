"""Members as the ledger stores and returns them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from target_activecampaign.ledger import Ledger, LedgerError, Member, MemberUpdate
from target_activecampaign.ledger.schema import VERSION
from target_activecampaign.model.ownership import Ownership
from tests.support.ledgers import ledger as tables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSTED, CONFIRMED, REMOVED = 1_000, 1_030, 2_000


class SetClock:
    """ActiveCampaign's clock, set by the test."""

    time = float(POSTED)

    def server_time(self) -> float:
        return self.time


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: SetClock) -> Iterator[Ledger]:
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "account", "run", clock)
    yield opened
    opened.close(clean=True, outcome="completed", counts={})


def deliver(ledger: Ledger, clock: SetClock, *contacts: tuple[bytes, MemberUpdate]) -> None:
    """Post an import and confirm it half a minute later."""
    clock.time = POSTED
    number = ledger.journal.begin([(contact, [update]) for contact, update in contacts])
    clock.time = CONFIRMED
    ledger.journal.confirm(number, set())


def test_stored_numbers_of_ownership_never_change() -> None:
    assert {one.name: one.value for one in Ownership} == {
        "UNTRACKED": 0,
        "ADDED_BY_US": 1,
        "PRE_EXISTING": 2,
        "UNSUBSCRIBED_BY_US": 3,
        "OPTED_OUT": 4,
        "LEFT_STREAM": 5,
        "UNCERTAIN": 6,
        "WITHHELD": 7,
    }


def test_delivered_member_is_found_with_all_its_values(ledger: Ledger, clock: SetClock) -> None:
    segment = ledger.segments.claim("profiles", 1, mirror=True, mark=None).id
    ada = ledger.contact_hash("ada@example.com")
    added = Ownership.ADDED_BY_US
    deliver(ledger, clock, (ada, MemberUpdate(segment, b"digest", added, 1, "a@b.c", b"record")))
    assert ledger.members.find([segment], [ada]) == {
        ada: [
            Member(
                contact=ada,
                segment=segment,
                digest=b"digest",
                ownership=added,
                since=POSTED,
                at=CONFIRMED,
                asked=None,
                has_address=True,
                record_hash=b"record",
                keyed=False,
            )
        ]
    }


def test_removed_member_keeps_the_time_of_its_removal_and_no_address(
    ledger: Ledger, clock: SetClock
) -> None:
    segment = ledger.segments.claim("profiles", 1, mirror=True, mark=None).id
    ada = ledger.contact_hash("ada@example.com")
    deliver(ledger, clock, (ada, MemberUpdate(segment, b"d", Ownership.ADDED_BY_US, 1, "a@b.c")))
    removal = MemberUpdate(segment, None, Ownership.UNSUBSCRIBED_BY_US)
    ledger.members.mark_removed([(ada, [removal])], REMOVED)
    (member,) = ledger.members.find([segment], [ada])[ada]
    assert member.ownership == Ownership.UNSUBSCRIBED_BY_US
    assert (member.since, member.at) == (REMOVED, REMOVED)
    assert (member.digest, member.has_address) == (None, False)


def test_missing_members_say_which_of_them_were_added_by_us(
    ledger: Ledger, clock: SetClock
) -> None:
    segment = ledger.segments.claim("profiles", 1, mirror=True, mark=None).id
    owners = {
        ledger.contact_hash(f"{one.name}@example.com"): one
        for one in (Ownership.ADDED_BY_US, Ownership.PRE_EXISTING, Ownership.UNTRACKED)
    }
    updates = ((c, MemberUpdate(segment, b"d", one, 1, "a@b.c")) for c, one in owners.items())
    deliver(ledger, clock, *updates)
    assert list(ledger.members.missing(segment, 1, [])) == []
    (missing,) = ledger.members.missing(segment, 2, [])
    assert {one.contact: one.ownership for one in missing} == owners
    added = {one.contact for one in missing if one.added_by_us is True}
    assert {owners[contact] for contact in added} == {Ownership.ADDED_BY_US}


def test_member_added_in_sibling_counts_as_added_by_us(ledger: Ledger, clock: SetClock) -> None:
    segment = ledger.segments.claim("profiles", 1, mirror=True, mark=None).id
    sibling = ledger.segments.claim("others", 1, mirror=True, mark=None).id
    ada = ledger.contact_hash("ada@example.com")
    deliver(ledger, clock, (ada, MemberUpdate(segment, b"d", Ownership.PRE_EXISTING, 1, "a@b.c")))
    deliver(ledger, clock, (ada, MemberUpdate(sibling, b"d", Ownership.ADDED_BY_US, 1, "a@b.c")))
    assert list(ledger.members.missing(segment, 2, [sibling])) == [], "the sibling has it"
    ledger.segments.complete_sync(sibling, 2, 0)
    ((missing,),) = ledger.members.missing(segment, 2, [sibling])
    assert missing.added_by_us is True


def test_ledger_of_another_version_is_refused(tmp_path: Path, clock: SetClock) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url, "account", "run", clock).close(clean=True, outcome="completed", counts={})
    with tables(url) as db:
        db.exec_driver_sql("UPDATE ledger SET version = 1")
    with pytest.raises(LedgerError, match=f"have version 1, this one needs {VERSION}"):
        Ledger(url, "account", "run", clock)
