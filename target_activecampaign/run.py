"""A run: from the first SCHEMA message to the report.

It puts the parts together: records become contacts, contacts batches, batches are
delivered, and STATE leaves behind what is settled.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.json import serialize_json

from target_activecampaign.account import Account, SettingError
from target_activecampaign.checkpoints import Checkpoints
from target_activecampaign.config import did_you_mean
from target_activecampaign.delivery import Delivery
from target_activecampaign.ledger import Ledger
from target_activecampaign.mapping import StreamMapping
from target_activecampaign.packer import Packer, Source
from target_activecampaign.rejects import RejectFiles, SourceStream
from target_activecampaign.report import Report
from target_activecampaign.settlement import Settlement

if TYPE_CHECKING:
    from target_activecampaign.contact import Contact, Refusal
    from target_activecampaign.settings import Settings

logger = logging.getLogger("target-activecampaign")


class ThresholdError(Exception):
    """More records were refused than the settings allow."""


class MissingListError(ValueError):
    """A stream for which no list is set."""


class Run:
    """One run of the target.

    Args:
        settings: What the operator wants.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started = datetime.now(timezone.utc)
        run_id = f"{self._started:%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
        self._rejects = RejectFiles(settings.rejects_path, run_id)
        self._checkpoints = Checkpoints()
        self._settlement = Settlement(self._checkpoints, self._rejects)
        self._packer = Packer(
            settings.batch_size_rows, exclude_automations=settings.exclude_automations
        )
        self._streams: dict[str, SourceStream] = {}
        self._message: tuple[SourceStream, bytes] | None = None
        self._account: Account | None = None
        self._ledger: Ledger | None = None
        self._delivery: Delivery | None = None
        self._emitting = threading.Lock()
        self._emitted_at = time.monotonic()
        self.report = Report(
            run_id, self._started, settings.connection_name or "", settings.api_url or "sandbox"
        )

    # Streams

    def announce(self, stream: str, schema: dict[str, Any], keys: list[str] | None) -> None:
        """Take a stream as the tap announces it, for the reject file."""
        known = self._streams.get(stream)
        if known is None or known.schema != schema:
            self._streams[stream] = SourceStream(stream, schema, tuple(keys or ()))

    def map_stream(self, name: str, schema: dict[str, Any]) -> StreamMapping:
        """The mapping of a stream; the first one connects.

        Args:
            name: The stream's name after stream maps.
            schema: Its schema after stream maps.

        Raises:
            MappingError, MissingListError, ListError: The stream can't be loaded.
            SandboxError, ActiveCampaignError: There is no connection.
        """
        account = self._connect()
        settings = self._settings.for_stream(name)
        if settings.list_id is None:
            raise MissingListError(
                f"Stream '{name}' has no list: set 'list_id', or 'streams.{name}.list_id'."
            )
        target = account.find_list(settings.list_id)
        mapping = StreamMapping(
            name, list(schema.get("properties", {})), settings, account.fields, (target.id,)
        )
        for warning in mapping.warnings:
            logger.warning(warning)
        mapped = ", ".join(str(entry) for entry in mapping.properties)
        logger.info("Stream '%s' goes to list %d '%s': %s.", name, target.id, target.name, mapped)
        if mapping.ignored:
            logger.info("Stream '%s' has no place for: %s.", name, ", ".join(mapping.ignored))
        self.report.streams[name] = {
            "list": {"id": target.id, "name": target.name},
            "mapping": {e.name: str(e).rpartition(" -> ")[2] for e in mapping.properties},
            "ignored": mapping.ignored,
        }
        return mapping

    def _connect(self) -> Account:
        if self._account is None:
            for name in ("rejects_path", "report_path"):
                _make_folder(name, getattr(self._settings, name))
            self._account = Account(self._settings)
            self.report.address = self._account.address
            self._ledger = Ledger(
                self._settings.ledger_url, self._account.identity, self.report.run_id
            )
            self._delivery = Delivery(
                self._account.client,
                self._settlement,
                self._ledger,
                on_settled=self._emit_state,
                import_timeout=self._settings.import_timeout,
                max_in_flight=self._settings.max_in_flight,
                diagnose_limit=self._settings.diagnose_limit,
            )
        return self._account

    @property
    def connected(self) -> bool:
        """Whether anything can be in flight."""
        return self._delivery is not None

    # Records

    def message(self, stream: str, line: bytes) -> None:
        """Take the RECORD message whose contacts come next, as the tap wrote it."""
        known = self._streams.get(stream)
        self._message = (known, line) if known else None

    def read(self, name: str) -> Source:
        """Count the current message's record as read for a stream."""
        assert self._message is not None  # noqa: S101 - the SDK knows the stream by now
        return Source(name, *self._message, self._settlement.read(name))

    def deliver(self, contact: Contact, source: Source) -> None:
        """Send a record's contact on its way.

        Raises:
            Refusal: The contact can't be sent.
            DeliveryError: The delivery has failed.
        """
        batches = self._packer.add(contact, source)
        if batches and self._delivery:
            for batch in batches:
                self._delivery.submit(batch)

    def refuse(self, source: Source, refusal: Refusal) -> None:
        """Settle a record as invalid."""
        self._settlement.refused([source], refusal.code, refusal.reason)

    def state(self, value: Any) -> None:
        """Take a STATE message's value, to be written once all before it is settled."""
        self._checkpoints.state(value)

    # Time

    def tick(self) -> None:
        """What is due from time to time: send a batch that waits too long, write STATE.

        Raises:
            DeliveryError: The delivery has failed.
            ThresholdError: Too many records were refused.
        """
        if self._delivery is not None:
            self._delivery.check()
            if self._packer.age() > self._settings.checkpoint_seconds:
                self._flush()
        if self._ledger is not None:
            self._ledger.beat()
        self._emit_state()
        self._check_count()

    def _flush(self) -> None:
        for batch in self._packer.flush():
            if self._delivery is not None:
                self._delivery.submit(batch)

    def _emit_state(self, *, at_once: bool = False) -> None:
        with self._emitting:
            now = time.monotonic()
            if not at_once and now - self._emitted_at < self._settings.checkpoint_seconds:
                return
            self._emitted_at = now
            state = self._checkpoints.take()
            if state is not None:
                sys.stdout.write(serialize_json(state) + "\n")
                sys.stdout.flush()

    # The end

    def settle(self) -> None:
        """Settle all that was read, and write the last STATE that may leave.

        Raises:
            DeliveryError: Not all could be settled.
            ThresholdError: Too many records were refused.
        """
        try:
            if self._delivery is not None:
                try:
                    self._flush()
                finally:
                    # Also when the delivery has failed: what was accepted is asked about.
                    self._delivery.wait()
        finally:
            self._emit_state(at_once=True)
        self._warn_of_unused_overrides()
        self._check_count()
        self._check_share()

    def _warn_of_unused_overrides(self) -> None:
        for name in self._settings.streams:
            if self.report.streams and name not in self.report.streams:
                hint = did_you_mean(name, self.report.streams)
                logger.warning("'streams.%s' had no effect: no such stream came.%s", name, hint)

    def _check_count(self) -> None:
        limit = self._settings.max_rejects
        if limit is not None and self._settlement.refusals > limit:
            raise ThresholdError(
                f"More records were refused than 'max_rejects' allows ({limit:,}): look at the "
                "reject files, mend the source, or allow more."
            )

    def _check_share(self) -> None:
        limit, read = self._settings.max_reject_pct, self._settlement.total["read"]
        refused = self._settlement.refusals
        if limit is not None and read and 100 * refused > limit * read:
            raise ThresholdError(
                f"{refused:,} of {read:,} records were refused ({100 * refused / read:.2f} %), "
                f"more than 'max_reject_pct' allows ({limit:g} %): look at the reject files, mend "
                "the source, or allow more."
            )

    def end(self, outcome: str, problem: str | None = None) -> Report:
        """Close everything and write the report.

        Returns:
            The report; its outcome is `failed` if a record was left unsettled.
        """
        report = self.report
        if report.finished is not None:
            return report
        if self._delivery is not None:
            report.imports = self._delivery.imports
            self._delivery.close()
        if self._account is not None:
            report.requests = self._account.client.request_count
            self._account.close()
        report.finished = datetime.now(timezone.utc)
        report.count(self._settlement.total, self._settlement.counts)
        report.codes = dict(self._settlement.codes)
        report.rejects = {stream: str(path) for stream, path in self._rejects.paths.items()}
        try:
            self._rejects.close()
        except OSError as error:
            problem = problem or f"A reject file can't be written: {error.strerror}."
        if report.unsettled and problem is None:
            problem = "Not every record that was read has been settled: this is a fault of ours."
        if self._ledger is not None:
            through = outcome == "completed" and problem is None
            self._ledger.end(clean=not report.unsettled and (through or self._checkpoints.complete))
        report.outcome, report.problem = ("failed" if problem else outcome), problem
        path = report.write(self._settings.report_path)
        logger.info("%s Report: %s", report.line(), path)
        return report


def _make_folder(setting: str, path: str) -> None:
    """See that a folder that is written to at the end can be, before anything is sent."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        raise SettingError(f"The setting '{setting}' names {path}, which is no folder to write in.")
