"""`meltano run tap-warehouse-changes`: every change to a table, from PostgreSQL's log."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from tests.support.guide import block, example
from tests.support.meltano_project import ROOT, MeltanoProject, require_meltano
from tests.support.postgres_server import PostgresServer, require
from tests.support.sample_profiles import arrived, expected, one_each, usable_address
from tests.support.sandbox_server import SandboxServer
from tests.support.source_recordings import comparable, messages, record
from tests.support.warehouse import WarehouseTable

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGES = ("run", "tap-warehouse-changes", "target-activecampaign")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    require(wal2json=True)
    with PostgresServer(logical=True) as running:
        yield running


@pytest.fixture
def project(warehouse_project: MeltanoProject) -> MeltanoProject:
    warehouse_project.variables["TAP_WAREHOUSE_CHANGES_REPLICATION_IDLE_EXIT_SECONDS"] = "1"
    return warehouse_project


MIRROR = {"sync_mode": "mirror", "leave_when": "deleted", "person_key": True}
ACTIVE, UNSUBSCRIBED = 1, 2


class Group(NamedTuple):
    """Keys of people of whom each sees another change."""

    edited: str
    deleted: str
    replaced: str
    back: str
    moved: str
    silent: str
    swap: str
    swapped: str
    not_ours: str


def test_mirror_follows_the_log_with_both_replica_identities(  # noqa: PLR0915 - runs are slow
    project: MeltanoProject, server: PostgresServer
) -> None:
    people = one_each()
    table, heirs, newcomers = WarehouseTable(server, people[:100]), people[100:102], people[102:104]
    keys = iter(table.rows)
    by_key, by_row = (Group(*itertools.islice(keys, len(Group._fields))) for _ in "12")
    groups = by_key, by_row
    table.sql(block("change-log.md", "slot"))
    project.configure(**MIRROR)
    with SandboxServer(project.sandbox_path) as sandbox:
        for group in groups:
            sandbox.prepare({"email": _address(table.rows, group.not_ours), "lists": {"1": ACTIVE}})

    first = project.run("run", "tap-warehouse-postgres", "target-activecampaign")

    assert first["counts"]["read"] == 100
    with SandboxServer(project.sandbox_path) as sandbox:
        for group in groups:
            sandbox.opt_out(_address(table.rows, group.silent), 1)
            sandbox.prepare({"email": _address(table.rows, group.moved), "lists": {"2": ACTIVE}})
        contacts = sandbox.contacts()
    before = {key: contacts[_address(table.rows, key)]["id"] for key in table.rows}
    old = dict(table.rows)

    gone = _change(table, by_key, heirs[0], newcomers[0])
    table.sql("ALTER TABLE unified_profiles REPLICA IDENTITY FULL")
    gone += _change(table, by_row, heirs[1], newcomers[1])

    # A run that a guard stops renames nobody. It leaves the changes in the slot.
    project.configure(**MIRROR, guards={"max_renames": 7})
    stopped = project.run(*CHANGES, fails=True)

    assert _told(stopped)["identity"]["held_back"] == 8
    assert _told(stopped)["mirror"]["left"] == 2
    contacts = _contacts(project)
    for group in groups:
        for key in (group.moved, group.silent, group.swap, group.swapped):
            assert contacts[_address(old, key)]["id"] == before[key]

    project.configure(**MIRROR)
    second = project.run(*CHANGES)

    assert _told(second)["identity"]["renamed"] == 8
    assert second["counts"]["read"] == stopped["counts"]["read"] == 24
    contacts = _contacts(project)
    stay = {_address(old, group.not_ours) for group in groups}
    silent = {_address(table.rows, group.silent) for group in groups}
    left = {_address(old, group.deleted) for group in groups}
    there = {_address(table.rows, key) for key in table.rows}
    assert _with_status(contacts, ACTIVE) == (there - silent) | stay
    assert _with_status(contacts, UNSUBSCRIBED) == silent | left
    assert arrived(contacts.values()) == expected([*gone, *table.rows.values()])
    for key in before.keys() & table.rows.keys():
        assert contacts[_address(table.rows, key)]["id"] == before[key]
    for group in groups:
        assert contacts[_address(table.rows, group.moved)]["lists"]["2"] == ACTIVE

    for group in groups:
        table.insert(old[group.deleted])
        table.update(group.silent, EMailAddress1=f"b.{_address(table.rows, group.silent)}")
        gone += [table.delete(group.moved), table.delete(group.swap)]
    third = project.run(*CHANGES)

    assert third["counts"]["read"] == 8
    assert _told(third)["mirror"]["left"] == 4
    contacts = _contacts(project)
    silent = {_address(table.rows, group.silent) for group in groups}
    left = {_address({"": one}, "") for one in gone[-4:]}
    there = {_address(table.rows, key) for key in table.rows}
    assert _with_status(contacts, ACTIVE) == (there - silent) | stay
    assert _with_status(contacts, UNSUBSCRIBED) == silent | left
    for group in groups:
        assert contacts[_address(table.rows, group.silent)]["id"] == before[group.silent]


def test_the_guide_and_the_project_set_the_same() -> None:
    (guide,) = example("change-log.md", "log based")["plugins"]["extractors"]
    extractors = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["extractors"]
    (ours,) = (one for one in extractors if one["name"] == "tap-warehouse-changes")
    assert guide["config"] == ours["config"]
    assert [*guide["metadata"].values()] == [*ours["metadata"].values()]


@pytest.mark.parametrize("folder", ["log_based_default", "incremental"])
def test_recordings_are_what_the_tap_sends(folder: str) -> None:
    require(wal2json=True)
    require_meltano()
    for name, recorded in record(folder):
        # How many STATE messages a run without changes sends depends on its timing.
        if not name.endswith("quiet"):
            assert comparable(recorded) == comparable(messages(name)), name


def _change(
    table: WarehouseTable, group: Group, heir: dict[str, Any], newcomer: dict[str, Any]
) -> list[dict[str, Any]]:
    """Let each of a group see a change, in 12 records of the log; returns what was deleted."""
    table.insert(newcomer)
    table.update(group.edited, City="Elsewhere")
    gone = [table.delete(key) for key in (group.deleted, group.not_ours, group.replaced)]
    table.insert({**heir, "EMailAddress1": gone[-1]["EMailAddress1"]})
    table.insert(table.delete(group.back))
    for key in (group.moved, group.silent):
        table.update(key, EMailAddress1=f"a.{_address(table.rows, key)}")
    swap, swapped = _address(table.rows, group.swap), _address(table.rows, group.swapped)
    table.update(group.swap, EMailAddress1=swapped)
    table.update(group.swapped, EMailAddress1=swap)
    return gone


def _address(rows: dict[str, dict[str, Any]], key: str) -> str:
    address = usable_address(rows[key])
    assert address
    return address


def _told(report: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = report["streams"]["public-unified_profiles"]
    return told


def _contacts(project: MeltanoProject) -> dict[str, dict[str, Any]]:
    with SandboxServer(project.sandbox_path) as sandbox:
        return sandbox.contacts()


def _with_status(contacts: dict[str, dict[str, Any]], status: int) -> set[str]:
    return {who for who, contact in contacts.items() if contact["lists"].get("1") == status}
