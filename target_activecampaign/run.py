"""A run: build the parts, pass the tap's messages to them, and close them at the end.

Records go to the window, become contacts there, and are compared, batched and delivered. STATE is
written once every record before it has an outcome.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_activecampaign.account.account import Account
from target_activecampaign.accounting.limits import Thresholds
from target_activecampaign.accounting.outcomes import RecordAccounting
from target_activecampaign.accounting.rejects import RejectFiles
from target_activecampaign.accounting.samples import Samples
from target_activecampaign.accounting.state import Checkpoints, StateWriter
from target_activecampaign.client import Client
from target_activecampaign.config.definitions import SUPPRESSION
from target_activecampaign.config.validation import ensure_writable_folder
from target_activecampaign.delivery.batches import Packer
from target_activecampaign.delivery.delivery import Delivery
from target_activecampaign.errors import GuardError, OutcomesError, ReadBackError, StoppedError
from target_activecampaign.ledger import COMPLETED, Ledger, LedgerError, source_of
from target_activecampaign.model.record import REJECT_CODE, SourceStream
from target_activecampaign.outcomes.places import OutcomePlace
from target_activecampaign.outcomes.writer import OutcomeWriter
from target_activecampaign.reporting import publish as publishing
from target_activecampaign.reporting.alerts import find_alerts
from target_activecampaign.reporting.progress import Progress
from target_activecampaign.reporting.report import Report
from target_activecampaign.singer.stream_order import Turn
from target_activecampaign.storage import private_files
from target_activecampaign.sync import input_checks
from target_activecampaign.sync.account_facts import AccountFacts
from target_activecampaign.sync.changes import ChangeDetector
from target_activecampaign.sync.exclusions import Exclusions
from target_activecampaign.sync.guards import how_to_go_on
from target_activecampaign.sync.known_refusals import KnownRefusals
from target_activecampaign.sync.limited_run import LimitedRun
from target_activecampaign.sync.notices import RecordNotices
from target_activecampaign.sync.opt_outs import OptOutReader
from target_activecampaign.sync.rejected import RejectedRecords
from target_activecampaign.sync.removals import MirrorRemovals
from target_activecampaign.sync.renames import PersonRenames
from target_activecampaign.sync.retries import RecordRetries
from target_activecampaign.sync.routes import Route, RoutedStream, RouteSchema, SuppressionRoute
from target_activecampaign.sync.segment import change_log_property
from target_activecampaign.sync.setup import Streams, check_lists
from target_activecampaign.sync.source_rows import EntryCodec, RowTracker
from target_activecampaign.sync.stop import StopRequest
from target_activecampaign.sync.stream_figures import figures_of
from target_activecampaign.sync.suppression import Suppressor
from target_activecampaign.sync.unsubscribes import Unsubscriber
from target_activecampaign.sync.window import RecordWindow
from target_activecampaign.sync.withholding import Withholding

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec
    from singer_sdk.metrics import Counter

    from target_activecampaign.config.settings import Settings
    from target_activecampaign.model.timings import Timings
    from target_activecampaign.preview.preview import Preview
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.reader import MessageReader
    from target_activecampaign.singer.records import ReadRecord
    from target_activecampaign.singer.stream_maps import MappedStream


logger = logging.getLogger("target-activecampaign")

_MOST_COMPARED = 200_000
"""Contacts of a list's segments, added up, above which a run does not count how many they share:
that would take seconds. The command `target-activecampaign-ledger show --audience` always does."""


@dataclass
class _Parts:
    """The parts of a connected run."""

    account: Account
    ledger: Ledger
    delivery: Delivery
    changes: ChangeDetector
    streams: Streams
    opt_outs: OptOutReader
    removals: MirrorRemovals
    renames: PersonRenames
    retries: RecordRetries
    unsubscriber: Unsubscriber
    window: RecordWindow
    notices: RecordNotices
    progress: Progress
    codec: EntryCodec


class Run:
    """One run of the target.

    Args:
        settings: The settings.
        reader: The reader of the input.
        timings: Times and sizes that no setting changes.
        limit: The number of contacts to send and read back; None for a whole run.

    Attributes:
        report: The results so far.
    """

    def __init__(
        self,
        settings: Settings,
        reader: MessageReader,
        timings: Timings,
        limit: int | None = None,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._timings = timings
        started = datetime.now(timezone.utc)
        run_id = f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
        self._preview = _preview_of(settings)
        self._limited = LimitedRun(limit, settings) if limit is not None else None
        folder = Path(settings.rejects_path)
        self._rejects = RejectFiles(folder / "preview" if self._preview else folder, run_id)
        self._checkpoints = Checkpoints()
        self._samples = Samples(personal=settings.report_personal_data)
        special = self._preview or self._limited
        make = special.make_accounting if special else RecordAccounting
        self._accounting = make(self._checkpoints, self._rejects, self._samples)
        self._thresholds = Thresholds(settings, self._accounting)
        self._packer = (
            self._limited.packer
            if self._limited
            else Packer(settings.batch_size_rows, exclude_automations=settings.exclude_automations)
        )
        self._streams: dict[str, RoutedStream] = {}
        self._parts: _Parts | None = None
        self._is_complete = False
        self._is_removing = False
        self._has_profiles = False
        self._problems: list[str] = []
        self._stop = StopRequest()
        self._states = StateWriter(self._checkpoints, settings.checkpoint_seconds)
        self.report = Report(
            run_id,
            started,
            settings.connection_name or "",
            "embedded sandbox" if settings.sandbox else settings.api_url or "",
            dry_run=settings.dry_run,
        )

    @property
    def connected(self) -> bool:
        """True once the account and the ledger are open."""
        return self._parts is not None

    # Streams

    def announce(
        self,
        name: str,
        schema: dict[str, Any],
        keys: list[str] | None,
        bookmarks: list[str] | None,
    ) -> None:
        """Store what the tap's SCHEMA message says of a stream."""
        self.flush_window()
        stream = self._streams.get(name)
        source = SourceStream(name, schema, tuple(keys or ()))
        if stream is None:
            stream = self._streams[name] = RoutedStream(source)
        elif stream.source.schema != schema:
            stream.source = source
        stream.progress.partial = REJECT_CODE in schema["properties"]
        stream.bookmarks = bookmarks or []

    def open(self, name: str, mapped: Sequence[tuple[MappedStream, Counter]]) -> None:
        """Open the streams that stream maps make of a tap's stream. The first call connects.

        Args:
            name: The tap's stream.
            mapped: The streams to open, each with the SDK's counter of its records.

        Raises:
            MappingError, MissingListError, ListError, ModeError: A stream can't be loaded.
            SandboxError, ActiveCampaignError: There is no connection.
            LedgerError: The ledger can't be used, or another run is loading the stream.
        """
        stream = self._streams[name]
        routes: list[Route] = []
        suppressions: list[SuppressionRoute] = []
        for one, counter in mapped:
            if self._settings.for_stream(one.name).suppresses:
                suppressions.append(self._suppression_route(stream, one, counter))
            else:
                routes.append(self._route(stream, one, counter))
        stream.routes, stream.suppressions = routes, suppressions

    def _suppression_route(
        self, stream: RoutedStream, mapped: MappedStream, counter: Counter
    ) -> SuppressionRoute:
        schema = RouteSchema(mapped, self._settings)
        mapping = self._connect().streams.open_suppression(mapped.name, stream, schema)
        self.report.streams[mapped.name] = {
            "role": SUPPRESSION,
            "destinations": mapping.destinations,
            "ignored": mapping.ignored,
        }
        settings = self._settings.for_stream(mapped.name)
        is_incremental = (
            bool(stream.bookmarks)
            or change_log_property(stream.source.schema["properties"]) is not None
        )
        return SuppressionRoute(
            stream.source,
            mapped,
            schema,
            settings=settings,
            counter=counter,
            mapping=mapping,
            number=source_of(mapped.name),
            is_partial=is_incremental or stream.progress.partial,
        )

    def _route(self, stream: RoutedStream, mapped: MappedStream, counter: Counter) -> Route:
        parts = self._connect()
        schema = RouteSchema(mapped, self._settings)
        mapping, segment, is_new = parts.streams.open(mapped.name, stream, schema)
        self.report.streams[mapped.name] = {
            "list": {"id": segment.target.id, "name": segment.target.name},
            "role": segment.settings.role,
            "sync_mode": segment.settings.sync_mode,
            "mapping": {entry.name: entry.as_dict() for entry in mapping.properties},
            "ignored": mapping.ignored,
        }
        if is_new:
            parts.opt_outs.read_for_mirror(segment)
        segment.progress[stream.source.name] = stream.progress
        if self._accounting.rows is not None:
            self._accounting.rows.lists[mapped.name] = segment.target.id
        route = Route(
            stream.source,
            mapped,
            schema,
            mapping,
            segment,
            settings=self._settings,
            ledger=parts.ledger,
            notices=parts.notices,
            samples=self._samples,
            counter=counter,
        )
        parts.retries.add_route(route)
        return route

    def _connect(self) -> _Parts:
        if self._parts is None:
            for name in ("rejects_path", "report_path"):
                ensure_writable_folder(name, getattr(self._settings, name))
            client_class = self._preview.client_class if self._preview else Client
            account = Account(
                self._settings,
                client_class=client_class,
                max_retry_pause=self._timings.max_retry_pause_seconds,
            )
            account.open()
            if not self._settings.sandbox:
                self.report.address = account.address
            try:
                check_lists(self._settings, account)
                self._parts = self._assemble(account)
            except BaseException:
                account.close()
                raise
            # Only now that `_parts` is set: `abandon` must be able to clear the progress line.
            self._parts.progress.start()
        return self._parts

    def _assemble(self, account: Account) -> _Parts:
        settings, client, timings = self._settings, account.client, self._timings
        identity, url = account.identity, settings.ledger_url
        if self._preview is not None:
            url = self._preview.copy_ledger(identity, timings.ledger_patience_seconds)
        ledger = Ledger(url, identity, self.report.run_id, client, timings)
        self._states.ledger = ledger
        self._states.rows = self._accounting.rows = self._open_outcomes(ledger, account)
        facts = AccountFacts(ledger, settings.facts_max_age_days)
        client.page_size = facts.page_size or client.page_size
        delivery = Delivery(
            client,
            self._accounting,
            ledger,
            states=None if self._preview else self._states,
            import_timeout=settings.import_timeout,
            timings=timings,
            max_in_flight=settings.max_in_flight,
            diagnose_limit=settings.diagnose_limit,
            position_base=facts.position_base,
        )
        packer = self._packer
        codec = EntryCodec(packer)
        rows = RowTracker(ledger, codec)
        rejected = self._accounting.retries = RejectedRecords(ledger, settings)
        opt_outs = OptOutReader(client, ledger, settings, facts, self._stop)
        make_changes = self._limited.make_changes if self._limited else ChangeDetector
        make_window = self._limited.make_window if self._limited else RecordWindow
        changes = make_changes(
            settings,
            ledger,
            self._accounting,
            packer,
            delivery,
            rows=rows,
            withholding=Withholding(ledger),
            refusals=KnownRefusals(ledger, opt_outs, Exclusions(client)),
            rejected=rejected,
            window_records=timings.window_records,
        )
        removals = MirrorRemovals(
            client, ledger, self._accounting, packer=packer, delivery=delivery, stop=self._stop
        )
        renames = PersonRenames(
            client,
            ledger,
            self._accounting,
            changes,
            rows=rows,
            codec=codec,
            facts=facts,
            packer=packer,
            delivery=delivery,
            stop=self._stop,
            samples=self._samples,
        )
        window = make_window(
            self._reader,
            ledger,
            self._accounting,
            changes,
            self._checkpoints,
            Suppressor(ledger, self._accounting, changes),
        )
        retries = RecordRetries(
            ledger,
            self._accounting,
            rejected,
            window,
            self._stop,
            max_days=settings.retry_max_days,
        )
        return _Parts(
            account,
            ledger,
            delivery,
            changes,
            Streams(
                settings,
                account,
                ledger,
                self._stop,
                facts=facts,
                options_delay=timings.options_delay_seconds,
            ),
            opt_outs,
            removals,
            renames,
            retries,
            Unsubscriber(client, ledger, self._accounting, self._stop),
            window,
            RecordNotices(settings, changes),
            Progress(
                self._reader,
                self._accounting,
                client,
                delivery,
                removals,
                limit=settings.contacts_per_minute,
                timings=timings,
            ),
            codec,
        )

    def _open_outcomes(self, ledger: Ledger, account: Account) -> OutcomeWriter | None:
        """Return the writer of outcomes; None if no rows are written, as in a preview.

        Raises:
            OutcomesError: Their place can't be used, and they are required.
        """
        settings, report = self._settings, self.report
        if settings.outcomes_url is None or self._preview is not None:
            return None
        run = {
            "run": report.run_id,
            "account": account.identity,
            "connection": settings.connection_name,
            "started": report.started,
        }
        place = OutcomePlace(
            settings.outcomes_url,
            settings.outcomes_schema,
            account.identity,
            self._timings.outcomes_patience_seconds,
        )
        try:
            return OutcomeWriter(
                place,
                run,
                ledger,
                kind=settings.outcomes,
                personal=settings.report_personal_data,
                required=settings.outcomes_required,
            )
        except OutcomesError:
            ledger.close(clean=False, outcome="failed", counts={})
            raise

    # Records

    def take_records(  # noqa: PLR0917 - all that the reader knows about them
        self,
        name: str,
        version: object,
        raws: Sequence[msgspec.Raw],
        lines: Sequence[bytes],
        places: Sequence[Place],
        read: ReadRecord | None = None,
    ) -> bool:
        """Add consecutive records of one stream to the window.

        Args:
            name: The tap's stream.
            version: The version of their messages.
            raws: The records as JSON.
            lines: The whole messages.
            places: Their places in the input.
            read: The record, if it is a single one that is already decoded. Its raw text is empty.

        Returns:
            False, and nothing is added, if the stream was not announced, the version is neither a
            number nor text, or a record of a stream that is dropped is no object. (Other records
            are checked when they are decoded.)

        Raises:
            Errors of `RecordWindow.flush`.
        """
        stream = self._streams.get(name)
        if stream is None or isinstance(version, (dict, list)):
            return False
        if self._reader.turn is not Turn.NOW:
            stream = stream.part(suppresses=self._reader.turn is Turn.TWICE)
        if stream.width and self._parts is not None:
            if stream.routes:
                self._before_profiles(self._parts)
            self._parts.window.take(stream, version, raws, lines, places, read=read)
        elif read is None and any(bytes(raw)[:1] != b"{" for raw in raws):
            return False
        else:
            stream.progress.add_records(len(lines), version)
        return True

    def _before_profiles(self, parts: _Parts) -> None:
        """Do what must be done after the suppression streams and before the first profile.

        Carry out the renames that an interrupted run has planned. Nobody who is suppressed by now
        is renamed.

        Raises:
            SuppressionError: No record of a suppression stream can be read.
        """
        if self._has_profiles:
            return
        parts.window.flush()
        parts.window.suppressor.check_readable()
        if self._preview is None:
            parts.renames.finish_interrupted()
        self._has_profiles = True

    def flush_window(self) -> None:
        """Process the records in the window, so that what follows applies after them."""
        if self._parts is not None:
            self._parts.window.flush()

    def activate(self, name: str, version: object) -> None:
        """Handle an ACTIVATE_VERSION message."""
        self.flush_window()
        if name in self._streams:
            self._streams[name].progress.activate(version)

    def state(self, value: Any) -> None:
        """Queue a STATE value, to be written once every record before it has an outcome."""
        if self._limited is not None:
            return  # the next run is to read everything
        if self._parts is None:
            self._checkpoints.state(value)
        else:
            self._parts.window.queue_state(value)

    # Time

    def tick(self) -> None:
        """Do what is due: process records, send batches that have waited too long, write STATE.

        Raises:
            DeliveryError: The delivery has failed.
            ThresholdError: Too many records were refused.
        """
        if self._parts is not None:
            self._parts.delivery.check()
            if self._parts.window.due:
                self._parts.window.flush()
            waited = max(self._parts.changes.age(), self._packer.age())
            if waited > self._settings.checkpoint_seconds:
                self._flush(self._parts)
        self._emit_state()
        self._thresholds.check_count()

    def _flush(self, parts: _Parts) -> None:
        parts.window.flush()
        parts.changes.compare()
        parts.ledger.withheld.flush()
        for batch in self._packer.flush():
            parts.delivery.submit(batch)

    def _emit_state(self, *, at_once: bool = False) -> None:
        if self._preview is None:
            self._states.write(at_once=at_once)

    # The end

    def settle(self) -> None:
        """Deliver everything that was read, wait for the outcomes, and write the last STATE.

        Raises:
            DeliveryError: Some records could not be delivered.
            ThresholdError: Too many records were refused.
        """
        try:
            if self._parts is not None:
                try:
                    self._flush(self._parts)
                finally:
                    # Even if the delivery has failed: accepted imports are still polled.
                    self._parts.delivery.wait()
                self._parts.changes.finish(self._parts.streams.segments.values())
        finally:
            self._emit_state(at_once=True)
        self._thresholds.check_count()
        self._thresholds.check_share()

    def check_suppression(self) -> None:
        """Check the suppression streams once the input has ended: some may have come late.

        Raises:
            SuppressionError: No record of one of them can be read.
        """
        if self._parts is not None:
            self._parts.window.suppressor.check_readable()

    def complete(self) -> None:
        """Do what remains once the input has ended without an error and all records are settled.

        Retry rejected records, and rename and remove people. A limited run sends its contacts
        instead, and reads them back.

        Raises:
            GuardError: A guard has tripped.
            ReadBackError: A limited run's contacts did not arrive as meant.
            DeliveryError, LedgerError, ActiveCampaignError: Some contacts could not be processed.
        """
        if self._limited is None:
            self._retry_rejected()
            self._rename_people()
            self._finish_retries()
            self._remove_missing()
        elif self._parts is not None:
            self._send_first(self._limited, self._parts)

    def _send_first(self, limited: LimitedRun, parts: _Parts) -> None:
        limited.skip_waiting(parts.ledger, self._accounting, parts.codec)
        limited.release(self._accounting)
        self.settle()
        self._is_complete = True
        fields = parts.account.fields
        result = limited.read_back(parts.account.client, fields, self._accounting, self._stop)
        in_full = self._settings.report_personal_data
        self.report.limited = result.as_dict()
        self.report.samples["limited"] = [one.as_dict(in_full=in_full) for one in result.contacts]
        if result.problem is not None:
            raise ReadBackError(result.problem)

    def _retry_rejected(self) -> None:
        """Try rejected records of earlier runs again that no record of this run has replaced.

        Raises:
            DeliveryError, LedgerError, ActiveCampaignError: Some could not be tried.
        """
        parts = self._parts
        if parts is None:
            return
        self._before_profiles(parts)
        try:
            if not parts.retries.process():
                return
            self._flush(parts)
        finally:
            parts.delivery.wait()
        parts.changes.finish(parts.streams.segments.values())

    def _finish_retries(self) -> None:
        """Forget the rejected records that were tried again, once none of them waits."""
        if self._parts is not None:
            self._parts.retries.finish(self._checkpoints.unsettled)

    def _rename_people(self) -> None:
        """Rename the contacts of people whose address has changed, and load their records.

        Raises:
            DeliveryError, LedgerError, ActiveCampaignError: Some could not be loaded.
            ThresholdError: Too many records were refused.
        """
        parts = self._parts
        if parts is None:
            return
        self._before_profiles(parts)
        if not parts.ledger.waiting.count:
            return
        segments = parts.streams.segments.values()
        try:
            self._problems += parts.renames.process(segments)
            parts.changes.finish(segments)
        finally:
            self._emit_state(at_once=True)
        self._thresholds.check_count()
        self._thresholds.check_share()

    def _remove_missing(self) -> None:
        """Remove the contacts that may not stay on their lists.

        These are contacts of people who have not consented or are suppressed, and those that are
        missing from complete streams of mirrors.

        Raises:
            GuardError: A guard has tripped.
            DeliveryError, LedgerError, ActiveCampaignError: Some contacts could not be removed.
        """
        problems = self._problems
        self._is_removing = True
        segments = self._parts.streams.segments.values() if self._parts else ()
        try:
            if self._parts:
                problems += self._parts.unsubscriber.process(segments)
            for segment in segments:
                if self._parts and segment.mirror:
                    outcome = self._parts.removals.remove_missing(segment)
                    problems += [outcome.problem] if outcome.problem else []
        except StoppedError:
            logger.warning(
                "Stopped before all contacts were removed; the next complete run removes the "
                "others."
            )
        finally:
            for segment in segments:
                self.report.left += segment.consent.unsubscribed
                if segment.follows:
                    self.report.streams[segment.stream]["identity"] = asdict(segment.identity)
                if segment.outcome is not None:
                    self.report.streams[segment.stream]["mirror"] = segment.outcome.as_dict()
                    self.report.left += segment.outcome.left
        for segment in segments if not self._stop.is_set else ():
            segment.reset_guard()
        self._is_removing = False
        self._is_complete = True
        if problems:
            how = how_to_go_on(segments, dry_run=self._settings.dry_run)
            raise GuardError(f"{' '.join(problems)} {how}")

    def stop(self) -> None:
        """Start no more removals, and wait only briefly if ActiveCampaign does not answer.

        May be called from a signal handler.
        """
        self._stop.set()
        if self._parts is not None:
            self._parts.delivery.stop()

    def abandon(self) -> None:
        """Clear the progress line and delete a preview's copy of the ledger, before the exit.

        May be called from a signal handler.
        """
        if self._parts is not None:
            self._parts.progress.end()
        if self._preview is not None:
            self._preview.close()

    def check_input(self) -> None:
        """Check the whole input, once it has been read to its end.

        Raises:
            EmptyInputError: The input has no record, and `fail_on_empty` is set.
        """
        streams = self._streams.values()
        input_checks.check_not_empty(streams, fail=self._settings.fail_on_empty)

    def warn_of_unused_settings(self) -> None:
        """Warn of streams that have settings but are not in the input, once it has been read."""
        input_checks.warn_of_unused_settings(
            self._settings, self._streams.values(), self.report.streams
        )

    def end(self, outcome: str, problem: str | None = None) -> Report:
        """Close everything, write the report, and notify the webhook.

        Returns:
            The report. Its outcome is `failed` if a record has no outcome after a complete run.
        """
        report = self.report
        if report.finished is not None:
            return report
        if self._parts is not None:
            self._close(self._parts)
        self._complete_report()
        try:
            self._rejects.close()
        except OSError as error:
            wrong = f"A reject file can't be written: {private_files.explain(error)}"
            problem = problem or wrong
        if report.unsettled and problem is None and outcome != "stopped":
            problem = (
                f"Internal error: {report.unsettled:,} records were read but not accounted for. "
                "Please report this."
            )
        wrong_rows = self._end_outcomes(outcome, problem)
        problem = problem or wrong_rows
        if self._parts is not None:
            done = self._is_complete or (self._checkpoints.complete and not self._is_removing)
            clean = done and not (report.unsettled or self._reader.has_dropped)
            ended = "failed" if problem else "limited" if self._limited else outcome
            try:
                self._take_stock(self._parts, ended)
            except LedgerError as error:
                problem = problem or str(error)
            try:
                self._parts.ledger.close(clean=clean, outcome=ended, counts=report.counts)
            except LedgerError as error:
                # Write the report all the same: it has what the ledger now lacks.
                problem = problem or str(error)
        if self._preview is not None:
            self._preview.close()
            self._preview.add_to_report(report)
        report.outcome, report.problem = ("failed" if problem else outcome), problem
        publishing.publish(report, self._settings, self._timings)
        return report

    def _end_outcomes(self, outcome: str, problem: str | None) -> str | None:
        """Store the end of the run in the place of outcomes.

        Returns:
            The problem that fails the run; None if there is none.
        """
        report, rows = self.report, self._accounting.rows
        if rows is None or report.finished is None:
            return None
        report.outcome, report.problem = ("failed" if problem else outcome), problem
        report.outcomes = rows.summary()
        wrong = rows.end(
            {
                **report.counts,
                "outcome": report.outcome,
                "problem": report.problem,
                "unsettled": report.unsettled,
                "removed": report.left,
                "imports": report.imports,
                "requests": report.requests,
            },
            report.as_shared(),
            finished=report.finished,
            keep_days=self._settings.outcomes_keep_days,
        )
        report.outcomes = rows.summary()
        return wrong

    def _close(self, parts: _Parts) -> None:
        """Close all parts except the ledger, and copy their results to the report."""
        report = self.report
        parts.progress.end()
        parts.window.close()
        parts.notices.warn_of_undeclared()
        with suppress(LedgerError):  # `Ledger.close` raises it too
            for name, retries in parts.retries.as_dicts().items():
                report.streams[name]["retries"] = retries
        parts.changes.rejected.close()
        for name, dropped in parts.streams.report_dropped_options().items():
            report.streams[name]["dropped"] = dropped
        for name, consent in parts.streams.report_consent(
            self._accounting.skipped["CONSENT_UNKNOWN"]
        ).items():
            report.streams[name]["consent"] = consent
        if self._preview is not None:
            segments = parts.streams.segments.values()
            self._preview.collect(
                parts.account,
                segments,
                compare=self._is_complete,
                stop=self._stop,
                extra_requests=parts.opt_outs.extra_requests,
            )
        else:
            report.imports = parts.delivery.imports
            report.contradictions = parts.delivery.contradictions.as_dicts()
        parts.delivery.close()
        parts.streams.close()
        parts.opt_outs.close()
        report.requests = parts.account.client.request_count
        parts.account.close()

    def _take_stock(self, parts: _Parts, outcome: str) -> None:
        """Compare the run with earlier ones, and store its figures for later ones.

        Raises:
            LedgerError: The ledger can't be used.
        """
        segments, history = parts.streams.segments, parts.ledger.history
        suppressions = [
            name for name, one in self.report.streams.items() if one.get("role") == SUPPRESSION
        ]
        figures = figures_of(segments, suppressions, self._accounting, parts.ledger)
        if outcome == COMPLETED:
            limits = self._settings.alert_on
            self.report.alerts = find_alerts(limits, self.report, figures, history)
        if self._preview is None:
            history.store(figures)
            lists = {one.target.id for one in segments.values()}
            audience = history.audience(lists, _MOST_COMPARED, outcome)
            self.report.audience = audience.as_dict()

    def _complete_report(self) -> None:
        report, accounting = self.report, self._accounting
        report.finished = datetime.now(timezone.utc)
        report.set_counts(accounting.total, accounting.counts)
        report.confirmed_over_time = {
            **accounting.confirmed_over_time(),
            "limit_a_minute": self._settings.contacts_per_minute,
        }
        report.codes = dict(accounting.codes)
        report.skipped = dict(accounting.skipped)
        report.samples.update(self._samples.as_dict())
        report.rejects = {stream: str(path) for stream, path in self._rejects.paths.items()}


def _preview_of(settings: Settings) -> Preview | None:
    """Return the preview if this is a dry run, else None. Only a dry run imports it."""
    if not settings.dry_run:
        return None
    from target_activecampaign.preview.preview import Preview  # noqa: PLC0415

    return Preview(settings)
