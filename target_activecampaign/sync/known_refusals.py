"""Known refusals: contacts that ActiveCampaign would refuse, found before they are sent.

Its import skips a contact that has opted out of a list that it would subscribe it to, neither
creating nor updating it [doc]. Without a list to subscribe to, it updates the contact. It accepts
no contact that has bounced, or is on the exclusion list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from target_activecampaign.ledger import digest
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.ownership import Ownership

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.ledger import KnownOptOut, Ledger
    from target_activecampaign.sync.exclusions import Exclusions
    from target_activecampaign.sync.opt_outs import OptOutReader
    from target_activecampaign.sync.ownership import PendingContact

_BOUNCED = Refusal("BOUNCED", "Mail to this address has bounced.")
_EXCLUDED = Refusal("EXCLUDED", "The address is on the account's exclusion list.")


class RefusedContact(NamedTuple):
    """A contact that must not be sent as it is.

    Attributes:
        pending: The contact.
        refusal: Why its records are rejected; None if it is sent without its list.
    """

    pending: PendingContact
    refusal: Refusal | None


class KnownRefusals:
    """Finds the contacts that ActiveCampaign is known to refuse.

    Args:
        ledger: Knows the opt-outs and bounces.
        opt_outs: Reads them, before the first contact of a list is sent.
        exclusions: The exclusion list.
    """

    def __init__(self, ledger: Ledger, opt_outs: OptOutReader, exclusions: Exclusions) -> None:
        self._ledger = ledger
        self._opt_outs = opt_outs
        self._exclusions = exclusions

    def find_refused(self, sent: Iterable[PendingContact]) -> list[RefusedContact]:
        """Return the contacts that are refused, and those that are sent without their list.

        The latter are changed accordingly. What is returned of a person that has opted out is
        stored first: it must not be subscribed at another address either.

        Args:
            sent: Contacts that are about to be sent, with the ledger updates that are planned.
        """
        by_list: dict[int, list[PendingContact]] = {}
        for one in sent:
            by_list.setdefault(one.segment.target.id, []).append(one)
        found: list[RefusedContact] = []
        for list_id, some in by_list.items():
            self._opt_outs.read(list_id)
            contacts = {one.entry.contact_hash for one in some}
            # Those whom we unsubscribed ourselves may be subscribed again, which is checked later.
            ours = {one.entry.contact_hash for one in some if one.entry.needs_resubscribe}
            if ours:
                self._opt_outs.leave_out(list_id, ours)
            known = self._find_opt_outs(list_id, some, contacts - ours)
            unknown = self._opt_outs.find_unknown(list_id, contacts - ours)
            for one in some:
                contact = one.entry.contact_hash
                opt_out = known.get(contact)
                refusal = self._refuse_everywhere(one, opt_out)
                if refusal is None and one.withheld is None:
                    refusal = self._refuse(one, opt_out, has_bounced_since=unknown.get(contact))
                if refusal is not None:
                    found.append(refusal)
        return found

    def _find_opt_outs(
        self, list_id: int, pending: list[PendingContact], contacts: set[bytes]
    ) -> dict[bytes, KnownOptOut]:
        """Return the opt-outs and bounces of some of the contacts, as far as they still hold."""
        known = self._ledger.opt_outs.find(list_id, contacts)
        subscribed = [one.entry for one in pending if one.withheld is None]
        opted_out = {
            one.key: known[one.contact_hash] for one in subscribed if one.contact_hash in known
        }
        for returned in self._opt_outs.find_returned(list_id, opted_out):
            del known[returned]
        return known

    def _refuse_everywhere(
        self, one: PendingContact, opt_out: KnownOptOut | None
    ) -> RefusedContact | None:
        """Return a contact that no import accepts, whatever its list; None if it is no such."""
        if opt_out is not None and opt_out.is_bounced:
            return RefusedContact(one, _BOUNCED)
        return (
            RefusedContact(one, _EXCLUDED) if self._exclusions.is_excluded(one.entry.key) else None
        )

    def _refuse(
        self, one: PendingContact, opt_out: KnownOptOut | None, *, has_bounced_since: bool | None
    ) -> RefusedContact | None:
        """Return a contact that can't be subscribed to its list; None if it may be sent.

        Args:
            one: The contact.
            opt_out: Its opt-out or bounce, as far as the ledger knows it.
            has_bounced_since: For a contact that opted out or bounced after the last reading, in a
                preview: whether it has bounced. The run's import refuses it.
        """
        key, list_id = one.entry.key, one.segment.target.id
        opted_out = Refusal("OPTED_OUT", f"The person has unsubscribed from list {list_id}.")
        refusal = None
        if opt_out is not None:
            refusal = opted_out
        elif self._exclusions.is_excluded_from(key, list_id):
            refusal = _EXCLUDED
        is_updated = one.segment.settings.on_opted_out == "update"
        if has_bounced_since and (refusal is None or is_updated):
            return RefusedContact(one, _BOUNCED)
        if refusal is not None and is_updated:
            _leave_out_list(one)
            return RefusedContact(one, None)
        if refusal is None and has_bounced_since is not None:
            refusal = opted_out
        if refusal is None:
            return None
        if refusal is opted_out and one.entry.rows:
            self._ledger.source_rows.mark_opted_out(list(one.entry.marks), one.entry.rows)
        return RefusedContact(one, refusal)


def _leave_out_list(one: PendingContact) -> None:
    """Change a contact so that only its values are sent, and its membership is not claimed.

    Its digest covers that, and its record is not known by its hash: once the contact may be
    subscribed, it is sent again.
    """
    entry, segment = one.entry, one.segment
    entry.contact.lists, entry.raw = (), None
    entry.body = entry.contact.encode()
    one.digest = digest(entry.body + segment.digest_suffix)
    update = replace(entry.marks[segment.number], digest=one.digest, record_hash=None)
    if segment.mark is None:
        # A field or a tag marks its members all the same. Here only the list does.
        update = replace(update, ownership=Ownership.OPTED_OUT)
        one.needs_lookup = False
    entry.marks[segment.number] = update
