"""Damaged ledgers and budgets are set aside; files that never were one are refused and stay."""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import run_script
from tests.support.target_runner import people, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

MIRROR: dict[str, Any] = {"sync_mode": "mirror", "complete_stream": True}
COMMAND = str(Path(sys.executable).with_name("target-activecampaign-ledger"))


def header(path: Path) -> None:
    """Garbage where the file says what it is; its pages are whole."""
    path.write_bytes(secrets.token_bytes(100) + path.read_bytes()[100:])


def magic(path: Path) -> None:
    path.write_bytes(b"XXXXXXXXXXXXXXXX" + path.read_bytes()[16:])


def versions(path: Path) -> None:
    """Bytes that make SQLite think that it may only read the file."""
    content = bytearray(path.read_bytes())
    content[18:20] = b"\x09\x09"
    path.write_bytes(content)


def schema_format(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[44:48] = b"\xff\xff\xff\xff"
    path.write_bytes(content)


def first_page(path: Path) -> None:
    path.write_bytes(b"\xff" * 4096 + path.read_bytes()[4096:])


def cut(path: Path) -> None:
    os.truncate(path, 1_000)


def halved(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def all_but_first_page(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def no_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        for name in ("ledger", "account"):
            db.execute(f"DROP TABLE {name}")
        db.commit()


def no_key(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM ledger")
        db.commit()


def no_column(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE run DROP COLUMN host")
        db.commit()


DAMAGES = [
    header,
    magic,
    versions,
    schema_format,
    first_page,
    cut,
    halved,
    all_but_first_page,
    no_tables,
    no_key,
    no_column,
]

LOST = (
    "People whom the command 'suppress' had stored are lost with it, and ARE SENT AGAIN: pipe the "
    "list to 'target-activecampaign-ledger suppress -' again before"
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_ledger_is_set_aside_and_mirror_records_a_baseline(
    sandbox: SandboxServer, load: TargetRunner, damage: Callable[[Path], None]
) -> None:
    path = load.folder / "own-name.db"
    settings = {**MIRROR, "ledger_url": f"sqlite:///{path}"}
    load([schema(), *people(30), state(1)], **settings).succeeded()
    damage(path)
    damaged = path.read_bytes()

    outcome = load([schema(), *people(25), state(2)], **settings).succeeded()

    (aside,) = load.folder.glob("own-name.db.damaged-*")
    assert aside.read_bytes()[:4096] == damaged[:4096]
    (warning,) = [one for one in outcome.warnings if "DAMAGED" in one]
    assert aside.name in warning
    assert LOST in warning
    assert "25 contacts recorded as the baseline" in outcome.log
    assert outcome.states == [2]
    assert {one["lists"]["1"] for one in sandbox.export()} == {1}
    again = load([schema(), *people(25), state(3)], **settings).succeeded()
    assert again.counts == {"read": 25, "unchanged": 25}
    assert "DAMAGED" not in again.log


def test_damaged_page_read_at_the_start_sets_the_ledger_aside(
    load: TargetRunner,
) -> None:
    path = load.folder / "ledger.db"
    url = f"sqlite:///{path}"
    load([schema(), *people(3), state(1)], ledger_url=url).succeeded()
    with closing(sqlite3.connect(path)) as db:
        pages = [
            db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            for name in ("run", "account")
        ]
    content = bytearray(path.read_bytes())
    for page in pages:
        content[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(content)

    preview = load([schema(), *people(3)], ledger_url=url, dry_run=True).succeeded()
    assert f"The ledger at {path} is DAMAGED. The next run sets it aside" in preview.log
    assert LOST in preview.log
    assert path.read_bytes() == content

    outcome = load([schema(), *people(3), state(2)], ledger_url=url).succeeded()

    assert "is DAMAGED. It is set aside as " in outcome.log
    assert outcome.states == [2]


def test_write_ahead_log_is_set_aside_with_its_damaged_ledger(load: TargetRunner) -> None:
    load([schema(), *people(3)]).succeeded()
    path = load.folder / ".activecampaign-ledger.db"
    header(path)
    Path(f"{path}-wal").write_bytes(b"left by a power cut")
    load([schema(), *people(3)]).succeeded()
    assert {one.name.rpartition("T")[2][6:] for one in load.folder.glob("*.damaged-*")} == {
        "",
        "-wal",
    }


def test_damage_during_a_run_is_reported_and_next_run_starts_a_new_ledger(
    load: TargetRunner,
) -> None:
    load([schema(), *people(1_000), state(1)], **MIRROR).succeeded()
    path = load.folder / ".activecampaign-ledger.db"
    content = path.read_bytes()
    pages = [content[start : start + 4096] for start in range(0, len(content), 4096)]
    path.write_bytes(b"".join(b"\xff" * 4096 if b"person567@" in one else one for one in pages))
    outcome = load([schema(), *people(990), state(2)], **MIRROR)
    assert outcome.code == 1
    assert outcome.report["outcome"] == "failed"
    assert "is damaged" in outcome.report["problem"]
    assert load([schema(), *people(990), state(3)], **MIRROR).succeeded().states == [3]


def test_empty_file_becomes_a_new_ledger(load: TargetRunner) -> None:
    (load.folder / "ledger.db").touch(mode=0o600)
    outcome = load([schema(), *people(3)], ledger_url="sqlite:///ledger.db").succeeded()
    assert outcome.warnings == []
    assert list(load.folder.glob("*.damaged-*")) == []


# What never was a ledger


def text(path: Path) -> None:
    path.write_text("Dear diary, run 20260101T000000-0123456789ab made me CREATE TABLE sighting\n")


def binary(path: Path) -> None:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + secrets.token_bytes(3_000))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(8_192))


def others_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE orders (id)")


def others_marked_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 252006673")
        db.execute("CREATE TABLE run (id)")


def others_database_in_use(path: Path) -> None:
    """As another program leaves it that was killed: the log holds what the file does not."""
    code = (
        "import sqlite3, sys, os; db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('PRAGMA journal_mode = WAL'); db.execute('CREATE TABLE orders (id)')\n"
        "db.execute('INSERT INTO orders VALUES (1)'); db.commit(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def others_damaged_database(path: Path) -> None:
    others_database(path)
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 5_000)


OTHERS = [
    text,
    binary,
    zeros,
    others_database,
    others_marked_database,
    others_database_in_use,
    others_damaged_database,
]


@pytest.mark.parametrize(
    ("way", "make"),
    [
        *((way, make) for make in OTHERS for way in ("run", "preview")),
        *((way, make) for make in (text, others_database_in_use) for way in ("command", "test")),
    ],
)
def test_file_that_never_was_a_ledger_is_refused_and_stays(
    load: TargetRunner, way: str, make: Callable[[Path], None]
) -> None:
    path = load.folder / "precious"
    make(path)
    path.chmod(0o600)
    before = {one.name: one.read_bytes() for one in load.folder.glob("precious*")}
    url = f"sqlite:///{path}"
    if way in {"run", "preview"}:
        outcome = load([schema(), *people(3), state(1)], ledger_url=url, dry_run=way == "preview")
        code, said = outcome.code, outcome.log.splitlines()[-1]
        assert outcome.states == []
    else:
        command = [COMMAND, "show", "--ledger-url", url]
        if way == "test":
            command = [*load.command(ledger_url=url), "--test"]
        done = run_script(command, folder=load.folder)
        code, said = done.returncode, done.stdout + done.stderr
        assert "Traceback" not in said
    assert code == 1
    assert "is no ledger" in said or "belongs to another program" in said
    assert "ledger_url" in said
    after = {one.name: one.read_bytes() for one in load.folder.glob("precious*")}
    # SQLite keeps an index of the log in memory there, which holds nothing of its own.
    assert {name: after[name] for name in before if name != "precious-shm"} == {
        name: content for name, content in before.items() if name != "precious-shm"
    }
    assert after.keys() - before.keys() <= {"precious-shm"}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_ledger_in_memory_is_refused(load: TargetRunner, sandbox: SandboxServer, url: str) -> None:
    outcome = load([schema(), *people(1)], ledger_url=url)
    assert outcome.code == 1
    assert "'ledger_url' names no file: write it as sqlite:///path." in outcome.log.splitlines()[-1]
    assert "damaged" not in outcome.log
    assert not sandbox.contacts()


@pytest.mark.parametrize("place", ["/dev/null", "{folder}"])
def test_device_or_folder_is_refused_as_ledger(load: TargetRunner, place: str) -> None:
    url = f"sqlite:///{place.format(folder=load.folder)}"
    outcome = load([schema(), *people(1)], ledger_url=url)
    assert outcome.code == 1
    assert "'ledger_url'" in outcome.log.splitlines()[-1]


# The rate budget


def used_budget(load: TargetRunner, path: Path) -> None:
    budget = {"rate_budget_url": str(path), "requests_per_second": 50}
    load([schema(), *people(1)], **budget).succeeded()


@pytest.mark.parametrize("damage", [header, magic, cut, halved, versions])
def test_damaged_budget_is_set_aside_with_a_warning(
    load: TargetRunner, damage: Callable[[Path], None]
) -> None:
    path = load.folder / "budget.db"
    used_budget(load, path)
    damage(path)
    outcome = load(
        [schema(), *people(2), state(1)], rate_budget_url=str(path), requests_per_second=50
    ).succeeded()
    assert outcome.states == [1]
    (warning,) = [one for one in outcome.log.splitlines() if "DAMAGED" in one]
    (aside,) = load.folder.glob("budget.db.damaged-*")
    assert aside.name in warning
    used_budget(load, path)


@pytest.mark.parametrize("make", OTHERS)
def test_file_that_never_was_a_budget_is_refused_and_stays(
    load: TargetRunner, make: Callable[[Path], None]
) -> None:
    path = load.folder / "precious"
    make(path)
    path.chmod(0o600)
    before = path.read_bytes()
    outcome = load([schema(), *people(1)], rate_budget_url=str(path), requests_per_second=50)
    assert outcome.code == 1
    assert "is not a database of a rate budget" in outcome.log.splitlines()[-1]
    assert path.read_bytes() == before


def test_ledger_file_is_refused_as_budget(load: TargetRunner) -> None:
    load([schema(), *people(1)]).succeeded()
    place = ".activecampaign-ledger.db"
    outcome = load([schema(), *people(1)], rate_budget_url=place, requests_per_second=50)
    assert outcome.code == 1
    assert "is not a database of a rate budget" in outcome.log.splitlines()[-1]
    load([schema(), *people(1)]).succeeded()


# The commands


@pytest.mark.parametrize("damage", [header, cut, no_key, all_but_first_page])
def test_command_and_check_report_a_damaged_ledger_and_do_not_change_it(
    load: TargetRunner, damage: Callable[[Path], None]
) -> None:
    path = load.folder / "ledger.db"
    url = f"sqlite:///{path}"
    load([schema(), *people(3)], ledger_url=url).succeeded()
    damage(path)
    before = path.read_bytes()
    for command in (
        [COMMAND, "show", "--ledger-url", url],
        [*load.command(ledger_url=url), "--test"],
    ):
        done = run_script(command, folder=load.folder)
        said = done.stdout + done.stderr
        if damage is all_but_first_page and "--test" in command and done.returncode == 0:
            continue  # what is damaged is not read
        assert done.returncode == 1, said
        assert "is damaged. The target's next run sets it aside" in said
        assert "Traceback" not in said
    assert path.read_bytes() == before
    outcome = load([schema(), *people(3)], ledger_url=url, dry_run=True).succeeded()
    assert "is DAMAGED. The next run sets it aside" in outcome.log
    assert path.read_bytes() == before
