"""Marks of mirrors, with `on_leave` as `field` or `tag`: taken off contacts by their ids.

An import would have to send the address, and can't remove a tag.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import TYPE_CHECKING

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client import NotFound
from target_activecampaign.sync.list_members import ListMembers
from target_activecampaign.sync.segment import OUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.client import Client
    from target_activecampaign.client.models import Tag
    from target_activecampaign.ledger import Ledger
    from target_activecampaign.sync.segment import Segment
    from target_activecampaign.sync.stop import StopRequest


class MembershipMarks:
    """Takes marks off contacts.

    Args:
        client: The client of the account.
        ledger: Has the contacts of each segment.
        stop: Stops early.
    """

    def __init__(self, client: Client, ledger: Ledger, stop: StopRequest) -> None:
        self._client = client
        self._ledger = ledger
        self._stop = stop

    def take_off_withheld(self, segment: Segment) -> None:
        """Take a segment's mark off people who have not consented or are suppressed.

        They are members no more: the mark comes back with the next record that may be sent.

        Raises:
            StoppedError: It was stopped early; the next run goes on.
            LedgerError, ActiveCampaignError: Some could not be taken off.
        """
        if segment.mark is None:
            return
        # Again, as streams that were opened since may give these contacts the mark too.
        segment.siblings = self._ledger.segments.siblings(
            segment.number, segment.target.id, segment.mark
        )
        list_members = ListMembers(self._client, segment.target.id, None, self._ledger, self._stop)
        try:
            for some in self._ledger.members.withheld(
                segment.number, segment.of_list, segment.siblings
            ):
                there = list_members.find(some)
                self.take_off(segment, there)
                self._store(segment, some.keys() - there.keys())
        finally:
            list_members.close()

    def take_off(
        self, segment: Segment, contacts: Mapping[bytes, int], done: set[bytes] | None = None
    ) -> None:
        """Take a segment's mark off contacts.

        Args:
            segment: The segment.
            contacts: The contacts' ids.
            done: Gets those that have lost the mark, even if an error ends this.

        Raises:
            StoppedError, LedgerError, ActiveCampaignError: As for `take_off_withheld`.
        """
        tag = None
        if contacts and segment.membership_field is None:
            tag = self._client.find_tag(segment.membership_tag or "")
        pool = ThreadPoolExecutor(QUESTIONS_AT_ONCE, "marks")
        calls = {
            pool.submit(self._take_off, segment, tag, contact_id): contact
            for contact, contact_id in contacts.items()
        }
        try:
            for call in as_completed(calls):
                call.result()
                self._stop.check()
        finally:
            pool.shutdown(cancel_futures=True)
            done = set() if done is None else done
            done.update(
                contact
                for call, contact in calls.items()
                if not call.cancelled() and call.exception() is None
            )
            self._store(segment, done)

    def _take_off(self, segment: Segment, tag: Tag | None, contact_id: int) -> None:
        with suppress(NotFound):  # the contact was deleted in the meantime
            if segment.membership_field is not None:
                self._client.set_field_value(contact_id, segment.membership_field.id, OUT)
            elif tag is not None:
                held = self._client.contact_tags(contact_id)
                if tag.id in held:
                    self._client.remove_contact_tag(held[tag.id])

    def _store(self, segment: Segment, contacts: set[bytes]) -> None:
        marks = segment.updates_after_removal()
        self._ledger.members.mark_removed([(one, marks) for one in contacts], self._ledger.now())
