"""Ownership of memberships: which contacts the target has put on a list.

It is decided when a contact is sent. A mirror may later remove those that the target has added,
and not those that were on the list before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from target_activecampaign.delivery.batches import Return
from target_activecampaign.delivery.resubscribe import began_with_us
from target_activecampaign.ledger import Known, Mark
from target_activecampaign.ledger.schema import (
    CURRENT,
    FOUND,
    LEFT,
    MAYBE,
    OPTED_OUT,
    OURS,
    UNKNOWN,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.sync.segment import Segment


class PendingContact(msgspec.Struct, eq=False, gc=False):
    """A contact that waits to be compared.

    Attributes:
        entry: The contact and its records.
        segment: Where it goes.
        digest: The digest of its body.
        asks: Whether ActiveCampaign is to be asked if it is on the list already.
        maybe: What the ledger has of it, if it may be on the list by our doing.
    """

    entry: Entry
    segment: Segment
    digest: bytes = b""
    asks: bool = False
    maybe: Known | None = None


def plan_ledger_update(
    candidate: PendingContact, rows: Mapping[int, Known], under_way: Mapping[int, Mark]
) -> None:
    """Plan what the ledger keeps of a contact once it is confirmed.

    Args:
        candidate: The contact.
        rows: What the ledger has of it, by segment of the same list.
        under_way: What is planned of earlier contacts in flight, likewise.
    """
    entry, segment = candidate.entry, candidate.segment
    number = segment.number
    entry.known = number in rows
    membership: int | None
    if not under_way:
        membership = _membership(candidate, rows)
    elif number in under_way:
        # The earlier contact says what the membership is.
        membership = None
    elif siblings := [one for n, one in under_way.items() if n in segment.of_list]:
        # As far as the earlier contact, of another stream of the list, says it.
        membership = siblings[-1].membership
    else:
        membership = _membership(candidate, rows)
    address = entry.contact.email if segment.mirror else None
    entry.marks[number] = Mark(
        number, candidate.digest, membership, segment.seen or 0, address, entry.raw
    )


def _membership(candidate: PendingContact, rows: Mapping[int, Known]) -> int | None:
    """Return the membership after the import; None if ActiveCampaign must be asked."""
    segment = candidate.segment
    if not (rows or segment.unsubscribes):
        return UNKNOWN
    own = rows.get(segment.number)
    current = {row.membership for row in rows.values() if row.membership in CURRENT}
    left = last_left(rows)
    if left is not None:
        back = Return(segment.target.id, left, rows[left], segment.number)
        candidate.entry.needs_resubscribe = (back,)
        return OURS
    adopts = segment.unsubscribes and segment.settings.adopt_members
    if own is not None and own.membership in CURRENT and own.membership != MAYBE:
        return OURS if adopts else own.membership
    if own is not None and own.membership == OPTED_OUT:
        # If it is confirmed, the contact has subscribed again by itself.
        return FOUND
    if not segment.unsubscribes:
        return UNKNOWN
    if adopts or OURS in current:
        return OURS
    if current - {MAYBE}:
        return FOUND
    candidate.asks = True
    candidate.maybe = next((row for row in rows.values() if row.membership == MAYBE), None)
    return None


def resolve_ownership(sent: list[PendingContact]) -> None:
    """Ask which contacts are on the list already: the others are added by us."""
    asked: dict[int, list[PendingContact]] = {}
    for one in sent:
        if one.asks:
            asked.setdefault(one.segment.number, []).append(one)
    for number, some in asked.items():
        roster = some[0].segment.roster
        assert roster is not None  # noqa: S101 - only segments with one ask
        new = {one.entry.person: one.entry.contact.email for one in some if not one.maybe}
        old = {one.entry.person: one.entry.contact.email for one in some if one.maybe}
        found, began = roster.find(new), roster.subscribed_at(old)
        for one in some:
            person, ours = one.entry.person, True
            if one.maybe is not None and person in began:
                ours = began_with_us(began[person], one.maybe.since, one.maybe.at)
            elif person in found:
                ours = False
            membership = OURS if ours else FOUND
            one.entry.marks[number] = replace(one.entry.marks[number], membership=membership)


def last_left(rows: Mapping[int, Known]) -> int | None:
    """Return the segment that last removed a contact, if it has not been on the list since."""
    left = [(row.at, number) for number, row in rows.items() if row.membership == LEFT]
    current = [row.at for row in rows.values() if row.membership in CURRENT]
    if not left or max(left)[0] < max(current, default=0):
        return None
    return max(left)[1]
