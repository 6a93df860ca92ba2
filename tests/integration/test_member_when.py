"""`member_when`: records that do not have a member's values are treated as deleted ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import UNSUBSCRIBED, Mirror, activate, mirrored
from tests.support.target_runner import record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ANA, BEN, CYD = "ana@example.com", "ben@example.com", "cyd@example.com"
ACTIVE = {"status": "active"}
SAME: dict[str, Any] = {"stream_maps": {"profiles": {"__alias__": "profiles"}}}
"""A stream map that changes nothing."""


def skipped(outcome: Outcome) -> dict[str, int]:
    outcome.succeeded()
    assert not outcome.reject_files
    return {code: told["records"] for code, told in outcome.report["skipped"].items()}


def fails(outcome: Outcome, sandbox: SandboxServer, *texts: str) -> None:
    """See that a run ended before it sent anything, and that it says why."""
    assert outcome.code == 1
    for text in texts:
        assert text in outcome.log.splitlines()[-1]
    assert not sandbox.requests(method="POST")
    assert not sandbox.contacts()


@pytest.mark.parametrize("way", [{}, SAME], ids=["as it is", "stream map"])
def test_records_with_other_values_are_skipped(
    load: TargetRunner, sandbox: SandboxServer, way: dict[str, Any]
) -> None:
    messages = [
        {**schema(STATUS={}, id="integer"), "key_properties": ["id"]},
        record(ANA, id=1, STATUS="active"),
        record(BEN, id=2, STATUS="gone"),
        record("no address", id=3, STATUS="gone"),
        record("d@example.com", id=4),
        {"type": "RECORD", "stream": "profiles", "record": {"STATUS": None}},
        record(CYD, id=5, status=" trial "),
        state("end"),
    ]
    outcome = load(messages, member_when={"status": ["active", "trial"]}, **way)
    assert skipped(outcome) == {"DELETED": 4}
    assert outcome.counts == {"read": 6, "added": 2, "skipped": 4}
    assert outcome.states == ["end"]
    assert set(sandbox.contacts()) == {ANA, CYD}


def test_null_is_a_value_and_the_last_word_counts(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [
        schema(left="string"),
        record(ANA),
        record(BEN, left=None),
        record(CYD, left=None),
        record(CYD, left="2026-01-01"),
    ]
    outcome = load(messages, streams={"profiles": {"member_when": {"left": None}}})
    assert skipped(outcome) == {"DELETED": 1}
    assert outcome.counts == {"read": 4, "added": 2, "merged": 1, "skipped": 1}
    assert set(sandbox.contacts()) == {ANA, BEN}


def test_rule_that_changes_is_applied_to_unchanged_records(load: TargetRunner) -> None:
    messages = [schema(status="string"), record(ANA, status="a"), record(BEN, status="b")]
    load(messages, member_when={"status": ["a", "b"]}).succeeded()
    outcome = load(messages, member_when={"status": "a"})
    assert skipped(outcome) == {"DELETED": 1}
    assert load(messages).succeeded().counts["read"] == 2


def test_record_that_cannot_be_read_is_rejected_all_the_same(load: TargetRunner) -> None:
    text = f'{{"email": "{BEN}", "status": {"9" * 5000}}}'
    unreadable = f'{{"type": "RECORD", "stream": "profiles", "record": {text}}}'
    for way in ({}, SAME):
        outcome = load([schema(status={}), unreadable], member_when={"status": 1}, **way)
        assert outcome.counts == {"read": 1, "invalid": 1}


# Where stream maps and flattening come in


def test_stream_map_that_removes_renames_or_computes_the_property(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [
        schema(status="string"),
        record(ANA, first_name="Ana", status="active"),
        record(BEN, status="gone"),
    ]
    for rules, wanted in (
        ({"status": None}, ACTIVE),
        ({"state": "status", "status": None}, {"STATE": "active"}),
        ({"state": "status", "status": None}, ACTIVE),
        ({"status": "status.upper()"}, {"status": "ACTIVE"}),
        ({"is_member": "status == 'active'"}, {"is_member": True}),
        # Fails on records that are not of members, as these have no name.
        ({"first_name": "first_name.upper()"}, ACTIVE),
    ):
        sandbox.reset()
        outcome = load(
            messages, stream_maps={"profiles": rules}, member_when=wanted, full_resync=True
        )
        assert skipped(outcome) == {"DELETED": 1}, rules
        assert set(sandbox.contacts()) == {ANA}


@pytest.mark.parametrize("path", ["meta.status", "Meta.STATUS", "meta__status"])
def test_property_inside_an_object_that_may_be_flattened(
    load: TargetRunner, sandbox: SandboxServer, path: str
) -> None:
    meta = {"type": "object", "properties": {"status": {"type": ["string", "null"]}}}
    messages = [
        schema(meta=meta),
        record(ANA, meta={"status": "active"}),
        record(BEN, meta={"status": None}),
        record(CYD),
    ]
    flat = {"flattening_enabled": True, "flattening_max_depth": 1}
    for way in ({}, flat) if "." in path else (flat,):
        sandbox.reset()
        outcome = load(messages, member_when={path: "active"}, full_resync=True, **way)
        assert skipped(outcome) == {"DELETED": 2}
        assert set(sandbox.contacts()) == {ANA}


# Properties that do not exist


def test_property_that_the_schema_lacks_ends_the_run(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    meta = {"type": "object", "properties": {"status": {"type": "string"}}}
    messages = [schema(state="string", meta=meta), record(ANA, state="active", status="active")]
    for wanted, near in (
        ("stat", "Did you mean 'state'?"),
        ("meta.stats", "Did you mean 'meta.status'?"),
        ("state.name", "The stream has 'email', 'first_name', 'state'"),
    ):
        outcome = load(messages, member_when={wanted: "active"})
        fails(outcome, sandbox, f"no property '{wanted}', which 'member_when' names.", near)
    load(messages, member_when={"x": 1}, streams={"profiles": {"member_when": {}}}).succeeded()


def test_object_of_any_content_may_have_the_property(load: TargetRunner) -> None:
    messages = [
        schema(meta="object"),
        record(ANA, meta={"status": "active"}),
        record(BEN, meta={}),
    ]
    assert skipped(load(messages, member_when={"meta.status": "active"})) == {"DELETED": 1}


def test_person_key_that_the_stream_lacks_ends_the_run(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [schema(user_id="string"), record(ANA, user_id="1")]
    outcome = load(messages, person_key="userid")
    fails(outcome, sandbox, "no property 'userid', which 'person_key' names.", "'user_id'?")
    outcome = load(messages, person_key=True)
    fails(outcome, sandbox, "'person_key' is true, but the stream has no key properties.")
    maps = {"profiles": {"user_id": None}}
    outcome = load(messages, person_key="user_id", stream_maps=maps)
    fails(outcome, sandbox, "no property 'user_id', which 'person_key' names.")


def test_person_key_follows_a_property_in_another_case(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    load([schema(USER_ID="string"), record(ANA, USER_ID="1")], person_key="user_id").succeeded()
    before = sandbox.contacts()[ANA]["id"]
    load([schema(USER_ID="string"), record(BEN, USER_ID="1")], person_key="user_id").succeeded()
    assert {who: one["id"] for who, one in sandbox.contacts().items()} == {BEN: before}


# Mirrors


def complete(version: int, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """A complete stream of records, of a version."""
    of = [{**one, "version": version} for one in messages]
    return [schema(status="string"), *of, activate(version), state(version)]


def test_mirror_removes_contacts_that_are_no_longer_members(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    mirror = Mirror(load, sandbox)
    load.config["member_when"] = ACTIVE
    alive = [record(one, **ACTIVE) for one in (ANA, BEN, CYD)]
    mirror.load(complete(1, *alive)).succeeded()

    outcome = mirror.load(complete(2, record(ANA, status="gone"), *alive[1:]))
    assert skipped(outcome) == {"DELETED": 1}
    assert mirrored(outcome)["people"] == 2
    assert (mirror.members(), mirror.members(status=UNSUBSCRIBED)) == ("ben cyd", "ana")

    mirror.load(complete(3, *alive)).succeeded()
    assert mirror.members() == "ana ben cyd"


def test_mirror_of_changes_removes_those_who_are_no_longer_members(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    mirror = Mirror(load, sandbox)
    load.config.update(member_when=ACTIVE, leave_when="deleted")
    announced = {**schema(status="string", at="string"), "bookmark_properties": ["at"]}
    alive = [record(one, **ACTIVE) for one in (ANA, BEN, CYD)]
    mirror.load([announced, *alive]).succeeded()

    outcome = mirror.load([announced, record(ANA, status="gone")])
    assert skipped(outcome) == {"DELETED": 1}
    assert outcome.warnings == []
    assert (mirror.members(), mirror.members(status=UNSUBSCRIBED)) == ("ben cyd", "ana")


def test_mirror_of_deleted_records_needs_a_way_to_know_them(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    load.config.update(sync_mode="mirror", leave_when="deleted")
    messages = [schema(status="string"), record(ANA, **ACTIVE)]
    outcome = load(messages, deleted_properties=[])
    fails(outcome, sandbox, "no record can be marked as deleted, as 'deleted_properties' is empty")

    (warning,) = load(messages).succeeded().warnings
    assert "its SCHEMA has none of the 'deleted_properties' (_sdc_deleted_at, " in warning
    assert not load(messages, member_when=ACTIVE).succeeded().warnings
    marked = [schema(status="string", gone="string"), record(ANA, **ACTIVE)]
    assert not load(marked, deleted_properties=["gone"]).succeeded().warnings
