"""Whoever comes back to a stream after we have unsubscribed them.

ActiveCampaign's import re-subscribes no one who has unsubscribed. One endpoint does, and it
overrides a person's own will as well as ours. So it is asked only when the ledger proves that
we ended the membership, and the membership itself shows that nothing has happened to it since.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.activecampaign import ActiveCampaignError
from target_activecampaign.codes import Refusal
from target_activecampaign.ledger.tables import FOUND, OURS

if TYPE_CHECKING:
    from target_activecampaign.activecampaign import Client, Membership
    from target_activecampaign.ledger import Known, Ledger

logger = logging.getLogger("target-activecampaign")

_ROUNDING_SECONDS = 2
"""ActiveCampaign's times are whole seconds, in its answers and on its clock."""
_REQUEST_SECONDS = 120
"""A request took effect within this time, if it did."""
_ATTEMPTS = 5


class Return(NamedTuple):
    """Someone who has left and is in the stream again.

    Attributes:
        list_id: The list that they left.
        segment: The segment whose row in the ledger says so.
        known: That row.
        marked: The segment that they come back to, whose mark waits for what is found.
    """

    list_id: int
    segment: int
    known: Known
    marked: int


class Returns:
    """Brings people back.

    Args:
        client: Whom to ask.
        ledger: What is told before someone is re-subscribed.
    """

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    def bring_back(self, address: str, person: bytes, comes_back: Return) -> int:
        """See to it that a person can be imported into the list again, in two or three requests.

        Returns:
            What the membership will be: ours, or one that was found.

        Raises:
            Refusal: `OPTED_OUT`: it is not certain that nobody but us ended the membership.
        """
        known = comes_back.known
        for _ in range(_ATTEMPTS):
            contact = self._client.find_contact(address)
            memberships = self._client.memberships(contact.id) if contact else []
            membership = next((m for m in memberships if m.list_id == comes_back.list_id), None)
            if contact is None or membership is None:
                return OURS
            if not membership.opted_out:
                return OURS if _asked_for(membership, known) else FOUND
            if not _ended_by_us(membership, known):
                self._ledger.members.held_back(comes_back.segment, person)
                raise Refusal(
                    "OPTED_OUT",
                    f"We had taken the person off list {comes_back.list_id}, but something else "
                    "has happened to the membership too, so it is left as it is.",
                )
            now = int(self._ledger.now())
            self._ledger.members.asked_to_return(comes_back.segment, person, now)
            known = known._replace(asked=now)
            try:
                self._client.subscribe(contact.id, comes_back.list_id)
            except ActiveCampaignError as error:
                # Asked again blindly, it could undo an opt-out of the meantime: look once more.
                if not error.effect_unknown:
                    raise
                failure = error
            else:
                return OURS
        raise failure


def _ended_by_us(membership: Membership, known: Known) -> bool:
    """Whether a membership ended while our import did it, and nothing touched it afterwards."""
    ended = membership.ended_at
    return (
        not membership.ended_by_someone
        and ended is not None
        and known.since - _ROUNDING_SECONDS <= ended <= known.at + _ROUNDING_SECONDS
    )


def _asked_for(membership: Membership, known: Known) -> bool:
    """Whether an active membership is one that a run of ours asked for, and then was cut off."""
    began = membership.subscribed_at
    return (
        known.asked is not None
        and began is not None
        and known.asked - _ROUNDING_SECONDS <= began <= known.asked + _REQUEST_SECONDS
    )
