"""The writer of outcomes: collects rows, and stores them before the STATE after their records.

The rows of imported contacts are stored before the ledger forgets their import. So a run that is
killed in between leaves them to the next run, which finds them with the import.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.errors import OutcomesError
from target_activecampaign.model.codes import CODES
from target_activecampaign.outcomes.earlier import EarlierRows
from target_activecampaign.outcomes.rows import RowMaker, add_facts, with_contact_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from target_activecampaign.ledger import Ledger
    from target_activecampaign.model.record import Source
    from target_activecampaign.outcomes.places import OutcomePlace
    from target_activecampaign.outcomes.rows import ImportFacts, Row
    from target_activecampaign.outcomes.store import OutcomeStore

logger = logging.getLogger("target-activecampaign")

_MAX_WAITING = 1000
"""Rows that are collected before they are stored together."""


class OutcomeWriter:
    """Stores the rows of one run. Thread-safe.

    If the place fails, the run goes on without it, unless rows are required.

    Args:
        place: The place.
        run: The columns of the run's row that are known at its start.
        ledger: Its key is that of the hashes; it knows the runs that were cut off.
        kind: The setting `outcomes`.
        personal: Whether rows have the address.
        required: Whether a failure of the place ends the run.

    Attributes:
        lists: The id of each stream's list, by the stream's name after stream maps.
        wants_delivered: Whether records that were delivered or skipped get rows.
        wants_unchanged: Whether unchanged records get rows.

    Raises:
        OutcomesError: The place can't be used, and rows are required.
    """

    def __init__(
        self,
        place: OutcomePlace,
        run: Mapping[str, Any],
        ledger: Ledger,
        *,
        kind: str,
        personal: bool,
        required: bool,
    ) -> None:
        self._run = dict(run)
        self._required = required
        self._lock = threading.RLock()
        self._waiting: list[Row] = []
        self._earlier: EarlierRows | None = None
        self._continued: list[str] = []
        self._problem: str | None = None
        self._written = self._missing = 0
        self._maker = RowMaker(run["run"], ledger, personal=personal)
        self.lists = self._maker.lists
        self.wants_delivered = kind != "failures"
        self.wants_unchanged = kind == "all"
        with self._guarded():
            self._store: OutcomeStore = place.open()
            self._begin(ledger.interrupted_runs)

    def _begin(self, interrupted: Sequence[str]) -> None:
        """Store that the run has begun, and take over from runs that were cut off."""
        self._store.prepare()
        self._run["continues"] = None
        if interrupted:
            self._continued = list(interrupted)
            self._run["continues"] = msgspec.json.encode(self._continued).decode()
        self._store.begin_run(self._run)
        if interrupted:
            self._store.close_runs(self._continued, self._run["started"])
            self._earlier = EarlierRows(self._store.rows_of(self._continued))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Go on without the place if it fails, unless rows are required."""
        try:
            yield
        except OutcomesError as error:
            self._missing += len(self._waiting)
            self._waiting = []
            self._problem = str(error)
            if self._required:
                raise
            logger.warning(
                "Rows of outcomes are NOT STORED from here on; the run goes on without them. %s",
                error,
            )

    # Records

    def add(self, sources: Sequence[Source], outcome: str, code: str | None = None) -> None:
        """Add the rows of one contact's records, which need no delivery.

        Args:
            sources: The records, in their order. All except the last are merged.
            outcome: The outcome of the last one.
            code: The reason for which it is skipped, if there is one.
        """
        if not self.wants_delivered:
            return
        *merged, last = sources
        rows = [self._maker.make(one, "merged") for one in merged]
        if outcome != "unchanged" or self.wants_unchanged:
            reason = None if code is None else CODES[code].meaning
            rows.append(self._maker.make(last, outcome, code, reason))
        self._add(rows)

    def add_refused(
        self, sources: Sequence[Source], code: str, reason: str, facts: ImportFacts
    ) -> None:
        """Add the rows of refused records.

        Args:
            sources: The records.
            code: A code of `CODES`.
            reason: The reason, as a sentence that may be shown.
            facts: The facts about their import, if they were sent.
        """
        kind = CODES[code].kind
        rows = [self._maker.make(one, kind, code, reason) for one in sources]
        add_facts(rows, facts)
        self._add(rows)

    def _add(self, rows: Iterable[Row]) -> None:
        with self._lock:
            self._waiting += rows
            if len(self._waiting) >= _MAX_WAITING:
                self.flush()

    # Imports

    def rows_in_flight(
        self, sources: Sequence[Source], *, known: bool, contact_id: int | None
    ) -> list[Row]:
        """Return the rows that a contact's records have once its import is confirmed.

        Args:
            sources: The records.
            known: Whether the ledger knew the contact.
            contact_id: ActiveCampaign's id of the contact, if it is known.
        """
        if not (sources and self.wants_delivered) or self._problem is not None:
            return []
        *merged, last = sources
        rows = [self._maker.make(one, "merged") for one in merged]
        rows.append(self._maker.make(last, "changed" if known else "added"))
        return with_contact_id(rows, contact_id)

    def write_confirmed(self, rows: Sequence[Row], facts: ImportFacts) -> None:
        """Store the rows of imported contacts. Call it before the ledger forgets their import.

        Args:
            rows: The rows, as `rows_in_flight` has returned them.
            facts: The facts about the import.
        """
        with self._lock:
            add_facts(rows, facts)
            self._waiting += rows
            self.flush()

    def write_recovered(self, rows: Sequence[Row], facts: ImportFacts) -> None:
        """Store the rows of an import of a run that was cut off, as `write_confirmed` does.

        That run may have stored them itself.
        """
        with self._lock:
            self.flush()
            add_facts(rows, facts)
            new = list(rows)
            if self._earlier is not None:
                new = self._earlier.match([row for row in rows if not self._earlier.has(row)])
            self._waiting = new
            self._store_waiting()
            if self._earlier is not None:
                self._earlier.add(new)

    def flush(self) -> None:
        """Store all rows so far.

        Raises:
            OutcomesError: They can't be stored, and rows are required.
        """
        with self._lock:
            if self._earlier is not None and self._problem is None:
                self._waiting = self._earlier.match(self._waiting)
            self._store_waiting()

    def _store_waiting(self) -> None:
        if self._problem is not None:
            self._missing += len(self._waiting)
            self._waiting = []
        if self._waiting:
            with self._guarded():
                self._store.write(self._waiting)
                self._written += len(self._waiting)
                self._waiting = []

    # The end

    def end(
        self,
        results: Mapping[str, Any],
        report: Mapping[str, Any],
        *,
        finished: datetime,
        keep_days: float,
    ) -> str | None:
        """Store the end of the run, delete old rows and close the place.

        Args:
            results: The columns of the run's row that are known at its end.
            report: The report, without personal data.
            finished: The end of the run.
            keep_days: The days after which rows are deleted.

        Returns:
            The problem that fails the run, as a sentence; None if there is none.
        """
        row = {**self._run, **results, "finished": finished}
        row["report"] = msgspec.json.encode(report).decode()
        try:
            with self._lock, self._guarded():
                self.flush()
                if self._problem is None:
                    if self._continued and self.wants_delivered:
                        self._store.recount(self._continued)
                    self._store.end_run(row)
                    started: datetime = self._run["started"]
                    self._store.prune(started - timedelta(days=keep_days))
                    self._store.close()
        except OutcomesError as error:
            return str(error)
        finally:
            if self._earlier is not None:
                self._earlier.close()
        return None

    def summary(self) -> dict[str, Any]:
        """Return what the report says of the rows."""
        return {"rows": self._written, "missing": self._missing, "problem": self._problem}
