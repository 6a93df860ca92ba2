"""The SDK's stream maps: the streams that they make of a tap's stream."""

from __future__ import annotations

import ast
import fnmatch
import json
import keyword
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from target_activecampaign.model.names import did_you_mean, find_spelling, nfc
from target_activecampaign.singer.flattening import with_types, written_as_json
from target_activecampaign.singer.sdk_compat import RESERVED_NAMES, flattened_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk.mapper import PluginMapper, StreamMap

    from target_activecampaign.singer.sdk_compat import FlatteningOptions

_IMPURE_NAMES = frozenset({"datetime", "fake", "rand", "randint", "uuid4"})
"""Names that make an expression depend on the time or on random values.

Apart from these, an expression sees only the record, `config`, and the functions `int`, `float`,
`str`, `bool`, `md5`, `sha256`, `check_uuid` and those of `json`. `datetime` has pure functions too,
but is treated as impure, to be safe.
"""
_UNORDERED = (ast.Set, ast.SetComp)
"""The order of a set differs between processes."""


@dataclass(frozen=True)
class MappedStream:
    """A stream after stream maps and flattening, made of one stream of the tap.

    Attributes:
        name: Its name.
        schema: The JSON schema of its records.
        key_properties: The properties that identify a record.
        transform: Its stream map; None if records are not changed.
        computed: Properties that expressions compute. The SDK guesses their schemas.
        json_text: Properties that flattening turns into JSON text, with the tap's schemas.
        flattens: Whether records are flattened.
        fingerprint: Everything that a mapped record depends on besides the tap's record; empty if
            records are not changed. None if the same record may give different results.
    """

    name: str
    schema: dict[str, Any] = field(repr=False)
    key_properties: tuple[str, ...]
    transform: StreamMap | None
    computed: frozenset[str]
    json_text: Mapping[str, Any]
    flattens: bool
    fingerprint: str | None
    _rules: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    _flattening: FlatteningOptions | None = None

    def unmapped_name(self, name: str) -> str | None:
        """Return the tap's name of a property that stays unchanged; None if it may change."""
        if self.transform is None:
            return name
        is_known = bool(self._rules) or isinstance(self.transform, SameRecordTransform)
        if not is_known or not self._is_flat(name):
            return None
        names = {self._source_of(name, rules) for rules in self._rules} or {name}
        return names.pop() if len(names) == 1 else None

    def _is_flat(self, name: str) -> bool:
        """Return whether a property of this name can only be one that flattening keeps."""
        options = self._flattening
        if options is None:
            return True
        return options.separator not in name and flattened_name(name, (), options) == name

    @staticmethod
    def _source_of(name: str, rules: Mapping[str, Any]) -> str | None:
        if name not in rules:
            return None if "__else__" in rules else name
        rule = rules[name]
        is_name = isinstance(rule, str) and _is_a_name(rule) and rule not in RESERVED_NAMES
        return rule if is_name and not rule.startswith("__") else None


class StreamMaps:
    """The stream maps and the flattening of a target.

    Args:
        config: The setting `stream_maps`.
        mapper: The SDK's mapper, which knows the streams so far.
    """

    def __init__(self, config: Mapping[str, Any] | None, mapper: PluginMapper) -> None:
        self._config = config or {}
        self._mapper = mapper

    @property
    def flattens(self) -> bool:
        """True if records are flattened."""
        return bool(self._mapper.flattening_options.enabled)

    def streams_of(self, source: str) -> list[MappedStream]:
        """Return the streams made of the tap's stream, without those that stream maps remove."""
        maps = self._mapper.stream_maps.get(source, ())
        return [self._mapped(source, one) for one in maps if not _removes(one)]

    def _mapped(self, source: str, stream_map: StreamMap) -> MappedStream:
        name, schema = stream_map.stream_alias, stream_map.transformed_schema
        keys = tuple(stream_map.transformed_key_properties or ())
        if self.is_identity(source):
            return MappedStream(
                name, schema, keys, None, frozenset(), {}, flattens=False, fingerprint=""
            )
        rules = self._rules(source, name)
        return MappedStream(
            name,
            schema,
            keys,
            stream_map,
            frozenset(self._computed(source, name)),
            self._written_as_json(source, name),
            flattens=self.flattens,
            fingerprint=self._fingerprint(source, stream_map, rules),
            _rules=rules,
            _flattening=self._mapper.flattening_options if self.flattens else None,
        )

    def _rules(self, source: str, name: str) -> list[dict[str, Any]]:
        """Return the rules that may make the stream `name` of the tap's `source`."""
        return [
            rules
            for key, rules in self._mapper.stream_maps_dict.items()  # names as the tap spells them
            if isinstance(rules, dict) and _makes(key, rules, source, name)
        ]

    def _fingerprint(
        self, source: str, stream_map: StreamMap, rules: list[dict[str, Any]]
    ) -> str | None:
        is_known = bool(rules) or isinstance(stream_map, SameRecordTransform)
        if not is_known or not all(_is_pure(rule) for some in rules for rule in some.values()):
            return None
        parts = (
            source,
            stream_map.stream_alias,
            rules,
            self._mapper.map_config,
            stream_map.transformed_schema,
            stream_map.transformed_key_properties,
            repr(self._mapper.flattening_options),
        )
        return json.dumps(parts, sort_keys=True, default=str)

    def _computed(self, source: str, name: str) -> set[str]:
        """Return the properties that expressions compute for the stream `name`."""
        rules = self._rules(source, name)
        found = {one for some in rules for one, rule in some.items() if not _is_a_name(rule)}
        return {one for one in found if not one.startswith("__")}

    def _written_as_json(self, source: str, name: str) -> dict[str, Any]:
        """Return the properties that flattening turns into JSON text, with the tap's schemas."""
        found: dict[str, Any] = {}
        for one in self._mapper.stream_maps.get(source, ()) if self.flattens else ():
            if one.stream_alias == name:
                options = self._mapper.flattening_options
                found.update(written_as_json(one.raw_schema["properties"], options))
        return found

    def results(
        self, source: str, schema: dict[str, Any], keys: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """Return the schemas of the properties of all streams made of a tap's stream.

        Args:
            source: The stream as the tap names it.
            schema: Its JSON schema.
            keys: The properties that identify a record.
        """
        self.spell(source, schema)
        self._mapper.register_raw_stream_schema(source, self.readable(schema), keys)
        return {
            one.stream_alias: {
                **one.transformed_schema.get("properties", {}),
                **self._written_as_json(source, one.stream_alias),
            }
            for one in self._mapper.stream_maps[source]
            if not _removes(one)
        }

    def spell(self, source: str, schema: Mapping[str, Any]) -> None:
        """Spell the names in stream maps as the tap spells its stream and properties.

        For the SDK, NFC and NFD are different names: it would keep properties that a map removes.
        """
        properties = schema.get("properties", {})
        self._mapper.stream_maps_dict = dict(
            _spelled(key, rules, source, properties)
            for key, rules in self._config.items()
            if not key.startswith("__")
        )

    def readable(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a stream's schema in a form that the SDK's flattening can read."""
        if not self.flattens:
            return schema
        return {**schema, "properties": with_types(schema["properties"])}

    def is_identity(self, source: str) -> bool:
        """Return whether stream maps neither change the tap's stream nor make another one of it."""
        maps = self._mapper.stream_maps.get(source, ())
        return len(maps) == 1 and not self.flattens and isinstance(maps[0], SameRecordTransform)

    def unused(self) -> Iterator[str]:
        """Yield a warning for each stream map whose stream was not in the input."""
        came = self._mapper.stream_maps
        for name, rules in self._config.items() if came else ():
            if name.startswith("__") or any(_is_for(name, rules, stream) for stream in came):
                continue
            source = _source_of(name, rules)
            suggestion = did_you_mean(source, came)
            yield (
                f"'stream_maps.{name}' had no effect: the input has no stream '{source}'."
                f"{suggestion}"
            )


def _source_of(name: str, rules: Any) -> str:
    """Return the stream, or pattern of streams, that a stream map is for."""
    return str(rules.get("__source__", name)) if isinstance(rules, dict) else name


def _is_for(name: str, rules: Any, stream: str) -> bool:
    return fnmatch.fnmatch(nfc(stream), nfc(_source_of(name, rules)))


def _spelled(key: str, rules: Any, source: str, properties: Mapping[str, Any]) -> tuple[str, Any]:
    """Return a stream map's key and rules, in the tap's spelling if it is for the stream."""
    if not _is_for(key, rules, source):
        return key, rules
    if isinstance(rules, dict):
        rules = {find_spelling(name, properties) or name: rule for name, rule in rules.items()}
    if fnmatch.fnmatch(source, _source_of(key, rules)):
        return key, rules
    if isinstance(rules, dict) and "__source__" in rules:
        return key, {**rules, "__source__": source}
    return source, rules


def _makes(key: str, rules: dict[str, Any], source: str, name: str) -> bool:
    """Return whether a stream map may make the stream `name` of the tap's `source`."""
    if not _is_for(key, rules, source):
        return False
    if "__source__" in rules:
        return key == name
    return "__alias__" in rules or source == name  # an alias can be an expression


def _is_a_name(rule: Any) -> bool:
    """Return whether a rule of a stream map passes a property on unchanged, or removes it."""
    return not isinstance(rule, str) or (rule.isidentifier() and not keyword.iskeyword(rule))


def _removes(stream_map: StreamMap) -> bool:
    return isinstance(stream_map, RemoveRecordTransform)


def _is_pure(rule: Any) -> bool:
    """Return whether a rule gives the same result for the same record each time."""
    if not isinstance(rule, str):
        return True
    try:
        nodes = list(ast.walk(ast.parse(rule)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return not any(
        isinstance(node, _UNORDERED) or (isinstance(node, ast.Name) and node.id in _IMPURE_NAMES)
        for node in nodes
    )
