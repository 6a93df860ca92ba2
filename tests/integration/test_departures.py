"""Mirrors of changes: contacts leave the list when the source says that their rows are deleted."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.guide import example
from tests.support.mirrors import (
    ACTIVE,
    NO_GUARDS,
    UNSUBSCRIBED,
    address,
    mirrored,
    on_list,
    wait_for,
)
from tests.support.tables import STREAM, announce, changes, deleted, row, table
from tests.support.target_runner import state

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA, BOB, CYD = row(1, "ada"), row(2, "bob"), row(3, "cyd")


@pytest.fixture
def people(load: ForkedTargetRunner) -> ForkedTargetRunner:
    """The target that mirrors changes; too few people for guards."""
    recipe = example("modes.md", "mirror of changes")["streams"]["public-people"]
    load.config.update(recipe, guards=NO_GUARDS)
    return load


def skipped(outcome: Outcome) -> dict[str, int]:
    return {code: told["records"] for code, told in outcome.report["skipped"].items()}


@pytest.mark.parametrize("name", ["ada", None], ids=["whole row", "key only"])
def test_deleted_row_leaves_the_list(
    people: TargetRunner, sandbox: SandboxServer, name: str | None
) -> None:
    people(changes(ADA, BOB, CYD)).succeeded()

    outcome = people(changes(row(2, "bob", first_name="Bo"), deleted(1, name))).succeeded()

    assert on_list(sandbox) == "bob cyd"
    assert on_list(sandbox, UNSUBSCRIBED) == "ada"
    assert outcome.counts == {"read": 2, "changed": 1, "skipped": 1}
    assert skipped(outcome) == {"DELETED": 1}
    assert mirrored(outcome, STREAM)["left"] == 1
    assert people(changes()).succeeded().report["left"] == 0
    assert on_list(sandbox) == "bob cyd", "no changes remove nobody"


def test_row_that_is_inserted_again_comes_back(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(changes(ADA, BOB)).succeeded()
    people(changes(deleted(1))).succeeded()
    assert on_list(sandbox) == "bob"

    people(changes(ADA)).succeeded()

    assert on_list(sandbox) == "ada bob"


@pytest.mark.parametrize("name", ["ada", None], ids=["whole row", "key only"])
@pytest.mark.parametrize("person_key", [True, None])
def test_person_leaves_with_the_row_that_took_the_place_of_another(
    people: TargetRunner, sandbox: SandboxServer, name: str | None, *, person_key: bool | None
) -> None:
    people.config["person_key"] = person_key
    people(changes(ADA, BOB)).succeeded()
    people(changes(deleted(1, name), row(3, "ada"))).succeeded()
    assert on_list(sandbox) == "ada bob"

    people(changes(deleted(3, name))).succeeded()

    assert on_list(sandbox) == "bob"


@pytest.mark.parametrize("name", ["ada", None], ids=["whole row", "key only"])
@pytest.mark.parametrize("person_key", [True, None])
def test_person_stays_with_a_row_that_comes_before_the_other_is_deleted(
    people: TargetRunner, sandbox: SandboxServer, name: str | None, *, person_key: bool | None
) -> None:
    people.config["person_key"] = person_key
    people(changes(ADA, BOB)).succeeded()

    outcome = people(changes(row(3, "ada", first_name="Ava"), deleted(1, name))).succeeded()

    assert on_list(sandbox) == "ada bob"
    assert outcome.counts == {"read": 2, "changed": 1, "skipped": 1}
    assert sandbox.contacts()[address("ada")]["first_name"] == "Ava"
    people(changes(deleted(3, name))).succeeded()
    assert on_list(sandbox) == "bob"


def test_last_word_of_a_run_counts(people: TargetRunner, sandbox: SandboxServer) -> None:
    people(changes(ADA, BOB)).succeeded()

    people(
        changes(deleted(1), ADA, row(3, "cyd"), deleted(3), deleted(2, "bob"), BOB, deleted(2))
    ).succeeded()

    assert on_list(sandbox) == "ada"


def test_row_added_and_deleted_in_one_run_does_not_stay(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(batch_size_rows=1)
    many = [row(number, f"p{number}") for number in range(10, 20)]

    outcome = people(changes(ADA, *many, *(deleted(number) for number in range(10, 20))))

    assert outcome.code == 0, "what was added in this run is no loss for the guards"
    assert on_list(sandbox) == "ada"


def test_deletion_of_an_unknown_row_is_counted(people: TargetRunner) -> None:
    outcome = people(changes(ADA, deleted(7), deleted(8, "eve"))).succeeded()

    assert skipped(outcome) == {"DELETED": 1, "DELETED_UNKNOWN": 1}


def test_older_change_of_the_same_row_is_skipped(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = people(
        changes(
            row(1, "ada", first_name="New", _sdc_lsn=20),
            row(1, "ada", first_name="Old", _sdc_lsn=10),
            deleted(1, _sdc_lsn=15),
            row(2, "bob", _sdc_lsn=5),
        )
    ).succeeded()

    assert on_list(sandbox) == "ada bob"
    assert sandbox.contacts()[address("ada")]["first_name"] == "New"
    assert skipped(outcome) == {"OUTDATED": 2}


def test_only_own_members_leave(people: TargetRunner, sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": address("ada"), "lists": {"1": ACTIVE}})
    people(changes(ADA, BOB)).succeeded()

    outcome = people(changes(deleted(1), deleted(2))).succeeded()

    assert on_list(sandbox) == "ada"
    assert mirrored(outcome, STREAM)["not_ours"] == 1


def test_person_in_two_streams_leaves_with_the_last(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    def other(*messages: dict[str, object]) -> list[dict[str, object]]:
        return [
            {**one, "stream": "others"} if "stream" in one else one for one in changes(*messages)
        ]

    people([*changes(ADA, BOB), *other(ADA, CYD)]).succeeded()

    people(changes(deleted(1))).succeeded()
    assert on_list(sandbox) == "ada bob cyd"
    people(other(deleted(1), deleted(3))).succeeded()
    assert on_list(sandbox) == "bob"


def test_rows_with_one_address_leave_with_the_last(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(changes(ADA, row(9, "ada"), BOB)).succeeded()

    people(changes(deleted(1))).succeeded()
    assert on_list(sandbox) == "ada bob"
    people(changes(deleted(9))).succeeded()
    assert on_list(sandbox) == "bob"


def test_storm_of_deletions_removes_nobody(people: TargetRunner, sandbox: SandboxServer) -> None:
    people.config["guards"] = {}
    crowd = [row(number, f"p{number}") for number in range(20)]
    people(changes(*crowd)).succeeded()

    outcome = people(changes(*(deleted(number) for number in range(5)), row(77, "new")))

    assert outcome.code == 1
    assert "5 of 20 contacts would be removed (guards.max_leave_pct: 20)" in outcome.log
    assert len(on_list(sandbox).split()) == 21
    assert len(outcome.states) == 1, "the ledger knows who leaves"
    still = people(changes())
    assert still.code == 1, "and does not forget it"
    people(changes(), guards={"override_once": True}).succeeded()
    assert len(on_list(sandbox).split()) == 16


def test_number_of_removals_can_be_limited(people: TargetRunner, sandbox: SandboxServer) -> None:
    people(changes(ADA, BOB, CYD)).succeeded()

    outcome = people(changes(deleted(1), deleted(2)), guards={**NO_GUARDS, "max_leave": 1})

    assert outcome.code == 1
    assert on_list(sandbox) == "ada bob cyd"


def test_killed_run_loses_no_deletion(people: ForkedTargetRunner, sandbox: SandboxServer) -> None:
    people.config["checkpoint_seconds"] = 0
    people(changes(ADA, BOB)).succeeded()
    running = people.start()
    running.feed([announce(log=True), deleted(1, _sdc_lsn=1), state({"after": "ada"})])
    wait_for(lambda: "after" in running.printed())
    running.kill(signal.SIGKILL)
    running.wait()
    assert on_list(sandbox) == "ada bob"

    people(changes()).succeeded()

    assert on_list(sandbox) == "bob"


def test_full_table_reconciles_changes_and_reports_drift(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config["leave_when"] = "both"
    people(table({1: "ada", 2: "bob", 3: "cyd"})).succeeded()
    people(changes(deleted(3))).succeeded()
    assert on_list(sandbox) == "ada bob"

    outcome = people(table({1: "ada", 3: "cyd"})).succeeded()

    assert on_list(sandbox) == "ada cyd"
    assert mirrored(outcome, STREAM)["drift"] == {"missing": 1, "returned": 1}
    people(changes(row(4, "dee"))).succeeded()
    assert on_list(sandbox) == "ada cyd dee", "changes are no complete stream"


def test_deletions_mean_nothing_in_other_modes(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(sync_mode="upsert")
    people(changes(ADA, BOB)).succeeded()
    people(changes(deleted(1, "ada"), deleted(2))).succeeded()
    assert on_list(sandbox) == "ada bob"


def test_incremental_stream_with_soft_deletes_is_mirrored(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    def run(*rows: dict[str, object]) -> None:
        people([announce(bookmark=True), *rows, state(1)]).succeeded()

    run(ADA, BOB)
    run(row(1, "ada", _sdc_deleted_at="2026-01-01"))
    assert on_list(sandbox) == "bob"
    run(ADA)
    assert on_list(sandbox) == "ada bob"


def test_record_of_a_non_member_is_as_a_deleted_one(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config["member_when"] = {"STATUS": ["active", "trial"]}
    bob = row(2, "bob", status="trial")
    people(changes(row(1, "ada", status="active"), bob, row(3, "cyd", status="gone"))).succeeded()
    assert on_list(sandbox) == "ada bob"

    outcome = people(changes(row(1, "ada", status="cancelled"), bob)).succeeded()

    assert on_list(sandbox) == "bob"
    assert skipped(outcome) == {"DELETED": 1}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"member_when": {"state": "on"}}, "no property 'state', which 'member_when' names"),
        ({"person_key": "idd"}, "no property 'idd', which 'person_key' names. Did you mean 'id'?"),
        ({"leave_when": "absent"}, "'leave_when' to 'deleted'"),
        ({"leave_when": "gone"}, "must be one of absent, deleted, both"),
    ],
)
def test_setting_that_can_not_work_ends_the_run_before_anything_is_sent(
    people: TargetRunner, sandbox: SandboxServer, settings: dict[str, object], text: str
) -> None:
    outcome = people(changes(ADA), **settings)

    assert outcome.code != 0
    assert text in outcome.log
    assert on_list(sandbox) == ""
