"""Answers to a rename that are errors, or get lost: one record is affected, and nobody is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import ACTIVE, NO_GUARDS, UNSUBSCRIBED, address, ids
from tests.support.tables import STREAM, changes, deleted, row, table

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

PUT = {"method": "PUT", "path": "/api/3/contacts/*"}


@pytest.fixture
def people(load: TargetRunner) -> TargetRunner:
    """The target that knows people by the key of their rows; too few of them for guards."""
    load.config.update(person_key=True, guards={**NO_GUARDS, "max_rename_pct": None})
    return load


@pytest.mark.parametrize(
    "how",
    [
        {"kind": "rate_limit"},
        {"kind": "unavailable"},
        {"kind": "server_error"},
        {"kind": "reset"},
        {"kind": "reset", "takes_effect": True},
        {"kind": "cut"},
        {"kind": "malformed"},
        {"kind": "empty"},
        {"kind": "server_error", "takes_effect": True},
    ],
    ids=str,
)
def test_passing_fault_of_a_rename_is_overcome(
    people: TargetRunner, sandbox: SandboxServer, how: dict[str, Any]
) -> None:
    people(table({1: "ada", 2: "bob"})).succeeded()
    before = ids(sandbox)
    sandbox.fault(match=PUT, times=1, **how)

    people(table({1: "ava", 2: "bob"}))
    people(table({1: "ava", 2: "bob"})).succeeded()

    assert ids(sandbox) == {"ava": before["ada"], "bob": before["bob"]}


def test_refused_rename_adds_only_who_is_known_to_be_active(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(table({1: "ada", 2: "bob", 3: "cyd"})).succeeded()
    sandbox.opt_out(address("bob"), 1)
    sandbox.delete(address("cyd"))
    sandbox.fault("invalid", match=PUT)

    outcome = people(table({1: "ava", 2: "bea", 3: "cleo"}))

    lists = {who.partition("@")[0]: one["lists"] for who, one in sandbox.contacts().items()}
    assert lists == {
        "ada": {"1": ACTIVE},
        "ava": {"1": ACTIVE},
        "bob": {"1": UNSUBSCRIBED},
        "cleo": {"1": ACTIVE},
    }
    assert outcome.codes == {address("bea"): "OPTED_OUT"}


def test_preview_of_a_swap_changes_nothing(people: TargetRunner, sandbox: SandboxServer) -> None:
    people(table({1: "ada", 2: "bob"})).succeeded()
    before = sandbox.export()

    outcome = people(table({1: "bob", 2: "ada"}), dry_run=True).succeeded()

    assert sandbox.export() == before
    assert not sandbox.requests(method="PUT")
    assert outcome.report["streams"][STREAM]["identity"]["renamed"] == 2
    assert "rename-" not in outcome.log
    people(table({1: "ada", 2: "bob"})).succeeded()


@pytest.mark.parametrize(
    "small",
    [
        {"max_in_flight": 1},
        {"batch_size_rows": 1},
        {"on_leave": "tag", "membership_tag": "in"},
        {"on_leave": "nothing"},
        {"on_leave": "field", "membership_field": "IN_LIST"},
    ],
    ids=str,
)
def test_renames_and_departures_under_other_settings(
    people: TargetRunner, sandbox: SandboxServer, small: dict[str, Any]
) -> None:
    people.config.update(sync_mode="mirror", leave_when="deleted", **small)
    people(changes(row(1, "ada"), row(2, "bob"), row(3, "cyd"))).succeeded()
    before = ids(sandbox)

    people(changes(row(1, "bob"), row(2, "ada"), row(3, "cleo"), deleted(3))).succeeded()
    people(changes(row(1, "ada"), row(2, "bob"))).succeeded()

    assert ids(sandbox) == before
    there = sandbox.contacts()
    if small.get("on_leave") == "tag":
        assert there[address("ada")]["tags"] == ["in"]
        assert there[address("cyd")]["tags"] == []
    if "on_leave" not in small:
        assert there[address("cyd")]["lists"] == {"1": UNSUBSCRIBED}
    assert there[address("ada")]["lists"] == {"1": ACTIVE}


def test_update_only_renames_and_create_only_adds_nobody_twice(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config.update(sync_mode="mirror")
    people(table({1: "ada", 2: "bob"})).succeeded()
    before = ids(sandbox)
    people(table({1: "ava", 2: "bob"}), sync_mode="update_only").succeeded()
    assert ids(sandbox) == {"ava": before["ada"], "bob": before["bob"]}
    people(table({1: "amy", 2: "bob"}), sync_mode="create_only").succeeded()
    assert len(ids(sandbox)) == 2, ids(sandbox)
