"""Unsubscribes: at the end of a run, contacts that may not be subscribed are unsubscribed.

These are contacts of people who have not consented or are suppressed. It does not matter who added
them to the list. An import would send their addresses. So each contact takes a request of its own,
which only has the contact's id.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client import NotFound
from target_activecampaign.ledger import Withheld
from target_activecampaign.model.status import ACTIVE
from target_activecampaign.model.withheld import WithheldReason
from target_activecampaign.sync.guards import consent_guard_trips, stops
from target_activecampaign.sync.list_members import ListMembers
from target_activecampaign.sync.membership_marks import MembershipMarks
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.client import Client
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest

logger = logging.getLogger("target-activecampaign")


class Unsubscriber:
    """Unsubscribes contacts of people who have not consented or are suppressed.

    Args:
        client: The client of the account.
        ledger: Stores the withheld contacts.
        accounting: Counts the removals.
        stop: Stops early.
    """

    def __init__(
        self, client: Client, ledger: Ledger, accounting: RecordAccounting, stop: StopRequest
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._accounting = accounting
        self._stop = stop
        self._marks = MembershipMarks(client, ledger, stop)

    def process(self, segments: Collection[Segment]) -> list[str]:
        """Unsubscribe contacts. Call it once every record has an outcome.

        Returns:
            The texts of the guards that tripped. A guard that trips keeps all contacts of its list.

        Raises:
            StoppedError: It was stopped early. The next run continues.
            LedgerError, ActiveCampaignError: Some contacts could not be unsubscribed.
        """
        lists: dict[int, list[Segment]] = {}
        for one in segments:
            lists.setdefault(one.target.id, []).append(one)
        problems = (self._process_list(some) for some in lists.values())
        return [problem for problem in problems if problem is not None]

    def _process_list(self, segments: Sequence[Segment]) -> str | None:
        """Unsubscribe contacts from the list of these segments."""
        segment = segments[0]
        self._find_active(segment)
        count = self._ledger.withheld.count_pending(segment.of_list)
        problem = self._guard_trips(segment, count) if count else None
        if problem is not None:
            return problem
        # First, in case of a kill: once they are unsubscribed, they are no members.
        for one in segments:
            self._marks.take_off_withheld(one)
        self._unsubscribe_all(segment)
        return None

    def _guard_trips(self, segment: Segment, count: int) -> str | None:
        """Return the text of the guard, if it stops that so many people are unsubscribed."""
        active = self._client.count_contacts(list_id=segment.target.id, status=ACTIVE)
        problem = consent_guard_trips(segment, count, active)
        if problem is not None:
            if stops(segment):
                segment.consent.held_back = count
                return f"{problem} No contact was unsubscribed."
            logger.warning("%s 'guards.override_once' lets this run through.", problem)
        return None

    def _unsubscribe_all(self, segment: Segment) -> None:
        try:
            for some in self._ledger.withheld.pending(segment.of_list):
                self._unsubscribe(segment, some)
                self._stop.check()
        finally:
            if segment.consent.unsubscribed:
                logger.info(
                    "List %d: unsubscribed %s that have not consented or are suppressed.",
                    segment.target.id,
                    pluralize(segment.consent.unsubscribed, "contact"),
                )

    def _find_active(self, segment: Segment) -> None:
        """Store which contacts are active on the list. The others need no request."""
        members = ListMembers(self._client, segment.target.id, ACTIVE, self._ledger, self._stop)
        try:
            if self._ledger.segments.must_sweep(segment.of_list):
                for active in members.all():
                    self._add_suppressed(segment, active)
                self._ledger.segments.end_sweep(segment.of_list)
            for some in self._ledger.withheld.pending(segment.of_list):
                there = members.find({one.contact: one.address for one in some})
                self._ledger.withheld.set_active(
                    {
                        (one.segment, one.contact): there[one.contact]
                        for one in some
                        if one.contact in there
                    }
                )
                self._end(segment, [one for one in some if one.contact not in there])
        finally:
            members.close()

    def _add_suppressed(self, segment: Segment, active: Mapping[bytes, int]) -> None:
        """Store the suppressed contacts among those that are active on the list."""
        contacts = self._ledger.suppressions.find(active.keys())
        known = {one.contact: one for one in self._ledger.withheld.find([segment.number], contacts)}
        self._ledger.withheld.store(
            (known.get(one) or Withheld(segment.number, one, WithheldReason.SUPPRESSED))._replace(
                is_pending=True, contact_id=active[one]
            )
            for one in contacts
        )

    def _end(self, segment: Segment, absent: Sequence[Withheld]) -> None:
        """Store that contacts are no longer active, perhaps because of an interrupted run."""
        contacts = {one.contact for one in absent}
        if contacts:
            self._ledger.members.confirm_removed(segment.of_list, contacts)
            self._ledger.members.record_opt_outs(segment.of_list, contacts)
            self._ledger.withheld.end_pending([(one.segment, one.contact) for one in absent])

    def _unsubscribe(self, segment: Segment, some: Sequence[Withheld]) -> None:
        ids = {one.contact: one.contact_id for one in some if one.contact_id is not None}
        # Before the requests: after a kill, the ledger must know that we unsubscribed them. Only
        # then can they be subscribed again once they consent.
        self._ledger.members.begin_unsubscribing(
            segment.number, segment.of_list, ids.keys(), self._ledger.now()
        )
        with ThreadPoolExecutor(QUESTIONS_AT_ONCE, "unsubscribes") as pool:
            list(pool.map(lambda number: self._send(number, segment.target.id), ids.values()))
        self._ledger.members.end_unsubscribing(segment.of_list, ids.keys(), self._ledger.now())
        self._ledger.withheld.end_pending([(one.segment, one.contact) for one in some])
        self._accounting.removed[segment.number] += len(ids)
        segment.consent.unsubscribed += len(ids)

    def _send(self, contact_id: int, list_id: int) -> None:
        with suppress(NotFound):  # the contact was deleted in the meantime
            self._client.unsubscribe(contact_id, list_id)
