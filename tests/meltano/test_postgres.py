"""The two taps of meltano.yml that read a table, from a real PostgreSQL server."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import psycopg

from tests.support.meltano_project import MeltanoProject, counts_of
from tests.support.sample_profiles import arrived, expected, one_each, profiles, usable_address
from tests.support.sandbox_server import SandboxServer
from tests.support.warehouse import fill_table, insert

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer


def test_a_table_becomes_a_list(warehouse_project: MeltanoProject, server: PostgresServer) -> None:
    people = profiles()
    fill_table(server, people)

    report = warehouse_project.run("run", "tap-warehouse-postgres", "target-activecampaign")

    assert report["counts"]["read"] == len(people)
    with SandboxServer(warehouse_project.sandbox_path) as sandbox:
        contacts = sandbox.export()
    assert arrived(contacts) == expected(people)
    assert {contact["lists"].get("1") for contact in contacts} == {1}


UPDATES = ("run", "tap-warehouse-updates", "target-activecampaign")
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_a_later_run_reads_only_what_was_modified(
    warehouse_project: MeltanoProject, server: PostgresServer
) -> None:
    people = one_each()
    people = [
        {**one, "ModifiedOn": (BEGIN + timedelta(minutes=n)).isoformat()}
        for n, one in enumerate(people[:302])
    ]
    old, new = people[:300], people[300:]
    fill_table(server, old)

    first = warehouse_project.run(*UPDATES)

    assert counts_of(first) == {"read": 300, "added": 300}
    assert _bookmark(warehouse_project) == BEGIN + timedelta(minutes=299)

    changed = [
        {**one, "City": "Elsewhere", "ModifiedOn": (BEGIN + timedelta(days=1)).isoformat()}
        for one in old[10:13]
    ]
    with psycopg.connect(server.url) as connection:
        for one in changed:
            connection.execute(
                'UPDATE unified_profiles SET "City" = %s, "ModifiedOn" = %s'
                ' WHERE "CustomerId" = %s',
                [one["City"], one["ModifiedOn"], one["CustomerId"]],
            )
        insert(connection, new)
    # A run that fails leaves the bookmark where it is.
    warehouse_project.variables["TARGET_ACTIVECAMPAIGN_LIST_ID"] = "No such list"
    assert warehouse_project(*UPDATES).code != 0
    del warehouse_project.variables["TARGET_ACTIVECAMPAIGN_LIST_ID"]

    second = warehouse_project.run(*UPDATES)

    # The tap asks for rows from the bookmark on, so that the last one comes again.
    assert counts_of(second) == {"read": 6, "added": 2, "changed": 3, "unchanged": 1}
    assert _bookmark(warehouse_project) == BEGIN + timedelta(days=1)
    with SandboxServer(warehouse_project.sandbox_path) as sandbox:
        contacts = sandbox.contacts()
    assert arrived(contacts.values()) == expected([*old, *changed, *new])
    twice = {who for who, contact in contacts.items() if contact["times_imported"] == 2}
    assert twice == {usable_address(one) for one in changed}


def _bookmark(warehouse_project: MeltanoProject) -> datetime:
    name = "sandbox:tap-warehouse-updates-to-target-activecampaign"
    state = json.loads(warehouse_project("state", "get", name).out)["singer_state"]
    bookmark = state["bookmarks"]["public-unified_profiles"]
    assert bookmark["replication_key"] == "ModifiedOn"
    return datetime.fromisoformat(bookmark["replication_key_value"])
