"""What docs/scale.md says: several Meltano jobs at once on one PostgreSQL, and a list in parts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from tests.support import postgres_server
from tests.support.guide import DOCS, block
from tests.support.ledgers import ledger
from tests.support.meltano_project import MELTANO, ROOT, require_meltano
from tests.support.mirrors import Mirror, whole
from tests.support.postgres_server import PostgresServer
from tests.support.sandbox_server import API_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

EXAMPLE = DOCS / "examples" / "scale"
JOBS = sorted(path.stem for path in (EXAMPLE / "jobs").glob("*.env"))
PROGRAMS = {
    "extractors/tap-warehouse": ROOT
    / ".meltano/extractors/tap-warehouse-postgres/venv/bin/tap-postgres",
    "loaders/target-activecampaign": Path(sys.executable).with_name("target-activecampaign"),
}
PEOPLE = {"oslo": 300, "riga": 1200}
CONNECTIONS_A_JOB = 2


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """The warehouse, with a view for each job, and a database for the ledger and the budget."""
    postgres_server.require()
    require_meltano(*PROGRAMS.values())
    with PostgresServer() as server:
        with psycopg.connect(server.url, autocommit=True) as db:
            db.execute("CREATE DATABASE ledger")
            db.execute(
                "CREATE TABLE profiles (brand text, email text, first_name text, last_name text)"
            )
            with db.cursor() as cursor, cursor.copy("COPY profiles FROM STDIN") as copy:
                for brand, count in PEOPLE.items():
                    for number in range(count):
                        copy.write_row((brand, *person(brand, number)))
            db.execute((EXAMPLE / "segments.sql").read_bytes())
        yield server


def person(brand: str, number: int) -> tuple[str, str, str]:
    """Address, first and last name."""
    return f"person{number}@{brand}.example.com", f"First {number}", f"Last {number}"


class Orchestrator:
    """Starts all jobs at once, each in a folder of its own, and sees to it that they end well.

    Args:
        folder: Where their folders are made.
        variables: What they have in their environment besides the usual.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self._folder = folder
        self._variables = variables
        for job in JOBS:
            shutil.copytree(EXAMPLE, folder / job)
            # Only programs are linked: an environment that doesn't fit its plugin is made anew by
            # Meltano, which deletes the old one even at the end of a link.
            for plugin, program in PROGRAMS.items():
                programs = folder / job / ".meltano" / plugin / "venv" / "bin"
                programs.mkdir(parents=True)
                (programs / program.name).symlink_to(program)

    def run(self, watch: Callable[[], None] = lambda: None) -> dict[str, dict[str, int]]:
        """Run all jobs, calling `watch` now and then; what each has counted."""
        running = {job: self._start(job) for job in JOBS}
        while any(process.poll() is None for process in running.values()):
            watch()
            time.sleep(0.05)
        for job, process in running.items():
            log = (self._folder / job / "log").read_text("utf-8")
            assert process.returncode == 0, log
            assert API_KEY not in log
            assert ".example.com" not in log
        return {job: self._counts(job) for job in JOBS}

    def _start(self, job: str) -> subprocess.Popen[bytes]:
        ours = ("ACTIVECAMPAIGN_", "MELTANO_", "TARGET_", "TAP_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        path = f"{MELTANO.parent}{os.pathsep}{kept['PATH']}"
        with (self._folder / job / "log").open("wb") as log:
            return subprocess.Popen(
                ["sh", "-c", block("scale.md", "job")],
                cwd=self._folder / job,
                env={**kept, **self._variables, "PATH": path, "JOB": job},
                stdout=log,
                stderr=log,
            )

    def _counts(self, job: str) -> dict[str, int]:
        reports = (self._folder / job / "reports").glob("*.json")
        latest = max(reports, key=lambda path: path.stat().st_mtime_ns)
        counts = json.loads(latest.read_text("utf-8"))["counts"]
        return {name: count for name, count in counts.items() if count}


def people_of(sandbox: SandboxServer) -> set[tuple[str, str, str]]:
    """Who is on the list, each with what they are called."""
    contacts = sandbox.export()
    assert {json.dumps(one["lists"]) for one in contacts} == {'{"1": 1}'}
    return {(one["email"], one["first_name"], one["last_name"]) for one in contacts}


def delivered(url: str) -> dict[tuple[str, str], int]:
    """How many people the ledger has, by account and stream."""
    with ledger(url) as db:
        rows = db.exec_driver_sql(
            "SELECT identity, stream, count(*) FROM member JOIN segment ON segment = segment.id"
            " JOIN account ON segment.account = account.id GROUP BY identity, stream"
        )
        return {(identity, stream): count for identity, stream, count in rows}


def test_the_example_names_the_tap_that_it_is_tested_with() -> None:
    ours, theirs = (
        yaml.safe_load((folder / "meltano.yml").read_text("utf-8"))["plugins"]["extractors"]
        for folder in (ROOT, EXAMPLE)
    )
    tested = {one["name"]: one.get("pip_url") for one in ours}["tap-warehouse-postgres"]
    assert [one["pip_url"] for one in theirs] == [tested]


def test_several_jobs_load_two_accounts_at_once(
    postgres: PostgresServer, start_sandbox: Any, tmp_path: Path
) -> None:
    accounts = {brand: start_sandbox(limits=True, latency=1) for brand in PEOPLE}
    ledger_url = postgres.url.replace("postgresql:", "postgresql+psycopg:")
    ledger_url = ledger_url.replace("/warehouse", "/ledger")
    orchestrator = Orchestrator(
        tmp_path,
        {
            "WAREHOUSE_URL": postgres.url,
            "LEDGER_URL": ledger_url,
            "ACTIVECAMPAIGN_DATA_PRIVACY_CONSENT": "true",
            **{f"{brand.upper()}_API_URL": one.url for brand, one in accounts.items()},
            **{f"{brand.upper()}_API_KEY": one.api_key for brand, one in accounts.items()},
        },
    )
    connections: list[int] = []
    with psycopg.connect(postgres.url, autocommit=True) as db:

        def watch() -> None:
            ours = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'ledger'"
            connections.extend(db.execute(ours).fetchone() or ())

        counts = orchestrator.run(watch)

    assert max(connections) <= CONNECTIONS_A_JOB * len(JOBS)
    assert counts["oslo"] == {"read": PEOPLE["oslo"], "added": PEOPLE["oslo"]}
    halves = [counts["riga-1"], counts["riga-2"]]
    assert all(half == {"read": half["read"], "added": half["read"]} for half in halves)
    assert sum(half["read"] for half in halves) == PEOPLE["riga"]
    assert min(half["read"] for half in halves) > PEOPLE["riga"] / 3
    for brand, count in PEOPLE.items():
        assert people_of(accounts[brand]) == {person(brand, number) for number in range(count)}
        assert accounts[brand].stats()["refusals"] == {}, "the jobs kept the account's limits"
    assert delivered(ledger_url) == {
        (accounts["oslo"].url, "segments-oslo"): PEOPLE["oslo"],
        (accounts["riga"].url, "segments-riga_1_of_2"): halves[0]["read"],
        (accounts["riga"].url, "segments-riga_2_of_2"): halves[1]["read"],
    }
    imports = [one.imports() for one in accounts.values()]

    again = orchestrator.run()

    assert again == {
        job: {"read": done["read"], "unchanged": done["read"]} for job, done in counts.items()
    }
    assert [one.imports() for one in accounts.values()] == imports
    assert all(one.stats()["refusals"] == {} for one in accounts.values())


# A list in parts


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Mirror:
    return Mirror(load, sandbox)


def test_a_mirror_may_be_in_parts_that_are_streams_of_their_own(mirror: Mirror) -> None:
    mirror("ada bob", "1 of 2")
    mirror("cyd dan", "2 of 2")
    mirror("ada", "1 of 2")
    assert mirror.members() == "ada cyd dan"


def test_parts_of_one_name_look_like_a_segment_that_all_have_left(mirror: Mirror) -> None:
    mirror.load.config["guards"] = {}
    mirror.load(whole("ada bob")).succeeded()
    second = mirror.load(whole("cyd dan"))
    assert second.code == 1
    assert "2 of 2 contacts would be removed" in second.log.splitlines()[-1]
    assert mirror.members() == "ada bob cyd dan"


def test_parts_that_are_cut_anew_are_sent_once_more_and_stay_ours(mirror: Mirror) -> None:
    mirror("ada bob", "1 of 2")
    mirror("cyd dan", "2 of 2")
    assert mirror("ada", "1 of 3").counts == {"read": 1, "added": 1}
    assert mirror("bob cyd", "2 of 3").counts == {"read": 2, "added": 2}
    assert mirror("dan", "3 of 3").counts == {"read": 1, "added": 1}
    mirror("bob", "2 of 3")
    assert mirror.members() == "ada bob cyd dan", "the old parts keep their people"
    for old in ("1 of 2", "2 of 2"):
        forget = ["target-activecampaign-ledger", "forget", "--stream", old, "--yes"]
        program = Path(sys.executable).with_name(forget[0])
        subprocess.run([program, *forget[1:]], cwd=mirror.load.folder, check=True)
    mirror("bob", "2 of 3")
    assert mirror.members() == "ada bob dan"
