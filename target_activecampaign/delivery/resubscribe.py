"""Whoever comes back to a stream after we have unsubscribed them.

ActiveCampaign's import re-subscribes no one who has unsubscribed. One endpoint does, and it
overrides a person's own will as well as ours. So it is asked only when the ledger proves that
we ended the membership, and the membership itself shows that nothing has happened to it since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.client import ActiveCampaignError, InvalidRequest, NotFound
from target_activecampaign.ledger.schema import FOUND, OURS
from target_activecampaign.model.codes import Refusal

if TYPE_CHECKING:
    from target_activecampaign.client import Client, Membership
    from target_activecampaign.delivery.batches import Entry, Return
    from target_activecampaign.ledger import Known, Ledger


_ROUNDING_SECONDS = 2
"""ActiveCampaign's times are whole seconds, in its answers and on its clock."""
_REQUEST_SECONDS = 120
"""A request took effect within this time, if it did."""
_ATTEMPTS = 5


class Returns:
    """Brings people back.

    Args:
        client: Whom to ask.
        ledger: What is told before someone is re-subscribed.
    """

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    def resubscribe(self, entry: Entry) -> dict[int, int]:
        """See to it that a person can be imported into lists again, in two or three requests each.

        Returns:
            By segment what the membership will be: ours, or one that was found.

        Raises:
            Refusal: `OPTED_OUT`: it is not certain that nobody but us ended a membership. Or
                ActiveCampaign refuses.
        """
        return {one.marked: self._bring_back(entry, one) for one in entry.needs_resubscribe}

    def _bring_back(self, entry: Entry, needs_resubscribe: Return) -> int:
        known, list_id = needs_resubscribe.known, needs_resubscribe.list_id
        for _ in range(_ATTEMPTS):
            contact = self._client.find_contact(entry.key)
            memberships = self._client.memberships(contact.id) if contact else []
            membership = next((m for m in memberships if m.list_id == list_id), None)
            if contact is None or membership is None:
                return OURS
            if not membership.is_opted_out:
                return OURS if _is_ours(membership, known) else FOUND
            if not _ended_by_us(membership, known):
                self._ledger.members.held_back(needs_resubscribe.segment, entry.person)
                raise Refusal(
                    "OPTED_OUT",
                    f"We had taken the person off list {list_id}, but something else has "
                    "happened to the membership too, so it is left as it is.",
                )
            now = int(self._ledger.now())
            address = entry.contact.email
            self._ledger.members.mark_resubscribe_requested(
                needs_resubscribe.segment, entry.person, now, address
            )
            known = known._replace(asked=now)
            try:
                self._client.subscribe(contact.id, list_id)
            except (NotFound, InvalidRequest) as error:
                raise Refusal("REFUSED_BY_IMPORT", str(error)) from None
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
        not membership.has_named_cause
        and ended is not None
        and known.since - _ROUNDING_SECONDS <= ended <= known.at + _ROUNDING_SECONDS
    )


def _is_ours(membership: Membership, known: Known) -> bool:
    """Whether an active membership is the one that we were to end, or the one that we asked for.

    The former, when the import that was to end it never took effect; the latter, when a run
    was cut off between asking for it and learning the answer.
    """
    began = membership.subscribed_at
    if began is None:
        return False
    return began < known.since - _ROUNDING_SECONDS or (
        known.asked is not None
        and known.asked - _ROUNDING_SECONDS <= began <= known.asked + _REQUEST_SECONDS
    )


def began_with_us(began: float | None, since: int, at: int) -> bool:
    """Whether an active membership began while an import of ours was under way."""
    return began is not None and since - _ROUNDING_SECONDS <= began <= at + _ROUNDING_SECONDS
