"""Several processes on one account, with and without a shared rate budget."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import TargetRunner, lines, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer

PEOPLE = 150


def run_together(sandbox: SandboxServer, folder: Path, count: int, **settings: Any) -> list[Any]:
    """Run several targets at once, each with people of its own; returns their outcomes."""
    running = []
    for number in range(count):
        own = folder / str(number)
        own.mkdir()
        load = TargetRunner(own, sandbox.url, sandbox.api_key)
        for name in ("requests_per_second", "imports_per_minute", "single_imports_per_minute"):
            del load.config[name]
        people = [record(f"w{number}p{n}@example.com", first_name="F") for n in range(PEOPLE)]
        source = own / "in.jsonl"
        source.write_bytes(lines([schema(), *people, state("end")]))
        with source.open("rb") as stdin:
            command = load.command(batch_size_rows=25, **settings)
            process = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=own
            )
        running.append((load, process, source))
    outcomes = []
    for load, process, source in running:
        out, err = process.communicate(timeout=120)
        outcomes.append(load.outcome(process.returncode, out, err, source.read_bytes()))
    return outcomes


@pytest.mark.parametrize("count", [2, 4])
def test_shared_budget_prevents_refused_requests(
    start_sandbox: Any, tmp_path: Path, count: int
) -> None:
    sandbox = start_sandbox(limits=True)
    shared = str(tmp_path / "budget.db")
    outcomes = run_together(sandbox, tmp_path, count, rate_budget_url=shared)
    assert [one.code for one in outcomes] == [0] * count, outcomes[0].log
    assert [one.states for one in outcomes] == [["end"]] * count
    assert len(sandbox.export()) == count * PEOPLE
    assert sandbox.stats()["refusals"] == {}


def test_processes_without_shared_budget_deliver_everything(
    start_sandbox: Any, tmp_path: Path
) -> None:
    sandbox = start_sandbox(limits=True)
    outcomes = run_together(sandbox, tmp_path, 3)
    assert [one.code for one in outcomes] == [0, 0, 0], outcomes[0].log
    assert len(sandbox.export()) == 3 * PEOPLE
    assert sandbox.stats()["refusals"], "they were in each other's way"


def test_unusable_budget_url_is_a_clear_error(load: TargetRunner) -> None:
    outcome = load([schema(), record("a@example.com")], rate_budget_url="ftp://budget.example")
    assert outcome.code == 1
    assert "'rate_budget_url' can't be used" in outcome.log.splitlines()[-1]
