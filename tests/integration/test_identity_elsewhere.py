"""Changed addresses: on other ledgers, from other inputs, after rejects, and when forgotten."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.test_address_changes import identity
from tests.integration.test_interrupted_renames import cut_off
from tests.integration.test_ledger_command import hash_of, traces
from tests.support.fork_server import ForkedTargetRunner, run_script
from tests.support.ledgers import LEDGER, empty_database, ledger
from tests.support.mirrors import (
    ACTIVE,
    NO_GUARDS,
    UNSUBSCRIBED,
    activate,
    address,
    ids,
    on_list,
    wait_for,
)
from tests.support.tables import STREAM, announce, changes, deleted, row, table
from tests.support.target_runner import batch, state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer

pytestmark = pytest.mark.quick

SCRIPT = str(Path(sys.executable).with_name("target-activecampaign-ledger"))
START = {1: "ada", 2: "bob", 3: "cyd"}
SWAP = {1: "bob", 2: "ada", 3: "cyd"}
MOVES = {
    "a rename": {1: "ava", 2: "bob", 3: "cyd"},
    "a swap": SWAP,
    "a cycle": {1: "bob", 2: "cyd", 3: "ada"},
}


@pytest.fixture
def people(load: ForkedTargetRunner) -> ForkedTargetRunner:
    """The target that knows people by the key of their rows, without guards."""
    load.config.update(person_key=True, guards={**NO_GUARDS, "max_rename_pct": None})
    return load


@pytest.fixture
def on_postgres(people: ForkedTargetRunner, postgres: PostgresServer) -> ForkedTargetRunner:
    """The same with an empty ledger on PostgreSQL."""
    people.config.update(ledger_url=empty_database(postgres))
    return people


def assert_moved(
    sandbox: SandboxServer, before: dict[str, str], start: dict[int, str], end: dict[int, str]
) -> None:
    """See that each row has the contact it had, under its new name, active on the list."""
    assert ids(sandbox) == {name: before[start[key]] for key, name in end.items()}
    assert on_list(sandbox).split() == sorted(end.values())


# PostgreSQL


@pytest.mark.parametrize("move", MOVES)
def test_contacts_are_renamed_with_a_ledger_on_postgresql(
    on_postgres: ForkedTargetRunner, sandbox: SandboxServer, move: str
) -> None:
    end = MOVES[move]
    on_postgres(table(START)).succeeded()
    before = ids(sandbox)

    outcome = on_postgres(table(end)).succeeded()

    assert_moved(sandbox, before, START, end)
    assert identity(outcome) == {"renamed": sum(START[key] != end[key] for key in START)}
    assert on_postgres(table(end)).succeeded().counts == {"read": 3, "unchanged": 3}
    assert not (on_postgres.folder / LEDGER).exists()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_next_run_finishes_a_swap_from_a_ledger_on_postgresql(
    on_postgres: ForkedTargetRunner, sandbox: SandboxServer, at: int
) -> None:
    on_postgres(table(START)).succeeded()
    before = ids(sandbox)
    killed = cut_off(on_postgres, sandbox, table(SWAP), at=at)
    assert (killed.code, killed.states) == (-signal.SIGKILL, [])

    on_postgres(table(SWAP)).succeeded()

    assert_moved(sandbox, before, START, SWAP)
    assert on_postgres(table(SWAP)).succeeded().counts == {"read": 3, "unchanged": 3}
    with ledger(on_postgres.config["ledger_url"]) as db:
        for name in ("waiting", "rename"):
            assert db.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() == 0, name  # noqa: S608


def test_rows_that_share_an_address_part_with_a_ledger_on_postgresql(
    on_postgres: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    on_postgres.config.update(sync_mode="mirror")
    first = on_postgres(table({1: "ada", 2: "ada", 3: "cyd"})).succeeded()
    assert identity(first) == {"shared_address": 1}
    ada = ids(sandbox)["ada"]

    outcome = on_postgres(table({1: "ava", 2: "ada", 3: "cyd"})).succeeded()

    assert ids(sandbox)["ada"] == ada
    assert on_list(sandbox) == "ada ava cyd"
    assert identity(outcome) == {}
    on_postgres(table({1: "eve", 3: "cyd"})).succeeded()
    assert ids(sandbox).keys() == {"ada", "cyd", "eve"}
    assert on_list(sandbox) == "cyd eve"
    assert on_list(sandbox, UNSUBSCRIBED) == "ada"


# Two accounts


def rows_by_account(load: ForkedTargetRunner, url: str) -> dict[str, Sequence[Any]]:
    """Return what the ledger has of an account's contacts and rows."""
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        return {
            name: db.exec_driver_sql(
                f"SELECT one.* FROM {name} one JOIN segment ON one.segment = segment.id "  # noqa: S608
                "JOIN account ON account.id = segment.account WHERE account.identity = ? "
                "ORDER BY 1, 2",
                (url,),
            ).all()
            for name in ("member", "source_row")
        }


def test_rename_in_one_account_leaves_the_other_account_of_the_ledger_alone(
    people: ForkedTargetRunner, sandbox: SandboxServer, start_sandbox: Callable[..., SandboxServer]
) -> None:
    other = start_sandbox(latency=0.02, false_status=0)
    people(table(START)).succeeded()
    people(table(START), api_url=other.url).succeeded()
    before, theirs = ids(sandbox), ids(other)
    contacts, rows = other.contacts(), rows_by_account(people, other.url)
    assert [len(rows[name]) for name in rows] == [3, 3]

    people(table(SWAP)).succeeded()

    assert_moved(sandbox, before, START, SWAP)
    assert other.contacts() == contacts
    assert rows_by_account(people, other.url) == rows
    end = MOVES["a cycle"]
    outcome = people(table(end), api_url=other.url).succeeded()
    assert identity(outcome) == {"renamed": 3}
    assert_moved(other, theirs, START, end)
    assert_moved(sandbox, before, START, SWAP)


def test_plan_of_one_account_is_not_carried_out_in_the_other(
    people: ForkedTargetRunner, sandbox: SandboxServer, start_sandbox: Callable[..., SandboxServer]
) -> None:
    other = start_sandbox(latency=0.02, false_status=0)
    people(table(START)).succeeded()
    people(table(START), api_url=other.url).succeeded()
    before, contacts = ids(sandbox), other.contacts()
    cut_off(people, sandbox, table(SWAP), at=1)
    halfway = ids(sandbox)

    outcome = people(table(START), api_url=other.url).succeeded()

    assert outcome.counts == {"read": 3, "unchanged": 3}
    assert other.contacts() == contacts
    assert ids(sandbox) == halfway
    people(table(SWAP)).succeeded()
    assert_moved(sandbox, before, START, SWAP)


# Other inputs


def in_batch_file(folder: Path, people: dict[int, str], version: int, kind: str) -> list[Any]:
    """Return the messages of a whole table whose records are in a file."""
    records = [row(key, name)["record"] for key, name in people.items()]
    path = folder / f"{version}.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(f"{json.dumps(one)}\n" for one in records))
    encoding = {"format": kind, "compression": "none"}
    return [
        announce(),
        batch(encoding, path, stream=STREAM, version=version),
        activate(version, STREAM),
        state({STREAM: version}),
    ]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("move", MOVES)
def test_records_of_batch_files_rename_contacts(
    people: ForkedTargetRunner, sandbox: SandboxServer, move: str, kind: str
) -> None:
    end = MOVES[move]
    people.config.update(sync_mode="mirror")
    people(in_batch_file(people.folder, START, 1, kind)).succeeded()
    before = ids(sandbox)

    outcome = people(in_batch_file(people.folder, end, 2, kind)).succeeded()

    assert_moved(sandbox, before, START, end)
    assert identity(outcome) == {"renamed": sum(START[key] != end[key] for key in START)}
    assert outcome.states == [{STREAM: 2}]
    again = people(in_batch_file(people.folder, end, 3, kind)).succeeded()
    assert again.counts == {"read": 3, "unchanged": 3}


def nested(people: dict[int, str]) -> list[dict[str, Any]]:
    """Return the messages of a table whose key is in an object."""
    about = announce()
    about["schema"]["properties"]["meta"] = {
        "type": ["object", "null"],
        "properties": {"id": {"type": ["integer", "null"]}},
    }
    about["key_properties"] = []
    rows = [row(None, name, meta={"id": key}) for key, name in people.items()]
    return [about, *rows, state(1)]


def test_key_may_be_a_flattened_property(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(person_key=["meta__id"], flattening_enabled=True, flattening_max_depth=1)
    people(nested(START)).succeeded()
    before = ids(sandbox)

    outcome = people(nested(SWAP)).succeeded()

    assert_moved(sandbox, before, START, SWAP)
    assert identity(outcome) == {"renamed": 2}
    assert people(nested(SWAP)).succeeded().counts == {"read": 3, "unchanged": 3}


@pytest.mark.parametrize("person_key", [True, ["member_no"]])
def test_key_may_be_renamed_by_a_stream_map(
    people: ForkedTargetRunner, sandbox: SandboxServer, person_key: Any
) -> None:
    stream_map = {"member_no": "id", "id": None, "__key_properties__": ["member_no"]}
    people.config.update(person_key=person_key, stream_maps={STREAM: stream_map})
    people(table(START)).succeeded()
    before = ids(sandbox)

    outcome = people(table(SWAP)).succeeded()

    assert_moved(sandbox, before, START, SWAP)
    assert identity(outcome) == {"renamed": 2}
    wrong = people(table(START), person_key=["id"])
    assert (wrong.code, wrong.report["counts"]["read"]) == (1, 0)
    assert "person_key" in wrong.log.splitlines()[-1]


# Rejected records


def with_points(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of changes whose records may have loyalty points, as text."""
    about, *rest = changes(*rows)
    about["schema"]["properties"]["loyalty_points"] = {"type": ["string", "null"]}
    return [about, *rest]


@pytest.mark.parametrize("move", MOVES)
def test_replayed_reject_file_brings_the_values_of_renamed_contacts(
    people: ForkedTargetRunner, sandbox: SandboxServer, move: str
) -> None:
    end = MOVES[move]
    people(with_points(*(row(key, name) for key, name in START.items()))).succeeded()
    before = ids(sandbox)
    moved = {key: name for key, name in end.items() if START[key] != name}
    bad = with_points(*(row(key, name, loyalty_points="many") for key, name in moved.items()))

    rejected = people(bad)

    assert rejected.counts == {"read": len(moved), "invalid": len(moved)}
    assert set(rejected.codes.values()) == {"VALUE_INVALID"}
    assert_moved(sandbox, before, START, end)
    assert identity(rejected) == {"renamed": len(moved)}
    (path,) = rejected.reject_files
    people(path.read_text().replace('"many"', '"7"').encode()).succeeded()
    assert_moved(sandbox, before, START, end)
    contacts = sandbox.contacts()
    for name in moved.values():
        assert contacts[address(name)]["fields"]["LOYALTY_POINTS"] == "7"


@pytest.mark.parametrize("crowd", [0, 2_000])
def test_limit_of_rejects_loses_no_record_that_waits(
    people: ForkedTargetRunner, sandbox: SandboxServer, crowd: int
) -> None:
    people(changes(*(row(key, name) for key, name in START.items()))).succeeded()
    before = ids(sandbox)
    moved = [row(key, name) for key, name in SWAP.items()]
    bad = [row(number, None, email="nobody") for number in (90, 91)]
    more = [row(1000 + n, f"p{n}") for n in range(crowd)]
    messages = [announce(), *moved, state("middle"), *bad, *more, row(4, "dan"), state("end")]

    stopped = people(messages, max_rejects=1)

    assert stopped.code == 1
    assert "'max_rejects'" in stopped.log.splitlines()[-1]
    assert stopped.states == [], "STATE stays before the records that wait"
    assert stopped.counts["unsettled"] == 2
    assert before.items() <= ids(sandbox).items(), "nobody is renamed yet"

    people([announce(), *moved, row(4, "dan"), state("end")]).succeeded()
    after = ids(sandbox)
    assert {name: before[START[key]] for key, name in SWAP.items()}.items() <= after.items()
    assert "dan" in after
    assert not any(name.startswith("rename-") for name in after)
    assert {one["lists"]["1"] for one in sandbox.export()} == {ACTIVE}


# What is forgotten


def forget(load: ForkedTargetRunner, *arguments: str, given: str = "") -> None:
    """Let the ledger forget; it must end well."""
    done = run_script([SCRIPT, "forget", *arguments], given.encode(), folder=load.folder)
    assert done.returncode == 0, done.stderr


def texts_of(load: ForkedTargetRunner, sandbox: SandboxServer, name: str) -> list[bytes]:
    """Return what stands for a person in the ledger: the address, and its hash."""
    url = f"sqlite:///{load.folder / LEDGER}"
    return [address(name).encode(), hash_of(url, sandbox.url, address(name))]


def count(load: ForkedTargetRunner, name: str) -> int:
    """Return the number of rows of a table of the ledger."""
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        return int(db.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one())  # noqa: S608


@pytest.mark.parametrize("move", ["a rename", "a swap"])
def test_renamed_person_is_forgotten_under_both_addresses(
    people: ForkedTargetRunner, sandbox: SandboxServer, move: str
) -> None:
    end = MOVES[move]
    people(table(START)).succeeded()
    people(table(end)).succeeded()
    assert traces(people.folder, *texts_of(people, sandbox, end[1])) > 0

    forget(people, "--person", "-", given=address(end[1]))

    assert traces(people.folder, *texts_of(people, sandbox, end[1])) == 0
    if move == "a rename":
        assert traces(people.folder, *texts_of(people, sandbox, "ada")) == 0
    assert traces(people.folder, texts_of(people, sandbox, end[2])[1]) > 0, "nobody else"
    assert count(people, "source_row") == 2
    assert [count(people, name) for name in ("waiting", "rename", "departure")] == [0, 0, 0]


def test_deleted_person_is_forgotten_after_a_rename(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(sync_mode="mirror", leave_when="deleted")
    people(changes(row(1, "ada"), row(2, "bob"))).succeeded()
    people(changes(row(1, "ava"))).succeeded()
    people(changes(deleted(1))).succeeded()
    assert on_list(sandbox) == "bob"
    assert traces(people.folder, *texts_of(people, sandbox, "ava")) > 0

    forget(people, "--person", "-", given=address("ava"))

    for name in ("ada", "ava"):
        assert traces(people.folder, *texts_of(people, sandbox, name)) == 0
    assert (count(people, "source_row"), count(people, "departure")) == (1, 0)


def test_stream_is_forgotten_after_renames(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    people(table(START)).succeeded()
    people(table(SWAP)).succeeded()
    assert all(traces(people.folder, *texts_of(people, sandbox, name)) for name in START.values())

    forget(people, "--stream", STREAM, "--yes")

    tables = ("source_row", "waiting", "rename", "departure", "member")
    assert [count(people, name) for name in tables] == [0] * 5
    for name in START.values():
        assert traces(people.folder, *texts_of(people, sandbox, name)) == 0


@pytest.mark.parametrize("what", [["--person", "-"], ["--stream", STREAM, "--yes"]])
def test_nobody_is_forgotten_before_interrupted_renames_are_done(
    people: ForkedTargetRunner, sandbox: SandboxServer, what: list[str]
) -> None:
    people(table(START)).succeeded()
    before = ids(sandbox)
    cut_off(people, sandbox, table(SWAP), at=2)
    command = [SCRIPT, "forget", *what]

    done = run_script(command, address("bob").encode(), folder=people.folder)

    assert done.returncode == 1
    assert "was interrupted while it renamed contacts" in done.stderr
    people([announce()]).succeeded()
    assert ids(sandbox) == {"bob": before["ada"], "ada": before["bob"], "cyd": before["cyd"]}
    forget(people, *what, given=address("bob"))
    assert [count(people, name) for name in ("waiting", "rename")] == [0, 0]
    assert traces(people.folder, *texts_of(people, sandbox, "bob")) == 0


def test_records_that_wait_are_forgotten(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    people(table(START)).succeeded()
    running = people.start()
    running.feed([announce(), row(1, "ava")])
    wait_for(lambda: count(people, "waiting") == 1)
    running.kill()
    running.wait()
    assert traces(people.folder, *texts_of(people, sandbox, "ava")) > 0

    forget(people, "--person", "-", given=address("ava"))

    assert count(people, "waiting") == 0
    assert traces(people.folder, *texts_of(people, sandbox, "ava")) == 0


def test_connection_is_forgotten_with_its_interrupted_renames(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    people(table(START)).succeeded()
    cut_off(people, sandbox, table(SWAP), at=2)
    connection = run_script([SCRIPT, "show"], folder=people.folder).stdout
    url = next(word for word in connection.split() if word.startswith(sandbox.url))

    done = run_script([SCRIPT, "forget", "--connection", url, "--yes"], folder=people.folder)

    assert done.returncode == 0, done.stderr
    assert "temporary address" in done.stdout + done.stderr
    assert [count(people, name) for name in ("waiting", "rename", "member")] == [0, 0, 0]
