"""Records that their source marks as deleted add and change nobody."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.ledgers import empty_database
from tests.support.mirrors import (
    NO_GUARDS,
    QUICK,
    UNSUBSCRIBED,
    Mirror,
    activate,
    mirrored,
    records,
)
from tests.support.target_runner import batch, people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

MARKERS = ("_sdc_deleted_at", "_sdc_lsn_deleted_at", "_ab_cdc_deleted_at", "_fivetran_deleted")
WHEN = "2025-01-02T03:04:05Z"
ANA, GONE = "ana@example.com", "gone@example.com"
ONE_BY_ONE: dict[str, Any] = {"stream_maps": {"profiles": {"__alias__": "profiles"}}}
"""A stream map that changes nothing."""
WAYS = [{}, ONE_BY_ONE]
TYPES: dict[str, Any] = {"tier": "string", "_sdc_deleted_at": "string"}


def deleted(email: Any, stream: str = "profiles", **values: Any) -> dict[str, Any]:
    return record(email, stream, _sdc_deleted_at=WHEN, **values)


def skips(outcome: Outcome, count: int = 1) -> None:
    """See that so many records were skipped as deleted, and that all is told."""
    outcome.succeeded()
    assert outcome.counts["skipped"] == count
    assert outcome.report["skipped"]["DELETED"]["records"] == count
    assert outcome.report["counts"]["unsettled"] == 0
    assert f"Skipped: {count} DELETED." in outcome.log
    assert not outcome.reject_files


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("marker", MARKERS)
def test_deleted_record_is_skipped(
    sandbox: SandboxServer, load: TargetRunner, marker: str, way: dict[str, Any]
) -> None:
    alive: dict[str, Any] = {marker: None}
    gone: dict[str, Any] = {marker: True}
    messages = [
        schema(**{marker: "boolean"}),
        record(ANA, **alive),
        record(GONE, **gone),
        state("end"),
    ]
    outcome = load(messages, **way)
    skips(outcome)
    assert outcome.counts == {"read": 2, "added": 1, "skipped": 1}
    assert outcome.states == ["end"]
    assert set(sandbox.contacts()) == {ANA}


@pytest.mark.parametrize("way", WAYS)
def test_empty_or_false_marker_is_not_a_deletion(
    sandbox: SandboxServer, load: TargetRunner, way: dict[str, Any]
) -> None:
    nothing = [None, False, 0, 0.0, "", "  ", "false", "False", "f", "0", '"false"', "NULL", "n"]
    marked = [True, 1, 0.5, "true", "t", "Y", WHEN, 1735787045, {"at": WHEN}, [1]]
    values = [*nothing, [], {}, *marked]
    messages = [schema(_fivetran_deleted={}), state("start")]
    messages += [
        record(f"p{number}@example.com", _fivetran_deleted=value)
        for number, value in enumerate(values)
    ]
    skips(load(messages, **way), len(marked))
    alive = {f"p{number}@example.com" for number in range(len(nothing) + 2)}
    assert set(sandbox.contacts()) == alive


@pytest.mark.parametrize("way", WAYS)
def test_marker_absent_from_schema_or_in_another_spelling(
    sandbox: SandboxServer, load: TargetRunner, way: dict[str, Any]
) -> None:
    skips(load([schema(), deleted(ANA)], **way))
    upper = [schema(_SDC_DELETED_AT="string"), record(ANA, _SDC_DELETED_AT=WHEN)]
    skips(load(upper, **way))
    undeclared = [schema(), record(ANA, _SDC_DELETED_AT=WHEN)]
    skips(load(undeclared, **way))
    assert not sandbox.contacts()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sync_mode", ["upsert", "update_only", "create_only", "mirror"])
@pytest.mark.parametrize("null_policy", ["keep", "clear"])
def test_deleted_record_changes_nobody_in_any_mode(
    sandbox: SandboxServer, load: TargetRunner, sync_mode: str, null_policy: str, way: Any
) -> None:
    sandbox.prepare({"email": ANA, "first_name": "Ana", "fields": {"TIER": "Gold"}})
    before = sandbox.contacts()[ANA]
    messages = [
        schema(**TYPES),
        deleted(ANA, first_name=None, tier=None),
        deleted(GONE, first_name="New", tier="Silver"),
    ]
    outcome = load(messages, sync_mode=sync_mode, null_policy=null_policy, tags=["t"], **way)
    skips(outcome, 2)
    assert sandbox.contacts() == {ANA: before}
    assert not sandbox.requests(method="POST", path="/api/3/import/bulk_import")


@pytest.mark.parametrize("way", WAYS)
def test_deleted_record_with_key_only_or_invalid_values(
    sandbox: SandboxServer, load: TargetRunner, way: dict[str, Any]
) -> None:
    strict = {**schema(id="integer", **TYPES), "key_properties": ["id"]}
    strict["schema"] = {**strict["schema"], "required": ["id", "email"]}
    gone = {"_sdc_deleted_at": WHEN}
    messages = [
        strict,
        {"type": "RECORD", "stream": "profiles", "record": {"id": 1, **gone}},
        {"type": "RECORD", "stream": "profiles", "record": {"id": "x", "email": 3, **gone}},
        {"type": "RECORD", "stream": "profiles", "record": gone},
        record(ANA, id=2),
    ]
    outcome = load(messages, **way)
    skips(outcome, 3)
    assert outcome.counts == {"read": 4, "added": 1, "skipped": 3}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("packed", [False, True])
def test_deleted_record_in_batch_file(
    load: TargetRunner, sandbox: SandboxServer, tmp_path: Path, way: Any, *, packed: bool
) -> None:
    lines = [deleted(GONE)["record"], record(ANA)["record"]]
    data = "".join(f"{json.dumps(one)}\n" for one in lines).encode()
    path = tmp_path / "some.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    encoding = {"format": "jsonl", "compression": "gzip" if packed else "none"}
    skips(load([schema(**TYPES), batch(encoding, path)], **way))
    assert set(sandbox.contacts()) == {ANA}


@pytest.mark.parametrize("way", WAYS)
def test_preview_counts_deleted_records(
    load: TargetRunner, sandbox: SandboxServer, way: Any
) -> None:
    outcome = load([schema(**TYPES), deleted(GONE), record(ANA)], dry_run=True, **way)
    skips(outcome)
    assert outcome.counts == {"read": 2, "added": 1, "skipped": 1}
    assert not sandbox.contacts()


# Where stream maps, flattening and settings come in


def test_stream_map_that_drops_or_renames_the_marker(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    for rules in (
        {"_sdc_deleted_at": None},
        {"gone": "_sdc_deleted_at", "_sdc_deleted_at": None},
        {"email": "email", "__else__": None},
    ):
        maps = {"profiles": {**rules, "__key_properties__": ["email"]}}
        skips(load([schema(**TYPES), deleted(GONE)], stream_maps=maps))
    made = {"profiles": {"_sdc_deleted_at": "removed"}}
    skips(load([schema(removed="string"), record(GONE, removed=WHEN)], stream_maps=made))
    assert not sandbox.contacts()


def test_deleted_record_skips_stream_map_expressions(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    maps = {
        "profiles": {"first_name": "first_name.upper()"},
        "vip": {"__source__": "profiles", "__filter__": "tier == 'Gold'"},
    }
    messages = [
        schema(**TYPES),
        {"type": "RECORD", "stream": "profiles", "record": {"_sdc_deleted_at": WHEN}},
        record(ANA, first_name="Ana", tier="Gold"),
    ]
    outcome = load(messages, stream_maps=maps, streams={"vip": {"list_id": 2}})
    skips(outcome, 2)
    assert sandbox.contacts()[ANA]["lists"] == {"1": 1, "2": 1}


def test_deleted_record_of_a_filtered_stream(load: TargetRunner) -> None:
    maps = {"profiles": {"__filter__": "_sdc_deleted_at is None"}}
    messages = [schema(**TYPES), deleted(GONE), record(ANA, _sdc_deleted_at=None)]
    outcome = load(messages, stream_maps=maps).succeeded()
    assert outcome.counts == {"read": 1, "added": 1}


@pytest.mark.parametrize("flat", [{}, {"flattening_enabled": True, "flattening_max_depth": 1}])
def test_marker_inside_an_object(
    load: TargetRunner, sandbox: SandboxServer, flat: dict[str, Any]
) -> None:
    meta = {"type": "object", "properties": {"deleted": {"type": ["boolean", "null"]}}}
    messages = [
        schema(meta=meta),
        record(GONE, meta={"deleted": True}),
        record(ANA, meta={"deleted": False}),
        record("ben@example.com"),
    ]
    skips(load(messages, deleted_properties=["meta.deleted"], **flat))
    assert set(sandbox.contacts()) == {ANA, "ben@example.com"}


@pytest.mark.parametrize("way", WAYS)
def test_marker_inside_an_object_ignores_case(
    load: TargetRunner, sandbox: SandboxServer, way: dict[str, Any]
) -> None:
    dotted: dict[str, Any] = {"meta.CDC": {"deleted": 1}}
    messages = [
        schema(META={"type": "object"}),
        record("a@example.com", META={"Cdc": {"DELETED": True}}),
        record("b@example.com", Meta={"cdc": {"deleted": "t"}}),
        record("c@example.com", META={"cdc.Deleted": 1}),
        record("d@example.com", **dotted),
        record(ANA, META={"Cdc": {"DELETED": None}}, meta={"cdc": 3}),
    ]
    skips(load(messages, deleted_properties=["meta.CDC.deleted"], **way), 4)
    assert set(sandbox.contacts()) == {ANA}


def test_deleted_properties_of_one_stream_and_switched_off(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [
        schema("a", gone="string", **TYPES),
        schema("b", gone="string", **TYPES),
        record("a1@example.com", "a", gone="yes"),
        deleted("a2@example.com", "a"),
        record("b1@example.com", "b", gone="yes"),
        deleted("b2@example.com", "b"),
    ]
    streams = {"a": {"deleted_properties": ["gone"]}}
    skips(load(messages, streams=streams, deleted_properties=None), 2)
    assert set(sandbox.contacts()) == {"a2@example.com", "b1@example.com"}
    outcome = load(messages, deleted_properties=[]).succeeded()
    assert outcome.counts == {"read": 4, "added": 2, "unchanged": 2}
    assert len(sandbox.contacts()) == 4


@pytest.mark.parametrize("more", [{}, {"auto_map": False, "field_mapping": {"email": "email"}}])
def test_markers_are_not_reported_as_unmapped(load: TargetRunner, more: dict[str, Any]) -> None:
    messages = [schema(**dict.fromkeys(MARKERS, "string")), record(ANA)]
    more = {**more, "field_mapping": {"first_name": "ignore", **more.get("field_mapping", {})}}
    for unmapped in ("fail", "create"):
        outcome = load(messages, unmapped_properties=unmapped, **more).succeeded()
    assert "ignores: first_name.\n" in outcome.log


def test_marker_in_another_unicode_form_is_not_unmapped(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    composed, decomposed = "gel\u00f6scht", "gelo\u0308scht"
    messages = [schema(**{decomposed: "string"}), record(GONE, **{decomposed: WHEN}), record(ANA)]
    more = {"unmapped_properties": "fail", "deleted_properties": [composed]}
    skips(load(messages, **more))
    assert set(sandbox.contacts()) == {ANA}


# The last word about a person


@pytest.fixture(scope="module")
def small() -> ForkServer:
    """Windows of three records."""
    return ForkServer(replace(QUICK, window_records=3))


@pytest.fixture(params=["one window", "several", "several, one by one", "on PostgreSQL"])
def loads(
    request: pytest.FixtureRequest, load: TargetRunner, sandbox: SandboxServer, small: ForkServer
) -> TargetRunner:
    """The target, where records of one person come in one window, or in several."""
    if request.param == "one window":
        return load
    if request.param == "on PostgreSQL":
        load.config["ledger_url"] = empty_database(request.getfixturevalue("postgres"))
        return load
    runner = ForkedTargetRunner(load.folder, sandbox.url, sandbox.api_key, small)
    if "one by one" in request.param:
        runner.config.update(ONE_BY_ONE)
    return runner


def test_deletion_withdraws_a_pending_contact(loads: TargetRunner, sandbox: SandboxServer) -> None:
    messages = [
        schema(**TYPES),
        record(GONE, tier="Gold"),
        record(GONE.upper(), tier="Silver"),
        *people(4),
        deleted(GONE),
        record(ANA),
        state("end"),
    ]
    outcome = loads(messages)
    skips(outcome)
    assert outcome.counts == {"read": 8, "added": 5, "merged": 2, "skipped": 1}
    assert outcome.states == ["end"]
    assert GONE not in sandbox.contacts()


def test_insert_after_deletion_is_sent(loads: TargetRunner, sandbox: SandboxServer) -> None:
    messages = [
        schema(**TYPES),
        record(ANA, tier="Gold", first_name="Ana"),
        deleted(ANA),
        *people(4),
        record(ANA, tier="Silver"),
    ]
    outcome = loads(messages)
    skips(outcome)
    assert outcome.counts == {"read": 7, "added": 5, "merged": 1, "skipped": 1}
    assert sandbox.contacts()[ANA]["fields"]["TIER"] == "Silver"
    assert sandbox.contacts()[ANA]["first_name"] in (None, "")


def test_same_record_after_deletion_is_sent_again(
    loads: TargetRunner, sandbox: SandboxServer
) -> None:
    alive = record(ANA, first_name="Ana")
    loads([schema(**TYPES), alive]).succeeded()
    outcome = loads([schema(**TYPES), alive, deleted(ANA), *people(4), alive])
    skips(outcome)
    assert outcome.counts["changed"] == 1
    assert loads([schema(**TYPES), alive]).succeeded().counts == {"read": 1, "unchanged": 1}
    skips(loads([schema(**TYPES), deleted(ANA)]))
    assert loads([schema(**TYPES), alive]).succeeded().counts == {"read": 1, "changed": 1}


def test_deletion_in_one_stream_does_not_affect_another(
    loads: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [
        schema("a", **TYPES),
        schema("b", **TYPES),
        record(ANA, "a", tier="Gold"),
        record(ANA, "b", first_name="Ana"),
        *people(4, "b"),
        deleted(ANA, "a"),
    ]
    config: dict[str, Any] = {"streams": {"b": {"list_id": 2}}}
    if "stream_maps" in loads.config:
        config["stream_maps"] = {name: {"__alias__": name} for name in "ab"}
    outcome = loads(messages, **config)
    skips(outcome)
    ana = sandbox.contacts()[ANA]
    assert ana["lists"] == {"2": 1}
    assert "TIER" not in ana["fields"]


def test_deletion_does_not_withdraw_a_posted_contact(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [schema(**TYPES), record(ANA), *people(3000), deleted(ANA)]
    outcome = load(messages)
    skips(outcome)
    assert outcome.counts == {"read": 3002, "added": 3001, "skipped": 1}
    assert load([schema(**TYPES), record(ANA)]).succeeded().counts == {"read": 1, "changed": 1}


def test_only_if_empty_ignores_a_withdrawn_contact(
    loads: TargetRunner, sandbox: SandboxServer
) -> None:
    messages = [
        schema(**TYPES),
        record(ANA, first_name="Old"),
        *people(4),
        deleted(ANA),
        record(ANA, first_name="New"),
    ]
    skips(loads(messages, only_if_empty=["first_name"]))
    assert sandbox.contacts()[ANA]["first_name"] == "New"


# Mirrors


@pytest.fixture
def mirror(loads: TargetRunner, sandbox: SandboxServer) -> Mirror:
    return Mirror(loads, sandbox)


def complete(version: int, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """A complete stream of records, of a version."""
    of = [{**one, "version": version} for one in messages]
    return [schema(**TYPES), *of, activate(version), state(version)]


def test_mirror_removes_contact_deleted_last(mirror: Mirror) -> None:
    alive = records("ada bob cat dan eve")
    mirror.load(complete(1, *alive)).succeeded()
    gone = [deleted("ada@example.com"), deleted("bob@example.com", first_name="Bob")]
    outcome = mirror.load(complete(2, gone[0], *alive[1:], gone[1]))
    skips(outcome, 2)
    assert mirrored(outcome)["people"] == 3
    assert mirror.members() == "cat dan eve"
    outcome = mirror.load(complete(3, *gone, *alive)).succeeded()
    assert mirrored(outcome)["people"] == 5
    assert mirror.members() == "ada bob cat dan eve"


def test_mirror_removes_contact_posted_and_then_deleted(mirror: Mirror) -> None:
    mirror.load(complete(1, *records("ada bob cat dan"))).succeeded()
    new = records("ada bob cat dan", first_name="New")
    more = [one["record"] for one in people(600)]
    outcome = mirror.load(
        complete(
            2,
            *new,
            *({"type": "RECORD", "stream": "profiles", "record": one} for one in more),
            deleted("ada@example.com"),
        )
    )
    skips(outcome)
    assert mirrored(outcome)["people"] == 603
    assert "ada" not in mirror.members().split()


def test_contact_deleted_from_a_mirror_can_return(mirror: Mirror) -> None:
    alive = records("ada bob cat")
    mirror.load(complete(1, *alive)).succeeded()
    gone = deleted("ada@example.com")
    # Also as the last word after the same record, which is proved unchanged.
    mirror.load(complete(2, *alive, gone)).succeeded()
    assert mirror.members() == "bob cat"
    assert mirror.members(status=UNSUBSCRIBED) == "ada"
    mirror.load(complete(3, gone, *alive)).succeeded()
    assert mirror.members() == "ada bob cat"
    mirror.load(complete(4, *alive[1:], gone, alive[0])).succeeded()
    assert mirror.members() == "ada bob cat"


def test_deleted_records_do_not_trip_guards(
    mirror: Mirror,
) -> None:
    names = " ".join(f"p{number}" for number in range(30))
    mirror.load(complete(1, *records(names))).succeeded()
    gone = [deleted(f"p{number}@example.com") for number in range(16)]
    rest = records(" ".join(f"p{number}" for number in range(16, 30)))
    outcome = mirror.load(complete(2, *gone, *rest), guards={"max_leave_pct": None})
    assert outcome.code == 1
    assert "the source has shrunk from 30 contacts to 14" in outcome.log
    assert len(mirror.members().split()) == 30


def test_mirror_of_deleted_records_only_is_empty(mirror: Mirror) -> None:
    mirror.load(complete(1, *records("ada bob"))).succeeded()
    gone = [deleted("ada@example.com"), deleted("bob@example.com")]
    outcome = mirror.load(complete(2, *gone)).succeeded()
    assert mirrored(outcome)["kind"] == "empty"
    assert mirror.members() == "ada bob"
    outcome = mirror.load(complete(3, *gone), guards={**NO_GUARDS, "min_source_pct": 50})
    assert outcome.code == 1
    assert "the source has shrunk from 2 contacts to 0 (guards.min_source_pct: 50)" in outcome.log
    assert outcome.report["streams"]["profiles"]["mirror"]["kind"] == "empty"
    assert mirror.members() == "ada bob"


def test_mirror_in_which_everyone_was_deleted_is_empty(mirror: Mirror) -> None:
    alive = records("ada bob cat dan")
    mirror.load(complete(1, *alive)).succeeded()
    gone = [deleted(one["record"]["email"]) for one in alive]
    again = records("ada bob cat dan", first_name="New")
    assert mirrored(mirror.load(complete(2, *again, *gone)).succeeded())["kind"] == "empty"
    assert mirror.members() == "ada bob cat dan"


# Change logs


def test_mirror_refuses_a_change_log(load: TargetRunner, sandbox: SandboxServer) -> None:
    for name in ("_sdc_lsn", "_SDC_LSN"):
        outcome = load([schema(**{name: "integer"}), record(ANA)], sync_mode="mirror")
        assert outcome.code == 1
        assert f"it is a change log (its SCHEMA has '{name}')" in outcome.log
    maps = {"profiles": {"_sdc_lsn": None}}
    messages = [schema(_sdc_lsn="integer"), record(ANA, _sdc_lsn=3)]
    assert load(messages, sync_mode="mirror", stream_maps=maps).code == 1
    assert not sandbox.contacts()
    outcome = load(2 * messages, sync_mode="mirror", complete_stream=True).succeeded()
    claims = [one for one in outcome.warnings if "'complete_stream' says" in one]
    assert len(claims) == 1
    assert "'_sdc_lsn'" in claims[0]
    assert load(messages).succeeded().counts == {"read": 1, "unchanged": 1}


def test_deletion_times_alone_are_not_a_change_log(load: TargetRunner) -> None:
    load([schema(**TYPES), record(ANA)], sync_mode="mirror").succeeded()
