"""Batches in flight: posted, confirmed, settled; tried again, taken apart, at last refused.

One thread, the dispatcher, owns all batches and decides; two small pools wait for
ActiveCampaign's answers and report back to it. So nothing here needs a lock but
`InFlightContacts`, on which the reading thread waits.

A batch is posted (accepted?), then asked about until its import is completed (imported?).
Posting and asking have pools of their own: an import may wait long for its turn in the
account's limit, and no confirmation should wait behind it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.client import (
    ActiveCampaignError,
    ImportRefused,
    InvalidRequest,
    LimitReached,
)
from target_activecampaign.client.rate_limit.shared import BudgetUnavailable
from target_activecampaign.delivery.batches import Batch, Entry
from target_activecampaign.delivery.diagnosis import RejectionLookup
from target_activecampaign.delivery.dispatcher import Dispatcher
from target_activecampaign.delivery.in_flight import InFlightContacts
from target_activecampaign.delivery.polling import ImportPoller
from target_activecampaign.delivery.refusals import PositionBase, examine
from target_activecampaign.delivery.resubscribe import Returns
from target_activecampaign.errors import DeliveryError, StateError
from target_activecampaign.ledger import LedgerError
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.contact import Contact
from target_activecampaign.model.email import contact_key
from target_activecampaign.redaction import traceback_without_messages
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_activecampaign.accounting.outcomes import RecordAccounting
    from target_activecampaign.client import Accepted, Client, ImportStatus
    from target_activecampaign.client import Contact as Existing
    from target_activecampaign.delivery.polling import PendingImport
    from target_activecampaign.ledger import Ledger


logger = logging.getLogger("target-activecampaign")

_MAX_CONTACTS_UNDER_WAY = 16_000
_ATTEMPTS = 2
_HOPELESS_REFUSALS = 40
"""So many imports refused with none accepted between: are their contacts the reason? The same is
asked when more contacts than these were refused in a row and the run ends with none imported after
them. An import of someone who has arrived before tells; without one, they are not the reason."""
_HOPELESS_IMPORTS = 20
"""So many imports accepted and come to nothing, with none completed between: likewise."""
_MAX_HELD = 10_000
"""Refused contacts that are kept in memory until it is known whether anything is imported."""
_BATCH_IDS_KNOWN = 10_000
"""Latest batch ids that are remembered, to see when one is given twice."""
_TOLD_OF_A_KIND = 5
"""How many contradictions of a kind the log has; the report counts all."""

_SILENCE_SECONDS = 30.0
"""How long a run that was stopped goes on without an answer."""
_STOP_SECONDS = 60.0
"""A run that was stopped does not wait beyond this because ActiveCampaign asks for it."""
_LONG_WAIT_SECONDS = 10.0
"""Shorter waits are waited all the same."""
_SILENCE_LOOK_SECONDS = 1.0


class QueueBrokenError(Exception):
    """ActiveCampaign's import queue fails whatever it is given."""


class SilenceError(Exception):
    """ActiveCampaign answers no more, and the run is to end."""


_FORESEEN = (
    ActiveCampaignError,
    BudgetUnavailable,
    LedgerError,
    QueueBrokenError,
    SilenceError,
    StateError,
)
"""Errors whose text quotes no value."""


def _told(error: Exception) -> str:
    """What may be said of an error: of an unforeseen one only where, its text may quote a value."""
    if isinstance(error, _FORESEEN):
        return str(error)
    if isinstance(error, OSError):
        return private_files.explained(error)
    where = traceback_without_messages(error)
    return f"An unforeseen {type(error).__name__} ended the delivery:\n{where}"


class _Held(NamedTuple):
    """A refused contact that is not rejected until it is known that imports work at all.

    Attributes:
        entry: The contact.
        code: Why it was refused, a code out of `CODES`.
        reason: The same as a sentence.
        batch: The import that was refused.
        since: Its number: that a later one works shows that imports work at all.
        listed: Whether ActiveCampaign has listed it in an import's `failure`.
    """

    entry: Entry
    code: str
    reason: str
    batch: Batch
    since: int
    listed: bool


class Delivery:
    """Delivers batches in the order in which they come, several at once.

    The same person is never in two imports under way: a batch with a person of an earlier
    one waits until that is settled, and later batches pass it by.

    Args:
        client: Where to.
        settlement: What is told of each contact's end.
        ledger: What is told of each import before and after it is posted.
        on_settled: Called on the dispatcher after contacts were settled.
        import_timeout: Seconds from accepted to confirmed after which an import is tried again.
        max_in_flight: Imports being posted at once.
        diagnose_limit: Refused contacts whose reason is asked for.
        max_contacts: Contacts under way, above which `submit` blocks.

    Attributes:
        under_way: The contacts that are not settled.
        imports: How many imports were accepted.
    """

    def __init__(
        self,
        client: Client,
        settlement: RecordAccounting,
        ledger: Ledger,
        *,
        on_settled: Callable[[], None],
        import_timeout: float,
        max_in_flight: int = 8,
        diagnose_limit: int = 100,
        max_contacts: int = _MAX_CONTACTS_UNDER_WAY,
    ) -> None:
        self._client = client
        self._settlement = settlement
        self._ledger = ledger
        self._on_settled = on_settled
        self._max_in_flight = max_in_flight
        self._diagnosis = RejectionLookup(client, diagnose_limit)
        self._returns = Returns(client, ledger)
        self._waiting: deque[Batch] = deque()
        self._posting = 0
        self._busy: set[str] = set()
        self._recovering: int | None = None
        self._recovered_or_failed = threading.Event()
        self._base = PositionBase()
        self._consecutive_refusals = 0
        self._imports_in_vain = 0
        self._held: list[_Held] = []
        self._overtaken: set[str] = set()
        self._tried_again: dict[str, tuple[str, str]] = {}
        self._sent = 0
        self._last_that_worked = 0
        self._asking_why = 0
        self._failures_proven = False
        self._control: Entry | None = None
        self._verdict = QueueBrokenError()
        self._batch_ids: dict[str, None] = {}
        self._contradictions: Counter[str] = Counter()
        self._first_contradictions: dict[str, str] = {}
        self.under_way = InFlightContacts(max_contacts)
        self._failure: Exception | None = None
        self.imports = 0
        self._dispatcher = Dispatcher(
            pools={"post": max_in_flight, "ask": QUESTIONS_AT_ONCE},
            after=self._post_waiting,
            failed=self._fail,
        )
        self._flights = ImportPoller(
            client,
            self._dispatcher,
            import_timeout=import_timeout,
            imported=self._imported,
            on_failed=self._came_to_nothing,
            failed=self._fail,
            contradiction=self._contradiction,
        )
        self._dispatcher.do(self._recover)

    # What the reading thread calls

    def submit(self, batch: Batch) -> None:
        """Take a batch to deliver; blocks while too many contacts are under way.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self.under_way.add_when_room(batch.entries)
        self.check()
        self._dispatcher.do(lambda: self._waiting.append(batch))

    def check(self) -> None:
        """See whether all is well.

        Raises:
            DeliveryError: The delivery has failed.
        """
        if self._failure is not None:
            raise DeliveryError(_told(self._failure)) from self._failure

    def wait_until_recovered(self) -> None:
        """Wait until it is known what became of the imports that an earlier run left in flight.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self._recovered_or_failed.wait()
        self.check()

    def wait_until_idle(self) -> None:
        """Wait until nothing is under way. Contacts that were refused may still be held.

        Raises:
            DeliveryError: The delivery has failed.
        """
        self.under_way.wait()
        self.check()

    def wait(self) -> None:
        """Wait until all batches are settled.

        Raises:
            DeliveryError: The delivery has failed; what ActiveCampaign had accepted by then
                has been asked about and settled as far as it answered.
        """
        self.under_way.wait()
        while self._failure is None:
            decided = threading.Event()
            self._dispatcher.do(lambda: self._decide_on_held(decided))  # noqa: B023 - waited for
            decided.wait()
            if not self.under_way.count:
                break
            self.under_way.wait()
        if self._failure is not None:
            self._dispatcher.finish()
        self.check()

    def stop(self) -> None:
        """Wait no more than a minute for what is no answer. May be called from a signal handler."""
        stopped = time.monotonic()
        self._dispatcher.do(lambda: self._stop_if_unresponsive(stopped))

    def _stop_if_unresponsive(self, stopped: float) -> None:
        since_stop = time.monotonic() - stopped
        silence, wait = min(self._client.silence(), since_stop), self._client.asked_pause
        too_long = wait >= _LONG_WAIT_SECONDS and since_stop + wait >= _STOP_SECONDS
        if silence < _SILENCE_SECONDS and not too_long:
            self._dispatcher.later(
                _SILENCE_LOOK_SECONDS, lambda: self._stop_if_unresponsive(stopped)
            )
            return
        if too_long:
            logger.warning(
                "The run was stopped, and ActiveCampaign asked to wait %.0f s more: ending now.",
                wait,
            )
            what = "ActiveCampaign asked for a long wait"
        else:
            logger.warning(
                "ActiveCampaign has not answered for %.0f s since the run was stopped: asking no "
                "more.",
                silence,
            )
            what = "ActiveCampaign answered no more"
        self._fail(
            SilenceError(
                f"The run was stopped, and {what}. Nothing is lost: the "
                "next run asks first what became of the imports that were accepted; what is not "
                "settled is sent again."
            )
        )
        self._client.close(at_once=True)

    def close(self) -> None:
        """End the threads. What is not settled stays so."""
        self._client.close()
        self._dispatcher.close()

    def _fail(self, error: Exception) -> None:
        """Nothing more is posted; what was accepted is still asked about."""
        self._failure = self._failure or error
        self._waiting.clear()
        self.under_way.end()
        self._recovered_or_failed.set()

    # How far it is, for anyone to look at

    @property
    def recovering(self) -> int:
        """Imports of an earlier run of which it is not known yet what became of them."""
        return self._recovering or 0

    @property
    def in_flight(self) -> int:
        """Contacts that were handed over and are not settled."""
        return self.under_way.count

    @property
    def posting(self) -> int:
        """Imports that are posted, or wait for their turn in the account's limit."""
        return self._posting

    @property
    def told_contradictions(self) -> list[dict[str, Any]]:
        """Contradictions in ActiveCampaign's answers by kind, as the report has them."""
        return [
            {"kind": kind, "times": times, "first": self._first_contradictions[kind]}
            for kind, times in sorted(self._contradictions.items())
        ]

    @property
    def unconfirmed(self) -> int:
        """Imports that were accepted and are not confirmed yet."""
        return self._flights.count

    # What an earlier run left in flight

    def _recover(self) -> None:
        """Ask about leftovers; nothing is posted before it is known what became of them."""
        leftovers = self._ledger.journal.leftovers()
        asked = [one for one in leftovers if one.batch_id is not None]
        self._recovering = len(asked)
        for leftover in leftovers:
            if leftover.batch_id is None or leftover.batch_id in self._batch_ids:
                # It may have been accepted; as nobody can tell, its contacts are sent again.
                self._ledger.journal.lost(leftover.id)
                if leftover.batch_id is not None:
                    self._recovered()
            else:
                self._remember(leftover.batch_id)
                self._flights.add(leftover.id, leftover.batch_id, None)
        if asked:
            logger.info(
                "An earlier run was cut off with %d imports in flight: asking what became of "
                "them first.",
                len(asked),
            )
        self._recovered(0)

    def _recovered(self, count: int = 1) -> None:
        self._recovering = (self._recovering or 0) - count
        if not self._recovering:
            self._recovered_or_failed.set()

    # Posting: is it accepted?

    def _post_waiting(self) -> None:
        """Post what may go: in order, past those that have a person under way."""
        if self._failure is not None:
            self._waiting.clear()
        if self._recovering != 0:
            return
        held: set[str] = set()
        passed: list[Batch] = []
        while self._waiting and self._posting < self._max_in_flight:
            batch = self._waiting.popleft()
            keys = batch.keys
            if keys.isdisjoint(self._busy) and keys.isdisjoint(held):
                self._busy |= keys
                self._start(batch)
            else:
                held |= keys
                passed.append(batch)
        self._waiting.extendleft(reversed(passed))

    def _start(self, batch: Batch) -> None:
        """Post a batch, once it is seen to that those in it who come back can be imported."""
        coming = [entry for entry in batch.entries if entry.needs_resubscribe]
        if not coming:
            self._send(batch)
            return
        left = len(coming)
        held_back: set[str] = set()

        def done(entry: Entry, found: dict[int, int] | None, error: Exception | None) -> None:
            nonlocal left
            left -= 1
            if isinstance(error, Refusal):
                held_back.add(entry.key)
                ours = error.code == "OPTED_OUT"
                batch.sent = self._sent
                self._refuse_part(batch, entry, error.code, error.reason, proven=ours)
            elif error is not None:
                self._fail(error)
            for number, membership in (found or {}).items():
                entry.marks[number] = replace(entry.marks[number], membership=membership)
            entries = [one for one in batch.entries if one.key not in held_back]
            if not left and entries:
                self._send(batch.of(entries))

        for entry in coming:
            self._bring_back(entry, done)

    def _bring_back(
        self,
        entry: Entry,
        done: Callable[[Entry, dict[int, int] | None, Exception | None], None],
    ) -> None:
        self._dispatcher.call(
            "ask",
            lambda: self._returns.resubscribe(entry),
            lambda found, error: done(entry, found, error),
        )

    def _send(self, batch: Batch) -> None:
        """Post a batch whose people are marked as under way."""
        if self._failure is not None:
            return
        number = self._ledger.journal.posting(
            [(entry.person, list(entry.marks.values())) for entry in batch.entries]
        )
        self._posting += 1
        self._sent += 1
        batch.sent = self._sent
        body, count = batch.body(), len(batch.entries)

        def post() -> Accepted:
            batch.posted = self._client.server_time()
            return self._client.import_contacts(body, count)

        def done(accepted: Accepted | None, error: Exception | None) -> None:
            self._posting -= 1
            if accepted is not None:
                self.imports += 1
                self._consecutive_refusals = 0
                self._accepted(number, batch, accepted)
            elif isinstance(error, LimitReached):
                # Others use the account's limit up; nothing was queued, so wait on.
                self._ledger.journal.dropped(number)
                self._send(batch)
            elif isinstance(error, (ImportRefused, InvalidRequest)):
                self._ledger.journal.dropped(number)
                self._refused(batch, error)
            elif error is not None:
                self._fail(error)

        self._dispatcher.call("post", post, done)

    def _accepted(self, number: int, batch: Batch, accepted: Accepted) -> None:
        """An import was accepted: ask about it, and refuse those it had to do without."""
        accused, batch.accused = batch.accused, []
        for entry, reason in accused:
            self._refuse(batch, entry, "REFUSED_BY_IMPORT", reason, since=batch.sent - 1)
        count = len(batch.entries)
        if batch.suspected is not None:
            batch.suspected = None
            self._contradiction(
                "POSITIONS",
                f"An import of {count} contacts was refused for some of them, and accepted when it "
                "was sent again.",
            )
        for doubt in accepted.doubts:
            self._contradiction(
                "COUNT_UNCLEAR", f"The answer to an import of {count} contacts {doubt}."
            )
        batch_id = accepted.batch_id
        if batch_id in self._batch_ids:
            self._contradiction(
                "BATCH_ID_AGAIN",
                f"The answer to an import of {count} contacts has the batchId of an earlier one.",
            )
            earlier = self._flights.pending(batch_id)
            if earlier is not None:
                # Which of the two is answered about by this id, nobody can tell.
                earlier.doubtful = True
                self._ledger.journal.accepted(earlier.number, None)
            self._ledger.journal.lost(number)
            self._try_again(batch, "IMPORT_LOST", "ActiveCampaign gave it an earlier import's id.")
            return
        self._remember(batch_id)
        # Of an import that was not queued whole, the id alone would not tell a later run whom.
        whole = accepted.queued == count
        self._ledger.journal.accepted(number, batch_id if whole else None)
        self._flights.add(number, batch_id, batch, accepted.queued)

    def _remember(self, batch_id: str) -> None:
        self._batch_ids[batch_id] = None
        if len(self._batch_ids) > _BATCH_IDS_KNOWN:
            del self._batch_ids[next(iter(self._batch_ids))]

    def _refused(self, batch: Batch, refusal: ImportRefused | InvalidRequest) -> None:
        """An import was refused whole: find the contacts that are meant, and send the others."""
        if batch.suspected is None:  # else it was counted before it was asked about again
            self._consecutive_refusals += 1
        if self._is_hopeless("REFUSED_BY_IMPORT"):
            return
        named = refusal.contacts if isinstance(refusal, ImportRefused) else []
        finding = examine(
            batch.entries,
            named,
            self._base,
            suspected=batch.suspected,
            doubtful=bool(batch.accused) and not batch.checked,
        )
        everybody = [*(entry for entry, _ in batch.accused), *batch.entries]
        if finding.contradicted:
            self._contradiction(
                "POSITIONS",
                f"The refusal of an import of {len(batch.entries)} contacts contradicts how "
                "earlier ones have named contacts, so nobody is refused by it.",
            )
            if batch.accused and not batch.restarted:
                again = batch.of(everybody)
                again.restarted = True
                self._send(again)
                return
            if batch.accused:
                finding.again, finding.rejected = [], []
        if finding.again:
            again = batch.of(finding.again)
            again.accused, again.checked = batch.accused, batch.checked
            again.restarted, again.suspected = batch.restarted, finding.readings
            self._send(again)
        elif finding.rejected:
            accused = batch.accused + finding.rejected
            if not finding.others:
                for entry, reason in accused:
                    self._refuse(batch, entry, "REFUSED_BY_IMPORT", reason)
                return
            rest = batch.of(finding.others)
            rest.accused, rest.restarted = accused, batch.restarted
            rest.checked = batch.checked or batch.suspected is not None
            self._send(rest)
        else:
            self._halve(batch.of(everybody), "REFUSED_BY_IMPORT", "The import was refused whole.")

    def _is_hopeless(self, code: str) -> bool:
        """Whether so much was refused in a row that contacts are not the reason: ends the run."""
        in_vain = max(self._consecutive_refusals, self._imports_in_vain)
        # As many as are posted at once may each have a contact at fault, before one is accepted.
        refusals = max(_HOPELESS_REFUSALS, 2 * self._max_in_flight)
        if self._consecutive_refusals <= refusals and self._imports_in_vain <= _HOPELESS_IMPORTS:
            return False
        codes = ", ".join(sorted({code, *(one.code for one in self._held)}))
        return not self._is_tried(
            QueueBrokenError(
                f"ActiveCampaign has let {in_vain} imports in a row come to nothing ({codes}). "
                "That is not for their contacts, so none of them is refused: see "
                "status.activecampaign.com and the account's contact limit, then run again; what "
                "is not settled is sent again."
            )
        )

    # Does anything work? An import of someone who has arrived before tells

    def _is_tried(self, verdict: QueueBrokenError) -> bool:
        """See whether imports work at all, by one of someone whom ActiveCampaign has.

        It gives nothing but the address, so it changes nothing. If it works, contacts that were
        refused before are at fault themselves.

        Args:
            verdict: The error that ends the run if it does not work.

        Returns:
            Whether that is or can soon be under way. If not, as nobody has arrived, the run has
            failed.
        """
        if self._control is not None:
            return True
        key = self._settlement.arrived
        if key is None:
            if self.unconfirmed:
                return True  # an import was accepted: once it is confirmed, someone has arrived
            self._fail(verdict)
            return False
        logger.warning(
            "Many contacts were refused in a row. To see whether imports work at all, someone who "
            "has arrived before is imported again, by the address alone."
        )
        entry = Entry(Contact(key, key), b"", [], person=self._ledger.person(key))
        self._control, self._verdict = entry, verdict
        self.under_way.enter([entry])

        def found(contact: Existing | None, error: Exception | None) -> None:
            if contact is None or contact.bounced_hard:
                # Nobody is to be made by this.
                self._fail(error or verdict)
                return
            entry.contact.email = contact.email
            entry.body = entry.contact.encode()
            self._waiting.appendleft(Batch([entry], exclude_automations=True))

        self._dispatcher.call("ask", lambda: self._client.find_contact(key), found)
        return True

    def _is_control(self, entry: Entry) -> bool:
        return entry is self._control

    def _halve(self, batch: Batch, code: str, reason: str) -> None:
        """An import can't be had as a whole: try its halves, refuse what fails alone."""
        if self._is_hopeless(code):
            return
        if len(batch.entries) == 1:
            self._refuse(batch, batch.entries[0], code, reason)
        else:
            middle = len(batch.entries) // 2
            self._send(batch.of(batch.entries[:middle]))
            self._send(batch.of(batch.entries[middle:]))

    # Confirmed: is it imported?

    def _came_to_nothing(self, flight: PendingImport, code: str, reason: str) -> None:
        """An import ended without importing: to import the same again is harmless, so do."""
        self._ledger.journal.dropped(flight.number)
        if flight.batch is None:
            self._recovered()
        else:
            self._try_again(flight.batch, code, reason)

    def _try_again(self, batch: Batch, code: str, reason: str) -> None:
        self._imports_in_vain += 1
        batch.attempts += 1
        if batch.attempts < _ATTEMPTS:
            logger.warning("An import came to nothing (%s). Sending it again.", code)
            self._send(batch)
        else:
            self._halve(batch, code, reason)

    def _imported(self, flight: PendingImport, status: ImportStatus) -> None:
        """An import is completed: settle its contacts, those that it does not account for last."""
        failed = {contact_key(address) for address in status.failed}
        batch = flight.batch
        if batch is None:
            self._settle_leftover(flight, failed)
            return
        dropped = [entry for entry in batch.entries if entry.key in failed] if failed else []
        whole = self._accounts_for_all(flight, batch, status, len(dropped), len(failed))
        rest = [entry for entry in batch.entries if entry.key not in failed]
        if whole or not rest:
            self._settle(flight, batch, status, dropped, {})
        elif self._is_control(rest[0]):
            # That it is there tells nothing: it was there before.
            self._fail(self._verdict)
        elif self._diagnosis.reserve(len(rest)):
            self._ask_for_each(flight, batch, status, dropped, rest)
        else:
            # What its parts are answered will tell more.
            self._ledger.journal.lost(flight.number)
            self._settle_dropped(batch, status, dropped, credible=False)
            self._imports_in_vain += 1
            self._halve(
                batch.of(rest), "NOT_IMPORTED", "ActiveCampaign queued fewer contacts than sent."
            )

    def _accounts_for_all(
        self, flight: PendingImport, batch: Batch, status: ImportStatus, dropped: int, failed: int
    ) -> bool:
        """Whether the answers to an import say of each contact what became of it."""
        count, queued = len(batch.entries), flight.queued
        whole = queued is not None and not flight.doubtful
        if queued is not None and count - queued > dropped:
            self._contradiction(
                "QUEUED_FEWER",
                f"Of an import of {count} contacts {queued} were queued, and {dropped} are listed "
                "as failed.",
            )
            whole = False
        if failed > dropped:
            self._contradiction(
                "FAILURE_UNKNOWN",
                f"ActiveCampaign named {failed - dropped} addresses as failed that their import "
                f"of {count} contacts did not have.",
            )
            whole = False
        ids = status.succeeded
        if len(ids) > count:
            self._contradiction(
                "SUCCESS_MORE", f"An import of {count} contacts lists {len(ids)} as made."
            )
            whole = False
        elif len(set(ids)) < len(ids) or not all(map(str.isdecimal, ids)):
            self._contradiction(
                "SUCCESS_ODD", f"An import of {count} contacts lists ids as made that can't be."
            )
        return whole

    def _ask_for_each(
        self,
        flight: PendingImport,
        batch: Batch,
        status: ImportStatus,
        dropped: list[Entry],
        rest: list[Entry],
    ) -> None:
        """Ask for each contact of an import whether it has arrived, then settle it."""
        left = len(rest)
        unanswered = False
        missing: dict[str, tuple[str, str]] = {}

        def asked(entry: Entry, reason: tuple[str, str] | None, error: Exception | None) -> None:
            nonlocal left, unanswered
            left -= 1
            if error is not None:
                unanswered = True
                self._fail(error)
            elif reason is not None:
                missing[entry.key] = reason
            if not left and not unanswered:
                self._settle(flight, batch, status, dropped, missing)

        for one in rest:
            self._dispatcher.call(
                "ask",
                lambda one=one: self._diagnosis.why_missing(one, batch.posted),  # type: ignore[misc]
                lambda reason, error, one=one: asked(one, reason, error),  # type: ignore[misc]
            )

    def _settle(
        self,
        flight: PendingImport,
        batch: Batch,
        status: ImportStatus,
        dropped: list[Entry],
        missing: dict[str, tuple[str, str]],
    ) -> None:
        """Settle an import of which it is known who has arrived.

        Args:
            flight: The import.
            batch: Its contacts.
            status: What was answered about it.
            dropped: Contacts that it lists as failed.
            missing: Contacts that were not found, with the code and the reason.
        """
        others = {entry.key for entry in dropped} | missing.keys()
        confirmed = batch.entries
        if others:
            confirmed = [entry for entry in batch.entries if entry.key not in others]
        people = {self._ledger.person(key) for key in others}
        self._ledger.existing.made(self._ledger.journal.imported(flight.number, people))
        if confirmed:
            self._imports_in_vain = 0
            self._confirm(confirmed)
            self._last_that_worked = max(self._last_that_worked, batch.sent)
            self._settle_held()
        else:
            self._imports_in_vain += 1
        self._settle_dropped(batch, status, dropped, credible=bool(confirmed))
        for entry in batch.entries if missing else ():
            if entry.key in missing:
                code, reason = missing[entry.key]
                proven = bool(confirmed) or self._diagnosis.proves(code)
                self._refuse_part(batch, entry, code, reason, proven=proven)
        self._on_settled()
        self._check_failures()

    def _settle_leftover(self, flight: PendingImport, failed: set[str]) -> None:
        """Settle an import of an earlier run, of which only hashes are known."""
        dropped = {self._ledger.person(key) for key in failed}
        people = self._ledger.journal.people(flight.number)
        certain = not flight.doubtful
        if not dropped <= people:
            certain = False
            self._contradiction(
                "FAILURE_UNKNOWN",
                "ActiveCampaign named addresses as failed that an earlier run's import did not "
                "have. Its contacts are sent again.",
            )
        if certain:
            arrived = self._ledger.journal.imported(flight.number, dropped)
            self._ledger.existing.made(arrived)
        else:
            self._ledger.journal.lost(flight.number)
        self._recovered()

    def _settle_dropped(
        self, batch: Batch, status: ImportStatus, dropped: list[Entry], *, credible: bool
    ) -> None:
        """Refuse contacts that an import lists as failed.

        Args:
            batch: The import.
            status: What was answered about it.
            dropped: The contacts.
            credible: Whether others of the import have arrived.
        """
        full = self._diagnosis.account_limit_suspected(len(dropped), len(status.succeeded))
        for entry in dropped:
            if entry.parts:
                self._take_apart(batch, entry)
            else:
                self._look_into(batch, entry, full=full, credible=credible)

    def _contradiction(self, kind: str, text: str) -> None:
        """Tell of an answer that can't be right; nobody counts as delivered or refused by it."""
        self._contradictions[kind] += 1
        self._first_contradictions.setdefault(kind, text)
        if self._contradictions[kind] <= _TOLD_OF_A_KIND:
            logger.warning("%s", text)

    def _refuse_part(
        self, batch: Batch, entry: Entry, code: str, reason: str, *, proven: bool
    ) -> None:
        """Refuse a contact, or if it goes to several lists, find out for which of them."""
        if entry.parts:
            self._take_apart(batch, entry)
        else:
            self._refuse(batch, entry, code, reason, proven=proven)

    def _take_apart(self, batch: Batch, entry: Entry) -> None:
        """Send what a contact was merged from one by one: one list's refusal is not another's."""
        parts = list(entry.parts)
        self.under_way.enter(parts)
        self._release([entry])
        self._waiting.extendleft(batch.of([part]) for part in reversed(parts))

    def _look_into(self, batch: Batch, entry: Entry, *, full: bool, credible: bool) -> None:
        """Refuse a contact that the queue has dropped, with the reason if it can be had."""
        if not entry.sources or not self._diagnosis.reserve(1):
            code, reason = self._diagnosis.unknown
            self._refuse(batch, entry, code, reason, proven=credible, listed=True)
            return

        def found(reason: tuple[str, str] | None, error: Exception | None) -> None:
            self._dispatcher.fulfil()
            self._asking_why -= 1
            if error is not None:
                logger.warning("Could not ask why a contact was refused: %s", error)
            code, text = reason or self._diagnosis.unknown
            proven = self._diagnosis.proves(code)
            if not credible:
                self._failures_proven = proven
                if proven:
                    self._imports_in_vain = 0
            proven = proven or credible
            self._refuse(batch, entry, code, text, proven=proven, listed=True)
            self._check_failures()

        self._asking_why += 1
        self._dispatcher.expect()
        self._dispatcher.call("ask", lambda: self._diagnosis.ask(entry, full=full), found)

    def _check_failures(self) -> None:
        """See whether imports list all their contacts as failed, for no reason that shows."""
        if not self._asking_why and not self._failures_proven and self._held:
            self._is_hopeless(self._held[-1].code)

    # Settling

    def _confirm(self, entries: list[Entry]) -> None:
        if self._is_control(entries[0]):
            self._control = None
            self._release(entries)
            return
        if self._held:
            held = {one.entry.key for one in self._held}
            self._overtaken |= held.intersection([entry.key for entry in entries])
        for entry in entries if self._tried_again else ():
            self._tried_again.pop(entry.key, None)
        self._settlement.confirmed(entries)
        self._release(entries)

    def _refuse(
        self,
        batch: Batch,
        entry: Entry,
        code: str,
        reason: str,
        *,
        since: int | None = None,
        proven: bool = False,
        listed: bool = False,
    ) -> None:
        """Refuse a contact: at once if that is proven, else when a later import has worked.

        Args:
            batch: The import that was refused.
            entry: The contact.
            code: A code out of `CODES`.
            reason: Why, as a sentence.
            since: The number of that import, unless it is the batch's.
            proven: Whether it is known that it is for the contact.
            listed: Whether ActiveCampaign has listed it in an import's `failure`.
        """
        if self._is_control(entry):
            self._fail(self._verdict)
            return
        earlier = self._tried_again.pop(entry.key, None)
        if proven or earlier is not None:
            if earlier is not None and code == "REFUSED_BY_IMPORT":
                code, reason = earlier
            self._reject(entry, code, reason)
            self._release([entry])
            self._on_settled()
            return
        number = batch.sent if since is None else since
        self._held.append(_Held(entry, code, reason, batch, number, listed))
        self._release([entry])
        if len(self._held) > _MAX_HELD:
            self._decide_by_control(len(self._held))

    def _reject(self, entry: Entry, code: str, reason: str) -> None:
        if entry.sources:
            self._settlement.refused(entry.sources, code, reason, entry.contact.email)
        else:
            self._settlement.kept(entry)

    def _settle_held(self) -> None:
        """Reject those who were refused before an import that has worked.

        If they are many, it may have been an outage that is over: they are sent once more first.
        """
        ready, kept = list[_Held](), list[_Held]()
        for one in self._held:
            # Of an import that lists all as failed, wait for all answers: are they many?
            waits = one.since >= self._last_that_worked or (one.listed and self._asking_why)
            (kept if waits else ready).append(one)
        if not ready:
            return
        self._held = kept
        again = [one for one in ready if self._may_go_again(one)]
        if len(again) > _HOPELESS_REFUSALS:
            logger.warning(
                "%d contacts were refused in a row before an import worked: sending them again.",
                len(again),
            )
            self._send_again(again)
            chosen = {id(one) for one in again}
            ready = [one for one in ready if id(one) not in chosen]
        for one in ready:
            self._reject(one.entry, one.code, one.reason)
        self._overtaken.intersection_update([one.entry.key for one in self._held])

    def _may_go_again(self, one: _Held) -> bool:
        """Whether a contact may be sent again: not if a later record of the person was."""
        entry = one.entry
        believed = one.listed and self._failures_proven
        later = entry.key in self._overtaken or self.under_way.has(entry.key)
        return not (believed or later or entry.needs_resubscribe)

    def _send_again(self, held: list[_Held]) -> None:
        """Send contacts again, together with those they were sent with."""
        imports: dict[int, tuple[Batch, list[Entry]]] = {}
        for one in held:
            imports.setdefault(id(one.batch), (one.batch, []))[1].append(one.entry)
            self._tried_again[one.entry.key] = (one.code, one.reason)
        for batch, entries in imports.values():
            self.under_way.enter(entries)
            self._waiting.append(batch.of(entries))

    def _decide_on_held(self, decided: threading.Event) -> None:
        """Reject those who were refused at the end, unless that is how all contacts fare."""
        try:
            self._settle_held()
            unproven = [one for one in self._held if not (one.listed and self._failures_proven)]
            if self.under_way.count:
                pass  # some are sent again: what they come to will tell
            elif len(unproven) > _HOPELESS_REFUSALS:
                self._decide_by_control(len(unproven))
            else:
                for one in self._held:
                    self._reject(one.entry, one.code, one.reason)
                self._held = []
                self._on_settled()
        except Exception as error:  # noqa: BLE001 - must reach the thread that waits
            self._fail(error)
        finally:
            decided.set()

    def _decide_by_control(self, count: int) -> None:
        codes = ", ".join(sorted({one.code for one in self._held}))
        self._is_tried(
            QueueBrokenError(
                f"ActiveCampaign refused {count:,} contacts in a row ({codes}) and imported none "
                "after them. That points to the account or an outage, not to their values, so none "
                "of them is rejected. Check the account's contact limit and exclusion list and "
                "status.activecampaign.com, then run again; what is not settled is sent again."
            )
        )

    def _release(self, entries: list[Entry]) -> None:
        self._busy.difference_update([entry.key for entry in entries])
        self.under_way.release(entries)
