"""Contacts that are in a stream again after we unsubscribed them.

ActiveCampaign's import subscribes no contact that has unsubscribed [doc]. One endpoint does, and it
overrides a person's own opt-out as well as ours. So it is called only when the ledger proves that
we ended the membership, and the membership itself shows that nothing has happened to it since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.client import ActiveCampaignError, InvalidRequest, NotFound
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.ownership import Ownership

if TYPE_CHECKING:
    from target_activecampaign.client import Client, Membership
    from target_activecampaign.delivery.batches import Entry, Resubscription
    from target_activecampaign.ledger import Ledger, Member


_ROUNDING_SECONDS = 2
"""ActiveCampaign's times are whole seconds, in its answers and on its clock."""
_REQUEST_SECONDS = 120
"""A request that took effect did so within this time."""
_ATTEMPTS = 5


class Resubscriber:
    """Subscribes contacts again that we unsubscribed, and nobody else has changed since.

    Args:
        client: The account.
        ledger: Told before a contact is subscribed again.
    """

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    def resubscribe(self, entry: Entry) -> dict[int, int]:
        """Make a contact importable into its lists again, in two or three requests each.

        Returns:
            By segment whose membership it will be: ours, or one that was found.

        Raises:
            Refusal: `OPTED_OUT`: it is not certain that nobody but us ended a membership. Or
                ActiveCampaign refuses.
        """
        return {one.returns_to: self._resubscribe(entry, one) for one in entry.needs_resubscribe}

    def _resubscribe(self, entry: Entry, needed: Resubscription) -> int:
        known, list_id = needed.known, needed.list_id
        for _ in range(_ATTEMPTS):
            contact = self._client.find_contact(entry.key)
            memberships = self._client.memberships(contact.id) if contact else []
            membership = next((m for m in memberships if m.list_id == list_id), None)
            if contact is None or membership is None:
                return Ownership.ADDED_BY_US
            if not membership.is_opted_out:
                return (
                    Ownership.ADDED_BY_US if _is_ours(membership, known) else Ownership.PRE_EXISTING
                )
            if not _is_ended_by_us(membership, known):
                self._ledger.members.mark_opted_out(needed.segment, entry.contact_hash)
                raise Refusal(
                    "OPTED_OUT",
                    f"We unsubscribed the contact from list {list_id}, but the membership has "
                    "changed since, so the contact is not subscribed again.",
                )
            now = int(self._ledger.now())
            address = entry.contact.email
            self._ledger.members.mark_resubscribe_requested(
                needed.segment, entry.contact_hash, now, address
            )
            known = known._replace(asked=now)
            try:
                self._client.subscribe(contact.id, list_id)
            except (NotFound, InvalidRequest) as error:
                raise Refusal("REFUSED_BY_IMPORT", str(error)) from None
            except ActiveCampaignError as error:
                # Called again blindly, it could undo an opt-out of the meantime: look once more.
                if not error.effect_unknown:
                    raise
                failure = error
            else:
                return Ownership.ADDED_BY_US
        raise failure


def _is_ended_by_us(membership: Membership, known: Member) -> bool:
    """Return whether our import ended a membership, and nothing has changed it since."""
    ended = membership.ended_at
    return (
        not membership.has_named_cause
        and ended is not None
        and known.since - _ROUNDING_SECONDS <= ended <= known.at + _ROUNDING_SECONDS
    )


def _is_ours(membership: Membership, known: Member) -> bool:
    """Return whether an active membership is the one that we ended, or the one that we requested.

    The former, if the import that was to end it had no effect; the latter, if a run was interrupted
    between the request and its answer.
    """
    subscribed = membership.subscribed_at
    if subscribed is None:
        return False
    return subscribed < known.since - _ROUNDING_SECONDS or (
        known.asked is not None
        and known.asked - _ROUNDING_SECONDS <= subscribed <= known.asked + _REQUEST_SECONDS
    )


def is_subscribed_by_us(subscribed_at: float | None, since: int, at: int) -> bool:
    """Return whether an active membership began while an import of ours was in flight.

    Args:
        subscribed_at: When the membership began, in seconds; None if that is not known.
        since: When the import was posted.
        at: When it was confirmed.
    """
    return (
        subscribed_at is not None
        and since - _ROUNDING_SECONDS <= subscribed_at <= at + _ROUNDING_SECONDS
    )
