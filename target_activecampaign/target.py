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
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, ClassVar

import msgspec
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    RecordsWithoutSchemaException,
    SingerSDKError,
)
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import PluginCapabilities, TargetCapabilities
from singer_sdk.singerlib.exceptions import InvalidInputLine
from singer_sdk.target_base import Target

from target_activecampaign import redaction
from target_activecampaign.client import parse_api_url
from target_activecampaign.config import environment, settings, validation
from target_activecampaign.errors import (
    BatchFileError,
    MappingError,
    SettingError,
    StoppedError,
    report_errors,
)
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import Respelling, find_spelling
from target_activecampaign.run import Run
from target_activecampaign.singer.batch_files import record_lines
from target_activecampaign.singer.flattening import without_booleans
from target_activecampaign.singer.messages import check_property_names, describe_place
from target_activecampaign.singer.parsing import UnreadableRecord, are_objects, read_record
from target_activecampaign.singer.reader import MessageReader
from target_activecampaign.singer.stream_maps import StreamMaps
from target_activecampaign.singer.validation import check_schema
from target_activecampaign.sync.changes import WINDOW_BYTES
from target_activecampaign.sync.sink import ContactSink
from target_activecampaign.sync.window import Maker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath
    from types import FrameType

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.sinks import Sink

    from target_activecampaign.singer.messages import Place

MELTANO_TEST_STREAM = "meltano_test_stream"
"""The stream that `meltano config test` pipes into every loader, to see whether it works."""

_ONE_SIGNAL_SECONDS = 2.0
"""Signals that come within this time are one: more than one program may tell the same."""

_BATCH_LINES = 200
"""Records of batch files that are handed on together."""


class TargetActiveCampaign(Target):
    """Loads customer profiles into an ActiveCampaign list and confirms that they arrived."""

    name = "target-activecampaign"
    config_jsonschema: ClassVar[dict[str, Any]] = settings.json_schema()
    default_sink_class: type[Sink] = ContactSink
    message_reader_class = MessageReader
    message_reader: MessageReader
    # Here, as a signal may come before the target is made.
    _stopped_by: int | None = None
    _stopped_at = 0.0
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        PluginCapabilities.ABOUT,
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
    ) -> None:
        """See the SDK's `Target`; nothing is sent before the first SCHEMA message.

        `dry_run` makes it a preview, whatever the setting of that name says.
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
        self.run = Run(self.settings, self.message_reader)
        self.message_reader.max_line_bytes = self.settings.max_line_bytes
        self.message_reader.on_tick = self.run.tick
        self.message_reader.on_records = self.run.records
        self.run.replay = self._replay
        self.run.read_record = self._read_record
        self.max_parallelism = 1
        self.is_meltano_test = False
        # The stream of the current message, as the tap names it.
        self.source = ""
        # The current record, as the tap sent it.
        self.record: dict[str, Any] = {}
        self._sinks: dict[tuple[str, str], Sink] = {}
        # Of the current record: where it stands, and the streams after stream maps that have it.
        self.place: Place = 0
        self.taken_by: set[str] = set()
        self._schemas: dict[str, tuple[Any, Any, Any]] = {}
        self._respellings: dict[str, Respelling] = {}

    # Configuration

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add the SDK's settings for stream maps and flattening.

        Those for load methods and record metadata stay out: they mean nothing here.
        """
        super(Target, cls).append_builtin_config(config_jsonschema)
        properties = config_jsonschema["properties"]
        properties["stream_maps"] = validation.repair_schema(properties["stream_maps"])

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        """The settings that `TARGET_ACTIVECAMPAIGN_*` variables give."""
        cls.append_builtin_config(cls.config_jsonschema)
        try:
            given = environment.read_environment(cls.config_jsonschema, cls._env_var_prefix)
        except SettingError as error:
            raise ConfigValidationError(
                "Config validation failed", errors=list(error.args), schema=cls.config_jsonschema
            ) from None
        for text in given.notices:
            cls.logger.info(text)
        return given.values

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Check the configuration; the SDK's own messages would quote the key."""
        self.append_builtin_config(self.config_jsonschema)
        self._config, errors = validation.convert(self.config, self.config_jsonschema)
        errors = errors or validation.find_problems(self.config, self.config_jsonschema)
        if not errors and not self.config.get("sandbox"):
            try:
                parse_api_url(self.config["api_url"])
            except ValueError as error:
                errors.append(f"The setting 'api_url' can't be used: {error}")
        if errors:
            # First, as the last line of the log is to be a cause.
            errors[:0] = environment.unread_variables(
                self.config, self.config_jsonschema, self._env_var_prefix
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
        """What the configuration has that is not known."""
        known = self.config_jsonschema["properties"]
        found = validation.unknown_settings(self.config, known)
        if self._reads_variables:
            found += environment.read_environment(
                self.config_jsonschema, self._env_var_prefix
            ).warnings
        return found

    @property
    def maps(self) -> StreamMaps:
        """What stream maps do to the streams that have come."""
        return StreamMaps(self.config.get("stream_maps"), self.mapper)

    # Messages

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "schema"})
        stream, schema = message_dict["stream"], message_dict["schema"]
        if stream == MELTANO_TEST_STREAM and not self.run.connected:
            self.is_meltano_test = True
            raise StoppedError
        check_schema(schema, stream)
        check_property_names(message_dict, stream, schema["properties"])
        properties = schema["properties"]
        if message_dict.get("key_properties"):
            message_dict["key_properties"] = [
                find_spelling(one, properties) for one in message_dict["key_properties"]
            ]
        self._respellings[stream] = Respelling(properties)
        schema["properties"] = without_booleans(schema["properties"])
        keys, bookmarks = (
            message_dict.get("key_properties"),
            message_dict.get("bookmark_properties"),
        )
        self.run.announce(stream, schema, keys, bookmarks)
        self.source = stream
        announced = (schema, keys, bookmarks)
        if self._schemas.get(stream) == announced:
            return  # taps repeat it: nothing is new
        self.maps.spell(stream, schema)
        # The SDK's stream maps take properties out of the schema that they are given.
        message_dict["schema"] = copy.deepcopy(self.maps.readable(schema))
        try:
            super()._process_schema_message(message_dict)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ValueError) and _raised_in("parse", error):
                raise MappingError(
                    f"A stream map of stream '{stream}' can't be read: it has U+0000, or half of a "
                    "surrogate pair, which is not text. Mend its expression under 'stream_maps'."
                ) from None
            if not _raised_in("_flatten_schema", error):
                raise
            raise MappingError(
                f"The schema of stream '{stream}' has what the SDK's flattening can't take apart: "
                "leave out 'flattening_enabled'. Paths in 'field_mapping' do without it."
            ) from None
        for stream_map in self.mapper.stream_maps.get(stream, ()):
            self.run.attach(stream, stream_map.stream_alias)
        sink = self._sinks.get((stream, stream))
        if isinstance(sink, ContactSink) and self.maps.is_identity(stream):
            self.run.open(
                stream,
                Maker(sink.mapping, sink.clean, sink.problems, sink.contact, sink.tally),
                schema,
            )
        else:
            self.run.close(stream)
        self._schemas[stream] = announced

    def _replay(self, line: bytes, place: Place) -> None:
        """Process a record that has waited, as if it were read now."""
        self._process_waiting(self._message(line, place), line, place)

    def _read_record(self, line: bytes, place: Place) -> tuple[dict[str, Any], Refusal | None]:
        """The record of a line that has waited, and why it can't be read whole, if it can't."""
        message = self._message(line, place)
        return message["record"], _unreadable(message)

    def _message(self, line: bytes, place: Place) -> dict[str, Any]:
        """The RECORD message of a line that has waited.

        Raises:
            InvalidInputLine: It is none; the text says where it stands.
        """
        reader = self.message_reader
        now = reader.line_number
        if isinstance(place, int):
            reader.line_number = place
        message = reader.deserialize_json(line)
        self._assert_line_requires(message, requires={"stream", "record"})
        reader.line_number = now
        return message

    def get_sink(
        self,
        stream_name: str,
        *,
        record: dict[str, Any] | None = None,
        schema: dict[str, Any] | None = None,
        key_properties: Sequence[str] | None = None,
    ) -> Sink:
        """The sink of a stream after stream maps, as the current message's stream comes to it.

        Several streams of a tap can come to one; each has its own schema, and so its own sink.
        """
        key = (self.source, stream_name)
        if schema is not None:
            self._sinks[key] = super().get_sink(
                stream_name, schema=schema, key_properties=key_properties
            )
        return self._sinks.get(key) or super().get_sink(stream_name, record=record)

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"stream", "record"})
        reader = self.message_reader
        self._process_waiting(message_dict, reader.line, reader.line_number)

    def _process_waiting(self, message: dict[str, Any], line: bytes, place: Place) -> None:
        """Process a record once those before it are seen to."""
        self.run.finish_records()
        version = message.get("version")
        if isinstance(version, (dict, list)):
            raise InvalidInputLine(
                f"{describe_place(place)}: the 'version' of a RECORD message is no number or text."
            )
        self.run.message(message["stream"], line, version)
        self.place = place
        self._process_record(message)

    def _process_record(self, message: dict[str, Any]) -> None:
        """Hand a record to the SDK; what a stream map can't do with it is the operator's error."""
        self.source, self.record = message["stream"], message["record"]
        self.taken_by.clear()
        if self.source in self._respellings:
            # Before stream maps, which find a property by its exact name.
            self._respellings[self.source].learn(self.record)
            self._respellings[self.source].rename(self.record)
        if self._skip_deleted():
            return
        refusal = _unreadable(message)
        if refusal is not None:
            self._refuse(message, refusal)
            return
        try:
            super()._process_record_message(message)
        except RecursionError:
            self._refuse(message, _NESTED)
        except MapExpressionError as error:
            raise _failed(message["stream"], str(error).rstrip(".")) from None
        except SingerSDKError:
            raise
        except Exception as error:
            if not _raised_in("_eval", error):
                raise
            raise _failed(message["stream"], type(error).__name__) from None

    def _refuse(self, message: dict[str, Any], refusal: Refusal) -> None:
        """Have a record refused that can't be read whole, in each stream that it comes to."""
        stream = message["stream"]
        if stream not in self.mapper.stream_maps:
            self._assert_sink_exists(stream)
        for stream_map in self.mapper.stream_maps[stream]:
            if stream_map.stream_alias in self.taken_by:
                continue
            record = message["record"]
            # Whom it stands for may only be told after stream maps, which may miss what is null.
            with suppress(Exception):
                record = stream_map.transform(dict(record))
            sink = self.get_sink(stream_map.stream_alias)
            if record is not None and isinstance(sink, ContactSink):
                sink.refuse_unreadable(record, refusal)

    def _skip_deleted(self) -> bool:
        """Skip the current record if it is marked as deleted, for all streams that it comes to.

        Often it has little more than its key, which is not what expressions of stream maps are
        made for. Where these fail, nobody knows whom it stands for.
        """
        maps = self.mapper.stream_maps.get(self.source, ())
        sinks = [self._sinks.get((self.source, one.stream_alias)) for one in maps]
        streams = [
            (one, sink)
            for one, sink in zip(maps, sinks, strict=True)
            if isinstance(sink, ContactSink) and sink.marks_deleted(self.record)
        ]
        if not streams or len(streams) < len(sinks):
            return False
        for stream_map, sink in streams:
            try:
                record = stream_map.transform(copy.copy(self.record))
            except Exception:  # noqa: BLE001 - expressions may raise anything
                record = {}
            if record is not None:
                sink.skip_deleted(record)
        return True

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        """Hand each record of the files on as if it had come as a message of its own."""
        self._assert_line_requires(message_dict, requires={"stream", "encoding", "manifest"})
        self.message_reader.size = None  # of what is read now, nobody knows how much there is
        self.run.finish_records()
        stream = message_dict["stream"]
        if stream not in self.mapper.stream_maps:
            self._assert_sink_exists(stream)
        version = message_dict.get("version")
        head = {"type": "RECORD", "stream": stream}
        if version is not None:
            head["version"] = version
        start = json.dumps(head).encode()[:-1] + b',"record":'
        some: list[tuple[str, int, bytes]] = []
        encoding, manifest = message_dict["encoding"], message_dict["manifest"]
        lines = record_lines(encoding, manifest, self.settings.max_line_bytes)
        size = 0
        try:
            for count, one in enumerate(lines, 1):
                if one[2]:
                    some.append(one)
                    size += len(one[2])
                # Also between blank lines, of which there may be millions.
                if count % _BATCH_LINES == 0 or size >= WINDOW_BYTES:
                    taken, some, size = some, [], 0
                    self._process_batch_lines(stream, taken, start=start, version=version)
                    self.run.tick()
                    if self.message_reader.stopped:
                        # The STATE that comes after this message is not read any more.
                        return
        finally:
            # Also those before the place where a file is damaged.
            self._process_batch_lines(stream, some, start=start, version=version)

    def _process_batch_lines(
        self, stream: str, some: list[tuple[str, int, bytes]], *, start: bytes, version: Any
    ) -> None:
        """Process records of files, whose messages would begin with `start`."""
        texts = [text for _, _, text in some]
        if some and are_objects(texts):
            raws = [msgspec.Raw(text) for text in texts]
            lines = [start + text + b"}" for text in texts]
            places = [(url, number) for url, number, _ in some]
            if self.run.records(stream, version, raws, lines, places):
                return
        for url, number, text in some:
            record = _batch_record(text, (url, number))
            message = {"type": "RECORD", "stream": stream, "version": version, "record": record}
            if isinstance(record, UnreadableRecord):
                message = UnreadableRecord(message, record.reason)
            self._process_waiting(message, start + text + b"}", (url, number))

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        self._assert_line_requires(message_dict, requires={"value"})
        self.run.state(message_dict["value"])

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        """Take note of it: a stream that ends with it was complete."""
        self._assert_line_requires(message_dict, requires={"stream", "version"})
        self.run.activate(message_dict["stream"], message_dict["version"])

    def _handle_max_record_age(self) -> None:
        """Nothing: no sink holds records, and the run's own clock sends what has waited."""

    def process_endofpipe(self) -> None:
        """Settle everything that was read, let leavers leave, write the report."""
        for warning in self.maps.unused():
            self.logger.warning(warning)
        self.run.settle()
        if not self._stopped_by:
            self.run.warn_of_unused_settings()
            self.run.leave()
            self.run.check_empty()
        self._end("stopped" if self._stopped_by else "completed")

    def _end(self, outcome: str, problem: str | None = None) -> None:
        """Tell the metrics, once all records are counted, and end the run."""
        self.drain_all(is_endofpipe=True)
        self.run.end(outcome, problem)

    def _listen(self, file_input: IO[str] | None) -> None:
        """Read the input to its end; what is wrong with a line names it by its number."""
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
        """Read the input to its end, settle it and write the report; returns the exit code."""
        problem = report_errors(lambda: self._listen(file_input))
        if self.is_meltano_test:
            # Meltano takes it for a failure when its messages are not read to their end.
            with contextlib.suppress(OSError, ValueError):
                for _ in file_input or self.message_reader.default_input:
                    pass
            return 0
        if self.run.report.finished is None:
            # What was read before the error is on its way or still to be sent: settle it.
            report_errors(self.run.settle)
            report_errors(lambda: self._end("failed" if problem else "stopped", problem))
        problem = problem or self.run.report.problem
        if problem is not None:
            self.logger.error(problem)
            return 1
        return 128 + self._stopped_by if self._stopped_by else 0

    def _setup_signal_handlers(self) -> None:
        """Also hear SIGHUP, unless whoever started the run wants it to outlive the terminal."""
        super()._setup_signal_handlers()
        hangup = getattr(signal, "SIGHUP", None)
        if hangup is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(hangup) is not signal.SIG_IGN:
            signal.signal(hangup, self._handle_termination)

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End the input, so that what was read is settled; a second signal ends at once."""
        name = signal.Signals(signum).name
        now = time.monotonic()
        if self._stopped_by is not None:
            if now - self._stopped_at < _ONE_SIGNAL_SECONDS:
                return  # Meltano hands on a Ctrl-C that the terminal has sent to us as well.
            self.logger.warning("%s again: ending at once, with nothing settled.", name)
            self.run.abandon()
            os._exit(128 + signum)
        self._stopped_by, self._stopped_at = signum, now
        run: Run | None = getattr(self, "run", None)
        if run is None or not run.connected:
            self.logger.info("%s: ending before anything was sent.", name)
            sys.exit(128 + signum)
        self.logger.info("%s: reading no more, settling what is in flight.", name)
        run.stop()
        self.message_reader.stop()


_NESTED = Refusal("RECORD_INVALID", "is nested too deeply to be read.", needs_place=True)


def _unreadable(message: dict[str, Any]) -> Refusal | None:
    """The refusal of a record that can't be read whole."""
    if isinstance(message, UnreadableRecord):
        return Refusal("RECORD_INVALID", f"{message.reason}.", needs_place=True)
    return None


def _batch_record(text: bytes, place: Place) -> dict[str, Any]:
    """The record of a line of a batch file.

    Raises:
        BatchFileError: It is none.
    """
    record = None
    with suppress(ValueError, RecursionError):
        record = read_record(text)
    if not isinstance(record, dict):
        raise BatchFileError(
            f"{describe_place(place)} is no JSON object: the file was cut off, damaged, or is of "
            "another format."
        )
    return record


def _failed(stream: str, why: str) -> MappingError:
    return MappingError(
        f"A stream map of stream '{stream}' fails on a record ({why}): mend its expression under "
        "'stream_maps'."
    )


def _raised_in(function: str, error: BaseException) -> bool:
    """Whether an error came out of a function of the SDK's."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == function for frame, _ in frames)
