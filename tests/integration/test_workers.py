"""Several workers at once, each with streams of its own, that share one ledger."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.ledgers import empty_database, run_in_progress
from tests.support.mirrors import IMPORT, wait_for
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.fork_server import RunningTarget
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

    Stopped = Callable[[str], AbstractContextManager[None]]
    Worker = Callable[[str], ForkedTargetRunner]

pytestmark = pytest.mark.quick

WORKERS = 4
OWN, COMMON = 60, 40
CREATE = {"sync_mode": "create_only"}
UPDATE = {"sync_mode": "update_only"}
PEOPLE = [schema(), *people(10), state("end")]


@pytest.fixture(params=["postgresql", "sqlite"])
def shared_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty ledger."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return empty_database(request.getfixturevalue("postgres"))


@pytest.fixture
def worker(
    sandbox: SandboxServer, fork_server: ForkServer, tmp_path: Path, shared_ledger: str
) -> Worker:
    """A worker by its name: it has a folder of its own."""

    def named(name: str) -> ForkedTargetRunner:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        load = ForkedTargetRunner(folder, sandbox.url, sandbox.api_key, fork_server)
        load.config["ledger_url"] = shared_ledger
        return load

    return named


@pytest.fixture
def stopped(request: pytest.FixtureRequest, shared_ledger: str) -> Stopped:
    """Lets workers come together: no one gets past a table before all have come to it.

    They do so on PostgreSQL. SQLite has one at a time in any case.
    """

    @contextmanager
    def before(table: str) -> Iterator[None]:
        if shared_ledger.startswith("sqlite"):
            yield
            return
        server: PostgresServer = request.getfixturevalue("postgres")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with (
            psycopg.connect(server.url) as gate,
            psycopg.connect(server.url, autocommit=True) as outside,
        ):
            gate.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())
            yield
            wait_for(lambda: outside.execute(waiting).fetchone() == (WORKERS,))

    return before


def sent(sandbox: SandboxServer) -> int:
    """How many contacts the account has been sent so far."""
    return sum(one["contacts"] for one in sandbox.requests(path=IMPORT, method="POST"))


# Streams of their own


def streams(number: int) -> tuple[list[Any], dict[str, Any]]:
    """What a worker has: two streams for two lists, with people whom all workers have."""
    messages: list[Any] = []
    names = {f"first {number}": 1, f"second {number}": 2}
    for name, list_id in names.items():
        messages.append(schema(name))
        messages += [
            record(f"w{number}l{list_id}p{one}@example.com", name, first_name="Own")
            for one in range(OWN)
        ]
        messages += people(COMMON, name)
    settings = {name: {"list_id": list_id, "tags": [name]} for name, list_id in names.items()}
    return [*messages, state(number)], {"streams": settings, "batch_size_rows": 25}


def all_at_once(worker: Worker) -> list[Outcome]:
    running = []
    for number in range(WORKERS):
        messages, settings = streams(number)
        running.append(worker(f"worker {number}").start(messages, **settings))
    return [one.wait().succeeded() for one in running]


def test_workers_share_a_ledger_and_an_account(sandbox: SandboxServer, worker: Worker) -> None:
    outcomes = all_at_once(worker)
    for number, outcome in enumerate(outcomes):
        assert outcome.states == [number]
        assert outcome.counts["read"] == outcome.counts["added"] + outcome.counts.get("merged", 0)

    contacts = sandbox.contacts()
    assert len(contacts) == 2 * WORKERS * OWN + COMMON
    for number in range(WORKERS):
        for name, list_id in ((f"first {number}", 1), (f"second {number}", 2)):
            for one in range(OWN):
                contact = contacts.pop(f"w{number}l{list_id}p{one}@example.com")
                assert contact["lists"] == {str(list_id): 1}
                assert contact["tags"] == [name]
                assert contact["times_imported"] == 1
    for contact in contacts.values():
        assert contact["lists"] == {"1": 1, "2": 1}
        assert len(contact["tags"]) == 2 * WORKERS

    before = sent(sandbox)
    for outcome in all_at_once(worker):
        assert outcome.counts == {"read": 2 * (OWN + COMMON), "unchanged": 2 * (OWN + COMMON)}
    assert sent(sandbox) == before


def test_workers_can_create_the_ledger_together(worker: Worker, stopped: Stopped) -> None:
    """They find no ledger, and make one together."""
    with stopped("pg_catalog.pg_namespace"):
        running = [
            worker(f"worker {number}").start([schema(f"s{number}"), *people(2, f"s{number}")])
            for number in range(WORKERS)
        ]
    assert [one.wait().code for one in running] == [0] * WORKERS
    outcome = worker("worker 0")([schema("s0"), *people(2, "s0")]).succeeded()
    assert outcome.counts == {"read": 2, "unchanged": 2}


# The same stream


@pytest.mark.parametrize("end", ["it has ended", "it was killed"])
def test_stream_loaded_by_another_worker_is_refused_until(
    sandbox: SandboxServer, worker: Worker, end: str
) -> None:
    with run_in_progress(worker("first"), sandbox) as first:
        before = sent(sandbox)
        refused = worker("second")([schema(), *people(20), state("second")])
        assert refused.code == 1
        assert refused.states == []
        assert refused.counts == {}
        assert sent(sandbox) == before
        sentence = refused.log.splitlines()[-1]
        assert "Stream 'profiles' is being loaded into list 1 by another run" in sentence
        assert f"process {first.pid} on {socket.gethostname()}" in sentence
        assert "wait until it has ended, or give each worker streams of its own." in sentence
        if end == "it has ended":
            assert first.wait().succeeded().report["run_id"] in sentence
        else:
            first.kill()
            first.wait()
        assert worker("second")(PEOPLE).succeeded().states == ["end"]
        assert len(sandbox.export()) == 10


def test_stream_can_be_loaded_into_two_lists_at_once(
    sandbox: SandboxServer, worker: Worker
) -> None:
    with run_in_progress(worker("first"), sandbox) as first:
        second = worker("second")(PEOPLE, list_id=2).succeeded()
        assert second.counts == {"read": 10, "added": 10}
        first.feed([record("person10@example.com", first_name="Person 10")])
        first.wait().succeeded()
    lists = [one["lists"] for one in sandbox.export()]
    assert lists == [{"1": 1, "2": 1}] * 10 + [{"1": 1}]


def test_one_of_several_workers_gets_a_stream(worker: Worker, stopped: Stopped) -> None:
    worker("worker 0")([schema()]).succeeded()
    loads = [worker(f"worker {number}") for number in range(1, WORKERS + 1)]
    with stopped("activecampaign_ledger.segment"):
        running = [load.start() for load in loads]
        for one in running:
            one.feed([schema()])

    def on() -> list[RunningTarget]:
        reports = (any((load.folder / "reports").glob("*.json")) for load in loads)
        return [one for one, ended in zip(running, reports, strict=True) if not ended]

    wait_for(lambda: len(on()) == 1)
    (chosen,) = on()
    chosen.feed([*people(10), state("end")])
    assert chosen.wait().succeeded().counts == {"read": 10, "added": 10}
    assert sorted(one.wait().code for one in running) == [0] + [1] * (WORKERS - 1)


# The index of those whom the account has


def test_workers_share_the_index_of_existing_contacts(
    sandbox: SandboxServer, worker: Worker
) -> None:
    sandbox.prepare(*({"email": f"person{number}@example.com"} for number in range(150)))
    for _ in range(2):
        running = []
        for number in range(WORKERS):
            name = f"stream {number}"
            messages = [schema(name), *people(200, name)[number::WORKERS]]
            running.append(worker(f"worker {number}").start(messages, **UPDATE))
        counts = [one.wait().succeeded().counts for one in running]
        assert sum(one["skipped"] for one in counts) == 50
    assert len(sandbox.export()) == 150
    assert sent(sandbox) == 150


def test_rebuilding_the_index_hides_no_contact_from_another_worker(
    sandbox: SandboxServer, worker: Worker
) -> None:
    sandbox.prepare(*({"email": f"person{number}@example.com"} for number in range(150)))
    before = sandbox.contacts()
    first = worker("first").start(checkpoint_seconds=0.05, **CREATE)
    first.feed([schema("first")])
    wait_for(lambda: len(sandbox.requests(path="/api/3/contacts")) == 3)
    sandbox.delete("person149@example.com")
    sandbox.fault("slow", seconds=0.7, match={"path": "/api/3/contacts"})
    second = worker("second").start([schema("second"), *people(149, "second")], **CREATE)
    wait_for(lambda: sandbox.faults()[0]["fired"] == 3)  # it reads the account from its start
    first.feed(people(149, "first"))
    counts = [one.wait().succeeded().counts for one in (first, second)]
    assert counts == [{"read": 149, "skipped": 149}] * 2
    del before["person149@example.com"]
    assert sandbox.contacts() == before


def test_updated_contacts_stay_in_an_index_rebuilt_by_another_worker(
    sandbox: SandboxServer, worker: Worker
) -> None:
    sandbox.prepare(*({"email": f"person{number}@example.com"} for number in range(1_050)))
    contacts = "/api/3/contacts"
    first = worker("first").start(checkpoint_seconds=0.05, **UPDATE)
    first.feed([schema("first")])
    wait_for(lambda: len(sandbox.requests(path=contacts)) == 12)
    sandbox.delete("person1049@example.com")
    # Two requests tell that someone was deleted; the last page of all is the eleventh.
    sandbox.fault("slow", seconds=1.5, first=13, to=13, match={"path": contacts})
    second = worker("second").start([schema("second")], **UPDATE)
    wait_for(lambda: sandbox.faults()[0]["fired"] == 1)
    first.feed(people(100, "first"))
    counts = [one.wait().succeeded().counts for one in (first, second)]
    assert counts == [{"read": 100, "added": 100}, {}]
    outcome = worker("first")([schema("first"), *people(110, "first")], **UPDATE).succeeded()
    assert outcome.counts == {"read": 110, "unchanged": 100, "added": 10}
