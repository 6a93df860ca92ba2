"""Help for the SDK's flattening: prepare schemas for it, and parse the JSON text that it writes.

Flattening turns arrays, and objects below its depth, into JSON text. A list of choices must stay a
list, so that text is parsed again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from target_activecampaign.singer.json_schema import Schema, kinds
from target_activecampaign.singer.parsing import read_json
from target_activecampaign.singer.sdk_compat import flattened_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_activecampaign.singer.sdk_compat import FlatteningOptions

_BOOLEAN: dict[bool, dict[str, Any]] = {True: {}, False: {"not": {}}}
"""The JSON schemas true and false as objects."""


_SCALARS = frozenset({"boolean", "integer", "number", "string"})


def without_booleans(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return schemas of properties, at all depths, with objects for the schemas true and false.

    The SDK can't read boolean schemas.
    """
    found: dict[str, Schema] = {}
    for name, schema in properties.items():
        one = _BOOLEAN[schema] if isinstance(schema, bool) else schema
        inner = one.get("properties")
        found[name] = {**one, "properties": without_booleans(inner)} if inner else one
    return found


def with_types(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Return schemas of properties, at all depths, with a type for each that is scalar.

    Flattening drops most properties without a type (`anyOf`), and takes the others for strings.
    """
    found: dict[str, Schema] = {}
    for name, schema in properties.items():
        inner = schema.get("properties")
        types = kinds(schema) or _SCALARS
        if inner:
            found[name] = {**schema, "properties": with_types(inner)}
        elif "type" not in schema and types <= _SCALARS:
            found[name] = {**schema, "type": [*sorted(types), "null"]}
        else:
            found[name] = schema
    return found


def written_as_json(
    properties: Mapping[str, Schema], options: FlatteningOptions, parents: tuple[str, ...] = ()
) -> Iterator[tuple[str, Schema]]:
    """Yield the flattened names of properties that become JSON text, with the tap's schemas."""
    for name, schema in properties.items():
        path = (*parents, name)
        inner = schema.get("properties") if isinstance(schema, dict) else None
        types = kinds(schema)
        if inner and "object" in types and len(parents) < options.max_level:
            yield from written_as_json(inner, options, path)
        elif types & {"array", "object"}:
            yield flattened_name(name, parents, options), schema


def parse_json_text(value: Any) -> Any:
    """Return the array or object in a JSON text. Return any other value unchanged."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return read_json(value)
    return value
