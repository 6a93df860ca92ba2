"""`unmapped_properties`: unmapped properties are ignored, refused, or get new fields."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import BULK, QUICK_RETRIES, CustomFields
from tests.support.fork_server import ForkServer
from tests.support.mirrors import IMPORT, wait_for
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
FIELDS = "/api/3/fields"
SIZES = {"type": ["string", "null"], "enum": ["small", "large", None]}
CREATE = {"unmapped_properties": "create"}
MOMENT = replace(QUICK_RETRIES, options_delay_seconds=0.6)


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    return ForkServer(MOMENT)


@pytest.fixture
def fields(sandbox: SandboxServer) -> CustomFields:
    return CustomFields(sandbox)


def values(sandbox: SandboxServer, email: str = ADA) -> dict[str, str]:
    """What someone's fields hold, by tag."""
    found: dict[str, str] = sandbox.contacts()[email]["fields"]
    return found


def told(log: str, words: str) -> list[str]:
    """The lines of a log that have some words."""
    return [line.rpartition(" | ")[2] for line in log.splitlines() if words in line]


# Ignored


def test_unmapped_properties_are_logged_once(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    before = fields.titles()
    messages = [
        schema(shoe="string", pets="integer", city="string"),
        *(record(f"a{n}@example.com", shoe="x", pets=1, city="Oslo") for n in range(3)),
    ]
    outcome = load(messages).succeeded()
    assert told(outcome.log, "ignores:") == ["Stream 'profiles' ignores: shoe, pets."]
    assert outcome.report["streams"]["profiles"]["ignored"] == ["shoe", "pets"]
    assert values(sandbox, "a0@example.com") == {"CITY": "Oslo"}
    assert fields.titles() == before


# Refused


def test_fail_refuses_stream_with_unmapped_properties(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [schema(shoe="string", pets="integer", city="string"), record(ADA, shoe="x")]

    outcome = load(messages, unmapped_properties="fail")

    assert outcome.code == 1
    assert outcome.counts == {}
    assert outcome.report["problem"] == (
        "Stream 'profiles' has unmapped properties: 'shoe', 'pets'. Map each in 'field_mapping' to "
        "its destination, or to 'ignore'."
    )
    assert not sandbox.export()
    mended = {"shoe": "ignore", "pets": "NOTES"}
    load(messages, unmapped_properties="fail", field_mapping=mended).succeeded()


def test_metadata_properties_get_no_field(load: TargetRunner, fields: CustomFields) -> None:
    before = fields.titles()
    messages = [schema(_sdc_extracted_at="string"), record(ADA, _sdc_extracted_at="2026-01-01")]
    for policy in ("fail", "create"):
        load(messages, unmapped_properties=policy).succeeded()
    assert fields.titles() == before


# Made


@pytest.mark.parametrize(
    ("property_schema", "kind", "options", "value", "held"),
    [
        ({"type": "string"}, "text", [], "x", "x"),
        ({"type": ["string", "null"], "maxLength": 80}, "text", [], "x", "x"),
        ({"type": "string", "maxLength": 4000}, "textarea", [], "x", "x"),
        ({"type": "string", "format": "date"}, "date", [], "2026-01-02", "2026-01-02"),
        (
            {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            *("datetime", [], "2026-01-02T03:04:05Z", "2026-01-01T21:04:05-06:00"),
        ),
        ({"type": ["null", "integer"]}, "number", [], 7, "7"),
        ({"type": "number"}, "number", [], 7.5, "7.5"),
        ({"type": "boolean"}, "dropdown", ["true", "false"], True, "true"),
        (SIZES, "dropdown", ["small", "large"], "large", "large"),
        ({"enum": [1, 2, None]}, "dropdown", ["1", "2"], 2, "2"),
        (
            {"type": "array", "items": {"enum": ["a", "b"]}},
            *("listbox", ["a", "b"], ["b", "a"], "||b||a||"),
        ),
        ({"type": "array", "items": {"type": "string"}}, "textarea", [], ["x", "y"], "x, y"),
        ({"type": "object"}, "textarea", [], {"x": 1}, '{"x":1}'),
        ({"enum": ["a||b", "c"]}, "text", [], "a||b", "a||b"),
        ({"enum": [f"{n}" for n in range(101)]}, "text", [], "7", "7"),
        ({"type": ["string", "integer"]}, "text", [], 7, "7"),
        ({}, "textarea", [], 7, "7"),
    ],
)
def test_create_makes_field_of_fitting_type_and_fills_it(  # noqa: PLR0917 - what a case is
    sandbox: SandboxServer,
    load: TargetRunner,
    property_schema: dict[str, Any],
    kind: str,
    options: list[str],
    value: Any,
    held: str,
) -> None:
    load([schema(shoeSize=property_schema), record(ADA, shoeSize=value)], **CREATE).succeeded()

    fields = CustomFields(sandbox)
    assert (fields.type("Shoe size"), fields.options("Shoe size")) == (kind, options)
    assert values(sandbox) == {"SHOE_SIZE": held}


def test_created_fields_show_on_the_list_and_are_created_once(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    messages = [schema(shoe_size=SIZES, pets="integer"), record(ADA, shoe_size="small", pets=2)]
    before = fields.titles()

    outcome = load(messages, list_id="VIP customers", **CREATE).succeeded()

    assert fields.titles() - before == {"Shoe size", "Pets"}
    assert fields.lists("Shoe size") == fields.lists("Pets") == ["2"]
    assert told(outcome.log, "Created") == [
        "Created the custom field 'Shoe size' (%SHOE_SIZE%).",
        "Created the custom field 'Pets' (%PETS%).",
    ]
    assert outcome.report["streams"]["profiles"]["mapping"]["pets"] == {
        "destination": "%PETS%",
        "title": "Pets",
        "type": "number",
    }
    assert values(sandbox) == {"SHOE_SIZE": "small", "PETS": "2"}

    asked = len(sandbox.requests(method="POST"))
    for auto_map in (True, False):
        names = {"email": "email", "first_name": "first_name"}
        again = load(
            messages, list_id=2, auto_map=auto_map, field_mapping=names, **CREATE
        ).succeeded()
        assert again.counts == {"read": 1, "unchanged": 1}
        assert not again.warnings
    assert len(sandbox.requests(method="POST")) == asked


def test_create_works_without_auto_map(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    messages = [schema(city="string", pets=SIZES), record(ADA, city="Oslo", pets="large")]
    settings = {"auto_map": False, "field_mapping": {"email": "email", "first_name": "ignore"}}
    before = fields.titles()

    load(messages, **settings, **CREATE).succeeded()

    assert fields.titles() - before == {"Pets"}, "the account has a field for the city"
    assert values(sandbox) == {"CITY": "Oslo", "PETS": "large"}


def test_create_accepts_names_of_any_kind(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    names = ["größe", "日本", "🎁", "🎂", "loyalty-level", "id:3", "HTTPStatus"]
    properties: dict[str, Any] = dict.fromkeys(names, "string")
    values_there: dict[str, Any] = dict(zip(names, names, strict=True))
    messages = [schema(**properties), record(ADA, **values_there)]
    before = fields.titles()

    for counted in ("added", "unchanged"):
        assert load(messages, **CREATE).succeeded().counts == {"read": 1, counted: 1}

    titles = {"Größe", "日本", "🎁", "🎂", "Loyalty-level", "Id:3", "Httpstatus"}
    assert fields.titles() - before == titles
    assert set(values(sandbox).values()) == set(names)


def test_streams_share_a_created_field(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    messages = [
        schema("news", shoe_size=SIZES),
        record("n@example.com", "news", shoe_size="small"),
        schema("vip", shoeSize=SIZES),
        record("v@example.com", "vip", shoeSize="large"),
        schema("lost", shoe_size=SIZES),
        record("l@example.com", "lost", shoe_size="large"),
    ]
    own = {"vip": CREATE, "news": CREATE}

    outcome = load(messages, streams=own).succeeded()

    assert fields.held("Shoe size") == ["large", "small", "large"]
    assert len(told(outcome.log, "Created")) == 1
    assert fields.options("Shoe size") == ["small", "large"]


@pytest.mark.parametrize("auto_map", [True, False])
def test_next_run_adds_missing_options_of_created_field(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields, auto_map: bool
) -> None:
    messages = [schema(size=SIZES, tea="boolean"), record(ADA, size="small", tea=True)]
    settings = {**CREATE, "auto_map": auto_map, "field_mapping": {"email": "email"}}
    sandbox.fault("forbidden", match={"path": BULK})
    assert load(messages, **settings).code == 1
    assert (fields.type("Size"), fields.options("Size")) == ("dropdown", [])
    sandbox.clear_faults()

    outcome = load(messages, **settings).succeeded()

    assert told(outcome.log, "Added the missing") == [
        "Added the missing options of the custom field 'Size' (%SIZE%)."
    ]
    assert fields.options("Size") == ["small", "large"]
    assert values(sandbox) == {"SIZE": "small", "TEA": "true"}


@pytest.mark.parametrize("path", [FIELDS, BULK, "/api/3/fieldRels"])
@pytest.mark.parametrize("takes_effect", [True, False])
def test_nothing_is_created_twice_if_an_answer_is_lost(
    sandbox: SandboxServer, load: TargetRunner, path: str, takes_effect: bool
) -> None:
    how = {"match": {"path": path, "method": "POST"}, "times": 1, "takes_effect": takes_effect}
    sandbox.fault("reset", **how)

    load([schema(size=SIZES), record(ADA, size="small")], **CREATE).succeeded()

    fields = CustomFields(sandbox)
    assert fields.options("Size") == ["small", "large"]
    assert set(fields.lists("Size")) == {"1"}
    assert values(sandbox) == {"SIZE": "small"}


def test_field_created_by_another_process_is_used(
    sandbox: SandboxServer, load: ForkedTargetRunner, fields: CustomFields
) -> None:
    sandbox.fault("slow", match={"path": FIELDS, "method": "POST"}, seconds=0.5, times=1)
    running = load.start([schema(size=SIZES), record(ADA, size="small")], **CREATE)
    wait_for(lambda: sandbox.faults()[0]["fired"] == 1)  # it has read the fields by now
    other = fields.add("Size", "dropdown")
    wait_for(lambda: bool(sandbox.requests(path=FIELDS, status=422)))
    fields.add_options(other, "small", "large")

    outcome = running.wait().succeeded()

    assert fields.options("Size") == ["small", "large"]
    assert values(sandbox) == {"SIZE": "small"}
    assert not told(outcome.log, "Created")


# What can't be made


@pytest.mark.parametrize(
    ("properties", "settings", "said"),
    [
        (
            {"tier": "string", "level": "string"},
            {"field_mapping": {"level": "TIER"}},
            "no field can be created for property 'tier', as 'level' is mapped to the field of its "
            "name, 'Tier'.",
        ),
        (
            {"shoe_size": "string", "shoeSize": "string", "new": "string"},
            {},
            "no field can be created for property 'shoeSize', as 'shoe_size' is mapped to the "
            "field of its name",
        ),
        (
            {"new": "string", "birthday": "object"},
            {},
            "property 'birthday' is of type object, which %BIRTHDAY% (type date) can't hold",
        ),
        (
            {"new": "string", "basket": "object"},
            {"on_object": "refuse"},
            "property 'basket' is of type object, and 'on_object' is 'refuse'",
        ),
    ],
)
def test_property_that_can_have_no_field_fails_before_any_is_created(
    load: TargetRunner,
    fields: CustomFields,
    properties: dict[str, Any],
    settings: dict[str, Any],
    said: str,
) -> None:
    before = fields.titles()
    outcome = load([schema(**properties), record(ADA)], **CREATE, **settings)
    assert outcome.code == 1
    problem = outcome.report["problem"]
    assert problem.startswith(f"Stream 'profiles': {said}"), problem
    assert "or to 'ignore'." in problem
    assert fields.titles() == before
    ignored = {name: "ignore" for name in properties if f"'{name}'" in said.partition(",")[0]}
    mended = {**settings, "field_mapping": {**settings.get("field_mapping", {}), **ignored}}
    load([schema(**properties), record(ADA)], **CREATE, **mended).succeeded()


def test_field_refused_by_activecampaign_is_an_error_with_advice(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("invalid", match={"path": FIELDS, "method": "POST"})
    outcome = load([schema(shoe_size="string"), record(ADA)], **CREATE)
    assert outcome.code == 1
    problem = outcome.report["problem"]
    assert problem == (
        "Stream 'profiles': ActiveCampaign refuses to create the custom field 'Shoe size' of type "
        "text for property 'shoe_size'. Map the property in 'field_mapping' to another "
        "destination, or to 'ignore'."
    )
    assert not sandbox.requests(path=IMPORT)


def test_key_without_permission_for_fields_is_an_error_with_advice(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("permission", match={"path": FIELDS, "method": "POST"})
    outcome = load([schema(shoe_size="string"), record(ADA)], **CREATE)
    assert outcome.code == 1
    assert "Give the user's group access" in outcome.report["problem"]


# Shown


def test_created_field_shows_on_lists_of_all_streams_with_the_property(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    first = [schema("a", shoe="string"), record(ADA, "a", shoe="x")]
    second = [schema("b", shoe="string"), record(ADA, "b", shoe="x")]
    own = {"a": {"list_id": 1}, "b": {"list_id": 2}}
    load([*first, *second], **CREATE, streams=own).succeeded()
    assert fields.lists("Shoe") == ["1", "2"]

    load([*first, *second], **CREATE, streams={**own, "b": {"list_id": 3}}).succeeded()
    assert fields.lists("Shoe") == ["1", "2", "3"]


def test_next_run_shows_created_field_on_missing_list(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    sandbox.post(FIELDS, {"field": {"title": "Shoe", "type": "text"}})
    assert fields.lists("Shoe") == []
    load([schema(shoe="string"), record(ADA, shoe="x")], **CREATE).succeeded()
    assert fields.lists("Shoe") == ["1"]


def test_field_on_all_lists_or_named_in_settings_is_not_related(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    sandbox.post(FIELDS, {"field": {"title": "Shoe", "type": "text"}})
    messages = [schema(size="string", city="string"), record(ADA, size="x", city="Oslo")]
    load(messages, **CREATE, field_mapping={"size": "Shoe"}).succeeded()
    assert fields.lists("Shoe") == []
    assert fields.lists("City") == ["0"]


# Properties whose names could mean a standard field too


def test_second_phone_property_gets_its_own_field(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    fields.add("Mobile")
    messages = [schema(phone="string", mobile="string"), record(ADA, phone="1", mobile="2")]
    load(messages).succeeded()
    assert sandbox.contacts()[ADA]["phone"] == "1"
    assert values(sandbox) == {"MOBILE": "2"}


@pytest.mark.parametrize("later", [{}, CREATE, {"unmapped_properties": "fail"}])
def test_later_runs_find_field_created_for_property(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields, later: dict[str, Any]
) -> None:
    head = schema(phone="string", telephone="string")
    load([head, record(ADA, phone="1", telephone="2")], **CREATE).succeeded()
    before = fields.titles()
    assert "Telephone" in before

    outcome = load([head, record(ADA, phone="1", telephone="3")], **later).succeeded()

    assert not outcome.warnings
    assert fields.titles() == before
    assert sandbox.contacts()[ADA]["phone"] == "1"
    assert values(sandbox) == {"TELEPHONE": "3"}


def test_field_named_in_settings_gets_no_options(load: TargetRunner, fields: CustomFields) -> None:
    fields.add("Consent box", "checkbox")
    messages = [schema(ok="boolean"), record(ADA, ok=True)]
    outcome = load(messages, field_mapping={"ok": "Consent box"}, **CREATE).succeeded()
    assert fields.options("Consent box") == []
    assert outcome.codes == {ADA: "FIELD_OPTION_UNKNOWN"}
