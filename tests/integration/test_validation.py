"""`validate_records`: records held against the schema that the tap announced."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA, BEN = "ada@example.com", "ben@example.com"
PHONE = {"type": "object", "properties": {"phone": {"type": "string"}}}
FLATTENING = {"flattening_enabled": True, "flattening_max_depth": 1}


def ruled(rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """A SCHEMA message with rules for the whole record."""
    message = schema(**properties)
    message["schema"].update(rules)
    return message


def with_number(number: str, email: str = ADA) -> str:
    """A RECORD message whose number is spelt as given."""
    message = record(email, lifetime_value=0)
    return json.dumps(message).replace('"lifetime_value": 0', f'"lifetime_value": {number}')


def fields(sandbox: SandboxServer, email: str = ADA) -> dict[str, str]:
    found: dict[str, str] = sandbox.contacts()[email]["fields"]
    return found


def problem(outcome: Outcome) -> str:
    """Why a run was refused before its first record."""
    assert outcome.code == 1
    assert outcome.counts == {}
    return str(outcome.report["problem"])


# Numbers


@pytest.mark.parametrize(
    ("step", "multiple", "none"),
    [
        (0.01, "19.99", "19.995"),
        (0.01, "1234567890.07", "1234567890.071"),
        (0.1, "0.3", "0.35"),
        (1e-38, "1.5", "1.5e-39"),
        (1e-38, "15", "15e-40"),
        (1e-38, "123456789012.5", "5e-40"),
        (5, "1e30", "1e-30"),
    ],
)
def test_multiples_are_told_from_other_numbers_by_their_digits(
    load: TargetRunner, step: float, multiple: str, none: str
) -> None:
    number = {"type": ["number", "null"], "multipleOf": step}
    messages: list[Any] = [schema(lifetime_value=number)]
    messages += [with_number(multiple), with_number(none, BEN)]

    outcome = load(messages).succeeded()

    assert outcome.counts == {"read": 2, "added": 1, "invalid": 1}
    assert outcome.codes == {BEN: "RECORD_INVALID"}
    assert outcome.rejects[0]["_reject_reason"] == (
        "'lifetime_value' breaks the schema's rule 'multipleOf'."
    )


def test_keys_that_a_schema_does_not_name_are_data_and_not_told(load: TargetRunner) -> None:
    friends = {"type": "object", "additionalProperties": {"type": "array", "items": PHONE}}
    calls = {"herbert.miller@corp.example": [{"phone": "1"}, {"phone": 2}]}

    outcome = load([schema(friends=friends), record(BEN, friends=calls)]).succeeded()

    reason = "'friends.*.1.phone' breaks the schema's rule 'type'."
    assert outcome.rejects[0]["_reject_reason"] == reason
    (example,) = outcome.report["samples"]["rejects"]["RECORD_INVALID"]
    assert example["reason"] == reason


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_can_be_no_multiple_is_refused_and_the_run_goes_on(
    load: TargetRunner, number: str
) -> None:
    step = {"type": ["number", "null"], "multipleOf": 0.01}
    messages: list[Any] = [schema(lifetime_value=step)]
    messages += [with_number(number), with_number("1.5", BEN)]

    outcome = load(messages).succeeded()

    assert outcome.counts == {"read": 2, "added": 1, "invalid": 1}
    assert outcome.codes == {ADA: "RECORD_INVALID"}


# References


@pytest.mark.parametrize(
    "reference", ["#/definitions/none", "#none", "other.json", "{url}/schema.json"]
)
def test_a_reference_that_leads_nowhere_is_an_error_and_fetches_nothing(
    sandbox: SandboxServer, load: TargetRunner, reference: str
) -> None:
    tier = {"$ref": reference.format(url=sandbox.url)}

    outcome = load([schema(tier=tier), record(ADA, tier="Gold")])

    assert outcome.code == 1
    assert outcome.report["problem"] == (
        "The schema of stream 'profiles' has a '$ref' that leads nowhere: fix the tap or its "
        "catalog."
    )
    assert not sandbox.requests(path="/schema.json")
    assert not sandbox.export()


def test_a_property_that_refers_to_itself_says_nothing(load: TargetRunner) -> None:
    tier = {"$ref": "#/properties/tier"}
    outcome = load([schema(tier=tier), record(ADA, tier="Gold"), record(BEN)]).succeeded()
    assert outcome.counts == {"read": 2, "added": 2}


def test_nor_does_one_that_only_jsonschema_can_judge_end_the_run(load: TargetRunner) -> None:
    tier = {"$ref": "#/properties/tier", "pattern": "G"}
    outcome = load([schema(tier=tier), record(ADA, tier="Gold"), record(BEN)]).succeeded()
    assert outcome.counts == {"read": 2, "added": 1, "invalid": 1}
    assert outcome.codes == {ADA: "RECORD_INVALID"}


@pytest.mark.parametrize("reference", ["#/properties/city", "#/definitions/text"])
@pytest.mark.parametrize("maps", [{}, {"city": "email.upper()"}], ids=["plain", "computed"])
def test_a_reference_within_the_schema_is_followed(
    sandbox: SandboxServer, load: TargetRunner, reference: str, maps: dict[str, str]
) -> None:
    text = {"type": ["string", "null"]}
    head = ruled({"definitions": {"text": text}}, city=text, notes={"$ref": reference})
    messages = [head, record(ADA, city="Oslo", notes="x"), record(BEN, city="Oslo", notes=7)]

    outcome = load(messages, stream_maps={"profiles": maps}).succeeded()

    assert fields(sandbox)["NOTES"] == "x"
    # What is computed may be anything, and so may what refers to it.
    computed = bool(maps) and reference.endswith("city")
    assert outcome.codes == ({} if computed else {BEN: "RECORD_INVALID"})


# Stream maps and flattening


def test_what_is_computed_breaks_no_rule_that_allows_no_other_properties(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    head = ruled({"additionalProperties": False}, points="integer")
    messages = [head, record(ADA, points=3), record(BEN, points=3, other="x")]
    maps = {"profiles": {"loyalty_points": "points * 10"}}

    outcome = load(messages, stream_maps=maps).succeeded()

    assert fields(sandbox) == {"LOYALTY_POINTS": "30"}
    assert outcome.codes == {BEN: "RECORD_INVALID"}


@pytest.mark.parametrize("literal", ["True", "False", "None"])
def test_a_word_of_python_is_computed_too(
    sandbox: SandboxServer, load: TargetRunner, literal: str
) -> None:
    maps = {"profiles": {"notes": literal}}
    load([schema(), record(ADA)], stream_maps=maps).succeeded()
    held = {} if literal == "None" else {"NOTES": literal.lower()}
    assert fields(sandbox) == held


def test_what_one_stream_computes_is_checked_in_another_of_the_same_source(
    load: TargetRunner,
) -> None:
    maps = {
        "profiles": {"loyalty_points": "loyalty_points"},
        "vip": {"__source__": "profiles", "loyalty_points": "'7'"},
    }
    messages = [schema(loyalty_points="integer"), record(ADA, loyalty_points="8")]

    outcome = load(messages, stream_maps=maps).succeeded()

    counts = {name: one["counts"] for name, one in outcome.report["streams"].items()}
    assert (counts["profiles"]["invalid"], counts["vip"]["added"]) == (1, 1)
    assert outcome.rejects[0]["_reject_reason"] == (
        "'loyalty_points' breaks the schema's rule 'type'."
    )


@pytest.mark.parametrize(
    "rules",
    [
        {"required": ["address"]},
        {"additionalProperties": False},
        {"required": ["email", "address"]},
    ],
)
def test_rules_about_an_object_do_not_hold_for_its_flattened_parts(
    sandbox: SandboxServer, load: TargetRunner, rules: dict[str, Any]
) -> None:
    address = {"type": "object", "properties": {"city": {"type": "string"}}}
    messages = [ruled(rules, address=address), record(ADA, address={"city": "Oslo"})]

    load(messages, field_mapping={"address__city": "CITY"}, **FLATTENING).succeeded()

    assert fields(sandbox) == {"CITY": "Oslo"}


def test_what_is_required_stays_so_where_flattening_leaves_it(load: TargetRunner) -> None:
    head = ruled({"required": ["tier"]}, tier="string")
    outcome = load([head, record(ADA)], **FLATTENING).succeeded()
    assert outcome.codes == {ADA: "RECORD_INVALID"}


# Schemas of any form

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "not validated": {"validate_records": False},
    "mapped": {"stream_maps": {"profiles": {"notes": "email"}}},
    "flattened": FLATTENING,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_property_of_which_nothing_is_said_may_be_anything(
    sandbox: SandboxServer, load: TargetRunner, way: str
) -> None:
    address = {"type": "object", "properties": {"city": True}}
    messages = [
        schema(tier=True, email=True, interests={"type": "array", "items": True}, address=address),
        record(ADA, tier="Gold", interests=["Tea"], address={"city": "Oslo"}),
    ]

    load(messages, **WAYS[way]).succeeded()

    copied = {"NOTES": ADA} if way == "mapped" else {}
    assert fields(sandbox) == {"TIER": "Gold", "INTERESTS": "||Tea||", **copied}


@pytest.mark.parametrize("way", ["plain", "mapped"])
def test_a_property_that_may_be_nothing_is_refused(load: TargetRunner, way: str) -> None:
    messages = [schema(tier=False), record(ADA, tier="Gold"), record(BEN)]
    outcome = load(messages, **WAYS[way]).succeeded()
    assert outcome.codes == {ADA: "RECORD_INVALID"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ([1], "properties.tier"),
        (None, "properties.tier"),
        ({"type": [{"type": "string"}]}, "properties.tier.type"),
        ({"enum": 5}, "properties.tier.enum"),
        ({"anyOf": 5}, "properties.tier.anyOf"),
        ({"type": "object", "properties": [1]}, "properties.tier.properties"),
        ({"type": "string", "pattern": "("}, "properties.tier.pattern"),
    ],
)
def test_what_is_no_schema_is_told_before_the_first_record(
    sandbox: SandboxServer, load: TargetRunner, way: str, broken: Any, where: str
) -> None:
    outcome = load([schema(tier=broken), record(ADA, tier="Gold")], **WAYS[way])
    assert problem(outcome) == (
        f"The schema of stream 'profiles' is not a JSON schema (at {where}): fix the tap or its "
        "catalog."
    )
    assert not sandbox.requests()


@pytest.mark.parametrize("whole", [{}, {"properties": None}, {"type": "object", "properties": [1]}])
def test_a_schema_without_properties_is_told_too(load: TargetRunner, whole: Any) -> None:
    outcome = load([{**schema(), "schema": whole}, record(ADA)], validate_records=False)
    assert problem(outcome) == (
        "The schema of stream 'profiles' has no properties: fix the tap or its catalog."
    )


@pytest.mark.parametrize(
    ("described", "value", "arrives"),
    [
        ({}, 5, "5"),
        (True, 5, "5"),
        ({"const": 3}, 3, "3"),
        ({"enum": ["Gold", None]}, "Gold", "Gold"),
        ({"enum": [1, 2]}, 2, "2"),
        ({"$ref": "#/properties/points"}, 4, "4"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5, "5"),
        ({"anyOf": [{"type": "null"}, {"type": "number"}]}, 5.5, "5.5"),
        ({"anyOf": [{"type": ["boolean", "null"]}]}, True, "true"),
        ({"anyOf": [True, {"type": "string"}]}, 5, "5"),
        ({"anyOf": [{"$ref": "#/properties/points"}, {"type": "null"}]}, 5, "5"),
        ({"oneOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, "2024-05-31", None),
    ],
)
def test_a_property_without_a_type_arrives_when_flattened(
    sandbox: SandboxServer, load: TargetRunner, described: Any, value: Any, arrives: str | None
) -> None:
    inner = {"type": "object", "properties": {"nick": described}}
    types = {"nick": described, "points": "integer", "home": inner}
    values = {"nick": value, "home": {"nick": value}}
    mapping = {"nick": "NOTES", "home__nick": "CITY"}
    load([schema(**types), record(ADA, **values)], field_mapping=mapping, **FLATTENING).succeeded()
    (ada,) = sandbox.export()
    assert ada["fields"] == dict.fromkeys(("NOTES", "CITY"), arrives or value)


def test_a_rule_of_a_property_without_a_type_holds_when_flattened(load: TargetRunner) -> None:
    described = schema(nick={"enum": ["a", "b"]})
    outcome = load([described, record(ADA, nick="c")], max_reject_pct=None, **FLATTENING)
    assert outcome.succeeded().counts == {"read": 1, "invalid": 1}


@pytest.mark.parametrize(
    "properties",
    [
        {"tier": {"enum": [["Gold"], None]}},
        {"address": {"type": "object", "properties": {"city": {}}}, "address__city": "string"},
    ],
    ids=["an enum of arrays", "a name twice"],
)
def test_a_schema_that_the_sdk_cannot_flatten_is_a_sentence(
    load: TargetRunner, properties: dict[str, Any]
) -> None:
    outcome = load([schema(**properties), record(ADA)], **FLATTENING)
    assert problem(outcome) == (
        "The SDK can't flatten the schema of stream 'profiles'. Remove 'flattening_enabled': "
        "paths in 'field_mapping' work without it."
    )
    load([schema(**properties), record(ADA)]).succeeded()
