"""What the SDK's stream maps do to streams, as their configuration says."""

from __future__ import annotations

import fnmatch
import keyword
from typing import TYPE_CHECKING, Any

from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from target_activecampaign.model.names import did_you_mean, find_spelling, nfc
from target_activecampaign.singer.flattening import with_types, written_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk.mapper import PluginMapper


class StreamMaps:
    """The stream maps and the flattening of a target.

    Args:
        config: The setting `stream_maps`.
        mapper: What the SDK has made of it and of the streams that have come.
    """

    def __init__(self, config: Mapping[str, Any] | None, mapper: PluginMapper) -> None:
        self._config = config or {}
        self._mapper = mapper

    @property
    def flattens(self) -> bool:
        """Whether records are flattened."""
        return bool(self._mapper.flattening_options.enabled)

    def computed(self, source: str, name: str) -> set[str]:
        """The properties that are computed for the stream `name` out of the tap's `source`."""
        found = set()
        for key, rules in self._mapper.stream_maps_dict.items():  # names as the tap spells them
            if isinstance(rules, dict) and _makes(key, rules, source, name):
                found |= {one for one, rule in rules.items() if not _is_a_name(rule)}
        return {one for one in found if not one.startswith("__")}

    def written_as_json(self, source: str, name: str) -> dict[str, Any]:
        """The properties of such a stream that flattening writes as JSON, with their schemas."""
        found: dict[str, Any] = {}
        for one in self._mapper.stream_maps.get(source, ()) if self.flattens else ():
            if one.stream_alias == name:
                options = self._mapper.flattening_options
                found.update(written_as_json(one.raw_schema["properties"], options))
        return found

    def results(
        self, source: str, schema: dict[str, Any], keys: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """What the tap's stream comes to: the schemas of its properties, by stream and name.

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
                **self.written_as_json(source, one.stream_alias),
            }
            for one in self._mapper.stream_maps[source]
            if not isinstance(one, RemoveRecordTransform)
        }

    def spell(self, source: str, schema: Mapping[str, Any]) -> None:
        """Have the stream maps name a stream and its properties as the tap spells them.

        The SDK takes NFC and NFD for two names, and would hand on what a map is to remove.
        """
        properties = schema.get("properties", {})
        self._mapper.stream_maps_dict = dict(
            _spelled(key, rules, source, properties)
            for key, rules in self._config.items()
            if not key.startswith("__")
        )

    def readable(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A stream's schema as the SDK's flattening can read it."""
        if not self.flattens:
            return schema
        return {**schema, "properties": with_types(schema["properties"])}

    def is_identity(self, source: str) -> bool:
        """Whether the tap's stream comes as it is, and as nothing else."""
        maps = self._mapper.stream_maps.get(source, ())
        return len(maps) == 1 and not self.flattens and isinstance(maps[0], SameRecordTransform)

    def removes(self, name: str) -> bool:
        """Whether every stream that would come under a name is removed."""
        maps = [one for some in self._mapper.stream_maps.values() for one in some]
        named = [one for one in maps if one.stream_alias == name]
        return bool(named) and all(isinstance(one, RemoveRecordTransform) for one in named)

    def unused(self) -> Iterator[str]:
        """A warning for each whose stream never came: what it was to hide went as it was."""
        came = self._mapper.stream_maps
        for name, rules in self._config.items() if came else ():
            if name.startswith("__") or any(_is_for(name, rules, stream) for stream in came):
                continue
            source = _source_of(name, rules)
            hint = did_you_mean(source, came)
            yield f"'stream_maps.{name}' had no effect: no stream '{source}' came.{hint}"


def _source_of(name: str, rules: Any) -> str:
    """The stream, or pattern of streams, that a stream map is for."""
    return str(rules.get("__source__", name)) if isinstance(rules, dict) else name


def _is_for(name: str, rules: Any, stream: str) -> bool:
    return fnmatch.fnmatch(nfc(stream), nfc(_source_of(name, rules)))


def _spelled(key: str, rules: Any, source: str, properties: Mapping[str, Any]) -> tuple[str, Any]:
    """A stream map's key and rules, spelled as a stream and its properties are if it is for it."""
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
    """Whether a stream map may be what makes a stream of a source's."""
    if not _is_for(key, rules, source):
        return False
    if "__source__" in rules:
        return key == name
    return "__alias__" in rules or source == name  # an alias can be an expression


def _is_a_name(rule: Any) -> bool:
    """Whether a rule of a stream map hands a property on as it is, or removes it."""
    return not isinstance(rule, str) or (rule.isidentifier() and not keyword.iskeyword(rule))
