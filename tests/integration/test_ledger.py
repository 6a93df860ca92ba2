"""The ledger: an interrupted run is resumed, and no address is stored without need."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledgers import LEDGER, empty_database, wait_for_answers
from tests.support.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

IMPORT = "/api/3/import/bulk_import"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return empty_database(request.getfixturevalue("postgres"))


def kill_with_imports_in_flight(load: TargetRunner, sandbox: SandboxServer, **how: Any) -> None:
    """Kill a run that has posted imports and confirmed none."""
    data = lines([schema(), *people(30), state("end")])
    with subprocess.Popen(
        load.command(checkpoint_seconds=0.1, batch_size_rows=10, **how),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=load.folder,
    ) as target:
        assert target.stdin is not None
        target.stdin.write(data)
        target.stdin.flush()
        end = time.monotonic() + 120
        while len(sandbox.requests(path=IMPORT, status=200)) < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        wait_for_answers(how.get("ledger_url", f"sqlite:///{load.folder / LEDGER}"), 3)
        target.send_signal(signal.SIGKILL)
        out, err = target.communicate()
    assert out == b""
    load.searched(err.decode(), data)


def test_imports_in_flight_are_checked_and_not_sent_again(
    start_sandbox: Any, target_for: Any, ledger_url: str
) -> None:
    sandbox = start_sandbox(latency=2)
    load = target_for(sandbox)
    kill_with_imports_in_flight(load, sandbox, ledger_url=ledger_url)
    outcome = load([schema(), *people(32), state("end")], ledger_url=ledger_url).succeeded()
    assert "interrupted with 3 imports in flight" in outcome.log
    assert outcome.counts == {"read": 32, "added": 2, "unchanged": 30}
    contacts = sandbox.export()
    assert len(contacts) == 32
    assert all(one["times_imported"] == 1 for one in contacts)


def test_import_that_failed_meanwhile_is_sent_again(start_sandbox: Any, target_for: Any) -> None:
    sandbox = start_sandbox(latency=2)
    load = target_for(sandbox)
    sandbox.fault("queue_failed", times=1)
    kill_with_imports_in_flight(load, sandbox)
    load([schema(), *people(30), state("end")]).succeeded()
    assert sorted(one["times_imported"] for one in sandbox.export()) == [1] * 30


def test_changed_value_is_sent_although_the_contact_had_arrived(
    start_sandbox: Any, target_for: Any
) -> None:
    sandbox = start_sandbox(latency=1)
    load = target_for(sandbox)
    kill_with_imports_in_flight(load, sandbox)
    changed = record("person3@example.com", first_name="Changed")
    back = record("person4@example.com", first_name="Person 4")
    messages = [changed, record("person4@example.com", first_name="Other"), back]
    load([schema(), *people(30), *messages], batch_size_rows=1).succeeded()
    contacts = sandbox.contacts()
    assert contacts["person3@example.com"]["first_name"] == "Changed"
    assert contacts["person4@example.com"]["first_name"] == "Person 4"


def test_records_after_the_last_state_are_not_imported_twice(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    data = lines([schema(), *people(10), state("ten"), *people(14)[10:]])
    with subprocess.Popen(
        load.command(checkpoint_seconds=0.1),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=load.folder,
    ) as target:
        assert target.stdin is not None
        target.stdin.write(data)
        target.stdin.flush()
        end = time.monotonic() + 120
        while len(sandbox.export()) < 14:
            assert time.monotonic() < end
            time.sleep(0.05)
        target.send_signal(signal.SIGTERM)
        out, err = target.communicate()
    assert load.outcome(target.returncode, out, err, data).states == ["ten"]
    load([schema(), *people(20)[10:], state("end")]).succeeded()
    assert [one["times_imported"] for one in sandbox.export()] == [1] * 20


def test_run_stores_no_address_on_disk(load: TargetRunner) -> None:
    load([schema(), *people(30)]).succeeded()
    (path,) = load.folder.glob(".activecampaign-ledger.db")
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"person3@" not in path.read_bytes()
    assert "cut off" not in load([schema(), *people(30)]).succeeded().log


def test_killed_run_leaves_no_address_on_disk(start_sandbox: Any, target_for: Any) -> None:
    sandbox = start_sandbox(latency=60)
    load = target_for(sandbox)
    kill_with_imports_in_flight(load, sandbox)
    files = list(load.folder.glob(".activecampaign-ledger.db*"))
    assert files
    for path in files:
        assert b"person3" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "nonsense", "oracle://x:pw@y/z"])
def test_unusable_ledger_url_is_a_clear_error(load: TargetRunner, url: str) -> None:
    if url.startswith("sqlite"):
        (load.folder / "file").touch()
        url = f"sqlite:///{load.folder}/file/ledger.db"
    outcome = load([schema(), record("a@example.com"), state(1)], ledger_url=url)
    assert outcome.code == 1
    assert "ledger_url" in outcome.log.splitlines()[-1]
    assert ":pw@" not in outcome.log
    assert outcome.states == []
