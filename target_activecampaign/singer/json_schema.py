"""Facts about a property's JSON schema, for the mapping.

If a schema leaves a fact open, or states it by rules that are not evaluated here, any value is
assumed to be possible. Each value is checked in its record.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.names import find_spelling
from target_activecampaign.text import is_encodable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


Schema = Any
"""A JSON schema: an object, or true."""

_UNIONS = ("anyOf", "oneOf")


def kinds(schema: Schema) -> frozenset[str]:
    """Return the JSON types that a value can have besides null; an empty set for any type.

    Also empty for a schema of null alone: the tap has seen no value, so it knows no type.
    """
    found: set[str] = set()
    for branch in _branches(schema):
        types = _types(branch)
        if types is None:
            return frozenset()
        found |= types
    return frozenset(found - {"null"})


def is_whole(schema: Schema) -> bool:
    """Return whether all numbers are integers, though `3.0` may stand for 3."""
    types = kinds(schema)
    return "integer" in types and "number" not in types


def formats(schema: Schema) -> frozenset[str]:
    """Return the formats that texts can have, such as `date-time`."""
    return frozenset(
        str(branch["format"])
        for branch in _branches(schema)
        if "format" in branch and _can_be("string", branch)
    )


def choices(schema: Schema) -> tuple[Any, ...]:
    """Return all values besides null that a schema allows, for a value or the items of an array.

    Empty if the schema does not enumerate them, or if one is not a scalar or can't be sent: NaN,
    or a text with a lone surrogate.
    """
    found: list[Any] = []
    for branch in _branches(schema):
        if kinds(branch) == {"array"}:
            items = branch.get("items", True)
            found += (() if "array" in kinds(items) else choices(items)) or [None]
        elif values := _enumerated(branch):
            found += [value for value in values if value is not None]
        else:
            return ()
    return tuple(dict.fromkeys(found)) if all(map(_is_sendable, found)) else ()


def _is_sendable(value: Any) -> bool:
    if isinstance(value, (float, Decimal)):
        return is_finite(value)
    if isinstance(value, str):
        return is_encodable(value)
    return value is not None and not isinstance(value, (dict, list))


def max_length(schema: Schema) -> int | None:
    """Return the maximum length of texts, in characters; None without a limit."""
    limits = [b.get("maxLength") for b in _branches(schema) if _can_be("string", b)]
    return None if None in limits else max((int(limit) for limit in limits if limit), default=None)


def schema_at(schema: Schema, path: Sequence[str]) -> Schema | None:
    """Return the schema of the value at a path inside an object; None if there can be none."""
    for name in path:
        inner = [
            _member_schema(branch, name)
            for branch in _branches(schema)
            if _can_be("object", branch)
        ]
        found = [one for one in inner if one is not None]
        if not found:
            return None
        schema = found[0] if len(found) == 1 else {"anyOf": found}
    return schema


def spelled_path(schema: Schema, path: Sequence[str]) -> tuple[str, ...] | None:
    """Return a path inside an object in the schema's spelling; None if it can't exist."""
    found: list[str] = []
    for name in path:
        found.append(find_spelling(name, inner_names(schema)) or name)
        schema = schema_at(schema, found[-1:])
        if schema is None:
            return None
    return tuple(found)


def inner_names(schema: Schema) -> set[str]:
    """Return the names of the properties that an object can have, as far as the schema lists."""
    return {one for branch in _branches(schema) for one in branch.get("properties") or {}}


def _member_schema(branch: Mapping[str, Any], name: str) -> Schema | None:
    properties = branch.get("properties") or {}
    if name in properties:
        return properties[name]
    # By JSON Schema an object may have more properties than the schema lists. But taps that list
    # any list all, so another name is a typing error, unless the schema explicitly allows more.
    more = branch.get("additionalProperties", not properties)
    return None if more is False else more


def allows_more(schema: Mapping[str, Any]) -> bool:
    """Return whether the schema of an object explicitly allows properties that it does not list."""
    more = schema.get("additionalProperties", False)
    return more is not False or bool(schema.get("patternProperties"))


def paths(properties: Mapping[str, Schema], depth: int = 5) -> Iterator[str]:
    """Yield the paths of all properties, also inside of objects: `address`, `address.city`."""
    for name, schema in properties.items():
        yield name
        for branch in _branches(schema) if depth > 1 else ():
            for inner in paths(branch.get("properties") or {}, depth - 1):
                yield f"{name}.{inner}"


def _branches(schema: Schema) -> list[dict[str, Any]]:
    """Return the alternatives of a schema. Any value other than null must match one."""
    return [one for one in _flatten_unions(schema) if _types(one) != frozenset({"null"})] or [{}]


def _flatten_unions(schema: Schema) -> Iterator[dict[str, Any]]:
    """Yield the alternatives of a schema. Any value must match one."""
    if not isinstance(schema, dict):
        yield {}
        return
    for union in _UNIONS:
        if schema.get(union):
            rest = {name: rule for name, rule in schema.items() if name != union}
            for branch in schema[union]:
                yield from _flatten_unions({**rest, **branch} if isinstance(branch, dict) else rest)
            return
    yield schema


def _types(branch: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the JSON types of an alternative, including null; None if it allows any."""
    types = branch.get("type")
    if types is not None:
        return frozenset([types] if isinstance(types, str) else types)
    if "enum" in branch or "const" in branch:
        return frozenset(_kind_of(value) for value in _enumerated(branch))
    return None


def _can_be(kind: str, branch: Mapping[str, Any]) -> bool:
    types = _types(branch)
    return types is None or kind in types


def _enumerated(branch: Mapping[str, Any]) -> list[Any]:
    if "const" in branch:
        return [branch["const"]]
    return list(branch.get("enum") or ())


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, types in (("string", str), ("integer", int), ("array", list), ("object", dict)):
        if isinstance(value, types):
            return kind
    return "number"


def is_finite(value: float | Decimal) -> bool:
    """Return whether a number is finite: neither NaN nor infinite."""
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
