"""Outcomes in the operator's own tables: a row for each record, in PostgreSQL, SQLite and files."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support import postgres_server
from tests.support.fork_server import run_script
from tests.support.guide import block
from tests.support.ledgers import LEDGER, database, empty_database, ledger
from tests.support.mirrors import wait_for
from tests.support.outcome_rows import RUNS, OutcomePlace, reported
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
SCHEMA = "crm_outcomes"
LEDGER_SCRIPT = f"{SCRIPT}-ledger"
KINDS = ["postgresql", "sqlite", "files"]


@pytest.fixture(scope="module")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    postgres_server.require()
    with postgres_server.PostgresServer() as server:
        yield server


def place_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> OutcomePlace:
    if kind == "sqlite":
        return OutcomePlace(f"sqlite:///{folder / 'outcomes.db'}")
    if kind == "files":
        return OutcomePlace(f"file://{folder / 'outcomes'}")
    url = empty_database(request.getfixturevalue("postgres"))
    with database(url) as db:
        db.exec_driver_sql(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    return OutcomePlace(url, SCHEMA)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> OutcomePlace:
    return place_of(request.param, request, tmp_path)


def keyed(stream: str = "profiles", **properties: Any) -> dict[str, Any]:
    """A SCHEMA message of a stream with a key."""
    return {**schema(stream, id="string", **properties), "key_properties": ["id"]}


def by_key(place: OutcomePlace) -> dict[str, dict[str, Any]]:
    return {json.loads(row["source_key"])["id"]: row for row in place.outcomes()}


# Rows


def test_each_record_has_the_row_of_its_outcome(
    sandbox: SandboxServer, load: TargetRunner, place: OutcomePlace
) -> None:
    sandbox.prepare({"email": EVE, "lists": {"1": 2}})
    messages = [
        keyed(_sdc_deleted_at="string"),
        record(ADA, id="1", first_name="Ada"),
        record(BOB, id="2", first_name="Bob"),
        record(BOB, id="2", first_name="Robert"),
        record("nobody", id="3"),
        record(EVE, id="4"),
        record("gone@example.com", id="5", _sdc_deleted_at="2026-01-01"),
        state({"end": 1}),
    ]
    outcome = load(messages, **place.settings).succeeded()

    assert place.counts() == reported(outcome.report) == {
        "added": 2, "merged": 1, "invalid": 1, "rejected": 1, "skipped": 1,
    }  # fmt: skip
    rows = by_key(place)
    codes = {key: row["code"] for key, row in rows.items()}
    assert codes == {
        "1": None, "2": None, "3": "EMAIL_INVALID", "4": "OPTED_OUT", "5": "DELETED",
    }  # fmt: skip
    assert rows["3"]["reason"]
    delivered = rows["1"]
    (batch,) = {row["batch_id"] for row in rows.values() if row["outcome"] == "added"}
    assert batch in {one["batch"] for one in sandbox.imports()}
    assert delivered["read_at"]
    assert delivered["posted_at"] <= delivered["confirmed_at"]
    assert {row["list_id"] for row in rows.values()} == {1}
    assert {row["attempt"] for row in rows.values()} == {1}
    assert all(row["address"] is None for row in rows.values())
    (run,) = place.runs()
    assert run["outcome"] == "completed"
    assert run["read"] == 6
    assert {name: run[name] for name in reported(outcome.report)} == reported(outcome.report)
    assert json.loads(run["report"])["counts"] == outcome.report["counts"]
    assert "samples" not in json.loads(run["report"])
    assert outcome.report["outcomes"] == {"rows": 6, "missing": 0, "problem": None}


def test_contact_id_is_stored_where_the_run_got_to_know_it(
    sandbox: SandboxServer, load: TargetRunner, tmp_path: Path
) -> None:
    place = OutcomePlace(f"file://{tmp_path / 'outcomes'}")
    sandbox.prepare({"email": BOB})
    load([keyed(), record(ADA, id="1")], **place.settings).succeeded()
    sandbox.fault("queue_drop", contacts=[BOB])
    load([keyed(), record(BOB, id="2"), record(EVE, id="3")], **place.settings).succeeded()
    ids = {email: int(one["id"]) for email, one in sandbox.contacts().items()}
    rows = by_key(place)
    assert rows["1"]["contact_id"] == ids[ADA], "an import of one contact names it"
    assert rows["2"]["outcome"] == "rejected"
    assert rows["2"]["contact_id"] == ids[BOB], "it was looked up"
    assert rows["3"]["contact_id"] is None


def test_unchanged_records_have_no_row_and_latest_is_the_newest_of_each_key(
    load: TargetRunner, place: OutcomePlace
) -> None:
    messages = [keyed(), record(ADA, id="1", first_name="Ada"), record(BOB, id="2")]
    load(messages, **place.settings).succeeded()
    messages[1] = record(ADA, id="1", first_name="Augusta")

    outcome = load(messages, **place.settings).succeeded()

    run = outcome.report["run_id"]
    assert outcome.counts == {"read": 2, "changed": 1, "unchanged": 1}
    assert place.counts(run) == {"changed": 1}
    if not place.is_folder:
        latest = place.latest()
        assert latest['{"id":"1"}']["outcome"] == "changed"
        assert latest['{"id":"1"}']["run"] == run
        assert latest['{"id":"2"}']["outcome"] == "added"


@pytest.mark.parametrize("kind", ["all", "failures"])
def test_rows_of_all_records_or_of_failures_alone(
    load: TargetRunner, tmp_path: Path, kind: str
) -> None:
    place = OutcomePlace(f"file://{tmp_path / 'outcomes'}")
    settings = {**place.settings, "outcomes": kind}
    messages = [keyed(), *people(3, id="x"), record("nobody", id="9")]
    load(messages, **settings).succeeded()

    outcome = load(messages, **settings).succeeded()

    expected = {"unchanged": 3, "invalid": 1} if kind == "all" else {"invalid": 1}
    assert outcome.counts == {"read": 4, "unchanged": 3, "invalid": 1}
    assert place.counts(outcome.report["run_id"]) == expected


# Personal data


@pytest.mark.parametrize("personal", [False, True])
def test_address_is_only_in_rows_where_personal_data_may_be(
    load: TargetRunner, place: OutcomePlace, personal: bool
) -> None:
    head = {**schema(), "key_properties": ["email"]}
    messages = [head, record("Ada@example.com", first_name="Ada"), record(f" {BOB}x y")]
    load(messages, **place.settings, report_personal_data=personal).succeeded()

    ada, nobody = place.outcomes()
    if personal:
        assert ada["address"] == ADA
        assert json.loads(ada["source_key"]) == {"email": "Ada@example.com"}
    else:
        text = json.dumps([ada, nobody, *place.runs()], default=str).lower()
        assert "@example" not in text
        assert "ada" not in text
        assert json.loads(ada["source_key"]) == {"email": ada["person"]}
        assert json.loads(nobody["source_key"])["email"]


def test_person_is_forgotten(load: TargetRunner, place: OutcomePlace) -> None:
    messages = [keyed(), record(ADA, id="1", first_name="Ada"), record(BOB, id="2")]
    for name in ("Ada", "Augusta"):
        messages[1] = record(ADA, id="1", first_name=name)
        load(messages, **place.settings).succeeded()
    _, *arguments = shlex.split(block("outcomes.md", "forget"))
    load.command(**place.settings)

    done = run_script([LEDGER_SCRIPT, *arguments], ADA.encode(), folder=load.folder)

    assert done.returncode == 0, done.stderr
    assert f"Deleted {2 if place.is_folder else 3} rows of outcomes." in done.stdout
    assert [row["source_key"] for row in place.outcomes()] == ['{"id":"2"}']
    if not place.is_folder:
        assert list(place.latest()) == ['{"id":"2"}']
    assert len(place.runs()) == 2


def test_person_is_forgotten_in_a_run_that_was_cut_off(
    sandbox: SandboxServer, load: ForkedTargetRunner, tmp_path: Path
) -> None:
    place = OutcomePlace(f"sqlite:///{tmp_path / 'outcomes.db'}")
    sandbox.fault("queue_slow", seconds=4, match={"path": "*bulk_import"})
    run = load.start(checkpoint_seconds=0.1, **place.settings)
    run.feed([keyed(), record(ADA, id="1", first_name="Ada"), record(BOB, id="2")])
    wait_for(lambda: len(sandbox.imports()) == 1)
    wait_for(lambda: _has_batch_id(load.folder))
    run.kill()
    run.wait()
    forget = [LEDGER_SCRIPT, "forget", "--person", "-"]
    assert run_script(forget, ADA.encode(), folder=load.folder).returncode == 0
    sandbox.settle()

    load([keyed(), record(BOB, id="2")], **place.settings).succeeded()

    assert [row["source_key"] for row in place.outcomes()] == ['{"id":"2"}']


def _has_batch_id(folder: Path) -> bool:
    with ledger(f"sqlite:///{folder / LEDGER}") as db:
        return bool(db.exec_driver_sql("SELECT batch_id FROM import").scalar())


# How long rows stay


def test_rows_are_deleted_after_so_many_days(load: TargetRunner, place: OutcomePlace) -> None:
    messages = [keyed(), record(ADA, id="1")]
    load(messages, **place.settings).succeeded()
    _age(place, days=91)
    messages[1] = record(ADA, id="1", first_name="Ada")

    load(messages, **place.settings, outcomes_keep_days=92).succeeded()
    assert place.counts() == {"added": 1, "changed": 1}
    messages[1] = record(ADA, id="1", first_name="Augusta")
    outcome = load(messages, **place.settings).succeeded()

    assert place.counts() == {"changed": 2}
    assert len(place.runs()) == 2
    if not place.is_folder:
        assert [row["run"] for row in place.latest().values()] == [outcome.report["run_id"]]


def _age(place: OutcomePlace, days: int) -> None:
    """Let the runs so far have started earlier."""
    past = datetime.now(timezone.utc) - timedelta(days=days)
    if place.is_folder:
        for path in place.files:
            path.rename(path.with_name(f"outcomes-{past:%Y%m%dT%H%M%S.%f}-0123456789ab.jsonl"))
        return
    with database(place.url) as db:
        started = past.isoformat() if place.url.startswith("sqlite") else past
        runs = sa.table(RUNS, sa.column("started"), schema=place.schema)
        db.execute(runs.update().values(started=started))


# Versions


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_tables_of_an_older_version_are_upgraded(
    load: TargetRunner, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    place = place_of(kind, request, tmp_path)
    load([keyed(), record(ADA, id="1")], **place.settings).succeeded()
    with _tables(place) as db:
        db.exec_driver_sql("ALTER TABLE activecampaign_outcomes DROP COLUMN contact_id")
        db.exec_driver_sql("ALTER TABLE activecampaign_runs DROP COLUMN continues")
        db.exec_driver_sql("DROP TABLE activecampaign_latest")
        db.exec_driver_sql("UPDATE activecampaign_outcomes_version SET version = 0")

    load([keyed(), record(BOB, id="2")], **place.settings).succeeded()

    assert {row["contact_id"] is None for row in place.outcomes()} == {True, False}
    assert list(place.latest()) == ['{"id":"2"}']


@contextmanager
def _tables(place: OutcomePlace) -> Iterator[sa.Connection]:
    with database(place.url) as db:
        if place.schema:
            db.exec_driver_sql(f"SET search_path TO {place.schema}")
        yield db


# Places that fail


def fails(kind: str, place: OutcomePlace, folder: Path) -> dict[str, Any]:
    """Make a place fail; returns the settings."""
    if kind == "newer version":
        with _tables(place) as db:
            db.exec_driver_sql("UPDATE activecampaign_outcomes_version SET version = 99")
    if kind == "another's table":
        with _tables(place) as db:
            db.exec_driver_sql("DROP TABLE activecampaign_outcomes_version")
    if kind == "no right":
        with _tables(place) as db:
            db.exec_driver_sql("DROP ROLE IF EXISTS reader")
            db.exec_driver_sql("CREATE ROLE reader LOGIN")
        url = sa.make_url(place.url).set(username="reader", password="secret-word")
        return {
            "outcomes_url": url.render_as_string(hide_password=False),
            "outcomes_schema": "forbidden",
        }
    if kind == "unknown database":
        url = sa.make_url(place.url).set(database="nowhere", password="secret-word")
        return {"outcomes_url": url.render_as_string(hide_password=False)}
    if kind == "no server":
        return {"outcomes_url": "postgresql+psycopg://test:secret-word@127.0.0.1:1/nowhere"}
    if kind == "a folder that is a file":
        (folder / "file").write_text("")
        return {"outcomes_url": f"file://{folder / 'file'}"}
    if kind == "a file that is no database":
        (folder / "text").write_text("no database" * 1000)
        return {"outcomes_url": f"sqlite:///{folder / 'text'}"}
    return place.settings


FAILURES = {
    "newer version": "were written by a newer version",
    "another's table": "of another program",
    "no right": "CREATE SCHEMA forbidden AUTHORIZATION reader",
    "unknown database": "no such database",
    "no server": "nothing listens there",
    "a folder that is a file": "outcomes_url",
    "a file that is no database": "outcomes_url",
}


@pytest.mark.parametrize("kind", FAILURES)
def test_run_goes_on_without_a_place_that_fails_at_the_start(
    load: TargetRunner, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    place = place_of("postgresql", request, tmp_path)
    load([keyed(), record(ADA, id="1")], **place.settings).succeeded()
    settings = fails(kind, place, tmp_path)
    messages = [keyed(), record(BOB, id="2"), state({"end": 1})]

    ended = load(messages, **settings, outcomes_required=True)
    outcome = load(messages, **settings).succeeded()

    assert ended.code == 1
    assert ended.states == []
    assert FAILURES[kind] in ended.log.splitlines()[-1]
    assert outcome.states == [{"end": 1}]
    assert outcome.counts == {"read": 1, "added": 1}
    (warning,) = outcome.warnings
    assert FAILURES[kind] in warning
    assert outcome.report["outcomes"]["problem"] in outcome.log.splitlines()[-1]
    assert "secret-word" not in ended.log + outcome.log + json.dumps(outcome.report)


@pytest.mark.parametrize("required", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_place_that_fails_in_the_middle(
    load: ForkedTargetRunner, request: pytest.FixtureRequest, kind: str, required: bool
) -> None:
    folder = request.getfixturevalue("small_disk" if kind == "files" else "tmp_path")
    place = place_of(kind, request, folder)
    run = load.start(**place.settings, outcomes_required=required, checkpoint_seconds=0.1)
    run.feed([keyed(), record(ADA, id="1"), state({"at": 1})])
    wait_for(lambda: run.printed() == '{"at":1}\n')
    _break(place)
    run.feed([record(BOB, id="2"), *people(50, id="x"), record("nobody", id="3"), state({"at": 3})])
    outcome = run.wait()

    if required:
        assert outcome.code == 1
        assert outcome.states == [{"at": 1}]
        assert "outcomes" in outcome.log.splitlines()[-1]
    else:
        outcome.succeeded()
        assert outcome.states[-1] == {"at": 3}
        assert outcome.report["outcomes"]["rows"] == 1
        assert outcome.report["outcomes"]["missing"] >= 1
        assert sum("NOT STORED" in one for one in outcome.warnings) == 1
        assert "Rows of outcomes are missing" in outcome.log.splitlines()[-1]


def _break(place: OutcomePlace) -> None:
    """Let a place fail from now on: a table is missing, or the disk is full."""
    if not place.is_folder:
        with _tables(place) as db:
            db.exec_driver_sql("DROP TABLE activecampaign_outcomes")
        return
    with suppress(OSError), (place.files[0].parent / "rest").open("wb", buffering=0) as rest:
        while True:
            rest.write(b"x" * 512)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, which is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_place_that_fails_at_the_end(load: ForkedTargetRunner, tmp_path: Path) -> None:
    place = OutcomePlace(f"sqlite:///{tmp_path / 'outcomes.db'}")
    run = load.start(**place.settings, checkpoint_seconds=0.1)
    run.feed([keyed(), record(ADA, id="1"), state({"at": 1})])
    wait_for(lambda: run.printed() == '{"at":1}\n')
    with _tables(place) as db:
        db.exec_driver_sql("DROP TABLE activecampaign_runs")

    outcome = run.wait().succeeded()

    assert outcome.report["outcomes"]["rows"] == 1
    assert "Rows of outcomes are missing" in outcome.log.splitlines()[-1]
    assert place.counts() == {"added": 1}


def test_database_that_comes_back_gets_all_rows(
    load: ForkedTargetRunner, postgres: postgres_server.PostgresServer
) -> None:
    place = OutcomePlace(empty_database(postgres))
    run = load.start(**place.settings, checkpoint_seconds=0.1)
    run.feed([keyed(), record(ADA, id="1"), state({"at": 1})])
    wait_for(lambda: run.printed() == '{"at":1}\n')
    postgres.stop()
    run.feed([record(BOB, id="2"), state({"at": 2})])
    time.sleep(0.5)
    postgres.start(same_port=True)

    outcome = run.wait().succeeded()

    assert outcome.warnings == []
    assert place.counts() == {"added": 2}


def test_place_that_is_no_place_is_a_mistake(load: TargetRunner) -> None:
    outcome = load([keyed()], outcomes_url="mysql://root@example.com/x")
    assert outcome.code == 1
    assert "'outcomes_url' can't be used" in outcome.log.splitlines()[-1]
    same = load([keyed()], outcomes_url="sqlite:///a.db", ledger_url="sqlite:///a.db")
    assert same.code == 1
    assert "name the same file" in same.log.splitlines()[-1]


def test_preview_stores_no_rows(load: TargetRunner, place: OutcomePlace) -> None:
    outcome = load([keyed(), record(ADA, id="1")], **place.settings, dry_run=True).succeeded()
    assert outcome.report["outcomes"] is None
    if place.is_folder:
        assert place.files == []
    else:
        with pytest.raises(sa.exc.DBAPIError):
            place.runs()
