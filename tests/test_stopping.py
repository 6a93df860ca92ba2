"""Signals: what was read is settled, its STATE written, and the exit code says which signal."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from tests.sandbox_server import SandboxServer
    from tests.target_runner import TargetRunner


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_reading_settles_what_was_read(
    sandbox: SandboxServer, load: TargetRunner, signum: signal.Signals
) -> None:
    data = lines([schema(), *people(300), state({"n": 300})])
    with _started(load) as target:
        assert target.stdin is not None
        target.stdin.write(data)
        target.stdin.flush()
        _wait_for(lambda: len(sandbox.export()) >= 250)
        target.send_signal(signum)
        out, err = target.communicate(timeout=30)
    outcome = load.outcome(target.returncode, out, err, data)
    assert outcome.code == 128 + signum
    assert outcome.states == [{"n": 300}]
    assert len(sandbox.export()) == 300
    assert outcome.report["outcome"] == "stopped"


def test_a_second_signal_ends_at_once_with_no_state_ahead(
    start_sandbox: Any, target_for: Any
) -> None:
    sandbox = start_sandbox(latency=60)
    load = target_for(sandbox)
    data = lines([schema(), *people(3), state(1)])
    with _started(load, checkpoint_seconds=0.1) as target:
        assert target.stdin is not None
        target.stdin.write(data)
        target.stdin.flush()
        _wait_for(lambda: bool(sandbox.requests(path="/api/3/import/bulk_import")))
        target.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert target.poll() is None, "it waits for what is in flight"
        target.send_signal(signal.SIGTERM)
        out, err = target.communicate(timeout=10)
    assert target.returncode == 128 + signal.SIGTERM
    assert out == b""
    assert b"ending at once" in err


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


def test_state_leaves_while_the_input_goes_on(sandbox: SandboxServer, load: TargetRunner) -> None:
    with _started(load, checkpoint_seconds=0.1) as target:
        assert target.stdin is not None
        assert target.stdout is not None
        for number in range(3):
            target.stdin.write(lines([schema(), record(f"p{number}@example.com"), state(number)]))
            target.stdin.flush()
            assert json.loads(target.stdout.readline()) == number
            assert len(sandbox.export()) == number + 1, "confirmed before its state left"
        target.stdin.close()
        assert target.wait(timeout=30) == 0


def _started(load: TargetRunner, **settings: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        load.command(**settings),
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
