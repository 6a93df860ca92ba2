"""What a property's JSON schema says of its values, as far as mapping asks.

A schema may leave things open, or say them by rules that are not looked into here: then the
answer is that anything may come, and each value is judged when it does.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.names import spelled
from target_activecampaign.text import is_unicode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


Schema = Any
"""A JSON schema: an object, or true."""

_UNIONS = ("anyOf", "oneOf")


def kinds(schema: Schema) -> frozenset[str]:
    """The JSON types that a value can have besides null; empty when it may be any.

    Also empty when it can only be null: a tap that has seen no other value knows no type.
    """
    found: set[str] = set()
    for branch in _branches(schema):
        types = _types(branch)
        if types is None:
            return frozenset()
        found |= types
    return frozenset(found - {"null"})


def is_whole(schema: Schema) -> bool:
    """Whether all numbers are whole ones, though `3.0` may stand for 3."""
    types = kinds(schema)
    return "integer" in types and "number" not in types


def formats(schema: Schema) -> frozenset[str]:
    """The formats that its texts can have, such as `date-time`."""
    return frozenset(
        str(branch["format"])
        for branch in _branches(schema)
        if "format" in branch and _can_be("string", branch)
    )


def choices(schema: Schema) -> tuple[Any, ...]:
    """All values that there can be besides null, for one value or the items of an array.

    Empty when they are not counted up, and when there is one that is no scalar, or can't be
    sent: NaN, or half of a surrogate pair.
    """
    found: list[Any] = []
    for branch in _branches(schema):
        if kinds(branch) == {"array"}:
            items = branch.get("items", True)
            found += (() if "array" in kinds(items) else choices(items)) or [None]
        elif values := _listed(branch):
            found += [value for value in values if value is not None]
        else:
            return ()
    return tuple(dict.fromkeys(found)) if all(map(_is_scalar, found)) else ()


def _is_scalar(value: Any) -> bool:
    if isinstance(value, (float, Decimal)):
        return is_finite(value)
    if isinstance(value, str):
        return is_unicode(value)
    return value is not None and not isinstance(value, (dict, list))


def longest(schema: Schema) -> int | None:
    """The greatest length of its texts, in characters; None when there is no limit."""
    limits = [b.get("maxLength") for b in _branches(schema) if _can_be("string", b)]
    return None if None in limits else max((int(limit) for limit in limits if limit), default=None)


def below(schema: Schema, path: Sequence[str]) -> Schema | None:
    """The schema of what stands at a path inside a value; None when nothing can."""
    for name in path:
        inner = [_member(branch, name) for branch in _branches(schema) if _can_be("object", branch)]
        found = [one for one in inner if one is not None]
        if not found:
            return None
        schema = found[0] if len(found) == 1 else {"anyOf": found}
    return schema


def spelled_path(schema: Schema, path: Sequence[str]) -> tuple[str, ...] | None:
    """A path inside a value as the schema spells its names; None when nothing can be there."""
    found: list[str] = []
    for name in path:
        names = {one for branch in _branches(schema) for one in branch.get("properties") or {}}
        found.append(spelled(name, names) or name)
        schema = below(schema, found[-1:])
        if schema is None:
            return None
    return tuple(found)


def _member(branch: Mapping[str, Any], name: str) -> Schema | None:
    properties = branch.get("properties") or {}
    if name in properties:
        return properties[name]
    # JSON Schema lets an object have more than what is listed. Taps that list its properties
    # list them all, and the name is a slip, unless they say that there can be more.
    more = branch.get("additionalProperties", not properties)
    return None if more is False else more


def says_more(schema: Mapping[str, Any]) -> bool:
    """Return whether the schema of an object says that it can have more than is listed."""
    more = schema.get("additionalProperties", False)
    return more is not False or bool(schema.get("patternProperties"))


def paths(properties: Mapping[str, Schema], depth: int = 5) -> Iterator[str]:
    """The paths of all properties, those inside of objects too: `address`, `address.city`."""
    for name, schema in properties.items():
        yield name
        for branch in _branches(schema) if depth > 1 else ():
            for inner in paths(branch.get("properties") or {}, depth - 1):
                yield f"{name}.{inner}"


def _branches(schema: Schema) -> list[dict[str, Any]]:
    """The schemas of which a value other than null fits at least one."""
    return [one for one in _united(schema) if _types(one) != frozenset({"null"})] or [{}]


def _united(schema: Schema) -> Iterator[dict[str, Any]]:
    """The schemas of which a value fits at least one."""
    if not isinstance(schema, dict):
        yield {}
        return
    for union in _UNIONS:
        if schema.get(union):
            rest = {name: rule for name, rule in schema.items() if name != union}
            for branch in schema[union]:
                yield from _united({**rest, **branch} if isinstance(branch, dict) else rest)
            return
    yield schema


def _types(branch: Mapping[str, Any]) -> frozenset[str] | None:
    """The JSON types of a branch, null too; None when it leaves them open."""
    types = branch.get("type")
    if types is not None:
        return frozenset([types] if isinstance(types, str) else types)
    if "enum" in branch or "const" in branch:
        return frozenset(_kind_of(value) for value in _listed(branch))
    return None


def _can_be(kind: str, branch: Mapping[str, Any]) -> bool:
    types = _types(branch)
    return types is None or kind in types


def _listed(branch: Mapping[str, Any]) -> list[Any]:
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
    """Return whether a number is one: neither NaN nor an infinity."""
    return value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
