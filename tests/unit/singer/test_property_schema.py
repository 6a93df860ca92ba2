"""Questions about the JSON schemas of real taps' properties."""

from __future__ import annotations

from typing import Any

import pytest

from target_activecampaign.singer.json_schema import (
    choices,
    formats,
    is_whole,
    kinds,
    max_length,
    paths,
    schema_at,
)

DATE_TIME = {"type": "string", "format": "date-time"}
NULL = {"type": "null"}
SALESFORCE = {"anyOf": [DATE_TIME, {"type": ["string", "null"]}]}
"""How tap-salesforce and others write a date-time that may fail to be one."""

SIZE = {"type": ["string", "null"], "enum": ["S", "M", None]}
ADDRESS = {
    "type": ["object", "null"],
    "properties": {
        "city": {"type": ["string", "null"]},
        "country": {"type": "object", "properties": {"code": {"type": "string"}}},
        "tags": {"type": "array", "items": {"type": "object", "properties": {"x": {}}}},
    },
}


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"type": "string"}, {"string"}),
        ({"type": ["null", "string"]}, {"string"}),
        ({"type": ["string", "integer", "null"]}, {"string", "integer"}),
        ({"type": ["object"], "properties": {}}, {"object"}),
        ({"anyOf": [{"type": "string"}, NULL]}, {"string"}),
        ({"oneOf": [NULL, {"type": "number"}, {"type": "string"}]}, {"number", "string"}),
        ({"anyOf": [{"anyOf": [{"type": "integer"}, NULL]}, {"type": "array"}]},
         {"integer", "array"}),
        ({"anyOf": [{"oneOf": [{"type": "boolean"}, NULL]}], "oneOf": [{"minimum": 1}]},
         {"boolean"}),
        ({"type": ["string", "null"], "anyOf": [{"format": "date"}, {}]}, {"string"}),
        ({"type": "string", "anyOf": [{"minLength": 1}, True]}, {"string"}),
        (SALESFORCE, {"string"}),
        (SIZE, {"string"}),
        ({"enum": ["a", None]}, {"string"}),
        ({"enum": ["a", 1, 1.5, True, {}, [], None]},
         {"string", "integer", "number", "boolean", "object", "array"}),
        ({"const": "a"}, {"string"}),
        ({"const": True}, {"boolean"}),
    ],
)  # fmt: skip
def test_kinds_of_a_schema(schema: Any, types: set[str]) -> None:
    assert kinds(schema) == types


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        None,
        {"description": "anything"},
        {"$ref": "#/definitions/address"},
        {"anyOf": [{"$ref": "#/definitions/address"}, NULL]},
        {"anyOf": [{"type": "string"}, {}]},
        {"anyOf": [{"type": "string"}, True]},
        {"allOf": [{"type": "string"}]},
        NULL,
        {"type": ["null"]},
        {"const": None},
        {"enum": [None]},
    ],
)
def test_kinds_is_empty_for_open_schemas(schema: Any) -> None:
    assert kinds(schema) == frozenset()
    assert not is_whole(schema)
    assert choices(schema) == ()


@pytest.mark.parametrize(
    ("schema", "whole"),
    [
        ({"type": ["integer", "null"]}, True),
        ({"type": ["integer", "string"]}, True),
        ({"anyOf": [{"type": "integer"}, NULL]}, True),
        ({"enum": [1, 2, None]}, True),
        ({"type": "number"}, False),
        ({"type": ["integer", "number"]}, False),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, False),
        ({"enum": [1, 2.5]}, False),
        ({"type": "boolean"}, False),
        ({"type": "string"}, False),
        ({"type": "array", "items": {"type": "integer"}}, False),
    ],
)
def test_is_whole(schema: Any, whole: bool) -> None:
    assert is_whole(schema) is whole


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (DATE_TIME, {"date-time"}),
        ({"type": ["string", "null"], "format": "date"}, {"date"}),
        ({"anyOf": [DATE_TIME, NULL]}, {"date-time"}),
        ({"format": "date-time", "anyOf": [{"type": "string"}, NULL]}, {"date-time"}),
        (SALESFORCE, {"date-time"}),
        ({"oneOf": [DATE_TIME, {"type": "string", "format": "date"}]}, {"date-time", "date"}),
        ({"format": "email"}, {"email"}),
        ({"type": "integer", "format": "int64"}, set()),
        ({"anyOf": [{"type": "null", "format": "date"}, {"type": "string"}]}, set()),
        ({"type": "string"}, set()),
        ({}, set()),
        (True, set()),
    ],
)
def test_formats_of_texts(schema: Any, found: set[str]) -> None:
    assert formats(schema) == found


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (SIZE, ("S", "M")),
        ({"enum": ["S", None, "M", "S"]}, ("S", "M")),
        ({"const": "S"}, ("S",)),
        ({"type": ["string", "null"], "const": "S"}, ("S",)),
        ({"type": "integer", "enum": [1, 2]}, (1, 2)),
        ({"type": ["boolean", "string"], "enum": [True, "no"]}, (True, "no")),
        ({"anyOf": [SIZE, NULL]}, ("S", "M")),
        ({"oneOf": [{"const": "S"}, {"const": "M"}, {"const": None}]}, ("S", "M")),
        ({"type": "array", "items": SIZE}, ("S", "M")),
        ({"type": ["array", "null"], "items": {"enum": ["S"]}}, ("S",)),
        ({"anyOf": [{"type": "array", "items": SIZE}, {"const": "L"}]}, ("S", "M", "L")),
    ],
)
def test_choices_of_a_schema(schema: Any, found: tuple[Any, ...]) -> None:
    assert choices(schema) == found


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "boolean"},
        {"type": "object", "properties": {"size": SIZE}},
        {"type": "array"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": [SIZE]},
        {"type": "array", "items": {"type": "array", "items": SIZE}},
        {"type": ["array", "string"], "items": SIZE},
        {"anyOf": [SIZE, {"type": "string"}]},
        {"anyOf": [SIZE, {}]},
        {"anyOf": [SIZE, {"type": "array"}]},
        {"enum": ["S", {"size": "M"}]},
        {"enum": ["S", ["M"]]},
    ],
)
def test_choices_is_empty_for_open_schemas(schema: Any) -> None:
    assert choices(schema) == ()


@pytest.mark.parametrize(
    ("schema", "length"),
    [
        ({"type": "string", "maxLength": 80}, 80),
        ({"type": ["string", "null"], "maxLength": 80}, 80),
        ({"maxLength": 80}, 80),
        ({"anyOf": [{"type": "string", "maxLength": 4000}, NULL]}, 4000),
        ({"anyOf": [{"type": "string", "maxLength": 80}, {"type": "integer"}]}, 80),
        ({"oneOf": [{"type": "string", "maxLength": n} for n in (80, 4000, 20)]}, 4000),
        ({"anyOf": [{"type": "string", "maxLength": 80}, {"type": "string"}]}, None),
        ({"type": "string"}, None),
        ({"type": "integer"}, None),
        ({}, None),
        (True, None),
    ],
)
def test_max_length_of_texts(schema: Any, length: int | None) -> None:
    assert max_length(schema) == length


@pytest.mark.parametrize(
    ("schema", "path", "found"),
    [
        (ADDRESS, (), ADDRESS),
        (ADDRESS, ("city",), {"type": ["string", "null"]}),
        (ADDRESS, ("country", "code"), {"type": "string"}),
        ({"anyOf": [ADDRESS, NULL]}, ("city",), {"type": ["string", "null"]}),
        ({"anyOf": [ADDRESS, {"type": "string"}]}, ("country", "code"), {"type": "string"}),
        ({"properties": {"city": SIZE}}, ("city",), SIZE),
        ({"type": "object", "properties": {"city": True}}, ("city",), True),
        (
            {"oneOf": [{"properties": {"city": city}} for city in (DATE_TIME, SIZE)]},
            ("city",),
            {"anyOf": [DATE_TIME, SIZE]},
        ),
        ({"additionalProperties": {"type": "string"}}, ("city",), {"type": "string"}),
        ({**ADDRESS, "additionalProperties": {"type": "string"}}, ("zip",), {"type": "string"}),
        ({**ADDRESS, "additionalProperties": SIZE}, ("country", "code"), {"type": "string"}),
    ],
)  # fmt: skip
def test_schema_at_path(schema: Any, path: tuple[str, ...], found: Any) -> None:
    assert schema_at(schema, path) == found


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": ["object", "null"]},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": True},
        {"$ref": "#/definitions/address"},
        NULL,
        {"type": ["null"]},
        {**ADDRESS, "additionalProperties": True},
        {**ADDRESS, "additionalProperties": {}},
        {"anyOf": [ADDRESS, {"type": "object"}]},
        {"anyOf": [ADDRESS, {}]},
    ],
)
def test_schema_at_unlisted_property_of_open_object(schema: Any) -> None:
    for path in (("zip",), ("zip", "code")):
        inner = schema_at(schema, path)
        assert inner is not None
        assert kinds(inner) == frozenset()


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (ADDRESS, ("zip",)),
        (ADDRESS, ("city", "name")),
        (ADDRESS, ("country", "code", "x")),
        (ADDRESS, ("tags", "x")),
        ({"anyOf": [ADDRESS, NULL]}, ("zip",)),
        ({"anyOf": [ADDRESS, {"type": "string"}]}, ("zip",)),
        ({**ADDRESS, "additionalProperties": False}, ("zip",)),
        ({"type": "object", "additionalProperties": False}, ("city",)),
        ({"type": ["string", "null"]}, ("city",)),
        ({"enum": ["a"]}, ("city",)),
        ({"type": "array", "items": ADDRESS}, ("city",)),
    ],
)
def test_schema_at_impossible_path_is_none(schema: Any, path: tuple[str, ...]) -> None:
    assert schema_at(schema, path) is None


def test_paths_of_a_stream() -> None:
    properties = {
        "email": {"type": "string"},
        "address": {"anyOf": [ADDRESS, NULL]},
        "free": {"type": "object"},
        "any": True,
        "dotted.name": {},
    }
    assert list(paths(properties)) == [
        "email",
        "address",
        "address.city",
        "address.country",
        "address.country.code",
        "address.tags",
        "free",
        "any",
        "dotted.name",
    ]


def test_paths_end_at_maximum_depth() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(9):
        schema = {"type": "object", "properties": {"a": schema}}
    assert list(paths({"a": schema}, depth=3)) == ["a", "a.a", "a.a.a"]
