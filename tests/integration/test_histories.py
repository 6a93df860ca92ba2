"""Short histories of rows, each brought in windows of one record and of many, and killed between.

They are those that were hard: several changes of a row in one run, addresses that pass from row to
row, and rows that go while another takes their address.

Each is killed in one kind of window and goes through in the other, in turns. HISTORIES=all tries
both in both.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import NO_GUARDS, QUICK, ids, on_list
from tests.support.tables import STREAM, changes, cut_off, deleted, row, table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

ALL = os.environ.get("HISTORIES") == "all"
Messages = list[dict[str, Any]]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> ForkServer:
    return ForkServer(replace(QUICK, window_records=request.param))


@pytest.fixture
def people(server: ForkServer, sandbox: SandboxServer, tmp_path: Path) -> ForkedTargetRunner:
    """A mirror of rows that are known by their key."""
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, server)
    load.config.update(
        sync_mode="mirror",
        person_key=True,
        leave_when="both",
        deleted_properties=["_sdc_deleted_at"],
        guards={**NO_GUARDS, "max_rename_pct": None},
    )
    return load


def log(*rows: dict[str, Any]) -> Messages:
    """Changes without numbers, so that records are known as unchanged by their hash."""
    return changes(*rows, log=False)


ADA, BOB, CYD = row(1, "ada"), row(2, "bob"), row(3, "cyd")

# Name: the runs, who is on the list after the last, and who is who: name now, name before.
HISTORIES: dict[str, tuple[list[Messages], str, dict[str, str]]] = {
    "there and back": (
        [log(ADA, BOB), log(row(1, "ava"), ADA)],
        "ada bob",
        {"ada": "ada"},
    ),
    "there, back, and there": (
        [log(ADA, BOB), log(row(1, "ava"), ADA, row(1, "amy"))],
        "amy bob",
        {"amy": "ada"},
    ),
    "there and back over runs": (
        [log(ADA, BOB), log(row(1, "ava")), log(ADA, row(1, "ava"), ADA)],
        "ada bob",
        {"ada": "ava"},
    ),
    "deleted by its key and inserted as it was": (
        [log(ADA, BOB), log(deleted(1), ADA)],
        "ada bob",
        {"ada": "ada"},
    ),
    "deleted as a whole and inserted as it was": (
        [log(ADA, BOB), log(deleted(1, "ada"), ADA)],
        "ada bob",
        {"ada": "ada"},
    ),
    "inserted elsewhere": (
        [log(ADA, BOB), log(deleted(1), row(1, "ava"))],
        "ava bob",
        {"ava": "ada"},
    ),
    "moves to the address of a row that is deleted before": (
        [log(ADA, BOB), log(deleted(2), row(1, "bob"))],
        "bob",
        {"bob": "bob"},
    ),
    "moves to the address of a row that is deleted after": (
        [log(ADA, BOB), log(row(1, "bob"), deleted(2))],
        "bob",
        {"bob": "bob"},
    ),
    "moves to the address of a row whose whole row is deleted after": (
        [log(ADA, BOB), log(row(1, "bob"), deleted(2, "bob"))],
        "bob",
        {"bob": "bob"},
    ),
    "moves on from the address of a deleted row": (
        [log(ADA, BOB), log(deleted(2), row(1, "bob"), row(1, "amy"))],
        "amy",
        {"amy": "ada"},
    ),
    "moves and is deleted": (
        [log(ADA, BOB), log(row(1, "ava"), deleted(1))],
        "bob",
        {},
    ),
    "moves and its whole row is deleted": (
        [log(ADA, BOB), log(row(1, "ava"), deleted(1, "ava"))],
        "bob",
        {},
    ),
    "moves twice and its whole row is deleted": (
        [log(ADA, BOB), log(row(1, "ava"), row(1, "amy"), deleted(1, "amy"))],
        "bob",
        {},
    ),
    "inserted, moves, and is deleted": (
        [log(ADA, BOB), log(CYD, row(3, "cat"), deleted(3, "cat"))],
        "ada bob",
        {},
    ),
    "inserted and moves": (
        [log(ADA, BOB), log(CYD, row(3, "cat"))],
        "ada bob cat",
        {},
    ),
    "a new row takes the address of a deleted one, and is deleted": (
        [log(ADA, BOB), log(deleted(2), row(3, "bob"), deleted(3))],
        "ada",
        {},
    ),
    "a new row takes the address of a deleted one, and moves on": (
        [log(ADA, BOB), log(deleted(2), row(3, "bob"), row(3, "cyd"))],
        "ada cyd",
        {},
    ),
    "a row gets another key": (
        [log(ADA, BOB), log(deleted(2), row(3, "bob")), log(row(3, "ben"))],
        "ada ben",
        {"ben": "bob"},
    ),
    "a row gets another key and another address": (
        [log(ADA, BOB), log(deleted(2), row(3, "ben"))],
        "ada ben",
        {},
    ),
    "two rows leave one address": (
        [log(ADA, row(2, "ada")), log(row(1, "ava"), row(2, "amy"))],
        "amy ava",
        {},
    ),
    "two rows go to one address together": (
        [log(ADA, row(2, "ada"), CYD), log(row(1, "ava"), row(2, "ava"))],
        "ava cyd",
        {"ava": "ada"},
    ),
    "one of two rows is deleted, the other moves": (
        [log(ADA, row(2, "ada"), CYD), log(deleted(1), row(2, "ava"))],
        "ava cyd",
        {"ava": "ada"},
    ),
    "one of two rows moves, the other is deleted": (
        [log(ADA, row(2, "ada"), CYD), log(row(2, "ava"), deleted(1))],
        "ava cyd",
        {"ava": "ada"},
    ),
    "swap and delete": (
        [log(ADA, BOB, CYD), log(row(1, "bob"), row(2, "ada"), deleted(1))],
        "ada cyd",
        {"ada": "ada"},
    ),
    "chain of three and a new row at its tail": (
        [
            log(ADA, BOB, CYD),
            log(row(4, "ada"), row(1, "bob"), row(2, "cyd"), row(3, "dee")),
        ],
        "ada bob cyd dee",
        {"bob": "ada", "cyd": "bob", "dee": "cyd"},
    ),
    "two rows leave an address that they were renamed to": (
        [
            log(ADA, row(2, "ada"), CYD),
            log(row(1, "ava"), row(2, "ava")),
            log(row(1, "amy"), row(2, "ann")),
        ],
        "amy ann cyd",
        {},
    ),
    "deleted without its key": (
        [log(ADA, BOB), log(deleted(None, "ada"))],
        "bob",
        {},
    ),
    "deleted without its key and inserted elsewhere": (
        [log(ADA, BOB), log(deleted(None, "ada")), log(row(1, "ava"))],
        "ava bob",
        {"ava": "ada"},
    ),
    "one of two rows is deleted without its key": (
        [log(ADA, row(2, "ada"), CYD), log(deleted(None, "ada"))],
        "ada cyd",
        {"ada": "ada"},
    ),
    "table: moves to the address of a missing row": (
        [table({1: "ada", 2: "bob", 3: "cyd"}), table({1: "bob", 3: "cyd"})],
        "bob cyd",
        {"bob": "bob"},
    ),
    "table: moves on from the address of a missing row": (
        [
            table({1: "ada", 2: "bob", 3: "cyd"}),
            table({1: "bob", 3: "cyd"}),
            table({1: "amy", 3: "cyd"}),
        ],
        "amy cyd",
        {"amy": "bob"},
    ),
    "table: a new row takes the address of a missing row": (
        [
            table({1: "ada", 2: "bob", 3: "cyd"}),
            table({1: "ada", 3: "cyd", 4: "bob"}),
            table({1: "ada", 3: "cyd", 4: "ben"}),
        ],
        "ada ben cyd",
        {"ben": "bob"},
    ),
    "table: the row of a taken address leaves": (
        [
            table({1: "ada", 2: "bob", 3: "cyd"}),
            table({1: "bob", 3: "cyd"}),
            table({3: "cyd"}),
        ],
        "cyd",
        {},
    ),
    "table: one of two rows is missing, the other moves": (
        [
            table({1: "ada", 2: "ada", 3: "cyd"}),
            table({1: "ada", 2: "ada", 3: "cyd"}),
            table({1: "ava", 3: "cyd"}),
        ],
        "ava cyd",
        {"ava": "ada"},
    ),
    "table: both of two rows are missing": (
        [table({1: "ada", 2: "ada", 3: "cyd"}), table({3: "cyd"})],
        "cyd",
        {},
    ),
    "table: one of two rows is missing, then the other": (
        [
            table({1: "ada", 2: "ada", 3: "cyd"}),
            table({1: "ada", 3: "cyd"}),
            table({3: "cyd"}),
        ],
        "cyd",
        {},
    ),
    "table after changes: rows are missing": (
        [table({1: "ada", 2: "bob"}), log(CYD, deleted(2)), table({1: "ada"})],
        "ada",
        {},
    ),
    "table after changes: a shared row is missing": (
        [table({1: "ada", 2: "bob"}), log(row(3, "ada")), table({2: "bob"})],
        "bob",
        {},
    ),
}


@pytest.mark.parametrize(
    ("server", "is_killed", "name"),
    [
        pytest.param(size, is_killed, name, id=f"{window}-{'killed' * is_killed}-{name}")
        for size, window in ((1, "single records"), (1000, "one window"))
        for is_killed in (False, True)
        for number, name in enumerate(HISTORIES)
        if ALL or is_killed == ((size == 1) == (number % 2 == 0))
    ],
    indirect=["server"],
)
def test_history_ends_in_the_right_list_with_the_right_contacts(
    people: ForkedTargetRunner, sandbox: SandboxServer, name: str, *, is_killed: bool
) -> None:
    runs, names, origins = HISTORIES[name]
    if name.startswith("table:"):
        people.config.update(leave_when="absent")
    for messages in runs[:-1]:
        assert_all_have_an_outcome(people(messages))
    before = ids(sandbox)
    if is_killed:
        cut_off(people, sandbox, runs[-1])

    outcome = people(runs[-1])

    assert_all_have_an_outcome(outcome)
    assert on_list(sandbox) == names, told(outcome)
    now = ids(sandbox)
    assert {one: now.get(one) for one in origins} == {
        one: before[was] for one, was in origins.items()
    }, told(outcome)
    assert_all_have_an_outcome(people(runs[-1]))
    assert on_list(sandbox) == names, "the same again changes nothing"


def assert_all_have_an_outcome(outcome: Outcome) -> None:
    assert sum(outcome.succeeded().counts.values()) == 2 * outcome.taken


def told(outcome: Outcome) -> str:
    return f"{outcome.report['streams'].get(STREAM, {}).get('identity')}\n{outcome.log[-1500:]}"
