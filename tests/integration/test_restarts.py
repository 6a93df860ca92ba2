"""Databases that restart are waited for; a sandbox that can't answer fails the run at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from target_activecampaign.ledger import Ledger, MemberUpdate, digest
from target_activecampaign.model.ownership import Ownership
from target_activecampaign.model.timings import Timings
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.ledgers import SystemClock
from tests.support.postgres_server import PostgresServer, require
from tests.support.sandbox_server import API_KEY
from tests.support.target_runner import TargetRunner, lines, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_server import SandboxServer

pytestmark = pytest.mark.quick

DATA = [schema(), record("a@example.com"), state(1)]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    require()
    with PostgresServer() as running:
        yield running


def _url(server: PostgresServer) -> str:
    return server.url.replace("postgresql:", "postgresql+psycopg:")


def _restart(server: PostgresServer, seconds: float) -> threading.Thread:
    """Stop the server now, and start it again in a while."""
    server.stop()

    def start() -> None:
        time.sleep(seconds)
        server.start(same_port=True)

    thread = threading.Thread(target=start)
    thread.start()
    return thread


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_ledger_that_restarts_during_a_run_is_waited_for(
    sandbox: SandboxServer, load: TargetRunner, server: PostgresServer, mode: str
) -> None:
    running = load.start(ledger_url=_url(server), checkpoint_seconds=0.1, sync_mode=mode)  # type: ignore[attr-defined]
    running.feed(lines([schema(), *people(300)]))
    _wait_for(lambda: len(sandbox.export()) >= 200)
    thread = _restart(server, 2)
    running.feed(lines([*people(600), state("end")]))
    running.end_input()
    outcome = running.wait()
    thread.join()
    outcome.succeeded()
    assert "can't be reached, trying again for 30 s" in outcome.log
    assert "is back" in outcome.log
    assert outcome.states[-1] == "end"
    assert len(sandbox.export()) == 600
    again = load([schema(), *people(600)], ledger_url=_url(server), sync_mode=mode).succeeded()
    assert again.counts == {"read": 600, "unchanged": 600}


def test_ledger_and_budget_that_restart_at_the_start_are_waited_for(
    load: TargetRunner, server: PostgresServer
) -> None:
    thread = _restart(server, 2)
    outcome = load(DATA, ledger_url=_url(server), rate_budget_url=server.url)
    thread.join()
    outcome.succeeded()
    assert "requests wait for it" in outcome.log


def test_permanent_failure_of_the_server_is_reported_at_once(
    load: TargetRunner, server: PostgresServer
) -> None:
    started = time.monotonic()
    outcome = load(DATA, ledger_url=_url(server).replace("/warehouse", "/no_such"))
    assert outcome.code == 1
    assert time.monotonic() - started < 15
    assert "trying again" not in outcome.log


def test_locked_ledger_is_waited_for(load: TargetRunner, tmp_path: Path) -> None:
    ledger = tmp_path / "own" / "ledger.db"
    load(DATA, ledger_url=f"sqlite:///{ledger}").succeeded()
    with sqlite3.connect(ledger, isolation_level=None, check_same_thread=False) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(2, lambda: other.execute("ROLLBACK"))
        timer.start()
        load(DATA, ledger_url=f"sqlite:///{ledger}").succeeded()
        timer.join()


IMPATIENT = Timings(ledger_patience_seconds=4.0, ledger_busy_milliseconds=200)


def test_ledger_that_stays_locked_is_waited_for_once(
    sandbox: SandboxServer, tmp_path: Path
) -> None:
    impatient = ForkServer(IMPATIENT)
    load = ForkedTargetRunner(tmp_path, sandbox.url, API_KEY, impatient)
    load([schema(), *people(2)]).succeeded()
    running = load.start(checkpoint_seconds=0.1)
    running.feed(lines([schema(), *people(4)]))
    _wait_for(lambda: len(sandbox.export()) == 4)
    ledger = tmp_path / ".activecampaign-ledger.db"
    with sqlite3.connect(ledger, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        running.feed(lines([*people(12), state("end")]))
        time.sleep(0.5)
        running.kill(signal.SIGTERM)
        stopped = time.monotonic()
        outcome = running.wait(timeout=60)
        other.execute("ROLLBACK")
    assert time.monotonic() - stopped < 7, "not once more for each word"
    assert outcome.code == 1
    assert outcome.states == []
    assert "another program has it locked" in outcome.log.splitlines()[-1]
    again = load([schema(), *people(12), state("end")]).succeeded()
    assert again.states == ["end"]
    assert len(sandbox.export()) == 12


class _Cut:
    """Cuts the connection after a commit, once for each transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self.done = 0
        self._cut = False
        sa.event.listen(engine, "commit", self._commit)

    def _commit(self, connection: sa.Connection) -> None:
        self._cut = not self._cut
        if self._cut:
            self.done += 1
            raw: Any = connection.connection.dbapi_connection
            raw.commit()
            raw.close()  # what SQLAlchemy does with it now fails, as if the answer were lost


def test_commit_with_lost_response_is_not_repeated(server: PostgresServer) -> None:
    ledger = Ledger(_url(server), "account", "run", SystemClock())
    store = ledger._store
    person = ledger.contact_hash("a@example.com")
    segment = ledger.segments.claim("profiles", 1, mirror=True, mark=None).id
    cut = _Cut(store.engine)
    mark = MemberUpdate(
        segment, digest(b"a"), Ownership.ADDED_BY_US, sync_number=1, address="a@example.com"
    )
    number = ledger.journal.begin([(person, [mark])])
    ledger.journal.set_batch_id(number, "batch")
    assert ledger.journal.confirm(number, set()) == [person]
    other = ledger.journal.begin([(person, [mark])])
    ledger.journal.mark_lost(other)
    ledger.members.record_seen(segment, 2, unchanged=[], outdated=[person], changed=1)
    assert ledger.segments.count_changed(segment) == 1
    assert ledger.journal.leftovers() == []
    assert ledger.members.find([segment], [person])[person][0].ownership == Ownership.ADDED_BY_US
    assert cut.done > 5
    ledger.close(clean=True, outcome="completed", counts={})


# The embedded sandbox.


@pytest.fixture
def embedded(load: TargetRunner, tmp_path: Path) -> TargetRunner:
    del load.config["api_url"]
    load.config.update(sandbox=True, sandbox_path=str(tmp_path / "sandbox.db"))
    return load


@pytest.mark.parametrize("table", ["request", "contact_list", "contact"])
def test_an_embedded_sandbox_that_fails_at_its_start_is_told_at_once(
    embedded: TargetRunner, tmp_path: Path, table: str
) -> None:
    embedded(DATA).succeeded()
    place = tmp_path / "sandbox.db"
    with sqlite3.connect(place) as db:
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        db.execute(f'DROP TABLE "{table if table in names else "request"}"')
    started = time.monotonic()
    outcome = embedded(DATA)
    assert outcome.code == 1
    assert time.monotonic() - started < 30
    assert "sandbox" in outcome.log.splitlines()[-1]
    assert str(place) in outcome.log.splitlines()[-1]


def test_an_embedded_sandbox_that_dies_ends_the_run(embedded: TargetRunner) -> None:
    running = embedded.start(checkpoint_seconds=0.1)  # type: ignore[attr-defined]
    running.feed(lines([schema(), *people(3)]))
    _wait_for(lambda: "goes to list" in running.logged())
    for process in _sandbox_of(embedded):
        os.kill(process, signal.SIGKILL)
    died = time.monotonic()
    running.feed(lines(people(30)))
    running.end_input()
    outcome = running.wait(timeout=60)
    assert outcome.code == 1
    assert time.monotonic() - died < 30
    assert "the embedded sandbox has ended (exit code -9)" in outcome.log


def _sandbox_of(load: TargetRunner) -> list[int]:
    """The processes of the embedded sandbox whose file is in a test's folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"activecampaign_sandbox" in command and bytes(load.folder) in command:
            found.append(int(folder.name))
    return found


def _wait_for(condition: Any, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
