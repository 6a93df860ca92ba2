"""Every private part of the Singer SDK that the target and the tap rely on.

The SDK documents most of what a target needs. What stands here is not documented, and may change
with any release: `tests/unit/singer/test_sdk_compat.py` has a test for each that tells.
"""

from __future__ import annotations

import signal
import traceback
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers._flattening import FlatteningOptions, flatten_key
from singer_sdk.plugin_base import PluginBase
from singer_sdk.plugin_base import _ConfigInput as ConfigInput
from singer_sdk.tap_base import Tap
from singer_sdk.target_base import Target

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk.mapper import StreamMap

__all__ = ["ConfigInput", "FlatteningOptions", "SdkTap", "SdkTarget", "classproperty"]

SDC_PROPERTIES = frozenset(
    {
        "_sdc_batched_at",
        "_sdc_deleted_at",
        "_sdc_extracted_at",
        "_sdc_received_at",
        "_sdc_sequence",
        "_sdc_sync_started_at",
        "_sdc_table_version",
    }
)
"""The metadata properties that the SDK's taps and targets add to records."""

RESERVED_NAMES = frozenset({"_", "config", "fake", "record", "self"})
"""Names that mean something of their own in an expression of a stream map."""


def flattened_name(name: str, parents: tuple[str, ...], options: FlatteningOptions) -> str:
    """Return the name that flattening gives to a property inside of objects."""
    return flatten_key(
        name, list(parents), options.separator, max_key_length=options.max_key_length
    )


def is_expression_error(error: BaseException) -> bool:
    """Return whether an expression of a stream map raised an error."""
    return _is_raised_in("_eval", error)


def is_parse_error(error: BaseException) -> bool:
    """Return whether an expression of a stream map can't be parsed."""
    return _is_raised_in("parse", error)


def is_flattening_error(error: BaseException) -> bool:
    """Return whether flattening a schema raised an error."""
    return _is_raised_in("_flatten_schema", error)


def _is_raised_in(function: str, error: BaseException) -> bool:
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == function for frame, _ in frames)


class SdkPlugin(PluginBase):
    """Base of `SdkTap` and `SdkTarget`: the private hooks that both have, by public names.

    A subclass has the methods `read_environment`, `check_config` and `handle_signal`.
    """

    @classmethod
    @abstractmethod
    def read_environment(cls, prefix: str) -> dict[str, Any]:
        """Return the settings that environment variables with a prefix give."""

    @abstractmethod
    def check_config(self, *, raise_errors: bool) -> list[str]:
        """Return what is wrong with the configuration, or raise it."""

    @abstractmethod
    def handle_signal(self, signum: int) -> None:
        """Act on a signal that asks the process to end."""

    @property
    def variable_prefix(self) -> str:
        """Return the prefix of the environment variables."""
        return str(self._env_var_prefix)

    def set_config(self, config: dict[str, Any]) -> None:
        """Replace the configuration."""
        self._config = config

    # The SDK's hooks

    @classproperty
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805
        return cls.read_environment(str(cls._env_var_prefix))

    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        return self.check_config(raise_errors=raise_errors)

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.handle_signal(signum)


class SdkTap(SdkPlugin, Tap):
    """The SDK's tap, its private hooks handed on to methods with public names."""


class SdkTarget(SdkPlugin, Target):
    """The SDK's target, its private hooks handed on to methods with public names.

    A subclass has the methods `process_schema`, `process_record`, `process_batch`,
    `process_state` and `process_activate_version` besides those of `SdkPlugin`.
    """

    @abstractmethod
    def process_schema(self, message: dict[str, Any]) -> None:
        """Process a SCHEMA message."""

    @abstractmethod
    def process_record(self, message: dict[str, Any]) -> None:
        """Process a RECORD message."""

    @abstractmethod
    def process_batch(self, message: dict[str, Any]) -> None:
        """Process a BATCH message."""

    @abstractmethod
    def process_state(self, message: dict[str, Any]) -> None:
        """Process a STATE message."""

    @abstractmethod
    def process_activate_version(self, message: dict[str, Any]) -> None:
        """Process an ACTIVATE_VERSION message."""

    # What subclasses use of the SDK

    def require(self, message: dict[str, Any], *names: str) -> None:
        """Check that a message has what it must have.

        Raises:
            InvalidInputLine: It lacks something.
        """
        self._assert_line_requires(message, requires=set(names))

    def require_schema(self, stream: str) -> None:
        """Check that a stream's SCHEMA message was read.

        Raises:
            RecordsWithoutSchemaException: It has not.
        """
        if stream not in self.mapper.stream_maps:
            self._assert_sink_exists(stream)

    def register_schema(self, message: dict[str, Any]) -> list[StreamMap]:
        """Have the SDK make the stream maps and sinks of a stream; returns its stream maps."""
        super()._process_schema_message(message)
        return list(self.mapper.stream_maps.get(message["stream"], ()))

    def listen_to(self, *signals: int) -> None:
        """Have `handle_signal` called for signals besides those that the SDK listens to."""
        for one in signals:
            signal.signal(one, self._handle_termination)

    # The SDK's hooks

    def _process_schema_message(self, message_dict: dict[str, Any]) -> None:
        self.process_schema(message_dict)

    def _process_record_message(self, message_dict: dict[str, Any]) -> None:
        self.process_record(message_dict)

    def _process_batch_message(self, message_dict: dict[str, Any]) -> None:
        self.process_batch(message_dict)

    def _process_state_message(self, message_dict: dict[str, Any]) -> None:
        self.process_state(message_dict)

    def _process_activate_version_message(self, message_dict: dict[str, Any]) -> None:
        self.process_activate_version(message_dict)

    def _setup_signal_handlers(self) -> None:
        super()._setup_signal_handlers()
        self.setup_signals()

    def setup_signals(self) -> None:
        """Listen to other signals too; does nothing unless a subclass does."""
