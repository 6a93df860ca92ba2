"""Progress: a live line on a terminal, else a line of the log now and then; logs and metrics."""

from __future__ import annotations

import json
import re
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.model.timings import Timings
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.guide import block
from tests.support.ledgers import LEDGER, wait_for_answers
from tests.support.mirrors import wait_for
from tests.support.sandbox_server import API_KEY, SandboxServer
from tests.support.target_runner import batch, people, record, schema, state
from tests.support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.target_runner import Outcome, TargetRunner

IMPORT = "/api/3/import/bulk_import"


@pytest.fixture(scope="module")
def often_server() -> ForkServer:
    """The target in a hurry: the log's half minute is shorter, and rates come sooner."""
    timings = Timings(
        progress_log_seconds=0.15,
        progress_sample_seconds=0.1,
        progress_first_rate_seconds=0.2,
        progress_idle_seconds=0.6,
    )
    return ForkServer(timings)


@pytest.fixture
def often(sandbox: SandboxServer, tmp_path: Path, often_server: ForkServer) -> ForkedTargetRunner:
    """That target, configured for `sandbox`."""
    return ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, often_server)


@pytest.fixture(scope="module")
def slow_sandbox_server() -> Iterator[SandboxServer]:
    with SandboxServer(latency=2, api_key=API_KEY) as server:
        yield server


@pytest.fixture
def slow_sandbox(slow_sandbox_server: SandboxServer) -> SandboxServer:
    """An account whose imports take two seconds."""
    slow_sandbox_server.reset()
    return slow_sandbox_server


@pytest.fixture
def slow(
    slow_sandbox: SandboxServer, tmp_path: Path, often_server: ForkServer
) -> ForkedTargetRunner:
    """That target, configured for `slow_sandbox`."""
    return ForkedTargetRunner(tmp_path, slow_sandbox.url, slow_sandbox.api_key, often_server)


@pytest.fixture
def structured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logging configuration that the documentation shows is in use."""
    (tmp_path / "logging.yaml").write_text(block("operations.md", "logging"), "utf-8")
    monkeypatch.setenv("SINGER_SDK_LOG_CONFIG", str(tmp_path / "logging.yaml"))


def logged(outcome: Outcome) -> list[dict[str, Any]]:
    """The lines of a structured log."""
    return [json.loads(line) for line in outcome.log.splitlines() if line.startswith("{")]


# The log


def test_a_short_run_says_nothing_of_its_progress(load: TargetRunner) -> None:
    outcome = load([schema(), *people(3)]).succeeded()
    assert "Progress" not in outcome.log


def test_the_log_tells_now_and_then_how_far_a_run_is(
    slow_sandbox: SandboxServer, slow: ForkedTargetRunner
) -> None:
    running = slow.start(imports_per_minute=100)
    running.feed([schema(), *people(600), record("nobody"), state(1)])
    while len(slow_sandbox.export()) < 500:
        time.sleep(0.1)
    time.sleep(1)
    outcome = running.wait().succeeded()
    said = [line.partition("Progress: ")[2] for line in outcome.log.splitlines()]
    rate = r"[\d,]+ contacts per minute \(limit 25,000\)"
    patterns = [
        r"601 read \(\d+/s\), 1 invalid; 500 in flight\.",
        rf"601 read, 500 added, 1 invalid; {rate}; waiting for the tap\.",
        rf"601 read, 500 added, 1 invalid; 100 in flight; {rate}; waiting for 1 import to be "
        r"confirmed\.",
    ]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, one) for one in said), outcome.log
    assert outcome.log.rindex("Progress: ") < outcome.log.index("Report: ")


@pytest.mark.usefixtures("structured")
def test_a_structured_log_has_the_figures_of_progress_and_metrics(
    slow: ForkedTargetRunner,
) -> None:
    outcome = slow([schema(), *people(600), record("nobody"), state(1)]).succeeded()
    told = logged(outcome)
    assert len(told) == len(outcome.log.splitlines())
    progress = [one["extra"]["progress"] for one in told if "progress" in one["extra"]]
    on_the_way = next(one for one in progress if one["in_flight"] == 600)
    assert on_the_way["invalid"] == 1
    assert on_the_way["contacts_per_minute_limit"] is None
    assert re.search(r"waiting for \d imports to be confirmed", str(progress))
    metrics = [one["metric_info"] for one in told if one["message"] == "METRIC"]
    assert [(one["metric"], one["value"]) for one in metrics] == [("record_count", 601)]


def test_time_left_is_told_where_the_size_of_the_input_is_known(
    sandbox: SandboxServer, often: ForkedTargetRunner
) -> None:
    limited: dict[str, Any] = {"batch_size_rows": 50, "requests_per_second": 7}
    messages = [schema(), *people(500), state(1)]
    outcome = often(messages, **limited).succeeded()
    left = [int(text) for text in re.findall(r"about (\d+) s left", outcome.log)]
    assert left, outcome.log
    assert left[-1] == 5
    assert len(sandbox.export()) == 500

    running = often.start(full_resync=True, **limited)
    running.feed(messages)
    assert " left" not in running.wait().succeeded().log


# What a run does while it reads nothing


def test_it_is_said_that_the_account_makes_it_wait(
    sandbox: SandboxServer, often: ForkedTargetRunner
) -> None:
    sandbox.fault("rate_limit", match={"path": IMPORT}, times=1, retry_after=4)
    outcome = often([schema(), *people(3)]).succeeded()
    assert re.search(
        r"posting 1 import within the rate limit, waiting [1-4] s as requested by ActiveCampaign\.",
        outcome.log,
    ), outcome.log


def test_it_is_said_that_imports_of_an_earlier_run_are_asked_about(
    slow_sandbox: SandboxServer, slow: ForkedTargetRunner
) -> None:
    first = slow.start([schema(), *people(3)])
    wait_for(lambda: bool(slow_sandbox.imports()))
    wait_for_answers(f"sqlite:///{slow.folder / LEDGER}", 1)
    first.kill(signal.SIGKILL)
    assert first.wait().code == -signal.SIGKILL
    outcome = slow([schema(), *people(3)]).succeeded()
    assert "checking 1 import of an earlier run" in outcome.log


def test_it_is_said_how_many_have_left(sandbox: SandboxServer, often: ForkedTargetRunner) -> None:
    guards = {"min_source_pct": 0, "max_leave_pct": 100, "max_change_pct": 100}
    mirror = {"sync_mode": "mirror", "complete_stream": True, "guards": guards}
    often([schema(), *people(20)], **mirror).succeeded()
    sandbox.fault("slow", match={"path": IMPORT}, seconds=2)
    outcome = often([schema(), *people(5)], **mirror).succeeded()
    assert "removing contacts: 0 of 15" in outcome.log, outcome.log
    assert outcome.report["left"] == 15


# A terminal


def test_a_terminal_has_a_line_below_the_log_until_the_end(slow: ForkedTargetRunner) -> None:
    terminal = Terminal(slow, checkpoint_seconds=0.1)
    terminal.feed([schema(), *people(600), state(1)])
    terminal.wait_for(lambda: re.search(r"600 read.*; 600 in flight", terminal.rows[-1]))
    assert terminal.screen.cursor.hidden
    terminal.feed([schema("others"), record("late@example.com", "others")])
    terminal.wait_for(lambda: "Stream 'others' goes to list 1 'Newsletter'" in terminal.text)
    terminal.wait_for(lambda: "601 read, 600 added" in " ".join(terminal.rows[-2:]))
    assert terminal.wait() == 0
    assert "in flight" not in terminal.text
    assert "Progress" not in terminal.text
    assert not terminal.screen.cursor.hidden
    assert terminal.text.count("601 read = 601 added") == 1
    assert (slow.folder / "stdout").read_text("utf-8").splitlines()[-1] == "1"


def test_lines_of_the_log_come_whole_to_a_terminal(slow: ForkedTargetRunner) -> None:
    terminal = Terminal(slow, columns=40, output=True, checkpoint_seconds=0.1)
    terminal.feed([schema(), *people(300), state({"bookmark": "x" * 100})])
    terminal.wait_for(lambda: "300 in flight" in " ".join(terminal.rows[-2:]))
    terminal.wait_for(lambda: '"bookmark"' in terminal.text)
    terminal.feed([schema("others")])
    assert terminal.wait() == 0
    text = terminal.raw.decode().replace("\r\n", "\n")
    assert "Stream 'others' goes to list 1 'Newsletter': email -> email, first_name -> " in text
    assert '{"bookmark":"' + "x" * 100 + '"}\n' in text
    assert max(map(len, terminal.rows)) <= 40


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (20, ["⠋ 1 read, 1 invalid;", "  waiting for the", "  tap."]),
        (40, ["⠋ 1 read, 1 invalid;", "  waiting for the tap."]),
        (80, ["⠋ 1 read, 1 invalid; waiting for the tap."]),
    ],
)
def test_the_line_is_broken_where_the_terminal_is_narrow(
    often: ForkedTargetRunner, columns: int, rows: list[str]
) -> None:
    terminal = Terminal(often, columns=columns)
    terminal.feed([schema(), record("nobody")])
    expected = [row[2:] for row in rows]
    terminal.wait_for(lambda: [row[2:] for row in terminal.rows[-len(rows) :]] == expected)
    assert terminal.wait() == 0
    assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_a_terminal_that_can_move_nothing_gets_lines_of_the_log(
    slow: ForkedTargetRunner, environment: dict[str, str]
) -> None:
    terminal = Terminal(slow, environment=environment)
    terminal.feed([schema(), *people(3)])
    assert terminal.wait() == 0
    assert re.search(rb"Progress: 3 read; 3 in flight[.;]", terminal.raw)
    assert b"\x1b" not in terminal.raw


def test_no_colour_is_used(slow: ForkedTargetRunner) -> None:
    terminal = Terminal(slow, environment={"NO_COLOR": "1"})
    terminal.feed([schema(), *people(3)])
    terminal.wait_for(lambda: "3 read" in terminal.rows[-1])
    assert terminal.wait() == 0
    assert not re.search(rb"\x1b\[[\d;]*m", terminal.raw)


def test_a_bad_line_leaves_the_terminal_as_it_was(often: ForkedTargetRunner) -> None:
    terminal = Terminal(often)
    terminal.feed([schema(), *people(3)])
    terminal.wait_for(lambda: "3 read" in terminal.text)
    terminal.feed(["{cut off"])
    assert terminal.wait() == 1
    assert "Line 5 of the input is not valid JSON" in " ".join(terminal.rows[-4:])
    assert not terminal.screen.cursor.hidden


def test_a_signal_at_the_lines_first_sight_leaves_the_terminal_as_it_was(
    often: ForkedTargetRunner,
) -> None:
    terminal = Terminal(often)
    terminal.feed([schema()])
    terminal.wait_for(lambda: b"\x1b[?25l" in terminal.raw)
    terminal.kill()
    assert terminal.wait() == 128 + signal.SIGTERM
    assert not terminal.screen.cursor.hidden


def test_a_second_signal_leaves_the_terminal_as_it_was(
    start_sandbox: Callable[..., SandboxServer], tmp_path: Path, often_server: ForkServer
) -> None:
    sandbox = start_sandbox(latency=60)
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, often_server)
    terminal = Terminal(load, checkpoint_seconds=0.1)
    terminal.feed([schema(), *people(3)])
    terminal.wait_for(lambda: sandbox.requests(path=IMPORT))
    terminal.kill()
    terminal.wait_for(lambda: "waiting for contacts in flight" in terminal.text)
    terminal.wait_for(lambda: "3 in flight" in terminal.rows[-1])
    time.sleep(2.2)  # within two seconds, both are one
    terminal.kill()
    assert terminal.wait() == 128 + signal.SIGTERM
    assert "ending at once" in terminal.rows[-1]
    assert not terminal.screen.cursor.hidden


# What the SDK tells


def counted(outcome: Outcome) -> dict[str, int]:
    """Records by stream, as the SDK's metrics tell them."""
    found: Counter[str] = Counter()
    for text in re.findall(r"METRIC: (.*)", outcome.log):
        point = json.loads(text)
        assert point["metric"] == "record_count", "nothing else is told that means nothing"
        found[point["tags"]["stream"]] += point["value"]
    return {stream: count for stream, count in found.items() if count}


def read(outcome: Outcome) -> dict[str, int]:
    """Records by stream, as the report tells them."""
    streams = outcome.report["streams"].items()
    return {name: one["counts"]["read"] for name, one in streams if one["counts"]["read"]}


def test_metrics_count_each_record_once(often: ForkedTargetRunner) -> None:
    messages = [schema(), *people(1200), record("nobody"), record("nobody", first_name=1), state(1)]
    for _ in ("new", "unchanged"):
        outcome = often(messages).succeeded()
        assert counted(outcome) == read(outcome) == {"profiles": 1202}
    assert outcome.counts["unchanged"] == 1200


def test_metrics_count_what_stream_maps_make_of_records(often: ForkedTargetRunner) -> None:
    maps = {
        "profiles": {"first_name": "first_name.upper()", "__filter__": "first_name != 'Person 0'"},
        "copy": {"__source__": "profiles"},
        "gone": None,
        "others": {"__alias__": "profiles"},
    }
    streams = ("profiles", "others", "gone", "plain")
    messages = [one for name in streams for one in (schema(name), *people(10, name))]
    again = schema("others", more="string")
    outcome = often([*messages, again, *people(10, "others")], stream_maps=maps).succeeded()
    assert counted(outcome) == read(outcome) == {"profiles": 29, "copy": 10, "plain": 10}


def test_metrics_count_records_of_batch_files(often: ForkedTargetRunner) -> None:
    path = often.folder / "batch.jsonl"
    path.write_text("".join(json.dumps(one["record"]) + "\n" for one in people(450)), "utf-8")
    outcome = often([schema(), *people(3), batch({"format": "jsonl"}, path)]).succeeded()
    assert counted(outcome) == read(outcome) == {"profiles": 453}
    completed = "completed processing 5 lines of input (1 schemas, 3 records, 1 batch manifests"
    assert completed in outcome.log


def test_metrics_count_what_a_run_read_that_was_ended(
    often: ForkedTargetRunner,
) -> None:
    failed = often([schema(), *people(300), "{cut off"])
    assert failed.code == 1
    assert counted(failed) == read(failed) == {"profiles": 300}
    running = often.start()
    running.feed([schema(), *people(300)])
    time.sleep(1)
    running.kill(signal.SIGTERM)
    stopped = running.wait()
    assert stopped.code == 128 + signal.SIGTERM
    assert counted(stopped) == read(stopped) == {"profiles": 300}


def test_the_sdk_tells_how_many_messages_there_were(often: ForkedTargetRunner) -> None:
    activate = {"type": "ACTIVATE_VERSION", "stream": "profiles", "version": 1}
    versioned = [{**one, "version": 1} for one in people(1500)]
    outcome = often([schema(), *versioned, state(1), activate, state(2)]).succeeded()
    assert (
        "completed processing 1504 lines of input (1 schemas, 1500 records, 0 batch manifests, "
        "2 state messages, 1 activate version messages)." in outcome.log
    )
