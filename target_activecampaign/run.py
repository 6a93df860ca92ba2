"""A run: from the first SCHEMA message to the report.

It puts the parts together: records become contacts, contacts batches, batches are
delivered, and STATE leaves behind what is settled.
"""

from __future__ import annotations

import logging
import re
import secrets
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
from target_activecampaign.config.validation import ensure_writable_folder
from target_activecampaign.delivery.batches import Packer
from target_activecampaign.delivery.delivery import Delivery
from target_activecampaign.errors import EmptyInputError, GuardError, MappingError, StoppedError
from target_activecampaign.ledger import Ledger, LedgerError
from target_activecampaign.model.names import did_you_mean, nfc, without_marks
from target_activecampaign.model.record import REJECT_CODE, Source, SourceStream
from target_activecampaign.reporting import publish as publishing
from target_activecampaign.reporting.progress import Progress
from target_activecampaign.reporting.report import Report
from target_activecampaign.storage import private_files
from target_activecampaign.sync.changes import ChangeDetector
from target_activecampaign.sync.completeness import StreamProgress
from target_activecampaign.sync.guards import how_to_go_on
from target_activecampaign.sync.removals import MirrorRemovals
from target_activecampaign.sync.segment import check_mode
from target_activecampaign.sync.setup import Streams, check_lists
from target_activecampaign.sync.window import Maker, RecordWindow
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import msgspec

    from target_activecampaign.config.settings import Settings
    from target_activecampaign.mapping.mapping import StreamMapping
    from target_activecampaign.model.codes import Refusal
    from target_activecampaign.model.contact import Contact
    from target_activecampaign.preview.preview import Preview
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.reader import MessageReader
    from target_activecampaign.sync.segment import Segment


logger = logging.getLogger("target-activecampaign")

_MOST_UNDECLARED = 1000
"""Properties that are remembered of a stream whose schema lacks them."""
_MOST_SHOWN = 20
_PLAIN_NAME = re.compile(r"[^\W\d][\w .:/-]{0,63}")


@dataclass
class _Parts:
    """What a run has once it is connected."""

    account: Account
    ledger: Ledger
    delivery: Delivery
    comparison: ChangeDetector
    streams: Streams
    leaving: MirrorRemovals
    intake: RecordWindow
    progress: Progress


class Run:
    """One run of the target.

    Args:
        settings: What the operator wants.
        reader: What reads the input; it tells how far it has come.

    Attributes:
        replay: Takes the line of a record, and its place, the SDK's way: through stream maps
            and the sink, which hands its contact to `deliver`.
        read_record: Reads the record of such a line, with patience; it tells the record, and why
            it can't be read whole, if it can't.
        samples: What the report is to show of records.
    """

    def __init__(self, settings: Settings, reader: MessageReader) -> None:
        self.replay: Callable[[bytes, Place], None] = lambda _line, _place: None
        self.read_record: Callable[[bytes, Place], tuple[dict[str, Any], Refusal | None]] = (
            lambda _line, _place: ({}, None)
        )
        self._settings = settings
        self._reader = reader
        self._started = datetime.now(timezone.utc)
        run_id = f"{self._started:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
        self._preview = _preview_of(settings)
        folder = Path(settings.rejects_path)
        self._rejects = RejectFiles(folder / "preview" if self._preview else folder, run_id)
        self._checkpoints = Checkpoints()
        self.samples = Samples(personal=settings.report_personal_data)
        make = self._preview.make_accounting if self._preview else RecordAccounting
        self._settlement = make(self._checkpoints, self._rejects, self.samples)
        self._thresholds = Thresholds(settings, self._settlement)
        self._packer = Packer(
            settings.batch_size_rows, exclude_automations=settings.exclude_automations
        )
        self._sources: dict[str, SourceStream] = {}
        self._bookmarks: dict[str, list[str]] = {}
        self._passages: dict[str, StreamProgress] = {}
        self._message: tuple[SourceStream, bytes] | None = None
        self._raw: bytes | None = None
        self._parts: _Parts | None = None
        self._announced = ""
        self._warned_of_nul: set[str] = set()
        self._told: set[tuple[str, ...]] = set()
        self._undeclared: dict[str, dict[str, None]] = {}
        self._through = False
        self._leaving = False
        self._stopped = False
        self._states = StateWriter(
            self._checkpoints, settings.checkpoint_seconds, before=self._write_ledger
        )
        self.report = Report(
            run_id,
            self._started,
            settings.connection_name or "",
            "embedded sandbox" if settings.sandbox else settings.api_url or "",
            dry_run=settings.dry_run,
        )

    # Streams

    def announce(
        self,
        stream: str,
        schema: dict[str, Any],
        keys: list[str] | None,
        bookmarks: list[str] | None,
    ) -> None:
        """Take a stream as the tap announces it."""
        self.finish_records()
        known = self._sources.get(stream)
        if known is None or known.schema != schema:
            self._sources[stream] = SourceStream(stream, schema, tuple(keys or ()))
        passage = self._passages.setdefault(stream, StreamProgress())
        passage.partial = REJECT_CODE in schema["properties"]
        self._bookmarks[stream] = bookmarks or []
        self._announced = stream

    def warn_of_nul(self, stream: str) -> None:
        """Warn once that U+0000 was taken out of a stream's values."""
        if stream not in self._warned_of_nul:
            self._warned_of_nul.add(stream)
            logger.warning(
                "Stream '%s': the character U+0000 was removed from values.",
                stream,
            )

    def map_stream(
        self, name: str, properties: Mapping[str, Any], *, is_open: bool
    ) -> tuple[StreamMapping, Segment]:
        """The mapping and the segment of the stream that was announced; the first one connects.

        Args:
            name: The stream's name after stream maps.
            properties: The schemas of its properties after stream maps.
            is_open: Whether its schema says that records may have more properties.

        Raises:
            MappingError, MissingListError, ListError, ModeError: The stream can't be loaded.
            SandboxError, ActiveCampaignError: There is no connection.
            LedgerError: The ledger can't be used, or another run is loading the stream.
        """
        parts = self._connect()
        mapping, segment, new = parts.streams.open(
            name,
            self._announced,
            properties,
            self._bookmarks[self._announced],
            announced=self._sources[self._announced].schema["properties"],
            is_open=is_open,
        )
        mapped = ", ".join(str(entry) for entry in mapping.properties)
        target = segment.target
        told = [f"Stream '{name}' goes to list {target.id} '{target.name}': {mapped}."]
        if mapping.ignored:
            told.append(f"Stream '{name}' has no place for: {', '.join(mapping.ignored)}.")
        if (name, *told) not in self._told:
            self._told.add((name, *told))
            for text in told:
                logger.info("%s", text)
        self.report.streams[name] = {
            "list": {"id": target.id, "name": target.name},
            "sync_mode": segment.settings.sync_mode,
            "mapping": {entry.name: entry.as_dict() for entry in mapping.properties},
            "ignored": mapping.ignored,
        }
        if new:
            parts.leaving.read_opt_outs(segment)
        return mapping, segment

    def attach(self, stream: str, name: str) -> None:
        """Note that a stream of the tap goes to a stream after stream maps that is open.

        Raises:
            ModeError: It can't.
        """
        segment = self._parts.streams.segments.get(name) if self._parts else None
        if segment is not None:
            properties = self._sources[stream].schema["properties"]
            check_mode(name, segment.settings, self._bookmarks[stream], properties)
            segment.passages[stream] = self._passages[stream]

    def _connect(self) -> _Parts:
        if self._parts is None:
            for name in ("rejects_path", "report_path"):
                ensure_writable_folder(name, getattr(self._settings, name))
            client_class = self._preview.client_class if self._preview else Client
            account = Account(self._settings, client_class=client_class)
            account.open()
            if not self._settings.sandbox:
                self.report.address = account.address
            try:
                check_lists(self._settings, account)
                self._parts = self._assemble(account)
            except BaseException:
                account.close()
                raise
            # Not before the run has it: else a signal could not take the line off the terminal.
            self._parts.progress.start()
        return self._parts

    def _assemble(self, account: Account) -> _Parts:
        settings, client = self._settings, account.client
        identity, url = account.identity, settings.ledger_url
        if self._preview is not None:
            url = self._preview.copy_ledger(identity)
        ledger = Ledger(url, identity, self.report.run_id, client)
        delivery = Delivery(
            client,
            self._settlement,
            ledger,
            states=None if self._preview else self._states,
            import_timeout=settings.import_timeout,
            max_in_flight=settings.max_in_flight,
            diagnose_limit=settings.diagnose_limit,
        )
        packer = self._packer
        comparison = ChangeDetector(
            settings,
            ledger,
            self._settlement,
            packer,
            recovered=delivery.wait_until_recovered,
            under_way=lambda keys: delivery.contacts.marks(keys, packer.marks(keys)),
            deliver=delivery.submit,
            arrived=delivery.wait_until_idle,
        )
        streams = Streams(settings, account, ledger, self._check_stop)
        leaving = MirrorRemovals(
            client,
            ledger,
            self._settlement,
            packer=packer,
            delivery=delivery,
            on_wait=self._check_stop,
        )
        intake = RecordWindow(
            settings,
            ledger,
            self._settlement,
            comparison,
            long_way=self._take_long_way,
            read=self.read_record,
            refuse=self._refuse,
            state=self._checkpoints.state,
        )
        progress = Progress(
            self._reader,
            self._settlement,
            client,
            delivery,
            leaving,
            limit=settings.contacts_per_minute,
        )
        return _Parts(account, ledger, delivery, comparison, streams, leaving, intake, progress)

    @property
    def connected(self) -> bool:
        """Whether anything can be in flight."""
        return self._parts is not None

    # Records

    def open(self, stream: str, maker: Maker, schema: Mapping[str, Any]) -> None:
        """Let records of a stream that no stream map changes come the direct way.

        Args:
            stream: The stream.
            maker: What makes contacts of its records.
            schema: Its schema.
        """
        parts = self._parts
        segment = parts.streams.segments.get(stream) if parts else None
        if parts is not None and segment is not None:
            source, passage = self._sources[stream], self._passages[stream]
            parts.intake.open(source, segment, passage, maker, schema)

    def close(self, stream: str) -> None:
        """Let records of a stream go the SDK's way."""
        if self._parts is not None:
            self._parts.intake.close(stream)

    def records(
        self,
        stream: str,
        version: object,
        raws: Sequence[msgspec.Raw],
        lines: Sequence[bytes],
        places: Sequence[Place],
    ) -> bool:
        """Take records that came one after the other; False if they have to go the SDK's way.

        Args:
            stream: The tap's stream.
            version: The messages' version.
            raws: The records as JSON.
            lines: The whole messages.
            places: Where they stand.
        """
        parts = self._parts
        return parts is not None and parts.intake.take(stream, version, raws, lines, places)

    def _take_long_way(self, line: bytes, place: Place, raw: bytes | None) -> None:
        self._raw = raw
        try:
            self.replay(line, place)
        finally:
            self._raw = None

    def finish_records(self) -> None:
        """See to the records that wait, before something comes that must not pass them."""
        if self._parts is not None:
            self._parts.intake.flush()

    def message(self, stream: str, line: bytes, version: object = None) -> None:
        """Take the RECORD message whose contacts come next, as the tap wrote it."""
        known = self._sources.get(stream)
        self._message = (known, line) if known else None
        if known:
            self._passages[stream].record(version)

    def activate(self, stream: str, version: object) -> None:
        """Take an ACTIVATE_VERSION message."""
        self.finish_records()
        if stream in self._passages:
            self._passages[stream].activate(version)

    def read(self, name: str, segment: Segment) -> Source:
        """Count the current message's record as read for a stream."""
        assert self._message is not None  # noqa: S101 - the SDK knows the stream by now
        stream, line = self._message
        passage = self._passages[stream.name]
        if segment.begins_pass(stream.name, passage):
            # What came before belongs to the pass before.
            self._compared().compare()
            segment.begin_pass(stream.name, passage)
        segment.record(stream.name, passage)
        return Source(name, stream, line, self._settlement.read(name))

    def deliver(self, contact: Contact, source: Source, segment: Segment) -> None:
        """Send a record's contact on its way.

        Raises:
            Refusal: The contact can't be sent.
            DeliveryError, LedgerError, ActiveCampaignError: The delivery can't go on.
        """
        self._compared().add(contact, source, segment, self._raw)

    def refuse(self, source: Source, refusal: Refusal, segment: Segment, key: str | None) -> None:
        """Settle a record as invalid.

        Args:
            source: The record.
            refusal: Why.
            segment: Where it would have gone.
            key: Whom it stands for, if that can be told.
        """
        self._refuse(source, refusal, segment, key)
        self._compared().compare_if_many()

    def take_undeclared(self, stream: str, names: Collection[str]) -> None:
        """Take properties of records that the schema of their stream lacks and that go nowhere.

        Raises:
            MappingError: The settings want them to have a place. Of what waits, nothing is sent.
        """
        if self._settings.for_stream(stream).unmapped_properties == "fail":
            self._compared().discard()
            raise MappingError(
                f"Stream '{stream}': records have properties that its schema lacks and that have "
                f"no place: {_shown(names)}. Map each in 'field_mapping' to its destination, or to "
                "'ignore'."
            )
        known = self._undeclared.setdefault(stream, {})
        if len(known) < _MOST_UNDECLARED:
            known.update(dict.fromkeys(names))

    def _warn_of_undeclared(self) -> None:
        for stream, names in self._undeclared.items():
            logger.warning(
                "Stream '%s': records have properties that its schema lacks: %s. Their values go "
                "nowhere. Have the tap announce them, or map each in 'field_mapping' to its "
                "destination, or to 'ignore'.",
                stream,
                _shown(names),
            )

    def delete(self, source: Source, segment: Segment, key: str | None) -> None:
        """Skip a record that is marked as deleted.

        Args:
            source: The record.
            segment: Where it would have gone.
            key: Whom it stands for, if that can be told.
        """
        self._compared().delete(source, segment, key)
        self._compared().compare_if_many()

    def _refuse(self, source: Source, refusal: Refusal, segment: Segment, key: str | None) -> None:
        if key is not None and segment.mirror:
            self._compared().refuse(source, refusal, segment, key)
        else:
            self._settlement.refused([source], refusal.code, refusal.reason, key)

    def _compared(self) -> ChangeDetector:
        assert self._parts is not None  # noqa: S101 - there is no record before a SCHEMA message
        return self._parts.comparison

    def state(self, value: Any) -> None:
        """Take a STATE message's value, to be written once all before it is settled."""
        if self._parts is None:
            self._checkpoints.state(value)
        else:
            self._parts.intake.queue_state(value)

    # Time

    def tick(self) -> None:
        """What is due from time to time: send a batch that waits too long, write STATE.

        Raises:
            DeliveryError: The delivery has failed.
            ThresholdError: Too many records were refused.
        """
        if self._parts is not None:
            self._parts.delivery.check()
            if self._parts.intake.due:
                self._parts.intake.flush()
            waited = max(self._parts.comparison.age(), self._packer.age())
            if waited > self._settings.checkpoint_seconds:
                self._flush(self._parts)
        self._emit_state()
        self._thresholds.check_count()

    def _flush(self, parts: _Parts) -> None:
        parts.intake.flush()
        parts.comparison.compare()
        for batch in self._packer.flush():
            parts.delivery.submit(batch)

    def _emit_state(self, *, at_once: bool = False) -> None:
        if self._preview is None:
            self._states.write(at_once=at_once)

    def _write_ledger(self) -> None:
        if self._parts is not None:
            self._parts.ledger.flush()

    # The end

    def settle(self) -> None:
        """Settle all that was read, and write the last STATE that may leave.

        Raises:
            DeliveryError: Not all could be settled.
            ThresholdError: Too many records were refused.
        """
        try:
            if self._parts is not None:
                try:
                    self._flush(self._parts)
                finally:
                    # Also when the delivery has failed: what was accepted is asked about.
                    self._parts.delivery.wait()
                self._parts.comparison.finish(self._parts.streams.segments.values())
        finally:
            self._emit_state(at_once=True)
        self._thresholds.check_count()
        self._thresholds.check_share()

    def leave(self) -> None:
        """Let those leave whom the complete streams of mirrors no longer have.

        To be called when the input has ended without an error and all is settled.

        Raises:
            GuardError: A guard has kept someone from leaving.
            DeliveryError, LedgerError, ActiveCampaignError: Not all could leave.
        """
        problems: list[str] = []
        self._leaving = True
        segments = self._parts.streams.segments.values() if self._parts else ()
        try:
            for segment in segments:
                if self._parts and segment.mirror:
                    outcome = self._parts.leaving.leave(segment)
                    problems += [outcome.problem] if outcome.problem else []
        except StoppedError:
            logger.warning("Stopped before all could leave: the next complete run goes on.")
        finally:
            for segment in segments:
                if segment.outcome is not None:
                    self.report.streams[segment.stream]["mirror"] = asdict(segment.outcome)
                    self.report.left += segment.outcome.left
        self._leaving = False
        self._through = True
        if problems:
            how = how_to_go_on(segments, dry_run=self._settings.dry_run)
            raise GuardError(f"{' '.join(problems)} {how}")

    def stop(self) -> None:
        """Remove nobody from now on, and wait no more than a minute for what is no answer.

        May be called from a signal handler.
        """
        self._stopped = True
        if self._parts is not None:
            self._parts.delivery.stop()

    def abandon(self) -> None:
        """Leave the terminal as it was and no copy behind: the process ends now.

        May be called from a signal handler.
        """
        if self._parts is not None:
            self._parts.progress.end()
        if self._preview is not None:
            self._preview.close()

    def _check_stop(self) -> None:
        if self._stopped:
            raise StoppedError

    def check_empty(self) -> None:
        """See whether anything came, once the input was read to its end.

        Raises:
            EmptyInputError: Nothing did, and the settings say that this is an error.
        """
        if any(one.records for one in self._passages.values()):
            return
        if not self._sources:
            text = (
                "No stream came: the input has no SCHEMA message. Is a stream selected in the tap, "
                "and did the tap end well?"
            )
            if not self._settings.fail_on_empty:
                logger.warning("%s Nothing was sent.", text)
        else:
            text = "No record came. See whether the source is meant to be empty."
        if self._settings.fail_on_empty:
            raise EmptyInputError(f"{text} ('fail_on_empty' makes this an error.)")

    def warn_of_unused_settings(self) -> None:
        """Name streams that have settings and did not come, once the input was read to its end."""
        if any(one.partial for one in self._passages.values()):
            return
        came = set(map(nfc, self.report.streams))
        for name in self._settings.streams:
            if came and nfc(name) not in came:
                hint = did_you_mean(name, self.report.streams)
                logger.warning("'streams.%s' had no effect: no such stream came.%s", name, hint)

    def end(self, outcome: str, problem: str | None = None) -> Report:
        """Close everything, write the report, tell the webhook.

        Returns:
            The report; its outcome is `failed` if a record was left unsettled.
        """
        report = self.report
        if report.finished is not None:
            return report
        parts = self._parts
        if parts is not None:
            parts.progress.end()
            self._warn_of_undeclared()
            for name, dropped in parts.streams.report_dropped_options().items():
                report.streams[name]["dropped"] = dropped
            if self._preview is not None:
                segments = parts.streams.segments.values()
                self._preview.collect(
                    parts.account, segments, compare=self._through, reader=self._reader
                )
            else:
                report.imports = parts.delivery.imports
                report.contradictions = parts.delivery.contradictions.as_dicts()
            parts.delivery.close()
            parts.streams.close()
            report.requests = parts.account.client.request_count
            parts.account.close()
        report.finished = datetime.now(timezone.utc)
        report.set_counts(self._settlement.total, self._settlement.counts)
        report.confirmed_over_time = {
            **self._settlement.confirmed_over_time(),
            "limit_a_minute": self._settings.contacts_per_minute,
        }
        report.codes = dict(self._settlement.codes)
        report.skipped = dict(self._settlement.skipped)
        report.samples.update(self.samples.as_dict())
        report.rejects = {stream: str(path) for stream, path in self._rejects.paths.items()}
        try:
            self._rejects.close()
        except OSError as error:
            wrong = f"A reject file can't be written: {private_files.explain(error)}"
            problem = problem or wrong
        if report.unsettled and problem is None and outcome != "stopped":
            problem = "Not every record that was read has been settled: this is a fault of ours."
        if parts is not None:
            done = self._through or (self._checkpoints.complete and not self._leaving)
            clean = done and not report.unsettled
            ended = "failed" if problem else outcome
            try:
                parts.ledger.close(clean=clean, outcome=ended, counts=report.counts)
            except LedgerError as error:
                # The report is still to be written: it tells what the ledger can't.
                problem = problem or str(error)
        if self._preview is not None:
            self._preview.close()
            self._preview.add_to_report(report)
        report.outcome, report.problem = ("failed" if problem else outcome), problem
        publishing.publish(report, self._settings)
        return report


def _shown(names: Collection[str]) -> str:
    """Names of undeclared properties as a message quotes them.

    Those that look like data, such as an address that is a key, are only counted.
    """
    plain = sorted(name for name in names if _PLAIN_NAME.fullmatch(without_marks(name)))
    plain = plain[:_MOST_SHOWN]
    others = len(names) - len(plain)
    if not plain:
        return f"{others:,}, whose names are not shown, as they look like data"
    return quoted_list(plain) + (f" and {others:,} more" if others else "")


def _preview_of(settings: Settings) -> Preview | None:
    """What a preview does differently; imported only for one."""
    if not settings.dry_run:
        return None
    from target_activecampaign.preview.preview import Preview  # noqa: PLC0415

    return Preview(settings)
