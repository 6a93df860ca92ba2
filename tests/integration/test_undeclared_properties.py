"""Properties of records that the schema of their stream lacks, and the SDK's metadata."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import batch, people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ANA = "ana@example.com"
ONE_BY_ONE: dict[str, Any] = {"stream_maps": {"profiles": {"__alias__": "profiles"}}}
"""A stream map that changes nothing."""
WAYS = [{}, ONE_BY_ONE]
EXTRACTED = "2025-01-02T03:04:05Z"


def open_schema(more: Any = True, **properties: Any) -> dict[str, Any]:
    """A SCHEMA message that says that records may have more."""
    message = schema(**properties)
    message["schema"]["additionalProperties"] = more
    return message


def told(outcome: Outcome) -> list[str]:
    return [one for one in outcome.warnings if "its schema lacks" in one]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", [schema(), open_schema(), open_schema({})])
def test_mapped_ones_arrive_and_the_rest_is_warned_of_once(
    sandbox: SandboxServer, load: TargetRunner, first: dict[str, Any], way: dict[str, Any]
) -> None:
    messages = [
        first,
        record(ANA, tier="Gold", brandnew="q", other=1, _sdc_batched_at=EXTRACTED),
        *people(1200, brandnew=2),
        first,
        record("ben@example.com", tier="Silver", brandnew=None),
    ]
    outcome = load(messages, field_mapping={"tier": "%TIER%", "other": "ignore"}, **way)
    outcome.succeeded()
    assert sandbox.contacts()[ANA]["fields"] == {"TIER": "Gold"}
    assert sandbox.contacts()["ben@example.com"]["fields"] == {"TIER": "Silver"}
    (warning,) = told(outcome)
    assert "have properties that its schema lacks: 'brandnew'. These are not sent" in warning
    # What is the same is not sent again, and what has changed is.
    again = load([first, record(ANA, tier="Gold")], field_mapping={"tier": "%TIER%"}, **way)
    assert again.succeeded().counts == {"read": 1, "unchanged": 1}
    changed = load([first, record(ANA, tier="Silver")], field_mapping={"tier": "%TIER%"}, **way)
    assert changed.succeeded().counts == {"read": 1, "changed": 1}
    assert sandbox.contacts()[ANA]["fields"] == {"TIER": "Silver"}


def test_one_record_with_mapped_and_unmapped_ones(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    message = open_schema()
    message["key_properties"] = ["email"]
    del message["schema"]["properties"]["first_name"]
    messages = [message, record("x1@example.com", tier="Gold", city="Ghent", brandnew="q")]
    mapping = {"tier": "%TIER%"}
    assert load(messages, field_mapping=mapping, unmapped_properties="fail").code == 1
    assert not sandbox.contacts()
    outcome = load(messages, field_mapping=mapping).succeeded()
    assert sandbox.contacts()["x1@example.com"]["fields"] == {"TIER": "Gold"}
    assert "lacks: 'brandnew', 'city'. " in told(outcome)[0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dry_run", [False, True])
def test_fail_ends_the_run_before_anything_is_sent(
    sandbox: SandboxServer, load: TargetRunner, way: dict[str, Any], *, dry_run: bool
) -> None:
    messages = [
        open_schema(),
        *people(20),
        state(1),
        record(ANA, tier="Gold", brandnew="q"),
        state(2),
    ]
    config: dict[str, Any] = {"field_mapping": {"tier": "%TIER%"}, "dry_run": dry_run, **way}
    outcome = load(messages, unmapped_properties="fail", **config)
    assert outcome.code == 1
    assert (
        "unmapped properties that its schema lacks: 'brandnew'. Map each in 'field_mapping'"
        in outcome.log
    )
    assert not outcome.states
    assert not sandbox.contacts()
    config["field_mapping"] = {"tier": "%TIER%", "brandnew": "ignore"}
    outcome = load(messages, unmapped_properties="fail", **config).succeeded()
    assert outcome.counts == {"read": 21, "added": 21}
    assert not told(outcome)


def test_in_batch_files(sandbox: SandboxServer, load: TargetRunner, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl.gz"
    path.write_bytes(
        gzip.compress(json.dumps(record(ANA, tier="Gold", extra=1)["record"]).encode())
    )
    messages = [schema(), batch({"format": "jsonl", "compression": "gzip"}, path)]
    outcome = load(messages, field_mapping={"tier": "%TIER%"}).succeeded()
    assert sandbox.contacts()[ANA]["fields"] == {"TIER": "Gold"}
    assert "lacks: 'extra'" in told(outcome)[0]


@pytest.mark.parametrize("way", WAYS)
def test_inside_of_objects(sandbox: SandboxServer, load: TargetRunner, way: dict[str, Any]) -> None:
    inner = {"type": "object", "properties": {"street": {"type": "string"}}}
    mapping = {"address.city": "%CITY%", "more.deep.tier": "%TIER%", "a.b": "%NOTES%"}
    messages = [
        schema(address=inner),
        record(ANA, address={"street": "x", "city": "Ghent"}, more={"deep": {"tier": "Gold"}}),
        record("ben@example.com", **{"a.b": "dotted"}),
        record("eve@example.com", more=3, a={"b": "nested"}),
    ]
    outcome = load(messages, field_mapping=mapping, **way).succeeded()
    assert sandbox.contacts()[ANA]["fields"] == {"CITY": "Ghent", "TIER": "Gold"}
    assert sandbox.contacts()["ben@example.com"]["fields"] == {"NOTES": "dotted"}
    assert sandbox.contacts()["eve@example.com"]["fields"] == {"NOTES": "nested"}
    assert not told(outcome)


def test_a_mapping_of_the_stream_itself(sandbox: SandboxServer, load: TargetRunner) -> None:
    streams = {"profiles": {"field_mapping": {"tier": "%TIER%"}}}
    messages = [open_schema(), record(ANA, tier="Gold")]
    load(messages, streams=streams).succeeded()
    assert sandbox.contacts()[ANA]["fields"] == {"TIER": "Gold"}
    wrong = {"profiles": {"field_mapping": {"tier": "%TEIR%"}}}
    outcome = load(messages, streams=wrong)
    assert outcome.code == 1
    assert "'tier' is mapped to '%TEIR%'" in outcome.log
    # A schema that lists its properties and says no more lists them all: the name is a slip.
    assert load([schema(), record(ANA, tier="Gold")], streams=streams).code == 1


def test_the_address_is_undeclared(sandbox: SandboxServer, load: TargetRunner) -> None:
    message = open_schema()
    del message["schema"]["properties"]["email"]
    messages = [message, {"type": "RECORD", "stream": "profiles", "record": {"who": ANA}}]
    load(messages, field_mapping={"who": "email"}).succeeded()
    assert set(sandbox.contacts()) == {ANA}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("null_policy", ["keep", "clear"])
def test_what_is_mapped_counts_more_than_what_merely_has_the_name(
    sandbox: SandboxServer, load: TargetRunner, way: dict[str, Any], null_policy: str
) -> None:
    messages = [
        schema(tier="string"),
        record(ANA, tier="Gold", plan="Silver", given="Ana", first_name="A"),
        record("ben@example.com", tier="Gold", first_name="Ben"),
    ]
    mapping = {"plan": "%TIER%", "given": "first_name"}
    outcome = load(messages, field_mapping=mapping, null_policy=null_policy, **way)
    outcome.succeeded()
    ana, ben = sandbox.contacts()[ANA], sandbox.contacts()["ben@example.com"]
    assert (ana["fields"], ana["first_name"]) == ({"TIER": "Silver"}, "Ana")
    assert (ben["fields"], ben["first_name"]) == ({"TIER": "Gold"}, "Ben")
    assert not told(outcome)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", [schema(), open_schema()])
def test_one_mapping_for_streams_that_name_a_property_differently(
    sandbox: SandboxServer, load: TargetRunner, first: dict[str, Any], way: dict[str, Any]
) -> None:
    mapping = {"plan": "%TIER%", "level": "%TIER%"}
    messages = [
        first,
        record(ANA, plan="Gold"),
        record("ben@example.com", level="Silver"),
        record("eve@example.com", level="Silver", plan="Gold"),
    ]
    outcome = load(messages, field_mapping=mapping, **way).succeeded()
    tiers = {email: one["fields"]["TIER"] for email, one in sandbox.contacts().items()}
    assert tiers == {ANA: "Gold", "ben@example.com": "Silver", "eve@example.com": "Silver"}
    assert not told(outcome)


def test_what_the_schema_has_keeps_its_place(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [
        open_schema(tier="string"),
        record(ANA, tier="Gold", plan="Silver", mail="x@example.com"),
    ]
    mapping = {"tier": "%TIER%", "plan": "%TIER%", "mail": "email"}
    outcome = load(messages, field_mapping=mapping).succeeded()
    assert sandbox.contacts()[ANA]["fields"] == {"TIER": "Gold"}
    assert "lacks: 'mail', 'plan'" in told(outcome)[0]


def test_names_that_look_like_data_are_not_shown(load: TargetRunner) -> None:
    values: dict[str, Any] = {"someone@example.org": 1, "49301234567": 2, "ok": 3}
    messages = [schema(), record(ANA, **values)]
    outcome = load(messages).succeeded()
    assert "lacks: 'ok' and 2 more. " in told(outcome)[0]
    assert "49301234567" not in outcome.log


# The SDK's metadata


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_metadata_that_is_mapped_by_name_arrives(
    sandbox: SandboxServer, load: TargetRunner, way: Any, *, declared: bool, own: bool
) -> None:
    types = dict.fromkeys(("_sdc_extracted_at", "_sdc_batched_at"), "string") if declared else {}
    first = schema(**types)
    first["schema"]["additionalProperties"] = not declared
    first["schema"]["required"] = list(types)
    values = {"_sdc_extracted_at": EXTRACTED, "_sdc_batched_at": EXTRACTED}
    mapping = {"_sdc_extracted_at": "%LAST_SEEN%"}
    config = (
        {"streams": {"profiles": {"field_mapping": mapping}}} if own else {"field_mapping": mapping}
    )
    outcome = load([first, record(ANA, **values)], **config, **way).succeeded()
    assert outcome.counts == {"read": 1, "added": 1}
    assert set(sandbox.contacts()[ANA]["fields"]) == {"LAST_SEEN"}
    assert not [one for one in outcome.warnings if "lacks" in one and declared]


def test_a_reject_file_keeps_the_schema_as_the_tap_sent_it(load: TargetRunner) -> None:
    maps = {"profiles": {"secret": None}}
    first = schema(_sdc_batched_at="string", secret="string")
    outcome = load([first, record("x", secret="s"), first, record("y")], stream_maps=maps)
    (path,) = outcome.succeeded().reject_files
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [one["type"] for one in lines] == ["SCHEMA", "RECORD", "RECORD"]
    assert set(first["schema"]["properties"]) < set(lines[0]["schema"]["properties"])


@pytest.mark.parametrize("name", ["ปีเกิด", "जन्म", "pre\u0301nom"])
def test_a_name_with_combining_marks_is_shown(load: TargetRunner, name: str) -> None:
    (text,) = told(load([schema(), record(ANA, **{name: "x"})]).succeeded())
    assert f"'{name}'" in text
