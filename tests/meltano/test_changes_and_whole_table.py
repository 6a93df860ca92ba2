"""A table that one job reads by its changes and another, now and then, as a whole."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, final

import psycopg
import pytest
import yaml

from tests.support.guide import block, example
from tests.support.meltano_project import MeltanoProject, counts_of
from tests.support.mirrors import ACTIVE, UNSUBSCRIBED, address
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer

STREAM = "public-people"
ROWS = 30
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
CHANGES, WHOLE = (line.split()[1:] for line in block("sources.md", "together: runs").splitlines())


@pytest.fixture
def project(warehouse_project: MeltanoProject) -> MeltanoProject:
    """The project with the plugins of the guide, on top of those that are installed."""
    recipe = example("sources.md", "together")["plugins"]
    (tap, changes), (target, whole) = recipe["extractors"], recipe["loaders"]
    tap.update(inherit_from="tap-warehouse-postgres", select=[f"{STREAM}.*"])
    warehouse_project.configure(**target["config"], field_mapping={})
    path = warehouse_project.folder / "meltano.yml"
    written = yaml.safe_load(path.read_text("utf-8"))
    written["plugins"]["extractors"] += [tap, changes]
    written["plugins"]["loaders"].append(whole)
    path.write_text(yaml.safe_dump(written), "utf-8")
    return warehouse_project


@final
class People:
    """The table: rows by key, with the first parts of their addresses."""

    def __init__(self, server: PostgresServer) -> None:
        self.names: dict[int, str] = {}
        self._url = server.url
        self._minutes = itertools.count()
        self._sql(
            "CREATE TABLE people (id integer PRIMARY KEY, email text, first_name text,"
            " updated_at timestamptz, deleted_at timestamptz)"
        )

    def insert(self, names: dict[int, str]) -> None:
        """Put rows into the table."""
        for key, name in names.items():
            self._sql("INSERT INTO people VALUES (%s, %s, 'Someone')", key, address(name))
            self._touch(key)
        self.names.update(names)

    def move(self, key: int, name: str, *, silent: bool = False) -> None:
        """Change the address of a row; silently, without its time of update."""
        self._sql("UPDATE people SET email = %s WHERE id = %s", address(name), key)
        self.names[key] = name
        if not silent:
            self._touch(key)

    def rename(self, key: int, first_name: str) -> None:
        """Change another value of a row."""
        self._sql("UPDATE people SET first_name = %s WHERE id = %s", first_name, key)
        self._touch(key)

    def mark(self, key: int, *, deleted: bool, silent: bool = False) -> None:
        """Mark a row as deleted, or take the mark away; silently, as for `move`."""
        self._sql(
            "UPDATE people SET deleted_at = %s WHERE id = %s", BEGIN if deleted else None, key
        )
        if not silent:
            self._touch(key)

    def delete(self, key: int) -> None:
        """Delete a row for good."""
        self._sql("DELETE FROM people WHERE id = %s", key)
        del self.names[key]

    def _touch(self, key: int) -> None:
        at = BEGIN + timedelta(minutes=next(self._minutes))
        self._sql("UPDATE people SET updated_at = %s WHERE id = %s", at, key)

    def _sql(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(statement.encode(), values)


def test_changes_and_the_whole_table_bring_the_same_list(  # noqa: PLR0915 - runs are slow
    project: MeltanoProject, server: PostgresServer
) -> None:
    people = People(server)
    people.insert({key: f"p{key}" for key in range(1, ROWS + 1)})
    first = project.run(*CHANGES)

    assert counts_of(first) == {"read": ROWS, "added": ROWS}
    there = account(project)
    assert there.active == names(people)
    before = there.ids

    # The first whole table is only the baseline: it does not find the row that was deleted.
    people.delete(30)
    baseline = project.run(*WHOLE)

    assert counts_of(baseline) == {"read": ROWS - 1, "unchanged": ROWS - 1}, "the same segment"
    assert mirrored(baseline)["kind"] == "first run"
    assert account(project).active == names(people) | {"p30"}

    with SandboxServer(project.sandbox_path) as sandbox:
        sandbox.opt_out(address("p7"), 1)
    people.insert({31: "p31"})
    people.rename(1, "Ana")
    people.mark(2, deleted=True)
    people.mark(3, deleted=True)
    people.move(4, "q4")
    people.move(5, "p6")
    people.move(6, "p5")
    people.move(7, "q7")
    people.delete(8)
    people.move(9, "q9", silent=True)
    people.mark(10, deleted=True, silent=True)
    second = project.run(*CHANGES)

    assert second["counts"]["read"] == 8, "neither row 8, 9 nor 10"
    assert second["skipped"]["DELETED"]["records"] == 2
    assert told(second)["identity"]["renamed"] == 4
    assert mirrored(second)["left"] == 2
    assert "drift" not in mirrored(second), "nobody can be missing from changes"
    gone, out = {"p2", "p3"}, {"q7"}
    there = account(project)
    assert there.active == (names(people) - {"q9", "q7"} - gone) | {"p8", "p9", "p30"}
    assert there.unsubscribed == gone | out

    people.mark(3, deleted=False, silent=True)
    whole = project.run(*WHOLE)

    assert mirrored(whole)["drift"] == {"missing": 2, "returned": 1}
    assert mirrored(whole)["left"] == 3
    assert told(whole)["identity"]["renamed"] == 1
    assert whole["skipped"]["DELETED"]["records"] == 2
    gone = {"p2", "p8", "p10", "p30"}
    there = account(project)
    assert there.active == names(people) - gone - out
    assert there.unsubscribed == gone | out

    people.insert({8: "p8", 30: "q30"})
    people.mark(2, deleted=False)
    third = project.run(*CHANGES)

    assert third["counts"]["read"] == 4, "the whole table left the bookmark alone"
    assert told(third)["identity"]["renamed"] == 1
    there = account(project)
    assert there.active == names(people) - {"p10"} - out
    assert there.unsubscribed == {"p10"} | out

    last = project.run(*WHOLE)

    assert mirrored(last)["drift"] == {"missing": 0, "returned": 0}
    assert mirrored(last)["left"] == 0
    there = account(project)
    assert (there.active, there.unsubscribed) == (names(people) - {"p10"} - out, {"p10"} | out)
    after = there.ids
    old = {f"p{key}": name for key, name in people.names.items() if key <= ROWS}
    assert {name: after[new] for name, new in old.items()} == before


def told(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says of the stream."""
    found: dict[str, Any] = report["streams"][STREAM]
    return found


def mirrored(report: dict[str, Any]) -> dict[str, Any]:
    """What a report says of the mirror."""
    found: dict[str, Any] = told(report)["mirror"]
    return found


def names(people: People) -> set[str]:
    """The people of the table, marked ones included."""
    return set(people.names.values())


class Account(NamedTuple):
    """The contacts of the account, by the first parts of their addresses.

    Attributes:
        ids: Their ids.
        active: Those on the list.
        unsubscribed: Those who were on it.
    """

    ids: dict[str, str]
    active: set[str]
    unsubscribed: set[str]


def account(project: MeltanoProject) -> Account:
    """Read the sandbox back."""
    with SandboxServer(project.sandbox_path) as sandbox:
        contacts = {who.partition("@")[0]: one for who, one in sandbox.contacts().items()}
    status = {who: one["lists"].get("1") for who, one in contacts.items()}
    return Account(
        {who: one["id"] for who, one in contacts.items()},
        {who for who, one in status.items() if one == ACTIVE},
        {who for who, one in status.items() if one == UNSUBSCRIBED},
    )
