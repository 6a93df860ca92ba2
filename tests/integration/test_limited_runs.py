"""`--limit N`: the first contacts are sent and read back, and everything else stays as it is."""

from __future__ import annotations

import re
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.ledgers import LEDGER
from tests.support.mirrors import (
    IMPORT,
    Mirror,
    activate,
    address,
    mirrored,
    on_list,
    quick_sandbox,
    wait_for,
    whole,
)
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

HEADER = ["contact", "stream", "destination", "sent", "in ActiveCampaign", "result"]


class Limited:
    """Limits runs, and sees each time that no STATE is written."""

    def __init__(self, load: ForkedTargetRunner) -> None:
        self.load = load

    def __call__(self, messages: Any, limit: int, code: int = 0, **settings: Any) -> Outcome:
        self.load.options = [f"--limit={limit}"]
        try:
            outcome = self.load(messages, **settings)
        finally:
            self.load.options = []
        assert outcome.code == code, outcome.log
        assert outcome.states == []
        assert "UndefinedError" not in outcome.log
        return outcome


@pytest.fixture
def limited(load: ForkedTargetRunner) -> Limited:
    return Limited(load)


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Mirror:
    return Mirror(load, sandbox)


def table(outcome: Outcome) -> list[list[str]]:
    """The rows that were printed, without the header."""
    printed = outcome.log.splitlines()
    (start,) = (n for n, line in enumerate(printed) if re.split(r"\s{2,}", line) == HEADER)
    rows = (re.split(r"\s{2,}", line) for line in printed[start + 1 :])
    return [row for row in rows if len(row) > 1 and "|" not in row[0]]


def shown(outcome: Outcome) -> dict[str, tuple[str, str, str]]:
    """What was sent, what is there and the result, by destination, of a run of one contact."""
    return {row[2]: (row[3], row[4], row[5]) for row in table(outcome)}


# Values


@pytest.fixture(scope="module")
def cutting_server() -> Iterator[SandboxServer]:
    with quick_sandbox(longest_value=12) as server:
        yield server


def messages_of_all_types(fields: CustomFields) -> list[Any]:
    """A record with a value of each type of field, and with each other kind of destination."""
    values: dict[str, Any] = {
        "text": "A short text", "textarea": "two\nlines", "hidden": "h", "number": 12.50,
        "date": "2026-10-02", "datetime": "2026-10-02T10:30:00+02:00",
        "dropdown": "Red", "radio": "Blue", "checkbox": ["Red", "Blue"],
        "listbox": ["Blue", "Red"],
    }  # fmt: skip
    for kind, value in values.items():
        chooses = isinstance(value, list) or kind in {"dropdown", "radio"}
        fields.add(f"Of {kind}", kind, *(("Red", "Blue") if chooses else ()), tag=f"OF_{kind}")
    mapping = {kind: f"OF_{kind.upper()}" for kind in values}
    one = record(
        "ada@example.com", first_name="Ada", last_name="Berg", phone="+49 30 1234",
        company="Engines", labels=["one", "two"], **values,
    )  # fmt: skip
    types: dict[str, Any] = {name: {} for name in (*values, "company", "labels")}
    return [mapping, [schema(last_name="string", phone="string", **types), one, state(1)]]


def test_values_of_every_type_are_read_back(limited: Limited, sandbox: SandboxServer) -> None:
    mapping, messages = messages_of_all_types(CustomFields(sandbox))
    mapping |= {"company": "customer_account", "labels": "tags"}

    outcome = limited(messages, 1, field_mapping=mapping, tags=["vip"], report_personal_data=False)

    (contact,) = outcome.report["samples"]["limited"]
    found = {one["destination"] for one in contact["values"]}
    assert found == {
        "email", "first_name", "last_name", "phone", "customer_account", "tag", "list 1",
        *(f"%OF_{kind.upper()}%" for kind in mapping if kind not in {"company", "labels"}),
    }  # fmt: skip
    assert all(one["same"] for one in contact["values"])
    told = shown(outcome)
    assert told["first_name"] == ("A•••", "A•••", "ok")
    assert told["%OF_TEXT%"] == ("A•••", "A•••", "ok")
    assert told["%OF_NUMBER%"][::2] == ("12.5", "ok")
    assert told["%OF_CHECKBOX%"] == ("||Red||Blue||", "||Red||Blue||", "ok")
    assert told["list 1"] == ("subscribed", "subscribed", "ok")
    assert [row[3] for row in table(outcome) if row[2] == "tag"] == ["vip", "o•••", "t•••"]
    assert "1 contact sent, and all values arrived as meant." in outcome.log.splitlines()[-1]
    assert "run without --limit" in outcome.log.splitlines()[-1]
    assert outcome.report["limited"] == {
        "limit": 1, "contacts": 1, "arrived": 1, "refused": 0, "different_values": 0
    }  # fmt: skip
    # The next run finds the contact unchanged, and writes the STATE.
    run = limited.load(messages, field_mapping=mapping, tags=["vip"]).succeeded()
    assert run.counts == {"read": 1, "unchanged": 1}
    assert run.states == [1]


@pytest.mark.parametrize("in_full", [False, True])
def test_value_that_arrives_otherwise_is_shown_and_fails_the_run(
    cutting_server: SandboxServer,
    target_for: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    in_full: bool,
) -> None:
    cutting_server.reset()
    CustomFields(cutting_server).add("Motto", "text")
    limited = Limited(target_for(cutting_server))
    if in_full:  # then it prints addresses
        monkeypatch.setattr(limited.load, "searched", lambda *_: None)
    long, short = "Twelve chars and more", "Twelve chars"
    some = [record(address(name), motto=text) for name, text in (("ada", long), ("bob", "Short"))]

    outcome = limited([schema(motto="string"), *some], 5, code=1, report_personal_data=in_full)

    rows = [row[3:] for row in table(outcome) if row[2] == "%MOTTO%"]
    masked = [["T•••", "T•••", "DIFFERS"], ["S•••", "S•••", "ok"]]
    assert rows == ([[long, short, "DIFFERS"], ["Short", "Short", "ok"]] if in_full else masked)
    assert (long in outcome.log) == in_full
    last = outcome.log.splitlines()[-1]
    assert "ERROR" in last
    assert "1 of 2 contacts did not arrive as meant: 1 value differs." in last
    assert outcome.report["outcome"] == "failed"
    assert outcome.report["limited"]["arrived"] == 1
    # A run does not look, so it finds both unchanged.
    assert limited.load([schema(motto="string"), *some]).counts == {"read": 2, "unchanged": 2}


def test_contact_that_is_refused_or_off_the_list_did_not_arrive(
    limited: Limited, sandbox: SandboxServer
) -> None:
    sandbox.fault("queue_drop", contacts=[address("bob")], times=1)

    outcome = limited([schema(), *(record(address(one)) for one in ("ada", "bob"))], 9, code=1)

    assert [row[-1] for row in table(outcome)] == ["ok", "ok", "rejected: NOT_CREATED"]
    assert "ActiveCampaign rejected 1 contact" in outcome.log.splitlines()[-1]
    assert outcome.report["limited"]["refused"] == 1


# Which contacts, and what stays as it is


def syncs(limited: Limited) -> list[Any]:
    """What the ledger has of syncs and guards."""
    with closing(sqlite3.connect(limited.load.folder / LEDGER)) as db:
        query = "SELECT pass, complete_pass, size, tripped, changed, version FROM segment"
        return db.execute(query).fetchall()


def test_first_contacts_that_must_be_sent_are_sent_alone(
    limited: Limited, sandbox: SandboxServer
) -> None:
    limited.load([schema(), *people(2)]).succeeded()
    everyone = [schema(), record("nobody"), *people(9), *people(9), state("end")]

    outcome = limited(everyone, 3)

    assert set(sandbox.contacts()) == {f"person{n}@example.com" for n in range(5)}
    # The others are there twice too, so some of the skipped ones count as merged.
    told = outcome.counts
    assert (told["read"], told["added"], told["invalid"]) == (19, 3, 1)
    assert told["unchanged"] + told["skipped"] + told["merged"] == 15
    assert outcome.report["skipped"]["LIMITED"]["records"] == told["skipped"]
    # Once more: the next ones.
    limited(everyone, 3)
    assert len(sandbox.contacts()) == 8
    run = limited.load(everyone).succeeded()
    assert run.states == ["end"]
    assert run.counts["added"] == 1


def test_other_mirror_of_the_list_keeps_contacts_of_limited_run(
    limited: Limited, mirror: Mirror, sandbox: SandboxServer
) -> None:
    mirror("ada bob cyd")
    mirror("dee eve", "more")
    limited(whole("bob", "more"), 1)
    mirror("ada")  # neither bob nor cyd, but bob is in the other stream
    assert on_list(sandbox) == "ada bob dee eve"
    mirror("dee", "more")
    assert on_list(sandbox) == "ada dee"


@pytest.mark.parametrize("later", ["no", "deleted", "other stream"])
def test_later_record_that_says_no_keeps_contact_from_being_sent(
    limited: Limited, sandbox: SandboxServer, later: str
) -> None:
    """Even a record that comes after the limit: the contacts are held until the input ends."""
    asks = {"MarketingConsent": "boolean", "_sdc_deleted_at": "string"}
    yes = [record(address(f"p{n:04}"), MarketingConsent=True) for n in range(2500)]
    messages = [schema(**asks), *yes]
    if later == "no":
        messages.append(record(address("p0001"), MarketingConsent=False))
    elif later == "deleted":
        messages.append(record(address("p0001"), _sdc_deleted_at="2026-01-01"))
    else:
        messages += [schema("more", **asks)]
        messages.append(record(address("p0001"), "more", MarketingConsent=False))

    outcome = limited(messages, 3)

    assert on_list(sandbox) == "p0000 p0002"
    assert outcome.report["limited"]["contacts"] == 2
    assert outcome.counts["read"] == 2501
    assert outcome.counts["added"] == 2


def test_suppression_stream_after_the_profiles_is_obeyed(
    limited: Limited, sandbox: SandboxServer
) -> None:
    streams = {"blocked": {"role": "suppression"}}
    profiles = [schema(), *(record(address(one)) for one in ("ada", "bob", "cyd", "dee"))]
    blocked = [schema("blocked"), record(address("ada"), "blocked")]
    late = [schema(), record(address("eve")), record(address("bob"), "blocked"), state(1)]

    outcome = limited([*profiles, *blocked, *late], 3, streams=streams)

    assert on_list(sandbox) == "cyd dee"
    assert outcome.report["skipped"]["SUPPRESSED"]["records"] == 2
    run = limited.load([*profiles, *blocked, *late], streams=streams).succeeded()
    assert on_list(sandbox) == "cyd dee eve"
    assert run.report["streams"]["profiles"]["counts"]["unchanged"] == 2


def test_mirror_neither_removes_nor_completes(
    limited: Limited, mirror: Mirror, sandbox: SandboxServer
) -> None:
    """A run of a source that has lost nearly everyone, in the middle of a history of guards."""
    guards = {"max_leave_pct": 50, "min_source_pct": None}
    mirror("ada bob cyd dee")
    assert limited.load(whole("ada"), guards=guards).code == 1  # a guard has tripped
    before = syncs(limited)

    outcome = limited(whole("ada eve finn"), 1, guards={**guards, "override_once": True})

    assert on_list(sandbox) == "ada bob cyd dee eve"
    assert "mirror" not in outcome.report["streams"]["profiles"]
    assert syncs(limited) == before
    limited([schema()], 1)  # an empty one
    # The run after the guard is let through, as if there had been none in between.
    run = limited.load(whole("ada eve finn"), guards={**guards, "override_once": True}).succeeded()
    assert run.counts == {"read": 3, "added": 1, "unchanged": 2}
    assert mirrored(run)["left"] == 3
    assert on_list(sandbox) == "ada eve finn"


def test_first_runs_of_mirror_are_its_baseline_all_the_same(
    limited: Limited, mirror: Mirror, sandbox: SandboxServer
) -> None:
    limited(whole("ada bob"), 1)
    # Of the same version of the stream: it must not be taken for the rest of an interrupted sync.
    version = 77
    first = [schema(), *({**record(address(n)), "version": version} for n in ("ada", "bob", "cyd"))]
    limited([*first, activate(version)], 2)
    assert mirrored(mirror("ada bob dee"))["kind"] == "first run"
    assert mirrored(mirror("ada"))["left"] == 2
    assert on_list(sandbox) == "ada"


def test_renames_wait_for_a_whole_run(limited: Limited, sandbox: SandboxServer) -> None:
    follows: dict[str, Any] = {"person_key": ["id"], "guards": {"max_rename_pct": None}}
    told = schema(id="integer")
    limited.load([told, record(address("ada"), id=1)], **follows).succeeded()
    moved = [told, record(address("new"), id=1), record(address("bob"), id=2)]

    outcome = limited(moved, 5, **follows)

    assert on_list(sandbox) == "ada bob"
    assert outcome.counts == {"read": 2, "added": 1, "skipped": 1}
    run = limited.load(moved, **follows).succeeded()
    assert run.report["streams"]["profiles"]["identity"]["renamed"] == 1
    assert on_list(sandbox) == "bob new"


def test_nothing_to_send_is_no_failure(limited: Limited, sandbox: SandboxServer) -> None:
    for messages in ([], [schema()], [schema(), record("nobody")]):
        outcome = limited(messages, 5)
        assert sandbox.export() == []
        last = outcome.log.splitlines()[-1]
        assert not messages or last.startswith("No contact had to be sent.")
    limited([], 5, code=1, fail_on_empty=True)


# Ends that come too early


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_run_that_is_ended_early_sends_nothing(
    limited: Limited, sandbox: SandboxServer, how: str
) -> None:
    load, messages = limited.load, [schema(), *people(8), state(1)]
    load.options = ["--limit=3"]
    running = load.start()
    running.feed(messages)
    wait_for(lambda: "goes to list" in running.logged())
    running.kill(signal.SIGKILL if how == "kill" else signal.SIGTERM)
    outcome = running.wait()
    load.options = []

    assert outcome.code == (-9 if how == "kill" else 143)
    assert outcome.states == []
    assert sandbox.export() == []
    assert load(messages).succeeded().counts == {"read": 8, "added": 8}


def test_input_that_ends_with_an_error_sends_nothing(
    limited: Limited, sandbox: SandboxServer
) -> None:
    """A suppression stream might still have come."""
    outcome = limited([schema(), *people(8), '{"type": "RECORD", "str'], 3, code=1)
    assert "is not valid JSON" in outcome.log.splitlines()[-1]
    assert sandbox.export() == []


def test_kill_before_the_import_is_confirmed_loses_and_repeats_nothing(
    limited: Limited, sandbox: SandboxServer
) -> None:
    load, messages = limited.load, [schema(), *people(8), state(1)]
    sandbox.fault("queue_slow", seconds=1, times=1)
    load.options = ["--limit=3"]
    running = load.start(messages)
    wait_for(lambda: bool(sandbox.imports()))
    running.kill()
    running.wait()
    load.options = []

    run = load(messages).succeeded()

    assert run.counts["added"] + run.counts.get("unchanged", 0) == 8
    assert {one["times_imported"] for one in sandbox.export()} == {1}
    assert run.states == [1]


def test_tap_can_write_to_its_end(limited: Limited, sandbox: SandboxServer) -> None:
    """Its pipe does not break once there are enough contacts."""
    load = limited.load
    load.options = ["--limit=1"]
    running = load.start()
    running.feed([schema(), *people(2)])
    wait_for(lambda: "goes to list" in running.logged())
    for _ in range(3):
        running.feed(people(2000))
    outcome = running.wait()
    load.options = []
    assert outcome.code == 0, outcome.log
    assert outcome.counts["read"] == 6002
    assert len(sandbox.requests(method="POST", path=IMPORT)) == 1


# The command line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--limit", "0"], "from 1 to 1,000"),
        (["--limit", "-3"], "from 1 to 1,000"),
        (["--limit", "1001"], "from 1 to 1,000"),
        (["--limit", "five"], "from 1 to 1,000"),
        (["--limit", "1.5"], "from 1 to 1,000"),
        (["--limit", "9" * 5000], "from 1 to 1,000"),
        (["--limit", "5", "--dry-run"], "--limit is for runs that send contacts"),
        (["--limit", "5", "--test"], "--limit is for runs that send contacts"),
        (["--limit", "5", "--about"], "--limit is for runs that send contacts"),
        (["--limits", "5"], "To send the first N contacts: --limit N"),
    ],
)
def test_bad_number_or_combination_is_a_usage_error(
    load: ForkedTargetRunner, sandbox: SandboxServer, arguments: list[str], text: str
) -> None:
    load.options = arguments
    outcome = load([schema(), *people(3)])
    assert outcome.code == 2
    assert text in outcome.log
    assert sandbox.requests() == []


def test_limit_and_setting_dry_run_exclude_each_other(
    limited: Limited, sandbox: SandboxServer
) -> None:
    outcome = limited([schema(), *people(3)], 2, code=1, dry_run=True)
    assert "'dry_run' says that nothing is sent" in outcome.log.splitlines()[-1]
    assert sandbox.requests() == []
