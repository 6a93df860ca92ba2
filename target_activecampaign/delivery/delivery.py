"""The delivery of batches: posts imports, polls them, retries or splits them, and rejects contacts.

One thread, the dispatcher, owns all batches and decides. Two small pools wait for ActiveCampaign's
answers and report back to it. So nothing here needs a lock, except `InFlightContacts`, on which the
main thread waits.

A batch is posted, and accepted or refused. An accepted import is polled until it is completed.
Posting and polling have separate pools: an import may wait long for its turn in the account's
limit, and confirmations must not wait behind it.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace as replace_attributes
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client import ImportRefused, InvalidRequest, LimitReached
from target_activecampaign.delivery.contradictions import Contradictions
from target_activecampaign.delivery.dispatcher import Dispatcher
from target_activecampaign.delivery.in_flight import BatchQueue, InFlightContacts
from target_activecampaign.delivery.lost_answers import LostAnswers, choose_probes
from target_activecampaign.delivery.polling import ImportPoller
from target_activecampaign.delivery.recovery import InterruptedImports
from target_activecampaign.delivery.refusals import RefusalReader, halves
from target_activecampaign.delivery.resubscribe import Resubscriber
from target_activecampaign.delivery.results import ContactResults
from target_activecampaign.delivery.stopping import StopWatch
from target_activecampaign.errors import DeliveryError, TargetError
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.email import contact_key
from target_activecampaign.outcomes.rows import ImportFacts, with_contact_id
from target_activecampaign.redaction import traceback_without_messages
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.accounting.state import StateWriter
    from target_activecampaign.client import AcceptedImport, Client, ImportStatus
    from target_activecampaign.delivery.batches import Batch, Entry
    from target_activecampaign.delivery.polling import PendingImport
    from target_activecampaign.delivery.refusals import NextStep
    from target_activecampaign.ledger import Ledger, MemberUpdate
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.model.timings import Timings
    from target_activecampaign.outcomes.rows import Row

logger = logging.getLogger("target-activecampaign")

_MAX_CONTACTS_IN_FLIGHT = 16_000
_ATTEMPTS = 2
"""Times that an import is sent whole before it is split."""


class Delivery:
    """Delivers batches in the order in which they are submitted, several at once.

    A contact is never in two imports in flight: a batch with a contact of an earlier one waits
    until that contact has its outcome, and later batches overtake it.

    Args:
        client: The client of the account.
        accounting: Records the outcome of each contact.
        ledger: Stores each import before it is posted and after it is accepted.
        states: Writes STATE after outcomes were recorded; None if no STATE is written.
        import_timeout: Seconds after which an accepted import that is not confirmed is retried.
        timings: The times of polls, and of the end of a stopped run.
        max_in_flight: Imports that are posted at once.
        diagnose_limit: Refused contacts whose reason is looked up.
        max_contacts: Contacts in flight, above which `submit` blocks.
        position_base: See `RefusalReader`, as far as it is known.

    Attributes:
        contacts: The contacts in flight.
        contradictions: Contradictory answers so far.
        imports: Number of imports that were accepted.
        posting: Number of imports that are being posted, or wait for the account's limit.
    """

    def __init__(
        self,
        client: Client,
        accounting: RecordAccounting,
        ledger: Ledger,
        *,
        states: StateWriter | None,
        import_timeout: float,
        timings: Timings,
        max_in_flight: int = 8,
        diagnose_limit: int = 100,
        max_contacts: int = _MAX_CONTACTS_IN_FLIGHT,
        position_base: int | None = None,
    ) -> None:
        self._client = client
        self._accounting = accounting
        self._ledger = ledger
        self._max_in_flight = max_in_flight
        self._failure: Exception | None = None
        self._sent = 0
        self.imports = self.posting = 0
        self.contacts = InFlightContacts(max_contacts)
        self.contradictions = Contradictions()
        self._queue = BatchQueue(self.contacts)
        self._refusals = RefusalReader(self.contradictions, position_base)
        self._resubscriber = Resubscriber(client, ledger)
        self._dispatcher = Dispatcher({"post": max_in_flight, "ask": QUESTIONS_AT_ONCE}, self)
        self._lost_answers = LostAnswers(client, self._dispatcher, timings)
        self._interrupted = InterruptedImports(
            client,
            accounting,
            ledger,
            self.contradictions,
            lost_answers=self._lost_answers,
            dispatcher=self._dispatcher,
            delivery=self,
        )
        self._stop_watch = StopWatch(client, self._dispatcher, self, timings)
        self._poller = ImportPoller(
            client,
            self._dispatcher,
            self,
            self.contradictions,
            import_timeout=import_timeout,
            timings=timings,
        )
        self._results = ContactResults(
            client,
            accounting,
            ledger,
            delivery=self,
            dispatcher=self._dispatcher,
            contacts=self.contacts,
            queue=self._queue,
            states=states,
            max_in_flight=max_in_flight,
            diagnose_limit=diagnose_limit,
        )
        self._dispatcher.do(lambda: self._interrupted.check(self._poller))

    # For the main thread

    def submit(self, batch: Batch) -> None:
        """Queue a batch for delivery. Blocks while too many contacts are in flight.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self.contacts.add(batch.entries, block=True)
        self.check()
        self._dispatcher.do(lambda: self._queue.put([batch]))

    def check(self) -> None:
        """Raise the error that has ended the delivery, if there is one.

        Raises:
            DeliveryError: The delivery has failed.
        """
        if self._failure is not None:
            raise DeliveryError(_text_of(self._failure)) from self._failure

    def wait_until_recovered(self) -> None:
        """Wait until the imports that the previous run left in flight are checked.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self._interrupted.wait()
        self.check()

    def wait_until_idle(self) -> None:
        """Wait until nothing is in flight. Refused contacts may still be held.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self.contacts.wait()
        self.check()

    def wait(self) -> None:
        """Wait until every contact has an outcome.

        Raises:
            DeliveryError: The delivery has failed. Accepted imports were polled all the same, as
                far as ActiveCampaign answered.
        """
        self.contacts.wait()
        while self._failure is None:
            decided = threading.Event()
            self._dispatcher.do(partial(self._results.settle_held_at_end, decided))
            decided.wait()
            if not self.contacts.count:
                break
            self.contacts.wait()
        if self._failure is not None:
            self._dispatcher.finish()
        self.check()

    def stop(self) -> None:
        """End soon if ActiveCampaign does not answer. May be called from a signal handler."""
        self._lost_answers.stop()
        self._stop_watch.start()

    def close(self) -> None:
        """End the threads. Contacts in flight get no outcome."""
        self._client.close()
        self._dispatcher.close()

    # Progress

    @property
    def recovering(self) -> int:
        """Number of imports of the previous run that are not checked yet."""
        return self._interrupted.count

    @property
    def in_flight(self) -> int:
        """Number of contacts that were submitted and have no outcome yet."""
        return self.contacts.count

    @property
    def has_failed(self) -> bool:
        """True if an error has ended the delivery."""
        return self._failure is not None

    @property
    def unconfirmed(self) -> int:
        """Number of imports that were accepted and are not confirmed yet."""
        return self._poller.count

    # Posting

    def after_action(self) -> None:
        """Post the batches that may be posted now."""
        if self._failure is not None:
            self._queue.clear()
        if self._interrupted.is_checked:
            for batch in self._queue.take(self._max_in_flight - self.posting):
                self._send_unless_arrived(batch)

    def _send_unless_arrived(self, batch: Batch) -> None:
        """Send a batch without those contacts that arrived before an interruption."""
        if self._interrupted.has_arrived_contacts:
            batch = self._without_suppressed(batch)
        posted, entries = self._interrupted.take_arrived(batch.entries)
        if not entries:
            self._resubscribe_and_send(batch)
            return

        def found(different: set[str]) -> None:
            arrived = batch.of(entries)
            arrived.posted, arrived.rows = posted, self._accounting.rows_in_flight(entries)
            arrived.sent = 0  # it does not show that later imports work
            number = self._ledger.journal.begin(
                _updates(entries), posted=posted, outcomes=_with_contacts(arrived.rows, entries)
            )
            confirmed = {one.key for one in self._confirm(number, arrived, different)}
            self._results.write_state()
            rest = [one for one in batch.entries if one.key not in confirmed]
            if rest:
                self._resubscribe_and_send(batch.of(rest))

        self._lost_answers.find_different(entries, found)

    def _confirm(self, number: int, batch: Batch, others: Collection[str]) -> list[Entry]:
        """Record the outcomes of an import's contacts, except for some; return the confirmed ones.

        Args:
            number: The number of the import in the ledger.
            batch: Its contacts.
            others: The keys of those that have not arrived.
        """
        confirmed = batch.entries
        if others:
            confirmed = [entry for entry in batch.entries if entry.key not in others]
        # First, in case of a kill: an import that the ledger has forgotten is not looked at again.
        self._write_rows(batch, confirmed)
        hashes = {self._ledger.contact_hash(key) for key in others}
        self._ledger.contact_index.add_created(self._ledger.journal.confirm(number, hashes))
        if confirmed:
            self._results.confirm(confirmed, batch.sent)
        return confirmed

    def _resubscribe_and_send(self, batch: Batch) -> None:
        """Re-subscribe those contacts of a batch that need it, then send the batch."""
        if not any(entry.needs_resubscribe for entry in batch.entries):
            self._send(batch)
            return
        batch = self._without_suppressed(batch)
        returning = [entry for entry in batch.entries if entry.needs_resubscribe]
        if not returning:
            self._send(batch)
            return
        left = len(returning)
        refused: set[str] = set()

        def done(entry: Entry, found: dict[int, int] | None, error: Exception | None) -> None:
            nonlocal left
            left -= 1
            if isinstance(error, Refusal):
                refused.add(entry.key)
                is_proven = error.code == "OPTED_OUT"
                batch.sent = self._sent
                self._results.refuse_part(
                    batch, entry, error.code, error.reason, is_proven=is_proven
                )
            elif error is not None:
                self.fail(error)
            for number, membership in (found or {}).items():
                entry.marks[number] = replace(entry.marks[number], ownership=membership)
            entries = [one for one in batch.entries if one.key not in refused]
            if not left and entries:
                self._send(batch.of(entries))

        for one in returning:
            self._dispatcher.call(
                "ask",
                lambda one=one: self._resubscriber.resubscribe(one),  # type: ignore[misc]
                lambda found, error, one=one: done(one, found, error),  # type: ignore[misc]
            )

    def _without_suppressed(self, batch: Batch) -> Batch:
        """Return a batch without the people who were suppressed since it was packed."""
        found = self._ledger.suppressions.find({one.contact_hash for one in batch.entries})
        if not found:
            return batch
        self._results.skip_suppressed([one for one in batch.entries if one.contact_hash in found])
        rest = [one for one in batch.entries if one.contact_hash not in found]
        return replace_attributes(batch, entries=rest)

    def _pass_over(self, batch: Batch) -> None:
        """Go on without a batch of which nothing is left. Others may wait for the answer to it."""
        if batch.entries and self._refusals.is_sent_alone(batch):
            self._follow(self._refusals.accepted(batch))
        elif batch.accused:
            self._send(batch.of(batch.accused_entries))

    def _send(self, batch: Batch) -> None:
        """Post a batch. Its contacts are in flight already.

        It may have waited, or be sent again: people who were suppressed meanwhile are left out.
        """
        if self._failure is not None:
            return
        rest = self._without_suppressed(batch)
        if not rest.entries:
            self._pass_over(batch)
            return
        batch = rest
        batch.batch_id, batch.rows = None, self._accounting.rows_in_flight(batch.entries)
        probes = choose_probes(batch.entries)
        number = self._ledger.journal.begin(
            _updates(batch.entries),
            # The ledger knows by itself which removals are uncertain.
            [(one.contact_hash, one.contact) for one in probes if one.sources],
            posted=batch.first_posted,
            outcomes=_with_contacts(batch.rows, batch.entries),
        )
        self.posting += 1
        self._sent += 1
        batch.sent = self._sent
        body = batch.body()

        def done(accepted: AcceptedImport | None, error: Exception | None) -> None:
            self.posting -= 1
            if accepted is not None and accepted.batch_id:
                self._accepted(number, batch, accepted)
            elif accepted is not None:
                self._arrived(number, batch)
            elif isinstance(error, LimitReached):
                # Other clients use up the account's limit. Nothing was queued, so send it again.
                if error.effect_unknown:
                    batch.first_posted = batch.first_posted or batch.posted
                self._ledger.journal.discard(number)
                self._send(batch)
            elif isinstance(error, (ImportRefused, InvalidRequest)):
                self._ledger.journal.discard(number)
                self._refused(batch, error.contacts if isinstance(error, ImportRefused) else [])
            elif error is not None:
                self.fail(error)

        contacts = [one.contact for one in probes]
        self._dispatcher.call("post", lambda: self._post(batch, body, contacts), done)

    def _post(self, batch: Batch, body: bytes, probes: list[Contact]) -> AcceptedImport:
        """Post an import, on a thread of the pool."""
        batch.posted = self._client.server_time()
        since = batch.first_posted or batch.posted
        return self._client.import_contacts(
            body, len(batch.entries), lambda: self._lost_answers.has_arrived(probes, since)
        )

    def _accepted(self, number: int, batch: Batch, accepted: AcceptedImport) -> None:
        """Start to poll an import that was accepted."""
        self.imports += 1
        self._results.failures.refused = 0
        step = self._refusals.accepted(batch)
        count, batch_id = len(batch.entries), accepted.batch_id
        batch.batch_id = batch_id
        for doubt in accepted.contradictions:
            self.contradictions.add(
                "COUNT_UNCLEAR", f"The answer to an import of {count} contacts {doubt}."
            )
        if self._poller.knows(batch_id):
            self.contradictions.add(
                "BATCH_ID_AGAIN",
                f"The answer to an import of {count} contacts has the batchId of an earlier one.",
            )
            earlier = self._poller.pending(batch_id)
            if earlier is not None:
                # Answers for this id may be about either import.
                earlier.is_doubtful = True
                self._ledger.journal.set_batch_id(earlier.number, None)
            self._ledger.journal.mark_lost(number)
            self._retry(
                batch, "IMPORT_LOST", "ActiveCampaign answered with the id of an earlier import."
            )
        else:
            # If only some were queued, the id alone can't tell a later run which ones.
            is_whole = accepted.queued == count
            self._ledger.journal.set_batch_id(number, batch_id if is_whole else None)
            self._poller.add(number, batch_id, batch, accepted.queued)
        self._follow(step)

    def _arrived(self, number: int, batch: Batch) -> None:
        """Confirm the contacts of an import that has arrived, although its answer was lost."""
        self.imports += 1
        self._results.failures.refused = 0
        step = self._refusals.accepted(batch)

        def found(different: set[str]) -> None:
            self._confirm(number, batch, different)
            self._results.write_state()
            rest = [one for one in batch.entries if one.key in different]
            if rest:
                again = batch.of(rest)
                again.first_posted = batch.first_posted or batch.posted
                self._send(again)

        self._lost_answers.find_different(batch.entries, found)
        self._follow(step)

    def _refused(self, batch: Batch, named: list[tuple[int, str]]) -> None:
        """Find the contacts that caused the refusal of an import, and send the others."""
        if len(batch.entries) > 1:
            whole, batch = batch, self._without_suppressed(batch)
            if batch is not whole:
                # The refusal's positions are those of the whole import, so it is sent anew.
                self._send(batch)
                return
        is_sent_alone = self._refusals.is_sent_alone(batch)
        step = self._refusals.refused(batch, named)
        if step.is_unclear or not is_sent_alone:
            self._results.failures.refused += 1
        self._results.try_control_if_outage("REFUSED_BY_IMPORT")
        self._follow(step)

    def _follow(self, step: NextStep) -> None:
        if self._failure is not None:
            return
        for batch, entry, reason in step.rejected:
            self._results.refuse(batch, entry, "REFUSED_BY_IMPORT", reason)
        for batch in step.send:
            self._send(batch)

    # Confirmation

    def on_failed(self, pending: PendingImport, code: str, reason: str) -> None:
        """Retry an import that failed, which is harmless."""
        if pending.batch is None:
            self._interrupted.drop(pending)
        else:
            self._ledger.journal.discard(pending.number)
            self._retry(pending.batch, code, reason)

    def _retry(self, batch: Batch, code: str, reason: str) -> None:
        self._results.failures.failed += 1
        batch.attempts += 1
        if batch.attempts < _ATTEMPTS:
            logger.warning("Import failed (%s); retrying.", code)
            self._send(batch)
        else:
            self._halve(batch, code, reason)

    def _halve(self, batch: Batch, code: str, reason: str) -> None:
        """Send an import again in two halves. Refuse a contact that fails alone."""
        self._results.try_control_if_outage(code)
        if self._failure is not None:
            return
        if len(batch.entries) == 1:
            self._results.refuse(batch, batch.entries[0], code, reason)
            return
        for half in halves(batch, batch.entries):
            self._send(half)

    def on_imported(self, pending: PendingImport, status: ImportStatus) -> None:
        """Record the outcomes of a completed import's contacts, if its answers account for all."""
        failed = {contact_key(address) for address in status.failed}
        batch = pending.batch
        if batch is None:
            self._interrupted.settle(pending, failed)
            return
        dropped = [entry for entry in batch.entries if entry.key in failed] if failed else []
        agrees = self.contradictions.accounts_for_all(
            sent=len(batch.entries),
            queued=pending.queued,
            failed=len(failed),
            dropped=len(dropped),
            ids=status.succeeded,
            is_doubtful=pending.is_doubtful,
        )
        rest = [entry for entry in batch.entries if entry.key not in failed]
        if agrees or not rest:
            self._settle(pending, batch, status, dropped, {})
        elif self._results.fail_if_control(rest[0]):
            pass  # a lookup would prove nothing: the account had this contact before
        elif self._results.lookup.reserve(len(rest)):
            settle = partial(self._settle, pending, batch, status, dropped)
            self._results.lookup.find_missing(rest, batch.posted, settle)
        else:
            # Too many to look up: the halves will show which ones are missing.
            self._ledger.journal.mark_lost(pending.number)
            self._results.refuse_dropped(batch, status, dropped, is_credible=False)
            self._results.failures.failed += 1
            self._halve(
                batch.of(rest), "NOT_IMPORTED", "ActiveCampaign queued fewer contacts than sent."
            )

    def _settle(
        self,
        pending: PendingImport,
        batch: Batch,
        status: ImportStatus,
        dropped: list[Entry],
        missing: dict[str, tuple[str, str]],
    ) -> None:
        """Record the outcomes of an import whose contacts are all accounted for.

        Args:
            pending: The import.
            batch: Its contacts.
            status: The last answer about it.
            dropped: Contacts that it lists as failed.
            missing: Code and reason for each contact that was not imported, by key.
        """
        others = {entry.key for entry in dropped} | missing.keys()
        if not others and len(batch.entries) == len(status.succeeded) == 1:
            (entry,), (created,) = batch.entries, status.succeeded
            entry.contact_id = int(created) if created.isdecimal() else None
        confirmed = self._confirm(pending.number, batch, others)
        if not confirmed:
            self._results.failures.failed += 1
        self._results.refuse_dropped(batch, status, dropped, is_credible=bool(confirmed))
        for entry in batch.entries if missing else ():
            if entry.key in missing:
                code, reason = missing[entry.key]
                is_proven = bool(confirmed) or self._results.lookup.is_proof(code)
                self._results.refuse_part(batch, entry, code, reason, is_proven=is_proven)
        self._results.write_state()
        self._results.check_failures()

    def _write_rows(self, batch: Batch, confirmed: list[Entry]) -> None:
        """Store the rows of outcomes of an import's confirmed contacts."""
        rows, batch.rows = batch.rows, []
        if self._accounting.rows is not None and rows:
            # The clock's estimate may go back a little.
            now = max(batch.posted, self._client.server_time())
            facts = ImportFacts(batch.batch_id, batch.posted, now)
            keys = {entry.key for entry in confirmed}
            found = [
                row
                for entry, some in zip(batch.entries, rows, strict=True)
                if entry.key in keys
                for row in with_contact_id(some, entry.contact_id)
            ]
            self._accounting.rows.write_confirmed(found, facts)

    # The end

    def fail(self, error: Exception) -> None:
        """End the delivery with an error. Accepted imports are still polled."""
        self._failure = self._failure or error
        self._queue.clear()
        self.contacts.close()
        self._interrupted.stop_waiting()


def _updates(entries: Sequence[Entry]) -> list[tuple[bytes, list[MemberUpdate]]]:
    """Return contacts by their hashes, with their ledger updates."""
    return [(entry.contact_hash, list(entry.marks.values())) for entry in entries]


def _with_contacts(
    rows: list[list[Row]], entries: Sequence[Entry]
) -> list[tuple[bytes, list[Row]]] | None:
    """Return rows of outcomes with the hashes of their contacts; None if there are no rows."""
    hashes = [entry.contact_hash for entry in entries]
    return list(zip(hashes, rows, strict=True)) if rows else None


def _text_of(error: Exception) -> str:
    """Return a safe text for an error: an unforeseen one may quote a value of a record."""
    if isinstance(error, TargetError):
        return str(error)
    if isinstance(error, OSError):
        return private_files.explain(error)
    where = traceback_without_messages(error)
    return f"An unforeseen {type(error).__name__} ended the delivery:\n{where}"
