"""The SDK's stream maps and flattening: what arrives is what they make of a stream."""

from __future__ import annotations

import json
from hashlib import md5
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.target_base import Target

from tests.support.custom_fields import CustomFields
from tests.support.guide import example
from tests.support.mirrors import Mirror, activate
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

EXAMPLE = example("streams.md", "stream maps")
"""One source stream as two segments: people in Germany, and, anywhere, those with a gold card."""


def customer(name: str, country: str, tier: str | None = None) -> dict[str, Any]:
    values = {} if tier is None else {"tier": tier}
    number = f"number of {name}"
    return record(f"{name}@example.com", customer_id=number, country=country, **values)


HEAD = {
    **schema(customer_id="string", country="string", tier="string"),
    "key_properties": ["customer_id"],
}
CUSTOMERS = [
    customer("ada", "DE", "Gold"),
    customer("bob", "DE"),
    customer("cyd", "FR", "Gold"),
    customer("dan", "FR", "Silver"),
    customer("eve", "FR"),
]


def shown(sandbox: SandboxServer) -> dict[str, Any]:
    """By name: lists, tags and fields of each contact."""
    return {
        who.partition("@")[0]: (one["lists"], one["tags"], one["fields"])
        for who, one in sandbox.contacts().items()
    }


def fields(sandbox: SandboxServer) -> dict[str, str]:
    """The custom fields of the only contact."""
    (one,) = sandbox.export()
    found: dict[str, str] = one["fields"]
    return found


# Segments


def test_the_example_makes_two_segments_of_one_stream(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    def hashed(name: str) -> str:
        return md5(f"coffeenumber of {name}".encode()).hexdigest()  # noqa: S324

    messages = [HEAD, *CUSTOMERS, state("end")]

    outcome = load(messages, **EXAMPLE).succeeded()

    assert shown(sandbox) == {
        "ada": (
            {"1": 1, "2": 1},
            ["vip"],
            {"COUNTRY": "DE", "TIER": "Gold", "CUSTOMER_ID": hashed("ada")},
        ),
        "bob": ({"1": 1}, [], {"COUNTRY": "DE", "CUSTOMER_ID": hashed("bob")}),
        "cyd": ({"2": 1}, ["vip"], {"COUNTRY": "FR", "TIER": "Gold"}),
    }
    assert outcome.states == ["end"]
    assert "number of" not in json.dumps(sandbox.export())

    again = load(messages, **EXAMPLE).succeeded()

    assert again.counts == {"read": 4, "unchanged": 4}


def test_a_record_counts_once_for_each_segment_that_it_is_in(load: TargetRunner) -> None:
    outcome = load([HEAD, *CUSTOMERS], **EXAMPLE).succeeded()

    streams = outcome.report["streams"]
    assert {name: one["counts"]["read"] for name, one in streams.items()} == {
        "profiles": 2,
        "profiles_vip": 2,
    }
    assert {name: one["list"]["name"] for name, one in streams.items()} == {
        "profiles": "Newsletter",
        "profiles_vip": "VIP customers",
    }
    assert outcome.counts == {"read": 4, "added": 3, "merged": 1}, "dan and eve were not read"


def test_when_all_records_are_filtered_out_nothing_is_sent_and_state_goes_on(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load([HEAD, *CUSTOMERS[3:], state("end")], **EXAMPLE).succeeded()

    assert outcome.states == ["end"]
    assert outcome.counts == {}
    assert sandbox.export() == []


def test_who_no_longer_passes_the_filter_leaves_the_mirrored_segment_alone(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    mirror = Mirror(load, sandbox)
    for number, tier in ((1, "Gold"), (2, "Silver")):
        everyone = [customer("ada", "DE", tier), *CUSTOMERS[1:]]
        messages = [{**one, "version": number} for one in everyone]
        load([HEAD, *messages, activate(number)], **EXAMPLE).succeeded()

    assert mirror.members(list_id=2) == "cyd"
    assert mirror.members(list_id=1) == "ada bob"


def test_a_stream_is_set_by_the_name_that_an_alias_gives_it(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"public-*": {"__alias__": "__stream_name__.replace('public-', '')"}}
    streams = {"profiles": {"tags": ["by alias"]}, "public-profiles": {"tags": ["by source"]}}
    messages = [schema("public-profiles"), *people(2, "public-profiles")]

    outcome = load(messages, stream_maps=maps, streams=streams).succeeded()

    assert [one["tags"] for one in sandbox.export()] == [["by alias"], ["by alias"]]
    assert list(outcome.report["streams"]) == ["profiles"]
    assert "'streams.public-profiles' had no effect" in outcome.log


@pytest.mark.parametrize(
    "maps",
    [
        {"orders": None},
        {"orders": "__NULL__"},
        {"__else__": None, "profiles": {}},
        {"orders": None, "profiles": None, "copy": {"__source__": "profiles"}},
    ],
)
def test_a_removed_stream_needs_neither_an_address_nor_a_list(
    sandbox: SandboxServer, load: TargetRunner, maps: dict[str, Any]
) -> None:
    orders = {
        "type": "SCHEMA",
        "stream": "orders",
        "key_properties": [],
        "schema": {"properties": {"id": {"type": "integer"}}},
    }
    order = {"type": "RECORD", "stream": "orders", "record": {"id": 1}}
    kept = "copy" if "copy" in maps else "profiles"
    messages = [orders, order, schema(), *people(2), order, state("end")]

    outcome = load(
        messages, list_id=None, streams={kept: {"list_id": 3}}, stream_maps=maps
    ).succeeded()

    assert [one["lists"] for one in sandbox.export()] == [{"3": 1}, {"3": 1}]
    assert list(outcome.report["streams"]) == [kept]
    assert outcome.states == ["end"]


def test_streams_that_become_one_keep_the_properties_of_each(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"web": {"__alias__": "profiles"}, "shop": {"__alias__": "profiles"}}
    messages = [
        schema("web", tier="string"),
        schema("shop", city="string"),
        record("ada@example.com", "web", tier="Gold"),
        record("bob@example.com", "shop", city="Oslo"),
    ]

    load(messages, stream_maps=maps).succeeded()

    found = {name: one[2] for name, one in shown(sandbox).items()}
    assert found == {"ada": {"TIER": "Gold"}, "bob": {"CITY": "Oslo"}}


def test_of_streams_that_become_one_each_may_lack_what_their_mapping_names(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"web": {"__alias__": "profiles"}, "shop": {"__alias__": "profiles"}}
    mapping = {"level": "TIER", "town": "CITY"}
    messages = [
        schema("web", level="string"),
        schema("shop", town="string"),
        record("ada@example.com", "web", level="Gold"),
        record("bob@example.com", "shop", town="Oslo"),
    ]

    outcome = load(
        messages, stream_maps=maps, streams={"profiles": {"field_mapping": mapping}}
    ).succeeded()

    found = {name: one[2] for name, one in shown(sandbox).items()}
    assert found == {"ada": {"TIER": "Gold"}, "bob": {"CITY": "Oslo"}}
    assert outcome.warnings == [
        f"Stream 'profiles' lacks properties that 'field_mapping' maps: '{name}'."
        for name in ("town", "level")
    ]


# Properties


def test_properties_are_computed_from_others(sandbox: SandboxServer, load: TargetRunner) -> None:
    maps = {
        "first_name": "full_name.split(' ')[0]",
        "last_name": "full_name.split(' ')[1]",
        "loyalty_points": "int(points) * 10",
        "notes": "'from ' + __stream_name__",
    }
    messages = [
        schema(full_name="string", points="string"),
        record("ada@example.com", full_name="Ada Lovelace", points="7"),
    ]

    load(messages, stream_maps={"profiles": maps}).succeeded()

    (ada,) = sandbox.export()
    assert (ada["first_name"], ada["last_name"]) == ("Ada", "Lovelace")
    assert ada["fields"] == {"LOYALTY_POINTS": "70", "NOTES": "from profiles"}


@pytest.mark.parametrize(
    "maps",
    [
        {"notes": None, "city": "__NULL__"},
        {"__else__": None, "__key_properties__": ["email"], "email": "email", "tier": "tier"},
        {"__else__": "__NULL__", "__key_properties__": [], "email": "email", "tier": "tier"},
    ],
    ids=["by name", "all but those named", "all but those named, without a key"],
)
def test_removed_properties_never_leave(
    sandbox: SandboxServer, load: TargetRunner, maps: dict[str, Any]
) -> None:
    messages = [
        {**schema(notes="string", city="string", tier="string"), "key_properties": ["notes"]},
        record("ada@example.com", notes="private", city="private", tier="Gold"),
    ]
    keys = {"__key_properties__": ["email"], **maps}

    outcome = load(messages, stream_maps={"profiles": keys}).succeeded()

    assert fields(sandbox) == {"TIER": "Gold"}
    assert not {"notes", "city"} & set(outcome.report["streams"]["profiles"]["mapping"])


def test_an_expression_that_a_record_does_not_fit_ends_the_run_and_is_named(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"profiles": {"__filter__": "tier == 'Gold'"}}
    messages = [
        schema(tier="string"),
        record("ada@example.com", tier="Gold"),
        state("good"),
        record("bob@example.com"),
        state("late"),
    ]

    outcome = load(messages, stream_maps=maps)

    assert outcome.code == 1
    assert "tier == 'Gold'" in outcome.log.splitlines()[-1]
    assert outcome.states == ["good"]
    assert list(sandbox.contacts()) == ["ada@example.com"]


@pytest.mark.parametrize(
    ("expression", "value"),
    [("full_name.split(' ')[1]", "Rumpelstiltskin"), ("md5(full_name)", None)],
    ids=["no second word", "a hash of nothing"],
)
def test_an_expression_that_fails_in_any_way_is_the_stream_maps_error(
    load: TargetRunner, expression: str, value: str | None
) -> None:
    messages = [schema(full_name="string"), record("ada@example.com", full_name=value)]

    outcome = load(messages, stream_maps={"profiles": {"last_name": expression}})

    assert outcome.code == 1
    assert "stream map of stream 'profiles' fails" in outcome.log.splitlines()[-1]
    assert "Rumpelstiltskin" not in outcome.log


def test_what_a_filter_comes_to_is_not_logged(
    load: TargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_ACTIVECAMPAIGN_LOGLEVEL", "DEBUG")
    maps = {"profiles": {"__filter__": "record.get('full_name')"}}
    messages = [schema(full_name="string"), record("ada@example.com", full_name="Rumpelstiltskin")]

    outcome = load(messages, stream_maps=maps).succeeded()

    assert outcome.counts == {"read": 1, "added": 1}
    assert "Rumpelstiltskin" not in outcome.log


def test_reject_files_hold_the_record_of_the_tap_and_can_be_piped_back(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    taps = customer("nobody", "DE", "Gold")["record"]
    taps["email"] = "nobody"
    messages = [HEAD, {**record(""), "record": taps}]

    outcome = load(messages, **EXAMPLE).succeeded()

    assert outcome.counts == {"read": 2, "invalid": 2}
    for refused in outcome.rejects:
        assert {name: refused[name] for name in taps} == taps
    (file,) = outcome.reject_files
    mended = file.read_bytes().replace(b'"nobody"', b'"ada@example.com"')
    load(mended, **EXAMPLE).succeeded()
    (ada,) = shown(sandbox).values()
    assert ada[0] == {"1": 1, "2": 1}
    assert ada[2]["CUSTOMER_ID"] != taps["customer_id"]


# Flattening

FLATTENING = {"flattening_enabled": True, "flattening_max_depth": 1}
ADDRESS = {
    "type": ["object", "null"],
    "properties": {
        "city": {"type": ["string", "null"]},
        "geo": {"type": "object", "properties": {"zone": {"type": ["string", "null"]}}},
    },
}
NESTED = [
    schema(address=ADDRESS),
    record("ada@example.com", address={"city": "Oslo", "geo": {"zone": "CET"}}),
]


@pytest.mark.parametrize(
    ("depth", "mapping", "arrived"),
    [
        (1, {"address__city": "CITY", "address__geo": "NOTES"}, '{"zone":"CET"}'),
        (2, {"address__city": "CITY", "address__geo__zone": "NOTES"}, "CET"),
    ],
)
def test_nested_properties_are_mapped_as_far_down_as_flattening_goes(
    sandbox: SandboxServer, load: TargetRunner, depth: int, mapping: dict[str, str], arrived: str
) -> None:
    flattening = {"flattening_enabled": True, "flattening_max_depth": depth}

    load(NESTED, field_mapping=mapping, **flattening).succeeded()

    assert fields(sandbox) == {"CITY": "Oslo", "NOTES": arrived}


@pytest.mark.parametrize("separator", [None, "_", "."])
def test_a_flattened_property_maps_by_its_name(
    sandbox: SandboxServer, load: TargetRunner, separator: str | None
) -> None:
    made = sandbox.post("/api/3/fields", {"field": {"title": "Address: City", "type": "text"}})
    flattening = {"flattening_enabled": True, "flattening_max_depth": 1}

    load(NESTED, flattening_separator=separator, **flattening).succeeded()

    assert fields(sandbox) == {made["field"]["perstag"]: "Oslo"}


def test_a_flattened_property_may_be_named_with_a_separator_of_ones_own(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    flattening = {"flattening_enabled": True, "flattening_max_depth": 1}

    load(
        NESTED, field_mapping={"address.city": "CITY"}, flattening_separator=".", **flattening
    ).succeeded()

    assert fields(sandbox) == {"CITY": "Oslo"}


def test_a_stream_map_sees_a_record_before_it_is_flattened(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"profiles": {"country": "address['geo']['zone']", "address": None}}

    load(NESTED, stream_maps=maps, flattening_enabled=True, flattening_max_depth=2).succeeded()

    assert fields(sandbox) == {"COUNTRY": "CET"}


def test_an_object_that_is_null_changes_nothing(sandbox: SandboxServer, load: TargetRunner) -> None:
    load.config.update(
        flattening_enabled=True, flattening_max_depth=1, field_mapping={"address__city": "CITY"}
    )
    load(NESTED).succeeded()

    load([NESTED[0], record("ada@example.com", first_name="Ada", address=None)]).succeeded()

    assert fields(sandbox) == {"CITY": "Oslo"}


def test_flattening_leaves_choices_and_tags_apart(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    texts = {"type": ["array", "null"], "items": {"type": "string"}}
    messages = [
        schema(address=ADDRESS, interests=texts, labels=texts),
        record("ada@example.com", interests=["Tea", "Events"], labels=["loyal", "web"]),
    ]
    flattening = {"flattening_enabled": True, "flattening_max_depth": 1}

    load(messages, field_mapping={"labels": "tags"}, **flattening).succeeded()

    (ada,) = sandbox.export()
    assert ada["fields"] == {"INTERESTS": "||Tea||Events||"}
    assert sorted(ada["tags"]) == ["loyal", "web"]


TEXTS = {"type": ["array", "null"], "items": {"type": ["string", "null"]}}
NUMBERS = {"type": ["array", "null"], "items": {"type": "number"}}


@pytest.mark.parametrize(
    ("name", "kind", "value", "held"),
    [
        ("notes", TEXTS, ["Café", "日本"], "Café, 日本"),
        ("notes", NUMBERS, [1, 2.50], "1, 2.5"),
        ("notes", TEXTS, ["one"], "one"),
        ("notes", TEXTS, [{"é": ["ü"]}], '[{"é":["ü"]}]'),
        ("notes", {"type": "object"}, {"é": "ü"}, '{"é":"ü"}'),
        ("notes", {"type": "object"}, {}, "{}"),
        ("interests", TEXTS, ["tea", "Events"], "||Tea||Events||"),
        ("tier", TEXTS, ["gold"], "Gold"),
        ("notes", {"type": "string"}, '["é"]', '["é"]'),
        ("notes", {"type": "string"}, "[é", "[é"),
        ("notes", {"type": ["array", "string"]}, "[é", "[é"),
    ],
)
def test_what_flattening_does_not_take_apart_stays_what_it_is(  # noqa: PLR0917 - what a case is
    sandbox: SandboxServer, load: TargetRunner, name: str, kind: Any, value: Any, held: str
) -> None:
    messages = [schema(**{name: kind}), record("ada@example.com", **{name: value})]
    load(messages, **FLATTENING).succeeded()
    assert fields(sandbox) == {name.upper(): held}


@pytest.mark.parametrize(("null_policy", "held"), [("keep", "Oslo"), ("clear", "")])
def test_an_empty_array_holds_nothing_when_it_is_flattened_too(
    sandbox: SandboxServer, load: TargetRunner, null_policy: str, held: str
) -> None:
    sandbox.prepare({"email": "ada@example.com", "fields": {"CITY": "Oslo", "TIER": "Gold"}})
    messages = [schema(city=TEXTS, tier=TEXTS), record("ada@example.com", city=[], tier=[])]
    load(messages, null_policy=null_policy, **FLATTENING).succeeded()
    assert fields(sandbox) == {"CITY": held, "TIER": "Gold" if held else ""}


def test_arrays_inside_of_objects_stay_arrays_however_long_their_names(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    inner = {"labels_of_the_customer": TEXTS, "geo": {"type": "object", "properties": {"a": {}}}}
    messages = [
        schema(address={"type": ["object", "null"], "properties": inner}),
        record("ada@example.com", address={"labels_of_the_customer": ["é", "b"], "geo": {"a": 1}}),
    ]
    mapping = {"address__labels_of_the_customer": "NOTES", "address__geo": "CITY"}
    load(messages, field_mapping=mapping, **FLATTENING).succeeded()
    assert fields(sandbox) == {"NOTES": "é, b", "CITY": '{"a":1}'}

    mapping = {"add__lotc": "COUNTRY", "address__geo": "CITY"}
    load(messages, field_mapping=mapping, flattening_max_key_length=20, **FLATTENING).succeeded()
    assert fields(sandbox)["COUNTRY"] == "é, b"


def test_arrays_that_are_computed_stay_arrays_too(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"notes": "labels", "city": "[one.upper() for one in labels]", "country": "'[x'"}
    messages = [schema(labels=TEXTS), record("ada@example.com", labels=["é", "b"])]
    load(messages, stream_maps={"profiles": maps}, **FLATTENING).succeeded()
    assert fields(sandbox) == {"NOTES": "é, b", "CITY": "É, B", "COUNTRY": "[x"}


def test_a_field_is_made_for_what_the_tap_has_sent(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sizes = {"type": ["array", "null"], "items": {"enum": ["small", "large"]}}
    messages = [schema(sizes=sizes), record("ada@example.com", sizes=["large"])]

    load(messages, unmapped_properties="create", **FLATTENING).succeeded()

    custom_fields = CustomFields(sandbox)
    assert custom_fields.type("Sizes") == "listbox"
    assert custom_fields.options("Sizes") == ["small", "large"]
    assert fields(sandbox) == {"SIZES": "||large||"}


def test_flattening_without_a_depth_is_refused_before_anything_is_sent(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load(NESTED, flattening_enabled=True)

    assert outcome.code == 1
    assert "flattening_max_depth is required" in outcome.log
    assert sandbox.requests() == []


def test_what_is_computed_takes_the_form_of_its_field_whatever_the_sdk_takes_it_for(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {
        "loyalty_points": "points * 10",
        "interests": "[hobby]",
        "birthday": "datetime.date.fromisoformat(born)",
        "lifetime_value": "md5(hobby)[0:0] + '12.50'",
    }
    messages = [
        schema(points="integer", hobby="string", born="string", lifetime_value="integer"),
        record("ada@example.com", points=3, hobby="Tea", born="1990-01-02", lifetime_value=1),
    ]

    load(messages, stream_maps={"profiles": maps}).succeeded()

    assert shown(sandbox)["ada"][2] == {
        "LOYALTY_POINTS": "30",
        "INTERESTS": "||Tea||",
        "BIRTHDAY": "1990-01-02",
        "LIFETIME_VALUE": "12.50",
    }


@pytest.mark.parametrize("rules", [{"__else__": "x"}, {"first_name": 3}])
def test_a_rule_that_cannot_be_is_a_mistake_in_the_settings(
    load: TargetRunner, rules: dict[str, Any]
) -> None:
    outcome = load([schema()], stream_maps={"profiles": rules})
    assert outcome.code == 1
    said = outcome.log.splitlines()[-1]
    assert "The setting 'stream_maps.profiles' is not valid: see the SDK's documentation" in said
    assert "anyOf" not in said


def test_the_sdks_schema_of_stream_maps_still_has_to_be_mended() -> None:
    """When this fails, `config.repair_schema` has nothing to repair and can go."""
    raw: dict[str, Any] = {"properties": {}}
    Target.append_builtin_config(raw)
    rules, *_ = [one for one in _objects(raw) if "__else__" in one.get("properties", {})]
    assert "null" in rules["properties"]["__else__"]["anyOf"]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, (dict, list)):
            yield from _objects(inner)


def test_a_stream_map_of_a_stream_that_never_came_is_warned_about(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    maps = {"profile": {"first_name": None}, "prof*": {"first_name": "'x'"}}
    outcome = load([schema(), *people(1)], stream_maps=maps).succeeded()
    warnings = [line for line in outcome.log.splitlines() if "had no effect" in line]
    (warning,) = warnings
    assert "'stream_maps.profile'" in warning
    assert "Did you mean 'profiles'?" in warning
