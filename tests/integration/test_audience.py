"""The audience: the sizes of segments over the runs, and what segments of one list share."""

from __future__ import annotations

import itertools
import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_ledger_command import Command
from tests.sandbox.test_sandbox_page import Page
from tests.support.ledgers import empty_database
from tests.support.mirrors import NO_GUARDS, whole
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

SEED = int(os.environ.get("AUDIENCE_SEED", "7"))
STREAMS = ("buyers", "readers", "visitors")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return empty_database(request.getfixturevalue("postgres"))


def audience(command: Command) -> dict[str, Any]:
    done = command("show", "--audience", "--format=json")
    assert done.code == 0, done.err
    (connection,) = json.loads(done.out)["connections"]
    found: dict[str, Any] = connection["audience"]
    return found


def segment(found: dict[str, Any], stream: str) -> dict[str, Any]:
    (one,) = (one for one in found["segments"] if one["stream"] == stream)
    return dict(one)


def run_of(found: dict[str, Any], run_id: str) -> dict[str, Any]:
    """A segment in one run."""
    (one,) = (one for one in found["runs"] if one["run"] == run_id)
    return dict(one)


def test_overlap_of_three_segments_is_that_of_their_people(
    load: TargetRunner, tmp_path: Path, ledger_url: str
) -> None:
    chance = random.Random(SEED)
    everyone = [f"p{number}" for number in range(60)]
    load.config.update(sync_mode="mirror", guards=NO_GUARDS, ledger_url=ledger_url)
    people: dict[str, set[str]] = {name: set() for name in STREAMS}
    ids: list[str] = []
    for _ in range(2):  # in the second run, some leave and others join
        before = people
        people = {name: {one for one in everyone if chance.random() < 0.5} for name in STREAMS}
        messages = [one for name in STREAMS for one in whole(" ".join(sorted(people[name])), name)]
        # Of another list, where nobody counts for this one.
        messages += whole("p1 p2 p3", "others")
        outcome = load(messages, streams={"others": {"list_id": 2}}).succeeded()
        ids.append(outcome.report["run_id"])

    command = Command(tmp_path, ledger_url)
    found = audience(command)

    expected = {}
    for count in (2, 3):
        for some in itertools.combinations(STREAMS, count):
            rest = set().union(*(people[name] for name in STREAMS if name not in some))
            shared = set.intersection(*(people[name] for name in some))
            expected[some] = (len(shared), len(shared - rest))
    told = {
        tuple(sorted(one["streams"])): (one["in_all"], one["in_no_other"])
        for one in found["overlaps"]
    }
    assert told == expected, f"AUDIENCE_SEED={SEED}"
    assert {one["list"] for one in found["overlaps"]} == {1}
    for name in STREAMS:
        now = segment(found, name)
        oldest, newest = (run_of(now, run_id) for run_id in ids)
        assert (now["size"], newest["size"]) == (len(people[name]), len(people[name]))
        assert oldest["newcomers"] == oldest["size"] == len(before[name])
        assert newest["newcomers"] == len(people[name] - before[name])
    gone = set().union(*before.values()) - set().union(*people.values())
    assert sum(run_of(segment(found, name), ids[1])["removed"] for name in STREAMS) == len(gone) > 0
    # The report has the same, and so has its page.
    assert outcome.report["audience"] == json.loads(json.dumps(found))
    page = Page((load.folder / f"reports/run-{outcome.report['run_id']}.html").read_text("utf-8"))
    rows = page.tables["Audience"]
    assert [name for name in (*STREAMS, "others") if f"{name}, list" not in page.text] == []
    for some, (in_all, alone) in expected.items():
        assert ["1", ", ".join(some), str(in_all), str(alone)] in [row[:4] for row in rows]
    # As text, without people.
    text = command("show", "--audience").out
    assert f"buyers, list 1: {len(people['buyers'])} contacts" in text
    in_all, alone = expected[STREAMS]
    words = [line.split() for line in text.splitlines()]
    assert ["1", "buyers,", "readers,", "visitors", str(in_all), str(alone)] in words


def test_runs_tell_who_was_held_back_and_refused(load: TargetRunner, tmp_path: Path) -> None:
    load.config.update(sync_mode="mirror")
    command = Command(tmp_path, None)
    load(whole("ada bob cyd dee")).succeeded()
    messages = whole("ada")
    messages.insert(1, {**record("nobody"), "version": messages[1]["version"]})
    assert load(messages, guards={"min_source_pct": None}).code == 1
    load.options = ["--limit=1"]
    load(whole("eve")).succeeded()
    load.options = []
    assert load([schema(), record("fay@example.com")], dry_run=True).code == 0

    runs = segment(audience(command), "profiles")["runs"]

    names = ("outcome", "size", "newcomers", "removed", "held_back", "refused")
    assert sorted(tuple(one[name] for name in names) for one in runs) == [
        ("completed", 4, 4, 0, 0, 0),
        ("failed", 4, 0, 0, 3, 1),
        ("limited", 5, 1, 0, 0, 0),
    ]
    text = command("show", "--audience").out
    assert "failed" in text
    # What is forgotten takes its figures along.
    assert command("forget", "--stream", "profiles", "--yes").code == 0
    assert audience(command) == {"segments": [], "overlaps": [], "left_out": []}
    load(whole("ada")).succeeded()
    assert len(segment(audience(command), "profiles")["runs"]) == 1
