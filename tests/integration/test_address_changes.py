"""People whose e-mail address changes: with `person_key` they stay the same contact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import example
from tests.support.mirrors import ACTIVE, NO_GUARDS, UNSUBSCRIBED, address, ids, on_list
from tests.support.tables import STREAM, changes, deleted, row, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick


@pytest.fixture
def people(load: TargetRunner) -> TargetRunner:
    """The target that knows people by the key of their rows; too few of them for guards."""
    recipe = example("identity.md", "follow the person")["streams"]["public-people"]
    load.config.update(recipe, guards={**NO_GUARDS, "max_rename_pct": None})
    return load


def identity(outcome: Outcome) -> dict[str, int]:
    """What a report says of changed addresses, without zeros."""
    told = outcome.report["streams"][STREAM]["identity"]
    return {name: count for name, count in told.items() if count}


def test_contact_keeps_its_id_lists_and_tags_under_the_new_address(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob"}), tags=["vip"]).succeeded()
    before = ids(sandbox)

    outcome = people(table({1: "ava", 2: "bob"}, first_name="Ava")).succeeded()

    assert ids(sandbox) == {"ava": before["ada"], "bob": before["bob"]}
    ava = sandbox.contacts()[address("ava")]
    assert (ava["first_name"], ava["tags"], ava["lists"]) == ("Ava", ["vip"], {"1": ACTIVE})
    assert identity(outcome) == {"renamed": 1}
    assert outcome.counts == {"read": 2, "changed": 2}
    again = people(table({1: "ava", 2: "bob"}, first_name="Ava")).succeeded()
    assert again.counts == {"read": 2, "unchanged": 2}
    assert "example.com" not in outcome.log


@pytest.mark.parametrize("by", ["one rename", "a swap", "a cycle", "a chain"])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_addresses_move_in_any_order(
    people: TargetRunner, sandbox: SandboxServer, by: str, is_reversed: bool
) -> None:
    start = {1: "ada", 2: "bob", 3: "cyd"}
    end = {
        "one rename": {1: "ada", 2: "bea", 3: "cyd"},
        "a swap": {1: "bob", 2: "ada", 3: "cyd"},
        "a cycle": {1: "bob", 2: "cyd", 3: "ada"},
        "a chain": {1: "bob", 2: "cyd", 3: "dee"},
    }[by]
    people(table(start)).succeeded()
    before = ids(sandbox)
    if is_reversed:
        end = dict(reversed(end.items()))

    outcome = people(table(end)).succeeded()

    assert ids(sandbox) == {name: before[start[key]] for key, name in end.items()}
    assert on_list(sandbox).split() == sorted(end.values())
    moved = sum(start[key] != name for key, name in end.items())
    assert identity(outcome) == {"renamed": moved}
    assert people(table(end)).succeeded().counts == {"read": 3, "unchanged": 3}


def test_new_person_may_take_the_address_that_another_gives_up(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada"})).succeeded()
    ada = ids(sandbox)["ada"]

    outcome = people(table({3: "ada", 1: "ava"})).succeeded()

    now = ids(sandbox)
    assert now["ava"] == ada
    assert now.keys() == {"ada", "ava"}
    assert identity(outcome) == {"renamed": 1}


def test_opt_out_stays_with_the_person(people: TargetRunner, sandbox: SandboxServer) -> None:
    people(table({1: "ada", 2: "bob"})).succeeded()
    sandbox.opt_out(address("ada"), 1)

    outcome = people(table({1: "ava", 2: "bob"}))

    assert on_list(sandbox) == "bob"
    assert on_list(sandbox, UNSUBSCRIBED) == "ava"
    assert outcome.rejects[0]["_reject_code"] == "OPTED_OUT"


@pytest.mark.parametrize("how", ["new", "rename"])
def test_person_who_opted_out_is_not_subscribed_at_an_address_that_is_new_or_taken(
    people: TargetRunner, sandbox: SandboxServer, how: str
) -> None:
    people(table({1: "ada", 2: "bob"})).succeeded()
    if how == "rename":
        sandbox.prepare({"email": address("ava")})
    sandbox.opt_out(address("ada"), 1)

    for _ in range(2):
        outcome = people(table({1: "ava", 2: "bob"}), on_address_change=how)

        assert on_list(sandbox) == "bob"
        assert on_list(sandbox, UNSUBSCRIBED) == "ada"
        assert list(outcome.codes.values()) == ["OPTED_OUT"]
        assert outcome.counts == {"read": 2, "unchanged": 1, "rejected": 1}


def test_values_go_to_the_contact_that_has_the_address(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob"})).succeeded()
    sandbox.prepare({"email": address("ava")})
    before = ids(sandbox)

    outcome = people(table({1: "ava", 2: "bob"}, first_name="Ava")).succeeded()

    assert ids(sandbox) == before
    assert sandbox.contacts()[address("ava")]["first_name"] == "Ava"
    assert on_list(sandbox) == "ada ava bob", "no mirror: the old contact stays"
    assert identity(outcome) == {"address_taken": 1}


def test_mirror_removes_the_contact_whose_person_has_moved_to_another(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(sync_mode="mirror")
    people(table({1: "ada", 2: "bob"})).succeeded()
    sandbox.prepare({"email": address("ava")})

    people(table({1: "ava", 2: "bob"})).succeeded()

    assert on_list(sandbox) == "ava bob"
    assert on_list(sandbox, UNSUBSCRIBED) == "ada"


def test_rows_with_one_address_share_a_contact_and_part_again(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(sync_mode="mirror")
    people(table({1: "ada", 2: "bob"})).succeeded()
    before = ids(sandbox)

    outcome = people(table({1: "ada", 2: "ada"})).succeeded()

    assert on_list(sandbox) == "ada"
    assert outcome.report["streams"][STREAM]["identity"]["shared_address"] == 1
    assert "SHARED_ADDRESS" in outcome.log
    quiet = people(table({1: "ada", 2: "ada"})).succeeded()
    assert identity(quiet) == {}, "told once"
    assert on_list(sandbox) == "ada"

    people(table({1: "ada", 2: "bea"})).succeeded()

    assert on_list(sandbox) == "ada bea"
    assert ids(sandbox)["ada"] == before["ada"]
    people(table({2: "bea"})).succeeded()
    assert on_list(sandbox) == "bea"


def test_guard_renames_nobody_and_holds_state_back(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    crowd = {number: f"p{number}" for number in range(60)}
    moved = {number: f"{'q' if number < 21 else 'p'}{number}" for number in range(60)}
    people.config.update(sync_mode="mirror", guards={"max_leave_pct": 10})
    people(table(crowd)).succeeded()
    before = ids(sandbox)

    outcome = people([*table(moved)[:-1], row(99, "new"), table({})[-1]])

    assert outcome.code == 1
    assert "21 of 60 people would be renamed (guards.max_rename_pct: 5)" in outcome.log
    assert ids(sandbox).items() >= before.items()
    assert on_list(sandbox).split() == sorted([*crowd.values(), "new"]), "the rest is delivered"
    assert outcome.states == []
    assert outcome.report["streams"][STREAM]["identity"]["held_back"] == 21

    people.config["guards"] = {"max_leave_pct": 10, "override_once": True}
    people([*table({**moved, 99: "new"})]).succeeded()
    assert {name: before[f"p{name[1:]}"] for name in moved.values()}.items() <= ids(sandbox).items()


def test_number_of_renames_can_be_limited(people: TargetRunner, sandbox: SandboxServer) -> None:
    people.config["guards"] = {"max_renames": 1}
    people(table({1: "ada", 2: "bob"})).succeeded()

    outcome = people(table({1: "ava", 2: "bea"}))

    assert outcome.code == 1
    assert "2 people would be renamed (guards.max_renames: 1)" in outcome.log
    assert on_list(sandbox) == "ada bob"
    people(table({1: "ava", 2: "bob"})).succeeded()
    assert on_list(sandbox) == "ava bob"


@pytest.mark.parametrize("name", ["ada", None], ids=["whole row", "key only"])
def test_guard_keeps_a_contact_whose_new_row_waits(
    people: TargetRunner, sandbox: SandboxServer, name: str | None
) -> None:
    people.config.update(sync_mode="mirror", leave_when="deleted")
    people(changes(row(1, "ada"), row(2, "bob"), row(3, "cyd"))).succeeded()
    ada = ids(sandbox)["ada"]
    news = [deleted(1, name), row(4, "ada"), row(2, "bea"), deleted(3)]

    people.config["guards"] = {**NO_GUARDS, "max_renames": 0}
    assert people(changes(*news)).code == 1

    assert on_list(sandbox) == "ada bob"
    people.config["guards"] = NO_GUARDS
    people(changes(*news)).succeeded()
    assert on_list(sandbox) == "ada bea"
    assert ids(sandbox)["ada"] == ada


def test_changed_address_can_be_rejected(people: TargetRunner, sandbox: SandboxServer) -> None:
    people.config.update(sync_mode="mirror", on_address_change="reject")
    people(table({1: "ada", 2: "bob"})).succeeded()

    outcome = people(table({1: "ava", 2: "bob"}))

    assert list(outcome.codes.values()) == ["ADDRESS_CHANGED"]
    assert on_list(sandbox) == "ada bob", "the person is still in the stream"


def test_key_may_consist_of_several_properties(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config["person_key"] = ["id", "status"]
    people(table({1: "ada"}, status="x")).succeeded()
    ada = ids(sandbox)["ada"]

    people(table({1: "ava"}, status="x")).succeeded()
    people(table({1: "eve"}, status="y")).succeeded()

    assert ids(sandbox)["ava"] == ada
    assert ids(sandbox).keys() == {"ava", "eve"}


@pytest.mark.parametrize("leaves", ["deleted", "absent"])
def test_person_who_left_comes_back_as_the_same_contact(
    people: TargetRunner, sandbox: SandboxServer, leaves: str
) -> None:
    people.config.update(sync_mode="mirror", leave_when=leaves)
    bring: Callable[..., list[dict[str, Any]]] = table
    people(bring({1: "ada", 2: "bob"})).succeeded()
    ada = ids(sandbox)["ada"]
    people(changes(deleted(1)) if leaves == "deleted" else table({2: "bob"})).succeeded()
    assert on_list(sandbox) == "bob"

    back = changes(row(1, "ava")) if leaves == "deleted" else table({1: "ava", 2: "bob"})
    people(back).succeeded()

    assert on_list(sandbox) == "ava bob"
    assert ids(sandbox)["ava"] == ada


@pytest.mark.parametrize("is_reversed", [False, True])
def test_address_of_a_person_who_opted_out_can_pass_to_a_new_person(
    people: TargetRunner, sandbox: SandboxServer, is_reversed: bool
) -> None:
    people.config.update(sync_mode="mirror", leave_when="deleted")
    people(changes(row(1, "ada"), row(2, "bob"))).succeeded()
    ada = ids(sandbox)["ada"]
    sandbox.opt_out(address("ada"), 1)
    both = [row(1, "ava"), row(3, "ada")]

    people(changes(*(reversed(both) if is_reversed else both))).succeeded()

    assert ids(sandbox)["ava"] == ada
    assert on_list(sandbox) == "ada bob"
    assert on_list(sandbox, UNSUBSCRIBED) == "ava"


def test_preview_shows_who_would_be_renamed_and_changes_nothing(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob", 3: "cyd"})).succeeded()
    before = sandbox.contacts()
    after = {1: "bob", 2: "ada", 3: "dee"}

    outcome = people(table(after), dry_run=True).succeeded()

    assert sandbox.contacts() == before
    assert identity(outcome) == {"renamed": 3}
    assert "3 would be renamed" in outcome.log
    shown = {(one["from"], one["to"]) for one in outcome.report["samples"]["renamed"]}
    assert ("c•••@e•••.com", "d•••@e•••.com") in shown
    page = max((outcome.folder / "reports").glob("run-*.html"), key=lambda one: one.stat().st_mtime)
    assert "c•••@e•••.com to d•••@e•••.com" in page.read_text("utf-8")
    people(table(after)).succeeded()
    assert ids(sandbox).keys() == {"ada", "bob", "dee"}


@pytest.mark.parametrize("is_active", [True, False])
def test_refused_rename_makes_a_new_contact_only_of_people_who_are_active(
    people: TargetRunner, start_sandbox: Callable[..., SandboxServer], is_active: bool
) -> None:
    sandbox = start_sandbox(rename_opted_out="refuse", latency=0.02, false_status=0)
    people.config.update(api_url=sandbox.url)
    people(table({1: "ada", 2: "bob"})).succeeded()
    if is_active:
        # Out of another list: here the contact is still active.
        sandbox.prepare({"email": address("ada"), "opt_outs": {"2": {}}})
    else:
        sandbox.opt_out(address("ada"), 1)

    outcome = people(table({1: "ava", 2: "bob"}))

    assert on_list(sandbox) == ("ada ava bob" if is_active else "bob")
    codes = [] if is_active else ["OPTED_OUT"]
    assert list(outcome.codes.values()) == codes


@pytest.mark.parametrize("window", ["one window", "two windows"])
def test_changed_address_that_comes_twice_is_delivered(
    people: TargetRunner, sandbox: SandboxServer, window: str
) -> None:
    people(changes(row(1, "ada"), row(2, "bob"))).succeeded()
    crowd = [
        row(number, f"p{number}") for number in range(10, 1010 if window != "one window" else 11)
    ]

    outcome = people(changes(row(1, "ava", first_name="A"), *crowd, row(1, "ava", first_name="B")))

    assert sandbox.contacts()[address("ava")]["first_name"] == "B"
    assert outcome.counts["merged"] == 1
    assert identity(outcome) == {"renamed": 1}


def test_report_counts_the_rows_whose_address_has_changed(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob", 3: "cyd", 4: "dee"})).succeeded()
    sandbox.prepare({"email": address("eve")})

    outcome = people(table({1: "ava", 2: "bea", 3: "eve", 4: "dee", 5: "dee"})).succeeded()

    assert outcome.report["streams"][STREAM]["identity"] == example("identity.md", "report")
    shown = {(one["from"], one["to"]) for one in outcome.report["samples"]["renamed"]}
    assert shown == {("a•••@e•••.com", "a•••@e•••.com"), ("b•••@e•••.com", "b•••@e•••.com")}


def test_person_whose_contact_was_never_ours_keeps_the_opt_out(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    sandbox.opt_out(address("ada"), 1)
    outcome = people(changes(row(1, "ada"), row(2, "bob")))
    assert list(outcome.codes.values()) == ["OPTED_OUT"]

    people(changes(row(1, "ava")))

    assert on_list(sandbox) == "bob"


@pytest.mark.parametrize("leave_when", ["absent", "both"])
@pytest.mark.parametrize("how", ["rename", "new"])
def test_contact_that_another_row_has_stays_on_the_list(
    people: TargetRunner, sandbox: SandboxServer, leave_when: str, how: str
) -> None:
    people.config.update(sync_mode="mirror", leave_when=leave_when, on_address_change=how)
    people(table({1: "ada", 2: "ada", 3: "bob"})).succeeded()

    outcome = people(table({1: "ada", 2: "bea", 3: "bob"})).succeeded()

    assert on_list(sandbox) == "ada bea bob"
    assert outcome.report["left"] == 0
    people(table({1: "ada", 3: "bob"})).succeeded()
    assert on_list(sandbox) == "ada bob"


def test_another_key_with_the_same_values_renames_nobody(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob"}), person_key=["id"]).succeeded()
    before = ids(sandbox)
    messages = table({1: "ada", 2: "bob"})
    for message in messages:
        if message["type"] == "RECORD":
            message["record"]["status"] = str(3 - message["record"]["id"])

    outcome = people(messages, person_key=["status"]).succeeded()

    assert identity(outcome).get("renamed", 0) == 0
    assert ids(sandbox) == before


def test_contact_whose_address_was_changed_in_activecampaign_is_renamed(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob"})).succeeded()
    people(table({1: "ava", 2: "bob"})).succeeded()
    before = ids(sandbox)
    contact = {"email": address("by-hand")}
    sandbox.call("PUT", f"/api/3/contacts/{before['ava']}", json={"contact": contact})
    assert ids(sandbox).keys() == {"by-hand", "bob"}

    people(table({1: "amy", 2: "bob"})).succeeded()

    assert ids(sandbox) == {"amy": before["ava"], "bob": before["bob"]}
