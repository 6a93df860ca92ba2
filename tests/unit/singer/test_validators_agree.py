"""The quick validator and jsonschema: they agree, on the official cases and on random records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from target_activecampaign.singer import validation
from target_activecampaign.singer.reader import MessageReader
from target_activecampaign.singer.validation import RecordValidator

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = Path(__file__).with_name("json_schema_test_suite")


def cases() -> Iterator[Any]:
    """Schema, instance and whether that is valid; numbers as the target reads them."""
    for path in sorted(SUITE.glob("*.json")):
        groups: Any = MessageReader().deserialize_json(path.read_bytes())
        for group in groups:
            for test in group["tests"]:
                if isinstance(group["schema"], dict):
                    name = f"{path.stem}: {group['description']}: {test['description']}"
                    yield pytest.param(group["schema"], test["data"], test["valid"], id=name)


CASES = list(cases())


@pytest.mark.parametrize(("schema", "instance", "valid"), CASES)
def test_a_record_is_judged_as_the_official_suite_does(
    schema: dict[str, Any], instance: Any, valid: bool
) -> None:
    assert (RecordValidator(schema, "profiles").problem(instance) is None) == valid
    quick = validation.compiled(schema)
    if quick is not None and quick.is_valid(instance):
        assert valid


def test_most_cases_are_judged_by_the_quick_one() -> None:
    quick = [case for case in CASES if validation.compiled(case.values[0]) is not None]
    assert len(quick) > 0.9 * len(CASES) - 100


@pytest.mark.parametrize(
    "rule",
    [
        {"pattern": "^a"},
        {"patternProperties": {"a": {}}},
        {"$ref": "https://example.com/other.json"},
        {"items": {"$dynamicRef": "#x"}},
    ],
)
def test_what_they_may_understand_differently_is_left_to_jsonschema(rule: dict[str, Any]) -> None:
    assert validation.compiled({"type": "object", "properties": {"a": rule}}) is None


RULES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.sampled_from(
        [
            {"type": ["string", "null"]},
            {"type": "integer"},
            {"type": ["number", "null"], "multipleOf": 0.01},
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1e6},
            {"type": "boolean"},
            {"type": "string", "maxLength": 3},
            {"type": "array", "items": {"type": "string"}, "maxItems": 2},
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            {"enum": ["a", 1, None, True]},
            {},
        ]
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "a", "ab", "abcd", "2024-05-31T18:30:00Z", "😀😀😀", "19.99"])
    | st.decimals(-1000, 1000, places=2).map(float)
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.sampled_from("ab"), SCALARS)


@given(st.dictionaries(st.sampled_from("pqr"), RULES, min_size=1), st.data())
def test_random_records_are_judged_alike(
    properties: dict[str, dict[str, Any]], data: st.DataObject
) -> None:
    schema: Any = {"type": "object", "properties": properties}
    line = msgspec.json.encode(data.draw(st.fixed_dictionaries(dict.fromkeys(properties, VALUES))))
    schema = MessageReader().deserialize_json(msgspec.json.encode(schema))
    record = MessageReader().deserialize_json(line)
    quick = validation.compiled(schema)
    assert quick is not None
    slow = RecordValidator(schema, "profiles")
    judged = quick.is_valid(record)
    slow.quick = None
    assert judged == (slow.problem(record) is None)
    if "number" not in str(schema) and "integer" not in str(schema):
        assert judged == Draft202012Validator(schema).is_valid(record)
