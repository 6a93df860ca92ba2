"""The ownership of list memberships: the mirror may later remove only contacts that we added.

It is decided before a contact is sent: a contact that is on the list already is not ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from target_activecampaign.delivery.batches import Resubscription
from target_activecampaign.delivery.resubscribe import is_subscribed_by_us
from target_activecampaign.ledger import Member, MemberUpdate
from target_activecampaign.model.ownership import CURRENT, Ownership

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.delivery.batches import Entry
    from target_activecampaign.model.codes import Refusal
    from target_activecampaign.model.withheld import WithheldReason
    from target_activecampaign.sync.segment import Segment


class PendingContact(msgspec.Struct, eq=False, gc=False):
    """A contact that waits to be compared.

    Attributes:
        entry: The contact as it is sent.
        segment: The segment that it goes to.
        digest: The contact's digest.
        needs_lookup: Whether ActiveCampaign has to be asked if the contact is on the list already.
        uncertain: The member with `UNCERTAIN` ownership, if there is one.
        refusal: Why its record is rejected or skipped, if it is. Then only its address counts;
            without a valid one, its key is empty.
        withheld: Why it may not be subscribed, by its own record.
    """

    entry: Entry
    segment: Segment
    digest: bytes = b""
    needs_lookup: bool = False
    uncertain: Member | None = None
    refusal: Refusal | None = None
    withheld: WithheldReason | None = None

    def is_of(self, segment: Segment, row: bytes) -> bool:
        """Return whether it is the contact of one source row of a segment, and of no other."""
        return self.segment is segment and self.entry.rows == (row,)


def plan_ledger_update(
    pending: PendingContact,
    members: Mapping[int, Member],
    in_flight: Mapping[int, MemberUpdate],
) -> None:
    """Set the ledger update of a contact that is sent, for when it is confirmed.

    Args:
        pending: The contact.
        members: The contact's members of segments of the same list, by segment.
        in_flight: The updates of its earlier contacts that are not confirmed, likewise.
    """
    entry, segment = pending.entry, pending.segment
    number = segment.number
    entry.known = number in members
    entry.list_ids = (segment.target.id,)
    is_member = number in members and members[number].ownership in CURRENT
    if not is_member and number not in in_flight and pending.withheld is None:
        entry.joins = (number,)
    ownership: Ownership | None
    if pending.withheld is not None:
        is_new = number not in members or members[number].ownership == Ownership.LEFT_STREAM
        ownership = Ownership.WITHHELD if is_new else None
    elif not in_flight:
        ownership = _ownership(pending, members)
    elif number in in_flight:
        # The earlier contact's update sets the ownership.
        ownership = None
    elif of_list := [one for other, one in in_flight.items() if other in segment.of_list]:
        # So does that of another stream of the list.
        ownership = of_list[-1].ownership
    else:
        ownership = _ownership(pending, members)
    address = entry.contact.email if segment.keeps_addresses else None
    keyed = segment.follows and bool(entry.rows)
    entry.marks[number] = MemberUpdate(
        number, pending.digest, ownership, segment.seen or 0, address, entry.raw, keyed
    )


def _ownership(pending: PendingContact, members: Mapping[int, Member]) -> Ownership | None:
    """Return the ownership once the import is confirmed; None if a lookup has to decide it."""
    segment = pending.segment
    if not (members or segment.unsubscribes):
        return Ownership.UNTRACKED
    own = members.get(segment.number)
    current = {one.ownership for one in members.values() if one.ownership in CURRENT}
    unsubscribed_from = last_unsubscribed(members)
    if unsubscribed_from is not None:
        member = members[unsubscribed_from]
        back = Resubscription(segment.target.id, unsubscribed_from, member, segment.number)
        pending.entry.needs_resubscribe = (back,)
        return Ownership.ADDED_BY_US
    adopts = segment.unsubscribes and segment.settings.adopt_members
    if own is not None and own.ownership in CURRENT and own.ownership != Ownership.UNCERTAIN:
        return Ownership.ADDED_BY_US if adopts else Ownership(own.ownership)
    if own is not None and own.ownership == Ownership.OPTED_OUT:
        # If the import is confirmed, the contact has subscribed again on its own.
        return Ownership.PRE_EXISTING
    if not segment.unsubscribes:
        return Ownership.UNTRACKED
    if adopts or Ownership.ADDED_BY_US in current:
        return Ownership.ADDED_BY_US
    if current - {Ownership.UNCERTAIN}:
        return Ownership.PRE_EXISTING
    pending.needs_lookup = True
    pending.uncertain = next(
        (one for one in members.values() if one.ownership == Ownership.UNCERTAIN), None
    )
    return None


def resolve_ownership(sent: list[PendingContact]) -> None:
    """Look up which contacts are on their list already, and set the ownership in their updates."""
    lookups: dict[int, list[PendingContact]] = {}
    for one in sent:
        if one.needs_lookup:
            lookups.setdefault(one.segment.number, []).append(one)
    for number, pending in lookups.items():
        roster = pending[0].segment.roster
        assert roster is not None  # noqa: S101 - a mirror that unsubscribes has one
        new = {
            one.entry.contact_hash: one.entry.contact.email for one in pending if not one.uncertain
        }
        old = {one.entry.contact_hash: one.entry.contact.email for one in pending if one.uncertain}
        on_list, memberships = roster.find(new), roster.memberships(old)
        for one in pending:
            contact, added = one.entry.contact_hash, True
            if one.uncertain is not None and contact in memberships:
                added = is_subscribed_by_us(
                    memberships[contact], one.uncertain.since, one.uncertain.at
                )
            elif contact in on_list:
                added = False
            ownership = Ownership.ADDED_BY_US if added else Ownership.PRE_EXISTING
            one.entry.marks[number] = replace(one.entry.marks[number], ownership=ownership)


def last_unsubscribed(members: Mapping[int, Member]) -> int | None:
    """Return the segment that a contact was last unsubscribed from; None if it is current again.

    Args:
        members: The contact's members by segment.
    """
    unsubscribed = [
        (one.at, segment)
        for segment, one in members.items()
        if one.ownership == Ownership.UNSUBSCRIBED_BY_US
    ]
    current = [one.at for one in members.values() if one.ownership in CURRENT]
    if not unsubscribed or max(unsubscribed)[0] < max(current, default=0):
        return None
    return max(unsubscribed)[1]
