"""The benchmarks, in a small size: they run, and say what they are to say. Times are not judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.postgres_server import PostgresServer, require

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


class Measured:
    """What a run of the benchmarks has printed and written."""

    def __init__(self, printed: str, written: dict[str, Any]) -> None:
        self.printed = printed
        self.written = written
        self.figures = {figure["what"]: figure for figure in written["figures"]}

    def line(self, what: str) -> str:
        """The line of the table for a figure, without its name."""
        (line,) = (line for line in self.printed.splitlines() if line.startswith(f"{what}  "))
        return line.removeprefix(what)

    def values(self, *names: str) -> list[float]:
        return [self.figures[name]["value"] for name in names]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/run.py", "--small", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )


@pytest.fixture
def measure(tmp_path: Path) -> Callable[..., Measured]:
    """Run some parts of the benchmarks in a small size."""

    def measured(*arguments: str) -> Measured:
        done = run("--only", *arguments, f"--json={tmp_path / 'results.json'}")
        assert done.returncode == 0, done.stderr
        return Measured(done.stdout, json.loads((tmp_path / "results.json").read_text()))

    return measured


def test_what_a_profile_costs_stands_beside_the_anchor(measure: Callable[..., Measured]) -> None:
    measured = measure("cost")
    goal = r" +[\d.,]+ µs +<= [\d.,]+ µs +(yes|no) +1/[\d.]+ of the anchor, goal 1/"
    assert re.match(goal + "6$", measured.line("fresh profiles"))
    assert re.match(goal + "10$", measured.line("unchanged profiles"))
    floor, anchor = measured.values("msgspec decodes the line", "the SDK's empty target")
    assert 0 < floor < anchor
    assert measured.figures["fresh profiles"]["goal"] == pytest.approx(anchor / 6)
    for way in ("validate_records: false", "plain BATCH files", "gzip BATCH files"):
        assert "of the stream's" in measured.line(f"fresh, {way}")
        assert "of the stream's" in measured.line(f"unchanged, {way}")
    # 600 profiles are two full imports and one of the rest. The questions are those about the
    # account, its lists and fields, and at least one about each import.
    imports, questions = (
        measured.figures[f"{calls} for 600 changed of 2,000"] for calls in ("imports", "questions")
    )
    assert (imports["value"], imports["goal"], imports["met"]) == (3, 4, True)
    assert questions["value"] >= 6
    assert questions["goal"] == 8


def test_start_and_memory(measure: Callable[..., Measured]) -> None:
    measured = measure("start", "memory")
    assert "<= 1.50 s" in measured.line("start to first request")
    for count in ("1,000", "2,000"):
        fresh, unchanged, ledger = measured.values(
            f"{count} fresh profiles",
            f"{count} unchanged profiles",
            f"the ledger's file at {count}",
        )
        # A Python that has imported the target, and not what the benchmarks have themselves.
        assert 40 < unchanged <= fresh * 1.1
        assert ledger > 0.02
    assert "<= 10 %" in measured.line("between the sizes, fresh")


def test_rates_and_stages_are_measured_and_drawn(
    measure: Callable[..., Measured], tmp_path: Path
) -> None:
    picture = tmp_path / "performance.svg"
    measured = measure("stages", "writer", "limits", f"--picture={picture}")
    assert ">= 24,500" in measured.line("confirmed contacts a minute")
    assert measured.values("no limits: contacts a minute")[0] > 0
    for line in ("the target at the limits", "a plain writer at the limits"):
        people = [count for _, count in measured.written["over_time"][line]]
        assert people == sorted(people)
        assert people[0] < people[-1]
    stages = measured.written["stages"]
    assert {"start", "ledger"} <= stages["fresh"].keys() & stages["unchanged"].keys()
    # What it can't place is little.
    assert stages["fresh"]["other"] < 0.2 * sum(stages["fresh"].values())
    assert "<svg" in picture.read_text()


def test_how_cost_grows(measure: Callable[..., Measured]) -> None:
    require()
    with PostgresServer() as server:
        url = server.url.replace("postgresql", "postgresql+psycopg", 1)
        measured = measure("growth", f"--postgres={url}")
    shapes = (
        *("500 records", "1,000 records", "2,000 records", "2 properties", "40 properties"),
        *(
            "10 streams",
            "beside 2,000 others",
            "mirror of 2,000",
            "2,000 people with a key",
            "a ledger on PostgreSQL",
        ),
    )
    for shape in shapes:
        assert min(measured.values(f"{shape}, fresh", f"{shape}, unchanged")) > 0
    few, many = measured.values(
        "500 records, the ledger's file", "2,000 records, the ledger's file"
    )
    assert few < many
    assert measured.values("a ledger on PostgreSQL, its tables")[0] > 0


def test_what_fails_is_no_success(tmp_path: Path) -> None:
    done = run("--only", "start", f"--picture={tmp_path / 'performance.svg'}")
    assert done.returncode == 1
    assert "There is nothing to draw" in done.stderr
