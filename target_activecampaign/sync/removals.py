"""Removals: at the end of a mirror's run, contacts missing from a complete stream are removed.

No contact is removed if the stream was incomplete or empty, in the first mirror run, or if a guard
trips. A contact stays on the list if the target did not add it, if it subscribed again by itself,
or if another stream of the list has it. Opt-outs are only recorded.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from target_activecampaign.delivery.resubscribe import is_still_ours, is_subscribed_by_us
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.model.status import ACTIVE
from target_activecampaign.sync.completeness import Outcome
from target_activecampaign.sync.guards import describe_segment, guard_trips, source_shrank, stops
from target_activecampaign.sync.list_members import ListMembers
from target_activecampaign.sync.membership_marks import MembershipMarks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.client import Client
    from target_activecampaign.delivery.batches import Packer
    from target_activecampaign.delivery.delivery import Delivery
    from target_activecampaign.ledger import Ledger, MissingMember
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest


logger = logging.getLogger("target-activecampaign")


class MirrorRemovals:
    """Removes the contacts that are missing from mirrors.

    Args:
        client: The client of the account.
        ledger: The contacts of each segment.
        accounting: Counts the removals.
        packer: Makes imports of removals.
        delivery: Delivers these imports.
        stop: Stops the removals early.

    Attributes:
        leavers: The number of contacts to remove, of all segments so far.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        accounting: RecordAccounting,
        *,
        packer: Packer,
        delivery: Delivery,
        stop: StopRequest,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._accounting = accounting
        self._packer = packer
        self._delivery = delivery
        self._stop = stop
        self._marks = MembershipMarks(client, ledger, stop)
        self.leavers = 0

    def remove_missing(self, segment: Segment) -> Outcome:
        """Complete a mirror's sync: remove the contacts that are missing from it.

        Raises:
            DeliveryError, LedgerError, ActiveCampaignError: Some contacts could not be removed.
        """
        # Again, as streams that were opened since may have these contacts too, in any process.
        segment.siblings = self._ledger.segments.siblings(
            segment.number, segment.target.id, segment.mark
        )
        self._ledger.departures.discard_held(segment.number)
        outcome = self._decide(segment)
        before = self._accounting.removed[segment.number]  # for lack of consent
        if outcome.may_remove:
            try:
                self._remove(segment, outcome)
            finally:
                outcome.left = self._accounting.removed[segment.number] - before
                outcome.not_left = self._accounting.not_removed[segment.number]
                segment.outcome = outcome
                self._forget_removed(segment, outcome)
        segment.outcome = outcome
        _log(segment, outcome)
        self._end_sync(segment, outcome)
        return outcome

    def _forget_removed(self, segment: Segment, outcome: Outcome) -> None:
        """Delete the departures that are done, and store which source rows are gone with them."""
        for number in (segment.number, *segment.siblings):
            self._ledger.departures.discard_done(number)
        if segment.follows and (outcome.left or outcome.not_ours or outcome.is_complete):
            sync_number = segment.sync_number if outcome.is_complete else None
            self._ledger.source_rows.end_sync(segment.number, sync_number)

    def _end_sync(self, segment: Segment, outcome: Outcome) -> None:
        if outcome.kind in ("left", "first run"):
            if outcome.is_complete:
                number = segment.sync_number or 0
                self._ledger.segments.complete_sync(segment.number, number, outcome.people)
            else:
                self._ledger.segments.end_changes(segment.number)
        elif outcome.kind == "incomplete":
            self._ledger.segments.reset_changed(segment.number)

    def _decide(self, segment: Segment) -> Outcome:
        """Decide whether contacts may be removed."""
        number = segment.seen
        people = self._ledger.members.count_seen(segment.number, number) if number else 0
        is_complete = segment.leaves_when_absent and segment.complete
        # Refused records count as contacts in the stream; deleted records don't.
        is_empty = not people and (segment.has_deletions or not segment.has_contacts)
        if is_empty and (is_complete or not segment.leaves_when_deleted):
            return Outcome("empty", problem=self._problem_of_empty(segment))
        if not (is_complete or segment.leaves_when_deleted):
            return Outcome("incomplete", people)
        is_first = is_complete and not segment.state.last_complete_sync
        if is_first and not segment.leaves_when_deleted:
            return Outcome("first run", people, is_complete=True)
        if not is_complete:
            people = self._ledger.members.count_current(segment.number)
        kind = "first run" if is_first else "left"
        outcome = Outcome(kind, people, is_complete=is_complete, may_remove=True)
        outcome.counts_absent = is_complete and not is_first
        return self._guarded(segment, outcome)

    def _guarded(self, segment: Segment, outcome: Outcome) -> Outcome:
        """Return the outcome, or that of a guard that trips."""
        leavers = new = drifted = 0
        for some in self._missing(segment, outcome):
            for one in some:
                drifted += not one.has_departed
                if self._is_removable(segment, one):
                    leavers += 1
                    # Added and deleted in the same run: this is no loss for the list.
                    new += segment.leaves_when_deleted and one.since > segment.opened
        if segment.settings.leave_when == "both" and outcome.is_complete:
            outcome.drift = {"missing": drifted, "returned": segment.returned}
        people = outcome.people if outcome.counts_absent else None
        changed = self._ledger.segments.count_changed(segment.number)
        problem = guard_trips(segment, people, leavers - new, changed)
        if problem is not None:
            if stops(segment):
                text = f"{problem[:-1]}, so no contact was removed."
                return Outcome("guard", outcome.people, held_back=leavers, problem=text)
            logger.warning("%s 'guards.override_once' lets this run through.", problem)
        self.leavers += leavers
        return outcome

    def _problem_of_empty(self, segment: Segment) -> str | None:
        """Return the text of the guard that an empty stream trips, if one does.

        An empty stream never removes contacts, and can't show that it is complete.
        """
        if any(one.partial for one in segment.progress.values()):
            return None
        text = source_shrank(segment, 0)
        if text is None or not stops(segment):
            return None
        return f"{describe_segment(segment)}: {text}. An empty stream never removes contacts."

    def _missing(self, segment: Segment, outcome: Outcome) -> Iterator[list[MissingMember]]:
        for some in self._ledger.members.missing(
            segment.number,
            segment.sync_number if outcome.counts_absent else None,
            segment.siblings,
            departed=segment.leaves_when_deleted,
        ):
            self._stop.check()
            yield some

    @staticmethod
    def _is_removable(segment: Segment, one: MissingMember) -> bool:
        """Return whether the ledger allows the removal of a missing contact."""
        adopted = segment.settings.adopt_members or not segment.unsubscribes
        return one.added_by_us or adopted or one.ownership == Ownership.UNCERTAIN

    def _remove(self, segment: Segment, outcome: Outcome) -> None:
        status = ACTIVE if segment.unsubscribes else None
        list_members = ListMembers(
            self._client, segment.target.id, status, self._ledger, self._stop
        )
        try:
            for some in self._missing(segment, outcome):
                self._classify(segment, list_members, some, outcome)
            for batch in self._packer.flush():
                self._delivery.submit(batch)
        finally:
            self._packer.flush()
            self._delivery.wait()
            list_members.close()

    def _classify(
        self,
        segment: Segment,
        list_members: ListMembers,
        some: list[MissingMember],
        outcome: Outcome,
    ) -> None:
        """Remove those missing contacts that are on the list because we added them."""
        not_ours = self._added_by_others(segment, list_members, some)
        outcome.not_ours += len(not_ours)
        self._ledger.members.mark_not_managed(segment.number, not_ours)
        leavers = {one.contact: one.address for one in some if one.contact not in not_ours}
        if segment.settings.on_leave == "nothing":
            self._mark_removed(segment, leavers)
            self._accounting.removed[segment.number] += len(leavers)
            return
        there = list_members.find(leavers)
        self._record_absent(segment, leavers.keys() - there.keys())
        returned = self._returned(
            segment, list_members, [one for one in some if one.contact in there]
        )
        outcome.not_ours += len(returned)
        self._ledger.members.mark_not_managed(segment.number, returned)
        there = {one: number for one, number in there.items() if one not in returned}
        # Until the import is confirmed, it is unknown what ActiveCampaign has of them.
        self._ledger.members.clear_digests([segment.number, *segment.siblings], there.keys())
        if segment.settings.on_leave == "tag":
            done: set[bytes] = set()
            try:
                self._marks.take_off(segment, there, done)
            finally:
                self._accounting.removed[segment.number] += len(done)
            return
        # Not even to be removed is the address of a suppressed person sent.
        for one in there.keys() - self._ledger.suppressions.find(there.keys()):
            self._send(segment, one, leavers[one])

    def _added_by_others(
        self, segment: Segment, list_members: ListMembers, some: list[MissingMember]
    ) -> set[bytes]:
        """Return the contacts that we did not add to the list, and so do not remove."""
        others = {one.contact for one in some if not self._is_removable(segment, one)}
        maybe = {
            one.contact: one
            for one in some
            if one.ownership == Ownership.UNCERTAIN and not one.added_by_us
        }
        if segment.unsubscribes and maybe and not segment.settings.adopt_members:
            addresses = {contact_hash: one.address for contact_hash, one in maybe.items()}
            for contact_hash, membership in list_members.memberships(addresses).items():
                if not is_subscribed_by_us(
                    membership, maybe[contact_hash].since, maybe[contact_hash].at
                ):
                    others.add(contact_hash)
        return others

    @staticmethod
    def _returned(
        segment: Segment, list_members: ListMembers, active: list[MissingMember]
    ) -> set[bytes]:
        """Return those active contacts that subscribed again after we unsubscribed them.

        The ledger has them as unsubscribed by us, but perhaps active: the response to their removal
        or to their re-subscription was lost.
        """
        if not segment.unsubscribes:
            return set()
        ended = {
            one.contact: one for one in active if one.ownership == Ownership.UNSUBSCRIBED_BY_US
        }
        found = list_members.memberships({key: one.address for key, one in ended.items()})
        return {key for key, one in found.items() if not is_still_ours(one, ended[key])}

    def _record_absent(self, segment: Segment, contacts: set[bytes]) -> None:
        """Store that contacts are off the list already: their membership is no longer ours."""
        if not contacts:
            return
        if segment.unsubscribes:
            numbers = [segment.number, *segment.siblings]
            self._ledger.members.confirm_removed(numbers, contacts)
            self._ledger.members.record_opt_outs(numbers, contacts)
        else:
            self._mark_removed(segment, contacts)

    def _mark_removed(self, segment: Segment, contacts: Iterable[bytes]) -> None:
        marks = segment.updates_after_removal()
        self._ledger.members.mark_removed([(one, marks) for one in contacts], self._ledger.now())

    def _send(self, segment: Segment, contact_hash: bytes, address: str) -> None:
        entry = self._packer.entry(segment.removal_of(address), [])
        entry.contact_hash = contact_hash
        entry.marks = {mark.segment: mark for mark in segment.updates_after_removal()}
        for batch in self._packer.add(entry):
            self._delivery.submit(batch)


def _log(segment: Segment, outcome: Outcome) -> None:
    name = f"Stream '{segment.stream}'"
    if outcome.kind == "empty":
        logger.warning("%s is empty; no contact was removed.", name)
    elif outcome.kind == "incomplete" and any(one.partial for one in segment.progress.values()):
        logger.info(
            "%s comes from a reject file, which is never the whole stream; no contact was removed.",
            name,
        )
    elif outcome.kind == "incomplete":
        logger.warning(
            "%s may be incomplete (no ACTIVATE_VERSION after its last record); no contact was "
            "removed. If every run has the whole stream, set 'complete_stream' to true.",
            name,
        )
    elif outcome.kind == "first run":
        logger.warning(
            "%s: first mirror run, %d contacts recorded as the baseline. Removals start with the "
            "next complete run.",
            name,
            outcome.people,
        )
    elif outcome.kind == "left":
        logger.info(
            "%s: %d contacts, %d removed (%s).",
            name,
            outcome.people,
            outcome.left,
            segment.settings.on_leave,
        )
    if outcome.not_left:
        logger.warning(
            "%s: ActiveCampaign rejected %d removals; the next run tries again.",
            name,
            outcome.not_left,
        )
    if outcome.not_ours:
        logger.warning(
            "%s: %d contacts are missing from it and stay on list %d, as the target did not add "
            "them, or they subscribed again by themselves. To remove those that it did not add, "
            "set 'adopt_members' to true.",
            name,
            outcome.not_ours,
            segment.target.id,
        )
