"""Renames that are cut off, or refused halfway: nobody stays at a temporary address."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner
from tests.support.mirrors import ACTIVE, NO_GUARDS, UNSUBSCRIBED, address, ids, wait_for
from tests.support.tables import announce, row, table

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

START = {1: "ada", 2: "bob", 3: "cyd", 4: "out"}
MOVES = {
    "a swap": {1: "bob", 2: "ada", 3: "cyd", 4: "gone"},
    "a cycle": {1: "bob", 2: "cyd", 3: "ada", 4: "gone"},
    "a chain": {1: "bob", 2: "cyd", 3: "dee", 4: "gone"},
}
PUT = {"method": "PUT", "path": "/api/3/contacts/*"}


@pytest.fixture
def people(load: TargetRunner) -> ForkedTargetRunner:
    """The target that knows people by the key of their rows; one of them has opted out."""
    assert isinstance(load, ForkedTargetRunner)
    load.config.update(person_key=True, guards={**NO_GUARDS, "max_rename_pct": None})
    return load


@pytest.fixture
def before(people: ForkedTargetRunner, sandbox: SandboxServer) -> dict[int, str]:
    """The ids of the contacts by the keys of their rows, all loaded; the last has opted out."""
    people(table(START)).succeeded()
    sandbox.opt_out(address("out"), 1)
    found = ids(sandbox)
    return {key: found[name] for key, name in START.items()}


def assert_people(sandbox: SandboxServer, before: dict[int, str], names: dict[int, str]) -> None:
    """See that each person has the contact it had, under this name, and nobody else is there."""
    assert ids(sandbox) == {name: before[key] for key, name in names.items()}
    for name, contact in ((name, sandbox.contacts()[address(name)]) for name in names.values()):
        expected = UNSUBSCRIBED if name == names[4] else ACTIVE
        assert contact["lists"] == {"1": expected}, name


def cut_off(
    people: ForkedTargetRunner,
    sandbox: SandboxServer,
    messages: list[dict[str, Any]],
    *,
    at: int,
    by: int = signal.SIGKILL,
) -> Outcome:
    """Start a run, and end it after a request of a rename took effect, before its answer."""
    sandbox.fault("slow", seconds=0.6, takes_effect=True, match=PUT, **{"from": at, "to": at})
    running = people.start(messages)
    wait_for(lambda: sandbox.faults()[0]["fired"] > 0)
    running.kill(by)
    outcome = running.wait()
    wait_for(lambda: len(sandbox.requests(method="PUT")) >= at)  # none may come in a later test
    sandbox.clear_faults()
    return outcome


@pytest.mark.parametrize(
    ("move", "at"), [("a swap", at) for at in (1, 2, 3, 4)] + [("a cycle", 4), ("a chain", 3)]
)
@pytest.mark.parametrize("then", ["the same", "undone", "nothing"])
def test_next_run_finishes_what_a_kill_has_left(  # noqa: PLR0917
    people: ForkedTargetRunner,
    sandbox: SandboxServer,
    before: dict[int, str],
    move: str,
    at: int,
    then: str,
) -> None:
    end = MOVES[move]
    killed = cut_off(people, sandbox, table(end), at=at)
    assert (killed.code, killed.states) == (-signal.SIGKILL, [])

    if then == "nothing":
        people([announce()]).succeeded()
    elif then == "undone":
        people(table(START))
        end = START
    else:
        people(table(end))

    assert not any(name.startswith("rename-") for name in ids(sandbox))
    if then == "nothing":
        people(table(end))
    assert_people(sandbox, before, end)
    assert people(table(end)).counts == {"read": 4, "unchanged": 3, "rejected": 1}


def test_termination_leaves_the_plan_to_the_next_run(
    people: ForkedTargetRunner, sandbox: SandboxServer, before: dict[int, str]
) -> None:
    outcome = cut_off(people, sandbox, table(MOVES["a cycle"]), at=2, by=signal.SIGTERM)
    assert outcome.states == []
    preview = ids(sandbox)
    people(table(MOVES["a cycle"]), dry_run=True)
    assert ids(sandbox) == preview, "a preview carries out no plan"

    people([announce()]).succeeded()
    assert not any(name.startswith("rename-") for name in ids(sandbox))

    people(table(MOVES["a cycle"]))
    assert_people(sandbox, before, MOVES["a cycle"])


def test_refusal_within_a_swap_gives_the_former_address_back(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(sync_mode="mirror")
    people(table({1: "ada", 2: "bob"})).succeeded()
    loaded = ids(sandbox)
    sandbox.fault("invalid", match=PUT, **{"from": 2, "to": 2})

    people(table({1: "bob", 2: "ada"})).succeeded()

    assert ids(sandbox) == loaded
    people(table({1: "bob", 2: "ada"})).succeeded()
    assert {one["lists"]["1"] for one in sandbox.export()} == {ACTIVE}


@pytest.mark.parametrize("third", ["bob", "zed", None])
def test_next_run_moves_on_whom_a_refusal_has_left_at_a_temporary_address(
    people: ForkedTargetRunner, sandbox: SandboxServer, third: str | None
) -> None:
    people.config.update(sync_mode="mirror")
    people(table({1: "ada", 2: "bob"})).succeeded()
    loaded = ids(sandbox)
    sandbox.fault("invalid", match=PUT, **{"from": 3, "to": 3})

    outcome = people(table({1: "bob", 2: "ada"}))

    sandbox.clear_faults()
    assert list(outcome.codes.values()) == ["RENAME_REFUSED"]
    assert "stays at a temporary address" in outcome.log
    assert {one["lists"]["1"] for one in sandbox.export()} == {ACTIVE}
    people(table({1: third, 2: "ada"}) if third else [announce()]).succeeded()
    assert ids(sandbox) == {third or "bob": loaded["ada"], "ada": loaded["bob"]}
    assert {one["lists"]["1"] for one in sandbox.export()} == {ACTIVE}


def test_new_row_may_take_an_address_of_an_interrupted_swap(
    people: ForkedTargetRunner, sandbox: SandboxServer, before: dict[int, str]
) -> None:
    cut_off(people, sandbox, table(MOVES["a swap"]), at=1)

    people([announce(), row(9, "ada"), row(1, "ava"), row(2, "bea")])

    now = ids(sandbox)
    assert now.keys() >= {"ada", "ava", "bea"}
    assert (now["ava"], now["bea"]) == (before[1], before[2])
    assert not any(name.startswith("rename-") for name in now)
