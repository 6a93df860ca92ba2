"""Contacts that ActiveCampaign is known to refuse, sorted out before they are sent.

Its import skips a contact that has opted out of a list that it would subscribe it to, neither
creating nor updating it [doc]. Without a list to subscribe to, it updates the contact. It accepts
no contact that has bounced, or is on the exclusion list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from target_activecampaign.ledger import digest
from target_activecampaign.ledger.opt_outs import UNSUBSCRIBED
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.ownership import Ownership

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.ledger import Ledger, OptOut
    from target_activecampaign.sync.opt_outs import OptOutReader
    from target_activecampaign.sync.ownership import PendingContact

_BOUNCED = Refusal("BOUNCED", "Mail to this address has bounced.")


class SortedOut(NamedTuple):
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
    """

    def __init__(self, ledger: Ledger, opt_outs: OptOutReader) -> None:
        self._ledger = ledger
        self._opt_outs = opt_outs

    def sort_out(self, sent: Iterable[PendingContact]) -> list[SortedOut]:
        """Return the contacts that are refused, and those that are sent without their list.

        The latter are changed accordingly. What is returned of a person that has opted out is
        stored first: it must not be subscribed at another address either.

        Args:
            sent: Contacts that are about to be sent, with the ledger updates that are planned.
        """
        by_list: dict[int, list[PendingContact]] = {}
        for one in sent:
            by_list.setdefault(one.segment.target.id, []).append(one)
        found: list[SortedOut] = []
        for list_id, some in by_list.items():
            self._opt_outs.read(list_id)
            contacts = {one.entry.contact_hash for one in some}
            known = self._ledger.opt_outs.find(list_id, contacts)
            if known:
                found += self._sort_out(list_id, some, known)
        return found

    def _sort_out(
        self, list_id: int, some: list[PendingContact], known: dict[bytes, OptOut]
    ) -> list[SortedOut]:
        found: list[SortedOut] = []
        # Those whom we unsubscribed ourselves may be subscribed again, which is checked later.
        ours = {one.entry.contact_hash for one in some if one.entry.needs_resubscribe}
        self._ledger.opt_outs.discard(list_id, ours & known.keys())
        for one in some:
            opt_out = known.get(one.entry.contact_hash)
            if opt_out is None or one.entry.contact_hash in ours:
                continue
            if one.segment.settings.on_opted_out == "update" and not opt_out.has_bounced:
                _leave_out_list(one)
                found.append(SortedOut(one, None))
                continue
            refusal = _refusal_of(opt_out, list_id)
            if refusal.code == "OPTED_OUT" and one.entry.rows:
                self._ledger.source_rows.mark_opted_out(list(one.entry.marks), one.entry.rows)
            found.append(SortedOut(one, refusal))
        return found


def _refusal_of(opt_out: OptOut, list_id: int) -> Refusal:
    if opt_out.has_bounced or opt_out.status != UNSUBSCRIBED:
        return _BOUNCED
    return Refusal("OPTED_OUT", f"The person has unsubscribed from list {list_id}.")


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
