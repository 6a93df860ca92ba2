"""Re-subscription of contacts that are in a stream again after we unsubscribed them.

ActiveCampaign's import subscribes no contact that has unsubscribed [doc]. Only one endpoint does,
and it overrides a person's own opt-out as well. So it is called only if the ledger proves that we
ended the membership, and the membership shows no change since.

The proofs are the membership's dates. `sdate` is the time of the opt-in; accounts differ in whether
a re-activation renews it [rep]. `udate` is the time of the last opt-out, and survives a
re-activation [rep]. So an active membership may bear the date of an earlier opt-out. If the dates
allow two readings, the membership is not ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.client import ActiveCampaignError, InvalidRequest, NotFound
from target_activecampaign.ledger.members import REQUEST_SECONDS
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.ownership import Ownership

if TYPE_CHECKING:
    from target_activecampaign.client import Client, Membership
    from target_activecampaign.delivery.batches import Entry, Resubscription
    from target_activecampaign.ledger import Ledger, Member, MissingMember


ROUNDING_SECONDS = 2
"""ActiveCampaign's times are whole seconds, in its answers and on its clock."""
_ATTEMPTS = 5


class Resubscriber:
    """Re-subscribes contacts that we unsubscribed, if nobody has changed the membership since.

    Args:
        client: The client of the account.
        ledger: Stores the request before it is made.
    """

    def __init__(self, client: Client, ledger: Ledger) -> None:
        self._client = client
        self._ledger = ledger

    def resubscribe(self, entry: Entry) -> dict[int, int]:
        """Make a contact importable into its lists again, in two or three requests each.

        Returns:
            The resulting ownership by segment: `ADDED_BY_US` or `PRE_EXISTING`.

        Raises:
            Refusal: `OPTED_OUT` if it is not certain that only we ended a membership;
                `REFUSED_BY_IMPORT` if ActiveCampaign refuses the request.
        """
        return {one.returns_to: self._resubscribe(entry, one) for one in entry.needs_resubscribe}

    def _resubscribe(self, entry: Entry, needed: Resubscription) -> int:
        known, list_id = needed.known, needed.list_id
        for _ in range(_ATTEMPTS):
            contact = self._client.find_contact(entry.key)
            entry.contact_id = contact.id if contact else None
            memberships = self._client.memberships(contact.id) if contact else []
            membership = next((m for m in memberships if m.list_id == list_id), None)
            if contact is None or membership is None:
                return Ownership.ADDED_BY_US
            if not membership.is_opted_out:
                ours = is_still_ours(membership, known)
                return Ownership.ADDED_BY_US if ours else Ownership.PRE_EXISTING
            if not is_ended_by_us(membership, known):
                self._ledger.members.mark_opted_out(needed.segment, entry.contact_hash)
                raise Refusal(
                    "OPTED_OUT",
                    f"We unsubscribed the contact from list {list_id}, but the membership has "
                    "changed since, so the contact is not subscribed again.",
                )
            # At least a second later: `asked` equals `since` where a removal's response was lost.
            now = max(int(self._ledger.now()), known.since + 1)
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
                # Look again before a retry, which could override an opt-out made meanwhile.
                if not error.effect_unknown:
                    raise
                failure = error
            else:
                return Ownership.ADDED_BY_US
        raise failure


def is_ended_by_us(membership: Membership, known: Member) -> bool:
    """Return whether our import ended a membership, and nothing has changed it since."""
    ended = membership.ended_at
    return (
        not membership.has_named_cause
        and ended is not None
        and known.since - ROUNDING_SECONDS <= ended <= known.at + ROUNDING_SECONDS
    )


def is_still_ours(membership: Membership, known: Member | MissingMember) -> bool:
    """Return whether an active membership is ours, although we unsubscribed the contact.

    It is if our unsubscribing had no effect (yet), or if we subscribed the contact again. Else the
    person subscribed again.

    Args:
        membership: The active membership.
        known: The contact as the ledger has it: `UNSUBSCRIBED_BY_US`.
    """
    subscribed, ended = membership.subscribed_at, membership.ended_at
    if subscribed is None:
        return False
    if known.asked is not None and known.asked > known.since:
        # The contact was unsubscribed when we asked to subscribe it again. Only a renewed `sdate`
        # tells our request from the person's own subscription. Where the account keeps the old
        # one, nothing does.
        is_by_request = (
            known.asked - ROUNDING_SECONDS <= subscribed <= known.asked + REQUEST_SECONDS
        )
        return is_by_request and (ended is None or ended <= known.asked + ROUNDING_SECONDS)
    before = known.since - ROUNDING_SECONDS
    if ended is None:
        # No opt-out was ever seen, or the account clears `udate`. If the removal was confirmed, it
        # had an effect, so the person came back. If its response was lost, it had none.
        return known.asked is not None and subscribed < before
    # A `udate` in the time of our import (or later) is that of our unsubscribing (or of another).
    # It took effect, so somebody subscribed the contact again, and it was not us. A `udate` from
    # before is that of an earlier opt-out, so ours had no effect.
    return subscribed < before and ended < before


def is_subscribed_by_us(membership: Membership, since: int, at: int) -> bool:
    """Return whether an active membership began while an import of ours was in flight.

    Args:
        membership: The active membership.
        since: The time when the import was posted.
        at: The time when it was confirmed.
    """
    subscribed, ended = membership.subscribed_at, membership.ended_at
    # An opt-out after our import shows that the person came back, as `sdate` may be kept.
    return (
        subscribed is not None
        and since - ROUNDING_SECONDS <= subscribed <= at + ROUNDING_SECONDS
        and (ended is None or ended < since - ROUNDING_SECONDS)
    )
