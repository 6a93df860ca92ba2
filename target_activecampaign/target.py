"""The Singer contract: messages in, STATE out, signals, exit codes."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, ClassVar

import msgspec
from singer_sdk.exceptions import ConfigValidationError, RecordsWithoutSchemaException
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.mapper import PluginMapper
from singer_sdk.singerlib.exceptions import InvalidInputLine
from singer_sdk.sinks import Sink
from singer_sdk.target_base import Target

from target_activecampaign import redaction
from target_activecampaign.config import environment, settings, validation
from target_activecampaign.errors import (
    MappingError,
    SettingError,
    StoppedError,
    report_errors,
)
from target_activecampaign.model.names import find_spelling
from target_activecampaign.model.timings import Timings
from target_activecampaign.run import Run
from target_activecampaign.singer.batch_files import record_lines
from target_activecampaign.singer.flattening import without_booleans
from target_activecampaign.singer.messages import check_property_names, describe_place
from target_activecampaign.singer.parsing import are_objects
from target_activecampaign.singer.reader import MessageReader
from target_activecampaign.singer.records import read_batch_record, record_of
from target_activecampaign.singer.sdk_compat import SdkTarget, is_flattening_error, is_parse_error
from target_activecampaign.singer.stream_maps import StreamMaps
from target_activecampaign.singer.stream_order import StreamOrder
from target_activecampaign.singer.validation import check_schema
from target_activecampaign.sync.changes import WINDOW_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.mapper import StreamMap

    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.records import ReadRecord

MELTANO_TEST_STREAM = "meltano_test_stream"
"""The stream that `meltano config test` pipes into every loader, to see whether it works."""

_ONE_SIGNAL_SECONDS = 2.0
"""Seconds within which repeated signals count as one: the terminal and Meltano may both send it."""

_BATCH_LINES = 200
"""Records of BATCH files that go to the window together."""


class ContactSink(Sink):
    """A stub: the SDK needs a sink for each stream, to count records for its metrics.

    Records never get here, as the target sends them to its window.
    """

    def __init__(
        self,
        target: Target,
        stream_name: str,
        schema: dict[str, Any],
        key_properties: Sequence[str] | None,
    ) -> None:
        """Make the sink with a copy of the schema, as the SDK removes properties from it."""
        own = {**schema, "properties": dict(schema.get("properties", {}))}
        super().__init__(target, stream_name, own, key_properties)

    @property
    def include_sdc_metadata_properties(self) -> bool:
        """False: contacts have no place for the SDK's metadata."""
        return False

    def get_validator(self) -> None:
        """Return None: the window validates records."""

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:
        """Do nothing."""

    def process_batch(self, context: dict[str, Any]) -> None:
        """Do nothing."""


class TargetActiveCampaign(SdkTarget):
    """Loads customer profiles into an ActiveCampaign list and confirms that they arrived."""

    name = "target-activecampaign"
    config_jsonschema: ClassVar[dict[str, Any]] = settings.json_schema()
    default_sink_class: type[Sink] = ContactSink
    message_reader_class = MessageReader
    message_reader: MessageReader
    timings: ClassVar[Timings] = Timings()
    # Class attributes, as a signal may arrive before `__init__` has run.
    _stopped_by: int | None = None
    _stopped_at = 0.0
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        PluginCapabilities.ABOUT,
        PluginCapabilities.ACTIVATE_VERSION,
        PluginCapabilities.BATCH,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.STRUCTURED_LOGGING,
        TargetCapabilities.VALIDATE_RECORDS,
    ]

    def __init__(
        self,
        *,
        config: dict[str, Any] | PurePath | str | list[PurePath | str] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        setup_mapper: bool = True,
        message_reader: MessageReader | None = None,
        dry_run: bool = False,
        limit: int | None = None,
    ) -> None:
        """See the SDK's `Target`; nothing is sent before the first SCHEMA message.

        `dry_run` makes the run a preview, even if the setting of that name is off. `limit` makes it
        a limited run, which sends so many contacts.
        """
        self._reads_variables = parse_env_config
        super().__init__(
            config=config,
            parse_env_config=parse_env_config,
            validate_config=validate_config,
            setup_mapper=setup_mapper,
            message_reader=message_reader,
        )
        self.settings = settings.Settings.from_config(self.config)
        if dry_run:
            self.settings = replace(self.settings, dry_run=True)
        redaction.install_log_filter(validation.find_secrets(self.settings))
        self.run = Run(self.settings, self.message_reader, self.timings, limit)
        self.message_reader.max_line_bytes = self.settings.max_line_bytes
        self.message_reader.on_tick = self.run.tick
        self.message_reader.on_records = self.run.take_records
        suppressing = self.settings.suppression_streams
        if suppressing and setup_mapper:
            # A mapper of its own, as a stream that waits must not be known yet.
            mapper = PluginMapper(plugin_config=dict(self.config), logger=self.logger)
            maps = StreamMaps(self.config.get("stream_maps"), mapper)
            self.message_reader.order = StreamOrder(suppressing, self.settings.streams, maps)
        self.max_parallelism = 1
        self.is_meltano_test = False
        # Schema, keys and bookmarks of each stream's last SCHEMA message.
        self._announced: dict[str, tuple[Any, Any, Any]] = {}

    # Configuration

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings for stream maps and flattening.

        Those for load methods and record metadata are left out, as they have no effect here.
        """
        super(Target, cls).append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        properties["stream_maps"] = validation.repair_schema(properties["stream_maps"])

    @classmethod
    def read_environment(cls, prefix: str) -> dict[str, Any]:
        """Return the settings that `TARGET_ACTIVECAMPAIGN_*` variables give."""
        cls.append_builtin_config(cls.config_jsonschema)
        try:
            given = environment.read_environment(cls.config_jsonschema, prefix)
        except SettingError as error:
            raise ConfigValidationError(
                "Config validation failed", errors=list(error.args), schema=cls.config_jsonschema
            ) from None
        for text in given.notices:
            cls.logger.info(text)
        return given.values

    def check_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the configuration without the SDK's messages, which would quote the key."""
        self.append_builtin_config(self.config_jsonschema)
        config, errors = validation.convert(self.config, self.config_jsonschema)
        self.set_config(config)
        errors = errors or validation.find_problems(self.config, self.config_jsonschema)
        if errors:
            # In front: the last line of the log must be a cause.
            errors[:0] = environment.unread_variables(
                self.config, self.config_jsonschema, self.variable_prefix
            )
        if errors and raise_errors:
            raise ConfigValidationError(
                "Config validation failed", errors=errors, schema=self.config_jsonschema
            )
        for text in self.warnings:
            self.logger.warning(text)
        return errors

    @property
    def warnings(self) -> list[str]:
        """Warnings about unknown settings."""
        known = self.config_jsonschema["properties"]
        found = validation.unknown_settings(self.config, known)
        if self._reads_variables:
            found += environment.read_environment(
                self.config_jsonschema, self.variable_prefix
            ).warnings
        return found

    @property
    def maps(self) -> StreamMaps:
        """The stream maps of the streams so far."""
        return StreamMaps(self.config.get("stream_maps"), self.mapper)

    # Messages

    def process_schema(self, message: dict[str, Any]) -> None:
        """Open a stream, or reopen it if its SCHEMA message has changed."""
        self.require(message, "stream", "schema")
        stream, schema = message["stream"], message["schema"]
        if stream == MELTANO_TEST_STREAM and not self.run.connected:
            self.is_meltano_test = True
            raise StoppedError
        check_schema(schema, stream)
        check_property_names(message, stream, schema["properties"])
        properties = schema["properties"]
        if message.get("key_properties"):
            message["key_properties"] = [
                find_spelling(one, properties) for one in message["key_properties"]
            ]
        schema["properties"] = without_booleans(schema["properties"])
        announced = (schema, message.get("key_properties"), message.get("bookmark_properties"))
        self.run.announce(stream, *announced)
        if self._announced.get(stream) == announced:
            return  # taps repeat SCHEMA messages
        self.maps.spell(stream, schema)
        # A copy, as the SDK's stream maps remove properties from the schema that they get.
        message["schema"] = copy.deepcopy(self.maps.readable(schema))
        self._register(message)
        mapped = self.maps.streams_of(stream)
        counters = [self.get_sink(one.name).record_counter_metric for one in mapped]
        self.run.open(stream, list(zip(mapped, counters, strict=True)))
        self._announced[stream] = announced

    def _register(self, message: dict[str, Any]) -> list[StreamMap]:
        try:
            return self.register_schema(message)
        except (KeyError, TypeError, ValueError) as error:
            stream = message["stream"]
            if isinstance(error, ValueError) and is_parse_error(error):
                raise MappingError(
                    f"A stream map of stream '{stream}' can't be parsed: it contains U+0000 or "
                    "half of a surrogate pair. Correct its expression under 'stream_maps'."
                ) from None
            if not is_flattening_error(error):
                raise
            raise MappingError(
                f"The SDK can't flatten the schema of stream '{stream}'. Remove "
                "'flattening_enabled': paths in 'field_mapping' work without it."
            ) from None

    def process_record(self, message: dict[str, Any]) -> None:
        """Load a record that the reader could not pass to the window itself."""
        self.require(message, "stream", "record")
        stream, reader = message["stream"], self.message_reader
        self.require_schema(stream)
        read = record_of(message)
        self._take(stream, message.get("version"), reader.line, reader.line_number, read)

    def _take(self, stream: str, version: Any, line: bytes, place: Place, read: ReadRecord) -> None:
        """Pass a decoded record to the window.

        Raises:
            InvalidInputLine: Its version is neither a number nor text.
        """
        if not self.run.take_records(stream, version, [msgspec.Raw()], [line], [place], read):
            raise InvalidInputLine(
                f"{describe_place(place)}: the 'version' of a RECORD message must be a number or "
                "text."
            )

    def process_batch(self, message: dict[str, Any]) -> None:
        """Load each record of the files as if it were a RECORD message."""
        self.require(message, "stream", "encoding", "manifest")
        self.message_reader.size = None  # the size of the files is unknown
        stream = message["stream"]
        self.require_schema(stream)
        version = message.get("version")
        head = {"type": "RECORD", "stream": stream}
        if version is not None:
            head["version"] = version
        start = json.dumps(head).encode()[:-1] + b',"record":'
        some: list[tuple[str, int, bytes]] = []
        encoding, manifest = message["encoding"], message["manifest"]
        lines = record_lines(encoding, manifest, self.settings.max_line_bytes)
        size = 0
        try:
            for count, one in enumerate(lines, 1):
                if one[2]:
                    some.append(one)
                    size += len(one[2])
                # Also for blank lines, as a file may have millions.
                if count % _BATCH_LINES == 0 or size >= WINDOW_BYTES:
                    taken, some, size = some, [], 0
                    self._take_batch_lines(stream, taken, start=start, version=version)
                    self.run.tick()
                    if self.message_reader.stopped:
                        # The STATE after this message won't be read, so nothing is lost.
                        return
        finally:
            # Also the records before the damaged part of a file.
            self._take_batch_lines(stream, some, start=start, version=version)

    def _take_batch_lines(
        self, stream: str, some: list[tuple[str, int, bytes]], *, start: bytes, version: Any
    ) -> None:
        """Load records of files. `start` is the RECORD message up to the record's JSON."""
        texts = [text for _, _, text in some]
        if some and are_objects(texts):
            raws = [msgspec.Raw(text) for text in texts]
            lines = [start + text + b"}" for text in texts]
            places = [(url, number) for url, number, _ in some]
            if self.run.take_records(stream, version, raws, lines, places):
                return
        for url, number, text in some:
            read = read_batch_record(text, (url, number))
            self._take(stream, version, start + text + b"}", (url, number), read)

    def process_state(self, message: dict[str, Any]) -> None:
        """Queue the value of a STATE message."""
        self.require(message, "value")
        self.run.state(message["value"])

    def process_activate_version(self, message: dict[str, Any]) -> None:
        """Note that the stream is complete if it ends with this message."""
        self.require(message, "stream", "version")
        self.run.activate(message["stream"], message["version"])

    def process_endofpipe(self) -> None:
        """Wait for all outcomes, remove contacts missing from mirrors, and write the report."""
        for warning in self.maps.unused():
            self.logger.warning(warning)
        self.run.settle()
        if not self._stopped_by:
            self.run.check_suppression()
            self.run.warn_of_unused_settings()
            self.run.complete()
            self.run.check_input()
        self._end("stopped" if self._stopped_by else "completed")

    def _end(self, outcome: str, problem: str | None = None) -> None:
        """Write the SDK's metrics, once all records are counted, and end the run."""
        self.drain_all(is_endofpipe=True)
        self.run.end(outcome, problem)

    def _listen(self, file_input: IO[str] | None) -> None:
        """Read the input to its end. Errors in a line name its number."""
        reader = self.message_reader
        if file_input is None and sys.stdin is None:
            raise InvalidInputLine("Standard input is closed: pipe a tap's output in.")
        if (file_input or reader.default_input).isatty():
            self.logger.info("Reading Singer messages from the terminal: pipe a tap into it.")
        try:
            self.listen(file_input)
        except (InvalidInputLine, RecordsWithoutSchemaException) as error:
            text = str(error)
            if not text.startswith("Line "):
                text = f"Line {reader.line_number} of the input: {text}"
            raise InvalidInputLine(text) from None

    def load(self, file_input: IO[str] | None) -> int:
        """Load the input, write the report, and return the exit code."""
        return self.end(self.read(file_input))

    def read(self, file_input: IO[str] | None) -> str | None:
        """Load the input and write the report. Return the problem of the run, if it has failed."""
        problem = report_errors(lambda: self._listen(file_input))
        if self.is_meltano_test:
            # Meltano reports a failure if its messages are not all read.
            with contextlib.suppress(OSError, ValueError):
                for _ in file_input or self.message_reader.default_input:
                    pass
            return None
        if self.run.report.finished is None:
            # Deliver the records that were read before the error.
            report_errors(self.run.settle)
            report_errors(lambda: self._end("failed" if problem else "stopped", problem))
        return problem or self.run.report.problem

    def end(self, problem: str | None) -> int:
        """Log the problem of the run, if it has failed, and return the exit code."""
        if problem is not None:
            self.logger.error(problem)
            return 1
        return 128 + self._stopped_by if self._stopped_by else 0

    # Signals

    def setup_signals(self) -> None:
        """Also handle SIGHUP, unless the parent process ignores it (as `nohup` does)."""
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(hangup) is not signal.SIG_IGN:
            self.listen_to(hangup)

    def handle_signal(self, signum: int) -> None:
        """Stop reading and deliver what was read. A second signal ends the process at once."""
        name = signal.Signals(signum).name
        now = time.monotonic()
        if self._stopped_by is not None:
            if now - self._stopped_at < _ONE_SIGNAL_SECONDS:
                return  # Meltano forwards a Ctrl-C that the terminal has already sent.
            self.logger.warning(
                "%s again: ending at once, without waiting for contacts in flight.", name
            )
            self.run.abandon()
            os._exit(128 + signum)
        self._stopped_by, self._stopped_at = signum, now
        run: Run | None = getattr(self, "run", None)
        if run is None or not run.connected:
            self.logger.info("%s: ending before anything was sent.", name)
            sys.exit(128 + signum)
        self.logger.info("%s: no longer reading; waiting for contacts in flight.", name)
        run.stop()
        self.message_reader.stop()
