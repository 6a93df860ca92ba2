"""The result of each contact: confirmed, rejected, or held until imports are known to work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from target_activecampaign.delivery.control import (
    MAX_REFUSALS,
    ControlContact,
    FailureCount,
    contacts_refused_error,
)
from target_activecampaign.delivery.diagnosis import RejectionLookup
from target_activecampaign.delivery.dispatcher import Failable
from target_activecampaign.delivery.held import HeldRefusal, HeldRefusals

if TYPE_CHECKING:
    import threading

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.state import StateWriter
    from target_activecampaign.client import Client, ImportStatus
    from target_activecampaign.delivery.batches import Batch, Entry
    from target_activecampaign.delivery.dispatcher import Dispatcher
    from target_activecampaign.delivery.in_flight import BatchQueue, InFlightContacts
    from target_activecampaign.errors import DeliveryError
    from target_activecampaign.ledger import Ledger


class ResultsOwner(Failable, Protocol):
    """The delivery, as far as a contact's outcome depends on it."""

    @property
    def has_failed(self) -> bool:
        """True if an error has ended it."""

    @property
    def unconfirmed(self) -> int:
        """Imports that were accepted and are not confirmed yet."""


class ContactResults:
    """Records outcomes of contacts by the results of imports. Tells bad contacts from an outage.

    Args:
        client: The client of the account.
        accounting: Records the outcome of each contact.
        ledger: Computes the contact hashes.
        delivery: The delivery.
        dispatcher: Its pool `ask` waits for the answers.
        contacts: The contacts in flight.
        queue: Gets the batches of contacts that are sent again.
        states: Writes STATE after outcomes were recorded; None if no STATE is written.
        max_in_flight: Imports that are posted at once.
        diagnose_limit: Refused contacts whose reason is looked up.

    Attributes:
        lookup: Finds the reasons of refusals.
        failures: Counts the imports that failed in a row.
    """

    def __init__(
        self,
        client: Client,
        accounting: RecordAccounting,
        ledger: Ledger,
        *,
        delivery: ResultsOwner,
        dispatcher: Dispatcher,
        contacts: InFlightContacts,
        queue: BatchQueue,
        states: StateWriter | None,
        max_in_flight: int,
        diagnose_limit: int,
    ) -> None:
        self._accounting = accounting
        self._ledger = ledger
        self._delivery = delivery
        self._dispatcher = dispatcher
        self._contacts = contacts
        self._queue = queue
        self._states = states
        self._held = HeldRefusals(accounting, ledger, contacts)
        self._control = ControlContact(client)
        self.lookup = RejectionLookup(client, dispatcher, diagnose_limit)
        self.failures = FailureCount(max_in_flight)

    def confirm(self, entries: list[Entry], sent: int) -> None:
        """Record the outcome of imported contacts, and of contacts held until an import worked.

        Args:
            entries: The contacts.
            sent: The number of their import.
        """
        self.failures.failed = 0
        if self._control.has(entries[0]):
            self._control.confirm()
            self._held.confirm([], sent)
        else:
            self._held.confirm(entries, sent)
            self._discard_opt_outs(entries)
            self._accounting.confirmed(entries)
        self._queue.release(entries)
        self._queue.put(self._held.settle())

    def _discard_opt_outs(self, entries: list[Entry]) -> None:
        """Store that contacts that we have subscribed again are no opt-outs.

        Another worker may have read them in between.
        """
        for entry in entries:
            for one in entry.needs_resubscribe:
                self._ledger.opt_outs.discard(one.list_id, [entry.contact_hash])

    def refuse_dropped(
        self, batch: Batch, status: ImportStatus, dropped: list[Entry], *, is_credible: bool
    ) -> None:
        """Refuse contacts that an import lists as failed.

        Args:
            batch: The import.
            status: The last answer about it.
            dropped: The contacts.
            is_credible: Whether other contacts of the import were confirmed.
        """
        is_full = self.lookup.account_limit_suspected(len(dropped), len(status.succeeded))
        for entry in dropped:
            if entry.parts:
                self._send_parts(batch, entry)
            else:
                self._refuse_with_reason(batch, entry, is_full=is_full, is_credible=is_credible)

    def _refuse_with_reason(
        self, batch: Batch, entry: Entry, *, is_full: bool, is_credible: bool
    ) -> None:
        """Refuse a contact that an import lists as failed, with the reason if it can be found."""
        if not entry.sources or not self.lookup.reserve(1):
            code, reason = self.lookup.unknown
            self.refuse(batch, entry, code, reason, is_proven=is_credible, is_listed=True)
            return

        def found(code: str, reason: str) -> None:
            self._held.lookups -= 1
            is_proven = self.lookup.is_proof(code)
            if not is_credible:
                self._held.is_failure_proven = is_proven
                if is_proven:
                    self.failures.failed = 0
            is_proven = is_proven or is_credible
            self.refuse(batch, entry, code, reason, is_proven=is_proven, is_listed=True)
            self.check_failures()

        self._held.lookups += 1
        self.lookup.explain(entry, is_full=is_full, then=found)

    def check_failures(self) -> None:
        """Try the control contact if imports fail and the account shows no reason."""
        code = self._held.last_code_in_doubt
        if code is not None:
            self.try_control_if_outage(code)

    def refuse_part(
        self, batch: Batch, entry: Entry, code: str, reason: str, *, is_proven: bool
    ) -> None:
        """Refuse a contact, or send its parts if it goes to several lists."""
        if entry.parts:
            self._send_parts(batch, entry)
        else:
            self.refuse(batch, entry, code, reason, is_proven=is_proven)

    def _send_parts(self, batch: Batch, entry: Entry) -> None:
        """Send the contacts of different lists that were merged, as only one may be at fault."""
        parts = list(entry.parts)
        self._contacts.add(parts)
        self._queue.release([entry])
        self._queue.put_first(batch.of([part]) for part in parts)

    def refuse(
        self,
        batch: Batch,
        entry: Entry,
        code: str,
        reason: str,
        *,
        is_proven: bool = False,
        is_listed: bool = False,
    ) -> None:
        """Reject a contact if its fault is proven; else hold it until a later import has worked.

        Args:
            batch: The import that was refused.
            entry: The contact.
            code: A code of `CODES`.
            reason: The reason, as a sentence.
            is_proven: Whether the contact is known to be at fault.
            is_listed: Whether ActiveCampaign has listed it in an import's `failure`.
        """
        if self.fail_if_control(entry):
            return
        first = self._held.take_first_refusal(entry)
        if is_proven or first is not None:
            if first is not None and code == "REFUSED_BY_IMPORT":
                code, reason = first
            self._held.reject(entry, code, reason, batch)
            self._queue.release([entry])
            self.write_state()
            return
        self._held.add(HeldRefusal(entry, code, reason, batch, batch.sent, is_listed))
        self._queue.release([entry])
        if self._held.is_full:
            self._try_control(contacts_refused_error(len(self._held), self._held.codes))

    def skip_suppressed(self, entries: list[Entry]) -> None:
        """Record that contacts were not sent, as they are suppressed by now."""
        for entry in entries:
            if self.fail_if_control(entry):
                return
            if entry.sources:
                self._accounting.record_outcome(entry.sources, "skipped", "SUPPRESSED")
        self._queue.release(entries)
        self.write_state()

    def settle_held_at_end(self, decided: threading.Event) -> None:
        """Reject the contacts that are held at the end, unless that suggests an outage."""
        try:
            self._queue.put(self._held.settle())
            in_doubt = self._held.count_in_doubt
            if self._contacts.count:
                pass  # some are sent again, so wait for their results
            elif in_doubt > MAX_REFUSALS:
                self._try_control(contacts_refused_error(in_doubt, self._held.codes))
            else:
                self._held.reject_all()
                self.write_state()
        except Exception as error:  # noqa: BLE001 - must reach the thread that waits
            self._delivery.fail(error)
        finally:
            decided.set()

    def fail_if_control(self, entry: Entry) -> bool:
        """End the delivery if this contact, which failed, is the control contact."""
        if not self._control.has(entry):
            return False
        self._delivery.fail(self._control.error)
        return True

    def try_control_if_outage(self, code: str) -> None:
        """Try the control contact if so many imports failed that an outage is likely."""
        if self.failures.suggests_outage:
            self._try_control(self.failures.error({code, *self._held.codes}))

    def _try_control(self, error: DeliveryError) -> None:
        """Import the control contact, to test whether imports work at all.

        Args:
            error: Ends the delivery if the import fails, or if no control contact is known.
        """
        if self._delivery.has_failed or self._control.is_in_flight:
            return
        key = self._accounting.arrived
        contact_hash = self._ledger.contact_hash(key) if key else b""
        if key is None or self._ledger.suppressions.find([contact_hash]):
            if not self._delivery.unconfirmed:  # else a contact may be confirmed soon
                self._delivery.fail(error)
            return
        self._contacts.add([self._control.choose(key, contact_hash, error)])

        def found(batch: Batch | None, problem: Exception | None) -> None:
            if batch is None:
                self._delivery.fail(problem or error)
            else:
                self._queue.put_first([batch])

        self._dispatcher.call("ask", self._control.find, found)

    def write_state(self) -> None:
        """Write the STATE that may be written now."""
        if self._states is not None:
            self._states.write()
