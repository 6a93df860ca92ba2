"""The ledger's database: of another version, another program's, damaged, lost, or in use."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from target_activecampaign.ledger.schema import NEW_COLUMNS, VERSION
from tests.support.ledgers import LEDGER, SCHEMA, database, empty_database, ledger, run_in_progress
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

MIRROR = {"sync_mode": "mirror", "complete_stream": True}


@pytest.fixture
def warehouse(postgres: PostgresServer) -> str:
    """An empty database on PostgreSQL."""
    return empty_database(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / LEDGER}"
    url: str = request.getfixturevalue("warehouse")
    return url


def statuses(sandbox: SandboxServer) -> list[int]:
    """Return each contact's status on list 1."""
    return [one["lists"]["1"] for one in sandbox.export()]


# Versions


@pytest.mark.parametrize("version", [0, 99])
def test_ledger_of_another_version_is_refused_and_stays(
    sandbox: SandboxServer, load: TargetRunner, ledger_url: str, version: int
) -> None:
    load([schema(), *people(3), state("end")], ledger_url=ledger_url).succeeded()
    with ledger(ledger_url) as db:
        db.execute(sa.text("UPDATE ledger SET version = :version"), {"version": version})

    outcome = load([schema(), *people(5), state("end")], ledger_url=ledger_url)

    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert f"its tables have version {version}, this one needs {VERSION}" in last
    assert last.endswith("or name another place in 'ledger_url'.")
    assert outcome.states == []
    assert len(sandbox.export()) == 3
    with ledger(ledger_url) as db:
        assert db.exec_driver_sql("SELECT version FROM ledger").scalar() == version


def test_ledger_of_the_version_before_is_upgraded_and_keeps_what_it_knows(
    sandbox: SandboxServer, load: TargetRunner, ledger_url: str
) -> None:
    known = {"ledger_url": ledger_url}
    opted_out = record("left@example.com")
    sandbox.prepare({"email": "left@example.com", "lists": {"1": 2}})
    load([schema(), *people(3), opted_out, state("end")], **known).succeeded()
    with ledger(ledger_url) as db:
        for column in itertools.chain(*NEW_COLUMNS.values()):
            db.exec_driver_sql(f"ALTER TABLE {column.table.name} DROP COLUMN {column.name}")
        db.exec_driver_sql("UPDATE ledger SET version = 2")

    again = [schema(), *people(4), opted_out, state("end")]
    for _ in range(2):  # a preview upgrades its copy alone
        preview = load(again, **known, dry_run=True).succeeded()
        assert preview.counts == {"read": 5, "added": 1, "unchanged": 3, "rejected": 1}
    outcome = load(again, **known).succeeded()

    assert outcome.counts == preview.counts
    assert f"upgraded to version {VERSION}" in outcome.log
    assert outcome.codes == {"left@example.com": "OPTED_OUT"}
    assert sum(one["contacts"] for one in sandbox.imports()) == 4
    assert "upgraded" not in load(again, **known).succeeded().log


# Imports whose answer was lost


def test_import_is_looked_up_by_what_a_ledger_on_postgresql_keeps(
    sandbox: SandboxServer, load: TargetRunner, warehouse: str
) -> None:
    messages = [schema(), *people(10), state("end")]
    lookups = {"method": "GET", "path": "*/contactLists"}
    sandbox.fault("reset", takes_effect=True, match={"method": "POST", "path": "*/bulk_import"})
    sandbox.fault("payment", match=lookups)
    assert load(messages, ledger_url=warehouse).code == 1
    sandbox.clear_faults()
    with ledger(warehouse) as db:
        assert db.exec_driver_sql("SELECT count(probes) FROM import").scalar() == 1
    sandbox.fault("payment", match=lookups, first=6)  # three show that it has arrived
    assert load(messages, ledger_url=warehouse).code == 1
    sandbox.clear_faults()
    with ledger(warehouse) as db:
        stored = db.exec_driver_sql("SELECT probes, arrived FROM import").all()
        assert stored == [(None, True)]
    assert load(messages, ledger_url=warehouse).succeeded().counts == {"read": 10, "added": 10}
    assert {one["times_imported"] for one in sandbox.export()} == {1}
    with ledger(warehouse) as db:
        assert db.exec_driver_sql("SELECT count(*) FROM import").scalar() == 0


# Other programs


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
@pytest.mark.parametrize("table", ["ledger (version, key)", "run (id)", "orders (id)"])
def test_database_of_another_program_is_refused_and_stays(
    load: TargetRunner, table: str, journal_mode: str
) -> None:
    path = load.folder / "books.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal_mode}")
        db.execute(f"CREATE TABLE {table}")
        db.commit()
    before = path.read_bytes()

    outcome = load([schema(), *people(3), state("end")], ledger_url=f"sqlite:///{path}")

    assert outcome.code == 1
    assert "belongs to another program" in outcome.log.splitlines()[-1]
    assert path.read_bytes() == before
    assert list(load.folder.glob("books.db?*")) == []


def test_ledger_shares_a_database_with_tables_of_the_same_names(
    sandbox: SandboxServer, load: TargetRunner, warehouse: str
) -> None:
    names = ["ledger", "account", "run", "import", "segment", "member", "sighting", "existing"]
    names += ["source_row", "departure", "withheld", "suppression", "opt_out"]
    names += ["opt_out_reading", "waiting", "retry", "rename", "fact", "stream_run"]
    with database(warehouse) as db:
        db.exec_driver_sql("CREATE TABLE customer (id INTEGER PRIMARY KEY)")
        for name in names:
            db.exec_driver_sql(f"CREATE TABLE {name} (id INTEGER REFERENCES customer, note TEXT)")
            db.execute(sa.table(name, sa.column("note")).insert().values(note="theirs"))

    load([schema(), *people(30), state("end")], ledger_url=warehouse).succeeded()
    again = load([schema(), *people(30), state("end")], ledger_url=warehouse).succeeded()

    assert again.counts == {"read": 30, "unchanged": 30}
    with database(warehouse) as db:
        for name in names:
            rows = db.execute(sa.select("*").select_from(sa.table(name)))
            assert rows.all() == [(None, "theirs")]
        inspector = sa.inspect(db)
        assert set(inspector.get_table_names(SCHEMA)) == set(names)
        assert set(inspector.get_table_names("public")) == {"customer", *names}


def test_missing_permission_for_the_schema_is_explained_with_a_remedy(
    sandbox: SandboxServer, load: TargetRunner, warehouse: str
) -> None:
    with database(warehouse) as db:
        db.exec_driver_sql("DROP ROLE IF EXISTS loader")
        db.exec_driver_sql("CREATE ROLE loader LOGIN")
    url = warehouse.replace("test:test@", "loader:hush-hush@")

    outcome = load([schema(), *people(3), state("end")], ledger_url=url)

    assert outcome.code == 1
    remedy = "CREATE SCHEMA activecampaign_ledger AUTHORIZATION loader"
    assert remedy in outcome.log.splitlines()[-1]
    assert "hush-hush" not in outcome.log
    with database(warehouse) as db:
        db.exec_driver_sql(remedy)
    load([schema(), *people(3), state("end")], ledger_url=url).succeeded()
    with database(warehouse) as db:
        db.exec_driver_sql("DROP OWNED BY loader")


# Damaged and lost


def garbage(path: Path) -> None:
    path.write_bytes(secrets.token_bytes(5_000))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite_pages(path: Path, text: bytes) -> None:
    """Overwrite all pages that have a text: the one in use, and copies in ones that are free."""
    content = path.read_bytes()
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    assert any(text in page for page in pages)
    path.write_bytes(b"".join(b"\xff" * 4096 if text in page else page for page in pages))


def lost(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [garbage, truncated, lost])
def test_mirror_removes_nobody_after_its_ledger_is_lost_or_damaged(
    sandbox: SandboxServer, load: TargetRunner, harm: Any
) -> None:
    load([schema(), *people(30), state(1)], **MIRROR).succeeded()
    path = load.folder / LEDGER
    harm(path)

    outcome = load([schema(), *people(25), state(2)], **MIRROR).succeeded()

    assert "25 contacts recorded as the baseline" in outcome.log
    assert statuses(sandbox) == [1] * 30
    aside = list(load.folder.glob(f"{LEDGER}.damaged-*"))
    if harm is lost:
        assert aside == []
    else:
        assert f"{LEDGER} is DAMAGED" in outcome.log
        assert aside[0].name in outcome.log
        assert aside[0].stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600
    again = load([schema(), *people(24), state(3)], **MIRROR).succeeded()
    assert "DAMAGED" not in again.log
    assert statuses(sandbox) == [1] * 30, "the new ledger does not prove that we added them"


def test_damage_found_during_a_run_fails_it_and_next_run_starts_a_new_ledger(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    load([schema(), *people(1_000), state(1)], **MIRROR).succeeded()
    overwrite_pages(load.folder / LEDGER, b"person567@")

    outcome = load([schema(), *people(990), state(2)], **MIRROR)

    assert outcome.code == 1
    assert "is damaged" in outcome.log.splitlines()[-1]
    assert "run again" in outcome.log.splitlines()[-1]
    assert "is DAMAGED. It is set aside as " in outcome.log
    assert outcome.states == []
    assert statuses(sandbox) == [1] * 1_000

    again = load([schema(), *people(990), state(3)], **MIRROR).succeeded()

    assert "990 contacts recorded as the baseline" in again.log
    assert again.states == [3]
    assert statuses(sandbox) == [1] * 1_000


def test_damaged_import_in_flight_fails_one_run_only(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    load([schema(), *people(3), state(1)]).succeeded()
    (batch,) = sandbox.imports()
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        db.exec_driver_sql("UPDATE run SET finished = NULL, host = '', beat = 0")
        left = (
            "INSERT INTO import (id, run, posted, batch_id, contacts)"
            " SELECT 1, id, started, :batch, x'93C0' FROM run"
        )
        db.execute(sa.text(left), {"batch": batch["batch"]})

    outcome = load([schema(), *people(4), state(2)])
    assert outcome.code == 1
    assert "is damaged" in outcome.log.splitlines()[-1]

    again = load([schema(), *people(4), state(3)]).succeeded()
    assert again.states == [3]
    assert len(sandbox.export()) == 4


# Runs in progress and killed ones


def test_all_files_of_a_ledger_are_private(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    with run_in_progress(load, sandbox):
        files = list(load.folder.glob(f"{LEDGER}*"))
        assert {path.name.removeprefix(LEDGER) for path in files} == {"", "-wal", "-shm"}
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_stream_is_claimed_until_its_run_is_killed(
    sandbox: SandboxServer, load: ForkedTargetRunner, ledger_url: str
) -> None:
    with run_in_progress(load, sandbox, ledger_url=ledger_url):
        during = load([schema(), *people(12), state(1)], ledger_url=ledger_url)
    after = load([schema(), *people(12), state(1)], ledger_url=ledger_url).succeeded()

    assert during.code == 1
    assert "is being loaded into list 1 by another run" in during.log.splitlines()[-1]
    assert after.counts["read"] == 12
    assert after.states == [1]
    assert [one["times_imported"] for one in sandbox.export()].count(1) >= 2
    assert len(sandbox.export()) == 12


@pytest.mark.parametrize(
    ("run", "free"),
    [
        (("another-machine", "1:", 10), False),
        (("another-machine", "1:", 400), True),
        ((socket.gethostname(), f"{os.getpid()}:1", 0), True),
    ],
    ids=["another machine", "another machine, silent", "a reused process number"],
)
def test_run_in_progress_is_recognised_by_its_process_or_its_beat(
    load: TargetRunner, ledger_url: str, run: tuple[str, str, float], free: bool
) -> None:
    host, process, silent = run
    load([schema(), record("a@example.com"), state(1)], ledger_url=ledger_url).succeeded()
    with ledger(ledger_url) as db:
        # Where the number of a process means something stands behind it.
        place = db.execute(sa.text("SELECT process FROM run")).scalar_one().rpartition(":")[2]
        process = f"{process}:{place}"
        change = "UPDATE run SET host = :host, process = :process, beat = :beat, finished = NULL"
        values = {"host": host, "process": process, "beat": time.time() - silent}
        assert db.execute(sa.text(change), values).rowcount == 1

    outcome = load([schema(), record("a@example.com"), state(2)], ledger_url=ledger_url)

    assert (outcome.code, outcome.states) == ((0, [2]) if free else (1, []))
    assert free or f"process 1 on {host}" in outcome.log.splitlines()[-1]
