"""The private parts of the SDK that the target relies on are as they were.

One test for each: where one fails, the SDK has changed, and `sdk_compat.py` has to follow.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from singer_sdk.exceptions import RecordsWithoutSchemaException
from singer_sdk.helpers import _classproperty, _flattening
from singer_sdk.mapper import PluginMapper
from singer_sdk.plugin_base import PluginBase, _ConfigInput
from singer_sdk.singerlib.exceptions import InvalidInputLine
from singer_sdk.sinks import Sink
from singer_sdk.tap_base import Tap
from singer_sdk.target_base import Target

from target_activecampaign.singer import sdk_compat
from target_activecampaign.singer.sdk_compat import SdkTap, SdkTarget

if TYPE_CHECKING:
    from collections.abc import Callable


class Plain(SdkTarget):
    """A target that notes what its hooks are called with."""

    name = "target-plain"
    config_jsonschema: ClassVar[dict[str, Any]] = {"type": "object", "properties": {}}
    default_sink_class = Sink

    def __init__(self, **how: Any) -> None:
        self.noted: list[Any] = []
        super().__init__(**how)

    @classmethod
    def read_environment(cls, prefix: str) -> dict[str, Any]:
        return {"prefix": prefix}

    def check_config(self, *, raise_errors: bool) -> list[str]:
        self.noted.append(("config", raise_errors))
        return []

    def process_schema(self, message: dict[str, Any]) -> None:
        self.noted.append(message)

    process_record = process_batch = process_state = process_activate_version = process_schema

    def setup_signals(self) -> None:
        self.noted.append("signals")

    def handle_signal(self, signum: int) -> None:
        self.noted.append(signum)


@pytest.mark.parametrize(
    "name",
    [
        "_process_schema_message",
        "_process_record_message",
        "_process_batch_message",
        "_process_state_message",
        "_process_activate_version_message",
        "_validate_config",
        "_setup_signal_handlers",
        "_handle_termination",
    ],
)
def test_sdk_has_the_hook(name: str) -> None:
    theirs, ours = getattr(Target, name), getattr(SdkTarget, name)
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


class PlainTap(SdkTap):
    """A tap that notes what its hooks are called with."""

    name = "tap-plain"
    config_jsonschema: ClassVar[dict[str, Any]] = {"type": "object", "properties": {}}

    def __init__(self, **how: Any) -> None:
        self.noted: list[Any] = []
        super().__init__(**how)

    read_environment = Plain.read_environment

    def check_config(self, *, raise_errors: bool) -> list[str]:
        self.noted.append(("config", raise_errors))
        return []

    def handle_signal(self, signum: int) -> None:
        self.noted.append(signum)

    def discover_streams(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    "name", ["_validate_config", "_setup_signal_handlers", "_handle_termination"]
)
def test_sdk_has_the_hook_of_taps(name: str) -> None:
    theirs, ours = getattr(Tap, name), getattr(SdkTap, name)
    assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)


def test_sdk_calls_the_hooks_of_taps() -> None:
    tap = PlainTap(parse_env_config=True)
    assert tap.config["prefix"] == tap.variable_prefix == "TAP_PLAIN_"
    tap._handle_termination(15, None)
    assert tap.noted == [("config", True), 15]


@pytest.mark.parametrize("kind", ["SCHEMA", "RECORD", "BATCH", "STATE", "ACTIVATE_VERSION"])
def test_sdk_hands_messages_to_the_hooks(kind: str, tmp_path: Any) -> None:
    target = Plain()
    message = f'{{"type": "{kind}", "stream": "a"}}'
    path = tmp_path / "messages"
    path.write_text(message + "\n", "utf-8")
    with path.open() as file:
        target.process_endofpipe = lambda: None  # type: ignore[method-assign]
        target.listen(file)
    assert {"type": kind, "stream": "a"} in target.noted


def test_sdk_checks_the_configuration_and_sets_up_signals() -> None:
    assert Plain().noted == [("config", True), "signals"]


def test_sdk_calls_the_signal_handler() -> None:
    target = Plain()
    assert target._handle_termination in _handlers(target)
    target._handle_termination(15, None)
    assert target.noted[-1] == 15


def _handlers(target: Plain) -> list[Callable[..., Any]]:
    source = inspect.getsource(PluginBase._setup_signal_handlers)
    assert source.count("self._handle_termination") == 2, "of SIGINT and SIGTERM"
    return [target._handle_termination]


def test_sdk_reads_variables_through_the_class_property() -> None:
    assert isinstance(
        inspect.getattr_static(PluginBase, "_env_var_config"), _classproperty.classproperty
    )
    assert Plain._env_var_config == {"prefix": "TARGET_PLAIN_"}
    assert Plain(parse_env_config=True).config["prefix"] == "TARGET_PLAIN_"


def test_variable_prefix_is_the_sdks() -> None:
    assert Plain().variable_prefix == "TARGET_PLAIN_"


def test_config_can_be_replaced() -> None:
    target = Plain()
    target.set_config({"a": 1})
    assert dict(target.config) == {"a": 1}


def test_sdk_says_what_a_message_lacks() -> None:
    with pytest.raises(InvalidInputLine, match="stream"):
        Plain().require({"type": "RECORD"}, "stream")


def test_sdk_says_that_a_record_came_before_its_schema() -> None:
    with pytest.raises(RecordsWithoutSchemaException):
        Plain().require_schema("a")


def test_sdk_registers_a_schema_through_the_hook() -> None:
    source = inspect.getsource(Target._process_schema_message)
    assert "register_raw_stream_schema" in source
    assert "get_sink" in source


def test_config_input_has_what_the_command_reads() -> None:
    assert sdk_compat.ConfigInput is _ConfigInput
    made = sdk_compat.ConfigInput(config={"a": 1}, parse_env=True)
    assert (made.config, made.parse_env) == ({"a": 1}, True)


def test_metadata_properties_are_those_that_the_sdk_removes() -> None:
    names = {*sdk_compat.SDC_PROPERTIES, "_sdc_other", "email"}
    record = dict.fromkeys(names)
    Sink._remove_sdc_metadata_from_record(None, record)  # type: ignore[arg-type]
    assert set(record) == {"_sdc_other", "email"}


def test_flattened_names_are_those_that_the_sdk_gives() -> None:
    options = _flattening.FlatteningOptions(enabled=True, max_level=3, separator="__")
    schema = {"properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}}}
    flat = _flattening.flatten_schema(schema, max_level=3, separator="__")
    assert list(flat["properties"]) == [sdk_compat.flattened_name("b", ("a",), options)]


def _mapper(maps: dict[str, Any], **config: Any) -> PluginMapper:
    return PluginMapper({"stream_maps": maps, **config}, logging.getLogger("test"))


SCHEMA: dict[str, Any] = {"properties": {"a": {"type": "string"}}}


def test_expressions_are_evaluated_where_errors_are_told_by() -> None:
    mapper = _mapper({"s": {"b": "a.split(' ')[1]"}})
    mapper.register_raw_stream_schema("s", SCHEMA, [])
    with pytest.raises(IndexError) as raised:
        mapper.stream_maps["s"][0].transform({"a": "x"})
    assert sdk_compat.is_expression_error(raised.value)
    assert not sdk_compat.is_expression_error(ValueError())


def test_expressions_are_parsed_where_errors_are_told_by() -> None:
    mapper = _mapper({"s": {"b": "'\ud800'"}})
    with pytest.raises(ValueError, match="surrogates") as raised:
        mapper.register_raw_stream_schema("s", SCHEMA, [])
    assert sdk_compat.is_parse_error(raised.value)


def test_schemas_are_flattened_where_errors_are_told_by() -> None:
    mapper = _mapper({}, flattening_enabled=True, flattening_max_depth=1)
    odd = {"properties": {"a": {"type": "object", "properties": {"b": True}}}}
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)) as raised:
        mapper.register_raw_stream_schema("s", odd, [])
    assert sdk_compat.is_flattening_error(raised.value)


def test_names_that_expressions_reserve_are_known() -> None:
    mapper = _mapper({"s": {"b": "a"}})
    mapper.register_raw_stream_schema("s", SCHEMA, [])
    stream_map: Any = mapper.stream_maps["s"][0]
    stream_map.transform({"a": "x", "b": "y"})
    names = set(stream_map.expr_evaluator.names) - {"a", "b"}
    known = {name for name in names if not name.startswith("__")}
    assert known <= sdk_compat.RESERVED_NAMES


def test_functions_of_expressions_are_those_that_are_judged() -> None:
    """A new one may be a clock: see `stream_maps._IMPURE_NAMES`."""
    mapper = _mapper({"s": {"b": "a"}})
    mapper.register_raw_stream_schema("s", SCHEMA, [])
    stream_map: Any = mapper.stream_maps["s"][0]
    pure = {"int", "float", "str", "bool", "md5", "sha256", "json"}
    since_055 = {"uuid4", "check_uuid"}
    assert set(stream_map.functions) - pure - since_055 == {"datetime", "rand", "randint"}
