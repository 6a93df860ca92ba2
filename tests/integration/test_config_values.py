"""What a text in a configuration stands for: understood in any usual form, or an error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import people, record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

MESSAGES = [schema(), *people(2)]


def refused(outcome: Outcome, *names: str) -> None:
    """See that a run ended before it sent anything, with the causes in the last lines."""
    assert outcome.code == 1
    assert "Config validation failed" not in outcome.log
    last = outcome.log.splitlines()[-len(names) :]
    for name, line in zip(names, last, strict=True):
        assert f"The setting '{name}' " in line


@pytest.mark.parametrize(
    "text", ["true", "true\n", " true ", "TRUE", "yes", "Y", "on", "1", "t", "\ttrue\r\n", 1]
)
def test_every_usual_text_for_true_makes_a_preview(
    load: TargetRunner, sandbox: SandboxServer, text: str
) -> None:
    assert load(MESSAGES, dry_run=text).succeeded().report["dry_run"] is True
    assert sandbox.export() == []


@pytest.mark.parametrize("text", ["false", " False\n", "no", "N", "off", "0", "f", 0])
def test_every_usual_text_for_false_makes_a_run(
    load: TargetRunner, sandbox: SandboxServer, text: str
) -> None:
    load(MESSAGES, dry_run=text).succeeded()
    assert len(sandbox.export()) == 2


@pytest.mark.parametrize("text", ["enabled", "", " ", "truee", "2", '"true"', "null", 2, 1.5])
def test_any_other_boolean_stops_the_run(
    load: TargetRunner, sandbox: SandboxServer, text: Any
) -> None:
    refused(load(MESSAGES, dry_run=text), "dry_run")
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_rejects", "many"),
        ("max_rejects", "2.5"),
        ("max_rejects", "nan"),
        ("max_rejects", True),
        ("request_timeout", "1e999"),
        ("request_timeout", "inf"),
        ("request_timeout", "1_000"),
        ("request_timeout", "٣"),
        ("request_timeout", ""),
        ("request_timeout", 10**400),
        ("max_reject_pct", "101"),
        ("sync_mode", "mirorr"),
        ("sync_mode", ""),
        ("streams", '{"profiles": '),
        ("streams", "profiles"),
        ("tags", "vip"),
    ],
)
def test_a_value_that_is_not_understood_stops_the_run(
    load: TargetRunner, sandbox: SandboxServer, setting: str, value: Any
) -> None:
    refused(load(MESSAGES, **{setting: value}), setting)
    assert sandbox.requests() == []


def test_all_that_is_not_understood_inside_of_settings_is_named_at_once(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = load(
        MESSAGES,
        guards={"max_leave_pct": "a third", "override_once": "sure"},
        streams={"profiles": {"complete_stream": "si", "guards": {"max_leave": "1.5"}}},
    )
    refused(
        outcome,
        "guards.max_leave_pct",
        "guards.override_once",
        "streams.profiles.complete_stream",
        "streams.profiles.guards.max_leave",
    )
    assert "a third" not in outcome.log
    assert sandbox.requests() == []


def test_numbers_and_choices_as_texts_count(load: TargetRunner) -> None:
    outcome = load(
        [schema(), *people(3), record("no address")],
        max_rejects=" 0 ",
        request_timeout="2.5",
        batch_size_rows="2.0",
        sync_mode=" UPSERT\n",
        max_reject_pct="null",
    )
    assert outcome.code == 1
    assert "max_rejects" in outcome.log.splitlines()[-1]


def test_texts_inside_of_settings_count_as_what_the_schema_wants(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    """As `meltano config set` stores them."""
    streams = {
        "profiles": {
            "sync_mode": "mirror ",
            "complete_stream": "true",
            "tags": '["from Meltano "]',
            "guards": {"max_leave_pct": "30", "min_source_pct": "0"},
        }
    }
    load([schema(), *people(4)], streams=streams).succeeded()

    stopped = load([schema(), *people(2)], streams=streams)
    assert stopped.code == 1, "two of four are more than 30 per cent"
    streams["profiles"]["guards"] = {"max_leave_pct": "60.5", "min_source_pct": "0"}
    load([schema(), *people(2)], streams=json.dumps(streams)).succeeded()

    contacts = sandbox.export()
    assert [contact["lists"]["1"] for contact in contacts] == [1, 1, 2, 2]
    assert {tag for contact in contacts for tag in contact["tags"]} == {"from Meltano"}


@pytest.mark.parametrize(
    "streams",
    [
        {"public.profiles": {"tags": ["a"], "guards": {"max_leave": 3}}},
        {"public": {"profiles": {"tags": ["a"], "guards": {"max_leave": 3}}}},
        {"public.profiles.tags": '["a"]', "public.profiles.guards.max_leave": "3"},
    ],
)
def test_a_stream_with_a_dot_in_its_name_has_its_settings_in_every_form_of_meltano(
    load: TargetRunner, sandbox: SandboxServer, streams: dict[str, Any]
) -> None:
    stream = "public.profiles"
    outcome = load([schema(stream), *people(1, stream)], streams=streams).succeeded()
    assert outcome.warnings == []
    assert [contact["tags"] for contact in sandbox.export()] == [["a"]]


@pytest.mark.parametrize(
    "mapping", [{"home.town": "City"}, {"home": {"town": " City "}}, '{"home.town": "City"}']
)
def test_a_path_in_field_mapping_counts_in_every_form_of_meltano(
    load: TargetRunner, sandbox: SandboxServer, mapping: Any
) -> None:
    home = {"type": "object", "properties": {"town": {"type": "string"}}}
    messages = [schema(home=home), record("ada@example.com", home={"town": "Bonn"})]
    load(messages, field_mapping=mapping).succeeded()
    assert [contact["fields"]["CITY"] for contact in sandbox.export()] == ["Bonn"]


@pytest.mark.parametrize(
    "maps",
    [
        {"public.people": {"first_name": "first_name.upper()", "tier": None}, "a.b": "__NULL__"},
        {"public": {"people": {"first_name": "first_name.upper()", "tier": None}}},
        {"public.people.first_name": "first_name.upper()", "public.people.tier": None},
    ],
)
def test_stream_maps_count_in_every_form_of_meltano(
    load: TargetRunner, sandbox: SandboxServer, maps: dict[str, Any]
) -> None:
    stream = "public.people"
    messages = [schema(stream, tier="string"), *people(1, stream, tier="Gold")]
    if "a.b" in maps:
        messages += [schema("a.b"), *people(2, "a.b")]
    load(messages, stream_maps=maps).succeeded()
    (contact,) = sandbox.export()
    assert contact["first_name"] == "PERSON 0"
    assert "TIER" not in contact["fields"]


def test_what_is_nested_too_deeply_stops_the_run(load: TargetRunner) -> None:
    streams: Any = {}
    for _ in range(600):
        streams = {"a": streams}
    outcome = load(MESSAGES, streams=streams)
    assert outcome.code == 1
    assert outcome.log.splitlines()[-1].endswith("The configuration is nested too deeply.")


def test_a_setting_that_stands_there_twice_stops_the_run(load: TargetRunner) -> None:
    refused(load(MESSAGES, **{"dry_run": True, " dry_run": False}), "dry_run")


def test_an_empty_text_is_told_as_such(load: TargetRunner) -> None:
    for setting, value, name in (
        ("default_country", " ", "default_country"),
        ("deleted_properties", ["gone", ""], "deleted_properties.1"),
        ("streams", {"profiles": {"membership_tag": ""}}, "streams.profiles.membership_tag"),
    ):
        outcome = load(MESSAGES, **{setting: value})
        assert outcome.code == 1
        assert outcome.log.endswith(f"The setting '{name}' is empty: give a text, or remove it.\n")


def test_a_name_that_guards_cannot_have_is_told_with_those_it_can(load: TargetRunner) -> None:
    outcome = load(MESSAGES, streams={"profiles": {"guards": {"x": 1}}})
    refused(outcome, "streams.profiles.guards")
    assert "'x'. It can have max_leave_pct, max_leave, " in outcome.log


def test_limits_of_any_size_will_do(load: TargetRunner) -> None:
    limits = ("imports_per_minute", "single_imports_per_minute", "requests_per_second")
    load(MESSAGES, **dict.fromkeys(limits, "1e308")).succeeded()
