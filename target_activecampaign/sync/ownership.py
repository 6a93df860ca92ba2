"""What is kept of a contact that is sent, and whether its membership is of our making.

Whom a mirror may take off a list one day is decided here, when a person is put on it: those who
were there before are not ours.
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
        asks: Whether it is to be asked if the person is on the list already.
        maybe: What is known of them if they may be there by our doing.
    """

    entry: Entry
    segment: Segment
    digest: bytes = b""
    asks: bool = False
    maybe: Known | None = None


def mark(
    candidate: PendingContact, rows: Mapping[int, Known], under_way: Mapping[int, Mark]
) -> None:
    """Say what the ledger is to keep of a contact that is sent.

    Args:
        candidate: The contact.
        rows: What the ledger knows of the person, by segment of the same list.
        under_way: What it is to keep of them of contacts that are not settled, likewise.
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
    """What a membership will be once the import is confirmed; None for one to be asked for."""
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
        # If it is confirmed, they have subscribed again by themselves.
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
    """Tell people whom we add from those who are on the list already, where that is to be asked."""
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
    """The segment from which a person was last unsubscribed, if they are not on the list since."""
    left = [(row.at, number) for number, row in rows.items() if row.membership == LEFT]
    current = [row.at for row in rows.values() if row.membership in CURRENT]
    if not left or max(left)[0] < max(current, default=0):
        return None
    return max(left)[1]
