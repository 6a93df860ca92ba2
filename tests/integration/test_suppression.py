"""Suppression: people who must never be sent are in no request, and leave all lists."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import example
from tests.support.ledgers import LEDGER, empty_database, ledger
from tests.support.mirrors import (
    ACTIVE,
    IMPORT,
    NO_GUARDS,
    UNSUBSCRIBED,
    activate,
    address,
    on_list,
    quick_sandbox,
    wait_for,
)
from tests.support.target_runner import SCRIPT, lines, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

Messages = list[dict[str, Any]]

PEOPLE, BLOCKED = "people", "blocked"
PUT = {"method": "PUT", "path": "/api/3/contacts/*"}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with quick_sandbox(keep_bodies="yes") as server:
        yield server


@pytest.fixture
def sandbox(server: SandboxServer) -> SandboxServer:
    """A sandbox that keeps the bodies of requests."""
    server.reset()
    return server


@pytest.fixture
def run(load: TargetRunner) -> TargetRunner:
    load.config.update(
        guards={**NO_GUARDS, "max_consent_loss_pct": None},
        streams={BLOCKED: {"role": "suppression"}},
    )
    return load


def announce(stream: str, *names: str) -> dict[str, Any]:
    """A SCHEMA message whose properties may hold anything."""
    properties: dict[str, Any] = {name: {} for name in names or ("email", "first_name")}
    schema = {"type": "object", "properties": properties}
    return {"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": []}


def row(stream: str, **values: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": stream, "record": values}


def profiles(names: str, stream: str = PEOPLE) -> Messages:
    rows = [row(stream, email=address(one), first_name=one.title()) for one in names.split()]
    return [announce(stream), *rows]


def suppressed(names: str, stream: str = BLOCKED, **values: Any) -> Messages:
    rows = [row(stream, email=address(one), **values) for one in names.split()]
    return [announce(stream, "email", "_sdc_deleted_at"), *rows]


def sha256_of(name: str) -> str:
    return hashlib.sha256(address(name).encode()).hexdigest()


def skipped(outcome: Outcome) -> dict[str, int]:
    return {code: told["records"] for code, told in outcome.report["skipped"].items()}


def counts_of(outcome: Outcome, stream: str) -> dict[str, int]:
    counts: dict[str, int] = outcome.report["streams"][stream]["counts"]
    return {name: count for name, count in counts.items() if count}


def lose_ledger(run: TargetRunner) -> None:
    for path in run.folder.glob(f"{LEDGER}*"):
        path.unlink()


# Streams whose records can't be read


def md5_of(name: str) -> str:
    return hashlib.md5(address(name).encode()).hexdigest()  # noqa: S324 - what a source may send


def unreadable(names: str, **changes: Any) -> Messages:
    """A suppression stream of MD5 hashes; `changes` are of its SCHEMA message."""
    message = {**announce(BLOCKED, "email"), **changes}
    return [message, *(row(BLOCKED, email=md5_of(one)) for one in names.split())]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([*unreadable("bob cyd"), state(1)], [state(2)]),
        ([], [*unreadable("bob cyd"), state(2)]),
        ([state(1), *unreadable("bob"), state(2), *unreadable("cyd"), state(3)], []),
        ([*unreadable("bob cyd", bookmark_properties=["id"]), state(1)], [state(2)]),
    ],
    ids=["suppression first", "profiles first", "with STATE in between", "incremental"],
)
def test_stream_of_which_no_record_can_be_read_ends_the_run_before_profiles(
    run: TargetRunner, sandbox: SandboxServer, before: Messages, after: Messages
) -> None:
    outcome = run([*before, *profiles("ada bob"), *after], checkpoint_seconds=0)

    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert "'blocked': none of its records could be read (2 records)" in last
    assert "SHA-256 as 64 hex digits, in 'email'" in last
    assert sandbox.contacts() == {}
    # Otherwise an incremental tap would not send these records again, and all would be sent.
    assert [one for one in outcome.states if one > 1 or before[0] != state(1)] == []
    assert outcome.counts == {"read": 2, "invalid": 2}


def test_late_stream_of_which_no_record_can_be_read_fails_the_run(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = run(
        [*suppressed(""), state(1), *profiles("ada"), *unreadable("bob")[1:], state(2)],
        checkpoint_seconds=0,
    )

    assert outcome.code == 1
    assert "none of its records could be read (1 record)" in outcome.log.splitlines()[-1]
    assert outcome.states in ([], [1])
    assert run(unreadable("bob")).code == 1, "also without profiles"


def test_records_of_an_earlier_run_do_not_excuse_a_whole_stream(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    run(suppressed("bob")).succeeded()

    assert run([*unreadable("bob cyd"), *profiles("ada cyd")]).code == 1

    assert sandbox.contacts() == {}


@pytest.mark.parametrize("count", [1, 9, 10])
def test_single_bad_records_of_an_incremental_stream_cost_only_themselves(
    run: TargetRunner, sandbox: SandboxServer, count: int
) -> None:
    bad = " ".join(f"p{number}" for number in range(count))
    run(suppressed("bob")).succeeded()

    outcome = run(
        [*unreadable(bad, bookmark_properties=["id"]), *profiles("ada bob"), state(1)],
    )

    assert outcome.code == int(count == 10)
    assert on_list(sandbox) == ("" if count == 10 else "ada")
    assert outcome.states == ([] if count == 10 else [1])


def test_one_bad_record_at_the_start_of_a_stream_holds_no_state(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    late = [row(BLOCKED, email=address("bob"))]

    outcome = run([*unreadable("cyd"), state(1), *late, state(2), *profiles("ada bob")]).succeeded()

    assert on_list(sandbox) == "ada"
    assert outcome.states[-1] == 2
    assert counts_of(outcome, BLOCKED) == {"read": 2, "added": 1, "invalid": 1}


# The order of streams

HOLDS = "wait in a temporary file"

ORDERS: dict[str, tuple[str, bool]] = {
    "suppression first": ("S s1 s2 STATE P p1 p2 p3 STATE", False),
    "profiles first": ("P p1 p2 p3 STATE S s1 s2 STATE", True),
    "announced together": ("S P p1 p2 p3 s1 s2 STATE", True),
    "announced last": ("P S p1 p2 p3 STATE s1 s2 STATE", True),
    "other schema in between": ("P p1 S s1 P p2 p3 s2 STATE", True),
    "state before its records": ("P p1 p2 S STATE s1 s2 STATE P p3 STATE", True),
    "state before": ("STATE P p1 STATE p2 p3 STATE S STATE s1 STATE s2", True),
    "suppression between": ("P p1 p2 STATE S s1 s2 STATE P p3 STATE", True),
}


def ordered(text: str) -> Messages:
    names = {"p1": "ada", "p2": "bob", "p3": "cyd", "s1": "bob", "s2": "cyd"}
    found: Messages = []
    for number, word in enumerate(text.split(), 1):
        if word == "STATE":
            found.append(state({"at": number}))
        elif word in ("S", "P"):
            found.append((suppressed if word == "S" else profiles)("")[0])
        else:
            found.append((suppressed if word[0] == "s" else profiles)(names[word])[1])
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_suppressed_people_are_in_no_request_whatever_the_order(
    run: TargetRunner, sandbox: SandboxServer, order: str
) -> None:
    text, holds = ORDERS[order]
    messages = ordered(text)

    outcome = run(messages, batch_size_rows=1).succeeded()

    assert on_list(sandbox) == "ada"
    assert sandbox.contacts().keys() == {address("ada")}
    bodies = sandbox.bodies()
    assert address("ada") in bodies
    assert address("bob") not in bodies
    assert address("cyd") not in bodies
    assert outcome.counts == {"read": 5, "added": 3, "skipped": 2}
    assert skipped(outcome) == {"SUPPRESSED": 2}
    assert counts_of(outcome, BLOCKED) == {"read": 2, "added": 2}
    assert outcome.report["streams"][BLOCKED]["role"] == "suppression"
    assert outcome.log.count(HOLDS) == holds
    states = [one["value"] for one in messages if one["type"] == "STATE"]
    assert outcome.states[-1:] == states[-1:]
    again = run(messages, batch_size_rows=1).succeeded()
    assert again.counts == {"read": 5, "unchanged": 3, "skipped": 2}
    assert address("bob") not in sandbox.bodies()


def test_example_of_the_guide(run: TargetRunner, sandbox: SandboxServer) -> None:
    run.config.update(example("consent.md", "suppression"))

    run([*suppressed("bob", "do_not_mail"), *profiles("ada bob")]).succeeded()

    assert on_list(sandbox) == "ada"


def test_stream_that_is_not_in_the_input_delays_the_others_only(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    run(suppressed("bob")).succeeded()

    outcome = run([*profiles("ada bob"), state(1)]).succeeded()

    assert on_list(sandbox) == "ada"
    assert outcome.states == [1]
    assert outcome.log.count(HOLDS) == 1
    assert "'blocked'" in next(line for line in outcome.log.splitlines() if HOLDS in line)


@pytest.mark.parametrize("first", [PEOPLE, BLOCKED])
def test_streams_with_keys_flattening_and_an_alias(
    run: TargetRunner, sandbox: SandboxServer, first: str
) -> None:
    maps = {"raw_blocked": {"__alias__": BLOCKED, "email": "record['who']['mail']"}}
    blocked = [announce("raw_blocked", "who", "id"), row("raw_blocked", who={}, id=1)]
    blocked[0]["key_properties"] = ["id"]
    inner = {"type": "object", "properties": {"mail": {"type": "string"}}}
    blocked[0]["schema"]["properties"]["who"] = inner
    blocked[1]["record"]["who"] = {"mail": f" {address('bob')} "}
    people = profiles("ada bob")
    people[0]["key_properties"] = ["email"]
    parts = [people, blocked] if first == PEOPLE else [blocked, people]

    run(
        [*parts[0], state(1), *parts[1], state(2)],
        stream_maps=maps,
        flattening_enabled=True,
        flattening_max_depth=2,
    ).succeeded()

    assert on_list(sandbox) == "ada"
    assert address("bob") not in sandbox.bodies()


def test_empty_stream_that_has_its_state_delays_nothing(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = run([*suppressed(""), state(1), *profiles("ada"), state(2)]).succeeded()

    assert on_list(sandbox) == "ada"
    assert HOLDS not in outcome.log


def test_people_who_come_late_are_dropped_from_the_batch_and_leave_at_the_end(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    crowd = " ".join(f"p{number}" for number in range(120))
    late = [row(BLOCKED, email=address(one)) for one in ("p0", "p119", "p5")]
    hashed = [announce(BLOCKED, "email_sha256"), row(BLOCKED, email_sha256=sha256_of("p118"))]

    outcome = run(
        [*suppressed("zoe"), state(1), *profiles(crowd), *late, *hashed, *profiles("p119 zoe")],
        batch_size_rows=100,
    ).succeeded()

    assert len(on_list(sandbox).split()) == 116
    assert {"p0", "p5", "p118", "p119"}.isdisjoint(on_list(sandbox).split())
    assert outcome.counts["read"] == 127
    assert sum(outcome.counts.values()) == 2 * 127
    assert f'"{address("p117")}"' in sandbox.bodies()
    for name in ("p118", "p119", "zoe"):
        assert f'"{address(name)}"' not in sandbox.bodies()


@pytest.mark.parametrize(
    ("fault", "settings"),
    [
        ({"kind": "slow", "seconds": 1.5, "takes_effect": True}, {"max_in_flight": 1}),
        ({"kind": "queue_stuck"}, {"import_timeout": 2}),
    ],
    ids=["waits in the queue", "is sent again"],
)
def test_people_who_come_late_are_left_out_of_imports_that_are_still_to_be_sent(
    run: TargetRunner, sandbox: SandboxServer, fault: dict[str, Any], settings: dict[str, Any]
) -> None:
    names = [f"p{number}" for number in range(10)]
    sandbox.fault(**fault, match={"method": "POST", "path": IMPORT}, times=1)
    command = run.command(batch_size_rows=5, checkpoint_seconds=0, **settings)
    process = subprocess.Popen(
        command, cwd=run.folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(lines([*suppressed("zoe"), state(1), *profiles(" ".join(names))]))
    process.stdin.flush()
    wait_for(lambda: sandbox.faults()[0]["fired"] > 0)

    _, log = process.communicate(lines([*suppressed("p1 p6 p7"), state(2)]))

    assert process.returncode == 0, log
    assert set(on_list(sandbox).split()) == set(names) - {"p1", "p6", "p7"}
    on_its_way = {"p1": 1, "p6": int("max_in_flight" not in settings)}
    for name, count in on_its_way.items():
        assert sandbox.bodies().count(f'"{address(name)}"') == count, name


def test_one_stream_of_the_tap_may_have_both(run: TargetRunner, sandbox: SandboxServer) -> None:
    maps = {
        PEOPLE: {"email": "email", "first_name": "first_name", "__else__": None},
        BLOCKED: {"__source__": PEOPLE, "__filter__": "stop", "email": "email", "__else__": None},
    }
    crowd = [(f"p{number}", False) for number in range(1200)]  # more than a window
    rows = [
        row(PEOPLE, email=address(name), first_name=name, stop=stop)
        for name, stop in (("ada", False), ("bob", False), *crowd, ("cyd", True), ("bob", True))
    ]

    outcome = run(
        [announce(PEOPLE, "email", "first_name", "stop"), *rows[:2], state(1), *rows[2:], state(2)],
        stream_maps=maps,
    ).succeeded()

    assert "ada" in on_list(sandbox).split()
    assert f'"{address("ada")}"' in sandbox.bodies()
    assert f'"{address("bob")}"' not in sandbox.bodies()
    assert f'"{address("cyd")}"' not in sandbox.bodies()
    assert counts_of(outcome, PEOPLE) == {"read": 1204, "added": 1201, "skipped": 3}
    assert counts_of(outcome, BLOCKED) == {"read": 2, "added": 2}
    assert outcome.states == [2]


def test_errors_in_lines_that_wait_name_their_place(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    bad = {"type": "RECORD", "stream": PEOPLE, "record": {}, "version": []}
    messages: list[Any] = [*profiles("ada"), bad, *suppressed("bob"), state(1)]

    outcome = run(messages)

    assert outcome.code == 1
    assert "Line 3 of the input" in outcome.log.splitlines()[-1]
    assert outcome.states == []
    run([*profiles("ada"), row(PEOPLE, email="nobody"), "", *suppressed("bob"), "{"])
    last = run([*profiles("ada"), *suppressed("bob"), "{"])
    assert "Line 5 of the input is not valid JSON" in last.log.splitlines()[-1]
    assert "ada" not in on_list(sandbox) or last.code == 1


def test_nothing_that_waits_is_sent_after_an_error(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = run([*profiles("ada bob"), state(1), "no JSON", *suppressed("bob")])

    assert outcome.code == 1
    assert outcome.states == []
    assert sandbox.contacts() == {}


def test_batch_files_wait_too_and_suppress(
    run: TargetRunner, sandbox: SandboxServer, tmp_path: Path
) -> None:
    def batch(stream: str, names: str) -> dict[str, Any]:
        path = tmp_path / f"{stream}.jsonl"
        rows = [{"email": address(one), "first_name": one} for one in names.split()]
        path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
        encoding = {"format": "jsonl", "compression": "none"}
        return {
            "type": "BATCH",
            "stream": stream,
            "encoding": encoding,
            "manifest": [path.as_uri()],
        }

    outcome = run(
        [*profiles(""), batch(PEOPLE, "ada bob"), *suppressed(""), batch(BLOCKED, "bob"), state(1)]
    ).succeeded()

    assert on_list(sandbox) == "ada"
    assert address("bob") not in sandbox.bodies()
    assert outcome.log.count(HOLDS) == 1
    assert outcome.states == [1]


def test_no_file_is_left_of_what_waits(
    run: TargetRunner, sandbox: SandboxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    process = subprocess.Popen(
        run.command(), cwd=run.folder, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(lines(profiles("ada bob")))
    process.stdin.flush()
    while HOLDS.encode() not in process.stderr.readline():
        pass

    def files() -> list[str]:
        links = [str(one.readlink()) for one in Path(f"/proc/{process.pid}/fd").iterdir()]
        return [one for one in links if one.startswith(f"{folder}/")]

    wait_for(lambda: bool(files()))
    held = files()
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert all(one.endswith("(deleted)") for one in held)
    assert list(folder.iterdir()) == []
    assert sandbox.contacts() == {}


# What a record says


@pytest.mark.parametrize(
    "name",
    ["email_sha256", "SHA256", "EmailHash", "sha256_email", "hashed_email", "email", "told"],
)
def test_people_known_by_a_hash_alone(run: TargetRunner, sandbox: SandboxServer, name: str) -> None:
    sandbox.prepare({"email": address("cyd"), "lists": {"1": ACTIVE}})
    if name == "told":
        run.config["streams"][BLOCKED]["field_mapping"] = {"told": "email_sha256"}
    rows = [row(BLOCKED, **{name: f" {sha256_of(one).upper()} "}) for one in ("bob", "cyd")]

    outcome = run([announce(BLOCKED, name), *rows, state(1), *profiles("ada bob")]).succeeded()

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "cyd"
    assert address("bob") not in sandbox.bodies()
    assert outcome.counts == {"read": 4, "added": 3, "skipped": 1}


def test_both_an_address_and_a_hash(run: TargetRunner, sandbox: SandboxServer) -> None:
    rows = [
        row(BLOCKED, mail=address("bob"), sha256=sha256_of("bob")),
        row(BLOCKED, mail=address("cyd"), sha256=sha256_of("dee")),
        row(BLOCKED, mail="broken", sha256=sha256_of("eve")),
        row(BLOCKED, mail=address("fay"), sha256="broken"),
        row(BLOCKED, mail=None, sha256=""),
        row(BLOCKED, mail="broken", sha256=None),
        row(BLOCKED, sha256="abc"),
        row(BLOCKED, mail=7),
    ]

    outcome = run(
        [announce(BLOCKED, "mail", "sha256"), *rows, state(1), *profiles("ada bob cyd dee eve fay")]
    ).succeeded()

    assert on_list(sandbox) == "ada"
    assert counts_of(outcome, BLOCKED) == {"read": 8, "added": 4, "invalid": 4}
    codes = sorted(record["_reject_code"] for record in outcome.rejects)
    assert codes == ["EMAIL_INVALID", "EMAIL_INVALID", "EMAIL_INVALID", "EMAIL_MISSING"]
    assert outcome.states == [1]


def test_invalid_record_suppresses_its_person_all_the_same(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    schema = announce(BLOCKED, "email", "number")
    schema["schema"]["properties"]["number"] = {"type": "integer"}

    outcome = run(
        [schema, row(BLOCKED, email=address("bob"), number="x"), *profiles("ada bob")]
    ).succeeded()

    assert on_list(sandbox) == "ada"
    assert counts_of(outcome, BLOCKED) == {"read": 1, "invalid": 1}
    assert [one["_reject_code"] for one in outcome.rejects] == ["RECORD_INVALID"]


@pytest.mark.parametrize(
    ("names", "settings", "text"),
    [
        (("name",), {}, "no property with an e-mail address or its SHA-256"),
        (
            ("email",),
            {"field_mapping": {"email": "first_name"}},
            "maps 'email' to 'first_name'. As",
        ),
        (("email",), {"field_mapping": {"mail": "email"}}, "lacks 'mail'"),
        (("e_mail", "e-mail"), {}, "match 'email' equally well"),
        (("email",), {"leave_when": "absent"}, "can only be 'deleted'"),
        (("email",), {"role": "both"}, "must be one of profiles, suppression"),
        (("email",), {"rol": "suppression"}, "use the setting 'role' for that"),
    ],
)
def test_what_can_not_be(
    run: TargetRunner, names: tuple[str, ...], settings: dict[str, Any], text: str
) -> None:
    run.config["streams"][BLOCKED].update(settings)

    outcome = run([announce(BLOCKED, *names)])

    assert outcome.code == 1
    assert text in outcome.log


@pytest.mark.parametrize("name", ["Blockd", "public-blocked", "black_list"])
def test_misspelt_suppression_stream_is_not_sent_as_profiles(
    run: TargetRunner, sandbox: SandboxServer, name: str
) -> None:
    messages = [*suppressed("bob", name), *profiles("ada")]

    outcome = run(messages)

    if name == "black_list":  # nothing shows that it is meant
        assert on_list(sandbox) == "ada bob"
        return
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert f"rename 'streams.blocked' to 'streams.{name}'" in last
    assert sandbox.export() == []
    assert outcome.states == []
    run.config["streams"][name] = {"role": "profiles"}
    run(messages).succeeded()
    assert on_list(sandbox) == "ada bob"


def test_role_is_of_streams_only_and_other_settings_have_no_effect(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    assert "under 'streams'" in run([], role="suppression").log
    run.config["streams"][BLOCKED]["list_id"] = 1

    outcome = run([*suppressed("bob"), *profiles("ada")]).succeeded()

    assert outcome.warnings == [
        "The setting 'streams.blocked.list_id' has no effect, as the stream's role is "
        "'suppression'."
    ]
    assert on_list(sandbox) == "ada"


@pytest.mark.parametrize("mode", ["mirror", "update_only"])
def test_modes_of_the_whole_target_are_not_for_it(
    run: TargetRunner, sandbox: SandboxServer, mode: str
) -> None:
    run.config.update(sync_mode=mode, complete_stream=True, list_id=None)
    run.config.update(leave_when="both", person_key="email", field_mapping={"first_name": "%X%"})

    outcome = run(suppressed("bob")).succeeded()

    assert outcome.counts == {"read": 1, "added": 1}
    assert sandbox.requests(method="POST") == []


# Lists


@pytest.mark.parametrize("first", ["profiles", "suppression"])
@pytest.mark.parametrize("by", ["address", "hash"])
def test_suppressed_people_leave_whoever_added_them(
    run: TargetRunner, sandbox: SandboxServer, first: str, by: str
) -> None:
    run(profiles("ada bob")).succeeded()
    sandbox.prepare({"email": address("cyd"), "lists": {"1": ACTIVE, "2": ACTIVE}})
    before = sandbox.bodies().count(address("bob"))
    blocked = suppressed("bob cyd")
    if by == "hash":
        rows = [row(BLOCKED, email_sha256=sha256_of(name)) for name in ("bob", "cyd")]
        blocked = [announce(BLOCKED, "email_sha256"), *rows]
    parts = [blocked, profiles("ada bob")]

    outcome = run([*parts[first == "profiles"], *parts[first != "profiles"]]).succeeded()

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "bob cyd"
    assert sandbox.bodies().count(address("bob")) == before
    assert address("cyd") not in sandbox.bodies()
    assert outcome.report["left"] == 2
    assert skipped(outcome) == {"SUPPRESSED": 1}
    # A list that another run loads.
    assert on_list(sandbox, list_id=2) == "cyd"
    run(profiles("ada"), list_id=2).succeeded()
    assert on_list(sandbox, list_id=2) == "ada"
    again = run([*blocked, *profiles("ada bob")]).succeeded()
    assert again.report["left"] == 0


@pytest.mark.parametrize("mark", ["field", "tag"])
@pytest.mark.parametrize("is_missing", [False, True])
def test_mark_of_a_mirror_is_taken_off_without_the_address(
    run: TargetRunner, sandbox: SandboxServer, *, is_missing: bool, mark: str
) -> None:
    how = {"membership_field": "Member"} if mark == "field" else {"membership_tag": "member"}
    run.config.update(sync_mode="mirror", on_leave=mark, complete_stream=True, **how)
    run(profiles("ada bob")).succeeded()
    before = sandbox.bodies().count(address("bob"))
    blocked = [announce(BLOCKED, "sha256"), row(BLOCKED, sha256=sha256_of("bob"))]
    people = profiles("ada" if is_missing else "ada bob")

    preview = run([*blocked, *people], dry_run=True).succeeded()
    outcome = run([*blocked, *people]).succeeded()

    bob = sandbox.contacts()[address("bob")]
    assert (bob["fields"], bob["tags"]) == ({"MEMBER": "false"} if mark == "field" else {}, [])
    assert sandbox.bodies().count(address("bob")) == before
    assert outcome.report["left"] == preview.report["left"] == 1
    assert outcome.counts == preview.counts
    again = run(people).succeeded()
    assert again.report["left"] == 0
    command = [str(Path(SCRIPT).with_name("target-activecampaign-ledger")), "unsuppress", "-"]
    text = address("bob").encode()
    subprocess.run(command, cwd=run.folder, input=text, check=True)
    run(profiles("ada bob")).succeeded()
    bob = sandbox.contacts()[address("bob")]
    assert bob["fields"].get("MEMBER") == "true" or bob["tags"] == ["member"]


@pytest.mark.parametrize("count", [3, 5200])
def test_lost_ledger(run: TargetRunner, sandbox: SandboxServer, count: int) -> None:
    run(profiles("ada bob")).succeeded()
    lose_ledger(run)
    names = " ".join(["bob", *(f"q{number}" for number in range(count))])

    outcome = run([*suppressed(names), *profiles("ada bob")]).succeeded()

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "bob"
    assert outcome.report["left"] == 1
    with ledger(f"sqlite:///{run.folder / LEDGER}") as db:
        assert db.exec_driver_sql("SELECT count(*) FROM withheld").scalar() == 0
        assert db.exec_driver_sql("SELECT count(*) FROM suppression").scalar() == count + 1
    before = len(sandbox.requests(path="/api/3/contacts"))
    assert before
    run([*suppressed(names), *profiles("ada bob")]).succeeded()
    assert len(sandbox.requests(path="/api/3/contacts")) == before


def test_many_people_at_once(run: TargetRunner, sandbox: SandboxServer) -> None:
    run(profiles("ada bob")).succeeded()
    sandbox.prepare({"email": address("q7"), "lists": {"1": ACTIVE}})
    names = " ".join(["bob", *(f"q{number}" for number in range(5200))])

    outcome = run([*suppressed(names), *profiles("ada bob")]).succeeded()

    assert on_list(sandbox) == "ada"
    assert outcome.report["left"] == 2


def test_guard_holds_for_suppressed_people(run: TargetRunner, sandbox: SandboxServer) -> None:
    run.config["guards"] = {}
    run(profiles("ada bob")).succeeded()

    outcome = run([*suppressed("bob"), *profiles("ada bob")])

    assert outcome.code == 1
    assert "guards.max_consent_loss_pct: 20" in outcome.log.splitlines()[-1]
    assert on_list(sandbox) == "ada bob"
    run(profiles("ada bob"), guards={"override_once": True}).succeeded()
    assert on_list(sandbox) == "ada"


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_lifted_people_come_back(run: TargetRunner, sandbox: SandboxServer, mode: str) -> None:
    run.config["streams"][PEOPLE] = {"sync_mode": mode, "complete_stream": True}
    whole = [*profiles("ada bob cyd"), activate(1, PEOPLE)]
    run(whole).succeeded()
    run([*suppressed("bob cyd"), *whole]).succeeded()
    assert on_list(sandbox) == "ada"
    run(whole).succeeded()

    outcome = run([*suppressed("bob dee", _sdc_deleted_at="2026-01-01"), *whole]).succeeded()

    assert on_list(sandbox) == "ada bob"
    assert counts_of(outcome, BLOCKED) == {"read": 2, "changed": 1, "skipped": 1}
    assert skipped(outcome) == {"DELETED": 1, "SUPPRESSED": 1}
    assert run(whole).succeeded().counts == {"read": 3, "unchanged": 2, "skipped": 1}


def test_opt_out_is_not_lifted(run: TargetRunner, sandbox: SandboxServer) -> None:
    run(profiles("ada bob")).succeeded()
    sandbox.opt_out(address("bob"), 1, reason="enough")
    run([*suppressed("bob"), *profiles("ada bob")]).succeeded()

    run([*suppressed("bob", _sdc_deleted_at="now"), *profiles("ada bob")])

    assert on_list(sandbox) == "ada"


def test_last_record_of_a_person_counts_and_other_streams_suppress_on(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    run.config["streams"]["bounced"] = {"role": "suppression", "member_when": {"ok": False}}
    schema = suppressed("")[0]
    deleted = row(BLOCKED, email=address("bob"), _sdc_deleted_at="now")
    there = row(BLOCKED, email=address("bob"))
    bounced = [announce("bounced", "email", "ok"), row("bounced", email=address("bob"), ok=False)]
    good = row("bounced", email=address("bob"), ok=True)

    run([schema, there, deleted, *bounced, *profiles("ada bob")]).succeeded()
    assert on_list(sandbox) == "ada"
    run([schema, there, deleted, *profiles("ada bob")]).succeeded()
    assert on_list(sandbox) == "ada"
    run([*bounced, good, schema, deleted, there, *profiles("ada bob")]).succeeded()
    assert on_list(sandbox) == "ada"

    outcome = run([*bounced, good, schema, deleted, *profiles("ada bob")]).succeeded()

    assert on_list(sandbox) == "ada bob"
    assert counts_of(outcome, "bounced") == {"read": 2, "added": 1, "changed": 1}


@pytest.mark.parametrize("apart", [False, True], ids=["one window", "two windows"])
@pytest.mark.parametrize("is_last_deleted", [False, True])
def test_records_of_a_change_log_count_in_its_order(
    run: TargetRunner, sandbox: SandboxServer, *, is_last_deleted: bool, apart: bool
) -> None:
    run([*profiles("ada"), *suppressed("ada")]).succeeded()
    inserted, deleted = (10, 20) if is_last_deleted else (20, 10)
    changes = [
        row(BLOCKED, email=address("ada"), _sdc_lsn=inserted),
        row(BLOCKED, email=address("ada"), _sdc_lsn=deleted, _sdc_deleted_at="now"),
    ]
    between = [state(1), announce(BLOCKED, "email", "_sdc_deleted_at", "_sdc_lsn")]
    first, second = sorted(changes, key=lambda one: -one["record"]["_sdc_lsn"])

    outcome = run(
        [*between, first, *(between if apart else []), second, *profiles("ada")]
    ).succeeded()

    assert on_list(sandbox) == ("ada" if is_last_deleted else "")
    assert skipped(outcome)["OUTDATED"] == 1


def test_deleted_record_with_its_key_alone(run: TargetRunner) -> None:
    run(suppressed("bob")).succeeded()

    outcome = run([suppressed("")[0], row(BLOCKED, email=None, _sdc_deleted_at="now")]).succeeded()

    assert skipped(outcome) == {"DELETED_UNKNOWN": 1}


# People whose address changes


@pytest.mark.parametrize("which", ["old", "new"])
def test_suppression_follows_the_row(run: TargetRunner, sandbox: SandboxServer, which: str) -> None:
    run.config["streams"][PEOPLE] = {"person_key": ["id"]}

    def person(name: str) -> Messages:
        values = {"id": 1, "email": address(name), "first_name": "Ada"}
        other = {"id": 2, "email": address("zoe"), "first_name": "Zoe"}
        schema = announce(PEOPLE, "id", "email", "first_name")
        return [schema, row(PEOPLE, **values), row(PEOPLE, **other)]

    run(person("ada")).succeeded()
    blocked = suppressed("ada" if which == "old" else "ava")

    outcome = run([*blocked, *person("ava")]).succeeded()

    assert address("ava") not in sandbox.bodies()
    assert on_list(sandbox) == "zoe"
    assert skipped(outcome) == {"SUPPRESSED": 1}
    again = run(person("ava")).succeeded()
    assert address("ava") not in sandbox.bodies()
    assert skipped(again) == {"SUPPRESSED": 1}


def test_person_who_waits_for_another_address_is_not_renamed(
    run: TargetRunner, sandbox: SandboxServer
) -> None:
    run.config["streams"][PEOPLE] = {"person_key": ["id"]}
    schema = announce(PEOPLE, "id", "email")
    run([schema, row(PEOPLE, id=1, email=address("ada"))]).succeeded()
    late = [row(BLOCKED, email=address("ada"))]

    outcome = run(
        [*suppressed("zoe"), state(1), schema, row(PEOPLE, id=1, email=address("ava")), *late]
    ).succeeded()

    assert address("ava") not in sandbox.bodies()
    assert on_list(sandbox) == ""
    assert outcome.counts == {"read": 3, "added": 2, "skipped": 1}


def rows_of(**names: str) -> Messages:
    """Records of rows by their keys, such as `k1="ada"`."""
    people = [row(PEOPLE, id=key, email=address(name)) for key, name in names.items()]
    return [announce(PEOPLE, "id", "email"), *people]


@pytest.mark.parametrize(
    ("how", "at", "which"),
    [
        (how, at, ("old", "new")[(number + at) % 2])
        for number, how in enumerate(["stream", "stream announced last", "command"])
        for at in (1, 2, 3)
    ],
)
def test_plan_of_renames_that_a_kill_has_left_spares_suppressed_people(
    run: ForkedTargetRunner, sandbox: SandboxServer, which: str, at: int, how: str
) -> None:
    """Ada and Bob swap their addresses by a temporary one, and Cyd gets another; then one of the
    addresses is suppressed."""
    run.config["streams"][PEOPLE] = {"person_key": ["id"]}
    run.config["guards"]["max_rename_pct"] = None
    run(rows_of(k1="ada", k2="bob", k3="cyd", k4="zoe")).succeeded()
    moves = rows_of(k1="bob", k2="ada", k3="cya", k4="zoe")
    sandbox.fault("slow", seconds=0.6, takes_effect=True, match=PUT, **{"from": at, "to": at})
    killed = run.start(moves)
    wait_for(lambda: sandbox.faults()[0]["fired"] > 0)
    killed.kill()
    killed.wait()
    wait_for(lambda: len(sandbox.requests(method="PUT")) >= at)
    sandbox.clear_faults()
    names = "bob cyd" if which == "old" else "bob cya"
    before = {name: sandbox.bodies().count(f'"{address(name)}"') for name in names.split()}
    stream = suppressed(names)
    if how == "command":
        people = "".join(f"{address(name)}\n" for name in names.split())
        command = Path(SCRIPT).with_name("target-activecampaign-ledger")
        subprocess.run(
            [command, "suppress", "-"], cwd=run.folder, input=people.encode(), check=True
        )
        stream = []
    last = how == "stream announced last"

    for _ in range(2):
        outcome = run([*moves[:1], *stream, *moves] if last else [*stream, *moves]).succeeded()

    for name, count in before.items():
        assert sandbox.bodies().count(f'"{address(name)}"') == count, name
    there = on_list(sandbox).split()
    assert not {"bob", "cyd"} & set(there)
    # Only if Cyd had the new address for certain, the old one is nobody's.
    assert ("cya" in there) == (which == "old" and at > 1)
    assert "zoe" in there
    assert skipped(outcome)["SUPPRESSED"] == (2 if which == "old" and at > 1 else 3)


@pytest.mark.parametrize("at", [1, 2])
def test_person_suppressed_in_the_middle_of_a_swap_is_unsubscribed_at_the_temporary_address(
    run: ForkedTargetRunner, sandbox: SandboxServer, at: int
) -> None:
    run.config["streams"][PEOPLE] = {"person_key": ["id"]}
    run.config["guards"]["max_rename_pct"] = None
    run(rows_of(k1="ada", k2="bob", k3="cyd")).succeeded()
    moves = rows_of(k1="bob", k2="ada", k3="cyd")
    sandbox.fault("slow", seconds=0.6, takes_effect=True, match=PUT, **{"from": at, "to": at})
    killed = run.start(moves)
    wait_for(lambda: sandbox.faults()[0]["fired"] > 0)
    killed.kill()
    killed.wait()
    wait_for(lambda: len(sandbox.requests(method="PUT")) >= at)
    sandbox.clear_faults()
    assert any("rename-" in name for name in on_list(sandbox).split())
    before = [sandbox.bodies().count(f'"{address(name)}"') for name in ("ada", "bob")]

    for _ in range(2):
        outcome = run([*suppressed("ada bob"), *moves]).succeeded()

        assert on_list(sandbox) == "cyd"
        assert skipped(outcome)["SUPPRESSED"] == 2
    assert [sandbox.bodies().count(f'"{address(name)}"') for name in ("ada", "bob")] == before


# Kills, previews, other ledgers


@pytest.mark.parametrize("point", range(6))
def test_killed_at_any_moment(run: ForkedTargetRunner, sandbox: SandboxServer, point: int) -> None:
    run(profiles("ada bob")).succeeded()
    crowd = " ".join(f"p{number}" for number in range(40))
    stopped = " ".join(["bob", *(f"p{number}" for number in range(0, 40, 2))])
    messages = [*profiles(f"ada bob {crowd}"), state(1), *suppressed(stopped), state(2)]
    running = run.start(messages, batch_size_rows=5, checkpoint_seconds=0)
    time.sleep(0.02 + 0.12 * point)
    running.kill()
    running.wait()

    run(messages, batch_size_rows=5).succeeded()

    there = {"ada", *(f"p{number}" for number in range(1, 40, 2))}
    assert set(on_list(sandbox).split()) == there
    assert sandbox.bodies().count(address("bob")) == 1
    assert f'"{address("p2")}"' not in sandbox.bodies()


def test_preview_changes_nothing(run: TargetRunner, sandbox: SandboxServer) -> None:
    run(profiles("ada bob")).succeeded()
    messages = [*profiles("ada bob cyd"), *suppressed("bob"), state(1)]

    outcome = run(messages, dry_run=True).succeeded()

    assert on_list(sandbox) == "ada bob"
    assert outcome.report["left"] == 1
    assert outcome.states == []
    assert counts_of(outcome, BLOCKED) == {"read": 1, "added": 1}
    with ledger(f"sqlite:///{run.folder / LEDGER}") as db:
        assert db.exec_driver_sql("SELECT count(*) FROM suppression").scalar() == 0


def test_people_whom_another_process_suppresses_leave_at_the_end(
    run: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    request = {"method": "POST", "path": IMPORT}
    sandbox.fault("slow", seconds=4, takes_effect=True, match=request, times=1)
    running = run.start(profiles("ada bob cyd dee"), batch_size_rows=2, max_in_flight=1)
    wait_for(lambda: sandbox.faults()[0]["fired"] > 0)

    run(suppressed("bob cyd")).succeeded()

    outcome = running.wait().succeeded()
    assert on_list(sandbox) == "ada dee"
    assert f'"{address("cyd")}"' not in sandbox.bodies()
    assert skipped(outcome) == {"SUPPRESSED": 1}


def test_ledger_on_postgresql(
    run: TargetRunner, sandbox: SandboxServer, postgres: PostgresServer
) -> None:
    run.config["ledger_url"] = empty_database(postgres)
    names = " ".join(["bob", *(f"q{number}" for number in range(5200))])
    run(profiles("ada bob cyd")).succeeded()

    run([*profiles("ada bob cyd"), *suppressed("cyd"), state(1)]).succeeded()
    assert on_list(sandbox) == "ada bob"
    run([*profiles("ada bob cyd"), *suppressed(names), state(1)]).succeeded()
    assert on_list(sandbox) == "ada"
    lifted = suppressed("cyd", _sdc_deleted_at="now")
    run([*profiles("ada bob cyd"), *lifted, state(1)]).succeeded()

    assert on_list(sandbox) == "ada cyd"
    run([*profiles("ada bob cyd"), *lifted], dry_run=True).succeeded()


def test_check_shows_the_stream_as_such(run: TargetRunner, tmp_path: Path) -> None:
    catalog = {
        "streams": [
            {
                "tap_stream_id": name,
                "stream": name,
                "schema": {"type": "object", "properties": {"email": {"type": "string"}}},
                "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
            }
            for name in (PEOPLE, BLOCKED)
        ]
    }
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(catalog))

    done = subprocess.run(
        [*run.command(), "--test", f"--catalog={path}"],
        cwd=run.folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Suppresses people by 'email'" in done.stdout
