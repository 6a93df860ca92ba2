"""What the SDK's flattening hands on as JSON text, taken back to what the tap has sent.

Flattening takes objects apart. Arrays, and objects below its depth, it writes as JSON, with all
letters but ASCII's escaped, and calls them strings: a list of choices would be none any more.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._flattening import flatten_key

from target_activecampaign.singer.json_schema import Schema, kinds
from target_activecampaign.singer.parsing import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.helpers._flattening import FlatteningOptions

_BOOLEAN: dict[bool, dict[str, Any]] = {True: {}, False: {"not": {}}}
"""What the JSON schemas true and false are as objects."""


_SCALARS = frozenset({"boolean", "integer", "number", "string"})


def without_booleans(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Schemas of properties, those inside of objects too, none of them true or false.

    The SDK takes each to be an object.
    """
    found: dict[str, Schema] = {}
    for name, schema in properties.items():
        one = _BOOLEAN[schema] if isinstance(schema, bool) else schema
        inner = one.get("properties")
        found[name] = {**one, "properties": without_booleans(inner)} if inner else one
    return found


def with_types(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Schemas of properties, those inside of objects too, with a type wherever it is scalar.

    The SDK leaves out most properties without one (`anyOf`), and takes the others for strings.
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
    """The properties that come as JSON text, by their flattened names, with the tap's schemas."""
    for name, schema in properties.items():
        path = (*parents, name)
        inner = schema.get("properties") if isinstance(schema, dict) else None
        types = kinds(schema)
        if inner and "object" in types and len(parents) < options.max_level:
            yield from written_as_json(inner, options, path)
        elif types & {"array", "object"}:
            limit = options.max_key_length
            yield flatten_key(name, list(parents), options.separator, max_key_length=limit), schema


def parse_json_text(value: Any) -> Any:
    """The array or object that a JSON text holds; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        with suppress(ValueError, RecursionError):
            return read_json(value)
    return value
