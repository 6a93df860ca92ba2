"""Removals: at the end of a mirror's run, contacts that a complete stream no longer has.

No contact is removed after a stream that was incomplete or empty, in the first mirror run, or when
a guard trips. A contact stays on the list if the target did not add it, if another stream of the
list has it, or if it has left the list itself.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.delivery.resubscribe import is_subscribed_by_us
from target_activecampaign.ledger import MemberUpdate
from target_activecampaign.model.email import contact_key
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.sync.completeness import Outcome
from target_activecampaign.sync.guards import _place_of, guard_trips, source_shrank
from target_activecampaign.sync.list_members import ListMembers
from target_activecampaign.text import chunks

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

_ACTIVE, _UNSUBSCRIBED = 1, 2
"""A contact's status on a list."""


class MirrorRemovals:
    """Removes contacts.

    Args:
        client: The client of the account.
        ledger: The contacts of each segment.
        settlement: Counts the removals.
        packer: Makes imports of removals.
        delivery: Delivers these imports.
        stop: Ends it.

    Attributes:
        leavers: The number of contacts to remove, of all segments so far.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        settlement: RecordAccounting,
        *,
        packer: Packer,
        delivery: Delivery,
        stop: StopRequest,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._settlement = settlement
        self._packer = packer
        self._delivery = delivery
        self._stop = stop
        self.leavers = 0

    def read_opt_outs(self, segment: Segment) -> None:
        """Note the contacts that have unsubscribed from a list: their memberships are not ours."""
        if not segment.unsubscribes or not self._ledger.members.has_current(segment.number):
            return
        count = 0
        opt_outs = self._client.contacts(list_id=segment.target.id, status=_UNSUBSCRIBED)
        for some in chunks(opt_outs):
            people = [self._ledger.contact_hash(contact_key(one.email)) for one in some]
            count += self._ledger.members.record_opt_outs(segment.of_list, people)
            self._stop.check()
        if count:
            logger.info(
                "List %d: %d contacts unsubscribed since the last run.", segment.target.id, count
            )

    def remove_missing(self, segment: Segment) -> Outcome:
        """End a mirror's pass: remove the contacts that it did not have.

        Raises:
            DeliveryError, LedgerError, ActiveCampaignError: Not all could be removed.
        """
        # Streams that came later, here or with another worker, may have these contacts too.
        segment.siblings = self._ledger.segments.siblings(
            segment.number, segment.target.id, segment.mark
        )
        outcome = self._decided(segment)
        if outcome.kind == "left":
            try:
                self._remove(segment, outcome)
            finally:
                outcome.left = self._settlement.removed[segment.number]
                outcome.not_left = self._settlement.not_removed[segment.number]
                segment.outcome = outcome
        segment.outcome = outcome
        _log(segment, outcome)
        if outcome.kind in ("left", "first run"):
            number = segment.sync_number or 0
            self._ledger.segments.complete_sync(segment.number, number, outcome.people)
        elif outcome.kind == "incomplete":
            self._ledger.segments.reset_changed(segment.number)
        return outcome

    def _decided(self, segment: Segment) -> Outcome:
        """Decide whether contacts may be removed."""
        number = segment.sync_number
        people = self._ledger.members.count_seen(segment.number, number) if number else 0
        # Refused records stand for contacts that are in the stream; deleted ones don't.
        if not people and (segment.has_deletions or not segment.has_contacts):
            return Outcome("empty", problem=self._problem_of_empty(segment))
        if not segment.complete:
            return Outcome("incomplete", people)
        if not segment.state.last_complete_sync:
            return Outcome("first run", people)
        leavers = sum(
            1 for some in self._missing(segment) for one in some if self._is_removable(segment, one)
        )
        changed = self._ledger.segments.count_changed(segment.number)
        problem = guard_trips(segment, people, leavers, changed)
        if problem is not None:
            override = segment.settings.guards.override_once
            if not (override and segment.state.tripped):
                if not override:
                    # An override that was left in the configuration must not let the next run
                    # through, which nobody may have looked at.
                    self._ledger.segments.trip_guard(segment.number)
                text = f"{problem[:-1]}, so no contact was removed."
                return Outcome("guard", people, held_back=leavers, problem=text)
            logger.warning("%s 'guards.override_once' lets this run through.", problem)
        self.leavers += leavers
        return Outcome("left", people)

    def _problem_of_empty(self, segment: Segment) -> str | None:
        """Return the text of the guard that an empty stream trips; nobody is removed either way.

        An empty stream need not be complete: without a record it can't say so.
        """
        if any(one.partial for one in segment.progress.values()):
            return None
        text = source_shrank(segment, 0)
        if text is None:
            return None
        if segment.settings.guards.override_once:
            if segment.state.tripped:
                return None
        else:
            self._ledger.segments.trip_guard(segment.number)
        return f"{_place_of(segment)}: {text}. An empty stream never removes contacts."

    def _missing(self, segment: Segment) -> Iterator[list[MissingMember]]:
        number = segment.sync_number or 0
        for some in self._ledger.members.missing(segment.number, number, segment.siblings):
            self._stop.check()
            yield some

    @staticmethod
    def _is_removable(segment: Segment, one: MissingMember) -> bool:
        """Return whether a missing contact may be removed, as far as the ledger tells."""
        adopted = segment.settings.adopt_members or not segment.unsubscribes
        return one.added_by_us or adopted or one.ownership == Ownership.UNCERTAIN

    def _remove(self, segment: Segment, outcome: Outcome) -> None:
        status = _ACTIVE if segment.unsubscribes else None
        roster = ListMembers(self._client, segment.target.id, status, self._ledger, self._stop)
        try:
            for some in self._missing(segment):
                self._classify(segment, roster, some, outcome)
            for batch in self._packer.flush():
                self._delivery.submit(batch)
        finally:
            self._packer.flush()
            self._delivery.wait()
            roster.close()

    def _classify(
        self, segment: Segment, roster: ListMembers, some: list[MissingMember], outcome: Outcome
    ) -> None:
        """Remove those of some missing contacts that are on the list by our doing."""
        not_ours = self._added_by_others(segment, roster, some)
        outcome.not_ours += len(not_ours)
        self._ledger.members.mark_not_managed(segment.number, not_ours)
        leavers = {one.contact: one.address for one in some if one.contact not in not_ours}
        if segment.settings.on_leave == "nothing":
            self._left(segment, leavers)
            self._settlement.removed[segment.number] += len(leavers)
            return
        there = roster.find(leavers)
        self._forget_absent(segment, leavers.keys() - there.keys())
        # Until the import is confirmed, nobody can tell what ActiveCampaign has of them.
        self._ledger.members.clear_digests([segment.number, *segment.siblings], there.keys())
        if segment.settings.on_leave == "tag":
            self._take_tags(segment, there)
            return
        for one in there:
            self._send(segment, one, leavers[one])

    def _added_by_others(
        self, segment: Segment, roster: ListMembers, some: list[MissingMember]
    ) -> set[bytes]:
        """Return the contacts that we have not put on the list: they stay."""
        others = {one.contact for one in some if not self._is_removable(segment, one)}
        maybe = {
            one.contact: one
            for one in some
            if one.ownership == Ownership.UNCERTAIN and not one.added_by_us
        }
        if segment.unsubscribes and maybe and not segment.settings.adopt_members:
            addresses = {contact_hash: one.address for contact_hash, one in maybe.items()}
            for contact_hash, subscribed_at in roster.subscribed_at(addresses).items():
                if not is_subscribed_by_us(
                    subscribed_at, maybe[contact_hash].since, maybe[contact_hash].at
                ):
                    others.add(contact_hash)
        return others

    def _forget_absent(self, segment: Segment, people: set[bytes]) -> None:
        """Note contacts that others took off the list: their membership is not ours any more."""
        if not people:
            return
        if segment.unsubscribes:
            numbers = [segment.number, *segment.siblings]
            self._ledger.members.confirm_removed(numbers, people)
            self._ledger.members.record_opt_outs(numbers, people)
        else:
            self._left(segment, people)

    def _left(self, segment: Segment, people: Iterable[bytes]) -> None:
        marks = self._marks(segment)
        self._ledger.members.mark_removed([(one, marks) for one in people], self._ledger.now())

    def _marks(self, segment: Segment) -> list[MemberUpdate]:
        """Return what the ledger keeps of a removed contact, in all segments of the list."""
        numbers = [segment.number, *segment.siblings]
        return [MemberUpdate(number, None, segment.membership_after) for number in numbers]

    def _send(self, segment: Segment, contact_hash: bytes, address: str) -> None:
        entry = self._packer.entry(segment.removal_of(address), [])
        entry.contact_hash = contact_hash
        entry.marks = {mark.segment: mark for mark in self._marks(segment)}
        for batch in self._packer.add(entry):
            self._delivery.submit(batch)

    def _take_tags(self, segment: Segment, contacts: dict[bytes, int]) -> None:
        """Take the tag off contacts, in two requests each: the import can't do that."""
        tag = self._client.find_tag(segment.membership_tag or "")

        def take(contact: int) -> None:
            held = self._client.contact_tags(contact)
            if tag is not None and tag.id in held:
                self._client.remove_contact_tag(held[tag.id])

        pool = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "tags")
        calls = {
            pool.submit(take, contact): contact_hash for contact_hash, contact in contacts.items()
        }
        try:
            for call in as_completed(calls):
                call.result()
                self._stop.check()
        finally:
            # Also when it is stopped or fails: what was done is noted.
            pool.shutdown(cancel_futures=True)
            done = [
                contact_hash
                for call, contact_hash in calls.items()
                if not call.cancelled() and call.exception() is None
            ]
            self._left(segment, done)
            self._settlement.removed[segment.number] += len(done)


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
            "them. To remove them too, set 'adopt_members' to true.",
            name,
            outcome.not_ours,
            segment.target.id,
        )
