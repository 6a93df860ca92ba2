"""Contacts compared with the ledger, many at a time: unchanged, skipped, or sent.

A contact that is as it was delivered is unchanged. One that the stream's mode excludes is skipped.
All others are packed, with what the ledger keeps of them once they are confirmed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from target_activecampaign.ledger import Member, by_segment, digest
from target_activecampaign.model.ownership import CURRENT, Ownership
from target_activecampaign.sync.ownership import (
    PendingContact,
    last_unsubscribed,
    plan_ledger_update,
    resolve_ownership,
)
from target_activecampaign.sync.segment import of_lists
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
    from target_activecampaign.sync.existing_values import StoredValues
    from target_activecampaign.sync.segment import Segment

WINDOW_BYTES = 8 * 1024 * 1024
_DAY = 86_400
_NOBODY: dict[int, Member] = {}
_NOTHING: dict[int, MemberUpdate] = {}
_STAYING = (*CURRENT, Ownership.OPTED_OUT)
"""Memberships that need nothing as long as the profile stays the same."""


@dataclass(slots=True)
class _Notes:
    """Notes of a window for the ledger, about one segment's contacts."""

    segment: Segment
    unchanged: list[bytes] = field(default_factory=list)
    outdated: list[bytes] = field(default_factory=list)
    addresses: list[tuple[bytes, str]] = field(default_factory=list)
    changed: int = 0
    raws: list[tuple[bytes, bytes]] = field(default_factory=list)
    others: list[tuple[bytes, bytes]] = field(default_factory=list)

    def take_raw(self, contact_hash: bytes, raw: bytes, known: bytes | None) -> None:
        """Note that an unchanged contact was made of another record than the ledger knows."""
        (self.raws if known is None else self.others).append((contact_hash, raw))

    def record_hashes_to_store(self) -> list[tuple[bytes, bytes]]:
        """Return the hashes of records that are worth storing.

        Where most records change and their contacts don't, an unmapped value changes each time,
        such as the time of extraction. Then the hashes would never match.
        """
        by_hash, self.segment.unchanged_by_hash = self.segment.unchanged_by_hash, 0
        worth = 2 * len(self.others) <= len(self.unchanged) + by_hash
        return self.raws + (self.others if worth else [])


@dataclass(slots=True)
class _Decisions:
    """Decisions about the contacts of a window.

    Attributes:
        sent: Contacts to be sent, in their order.
        settled: The records of the others, with their outcome.
        notes: Notes for the ledger before anything is settled or sent, by segment.
    """

    sent: list[PendingContact] = field(default_factory=list)
    others: list[tuple[list[Source], str]] = field(default_factory=list)
    notes: dict[int, _Notes] = field(default_factory=dict)

    def noted(self, segment: Segment) -> _Notes:
        """Return the notes of a segment."""
        return self.notes.setdefault(segment.number, _Notes(segment))


class ChangeDetector:
    """Compares contacts, in the order of their records.

    Args:
        settings: The settings.
        ledger: The contacts that were delivered.
        settlement: Counts records.
        packer: Takes the contacts to be sent.
        delivery: Takes the batches that are full, and knows the contacts in flight.
        window_records: Records that are compared at once.

    Attributes:
        window_records: As given.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        settlement: RecordAccounting,
        packer: Packer,
        delivery: Delivery,
        *,
        window_records: int,
    ) -> None:
        self.window_records = window_records
        self._skips = settings.skip_unchanged and not settings.full_resync
        self._resync_seconds = (
            None if settings.resync_after_days is None else settings.resync_after_days * _DAY
        )
        self._ledger = ledger
        self._settlement = settlement
        self._packer = packer
        self._delivery = delivery
        self._stored: list[StoredValues] = []
        self._window: list[PendingContact] = []
        self._latest: dict[str, PendingContact] = {}
        self._refused: list[tuple[Source, Refusal, Segment, str]] = []
        self._deleted: list[tuple[list[Source], Segment]] = []
        # Contacts whose last record so far is a deletion, by segment.
        self._gone: dict[int, dict[bytes, str]] = {}
        # Contacts that a deletion has taken out of the open batch.
        self._unpacked: set[str] = set()
        # Contacts with a record after a deletion in the same window.
        self._back: set[tuple[int, bytes]] = set()
        self._since = 0.0

    def wait_until_recovered(self) -> None:
        """Wait until it is known what became of imports that an earlier run left in flight."""
        self._delivery.wait_until_recovered()

    def in_flight(self, keys: AbstractSet[str]) -> dict[str, dict[int, MemberUpdate]]:
        """Return what the ledger is to keep of contacts that are in a batch and not settled."""
        return self._delivery.contacts.marks(keys, self._packer.marks(keys))

    def take(
        self,
        contact: Contact,
        source: Source,
        segment: Segment,
        raw: bytes | None,
        contact_hash: bytes | None = None,
    ) -> None:
        """Take a record's contact, to be compared when `compare` is called.

        Args:
            contact: The contact.
            source: The record.
            segment: Where it goes.
            raw: The hash of the record.
            contact_hash: The hash of the contact's key, where it is known.

        Raises:
            Refusal: It can't be sent.
        """
        entry = self._packer.entry(contact, [source])
        entry.raw = raw
        entry.contact_hash = contact_hash or self._ledger.contact_hash(contact.key)
        if not self._window:
            self._begin()
        if self._gone or segment.deleted:
            self._is_there(segment, entry.contact_hash)
        latest = self._latest.get(contact.key)
        if latest is None or not self._merged(latest, entry, segment):
            candidate = self._latest[contact.key] = PendingContact(entry, segment)
            self._window.append(candidate)

    def _merged(self, latest: PendingContact, entry: Entry, segment: Segment) -> bool:
        """Merge a contact into the same person's that waits; returns whether that is possible."""
        if latest.segment is not segment:
            return False
        if segment.stored is not None:
            # The value that comes first fills what is empty.
            given = {name for name, value in latest.entry.contact.values.items() if value}
            if filled := given & segment.stored.destinations:
                entry.leave_out(filled)
        merged = latest.entry.followed_by(entry)
        if merged is None or not self._packer.fits(merged):
            return False
        latest.entry = merged
        return True

    def refuse(self, source: Source, refusal: Refusal, segment: Segment, key: str | None) -> None:
        """Take a record that makes no contact.

        In a mirror, its contact is in the stream all the same. That is noted before the record is
        settled.
        """
        if key is None or not segment.mirror:
            self._settlement.refused([source], refusal.code, refusal.reason, key)
            return
        segment.has_contacts = True
        self._begin()
        self._is_there(segment, self._ledger.contact_hash(key))
        self._refused.append((source, refusal, segment, key))

    def delete(
        self, source: Source, segment: Segment, key: str | None, contact_hash: bytes | None = None
    ) -> None:
        """Take a record that is marked as deleted; its contact is not sent if it still waits.

        What was posted, or is about to be, is not undone.

        Args:
            source: The record.
            segment: Where it would have gone.
            key: The key of its contact, if it has one.
            contact_hash: The hash of that key, where it is known.
        """
        self._begin()
        earlier: list[Source] = []
        if key:
            contact_hash = contact_hash or self._ledger.contact_hash(key)
            earlier = self._packer.drop(key, segment.number)
            if earlier:
                self._unpacked.add(key)
                for stored in self._stored:
                    stored.forget(contact_hash)
            earlier += self._drop(key, segment)
            self._gone.setdefault(segment.number, {})[contact_hash] = key
        segment.has_deletions = True
        self._deleted.append(([*earlier, source], segment))

    def _drop(self, key: str, segment: Segment) -> list[Source]:
        """Take a contact of a segment out of the window; returns its records."""
        if key not in self._latest:
            return []
        theirs = [one for one in self._window if one.entry.key == key]
        gone = [one for one in theirs if one.segment is segment]
        for one in gone:
            self._window.remove(one)
        rest = [one for one in theirs if one.segment is not segment]
        if rest:
            self._latest[key] = rest[-1]
        else:
            del self._latest[key]
        return [source for one in gone for source in one.entry.sources]

    def _is_there(self, segment: Segment, contact_hash: bytes) -> None:
        """Note that a contact is in the stream, even if an earlier record was a deletion."""
        if self._gone.get(segment.number, {}).pop(contact_hash, None) is not None:
            self._back.add((segment.number, contact_hash))
        segment.deleted.discard(contact_hash)

    def _begin(self) -> None:
        if not self._waits:
            self._since = time.monotonic()

    @property
    def _waits(self) -> bool:
        return bool(self._window or self._refused or self._deleted)

    @property
    def waiting(self) -> set[str]:
        """Return the keys of contacts and deletions that wait to be compared."""
        return set(self._latest).union(*(people.values() for people in self._gone.values()))

    def unchanged_by_record_hash(
        self,
        segment: Segment,
        people: Sequence[bytes],
        raws: Sequence[bytes | None],
        rows: Mapping[bytes, list[Member]],
    ) -> list[bool]:
        """Return for each record whether its contact was delivered from the same record.

        Of contacts in flight the ledger may know an earlier state: the caller leaves them out.

        Args:
            segment: Where they go.
            people: The hashes of the contacts' keys.
            raws: The hashes of the records.
            rows: What the ledger has of the contacts.
        """
        mirror, number, of_list = segment.mirror, segment.number, segment.of_list
        ages = not self._skips or self._resync_seconds is not None
        found = []
        for contact_hash, raw in zip(people, raws, strict=True):
            some = rows.get(contact_hash)
            if some is None:
                found.append(False)
                continue
            alone = len(some) == 1
            row = (
                some[0] if alone else next((one for one in some if one.segment == number), some[0])
            )
            _, of, own_digest, membership, _, _, _, has_address, own_raw = row
            same = (
                of == number
                and own_raw == raw
                and raw is not None
                and own_digest is not None
                and bool(has_address or not mirror)
            )
            if same and alone and not ages:
                # Nearly all: in one segment of the list only, whatever its age.
                same = membership in _STAYING
            elif same:
                all_ = by_segment([one for one in some if one.segment in of_list])
                same = self._stays(all_[number], all_)
            found.append(same)
        return found

    def age(self) -> float:
        """Return how many seconds the first contact has waited; 0 if there is none."""
        return time.monotonic() - self._since if self._waits else 0.0

    def compare(
        self,
        people: Collection[bytes] = (),
        rows: Mapping[bytes, list[Member]] | None = None,
        under_way: dict[str, dict[int, MemberUpdate]] | None = None,
    ) -> None:
        """Compare all contacts that wait, settle those that need not be sent, and send the others.

        Args:
            people: The contacts that `rows` and `under_way` are about; others are looked up.
            rows: What the ledger has of them in all segments, looked up after `under_way`.
            under_way: What the ledger is to keep of those in flight.
        """
        if not self._waits:
            return
        self.wait_until_recovered()
        window, self._window, self._latest = self._window, [], {}
        refused, self._refused = self._refused, []
        deleted, self._deleted = self._deleted, []
        gone, self._gone = self._gone, {}
        for one in window:
            one.segment.has_contacts = True
            digest_suffix = one.segment.digest_suffix
            one.digest = digest(one.entry.body + digest_suffix if digest_suffix else one.entry.body)
        unknown = [one for one in window if one.entry.contact_hash not in people]
        # Asked for first: of contacts that are settled meanwhile the ledger knows more, not less.
        marks = {**(under_way or {}), **self.in_flight({one.entry.key for one in unknown})}
        unpacked, self._unpacked = self._unpacked, set()
        marks |= {**dict.fromkeys(unpacked, _NOTHING), **self.in_flight(unpacked)}
        rows = {**(rows or {}), **self._rows(unknown)} if unknown else rows or {}
        decisions = self._decided(window, rows, marks)
        self._back.clear()
        resolve_ownership(decisions.sent)
        self._drop_filled_values(decisions.sent)
        for _, _, segment, key in refused:
            decisions.noted(segment).unchanged.append(self._ledger.contact_hash(key))
        # Noted first: were the run interrupted in between, STATE could have passed a contact that a
        # mirror has not noted.
        self._note(decisions)
        self._note_deleted({segment.number: segment for _, segment in deleted}, gone)
        for source, refusal, _, key in refused:
            self._settlement.refused([source], refusal.code, refusal.reason, key)
        for sources, kind in decisions.others:
            self._settlement.record_outcome(sources, kind)
        for sources, _ in deleted:
            self._settlement.record_outcome(sources, "skipped", "DELETED")
        for one in decisions.sent:
            for batch in self._packer.add(one.entry):
                self._delivery.submit(batch)

    def _note(self, decisions: _Decisions) -> None:
        """Have the ledger note the contacts of the window."""
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

    def _note_deleted(
        self, segments: Mapping[int, Segment], gone: Mapping[int, Mapping[bytes, str]]
    ) -> None:
        """Have the ledger forget the contacts that were deleted.

        A later record of theirs is then sent, even if it is the same, and a mirror's pass does not
        have them.
        """
        for number, people in gone.items():
            if not people:
                continue
            segment = segments[number]
            # First, as the ledger knows more, not less, of contacts that are settled meanwhile.
            marks = self.in_flight(set(people.values()))
            segment.deleted.update(
                contact_hash for contact_hash, key in people.items() if number in marks.get(key, ())
            )
            self._ledger.members.mark_deleted(number, list(people), segment.seen)

    def finish(self, segments: Iterable[Segment]) -> None:
        """Have the ledger forget deleted contacts that were in flight, once all is settled."""
        for segment in segments:
            for some in chunks(segment.deleted, self.window_records):
                self._ledger.members.mark_deleted(segment.number, some, segment.seen)
            segment.deleted.clear()

    def discard(self) -> None:
        """Drop all that waits, unsettled: the run fails and sends none of it."""
        self._window, self._latest = [], {}
        self._refused, self._deleted, self._gone = [], [], {}
        self._back.clear()
        self._unpacked.clear()
        self._packer.flush()

    def _decided(
        self,
        window: list[PendingContact],
        known_rows: Mapping[bytes, list[Member]],
        under_way: dict[str, dict[int, MemberUpdate]],
    ) -> _Decisions:
        existing = self._existing(window)
        decisions = _Decisions()
        for one in window:
            entry, segment = one.entry, one.segment
            some = known_rows.get(entry.contact_hash)
            rows = (
                by_segment([row for row in some if row.segment in segment.of_list])
                if some
                else _NOBODY
            )
            marks = under_way.get(entry.key, _NOTHING)
            if segment.selects and self._is_skipped(
                segment, there=entry.contact_hash in existing or bool(marks)
            ):
                decisions.others.append((entry.sources, "skipped"))
            elif rows and segment.number not in marks and self._unchanged(one, rows):
                decisions.others.append((entry.sources, "unchanged"))
                self._settlement.arrived = entry.key
                _note_unchanged(decisions.noted(segment), entry, rows[segment.number])
            else:
                own = rows.get(segment.number)
                if own is not None:
                    notes = decisions.noted(segment)
                    notes.outdated.append(entry.contact_hash)
                    notes.changed += own.digest not in (None, one.digest)
                plan_ledger_update(one, rows, marks)
                under_way[entry.key] = {**marks, **entry.marks} if marks else entry.marks
                decisions.sent.append(one)
        return decisions

    def _rows(self, window: list[PendingContact]) -> Mapping[bytes, list[Member]]:
        """Return what the ledger has of contacts in all segments of the same lists."""
        segments = of_lists(one.segment for one in window)
        return self._ledger.members.find(segments, {one.entry.contact_hash for one in window})

    def _existing(self, window: list[PendingContact]) -> set[bytes]:
        """Return the contacts that the account has, where the mode asks for that."""
        asked = {one.entry.contact_hash for one in window if one.segment.selects}
        return self._ledger.contact_index.find(asked) if asked else set()

    @staticmethod
    def _is_skipped(segment: Segment, *, there: bool) -> bool:
        """Return whether the stream's mode skips a contact."""
        return there == (segment.settings.sync_mode == "create_only")

    def _unchanged(self, candidate: PendingContact, rows: Mapping[int, Member]) -> bool:
        """Return whether a contact need not be sent, as it was delivered like this."""
        number = candidate.segment.number
        own = rows.get(number)
        if self._back and (number, candidate.entry.contact_hash) in self._back:
            return False
        return own is not None and own.digest == candidate.digest and self._stays(own, rows)

    def _stays(self, own: Member, rows: Mapping[int, Member]) -> bool:
        """Return whether there is no other reason to send a contact again."""
        if own.ownership not in _STAYING or last_unsubscribed(rows) is not None:
            return False
        cut_off = self._ledger.interrupted_since
        if cut_off is not None and own.at >= int(cut_off):
            # It arrived in the interrupted run, which this one goes on with.
            return True
        stale = (
            self._resync_seconds is not None and own.at <= self._ledger.now() - self._resync_seconds
        )
        return self._skips and not stale

    def _drop_filled_values(self, sent: list[PendingContact]) -> None:
        """Leave out `only_if_empty` values where the account has a value.

        The digest is taken already: a profile stays unchanged whatever part of it was sent.
        """
        asked: dict[StoredValues, dict[bytes, str]] = {}
        for one in sent:
            stored = one.segment.stored
            if stored is not None and stored.destinations & one.entry.contact.values.keys():
                asked.setdefault(stored, {})[one.entry.contact_hash] = one.entry.contact.email
        self._await_values(asked)
        for stored, people in asked.items():
            stored.filled(people)  # of all at once, so that what follows asks nothing
        for one in sent if self._stored else ():
            entry, stored = one.entry, one.segment.stored
            if stored is not None and entry.contact_hash in asked.get(stored, ()):
                found = stored.filled({entry.contact_hash: entry.contact.email})
                entry.leave_out(found.get(entry.contact_hash, ()))
            given = [name for name, value in entry.contact.values.items() if value]
            for each in self._stored:
                each.fill(entry.contact_hash, given)

    def _await_values(self, asked: Collection[StoredValues]) -> None:
        """Wait until what other streams have sent has arrived, before the first lookup."""
        new = [stored for stored in asked if stored not in self._stored]
        if new:
            for batch in self._packer.flush():
                self._delivery.submit(batch)
            self._delivery.wait_until_idle()
            self._stored += new


def _note_unchanged(notes: _Notes, entry: Entry, own: Member) -> None:
    notes.unchanged.append(entry.contact_hash)
    if entry.raw is not None and own.record_hash != entry.raw:
        notes.take_raw(entry.contact_hash, entry.raw, own.record_hash)
    if notes.segment.mirror and not own.has_address:
        notes.addresses.append((entry.contact_hash, entry.contact.email))
