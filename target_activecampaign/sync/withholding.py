"""Withheld records: records of people who have not consented, or who are suppressed.

The ledger stores a withheld record before the record gets its outcome. So the next run recognises
an unchanged record by its hash. People who may be active on the list are unsubscribed at the end
of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.ledger import Withheld
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.ownership import CURRENT
from target_activecampaign.model.withheld import WithheldReason
from target_activecampaign.sync.segment import of_lists

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_activecampaign.ledger import Ledger, Member, MemberUpdate
    from target_activecampaign.sync.ownership import PendingContact
    from target_activecampaign.sync.segment import Segment

REFUSALS = {
    WithheldReason.NO_CONSENT: Refusal("NO_CONSENT", "The person has not consented."),
    WithheldReason.CONSENT_UNKNOWN: Refusal(
        "CONSENT_UNKNOWN", "The record does not say whether the person has consented."
    ),
    WithheldReason.SUPPRESSED: Refusal("SUPPRESSED", "The person is suppressed."),
}
"""The refusal of a record for each reason."""


class Withholding:
    """Decides which contacts of a window are withheld, and stores them.

    Args:
        ledger: Stores the suppressions and the withheld contacts.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def reasons_by_record_hash(
        self,
        segment: Segment,
        contacts: Sequence[bytes],
        record_hashes: Sequence[bytes | None],
    ) -> list[WithheldReason | None]:
        """Return the reason for each record that was withheld before in the same form.

        Args:
            segment: The segment of the records.
            contacts: The hashes of their contacts.
            record_hashes: The hashes of the records.

        Returns:
            A reason per record; None for a record that was not withheld, or has changed.
        """
        found = {
            one.contact: one for one in self._ledger.withheld.find([segment.number], set(contacts))
        }
        reasons: list[WithheldReason | None] = []
        for contact, record_hash in zip(contacts, record_hashes, strict=True):
            one = found.get(contact)
            is_same = one is not None and record_hash is not None and one.record_hash == record_hash
            reasons.append(WithheldReason(one.reason) if one is not None and is_same else None)
        return reasons

    def refuse(self, window: Sequence[PendingContact]) -> None:
        """Refuse contacts of people who are suppressed, or say no in another stream of the list."""
        if self._ledger.suppressions.any():
            self._refuse_suppressed(window)
        valid = [one for one in window if one.refusal is None and one.withheld is None]
        segments = {one.segment.number: one.segment for one in valid}
        siblings = of_lists(segments.values())
        if len(siblings) == 1:
            return
        refused = self._without_consent(window, siblings, {one.entry.contact_hash for one in valid})
        for one in valid:
            others = set(one.segment.of_list) - {one.segment.number}
            if any((number, one.entry.contact_hash) in refused for number in others):
                one.refusal = REFUSALS[WithheldReason.NO_CONSENT]

    def _without_consent(
        self, window: Sequence[PendingContact], segments: set[int], contacts: set[bytes]
    ) -> set[tuple[int, bytes]]:
        """Return who says no, by segment and contact: in the ledger, or since then in a window."""
        found = self._ledger.withheld.find(segments, contacts)
        refused = {
            (one.segment, one.contact) for one in found if one.reason == WithheldReason.NO_CONSENT
        }
        for one in window:
            key = one.segment.number, one.entry.contact_hash
            if one.withheld == WithheldReason.NO_CONSENT:
                refused.add(key)
            elif one.withheld is not None or one.refusal is None:
                refused.discard(key)
        return refused

    def _refuse_suppressed(self, window: Sequence[PendingContact]) -> None:
        """Refuse contacts of suppressed people.

        People whose address has changed wait for the end of the input, and are refused then.
        """
        contacts = {one.entry.contact_hash for one in window if one.entry.contact_hash}
        suppressed = self._ledger.suppressions.find(contacts)
        for one in window if suppressed else ():
            if one.entry.contact_hash in suppressed:
                one.withheld = WithheldReason.SUPPRESSED
                if one.refusal is None:
                    one.refusal = REFUSALS[one.withheld]

    def store(
        self,
        window: Iterable[PendingContact],
        former: Sequence[tuple[PendingContact, bytes]],
        members: Mapping[bytes, Sequence[Member]],
        in_flight: Mapping[str, Mapping[int, MemberUpdate]],
    ) -> None:
        """Store which contacts are withheld now, and which are no longer withheld.

        Args:
            window: The contacts, in their order.
            former: For contacts whose address has changed: the hash of the contact with the former
                address.
            members: The members in the ledger, by contact.
            in_flight: The planned ledger updates of contacts in flight, by contact key and segment.
        """
        last: dict[tuple[int, bytes], PendingContact] = {}
        for one in window:
            if one.entry.contact_hash and (one.withheld is not None or one.refusal is None):
                last[one.segment.number, one.entry.contact_hash] = one
        withheld = {key: one for key, one in last.items() if one.withheld is not None}
        self._discard(last.keys() - withheld.keys())
        if not (withheld or former):
            return
        segments = {one.segment.number: one.segment for one in withheld.values()}
        contacts = {contact for _, contact in withheld}
        found = self._ledger.withheld.find(of_lists(segments.values()), contacts)
        known = {(one.segment, one.contact): one for one in found}
        rows = {
            key: self._row(one, known.get(key), members, in_flight)
            for key, one in withheld.items()
            if one.withheld != WithheldReason.SUPPRESSED
        }
        # A person may have been suppressed by a hash, so that the address is only known now.
        addresses = {contact: one.entry.contact.email for (_, contact), one in withheld.items()}
        for row in found:
            key = row.segment, row.contact
            if row.is_pending and row.address is None and key not in rows:
                rows[key] = row._replace(address=addresses[row.contact])
        rows |= self._rows_of_former(former)
        self._ledger.withheld.store(rows.values())

    def _rows_of_former(
        self, former: Sequence[tuple[PendingContact, bytes]]
    ) -> dict[tuple[int, bytes], Withheld]:
        """Return what to store of contacts that rows have besides, as their address has changed."""
        numbers = {one.segment.number for one, _ in former}
        found = self._ledger.withheld.find(numbers, {contact for _, contact in former})
        known = {(one.segment, one.contact): one.reason for one in found}
        rows = {}
        for one, contact in former:
            key = one.segment.number, contact
            is_new = known.get(key) != one.withheld  # a refusal unsubscribes only once
            if one.withheld == WithheldReason.SUPPRESSED or (
                one.withheld == WithheldReason.NO_CONSENT and is_new
            ):
                rows[key] = Withheld(*key, one.withheld, is_pending=True)
        return rows

    def _discard(self, contacts: Iterable[tuple[int, bytes]]) -> None:
        """Store that contacts, given with their segments, are no longer withheld."""
        by_segment: dict[int, list[bytes]] = {}
        for number, contact in contacts:
            by_segment.setdefault(number, []).append(contact)
        for number, some in by_segment.items():
            self._ledger.withheld.discard(number, some)

    def _row(
        self,
        one: PendingContact,
        known: Withheld | None,
        members: Mapping[bytes, Sequence[Member]],
        in_flight: Mapping[str, Mapping[int, MemberUpdate]],
    ) -> Withheld:
        """Return the row to store for a contact without consent.

        Args:
            one: The contact.
            known: The row that is stored now; None if there is none.
            members: The members in the ledger, by contact.
            in_flight: The planned ledger updates of contacts in flight.
        """
        entry, segment, reason = one.entry, one.segment, one.withheld
        assert reason is not None  # noqa: S101 - only withheld contacts are passed
        # Without a hash, so that the next run reports the record's other problem again.
        is_skipped = one.refusal is not None and one.refusal.code == reason.name
        record_hash = entry.raw if is_skipped else None
        row = Withheld(segment.number, entry.contact_hash, reason, record_hash)
        if known is not None and known.reason in (reason, WithheldReason.SUPPRESSED):
            is_pending = known.is_pending
        else:
            is_pending = reason == WithheldReason.NO_CONSENT and (
                not segment.was_empty or _may_be_ours(one, members, in_flight)
            )
        if not is_pending:
            return row
        contact_id = known.contact_id if known is not None else None
        return row._replace(is_pending=True, address=entry.contact.email, contact_id=contact_id)


def _may_be_ours(
    one: PendingContact,
    members: Mapping[bytes, Sequence[Member]],
    in_flight: Mapping[str, Mapping[int, MemberUpdate]],
) -> bool:
    """Return whether we may have added a contact to its list."""
    of_list = set(one.segment.of_list)
    return not of_list.isdisjoint(in_flight.get(one.entry.key, ())) or any(
        member.segment in of_list and member.ownership in CURRENT
        for member in members.get(one.entry.contact_hash, ())
    )
