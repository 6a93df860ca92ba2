"""Killed at any instant, each record has exactly one row of its outcome in the end.

Each round starts runs against a sandbox with faults on, kills one or two of them at random
instants, and then lets a run go to its end. OUTCOME_KILLS sets how many rounds there are,
OUTCOME_KILL_SEED which.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_kills import FAULTS
from tests.support.ledgers import empty_database
from tests.support.outcome_rows import OutcomePlace, reported
from tests.support.target_runner import lines, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer

ROUNDS = int(os.environ.get("OUTCOME_KILLS", "6"))
SEED = int(os.environ.get("OUTCOME_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
RECORDS = 180
ADDRESS = re.compile(r"r\d+p\d+@example\.com")
STATE_EVERY = 12
SETTINGS = {"batch_size_rows": 6, "checkpoint_seconds": 0.05, "request_timeout": 2}
PLACES = ("postgresql", "sqlite", "files")


def source(number: int, round_: int) -> tuple[dict[str, Any], str]:
    """A record, and the outcome that it must have."""
    address = f"r{round_}p{number}@example.com"
    if number % 10 == 3:
        return record(f"nobody {number}", id=str(number)), "EMAIL_INVALID"
    if number % 10 == 7:
        return record(address, id=str(number), _sdc_deleted_at="2026-01-01"), "DELETED"
    if number % 30 == 5:
        return record(address, id=str(number), consent=False), "NO_CONSENT"
    return record(address, id=str(number), consent=True, first_name=f"P {number}"), "added"


def messages(round_: int, after: int) -> list[dict[str, Any]]:
    """What the tap writes when it goes on after so many records."""
    head = schema(id="string", _sdc_deleted_at="string", consent="boolean")
    written: list[dict[str, Any]] = [{**head, "key_properties": ["id"]}]
    for number in range(after, RECORDS):
        written.append(source(number, round_)[0])
        if number % STATE_EVERY == STATE_EVERY - 1:
            written.append(state({"records": number + 1}))
    return written


@pytest.mark.parametrize("which", range(ROUNDS))
def test_each_record_has_one_row_in_the_end(
    sandbox: SandboxServer,
    load: ForkedTargetRunner,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    which: int,
) -> None:
    chance = random.Random(SEED + which)
    where = f"OUTCOME_KILL_SEED={SEED}, round {which}"
    print(where)
    kind = PLACES[which % len(PLACES)]
    if kind == "postgresql":
        place = OutcomePlace(empty_database(request.getfixturevalue("postgres")))
    elif kind == "sqlite":
        place = OutcomePlace(f"sqlite:///{tmp_path / 'outcomes.db'}")
    else:
        place = OutcomePlace(f"file://{tmp_path / 'outcomes'}")
    for fault in FAULTS:
        sandbox.fault(**{**fault, "probability": 0.04, "seed": chance.randrange(10**6)})
    after = killed = 0
    settings = {**SETTINGS, **place.settings, "field_mapping": {"consent": "subscription"}}
    for _ in range(chance.choice((1, 1, 2))):
        run = load.start(lines(messages(which, after)), **settings)
        time.sleep(chance.uniform(0.3, 2.5))
        run.kill()
        ended = run.wait()
        killed += ended.code != 0
        after = ended.states[-1]["records"] if ended.states else after

    outcome = load(lines(messages(which, after)), **settings).succeeded()

    assert "NOT STORED" not in outcome.log, outcome.log
    rows = place.outcomes()
    found = Counter(json.loads(row["source_key"])["id"] for row in rows)
    expected = {str(n): source(n, which)[1] for n in range(RECORDS)}
    assert found == dict.fromkeys(expected, 1), where
    shown = {json.loads(r["source_key"])["id"]: r["code"] or r["outcome"] for r in rows}
    assert shown == expected, where
    _as_the_account_says(sandbox, rows, where)
    _as_the_runs_say(place, rows, outcome.report, killed, where)


def _as_the_account_says(sandbox: SandboxServer, rows: list[dict[str, Any]], where: str) -> None:
    """Delivered rows are the account's contacts, and name imports that it has completed."""
    delivered = [row for row in rows if row["outcome"] == "added"]
    ours = [address for address in sandbox.contacts() if ADDRESS.fullmatch(address)]
    assert len(delivered) == len(ours), where
    done = {one["batch"] for one in sandbox.imports() if one["status"] == "completed"}
    # An import whose answer was lost has no id.
    assert {row["batch_id"] for row in delivered} - {None} <= done, where
    assert all(row["posted_at"] and row["confirmed_at"] for row in delivered), where


def _as_the_runs_say(
    place: OutcomePlace,
    rows: list[dict[str, Any]],
    report: dict[str, Any],
    killed: int,
    where: str,
) -> None:
    """Each run that was cut off is closed, and its counts are its rows; so are the report's."""
    runs = {run["run"]: run for run in place.runs()}
    outcomes = [run.get("outcome") for run in runs.values()]
    assert outcomes.count("interrupted") <= killed, where
    assert set(outcomes) <= {"interrupted", "completed"}, where
    last = Counter(row["outcome"] for row in rows if row["run"] == report["run_id"])
    assert last == reported(report), where
    assert {row["run"] for row in rows} <= runs.keys(), where
    if place.is_folder:
        return
    for run in runs.values():
        of_run = Counter(row["outcome"] for row in rows if row["run"] == run["run"])
        counts = {one: run[one] for one in ("added", "invalid", "skipped") if run[one]}
        assert of_run == counts, where
