"""`alert_on`: figures of a run that are not as usual are told, and fail nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_config_values import refused
from tests.integration.test_variables import run as run_with
from tests.support.api_stub import ApiStub, Reply
from tests.support.ledgers import LEDGER
from tests.support.target_runner import people, record, schema

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

CHANGE = {"records_change_pct": 50}


def told(outcome: Outcome) -> list[tuple[str, str | None, float]]:
    """The alerts of a run, which are warnings before its last line, and in its report."""
    alerts = outcome.report["alerts"]
    logged = [one.removeprefix("Preview: ") for one in outcome.warnings]
    assert [f"Alert: {one['text']}" for one in alerts] == [
        one for one in logged if one.startswith("Alert: ")
    ]
    assert "Alert" not in outcome.log.splitlines()[-1]
    return [(one["kind"], one["stream"], one["value"]) for one in alerts]


def changed(load: TargetRunner, count: int, **settings: Any) -> list[float]:
    """By how much a run of so many records differs from what is usual."""
    outcome = load([schema(), *people(count)], alert_on=CHANGE, **settings).succeeded()
    return [value for _, _, value in told(outcome)]


def test_records_are_compared_with_the_median_of_the_last_ten_completed_runs(
    load: ForkedTargetRunner,
) -> None:
    assert changed(load, 30) == []
    assert changed(load, 1) == [], "nothing is usual yet"
    assert changed(load, 30) == []
    assert changed(load, 45) == [], "just as much as is allowed"
    assert changed(load, 46) == [53.33]
    assert changed(load, 15) == []
    # Neither of these counts, and the last three tell nothing either.
    assert changed(load, 3, dry_run=True) == [-90.0]
    assert load([schema(), record("x")], alert_on=CHANGE, max_rejects=0).code == 1
    load.options = ["--limit=1"]
    assert changed(load, 3) == []
    load.options = []
    assert load(lines_cut_off(), alert_on=CHANGE).code == 1
    (alert,) = load([schema(), *people(0)], alert_on=CHANGE).succeeded().report["alerts"]
    assert alert == {
        "kind": "records_change_pct",
        "stream": "profiles",
        "limit": 50,
        "value": -100.0,
        "text": "Stream 'profiles' had 0 records, 100 % fewer than the median of its last 6 "
        "completed runs, 30 (alert_on.records_change_pct: 50). Check the source.",
    }


def test_only_the_last_ten_completed_runs_count(load: ForkedTargetRunner) -> None:
    for _ in range(6):
        changed(load, 2)
    with closing(sqlite3.connect(load.folder / LEDGER)) as db, db:
        ((account, segment),) = db.execute("SELECT account, id FROM segment")
        for number in range(20):  # long ago
            run, outcome = f"2020-{number}", "completed"
            db.execute(
                "INSERT INTO run VALUES (?, ?, 'here', '1::', ?, ?, ?, ?, '{}')",
                (run, account, number, number + 1, number + 1, outcome),
            )
            db.execute(
                "INSERT INTO stream_run VALUES (?, 'profiles', ?, 1000, 0, 0, 0, 0, 1000)",
                (run, segment),
            )
    # Of all of them the median is 1,000, of the last ten 2.
    assert changed(load, 3) == []
    assert changed(load, 4) == [100.0]


def lines_cut_off() -> list[Any]:
    """An input that ends in the middle of a line."""
    return [schema(), *people(2), '{"type": "RECORD", "str']


def test_streams_and_lists_are_compared_with_themselves_alone(load: TargetRunner) -> None:
    def run(profiles: int, blocked: int, list_id: int = 1) -> list[tuple[str, str | None, float]]:
        off = [record(f"off{n}@example.com", "blocked") for n in range(blocked)]
        messages = [schema("blocked"), *off, schema(), *people(profiles)]
        streams = {"blocked": {"role": "suppression"}}
        outcome = load(messages, list_id=list_id, alert_on=CHANGE, streams=streams)
        return told(outcome.succeeded())

    for _ in range(3):
        assert run(10, 6) == []
    # Suppressed people who are suddenly fewer are worth an alert too.
    assert run(10, 2) == [("records_change_pct", "blocked", -66.67)]
    assert run(2, 6, list_id=2) == []


def test_share_of_refused_records_is_told_also_to_the_webhook(load: ForkedTargetRunner) -> None:
    some = [schema(), *people(19), record("nobody")]
    limits = {"refused_pct": 5}
    assert told(load(some, alert_on=limits).succeeded()) == []
    with ApiStub(Reply(b"ok")) as hook:
        outcome = load(
            [*some, record(None)], alert_on=limits, on_complete_webhook=hook.url
        ).succeeded()

    assert told(outcome) == [("refused_pct", None, 9.52)]
    sent = json.loads(hook.asked[-1].body)
    text = "9.5 % of the records were rejected (2 of 21; alert_on.refused_pct: 5)."
    assert sent["alerts"] == outcome.report["alerts"]
    assert f"Alert: {text}" in sent["text"]
    page = (load.folder / f"reports/run-{outcome.report['run_id']}.html").read_text("utf-8")
    assert f"Alert: {text}" in page
    assert "would be rejected" in load(some, alert_on={"refused_pct": 0}, dry_run=True).log
    assert told(load([], alert_on=limits)) == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"refused_pct": -1}, "alert_on.refused_pct"),
        ({"refused_pct": 101}, "alert_on.refused_pct"),
        ({"records_change_pct": -0.5}, "alert_on.records_change_pct"),
        ({"records_change_pct": 10**9}, "alert_on.records_change_pct"),
        ({"records_change_pct": "half"}, "alert_on.records_change_pct"),
        ({"records_change_pct": "nan"}, "alert_on.records_change_pct"),
        ({"refused_pct": True}, "alert_on.refused_pct"),
        ({"refused": 5}, "alert_on"),
        ([5], "alert_on"),
        (5, "alert_on"),
        ('{"refused_pct": ', "alert_on"),
        ("refused_pct", "alert_on"),
    ],
)
def test_limits_that_can_not_be_are_refused(
    load: TargetRunner, sandbox: SandboxServer, value: Any, name: str
) -> None:
    refused(load([schema(), *people(1)], alert_on=value), name)
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    "value", [{"refused_pct": "5.5"}, '{"refused_pct": 5.5}', {"refused_pct": 5.5, "x": None}]
)
def test_limits_are_read_in_each_form(load: TargetRunner, value: Any) -> None:
    some = [schema(), *people(9), record("nobody")]
    if isinstance(value, dict) and "x" in value:
        refused(load(some, alert_on=value), "alert_on")
    else:
        assert told(load(some, alert_on=value)) == [("refused_pct", None, 10.0)]


def test_limits_are_read_from_a_variable(load: ForkedTargetRunner) -> None:
    outcome = run_with(load, {"ALERT_ON": '{"refused_pct": "-5"}'})
    assert outcome.code == 1
    assert "alert_on.refused_pct" in outcome.log
    assert run_with(load, {"ALERT_ON": '{"refused_pct": 5}'}).succeeded().report["alerts"] == []
