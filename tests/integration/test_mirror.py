"""A mirror: who was in a segment and no longer is leaves its list, if the segment came whole."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import example
from tests.support.ledgers import empty_database
from tests.support.mirrors import (
    IMPORT,
    NO_GUARDS,
    Mirror,
    activate,
    mirrored,
    records,
    wait_for,
    whole,
)
from tests.support.target_runner import record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ONE_SEGMENT = {"stream_maps": {"web": {"__alias__": "profiles"}, "shop": {"__alias__": "profiles"}}}
BROKEN_END = '{"type": "RECORD", "stream": "prof'


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Iterator[Mirror]:
    mirror = Mirror(load, sandbox)
    yield mirror
    mirror.assert_no_address_was_printed()


def test_mirror_removes_contacts_missing_from_stream(mirror: Mirror) -> None:
    mirror("ada bob cyd")
    ada, bob = mirror.person("ada"), mirror.person("bob")
    outcome = mirror("ada cyd")
    assert mirror.members() == "ada cyd"
    assert mirror.person("bob") == {**bob, "lists": {"1": 2}}, "all else stays as it is"
    assert mirror.person("ada") == ada
    assert outcome.counts == {"read": 2, "unchanged": 2}, "a leaver is no record"
    assert outcome.report["left"] == 1
    none = {"not_left": 0, "held_back": 0, "not_ours": 0, "problem": None}
    assert mirrored(outcome) == {"kind": "left", "people": 2, "left": 1, **none}
    assert "1 removed" in outcome.log


def test_removed_contact_is_not_removed_again(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror("ada")
    outcome = mirror("ada")
    assert mirrored(outcome)["left"] == outcome.report["left"] == outcome.report["imports"] == 0


def test_mirror_adds_and_removes_in_one_run(mirror: Mirror) -> None:
    mirror("ada bob")
    outcome = mirror("bob cyd")
    assert mirror.members() == "bob cyd"
    assert outcome.counts == {"read": 2, "added": 1, "unchanged": 1}


def test_mirror_with_a_postgresql_ledger(mirror: Mirror, postgres: PostgresServer) -> None:
    mirror.load.config.update(ledger_url=empty_database(postgres))
    mirror.load([*whole("ada bob cyd"), *whole("cyd dan", "vip")]).succeeded()
    mirror.load([*whole("ada"), *whole("cyd dan", "vip")]).succeeded()
    assert mirror.members() == "ada cyd dan"
    assert mirror.load(whole("zoe"), guards={}).code == 1
    assert mirror.members() == "ada cyd dan zoe"
    mirror("ada bob", guards={"override_once": True})
    assert mirror.members() == "ada bob cyd dan"


# When a stream is complete


@pytest.mark.parametrize(
    "messages",
    [
        [*records("ada", version=9)],
        [activate(9), *records("ada", version=9)],
        [*records("ada", version=9), activate(8)],
        [*records("ada", version=9), activate(9), *records("bob", version=9)],
        [*records("ada", version=9), activate(9), *records("bob", version=10)],
        [*records("ada", version=9), activate(9, "other")],
    ],
    ids=[
        "without an end",
        "with its end before its beginning",
        "with the end of another version",
        "with more records after its end",
        "with more records of another version after its end",
        "with the end of another stream",
    ],
)
def test_incomplete_stream_removes_nobody(mirror: Mirror, messages: list[dict[str, Any]]) -> None:
    mirror("ada bob cyd")
    outcome = mirror.load([schema(), *messages, state("end")]).succeeded()
    assert mirror.members() == "ada bob cyd"
    assert outcome.states == ["end"]
    assert (mirrored(outcome)["kind"], outcome.report["left"]) == ("incomplete", 0)
    assert "may be incomplete (no ACTIVATE_VERSION after its last record)" in outcome.log


def test_records_without_version_count_for_the_next_activate_version(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.load([schema(), *records("ada"), activate(9)]).succeeded()
    assert mirror.members() == "ada"


def test_initial_load_with_activate_version_before_and_after(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.load([schema(), activate(9), *records("ada", version=9), activate(9)]).succeeded()
    assert mirror.members() == "ada"


def test_complete_stream_setting(mirror: Mirror) -> None:
    complete = {"streams": {"profiles": {"complete_stream": True}}}
    mirror("ada bob cyd")
    outcome = mirror.load([schema(), *records("ada bob")], **complete).succeeded()
    assert mirror.members() == "ada bob"
    assert mirrored(outcome)["kind"] == "left"
    mirror.load([schema(), *records("ada")], complete_stream=True).succeeded()
    assert mirror.members() == "ada"


@pytest.mark.parametrize("complete", [True, False], ids=["by setting", "by its version"])
def test_input_error_removes_nobody(mirror: Mirror, complete: bool) -> None:
    mirror("ada bob cyd")
    written: list[dict[str, Any] | str] = [*whole("ada cyd dan"), BROKEN_END]
    outcome = mirror.load(written, complete_stream=complete)
    assert outcome.code == 1
    assert mirror.members() == "ada bob cyd dan", "what came before the error is delivered"
    assert outcome.report["left"] == 0
    mirror("ada cyd dan")
    assert mirror.members() == "ada cyd dan"


@pytest.mark.parametrize("limit", [{"max_rejects": 0}, {"max_reject_pct": 10}])
def test_too_many_rejected_records_remove_nobody(mirror: Mirror, limit: dict[str, Any]) -> None:
    mirror("ada bob")
    outcome = mirror.load([*whole("ada"), record("nobody")], complete_stream=True, **limit)
    assert outcome.code == 1
    assert mirror.members() == "ada bob"


def test_failed_delivery_removes_nobody(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.sandbox.fault("payment", match={"path": IMPORT})
    outcome = mirror.load(whole("ada cyd"))
    assert outcome.code == 1
    assert mirror.members() == "ada bob"


@pytest.mark.parametrize("complete", [True, False], ids=["by setting", "by its version"])
def test_stopped_run_removes_nobody(
    mirror: Mirror, load: ForkedTargetRunner, complete: bool
) -> None:
    mirror("ada bob")
    run = load.start(complete_stream=complete, checkpoint_seconds=0.1)
    run.feed(whole("ada cyd"))
    wait_for(lambda: "cyd" in mirror.members())  # by now all that was fed is read
    run.kill(signal.SIGTERM)
    outcome = run.wait()
    assert outcome.code == 128 + signal.SIGTERM
    assert mirror.members() == "ada bob cyd"
    mirror("ada cyd")
    assert mirror.members() == "ada cyd"


def test_incomplete_stream_does_not_block_removals_of_another(mirror: Mirror) -> None:
    vip = {"vip": {"list_id": 2}}
    mirror.load([*whole("ada bob"), *whole("cyd dan", "vip")], streams=vip).succeeded()
    part = [schema("vip"), *records("cyd", "vip")]
    outcome = mirror.load([*part, *whole("ada")], streams=vip).succeeded()
    assert (mirror.members(1), mirror.members(2)) == ("ada", "cyd dan")
    assert mirrored(outcome)["left"] == outcome.report["left"] == 1
    assert mirrored(outcome, "vip")["kind"] == "incomplete"


# Incremental streams


def test_mirror_refuses_incremental_stream_before_first_record(mirror: Mirror) -> None:
    incremental = {**schema(), "bookmark_properties": ["updated_at"]}
    written = [incremental, *records("ada", version=9), activate(9), state("end")]
    outcome = mirror.load(written)
    assert outcome.code == 1
    assert outcome.states == []
    assert mirror.sandbox.requests(method="POST") == []
    told = outcome.log.splitlines()[-1]
    for words in ("Stream 'profiles'", "'updated_at'", "'complete_stream' to true"):
        assert words in told


def test_complete_stream_allows_incremental_stream(mirror: Mirror) -> None:
    incremental = {**schema(), "bookmark_properties": ["updated_at"]}
    mirror.load([incremental, *records("ada bob")], complete_stream=True).succeeded()
    mirror.load([incremental, *records("ada")], complete_stream=True).succeeded()
    assert mirror.members() == "ada"


@pytest.mark.parametrize("mode", ["upsert", "update_only", "create_only"])
def test_other_modes_take_incremental_streams(mirror: Mirror, mode: str) -> None:
    incremental = {**schema(), "bookmark_properties": ["updated_at"]}
    mirror.load([incremental, *records("ada")], sync_mode=mode).succeeded()


# Passes: who was seen since the stream's beginning


def test_tap_continues_a_version_in_the_next_run(mirror: Mirror) -> None:
    mirror("ada bob cyd dan")
    mirror.load([schema(), *records("ada bob", version=70), state("half")]).succeeded()
    outcome = mirror.load([schema(), *records("cyd", version=70), activate(70)]).succeeded()
    assert mirror.members() == "ada bob cyd", "whom the first part had has not left"
    assert mirrored(outcome)["people"] == 3
    mirror("ada bob")
    assert mirror.members() == "ada bob", "that pass is over"


@pytest.mark.parametrize("versions", [(70, 71), (None, None)], ids=["with versions", "without"])
def test_tap_that_restarts_a_version_is_not_complete_early(
    mirror: Mirror, versions: tuple[int | None, int | None]
) -> None:
    mirror("ada bob cyd")
    mirror.load([schema(), *records("ada bob", version=versions[0])]).succeeded()
    again = [schema(), *records("ada", version=versions[1]), activate(71)]
    mirror.load(again).succeeded()
    assert mirror.members() == "ada"


def test_new_version_in_the_same_input_starts_a_new_sync(mirror: Mirror) -> None:
    mirror("ada bob")
    first, second = records("ada bob", version=70), records("ada", version=71)
    outcome = mirror.load([schema(), *first, *second, activate(71)]).succeeded()
    assert mirror.members() == "ada"
    assert outcome.counts == {"read": 3, "unchanged": 3}


def test_tap_with_a_constant_version(mirror: Mirror) -> None:
    for names in ("ada bob", "ada bob", "ada"):
        mirror.load([schema(), *records(names, version=1), activate(1)]).succeeded()
    assert mirror.members() == "ada"


# A segment of several streams


def test_two_tap_streams_form_one_segment(mirror: Mirror) -> None:
    for web in ("ada bob", "ada"):
        written = [*whole(web, "web"), *whole("cyd dan", "shop")]
        outcome = mirror.load(written, **ONE_SEGMENT).succeeded()
    assert mirror.members() == "ada cyd dan"
    assert mirrored(outcome)["people"] == 3


@pytest.mark.parametrize(
    "shop",
    [
        [*records("cyd", "shop")],
        [activate(9, "shop")],
        [],
    ],
    ids=["without its end", "empty", "without a word"],
)
def test_segment_of_two_streams_is_complete_when_both_are(
    mirror: Mirror, shop: list[dict[str, Any]]
) -> None:
    web = [schema("web"), schema("shop"), *records("ada", "web"), activate(9, "web")]
    everyone = [*web, *records("bob", "web"), *records("cyd dan", "shop"), activate(9, "shop")]
    mirror.load([*everyone, activate(9, "web")], **ONE_SEGMENT).succeeded()
    outcome = mirror.load([*web, *shop], **ONE_SEGMENT).succeeded()
    assert mirror.members() == "ada bob cyd dan"
    assert mirrored(outcome)["kind"] == "incomplete"
    mirror.load([*web, *records("cyd", "shop"), activate(9, "shop")], **ONE_SEGMENT).succeeded()
    assert mirror.members() == "ada cyd"


# Who is in the stream


def test_invalid_record_keeps_its_contact_in_the_mirror(mirror: Mirror) -> None:
    head = schema(birthday="string", visits="integer")
    mirror.load([head, *records("ada bob cyd dan")], complete_stream=True).succeeded()
    refused = [
        *records("ada", birthday="the day before yesterday"),
        *records("bob", visits="many"),
        record(None, first_name="Dan"),
    ]
    outcome = mirror.load([head, *records("cyd"), *refused], complete_stream=True).succeeded()
    assert mirror.members() == "ada bob cyd", "nobody knows whom the record without address means"
    assert mirrored(outcome)["people"] == 3
    assert outcome.codes == {
        "ada@example.com": "VALUE_INVALID",
        "bob@example.com": "RECORD_INVALID",
        None: "EMAIL_MISSING",
    }


def test_rejected_contact_stays_in_the_mirror(mirror: Mirror) -> None:
    mirror("ada bob")
    mirror.sandbox.fault("queue_drop", contacts=["bob@example.com"], times=1)
    changed = whole("ada bob", first_name="New")
    outcome = mirror.load(changed).succeeded()
    assert outcome.codes == {"bob@example.com": "REFUSED_BY_IMPORT"}
    assert mirror.members() == "ada bob"
    assert mirrored(outcome)["people"] == 2


def test_address_in_another_case_is_the_same_contact(mirror: Mirror) -> None:
    mirror("ada Bob")
    mirror("ADA BOB")
    assert mirror.members() == "ada bob"
    mirror("Ada")
    assert mirror.members() == "ada"


# When nobody leaves


def test_first_run_records_the_baseline_and_removes_nobody(mirror: Mirror) -> None:
    mirror.sandbox.prepare({"email": "bob@example.com", "lists": {"1": 1}})
    outcome = mirror("ada")
    assert mirror.members() == "ada bob"
    assert mirrored(outcome)["kind"] == "first run"
    (told,) = [
        line for line in outcome.log.splitlines() if "1 contacts recorded as the baseline" in line
    ]
    assert "WARNING" in told
    assert "recorded as the baseline" not in mirror("ada").log


def test_baseline_is_the_first_complete_run(mirror: Mirror) -> None:
    mirror.load([schema(), *records("ada bob", version=70)]).succeeded()
    outcome = mirror("ada")
    assert mirrored(outcome)["kind"] == "first run"
    assert mirror.members() == "ada bob"
    mirror("ada")
    assert mirror.members() == "ada"


def test_lost_ledger_starts_with_a_new_baseline(mirror: Mirror) -> None:
    mirror("ada bob cyd")
    mirror.lose_ledger()
    outcome = mirror("ada cyd")
    assert mirrored(outcome)["kind"] == "first run"
    assert any(
        "WARNING" in line and "recorded as the baseline" in line
        for line in outcome.log.splitlines()
    )
    assert mirror.members() == "ada bob cyd"
    mirror("ada")
    assert mirror.members() == "ada bob cyd", "who was on the list then is not ours any more"


@pytest.mark.parametrize(
    "messages",
    [
        [schema(), activate(9), state("end")],
        [schema(), state("end")],
        [schema(), record(None, first_name="No one"), record("no address"), activate(9)],
    ],
    ids=["with an end", "without one", "with no one in it"],
)
def test_empty_stream_removes_nobody_whatever_the_settings(
    mirror: Mirror, messages: list[dict[str, Any]]
) -> None:
    everything_off = {**mirror.load.config["guards"], "override_once": True}
    mirror("ada bob")
    assert mirror.load(whole("ada"), guards={"max_leave": 0}).code == 1
    outcome = mirror.load(messages, complete_stream=True, guards=everything_off).succeeded()
    assert mirror.members() == "ada bob"
    assert mirrored(outcome)["kind"] == "empty"
    assert "is empty" in outcome.log


def test_absent_stream_removes_nobody(mirror: Mirror) -> None:
    mirror("ada bob", complete_stream=True)
    mirror("cyd dan", "others", complete_stream=True, streams={"others": {"list_id": 2}})
    assert mirror.members() == "ada bob"


@pytest.mark.parametrize("mode", ["upsert", "update_only", "create_only"])
def test_only_mirror_removes_contacts(mirror: Mirror, mode: str) -> None:
    mirror("ada bob")
    outcome = mirror("ada", sync_mode=mode)
    assert mirror.members() == "ada bob"
    assert "mirror" not in outcome.report["streams"]["profiles"]


def test_example_of_the_guide(load: TargetRunner, sandbox: SandboxServer) -> None:
    settings = example("modes.md", "mirror")
    (stream,) = settings["streams"]
    for names in ("ada bob", "ada"):
        messages = [schema(stream), *records(names, stream)]
        load(messages, guards=NO_GUARDS, **settings).succeeded()
    lists = {email: one["lists"] for email, one in sandbox.contacts().items()}
    assert lists == {"ada@example.com": {"2": 1}, "bob@example.com": {"2": 2}}
