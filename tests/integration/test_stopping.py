"""Signals: what was read is settled, its STATE written, and the exit code says which signal."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.model.timings import Timings
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.target_runner import batch, lines, people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_while_reading_settles_records_read(
    sandbox: SandboxServer, load: ForkedTargetRunner, signum: signal.Signals
) -> None:
    data = lines([schema(), *people(1200), state({"n": 1200})])
    running = load.start()
    running.feed(data)
    _wait_for(lambda: len(sandbox.export()) >= 1000)
    running.kill(signum)
    outcome = running.wait(timeout=30)
    assert outcome.code == 128 + signum
    assert outcome.states == [{"n": 1200}]
    assert len(sandbox.export()) == 1200
    assert outcome.report["outcome"] == "stopped"
    (page,) = (outcome.folder / "reports").glob("run-*.html")
    assert 'class="verdict partly"' in page.read_text("utf-8"), "it is not as bad as a failure"


IMPORT = "/api/3/import/bulk_import"
SLOW = {"kind": "slow", "seconds": 1.5, "match": {"method": "POST", "path": IMPORT}}
PHASES: dict[str, dict[str, Any]] = {
    "waiting for a slot": {"settings": {"requests_per_second": 2}},
    "posting, before it takes effect": {"fault": {**SLOW, "takes_effect": False}},
    "posting, after it took effect": {"fault": {**SLOW, "takes_effect": True}},
    "asking": {"options": {"latency": 2}},
    "at the end": {"options": {"latency": 2}, "close": True},
}
IMPATIENT = Timings(max_silence_seconds=0.5, stop_check_seconds=0.1)


@pytest.mark.parametrize("phase", PHASES)
def test_signal_in_any_phase_settles_records_read(
    start_sandbox: Any, target_for: Any, phase: str
) -> None:
    plan = PHASES[phase]
    sandbox = start_sandbox(**plan.get("options", {}))
    load = target_for(sandbox)
    if "fault" in plan:
        sandbox.fault(**plan["fault"])
    data = lines([schema(), *people(40), state({"n": 40})])
    settings = {"checkpoint_seconds": 0.1, "batch_size_rows": 10, **plan.get("settings", {})}
    running = load.start(**settings)
    running.feed(data)
    if plan.get("close"):
        running.end_input()
    # The log names an import when it is answered; a slow one is under way before.
    _wait_for(lambda: bool(sandbox.requests(path="/api/3/fields")))
    if "fault" not in plan:
        _wait_for(lambda: bool(sandbox.requests(path=IMPORT)))
    time.sleep(0.4)
    assert not running.ended
    running.kill(signal.SIGTERM)
    outcome = running.wait(timeout=60)
    assert outcome.code == 128 + signal.SIGTERM, outcome.log
    assert outcome.states[-1] == {"n": 40}
    assert len(sandbox.export()) == 40


@pytest.mark.parametrize(
    ("contacts", "loaded"), [(3000, 25), (1500, 300)], ids=["asked about each", "all are read"]
)
def test_signal_while_stored_values_are_read_sends_no_contact(
    sandbox: SandboxServer, load: ForkedTargetRunner, contacts: int, loaded: int
) -> None:
    sandbox.prepare(*({"email": f"person{n}@example.com"} for n in range(contacts)))
    sandbox.fault("slow", match={"method": "GET", "path": "/api/3/contacts"}, seconds=0.3)
    data = lines([schema(phone="string"), *people(loaded, phone="1"), state("end")])
    only_if_empty = {"only_if_empty": ["phone"]}
    running = load.start(data, **only_if_empty)
    _wait_for(lambda: sandbox.faults()[0]["seen"] >= 3)
    running.kill(signal.SIGTERM)
    outcome = running.wait(timeout=30)
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.states == []
    assert outcome.report["outcome"] == "stopped"
    assert outcome.report["problem"] is None
    assert "Internal error" not in outcome.log
    assert sandbox.faults()[0]["seen"] <= 3 + 2 * QUESTIONS_AT_ONCE, "nothing more is asked"
    assert not sandbox.imports()

    sandbox.clear_faults()
    again = load(data, **only_if_empty).succeeded()

    assert again.counts == {"read": loaded, "added": loaded}
    assert sum(one["phone"] == "1" for one in sandbox.export()) == loaded


def test_a_second_signal_ends_at_once_with_no_state_ahead(
    start_sandbox: Any, target_for: Any
) -> None:
    sandbox = start_sandbox(latency=60)
    load = target_for(sandbox)
    data = lines([schema(), *people(3), state(1)])
    running = load.start(checkpoint_seconds=0.1)
    running.feed(data)
    _wait_for(lambda: bool(sandbox.requests(path="/api/3/import/bulk_import")))
    running.kill(signal.SIGTERM)
    time.sleep(2.2)
    assert not running.ended, "it waits for what is in flight"
    running.kill(signal.SIGTERM)
    outcome = running.wait(timeout=10)
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.states == []
    assert "ending at once" in outcome.log


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGHUP, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
    ],
)
def test_two_signals_within_two_seconds_are_one(
    start_sandbox: Any, target_for: Any, first: signal.Signals, second: signal.Signals
) -> None:
    sandbox = start_sandbox(latency=2)
    load = target_for(sandbox)
    data = lines([schema(), *people(3), state(1)])
    running = load.start(checkpoint_seconds=0.1)
    running.feed(data)
    _wait_for(lambda: bool(sandbox.requests(path=IMPORT)))
    running.kill(first)
    time.sleep(0.2)
    running.kill(second)
    outcome = running.wait(timeout=30)
    assert outcome.code == 128 + first
    assert outcome.states == [1]
    assert outcome.counts == {"read": 3, "added": 3}


def test_sighup_is_ignored_under_nohup(sandbox: SandboxServer, load: TargetRunner) -> None:
    data = lines([schema(), *people(3), state(1)])
    with _started(load, "nohup") as target:
        assert target.stdin is not None
        target.stdin.write(data)
        target.stdin.flush()
        _wait_for(lambda: bool(sandbox.requests(path="/api/3/fields")))
        target.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        target.stdin.write(lines([record("late@example.com"), state(2)]))
        out, err = target.communicate(timeout=30)
    outcome = load.outcome(target.returncode, out, err, data).succeeded()
    assert outcome.states[-1] == 2
    assert len(sandbox.export()) == 4


BLANKS = {
    "lines": lambda path: path.write_bytes(b"\n" * 60_000_000),
    "blanks": lambda path: path.write_bytes((b" " * 60 + b"\n") * 1_000_000),
    "gzip": lambda path: path.write_bytes(gzip.compress(b"\n" * 60_000_000)),
}


@pytest.mark.parametrize("kind", BLANKS)
def test_signal_stops_a_batch_file_of_blank_lines(
    sandbox: SandboxServer, load: ForkedTargetRunner, kind: str
) -> None:
    path = load.folder / "blank"
    BLANKS[kind](path)
    encoding = {"format": "jsonl", "compression": "gzip" if kind == "gzip" else "none"}
    # Its file comes often enough to take longer than the test waits.
    messages = [schema(), *people(3), state(1), batch(encoding, *[path] * 20), state(2)]
    running = load.start(messages, checkpoint_seconds=0.1)
    _wait_for(lambda: bool(sandbox.imports()))
    running.kill(signal.SIGTERM)
    outcome = running.wait(timeout=20)
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.states[-1] == 1, "the STATE after the file does not leave"
    assert len(sandbox.export()) == 3


def test_signal_stops_a_stream_of_blank_lines(sandbox: SandboxServer, load: TargetRunner) -> None:
    with _started(load, checkpoint_seconds=0.1) as target:
        assert target.stdin is not None
        target.stdin.write(lines([schema(), *people(3), state(1)]))
        target.stdin.flush()
        feeder = subprocess.Popen(["yes", ""], stdout=target.stdin)
        try:
            _wait_for(lambda: len(sandbox.export()) == 3, seconds=60)
            target.send_signal(signal.SIGTERM)
            assert target.wait(timeout=20) == 128 + signal.SIGTERM
        finally:
            feeder.kill()
            feeder.wait()


def test_unresponsive_account_ends_a_stopped_run(sandbox: SandboxServer, tmp_path: Path) -> None:
    sandbox.fault("reset", match={"path": "/api/3/import/info"})
    data = lines([schema(), *people(40), state("end")])
    server = ForkServer(IMPATIENT)
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, server)
    load.config.update(checkpoint_seconds=0.1, batch_size_rows=10)
    running = load.start()
    running.feed(data)
    _wait_for(lambda: sandbox.faults()[0]["fired"] > 0)
    running.kill(signal.SIGTERM)
    outcome = running.wait(timeout=30)

    assert outcome.code == 1
    assert outcome.states == []
    assert outcome.report["outcome"] == "failed"
    assert "since the run was stopped; ending the run now" in outcome.log
    assert "Nothing is lost" in outcome.log.splitlines()[-1]
    accepted = len(sandbox.imports())
    sandbox.clear_faults()

    again = load(data).succeeded()

    assert f"interrupted with {accepted} imports in flight" in again.log
    assert again.states == ["end"]
    contacts = sandbox.export()
    assert [one["times_imported"] for one in contacts] == [1] * 40, "nobody is sent twice"


def test_a_signal_before_the_first_message_ends_at_once(load: TargetRunner) -> None:
    with _started(load) as target:
        assert target.stderr is not None
        for line in target.stderr:
            if b"Skipping parse" in line:
                break
        time.sleep(0.3)
        target.send_signal(signal.SIGTERM)
        assert target.wait(timeout=10) == 128 + signal.SIGTERM


def test_a_bad_line_ends_the_run_after_settling_what_came_before(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load([schema(), *people(300), state(1), record("late@example.com"), "{cut off"])
    assert outcome.code == 1
    assert "Line 304 of the input is not valid JSON" in outcome.log.splitlines()[-1]
    assert outcome.states == [1]
    assert len(sandbox.export()) == 301
    assert outcome.report["outcome"] == "failed"


def test_state_leaves_while_the_input_goes_on(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    running = load.start(checkpoint_seconds=0.1)
    for number in range(3):
        running.feed(lines([schema(), record(f"p{number}@example.com"), state(number)]))
        _wait_for(lambda count=number + 1: running.printed().count("\n") == count)
        assert json.loads(running.printed().splitlines()[-1]) == number
        assert len(sandbox.export()) == number + 1, "confirmed before its state left"
    assert running.wait(timeout=30).code == 0


def _started(load: TargetRunner, *before: str, **settings: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*before, *load.command(**settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=load.folder,
    )


def _wait_for(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_target_is_loaded_shows_no_traceback(
    load: TargetRunner, tmp_path: Path, signum: signal.Signals
) -> None:
    slow = tmp_path / "slow" / "singer_sdk"
    slow.mkdir(parents=True)
    (slow / "__init__.py").write_text("import time\nprint(1, flush=True)\ntime.sleep(60)\n")
    environment = {**os.environ, "PYTHONPATH": str(slow.parent)}
    with subprocess.Popen(
        load.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as target:
        assert target.stdout is not None
        assert target.stdout.readline() == b"1\n"
        target.send_signal(signum)
        _, err = target.communicate(timeout=30)
    assert target.returncode == -signum
    assert err == b""


def test_a_signal_while_it_connects_says_that_nothing_was_sent(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.fault("slow", seconds=30)
    running = load.start()
    running.feed(lines([schema(), *people(3)]))
    _wait_for(lambda: bool(sandbox.faults()[0]["seen"]))
    running.kill(signal.SIGTERM)
    outcome = running.wait(timeout=10)
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.log.splitlines()[-1].endswith("SIGTERM: ending before anything was sent.")
