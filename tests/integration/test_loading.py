"""Loading a list through the console script, read back from the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner


def contacts(sandbox: SandboxServer) -> dict[str, dict[str, Any]]:
    return {one["email"]: one for one in sandbox.export()}


def imported(sandbox: SandboxServer) -> list[int]:
    """How many contacts each import had, the largest first."""
    posts = sandbox.requests(path="/api/3/import/bulk_import", method="POST")
    return sorted((one["contacts"] for one in posts), reverse=True)


def test_load_creates_contacts_with_fields_on_the_list(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    profile = record(
        " Ada@Example.com ",
        first_name="Ada",
        LastName="Lovelace",
        mobile_phone="+44 20 7946 0123",
        Tier="Gold",
        birthday="1815-12-10",
        interests=["Tea", "Events"],
        shoe_size="38",
    )
    outcome = load(
        [
            schema(
                LastName="string",
                mobile_phone="string",
                Tier="string",
                birthday="string",
                interests={"type": ["array", "null"], "items": {"type": "string"}},
                shoe_size="string",
            ),
            profile,
            state({"bookmark": 1}),
        ],
        tags=["from-warehouse"],
    ).succeeded()
    (ada,) = sandbox.export()
    assert ada["email"].lower() == "ada@example.com"
    assert (ada["first_name"], ada["last_name"]) == ("Ada", "Lovelace")
    assert ada["phone"] == "+44 20 7946 0123"
    assert ada["lists"] == {"1": 1}
    assert ada["tags"] == ["from-warehouse"]
    assert {k: v for k, v in ada["fields"].items() if v} == {
        "TIER": "Gold",
        "BIRTHDAY": "1815-12-10",
        "INTERESTS": "||Tea||Events||",
    }
    assert outcome.states == [{"bookmark": 1}]
    assert outcome.counts == {"read": 1, "added": 1}
    assert "ignores: shoe_size" in outcome.log


def test_second_run_changes_nothing(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [schema(), *people(600), state({"n": 600})]
    load(messages).succeeded()
    first = contacts(sandbox)
    load(messages).succeeded()
    again = contacts(sandbox)
    assert len(first) == 600
    assert {k: {**v, "times_imported": 0} for k, v in first.items()} == {
        k: {**v, "times_imported": 0} for k, v in again.items()
    }


def test_null_keeps_the_existing_value(sandbox: SandboxServer, load: TargetRunner) -> None:
    load([schema(tier="string"), record("a@example.com", first_name="Ada", tier="Gold")])
    load([schema(tier="string"), record("a@example.com", first_name=None, tier=None)]).succeeded()
    load([schema(tier="string"), record("a@example.com")]).succeeded()
    (ada,) = sandbox.export()
    assert ada["first_name"] == "Ada"
    assert ada["fields"]["TIER"] == "Gold"


def test_records_of_one_contact_in_a_batch_are_merged(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load(
        [
            schema(phone="string"),
            record("ada@example.com", first_name="Augusta", phone="1"),
            record("other@example.com"),
            record(" ADA@example.com", first_name="Ada"),
        ]
    ).succeeded()
    ada = next(one for one in sandbox.export() if one["email"].lower() == "ada@example.com")
    assert (ada["first_name"], ada["phone"]) == ("Ada", "1")
    assert ada["times_imported"] == 1
    assert outcome.counts == {"read": 3, "added": 2, "merged": 1}


def test_latest_value_wins_across_batches(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages: list[dict[str, Any]] = [schema()]
    for number in range(12):
        messages += [record("ada@example.com", first_name=f"Ada {number}")]
        messages += people(9)
    load(messages, batch_size_rows=5).succeeded()
    ada = contacts(sandbox)["ada@example.com"]
    assert ada["first_name"] == "Ada 11"


def test_latest_value_wins_across_schemas_and_streams(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    load(
        [
            schema(),
            record("ada@example.com", first_name="first"),
            schema(tier="string"),
            record("ada@example.com", first_name="second", tier="Gold"),
            schema("vip"),
            record("ada@example.com", "vip", first_name="third"),
        ],
        streams={"vip": {"list_id": "vip-customers", "tags": ["vip"]}},
    ).succeeded()
    (ada,) = sandbox.export()
    assert ada["first_name"] == "third"
    assert ada["fields"]["TIER"] == "Gold"
    assert ada["lists"] == {"1": 1, "2": 1}
    assert ada["tags"] == ["vip"]


def test_imports_hold_250_contacts_and_limited_bytes(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    load([schema(), *people(510)]).succeeded()
    assert imported(sandbox) == [250, 250, 10]
    sandbox.reset()
    load([schema(notes="string"), *people(9, notes="x" * 90_000)]).succeeded()
    assert imported(sandbox) == [4, 4, 1]


@pytest.mark.parametrize("wanted", [2, "2", "VIP customers", "vip-customers"])
def test_list_by_id_name_or_string_id(
    sandbox: SandboxServer, load: TargetRunner, wanted: Any
) -> None:
    load([schema(), record("a@example.com")], list_id=wanted).succeeded()
    (ada,) = sandbox.export()
    assert ada["lists"] == {"2": 1}


def test_unknown_list_is_an_error_that_names_lists(load: TargetRunner) -> None:
    outcome = load([schema(), record("a@example.com"), state(1)], list_id="Newsleter")
    assert outcome.code == 1
    assert outcome.states == []
    assert "Did you mean 'Newsletter'?" in outcome.log
    assert "2 'VIP customers' (vip-customers)" in outcome.log


def test_stream_without_email_is_refused_at_its_schema(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    message = {
        "type": "SCHEMA",
        "stream": "orders",
        "schema": {"type": "object", "properties": {"id": {}, "total": {}}},
    }
    outcome = load([schema(), record("a@example.com"), state(1), message, state(2)])
    assert outcome.code == 1
    assert "Stream 'orders' has no property for the e-mail address" in outcome.log
    assert "'id', 'total'" in outcome.log
    assert outcome.states == [1], "what came before is settled"
    assert list(contacts(sandbox)) == ["a@example.com"]


def test_activate_version_changes_nothing_in_upsert(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    version = {"type": "ACTIVATE_VERSION", "stream": "profiles", "version": 7}
    load([schema(), version, *people(3), version]).succeeded()
    assert len(sandbox.export()) == 3


def test_stream_maps_are_applied(sandbox: SandboxServer, load: TargetRunner) -> None:
    maps = {
        "profiles": {
            "__alias__": "segment",
            "__filter__": "country == 'DE'",
            "email": "email.lower()",
            "first_name": None,
        }
    }
    messages = [
        schema(country="string"),
        record("A@EXAMPLE.COM", country="DE", first_name="A"),
        record("b@example.com", country="FR"),
        record("nobody", country="DE"),
    ]
    outcome = load(messages, stream_maps=maps, streams={"segment": {"list_id": 3}}).succeeded()
    (one,) = sandbox.export()
    assert (one["email"], one["first_name"], one["lists"]) == ("a@example.com", "", {"3": 1})
    assert outcome.report["streams"]["segment"]["counts"]["read"] == 2
    (refused,) = outcome.rejects
    assert refused["country"] == "DE", "the reject file holds the record as the tap wrote it"


def test_exclude_automations(sandbox: SandboxServer, load: TargetRunner) -> None:
    load([schema(), record("a@example.com")], exclude_automations=True).succeeded()
    assert sandbox.stats()["automation_runs"] == 0
    load([schema(), record("b@example.com")]).succeeded()
    assert sandbox.stats()["automation_runs"] == 1


def test_empty_input_sends_nothing(sandbox: SandboxServer, load: TargetRunner) -> None:
    outcome = load([]).succeeded()
    assert sandbox.requests() == []
    assert outcome.counts == {}


def test_lists_and_fields_are_read_once_per_run(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages: list[dict[str, Any]] = []
    for number in range(5):
        messages += [schema(f"s{number}"), *people(3, f"s{number}")]
    load(messages).succeeded()
    paths = [one["path"] for one in sandbox.requests()]
    assert [p.rsplit("/", 1)[1] for p in paths[:3]] == ["me", "lists", "fields"]
    assert sum("bulk_import" in path for path in paths) == 1


def test_state_is_emitted_unchanged(load: TargetRunner) -> None:
    value = {
        "float": 1.5,
        "exponent": 1e3,
        "text": "1.10",
        "none": None,
        "big": 12345678901234567890,
    }
    assert load([schema(), *people(2), state(value)]).succeeded().states == [value]


def test_unused_stream_settings_are_named(load: TargetRunner) -> None:
    outcome = load([schema(), *people(2)], streams={"profils": {"list_id": 2}}).succeeded()
    assert "'streams.profils' had no effect" in outcome.log
    assert "Did you mean 'profiles'?" in outcome.log


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"RECORD","stream":"profiles","record":null}',
        '{"type":"RECORD","stream":["profiles"],"record":{}}',
        '{"type":"SCHEMA","stream":"profiles","schema":null}',
        '{"type":"RECORD","stream":"profiles"}',
    ],
)
def test_malformed_message_is_a_clear_error(load: TargetRunner, message: str) -> None:
    outcome = load([schema(), *people(2), state(1), message, state(2)])
    assert outcome.code == 1
    assert outcome.states == [1]
    assert "message" in outcome.log.splitlines()[-1]


def test_fractional_limits(sandbox: SandboxServer, load: TargetRunner) -> None:
    limits = {"requests_per_second": 20.5, "imports_per_minute": 90.5, "request_timeout": 30.5}
    load([schema(), *people(2)], **limits).succeeded()
    assert len(sandbox.export()) == 2
