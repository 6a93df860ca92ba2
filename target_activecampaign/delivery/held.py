"""Refused contacts that are held until it is known whether imports work at all.

In an outage, every contact is refused. So a refused contact without a proven fault is rejected only
once a later import has worked. If many contacts are held by then, an outage may just have ended:
they are sent once more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.delivery.control import MAX_REFUSALS
from target_activecampaign.ledger import KnownOptOut
from target_activecampaign.model.status import BOUNCED, UNSUBSCRIBED
from target_activecampaign.outcomes.rows import ImportFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.delivery.batches import Batch, Entry
    from target_activecampaign.delivery.in_flight import InFlightContacts
    from target_activecampaign.ledger import Ledger

logger = logging.getLogger("target-activecampaign")

_STATUSES = {"OPTED_OUT": UNSUBSCRIBED, "BOUNCED": BOUNCED}
"""The status on the list that a refusal with a code shows."""

_MAX_HELD = 10_000
"""Contacts that are held in memory before a control contact is tried."""


class HeldRefusal(NamedTuple):
    """A refused contact that is not rejected yet.

    Attributes:
        entry: The contact.
        code: The code of the refusal, one of `CODES`.
        reason: The reason, as a sentence.
        batch: The import that was refused.
        since: The number of that import, in the order of posting.
        is_listed: Whether ActiveCampaign has listed it in an import's `failure`.
    """

    entry: Entry
    code: str
    reason: str
    batch: Batch
    since: int
    is_listed: bool


class HeldRefusals:
    """The refused contacts of a run without a proven fault.

    Args:
        accounting: Records the outcome of rejected contacts.
        ledger: Stores which persons have opted out, and which contacts have bounced.
        contacts: The contacts in flight.

    Attributes:
        lookups: Number of lookups of refusal reasons in progress.
        is_failure_proven: Whether the account shows the reason for a contact of the latest import
            that listed all its contacts as failed. Then there is no outage.
    """

    def __init__(
        self, accounting: RecordAccounting, ledger: Ledger, contacts: InFlightContacts
    ) -> None:
        self._accounting = accounting
        self._ledger = ledger
        self._contacts = contacts
        self._held: list[HeldRefusal] = []
        self._last_that_worked = 0
        # Contacts with a later record that was confirmed, and contacts that were sent once more.
        self._superseded: set[str] = set()
        self._retried: dict[str, tuple[str, str]] = {}
        self.lookups = 0
        self.is_failure_proven = False

    def __len__(self) -> int:
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """True if no more should be held before it is known whether imports work."""
        return len(self._held) > _MAX_HELD

    @property
    def codes(self) -> set[str]:
        """The codes of the contacts that are held."""
        return {one.code for one in self._held}

    @property
    def last_code_in_doubt(self) -> str | None:
        """The code of the last contact, if it may be held because of an outage."""
        if self._held and not self.lookups and not self.is_failure_proven:
            return self._held[-1].code
        return None

    @property
    def count_in_doubt(self) -> int:
        """Number of contacts that may be held because of an outage."""
        return sum(1 for one in self._held if not self._is_proven(one))

    def _is_proven(self, one: HeldRefusal) -> bool:
        return one.is_listed and self.is_failure_proven

    def add(self, one: HeldRefusal) -> None:
        """Hold a refused contact."""
        self._held.append(one)

    def take_first_refusal(self, entry: Entry) -> tuple[str, str] | None:
        """Return code and reason of a contact's first refusal; None if this is its first."""
        return self._retried.pop(entry.key, None)

    def confirm(self, entries: Iterable[Entry], sent: int) -> None:
        """Note that an import has worked.

        Args:
            entries: Its confirmed contacts.
            sent: Its number, in the order of posting.
        """
        self._last_that_worked = max(self._last_that_worked, sent)
        if not (self._held or self._retried):
            return
        keys = {entry.key for entry in entries}
        self._superseded |= keys.intersection([one.entry.key for one in self._held])
        for key in keys & self._retried.keys():
            del self._retried[key]

    def reject(self, entry: Entry, code: str, reason: str, batch: Batch) -> None:
        """Reject a contact's records, or its removal, given the import that was refused."""
        if entry.sources:
            if code == "OPTED_OUT" and entry.rows:
                # Stored first: the person must not be subscribed at another address either.
                self._ledger.source_rows.mark_opted_out(list(entry.marks), entry.rows)
            if code in _STATUSES:
                # The next record of the contact is then not sent.
                status = _STATUSES[code]
                opt_out = KnownOptOut(entry.contact_hash, status, status == BOUNCED)
                # What has bounced is refused without a list, too.
                lists = entry.list_ids if status == BOUNCED else entry.contact.lists
                self._ledger.opt_outs.add_refused(lists, opt_out)
            facts = ImportFacts(batch.batch_id, batch.posted or None, contact_id=entry.contact_id)
            self._accounting.refused(entry.sources, code, reason, entry.contact.email, facts)
        else:
            self._accounting.removal_rejected(entry)

    def settle(self) -> list[Batch]:
        """Reject the contacts that were refused before an import that has worked.

        Returns:
            Imports that send them once more instead, if they are many. Their contacts are in
            flight already.
        """
        ready, waiting = list[HeldRefusal](), list[HeldRefusal]()
        for one in self._held:
            # If an import lists all contacts as failed, wait for all lookups, to count the rest.
            waits = one.since >= self._last_that_worked or (one.is_listed and self.lookups)
            (waiting if waits else ready).append(one)
        if not ready:
            return []
        self._held = waiting
        again = [one for one in ready if self._may_retry(one)]
        if len(again) <= MAX_REFUSALS:
            again = []
        else:
            logger.warning(
                "%d contacts were refused in a row before an import worked; retrying them.",
                len(again),
            )
        chosen = set(map(id, again))
        for one in ready:
            if id(one) not in chosen:
                self.reject(one.entry, one.code, one.reason, one.batch)
        self._superseded.intersection_update([one.entry.key for one in self._held])
        return self._retry(again)

    def reject_all(self) -> None:
        """Reject all contacts that are held."""
        held, self._held = self._held, []
        for one in held:
            self.reject(one.entry, one.code, one.reason, one.batch)

    def _may_retry(self, one: HeldRefusal) -> bool:
        """Return whether a contact may be sent again: not if a later record of it was sent."""
        entry = one.entry
        is_late = entry.key in self._superseded or self._contacts.has(entry.key)
        return not (self._is_proven(one) or is_late or entry.needs_resubscribe)

    def _retry(self, held: list[HeldRefusal]) -> list[Batch]:
        """Return imports that send contacts again, grouped as before."""
        imports: dict[int, tuple[Batch, list[Entry]]] = {}
        for one in held:
            imports.setdefault(id(one.batch), (one.batch, []))[1].append(one.entry)
            self._retried[one.entry.key] = (one.code, one.reason)
            self._contacts.add([one.entry])
        return [batch.of(entries) for batch, entries in imports.values()]
