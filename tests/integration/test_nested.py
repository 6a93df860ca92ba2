"""Properties inside of objects, which the settings name by their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"


def thing(**properties: Any) -> dict[str, Any]:
    """The schema of an object that may be null; properties are strings unless they say more."""
    known = {
        name: {"type": "string"} if one == "string" else one for name, one in properties.items()
    }
    return {"type": ["object", "null"], "properties": known}


ADDRESS = thing(city="string", geo=thing(zone="string"))


def values(sandbox: SandboxServer, email: str = ADA) -> dict[str, str]:
    """What someone's fields hold, by tag."""
    found: dict[str, str] = sandbox.contacts()[email]["fields"]
    return found


def test_a_property_inside_of_an_object_is_named_by_its_path(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    mapping = {"address.city": "CITY", "address.geo.zone": "phone", "person.0": "NOTES"}
    messages = [
        schema(address=ADDRESS, person=thing(**{"0": "string"})),
        record(ADA, address={"city": "Oslo", "geo": {"zone": "CET"}}, person={"0": "first"}),
    ]

    outcome = load(messages, field_mapping=mapping).succeeded()

    assert values(sandbox) == {"CITY": "Oslo", "NOTES": "first"}
    assert sandbox.contacts()[ADA]["phone"] == "CET"
    mapping = outcome.report["streams"]["profiles"]["mapping"]
    assert {name: one["destination"] for name, one in mapping.items()} == {
        "email": "email",
        "first_name": "first_name",
        "address.city": "%CITY%",
        "address.geo.zone": "phone",
        "person.0": "%NOTES%",
    }
    assert not outcome.warnings


def test_a_property_with_a_dot_in_its_name_is_meant_first(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    mapping = {"address.city": "CITY", "a.b.c": "NOTES"}
    inner = {"c": {"type": "string"}, "b": {"type": "string"}}
    properties: dict[str, Any] = {
        "address.city": "string",
        "address": ADDRESS,
        "a": thing(b="string"),
        "a.b": {"type": "object", "properties": inner},
    }
    there: dict[str, Any] = {
        "address.city": "Oslo",
        "address": {"city": "Bath"},
        "a": {"b": "no"},
        "a.b": {"c": "yes"},
    }
    load([schema(**properties), record(ADA, **there)], field_mapping=mapping).succeeded()
    assert values(sandbox) == {"CITY": "Oslo", "NOTES": "yes"}


@pytest.mark.parametrize("anything", [{}, {"type": ["object", "null"]}, {"type": "object"}])
def test_in_an_object_without_declared_properties_any_path_may_lead_somewhere(
    sandbox: SandboxServer, load: TargetRunner, anything: dict[str, Any]
) -> None:
    messages = [
        schema(address=anything),
        record(ADA, address={"geo": {"zone": "CET"}}),
        record("b@example.com", address={"geo": {}}),
    ]
    load(messages, field_mapping={"address.geo.zone": "CITY"}).succeeded()
    assert values(sandbox) == {"CITY": "CET"}
    assert values(sandbox, "b@example.com") == {}


def test_records_may_lack_the_object_or_have_something_else_in_its_place(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    places: list[dict[str, Any]] = [
        {},
        {"address": None},
        {"address": {}},
        {"address": {"geo": None}},
        {"address": "Oslo"},
        {"address": 7},
        {"address": [{"geo": {"zone": "CET"}}]},
        {"address": {"geo": "CET"}},
    ]
    anything: dict[str, Any] = {"address": {}}
    messages = [
        schema(**anything),
        *(record(f"a{n}@example.com", **one) for n, one in enumerate(places)),
    ]

    outcome = load(messages, field_mapping={"address.geo.zone": "CITY"}).succeeded()

    assert outcome.counts == {"read": len(places), "added": len(places)}
    assert not any(values(sandbox, f"a{n}@example.com") for n in range(len(places)))


# Wrong paths


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("address.cty", " Did you mean 'address.city'?"),
        ("adress.city", " Did you mean 'address.city'?"),
        ("address.geo.zones", " Did you mean 'address.geo.zone'?"),
        ("address.city.name", " Did you mean 'address.city'?"),
        ("x.y", ""),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_where_the_stream_names_it(
    sandbox: SandboxServer, load: TargetRunner, path: str, near: str
) -> None:
    messages = [schema(address=ADDRESS), record(ADA)]
    own = {"profiles": {"field_mapping": {path: "CITY"}}}

    outcome = load(messages, streams=own)

    assert outcome.code == 1
    assert outcome.report["problem"] == (
        f"Stream 'profiles' has no property '{path}', which its 'field_mapping' maps to 'CITY'."
        f"{near} The stream has 'email', 'first_name', 'address'. Name one of these, or remove the "
        "entry."
    )
    assert not sandbox.export()


def test_and_a_warning_where_all_streams_do(load: TargetRunner) -> None:
    messages = [schema(address=ADDRESS), record(ADA)]
    outcome = load(messages, field_mapping={"address.cty": "CITY"}).succeeded()
    assert outcome.warnings == [
        "Stream 'profiles' lacks properties that 'field_mapping' maps: 'address.cty'. Did you mean "
        "'address.city'?"
    ]


# Standard destinations


def test_the_address_and_tags_may_stand_inside_of_objects(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    person = thing(mail="string", labels={"type": ["array", "null"]})
    messages = [
        {**schema(person=person), "schema": {"properties": {"person": person}}},
        *(
            {"type": "RECORD", "stream": "profiles", "record": one}
            for one in (
                {"person": {"mail": ADA, "labels": ["a", "b"]}},
                {"person": {"mail": "b@example.com", "labels": None}},
                {"person": {"labels": ["a"]}},
                {"person": None},
                {},
            )
        ),
    ]
    mapping = {"person.mail": "email", "person.labels": "tags"}

    outcome = load(messages, field_mapping=mapping).succeeded()

    assert outcome.counts == {"read": 5, "added": 2, "invalid": 3}
    assert {one["_reject_code"] for one in outcome.rejects} == {"EMAIL_MISSING"}
    assert sorted(sandbox.contacts()[ADA]["tags"]) == ["a", "b"]
    assert sandbox.contacts()["b@example.com"]["tags"] == []


def test_what_is_inside_wins_over_what_maps_by_its_name(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [
        schema(city="string", address=ADDRESS),
        record(ADA, city="Bath", address={"city": "Oslo"}),
    ]
    outcome = load(messages, field_mapping={"address.city": "CITY"}).succeeded()
    assert values(sandbox) == {"CITY": "Oslo"}
    assert outcome.report["streams"]["profiles"]["ignored"] == ["city"]


def test_two_properties_for_one_field_are_an_error(load: TargetRunner) -> None:
    mapping = {"address.city": "CITY", "address.geo.zone": "CITY"}
    outcome = load([schema(address=ADDRESS)], field_mapping=mapping)
    assert "both 'address.city' and 'address.geo.zone' are mapped to %CITY%" in outcome.log


# What counts as mapped


@pytest.mark.parametrize(
    "mapping",
    [{"address.city": "CITY"}, {"address.city": "ignore"}, {"address": "NOTES"}],
)
def test_an_object_of_which_a_part_is_mapped_counts_as_mapped(
    sandbox: SandboxServer, load: TargetRunner, mapping: dict[str, str]
) -> None:
    before = CustomFields(sandbox).titles()
    messages = [schema(address=ADDRESS), record(ADA, address={"city": "Oslo"})]
    for policy in ("ignore", "create", "fail"):
        outcome = load(messages, unmapped_properties=policy, field_mapping=mapping).succeeded()
        assert "ignores:" not in outcome.log or mapping == {"address.city": "ignore"}
    assert CustomFields(sandbox).titles() == before


def test_an_object_may_go_to_one_field_and_its_parts_to_others(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    mapping = {"address": "NOTES", "address.city": "CITY"}
    messages = [schema(address=ADDRESS), record(ADA, address={"city": "Oslo"})]
    load(messages, field_mapping=mapping).succeeded()
    assert values(sandbox) == {"NOTES": '{"city":"Oslo"}', "CITY": "Oslo"}


# Objects as values


def test_objects_are_json_in_a_text_field_unless_they_are_refused(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    anything: dict[str, Any] = {"notes": {}}
    messages = [
        schema(**anything),
        record(ADA, notes={"a": [1, None]}),
        record("b@example.com", notes=[{"a": 1}]),
        record("c@example.com", notes=["x", 1]),
    ]
    own = {"streams": {"profiles": {"on_object": "refuse"}}}

    outcome = load(messages, **own).succeeded()

    assert outcome.codes == {ADA: "VALUE_INVALID", "b@example.com": "VALUE_INVALID"}
    assert outcome.rejects[0]["_reject_reason"] == (
        "Property 'notes' does not fit %NOTES% of type textarea: it is an object, and 'on_object' "
        "is 'refuse'."
    )
    load(messages).succeeded()
    assert [values(sandbox, email)["NOTES"] for email in sorted(sandbox.contacts())] == [
        '{"a":[1,null]}',
        '[{"a":1}]',
        "x, 1",
    ]


OBJECT = thing(city="string")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"field_mapping": {"address": "BIRTHDAY"}},
            "property 'address' is of type object, which %BIRTHDAY% (type date) can't hold. ",
        ),
        (
            {"field_mapping": {"address": "phone"}},
            "property 'address' is of type object, which phone can't hold. ",
        ),
        (
            {"field_mapping": {"address": "TIER"}},
            "property 'address' is of type object, which %TIER% (type dropdown) can't hold. ",
        ),
        (
            {"field_mapping": {"address": "NOTES"}, "on_object": "refuse"},
            "property 'address' is of type object, and 'on_object' is 'refuse'. ",
        ),
    ],
)
def test_an_object_that_never_fits_where_it_is_mapped_to_is_an_error(
    load: TargetRunner, settings: dict[str, Any], said: str
) -> None:
    outcome = load([schema(address=OBJECT), record(ADA)], **settings)
    assert outcome.code == 1
    assert outcome.report["problem"] == (
        f"Stream 'profiles': {said}Map it in 'field_mapping' to another destination, the "
        "properties inside of it by their paths, or to 'ignore'."
    )


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("birthday", OBJECT, "is of type object, which %BIRTHDAY% (type date) can't hold"),
        ("tier", OBJECT, "is of type object, which %TIER% (type dropdown) can't hold"),
        ("phone", OBJECT, "is of type object, which phone can't hold"),
        ("birthday", "boolean", "is of type boolean, which %BIRTHDAY% (type date) can't hold"),
    ],
)
def test_but_has_no_place_where_only_its_name_would_have_given_it_one(
    sandbox: SandboxServer, load: TargetRunner, name: str, kind: Any, said: str
) -> None:
    properties = {name: kind}
    outcome = load([schema(**properties), record(ADA)]).succeeded()
    assert outcome.warnings == [
        f"Stream 'profiles': property '{name}' {said}, so it is not mapped. Map it elsewhere in "
        "'field_mapping', or to 'ignore'."
    ]
    assert outcome.report["streams"]["profiles"]["ignored"] == [name]
    assert values(sandbox) == {}
