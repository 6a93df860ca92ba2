"""People whose e-mail address has changed: their contacts are renamed once the input has ended.

A renamed contact keeps its lists, tags, history and opt-outs. The records that waited for it are
then processed like all others. A person who has opted out is never subscribed at another address.
"""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client import AddressTaken, InvalidRequest, MalformedAnswer, NotFound
from target_activecampaign.delivery.resubscribe import is_ended_by_us
from target_activecampaign.errors import StoppedError
from target_activecampaign.ledger import Rename, RenameState, SourceRow, Withheld
from target_activecampaign.model.codes import CODES, Refusal
from target_activecampaign.model.email import contact_key
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.model.withheld import WithheldReason
from target_activecampaign.sync.guards import rename_guard_trips, stops
from target_activecampaign.sync.source_rows import IN_DOUBT, OPTED_OUT
from target_activecampaign.sync.withholding import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.samples import Samples
    from target_activecampaign.client import Client, Contact
    from target_activecampaign.delivery.batches import Entry, Packer
    from target_activecampaign.delivery.delivery import Delivery
    from target_activecampaign.ledger import Ledger, Mover
    from target_activecampaign.sync.account_facts import AccountFacts
    from target_activecampaign.sync.changes import ChangeDetector
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.source_rows import EntryCodec, RowTracker
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")

_CHUNK = 500
_TEMPORARY_ADDRESS = "rename-{}@example.com"
"""Contacts that swap their addresses need a third one for a moment. This domain is reserved for
examples and receives no mail (RFC 2606)."""

_SUPPRESSED = REFUSALS[WithheldReason.SUPPRESSED]
_REFUSED = Refusal(
    "RENAME_REFUSED",
    "The person has another e-mail address now, and ActiveCampaign refused to change that of the "
    "contact.",
)


class PersonRenames:
    """Renames the contacts of people whose address has changed.

    Args:
        client: The client of the account.
        ledger: Has the waiting records and the plan.
        accounting: Counts records.
        changes: Compares the waiting records at the end.
        rows: Gives source rows their contacts.
        codec: Decodes waiting records.
        packer: Makes imports of them.
        delivery: Delivers these imports.
        stop: Stops the renames early.
        samples: Gets some of the renamed contacts, for the report.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        accounting: RecordAccounting,
        changes: ChangeDetector,
        *,
        rows: RowTracker,
        codec: EntryCodec,
        facts: AccountFacts,
        packer: Packer,
        delivery: Delivery,
        stop: StopRequest,
        samples: Samples,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._accounting = accounting
        self._changes = changes
        self._rows = rows
        self._codec = codec
        self._facts = facts
        self._packer = packer
        self._delivery = delivery
        self._stop = stop
        self._samples = samples

    def finish_interrupted(self) -> None:
        """Carry out what an interrupted run has planned.

        Raises:
            ActiveCampaignError, LedgerError: It can't be carried out now.
        """
        self._ledger.renames.revive()
        if self._ledger.renames.any() is not None:
            logger.info("Renaming contacts that an interrupted run has left.")
            self._execute()
        self._ledger.renames.clear()

    def process(self, segments: Collection[Segment]) -> list[str]:
        """Rename contacts, and process the records that waited.

        Call it once the input has ended and nothing is in flight.

        Returns:
            The texts of the guards that tripped. Then nobody is renamed, and the records stay
            without an outcome.

        Raises:
            DeliveryError, LedgerError, ActiveCampaignError: Some could not be processed.
        """
        if not self._ledger.waiting.count:
            return []
        by_number = {one.number: one for one in segments}
        self._refuse_suppressed(by_number)
        problems = [text for one in segments if (text := self._guard_trips(one)) is not None]
        if problems:
            self._hold_back(segments)
            return problems
        try:
            self._end_missing_rows(segments)
            self._plan(by_number)
            self._execute()
            shared = self._ledger.renames.shared()
            self._settle_movers(by_number, shared)
            self._process_waiting(by_number, shared)
        except StoppedError:
            logger.warning("Stopped before all people were renamed; the next run goes on.")
            return []
        for one in segments:
            _log(one)
        return []

    def _refuse_suppressed(self, segments: dict[int, Segment]) -> None:
        """Refuse the records of people who were suppressed while these waited."""
        for some in self._movers() if self._ledger.suppressions.any() else ():
            homes = self._ledger.renames.homes({one.current for one in some})
            theirs = {
                one: {one.current, one.new_contact, homes.get(one.current, one.current)}
                for one in some
            }
            found = self._ledger.suppressions.find(set().union(*theirs.values()))
            refused = [one for one, contacts in theirs.items() if contacts & found]
            self._refuse_each(refused, segments, _SUPPRESSED)

    def _hold_back(self, segments: Collection[Segment]) -> None:
        """Count the people who are not renamed. The contacts that new rows claim stay."""
        for one in segments:
            if one.follows:
                one.identity.held_back = self._ledger.renames.count(one.number)
                self._ledger.members.record_seen(
                    one.number,
                    one.seen,
                    unchanged=self._ledger.renames.claimed(one.number),
                    outdated=(),
                )

    def _end_missing_rows(self, segments: Collection[Segment]) -> None:
        """Store which rows are missing from complete syncs, so that others get their contacts."""
        for one in segments:
            if one.follows and one.leaves_when_absent and one.complete and one.sync_number:
                self._ledger.renames.end_missing_rows(one.number, one.sync_number)

    # The plan

    def _guard_trips(self, segment: Segment) -> str | None:
        """Return the text of the guard if too many people have another address."""
        if not segment.follows or segment.settings.on_address_change != "rename":
            return None
        problem = rename_guard_trips(segment, self._ledger.renames.count(segment.number))
        if problem is None:
            return None
        if stops(segment):
            return f"{problem[:-1]}, so nobody was renamed."
        logger.warning("%s 'guards.override_once' lets this run through.", problem)
        return None

    def _movers(self) -> Iterator[list[Mover]]:
        after = 0
        while some := self._ledger.renames.movers(after, _CHUNK):
            self._stop.check()
            yield some
            after = some[-1].number

    def _plan(self, segments: dict[int, Segment]) -> None:
        for some in self._movers():
            self._ledger.renames.plan(
                Rename(
                    one.contact,
                    one.new_contact,
                    one.contact_id,
                    one.address,
                    self._entry_of(one).contact.email,
                    [(one.segment, one.key)],
                )
                for one in some
                if segments[one.segment].settings.on_address_change == "rename"
            )
        self._ledger.renames.hold_shared()

    def _entry_of(self, one: Mover) -> Entry:
        return self._codec.decode(one.entry, one.new_contact)

    # The requests

    def _execute(self) -> None:
        """Rename the planned contacts, each once its new address is free."""
        self._take_out_suppressed()
        renames = self._ledger.renames
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE, "renames") as pool:
            while True:
                self._stop.check()
                if some := renames.next(_CHUNK):
                    list(pool.map(self._rename, some))
                elif (one := renames.any()) is not None:
                    # All that are left wait for each other in circles.
                    self._move_aside(one)
                else:
                    return

    def _take_out_suppressed(self) -> None:
        """Take suppressed people out of the plan: no request may have their address."""
        after = b""
        any_ = self._ledger.suppressions.any()
        while any_ and (some := self._ledger.renames.planned(after, _CHUNK)):
            theirs = {one.contact: {one.contact, one.new_contact, one.home or b""} for one in some}
            found = self._ledger.suppressions.find(set().union(*theirs.values()))
            for one in some:
                if theirs[one.contact] & found:
                    self._stop.check()
                    self._take_out(one, found)
            after = some[-1].contact

    def _take_out(self, one: Rename, suppressed: Collection[bytes]) -> None:
        """Take a contact out of the plan. From a temporary address, it goes back if it may.

        Otherwise it is unsubscribed there: the suppressed addresses no longer find it.
        """
        contact = None if one.contact_id is None else self._client.contact(one.contact_id)
        is_elsewhere = contact is not None and self._hash_of(contact.email) != one.contact
        if contact is not None and is_elsewhere:
            # An interrupted run has renamed it, without its rows.
            self._withhold(one, self._hash_of(contact.email), contact.email)
        self._ledger.renames.set_state(one.contact, RenameState.SUPPRESSED)
        if one.home is not None:
            is_back = one.home not in suppressed and self._move_back(one)
            if not (is_back or is_elsewhere):
                self._withhold(one, one.contact, one.address)

    def _withhold(self, one: Rename, contact: bytes, address: str | None) -> None:
        """Store that a contact must be unsubscribed at the address that it has."""
        segments = {segment for segment, _ in one.rows}
        # A run that finds it there again need not do so once more.
        known = {old.segment for old in self._ledger.withheld.find(segments, [contact])}
        self._ledger.withheld.store(
            Withheld(segment, contact, WithheldReason.SUPPRESSED, is_pending=True, address=address)
            for segment in segments - known
        )

    def _rename(self, one: Rename) -> None:
        """Give a contact its new address."""
        if self._stop.is_set:
            return
        contact_id = self._request(one, one.new_address)
        if contact_id is not None:
            self._ledger.renames.complete(one, contact_id)
            if one.address is not None:
                self._samples.add_renamed(one.address, one.new_address)
        elif one.home_address is not None:
            self._move_back(one)

    def _move_back(self, one: Rename) -> bool:
        """Give a contact its former address back, as it can't have the new one.

        Returns:
            Whether it is no longer at a temporary address.
        """
        if one.contact_id is None or one.home_address is None:
            return False
        try:
            self._client.rename_contact(one.contact_id, one.home_address)
        except NotFound:
            self._ledger.renames.set_state(one.contact, RenameState.MISSING)
        except (AddressTaken, InvalidRequest):
            # Another contact has it by now.
            logger.warning(
                "Contact %d could get neither its new e-mail address nor its former one back, and "
                "stays at a temporary address. The next run tries again.",
                one.contact_id,
            )
            return False
        else:
            self._ledger.renames.move_back(one, one.contact_id)
        return True

    def _move_aside(self, one: Rename) -> None:
        """Give a contact a temporary address, as another contact needs the present one."""
        address = _TEMPORARY_ADDRESS.format(secrets.token_hex(8))
        contact_id = self._request(one, address)
        if contact_id is not None:
            placeholder = self._hash_of(address)
            self._ledger.renames.move_aside(
                one._replace(contact_id=contact_id), placeholder, address
            )

    def _request(self, one: Rename, address: str) -> int | None:
        """Change a contact's address. Return its id; None, with the reason stored, if it stays."""
        try:
            contact_id = self._find(one)
            if contact_id is not None:
                self._send(one, contact_id, address)
                return contact_id
            state = RenameState.MISSING
        except AddressTaken:
            state = RenameState.TAKEN
        except NotFound:
            state = RenameState.MISSING
        except InvalidRequest:
            state = RenameState.REFUSED
        self._ledger.renames.set_state(one.contact, state)
        return None

    def _send(self, one: Rename, contact_id: int, address: str) -> None:
        """Send the request.

        Raises:
            AddressTaken, NotFound, InvalidRequest: The contact keeps its address.
            ActiveCampaignError: It is not known what has happened.
        """
        if not self._facts.renames_opted_out:
            memberships = self._client.memberships(contact_id)
            if any(membership.is_opted_out for membership in memberships):
                raise InvalidRequest(
                    f"PUT /contacts/{contact_id}", detail="not tried, as it has opted out"
                )
        try:
            self._client.rename_contact(contact_id, address)
        except MalformedAnswer:
            # It may have answered as if all were well, and have ignored the new address.
            contact = self._client.contact(contact_id)
            if contact is None or self._hash_of(contact.email) != one.contact:
                raise
            raise InvalidRequest("PUT /contacts", detail="it kept the old address") from None

    def _hash_of(self, address: str) -> bytes:
        return self._ledger.contact_hash(contact_key(address))

    def _find(self, one: Rename) -> int | None:
        """Return the id of a contact, by the id or the address in the ledger; None if it is gone.

        The id in the ledger may be outdated: the contact may have been deleted, or belong to the
        row that moved away from this one.
        """
        contact = None if one.contact_id is None else self._client.contact(one.contact_id)
        if contact is not None and self._belongs_to(contact, one):
            return contact.id
        contact = self._client.find_contact(one.address) if one.address else None
        if contact is None:
            return None
        # Stored first: once its address has changed, only the id finds it.
        self._ledger.renames.set_contact_id(one.contact, contact.id)
        return contact.id

    def _belongs_to(self, contact: Contact, one: Rename) -> bool:
        """Return whether a contact that was found by its id is still the one to rename.

        It is, even if someone has changed its address in ActiveCampaign.
        """
        now = self._hash_of(contact.email)
        return now in (one.contact, one.new_contact) or not self._ledger.renames.is_member(now)

    # People whose contact was not renamed

    def _settle_movers(self, segments: dict[int, Segment], shared: set[bytes]) -> None:
        """Count the renamed contacts, and decide about people whose contact keeps its address."""
        for number, segment in segments.items():
            segment.identity.renamed += self._ledger.renames.count_done(number)
        # First those whose contact keeps its address, as it may be another row's by now.
        for left in self._movers_left():
            rejected = [one for one in left if not self._entry_of(one).sources]
            self._refuse_each(rejected, segments, IN_DOUBT)
            refused = [one for one in left if one.state == RenameState.REFUSED]
            self._settle([one for one in refused if one not in rejected], segments, shared)
        while self._refuse_doubtful(segments):
            pass
        for left in self._movers_left():
            self._settle(left, segments, shared)

    def _movers_left(self) -> Iterator[list[Mover]]:
        """Yield the movers whose contact was not renamed."""
        for some in self._movers():
            yield [one for one in some if one.current != one.new_contact]

    def _refuse_doubtful(self, segments: dict[int, Segment]) -> bool:
        """Refuse movers to contacts of rows that may have moved. Return whether there were any.

        These rows may have moved too, then.
        """
        in_doubt, found = self._ledger.renames.in_doubt(), False
        for left in self._movers_left() if in_doubt else ():
            some = [one for one in left if one.new_contact in in_doubt]
            self._refuse_each(some, segments, IN_DOUBT)
            found = found or bool(some)
        return found

    def _settle(
        self, movers: list[Mover], segments: dict[int, Segment], shared: set[bytes]
    ) -> None:
        """Give movers the contact with their new address, or refuse their records."""
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE, "renames") as pool:
            stand = pool.map(lambda one: self._standing(one, segments[one.segment]), movers)
            refusals = dict(zip(movers, stand, strict=True))
        for number, segment in segments.items():
            mine = [one for one in movers if one.segment == number and refusals[one] is None]
            self._let_in(segment, mine, shared)
        for refusal in (OPTED_OUT, _REFUSED, _SUPPRESSED):
            self._refuse_each(
                [one for one in movers if refusals[one] is refusal], segments, refusal
            )

    def _standing(self, one: Mover, segment: Segment) -> Refusal | None:
        """Return why a person may not be added at the new address; None if it may."""
        # The old address may be another contact's by now, if this one was moved aside.
        members = self._ledger.members.find(segment.of_list, [one.current])
        known = members.get(one.current, [])
        if any(member.ownership == Ownership.OPTED_OUT for member in known):
            return OPTED_OUT
        contact_id = one.contact_id
        if contact_id is None and one.address:
            contact = self._client.find_contact(one.address)
            contact_id = contact.id if contact else None
        if one.state == RenameState.SUPPRESSED:
            return _SUPPRESSED
        if contact_id is None:
            return _REFUSED if one.state == RenameState.REFUSED else None
        try:
            memberships = self._client.memberships(contact_id)
        except NotFound:
            memberships = []
        membership = next((m for m in memberships if m.list_id == segment.target.id), None)
        if membership is not None and membership.is_opted_out:
            by_us = any(
                member.ownership == Ownership.UNSUBSCRIBED_BY_US
                and is_ended_by_us(membership, member)
                for member in known
            )
            if not by_us:
                return OPTED_OUT
        if one.is_aside and one.state != RenameState.MISSING:
            return _REFUSED  # its row stays with it, so that the next run can go on
        is_active = membership is not None and membership.is_subscribed
        return _REFUSED if one.state == RenameState.REFUSED and not is_active else None

    def _let_in(self, segment: Segment, movers: list[Mover], shared: set[bytes]) -> None:
        """Give rows the contacts with the new addresses; the old ones leave."""
        if not movers:
            return
        segment.identity.address_taken += sum(1 for one in movers if one.state == RenameState.TAKEN)
        segment.identity.shared_address += sum(one.new_contact in shared for one in movers)
        left = {one.current for one in movers}
        left -= self._ledger.source_rows.held(segment.number, left, {one.key for one in movers})
        # First, in case of a kill: a row that has moved already would not leave it again.
        if segment.mirror and left:
            self._ledger.members.mark_deleted(segment.number, left, segment.seen)
        if segment.leaves_when_deleted:
            self._ledger.departures.add(segment.number, left)
        rows = [SourceRow(one.key, one.new_contact) for one in movers]
        self._ledger.source_rows.store(segment.number, rows)

    def _refuse_each(
        self, movers: list[Mover], segments: dict[int, Segment], refusal: Refusal
    ) -> None:
        for number, segment in segments.items():
            if mine := [one for one in movers if one.segment == number]:
                self._refuse(segment, mine, refusal)

    def _refuse(self, segment: Segment, movers: list[Mover], refusal: Refusal) -> None:
        """Refuse the records of rows, which keep their old contacts."""
        known = self._rows.rows_of(segment, [one.key for one in movers])
        if refusal is OPTED_OUT:
            rows = [row._replace(is_opted_out=True) for row in known.values()]
        else:
            rows = [row._replace(may_have_moved=True) for row in known.values()]
            hashes = [(row.contact, None) for row in rows]
            self._ledger.members.record_seen(
                segment.number, None, unchanged=(), outdated=(), record_hashes=hashes
            )
        self._ledger.source_rows.store(segment.number, rows)
        segment.identity.rename_refused += len(movers) if refusal is _REFUSED else 0
        for one in self._ledger.waiting.take(segment.number, [one.key for one in movers]):
            entry = self._codec.decode(one.entry, one.person_to)
            self._refuse_entry(entry, refusal)

    def _refuse_entry(self, entry: Entry, refusal: Refusal) -> None:
        """Refuse the records of a contact; none if only its address waited."""
        if entry.sources and CODES[refusal.code].is_skip:
            self._accounting.record_outcome(entry.sources, "skipped", refusal.code)
        elif entry.sources:
            self._accounting.refused(entry.sources, refusal.code, refusal.reason, entry.key)

    # The records that waited

    def _process_waiting(self, segments: dict[int, Segment], shared: set[bytes]) -> None:
        """Process the waiting records, in their order, each for the latest address of its row."""
        for segment in segments.values():
            segment.end_moves()
        self._rows.begin_resolving(shared)
        in_doubt = self._ledger.renames.in_doubt()
        numbers: set[int] = set()
        for some in self._ledger.waiting.all():
            for record, final in some:
                entry = self._codec.decode(record.entry, record.person_to)
                if record.person_from is None and final.contact in in_doubt:
                    self._refuse_entry(entry, IN_DOUBT)
                    continue
                if not entry.sources:
                    continue
                if final.contact != record.person_to:
                    latest = self._codec.decode(final.entry, final.contact)
                    entry = self._with_address(entry, latest)
                self._changes.add(entry, segments[record.segment])
                numbers.add(record.segment)
            self._changes.compare()
            self._stop.check()
        for batch in self._packer.flush():
            self._delivery.submit(batch)
        self._delivery.wait()
        for number in numbers if shared else ():
            segment = segments[number]
            self._ledger.source_rows.mark_shared(number, shared, segment.seen or 0)
        self._rows.end_resolving()
        self._ledger.waiting.clear()
        self._ledger.renames.clear()

    def _with_address(self, entry: Entry, final: Entry) -> Entry:
        """Return a contact with the address of the latest record of its row."""
        contact = entry.contact
        contact.key, contact.email = final.contact.key, final.contact.email
        changed = self._packer.entry(contact, entry.sources)
        changed.contact_hash, changed.rows = final.contact_hash, entry.rows
        return changed


def _log(segment: Segment) -> None:
    counts = segment.identity
    texts = {
        "renamed": counts.renamed,
        "kept, as another contact has the new address": counts.address_taken,
        "not renamed, as ActiveCampaign refused it": counts.rename_refused,
    }
    told = ", ".join(f"{count:,} {text}" for text, count in texts.items() if count)
    if told:
        logger.info("Stream '%s', people whose address changed: %s.", segment.stream, told)
    if counts.shared_address:
        logger.warning(
            "Stream '%s': %d rows have the e-mail address of another row, so each of them shares "
            "a contact (SHARED_ADDRESS). If these are different people, correct the source.",
            segment.stream,
            counts.shared_address,
        )
