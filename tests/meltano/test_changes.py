"""`meltano run tap-warehouse-changes`: every change to a table, from PostgreSQL's log."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from tests.support.guide import block, example
from tests.support.meltano_project import MISSING, ROOT, MeltanoProject, counts_of, installed
from tests.support.postgres_server import PostgresServer, require
from tests.support.sample_profiles import arrived, expected, profiles, usable_address
from tests.support.sandbox_server import SandboxServer
from tests.support.source_recordings import comparable, messages, record
from tests.support.warehouse import fill_table, insert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHANGES = ("run", "tap-warehouse-changes", "target-activecampaign")


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    require(wal2json=True)
    with PostgresServer(logical=True) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: PostgresServer) -> MeltanoProject:
    if not installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    project = MeltanoProject(tmp_path / "project")
    project.variables["WAREHOUSE_URL"] = server.url
    project.variables["TAP_WAREHOUSE_CHANGES_REPLICATION_IDLE_EXIT_SECONDS"] = "1"
    return project


def test_changes_arrive_and_deleted_rows_remove_nobody(
    project: MeltanoProject, server: PostgresServer
) -> None:
    people = list({usable_address(one): one for one in profiles() if usable_address(one)}.values())
    old, new = people[:100], people[100:102]
    changed = [{**one, "City": "Elsewhere"} for one in old[10:13]]
    by_key, with_all_columns = old[20:22], old[30:32]
    fill_table(server, old)
    _run_sql(server, block("sources.md", "slot"))
    first = project.run("run", "tap-warehouse-postgres", "target-activecampaign")
    assert counts_of(first) == {"read": 100, "added": 100}

    with psycopg.connect(server.url) as connection:
        insert(connection, new)
    for one in changed:
        _run_sql(server, UPDATE, one["City"], one["CustomerId"])
    _run_sql(server, TOUCH, old[40]["CustomerId"])
    for one in by_key:
        _run_sql(server, DELETE, one["CustomerId"])
    _run_sql(server, "ALTER TABLE unified_profiles REPLICA IDENTITY FULL")
    for one in with_all_columns:
        _run_sql(server, DELETE, one["CustomerId"])
    # A run that fails leaves the bookmark where it is, and the changes in the slot.
    project.variables["TARGET_ACTIVECAMPAIGN_LIST_ID"] = "No such list"
    assert project(*CHANGES).code != 0
    del project.variables["TARGET_ACTIVECAMPAIGN_LIST_ID"]

    second = project.run(*CHANGES)

    settled = {"added": 2, "changed": 3, "unchanged": 1, "skipped": 4}
    assert counts_of(second) == {"read": 10, **settled}
    assert second["skipped"]["DELETED"]["records"] == 4
    with SandboxServer(project.sandbox_path) as sandbox:
        contacts = sandbox.export()
    assert arrived(contacts) == expected([*old, *changed, *new])
    assert {contact["lists"].get("1") for contact in contacts} == {1}
    assert _bookmark(project) > 0

    assert counts_of(project.run(*CHANGES)) == {}


def test_the_guide_and_the_project_set_the_same() -> None:
    (guide,) = example("sources.md", "log based")["plugins"]["extractors"]
    extractors = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["extractors"]
    (ours,) = (one for one in extractors if one["name"] == "tap-warehouse-changes")
    assert guide["config"] == ours["config"]
    assert [*guide["metadata"].values()] == [*ours["metadata"].values()]


@pytest.mark.parametrize("folder", ["log_based_default", "incremental"])
def test_recordings_are_what_the_tap_sends(folder: str) -> None:
    require(wal2json=True)
    if not installed():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    for name, recorded in record(folder):
        # How many STATE messages a run without changes sends depends on its timing.
        if not name.endswith("quiet"):
            assert comparable(recorded) == comparable(messages(name)), name


UPDATE = 'UPDATE unified_profiles SET "City" = %s WHERE "CustomerId" = %s'
TOUCH = 'UPDATE unified_profiles SET "ModifiedOn" = now() WHERE "CustomerId" = %s'
DELETE = 'DELETE FROM unified_profiles WHERE "CustomerId" = %s'


def _run_sql(server: PostgresServer, statement: str, *values: Any) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(statement.encode(), values)


def _bookmark(project: MeltanoProject) -> int:
    name = "sandbox:tap-warehouse-changes-to-target-activecampaign"
    state = json.loads(project("state", "get", name).out)["singer_state"]
    bookmark = state["bookmarks"]["public-unified_profiles"]
    assert bookmark["replication_key"] == "_sdc_lsn"
    position: int = bookmark["replication_key_value"]
    return position
