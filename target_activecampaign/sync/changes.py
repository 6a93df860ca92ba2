"""Contacts compared with the ledger, many at a time: each is unchanged, skipped or sent.

A contact equal to the one last delivered is unchanged. One that the sync mode excludes is skipped.
All others are packed, each with the ledger update that applies once it is confirmed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_activecampaign.ledger import Member, by_segment, digest
from target_activecampaign.model.codes import CODES
from target_activecampaign.model.ownership import CURRENT, Ownership
from target_activecampaign.sync.ownership import (
    PendingContact,
    last_unsubscribed,
    plan_ledger_update,
    resolve_ownership,
)
from target_activecampaign.sync.segment import of_lists
from target_activecampaign.sync.withholding import REFUSALS
from target_activecampaign.text import chunks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.config.settings import Settings
    from target_activecampaign.delivery.batches import Entry, Packer
    from target_activecampaign.delivery.delivery import Delivery
    from target_activecampaign.ledger import Ledger, Member, MemberUpdate
    from target_activecampaign.model.codes import Refusal
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.record import Source
    from target_activecampaign.model.withheld import WithheldReason
    from target_activecampaign.sync.existing_values import StoredValues
    from target_activecampaign.sync.known_refusals import KnownRefusals
    from target_activecampaign.sync.rejected import RejectedRecords
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.source_rows import Resolved, RowTracker
    from target_activecampaign.sync.withholding import Withholding

WINDOW_BYTES = 8 * 1024 * 1024
_DAY = 86_400
_NO_MEMBERS: dict[int, Member] = {}
_NO_UPDATES: dict[int, MemberUpdate] = {}
_NEEDS_NO_SENDING = (*CURRENT, Ownership.OPTED_OUT, Ownership.WITHHELD)
"""Kinds of ownership with which an unchanged profile need not be sent."""


@dataclass(slots=True)
class _Notes:
    """Facts about one segment's contacts in a window, to be stored in the ledger."""

    segment: Segment
    unchanged: list[bytes] = field(default_factory=list)
    outdated: list[bytes] = field(default_factory=list)
    addresses: list[tuple[bytes, str]] = field(default_factory=list)
    changed: int = 0
    record_hashes: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    others: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    keyed: list[bytes] = field(default_factory=list)

    def add_record_hash(self, contact_hash: bytes, raw: bytes, known: bytes | None) -> None:
        """Add the record hash of an unchanged contact, if the ledger has none or another."""
        (self.record_hashes if known is None else self.others).append((contact_hash, raw))

    def record_hashes_to_store(self) -> list[tuple[bytes, bytes | None]]:
        """Return the hashes of records that are worth storing.

        If most records change but their contacts don't, an unmapped value changes in each run, such
        as the time of extraction. Such hashes would never match, so they are not stored.
        """
        by_hash, self.segment.unchanged_by_hash = self.segment.unchanged_by_hash, 0
        worth = 2 * len(self.others) <= len(self.unchanged) + by_hash
        return self.record_hashes + (self.others if worth else [])


@dataclass(slots=True, eq=False)
class _Deletion:
    """A record that is marked as deleted, or is skipped for another reason.

    Attributes:
        segment: The segment that it would have gone to.
        sources: The record, after those of its contact that are not sent because of it.
        key: The key of its contact, if it has one.
        contact_hash: The hash of that key.
        row: The key of its source row, if it is known.
        is_last: Whether no later record has the contact or the row, and no other row the contact.
        is_last_of_row: Whether no later record has the row.
        code: The reason for which the record is skipped.
    """

    segment: Segment
    sources: list[Source]
    key: str | None = None
    contact_hash: bytes | None = None
    row: bytes = b""
    is_last: bool = True
    is_last_of_row: bool = True
    code: str = "DELETED"


@dataclass(slots=True)
class Decisions:
    """Decisions about the contacts of a window.

    Attributes:
        sent: Contacts to be sent, in their order.
        others: The records of the other contacts, with their outcome and perhaps a code.
        notes: Facts to store in the ledger first, by segment.
    """

    sent: list[PendingContact] = field(default_factory=list)
    others: list[tuple[list[Source], str, str | None]] = field(default_factory=list)
    notes: dict[int, _Notes] = field(default_factory=dict)

    def notes_of(self, segment: Segment) -> _Notes:
        """Return the facts about a segment's contacts, to add to."""
        return self.notes.setdefault(segment.number, _Notes(segment))

    def take_for_unchanged(self, one: PendingContact, own: Member) -> None:
        """Note that a contact that was to be sent is unchanged after all."""
        notes = self.notes_of(one.segment)
        notes.outdated.remove(one.entry.contact_hash)
        notes.changed -= 1
        self.others.append((one.entry.sources, "unchanged", None))
        _note_unchanged(notes, one.entry, own)

    def leave_out(self, one: PendingContact, own: Member | None, code: str) -> None:
        """Skip a contact that was to be sent, for the reason of a code. Nothing of it is stored.

        Args:
            one: The contact.
            own: Its member of the segment, if it has one.
            code: The code.
        """
        if own is not None:
            notes = self.notes_of(one.segment)
            notes.outdated.remove(one.entry.contact_hash)
            notes.changed -= own.digest not in (None, one.digest)
        self.others.append((one.entry.sources, "skipped", code))


class ChangeDetector:
    """Compares contacts, in the order of their records.

    Args:
        settings: The settings.
        ledger: The contacts that were delivered.
        accounting: Counts records.
        packer: Packs the contacts to be sent.
        delivery: Sends full batches, and knows the contacts in flight.
        rows: Holds contacts against the rows of their source.
        withholding: Finds and stores withheld contacts.
        refusals: Finds contacts that ActiveCampaign is known to refuse.
        rejected: Learns of each record, as it replaces rejected ones.
        window_records: Records that are compared at once.

    Attributes:
        rejected, window_records: As given.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        accounting: RecordAccounting,
        packer: Packer,
        delivery: Delivery,
        *,
        rows: RowTracker,
        withholding: Withholding,
        refusals: KnownRefusals,
        rejected: RejectedRecords,
        window_records: int,
    ) -> None:
        self.rejected = rejected
        self.window_records = window_records
        self._skips = settings.skip_unchanged and not settings.full_resync
        self._resync_seconds = (
            None if settings.resync_after_days is None else settings.resync_after_days * _DAY
        )
        self._ledger = ledger
        self._accounting = accounting
        self._packer = packer
        self._delivery = delivery
        self._rows = rows
        self._withholding = withholding
        self._refusals = refusals
        self._stored: list[StoredValues] = []
        self._window: list[PendingContact] = []
        self._latest: dict[str, PendingContact] = {}
        self._latest_of_row: dict[tuple[int, tuple[bytes, ...]], PendingContact] = {}
        self._deleted: list[_Deletion] = []
        # Those that are the last word so far, by segment and contact or row.
        self._last_deleted: dict[tuple[int, bytes], _Deletion] = {}
        # Contacts that were taken out of the open batch, as their record is deleted.
        self._unpacked: set[str] = set()
        # Contacts with a record after a deleted one in the same window.
        self._present_again: set[tuple[int, bytes]] = set()
        # People who were suppressed while contacts were in flight.
        self._suppressed: set[bytes] = set()
        self._since = 0.0

    def wait_until_recovered(self) -> None:
        """Wait until the imports that an interrupted run left in flight are checked."""
        self._delivery.wait_until_recovered()

    def in_flight(self, keys: AbstractSet[str]) -> dict[str, dict[int, MemberUpdate]]:
        """Return the planned ledger updates of contacts that are in a batch without an outcome."""
        return self._delivery.contacts.marks(keys, self._packer.marks(keys))

    def take(  # noqa: PLR0917 - for each record, and names cost more
        self,
        contact: Contact,
        source: Source,
        segment: Segment,
        raw: bytes | None,
        contact_hash: bytes | None = None,
        row: bytes = b"",
        reason: WithheldReason | None = None,
    ) -> None:
        """Add a record's contact to those that `compare` compares.

        Args:
            contact: The contact; of a record that is skipped for a reason, only its address.
            source: The record.
            segment: The segment that it goes to.
            raw: The hash of the record.
            contact_hash: The hash of the contact's key, if it is known.
            row: The key of its source row; empty if it has none, or rows need not be known.
            reason: Why the person may not be subscribed, if there is a reason.

        Raises:
            Refusal: It can't be sent.
        """
        if reason is not None:
            segment.leave_out_membership(contact)
        entry = self._packer.entry(contact, [source])
        entry.raw = raw
        entry.contact_hash = contact_hash or self._ledger.contact_hash(contact.key)
        entry.rows = (row,) if row else ()
        if reason is None:
            self.add(entry, segment)
        else:
            self._withhold(entry, segment, reason)

    def add(self, entry: Entry, segment: Segment) -> None:
        """Add a contact to those that `compare` compares."""
        contact = entry.contact
        if not self._window:
            self._start_clock()
        self.rejected.note(segment, entry.contact_hash, entry.rows, entry.sources[-1].number)
        if self._last_deleted or segment.deleted:
            self._mark_present(segment, entry.contact_hash, *entry.rows)
        latest = self._latest.get(contact.key)
        if latest is None or not self._merged(latest, entry, segment):
            candidate = self._latest[contact.key] = PendingContact(entry, segment)
            self._window.append(candidate)
            if entry.rows:
                self._latest_of_row[segment.number, entry.rows] = candidate

    def _merged(self, latest: PendingContact, entry: Entry, segment: Segment) -> bool:
        """Merge a contact into the waiting one of the same key. Return False if it can't be."""
        if latest.segment is not segment or latest.withheld is not None:
            return False
        if segment.follows and not self._follows_directly(latest, entry):
            return False
        if segment.stored is not None:
            # Only the first value fills an empty destination.
            given = {name for name, value in latest.entry.contact.values.items() if value}
            if filled := given & segment.stored.destinations:
                entry.leave_out(filled)
        merged = latest.entry.followed_by(entry)
        if merged is None or not self._packer.fits(merged):
            return False
        latest.entry = merged
        return True

    def _follows_directly(self, latest: PendingContact, entry: Entry) -> bool:
        """Return whether two records are of one row, with no other address of it in between."""
        if not entry.rows:
            return not latest.entry.rows
        return self._latest_of_row.get((latest.segment.number, entry.rows)) is latest

    def refuse(
        self,
        source: Source,
        refusal: Refusal,
        segment: Segment,
        address: Contact,
        row: bytes = b"",
        *,
        reason: WithheldReason | None = None,
    ) -> None:
        """Add a record that is refused, so that its values are not sent.

        In a mirror, its contact counts as in the stream all the same. If its row is followed, the
        contact gets the record's address. Both are stored before the record gets its outcome.

        Args:
            source: The record.
            refusal: The reason.
            segment: The segment that it would have gone to.
            address: A contact with its address alone; empty if it has no valid one.
            row: The key of its source row, as for `take`.
            reason: Why the person may not be subscribed, by this record.
        """
        self._start_clock()
        segment.has_contacts = segment.has_contacts or bool(address.key or row)
        entry = self._packer.entry(address, [source])
        entry.contact_hash = self._ledger.contact_hash(entry.key) if entry.key else b""
        entry.rows = (row,) if row else ()
        self._add_alone(PendingContact(entry, segment, refusal=refusal, withheld=reason))

    def _withhold(self, entry: Entry, segment: Segment, reason: WithheldReason) -> None:
        """Add the contact of a record that may not subscribe its person.

        A contact of the person that still waits for the same list is not sent.
        """
        self._start_clock()
        segment.has_contacts = True
        earlier = self._take_back(entry.key, entry.contact_hash, segment, b"", segment.of_list)
        if earlier:
            entry.sources, entry.raw = [*earlier, *entry.sources], None
        is_skipped = segment.settings.without_consent == "skip"
        withheld = PendingContact(
            entry, segment, refusal=REFUSALS[reason] if is_skipped else None, withheld=reason
        )
        self._add_alone(withheld)
        if not is_skipped:
            self._latest[entry.key] = withheld

    def _add_alone(self, one: PendingContact) -> None:
        """Add a contact to the window that is not merged with others."""
        entry = one.entry
        self.rejected.note(one.segment, entry.contact_hash, entry.rows, entry.sources[-1].number)
        self._mark_present(one.segment, *filter(None, (entry.contact_hash, *entry.rows)))
        self._window.append(one)
        if one.entry.rows:
            self._latest_of_row[one.segment.number, one.entry.rows] = one

    def delete(
        self,
        source: Source,
        segment: Segment,
        key: str | None,
        contact_hash: bytes | None = None,
        row: bytes = b"",
    ) -> None:
        """Add a record that is marked as deleted. A contact of it that still waits is not sent.

        A contact of another row with the same address is sent. Batches that were submitted are not
        changed.

        Args:
            source: The record.
            segment: The segment that it would have gone to.
            key: The key of its contact, if it has one.
            contact_hash: The hash of that key, if it is known.
            row: The key of its source row, as for `take`.
        """
        self._start_clock()
        contact_hash = contact_hash or (self._ledger.contact_hash(key) if key else None)
        earlier = self._take_back(key, contact_hash, segment, row, [segment.number])
        self.rejected.note(segment, contact_hash, (row,), source.number)
        segment.has_deletions = True
        deletion = _Deletion(segment, [*earlier, source], key, contact_hash, row)
        latest = self._latest.get(key or "")
        deletion.is_last = latest is None or latest.segment is not segment
        self._deleted.append(deletion)
        for identity in (contact_hash if deletion.is_last else None, row):
            if identity:
                self._last_deleted[segment.number, identity] = deletion

    def skip(self, source: Source, segment: Segment, code: str) -> None:
        """Add a record that changes nothing, for the reason of a code."""
        self._start_clock()
        self._deleted.append(_Deletion(segment, [source], is_last=False, code=code))

    def _take_back(
        self,
        key: str | None,
        contact_hash: bytes | None,
        segment: Segment,
        row: bytes,
        segments: Sequence[int],
    ) -> list[Source]:
        """Remove the contacts of a row, and its contact of this key, if they are not sent yet.

        Args:
            key: The key.
            contact_hash: The hash of the key.
            segment: The segment of the record.
            row: The key of the row; empty for any.
            segments: The segments of which the open batch may have the contact.

        Returns:
            Their records.
        """
        earlier = self._remove_from_window(key, segment, row)
        if not key or contact_hash is None:
            return earlier
        packed = self._packer.drop(key, segments, row)
        if packed:
            self._unpacked.add(key)
            for stored in self._stored:
                stored.forget(contact_hash)
        return [*packed, *earlier]

    def drop(self, suppressed: Collection[bytes]) -> None:
        """Drop what waits in the open batch for people who are suppressed now.

        Those that wait to be compared are refused by then. Of those in flight, what is delivered
        is forgotten once that is known.
        """
        if not suppressed:
            return
        for entry in self._packer.drop_contacts(suppressed):
            for stored in self._stored:
                stored.forget(entry.contact_hash)
            if entry.sources:
                self._accounting.record_outcome(entry.sources, "skipped", "SUPPRESSED")
        self._suppressed |= self._delivery.contacts.find(suppressed)

    def _remove_from_window(self, key: str | None, segment: Segment, row: bytes) -> list[Source]:
        """Remove the contacts of a row, and its contact of this key, from the window.

        Returns:
            Their records.
        """
        if key not in self._latest and (segment.number, (row,)) not in self._latest_of_row:
            return []
        gone = [
            one
            for one in self._window
            if one.refusal is None
            and (
                one.is_of(segment, row)
                or (one.entry.key == key and one.segment is segment and one.entry.is_only_of(row))
            )
        ]
        for one in gone:
            self._window.remove(one)
            rest = [
                other
                for other in self._window
                if other.entry.key == one.entry.key and other.refusal is None
            ]
            if rest:
                self._latest[one.entry.key] = rest[-1]
            else:
                self._latest.pop(one.entry.key, None)
        return [source for one in gone for source in one.entry.sources]

    def _mark_present(self, segment: Segment, *identities: bytes) -> None:
        """Note that a contact or row is in the stream, even if an earlier record was deleted."""
        for one in identities:
            deletion = self._last_deleted.pop((segment.number, one), None)
            if deletion is not None:
                deletion.is_last = False
                deletion.is_last_of_row &= one != deletion.row
                if deletion.contact_hash:
                    self._present_again.add((segment.number, deletion.contact_hash))
            segment.deleted.discard(one)

    def _start_clock(self) -> None:
        if not self._has_waiting:
            self._since = time.monotonic()

    @property
    def _has_waiting(self) -> bool:
        return bool(self._window or self._deleted)

    @property
    def waiting(self) -> set[str]:
        """The keys of the contacts, deleted ones included, that wait to be compared."""
        return {*self._latest, *(one.key for one in self._deleted if one.key and one.is_last)}

    def unchanged_by_record_hash(
        self,
        segment: Segment,
        contact_hashes: Sequence[bytes],
        record_hashes: Sequence[bytes | None],
        rows: Mapping[bytes, list[Member]],
    ) -> list[bool]:
        """Return for each record whether its contact was delivered from the same record.

        The caller leaves out contacts in flight, for which the ledger may be out of date.

        Args:
            segment: The segment of the records.
            contact_hashes: The hashes of the contacts' keys.
            record_hashes: The hashes of the records.
            rows: The ledger's members, by contact.
        """
        keeps_addresses, number, of_list = (
            segment.keeps_addresses,
            segment.number,
            segment.of_list,
        )
        moving = segment.moving
        ages = not self._skips or self._resync_seconds is not None
        found = []
        for contact_hash, raw in zip(contact_hashes, record_hashes, strict=True):
            some = rows.get(contact_hash)
            if some is None or (moving and (segment.moves_many or contact_hash in moving)):
                found.append(False)
                continue
            alone = len(some) == 1
            row = (
                some[0] if alone else next((one for one in some if one.segment == number), some[0])
            )
            _, of, own_digest, membership, _, _, _, has_address, own_raw, _ = row
            same = (
                of == number
                and own_raw == raw
                and raw is not None
                and own_digest is not None
                and bool(has_address or not keeps_addresses)
            )
            if same and alone and not ages:
                # Nearly all records: in one segment of the list only, and the age does not matter.
                same = membership in _NEEDS_NO_SENDING
            elif same:
                all_ = by_segment([one for one in some if one.segment in of_list])
                same = self._needs_no_resend(all_[number], all_)
            found.append(same)
        return found

    def withheld_by_record_hash(
        self,
        segment: Segment,
        contact_hashes: Sequence[bytes],
        record_hashes: Sequence[bytes | None],
    ) -> list[WithheldReason | None]:
        """Return for each record why it is withheld, if the same record was withheld before.

        Args:
            segment: The segment of the records.
            contact_hashes: The hashes of the contacts' keys.
            record_hashes: The hashes of the records.

        Returns:
            Nothing at all if nobody is withheld from the segment.
        """
        if not self._skips or not self._ledger.withheld.any([segment.number]):
            return []
        return self._withholding.reasons_by_record_hash(segment, contact_hashes, record_hashes)

    def contacts_of_rows(self, segment: Segment, rows: Collection[bytes]) -> set[bytes]:
        """Return the contacts that source rows have, by the ledger."""
        return {one.contact for one in self._rows.rows_of(segment, rows).values()}

    def age(self) -> float:
        """Return the seconds since the first contact was added; 0 if none waits."""
        return time.monotonic() - self._since if self._has_waiting else 0.0

    def compare(
        self,
        contact_hashes: Collection[bytes] = (),
        rows: Mapping[bytes, list[Member]] | None = None,
        under_way: dict[str, dict[int, MemberUpdate]] | None = None,
    ) -> None:
        """Compare all contacts that wait. Record the outcome of some, and send the others.

        Args:
            contact_hashes: The contacts that `rows` and `under_way` cover. Others are looked up.
            rows: Their members in all segments of the ledger, looked up after `under_way`.
            under_way: The planned ledger updates of those in flight.
        """
        if not self._has_waiting:
            return
        self.wait_until_recovered()
        window, self._window, self._latest = self._window, [], {}
        self._latest_of_row = {}
        deleted, self._deleted, self._last_deleted = self._deleted, [], {}
        self._discard_rejected(window, deleted)
        self._withholding.refuse(window)
        valid = [one for one in window if one.refusal is None]
        for one in valid:
            one.segment.has_contacts = True
            digest_suffix = one.segment.digest_suffix
            one.digest = digest(one.entry.body + digest_suffix if digest_suffix else one.entry.body)
        unknown = [
            one
            for one in window
            if (one.refusal is None or one.withheld is not None)
            and one.entry.contact_hash not in contact_hashes
        ]
        # Before the ledger: a contact confirmed in between is then found in both, not in neither.
        marks = {**(under_way or {}), **self.in_flight({one.entry.key for one in unknown})}
        unpacked, self._unpacked = self._unpacked, set()
        marks |= {**dict.fromkeys(unpacked, _NO_UPDATES), **self.in_flight(unpacked)}
        rows = {**(rows or {}), **self._members(unknown)} if unknown else rows or {}
        resolved = self._rows.resolve(window, rows, marks)
        decisions = self._decide(resolved.rest, rows, marks)
        resolved.refused += self._take_out_refused(decisions, rows, marks)
        self._present_again.clear()
        resolve_ownership(decisions.sent)
        self._drop_filled_values(decisions.sent)
        self._note_present(window, resolved, decisions)
        # Stored first, in case of a kill: STATE must not run ahead of what a mirror has seen.
        self._note(decisions)
        self._note_deleted(deleted)
        waiting = set(map(id, resolved.waiting))  # nothing is decided about these yet
        decided = [one for one in window if id(one) not in waiting]
        self._withholding.store(decided, resolved.former, rows, marks)
        for one, refusal in resolved.refused:
            sources = one.entry.sources
            if CODES[refusal.code].is_skip:
                self._accounting.record_outcome(sources, "skipped", refusal.code)
            else:
                key = one.entry.key or None
                self._accounting.refused(sources, refusal.code, refusal.reason, key)
        for sources, kind, code in decisions.others:
            self._accounting.record_outcome(sources, kind, code)
        for deletion in deleted:
            self._accounting.record_outcome(deletion.sources, "skipped", deletion.code)
        for one in decisions.sent:
            for batch in self._packer.add(one.entry):
                self._delivery.submit(batch)

    def _discard_rejected(
        self, window: Sequence[PendingContact], deleted: Sequence[_Deletion]
    ) -> None:
        """Delete the rejected records of earlier runs that these records replace."""
        found: dict[int, tuple[Segment, set[bytes], set[bytes]]] = {}
        for one in window:
            _, contacts, rows = found.setdefault(one.segment.number, (one.segment, set(), set()))
            contacts.add(one.entry.contact_hash)
            rows.update(one.entry.rows)
        for each in deleted:
            _, contacts, rows = found.setdefault(each.segment.number, (each.segment, set(), set()))
            contacts.add(each.contact_hash or b"")
            rows.add(each.row)
        for segment, contacts, rows in found.values():
            self.rejected.discard(segment, contacts - {b""}, rows - {b""})

    def _note(self, decisions: Decisions) -> None:
        """Store the facts about the window's contacts in the ledger."""
        for notes in decisions.notes.values():
            self._ledger.members.record_seen(
                notes.segment.number,
                notes.segment.seen,
                unchanged=notes.unchanged,
                outdated=notes.outdated,
                addresses=notes.addresses,
                record_hashes=notes.record_hashes_to_store(),
                changed=notes.changed,
            )
            if notes.keyed:
                self._ledger.members.mark_keyed(notes.segment.number, notes.keyed)

    def _note_present(
        self,
        window: Sequence[PendingContact],
        resolved: Resolved,
        decisions: Decisions,
    ) -> None:
        """Add the contacts that are in the stream although they are not sent, and who stays."""
        segments = {one.segment.number: one.segment for one in window}
        for one in window:
            if one.refusal is not None and one.entry.contact_hash:
                decisions.notes_of(one.segment).unchanged.append(one.entry.contact_hash)
                if one.withheld is not None:
                    # The record with consent may come again as it was.
                    hashes = decisions.notes_of(one.segment).record_hashes
                    hashes.append((one.entry.contact_hash, None))
        for number, contacts in resolved.seen.items():
            decisions.notes_of(segments[number]).unchanged += contacts
        for one, contact in resolved.former:
            # Without its record's hash, the next record of the row is looked at whatever it says.
            decisions.notes_of(one.segment).record_hashes.append((contact, None))
        for number, segment in segments.items():
            if self._ledger.departures.any(number):
                rest = resolved.rest
                there = {one.entry.contact_hash for one in rest if one.segment is segment}
                there.update(decisions.notes_of(segment).unchanged)
                self._ledger.departures.discard(number, there)

    def _note_deleted(self, deleted: Sequence[_Deletion]) -> None:
        """Store which contacts and rows were deleted.

        The digests of the contacts are cleared: a later record of one is then sent, even if it is
        the same. A mirror counts the contact as missing, unless it stores who departs: then another
        row may still have the contact.
        """
        by_segment: dict[int, list[_Deletion]] = {}
        for one in deleted:
            if one.code == "DELETED":
                by_segment.setdefault(one.segment.number, []).append(one)
        for some in by_segment.values():
            self._note_deleted_of(some[0].segment, some)

    def _note_deleted_of(self, segment: Segment, deleted: Sequence[_Deletion]) -> None:
        """Store the deletions of a segment, and set the code of those of an unknown row."""
        known = self._rows.rows_of(segment, (one.row for one in deleted if one.row))
        rows = {one.row for one in deleted if one.row and one.is_last_of_row}
        waited = self._rows.delete(segment, known, rows)
        if segment.leaves_when_deleted:
            unkeyed = (one.contact_hash for one in deleted if one.is_last and not one.row)
            self._rows.delete_rows_of(segment, set(filter(None, unkeyed)))
        gone: dict[bytes, str | None] = {}
        shared: list[bytes] = []
        for one in deleted:
            row = known.get(one.row)
            contact_hash = one.contact_hash if row is None else row.contact
            # A later record may have the contact that the record named, but not that of its row.
            is_last = one.is_last if contact_hash == one.contact_hash else one.is_last_of_row
            if contact_hash is None:
                is_alone = len(one.sources) == 1 and not waited.get(one.row)
                if segment.leaves_when_deleted and is_alone:
                    one.code = "DELETED_UNKNOWN"
            elif is_last and (row is None or row.seen is None):
                gone[contact_hash] = one.key if contact_hash == one.contact_hash else None
            elif is_last:
                shared.append(contact_hash)
            if one.is_last_of_row:
                one.sources[:0] = waited.pop(one.row, [])
        if gone:
            # Before the ledger, as in `compare`.
            marks = self.in_flight({key for key in gone.values() if key})
            segment.deleted.update(
                contact_hash
                for contact_hash, key in gone.items()
                if key and segment.number in marks.get(key, ())
            )
            self._mark_deleted(segment, list(gone))
        if segment.leaves_when_deleted:
            self._ledger.departures.add(segment.number, {*gone, *shared})

    def finish(self, segments: Iterable[Segment]) -> None:
        """Forget what was in flight for deleted and suppressed people. All have an outcome now."""
        for segment in segments:
            for some in chunks(segment.deleted, self.window_records):
                self._mark_deleted(segment, some)
            segment.deleted.clear()
        for some in chunks(self._suppressed, self.window_records):
            self._ledger.suppressions.forget_delivered(some)
        self._suppressed.clear()

    def _mark_deleted(self, segment: Segment, contacts: Sequence[bytes]) -> None:
        sync_number = None if segment.leaves_when_deleted else segment.seen
        self._ledger.members.mark_deleted(segment.number, contacts, sync_number)

    def discard(self) -> None:
        """Drop everything that waits, without an outcome: the run fails and sends none of it."""
        self._window, self._latest, self._latest_of_row = [], {}, {}
        self._deleted, self._last_deleted = [], {}
        self._present_again.clear()
        self._unpacked.clear()
        self._packer.flush()

    def _decide(
        self,
        window: list[PendingContact],
        known_rows: Mapping[bytes, list[Member]],
        under_way: dict[str, dict[int, MemberUpdate]],
    ) -> Decisions:
        existing = self._existing(window)
        decisions = Decisions()
        for one in window:
            entry, segment = one.entry, one.segment
            some = known_rows.get(entry.contact_hash)
            rows = (
                by_segment([row for row in some if row.segment in segment.of_list])
                if some
                else _NO_MEMBERS
            )
            marks = under_way.get(entry.key, _NO_UPDATES)
            is_there = entry.contact_hash in existing or bool(marks)
            if one.withheld is not None and not is_there:
                decisions.others.append((entry.sources, "skipped", one.withheld.name))
            elif segment.selects and self._is_skipped(segment, there=is_there):
                decisions.others.append((entry.sources, "skipped", None))
            elif rows and segment.number not in marks and self._unchanged(one, rows):
                decisions.others.append((entry.sources, "unchanged", None))
                self._accounting.arrived = entry.key
                _note_unchanged(decisions.notes_of(segment), entry, rows[segment.number])
            else:
                own = rows.get(segment.number)
                if own is not None:
                    notes = decisions.notes_of(segment)
                    notes.outdated.append(entry.contact_hash)
                    notes.changed += own.digest not in (None, one.digest)
                plan_ledger_update(one, rows, marks)
                under_way[entry.key] = {**marks, **entry.marks} if marks else entry.marks
                decisions.sent.append(one)
        return decisions

    def _take_out_refused(
        self,
        decisions: Decisions,
        known_rows: Mapping[bytes, list[Member]],
        under_way: Mapping[str, Mapping[int, MemberUpdate]],
    ) -> list[tuple[PendingContact, Refusal]]:
        """Take out of the contacts to be sent those that ActiveCampaign is known to refuse.

        Of the others, some are sent without their list, and may be unchanged as such.
        """
        found = self._refusals.find_refused(decisions.sent)
        gone = {id(one.pending) for one in found if one.refusal is not None}
        for one, refusal in found:
            if refusal is not None or under_way[one.entry.key] is not one.entry.marks:
                continue  # it is rejected, or an earlier contact of the same key is in flight
            members = known_rows.get(one.entry.contact_hash, ())
            rows = by_segment([row for row in members if row.segment in one.segment.of_list])
            if self._unchanged(one, rows):
                gone.add(id(one))
                decisions.take_for_unchanged(one, rows[one.segment.number])
        decisions.sent = [one for one in decisions.sent if id(one) not in gone]
        return [(one, refusal) for one, refusal in found if refusal is not None]

    def _members(self, window: list[PendingContact]) -> dict[bytes, list[Member]]:
        """Return the contacts' members in all segments of the same lists."""
        return self.members(
            {one.segment.number: one.segment for one in window}.values(),
            {one.entry.contact_hash for one in window},
        )

    def members(
        self, segments: Collection[Segment], contacts: Collection[bytes]
    ) -> dict[bytes, list[Member]]:
        """Return the members of contacts in all segments of the same lists, by contact.

        Those that are about to leave have no digest: what was delivered of them does not count.
        """
        found = self._ledger.members.find(of_lists(segments), contacts)
        for segment in segments:
            for contact in self._ledger.departures.find(segment.number, found.keys()):
                found[contact] = [
                    one._replace(digest=None, record_hash=None)
                    if one.segment == segment.number
                    else one
                    for one in found[contact]
                ]
        return found

    def _existing(self, window: list[PendingContact]) -> set[bytes]:
        """Return the contacts that exist in the account, where the sync mode needs to know."""
        asked = {
            one.entry.contact_hash
            for one in window
            if one.segment.selects or one.withheld is not None
        }
        return self._ledger.contact_index.find(asked) if asked else set()

    @staticmethod
    def _is_skipped(segment: Segment, *, there: bool) -> bool:
        """Return whether the sync mode skips a contact."""
        return there == (segment.settings.sync_mode == "create_only")

    def _unchanged(self, candidate: PendingContact, rows: Mapping[int, Member]) -> bool:
        """Return whether a contact need not be sent, as it equals the one last delivered."""
        number = candidate.segment.number
        own = rows.get(number)
        if self._present_again and (number, candidate.entry.contact_hash) in self._present_again:
            return False
        if own is None or own.digest != candidate.digest:
            return False
        if candidate.withheld is not None:
            return self._skips
        return self._needs_no_resend(own, rows)

    def _needs_no_resend(self, own: Member, rows: Mapping[int, Member]) -> bool:
        """Return whether an unchanged profile need not be sent again for another reason."""
        if own.ownership not in _NEEDS_NO_SENDING or last_unsubscribed(rows) is not None:
            return False
        interrupted = self._ledger.interrupted_since
        if interrupted is not None and own.at >= int(interrupted):
            # It was delivered in the interrupted run, which this run continues.
            return True
        stale = (
            self._resync_seconds is not None and own.at <= self._ledger.now() - self._resync_seconds
        )
        return self._skips and not stale

    def _drop_filled_values(self, sent: list[PendingContact]) -> None:
        """Leave out `only_if_empty` values where the account has a value.

        The digest covers them nevertheless, so that the profile counts as unchanged next time.
        """
        asked: dict[StoredValues, dict[bytes, str]] = {}
        for one in sent:
            stored = one.segment.stored
            if stored is not None and stored.destinations & one.entry.contact.values.keys():
                asked.setdefault(stored, {})[one.entry.contact_hash] = one.entry.contact.email
        self._deliver_before_lookup(asked)
        for stored, addresses in asked.items():
            stored.filled(addresses)  # looked up together; the calls below send no request
        for one in sent if self._stored else ():
            entry, stored = one.entry, one.segment.stored
            if stored is not None and entry.contact_hash in asked.get(stored, ()):
                found = stored.filled({entry.contact_hash: entry.contact.email})
                entry.leave_out(found.get(entry.contact_hash, ()))
            given = [name for name, value in entry.contact.values.items() if value]
            for each in self._stored:
                each.fill(entry.contact_hash, given)

    def _deliver_before_lookup(self, asked: Collection[StoredValues]) -> None:
        """Deliver everything in flight before the first lookup, so that it sees all values."""
        new = [stored for stored in asked if stored not in self._stored]
        if new:
            for batch in self._packer.flush():
                self._delivery.submit(batch)
            self._delivery.wait_until_idle()
            self._stored += new


def _note_unchanged(notes: _Notes, entry: Entry, own: Member) -> None:
    notes.unchanged.append(entry.contact_hash)
    if notes.segment.follows and entry.rows and not own.keyed:
        notes.keyed.append(entry.contact_hash)
    if entry.raw is None and own.record_hash is not None and entry.rows:
        notes.record_hashes.append((entry.contact_hash, None))
    if entry.raw is not None and own.record_hash != entry.raw:
        notes.add_record_hash(entry.contact_hash, entry.raw, own.record_hash)
    if notes.segment.keeps_addresses and not own.has_address:
        notes.addresses.append((entry.contact_hash, entry.contact.email))
