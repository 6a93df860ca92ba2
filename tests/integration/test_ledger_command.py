"""`target-activecampaign-ledger`: show a ledger, and forget parts of it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.cli.ledger import main
from target_activecampaign.ledger import contact_hash
from target_activecampaign.ledger.schema import VERSION
from target_activecampaign.model.timings import Timings
from tests.support.guide import block
from tests.support.ledgers import LEDGER, SCHEMA, database, empty_database, ledger, run_in_progress
from tests.support.mirrors import Mirror, address, wait_for
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

SCRIPT = str(Path(sys.executable).with_name("target-activecampaign-ledger"))
LEDGER_URL = "TARGET_ACTIVECAMPAIGN_LEDGER_URL"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LEDGER_URL, raising=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / LEDGER}"
    return empty_database(request.getfixturevalue("postgres"))


@dataclass
class Done:
    """The result of a command."""

    code: int
    out: str
    err: str


def searched(done: Done) -> Done:
    """Search what was printed for addresses and tracebacks; returns the same."""
    printed = re.sub(r"//\S+", "", done.out + done.err)
    assert "@" not in printed
    assert "Traceback" not in printed
    return done


class Command:
    """The command, in the folder where the target runs; what it prints must hold no address.

    Args:
        folder: The folder.
        url: What the variable for the ledger's address holds; None for nothing.
        timings: The times to wait for the ledger.
    """

    def __init__(self, folder: Path, url: str | None, timings: Timings = Timings()) -> None:
        self._folder = folder
        self._timings = timings
        self._url = url

    def __call__(self, *arguments: str, stdin: str = "") -> Done:
        """Call what the console script calls."""
        out, err = io.StringIO(), io.StringIO()
        given = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self._folder)
            patch.setattr(sys, "stdin", given)
            for name, value in self._environment().items():
                patch.setenv(name, value)
            try:
                code: Any = main([*arguments], self._timings)
            except SystemExit as ended:
                code = ended.code
        return searched(Done(code, out.getvalue(), err.getvalue()))

    def as_script(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> Done:
        """Run the console script itself, on a terminal of this number."""
        done = subprocess.run(
            [SCRIPT, *arguments],
            stdin=stdin,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env={**os.environ, **self._environment()},
            timeout=60,
            check=False,
        )
        return searched(Done(done.returncode, done.stdout, done.stderr))

    def _environment(self) -> dict[str, str]:
        return {} if self._url is None else {LEDGER_URL: self._url}

    def json(self) -> dict[str, Any]:
        """What `show` says."""
        done = self("show", "--format=json")
        assert done.code == 0, done.err
        shown: dict[str, Any] = json.loads(done.out)
        return shown

    def connection(self) -> dict[str, Any]:
        """What it says of the only connection."""
        (connection,) = self.json()["connections"]
        return dict(connection)

    def people(self) -> dict[str, dict[str, int]]:
        """How many people of each kind there are, by stream."""
        return {
            segment["stream"]: {kind: count for kind, count in segment["people"].items() if count}
            for segment in self.connection()["segments"]
        }


@pytest.fixture
def command(tmp_path: Path, ledger_url: str) -> Command:
    """The command, told by its variable where the ledger is."""
    return Command(tmp_path, ledger_url)


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer, ledger_url: str) -> Mirror:
    load.config["ledger_url"] = ledger_url
    return Mirror(load, sandbox)


# show


def row_of(text: str, *start: str) -> list[str]:
    """Return the cells of the only row of a table that begins with some cells."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]
    (found,) = (row for row in rows if row[: len(start)] == list(start))
    return found


def test_show_counts_contacts_by_ownership_without_personal_data(
    mirror: Mirror, command: Command
) -> None:
    mirror.sandbox.prepare({"email": address("old"), "lists": {"1": 1}})
    mirror("ada bob cyd dan old")
    mirror.sandbox.opt_out(address("dan"), 1)
    mirror("ada bob dan old")
    some = [schema("more"), *people(3, "more"), record(address("ada"), "more"), state(1)]
    mirror.load(some, sync_mode="update_only", list_id=2).succeeded()

    shown = command.json()

    assert shown["form"] == VERSION
    assert shown["bytes"] > 10_000
    (connection,) = shown["connections"]
    assert connection["identity"] == mirror.sandbox.url
    assert [run["state"] for run in connection["runs"]] == ["finished"] * 3
    assert [run["outcome"] for run in connection["runs"]] == ["completed"] * 3
    counts = [{k: n for k, n in run["counts"].items() if n} for run in connection["runs"]]
    assert {"read": 4, "added": 1, "skipped": 3} in counts
    dates = [run[when] for run in connection["runs"] for when in ("started", "finished")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", date) for date in dates)
    assert connection["in_flight"] == []
    assert connection["existing"] == {"contacts": 5, "account_had": 5}
    more, profiles = connection["segments"]
    assert (more["stream"], more["list"], more["mirror"]) == ("more", 2, False)
    assert profiles == {
        "stream": "profiles",
        "list": 1,
        "mirror": True,
        "mark": None,
        "people": {
            "delivered": 0,
            "added_by_us": 2,
            "found_on_the_list": 1,
            "unsubscribed_by_us": 1,
            "opted_out": 1,
            "left_the_stream": 0,
        },
        "complete_pass": 2,
        "size": 4,
        "guard_tripped": False,
        "retries": 0,
        "loaded_by": None,
    }

    text = command("show").out
    assert f"(version {VERSION}, " in text
    owned = "2 added by us, 1 found on the list, 1 unsubscribed by us, 1 opted out"
    assert row_of(text, "profiles", "1") == ["profiles", "1", "yes", owned, "no. 2, 4 contacts"]
    # Runs of the same second have no order.
    rows = [row_of(text, run["id"]) for run in connection["runs"]]
    assert {row[1] for row in rows} == {"completed"}
    assert "4 read, 1 added, 3 skipped" in [row[-1] for row in rows]
    assert "5 contacts, complete when the account had 5" in text


def test_show_tells_run_in_progress_from_interrupted_one(
    sandbox: SandboxServer, load: ForkedTargetRunner, command: Command, ledger_url: str
) -> None:
    with run_in_progress(load, sandbox, ledger_url=ledger_url) as run:
        during = command.connection()
        text = command("show").out
    after = command.connection()

    (entry,) = during["runs"]
    assert (entry["state"], entry["process"]) == ("going on", run.pid)
    assert during["segments"][0]["loaded_by"] == entry["id"]
    assert f"being loaded by {entry['id']}" in text
    assert after["runs"][0]["state"] == "cut off"
    assert after["segments"][0]["loaded_by"] is None
    load([schema(), *people(10), state(1)], ledger_url=ledger_url).succeeded()
    assert {one["state"] for one in command.connection()["runs"]} == {"finished", "cut off"}


def test_show_has_outcome_of_run_that_ended_with_work_left(
    load: ForkedTargetRunner, command: Command, ledger_url: str
) -> None:
    failed = load([schema(), *people(3), "{cut off"], ledger_url=ledger_url)
    assert failed.report["outcome"] == "failed"

    (run,) = command.connection()["runs"]
    assert (run["state"], run["outcome"]) == ("unfinished", "failed")
    assert run["counts"]["read"] == 3
    row = row_of(command("show").out, run["id"], "failed")
    assert row[3:] == ["3 read, 3 added", "the next run resumes it"]

    load([schema(), *people(3), state(1)], ledger_url=ledger_url).succeeded()
    assert {one["state"] for one in command.connection()["runs"]} == {"finished", "unfinished"}
    row = row_of(command("show").out, run["id"], "failed")
    assert row[3:] == ["3 read, 3 added", "resumed by the next run"]


def test_show_has_imports_in_flight_tripped_guard_and_ledger_set_aside(
    mirror: Mirror, tmp_path: Path
) -> None:
    (tmp_path / LEDGER).write_bytes(b"no ledger" * 100)
    mirror.load.config["ledger_url"] = None
    mirror("ada bob cyd")
    stopped = mirror.load([schema(), record(address("ada")), state(1)], guards={"max_leave": 0},
                          complete_stream=True)  # fmt: skip
    assert stopped.code == 1
    command = Command(tmp_path, None)

    text = command("show").out

    assert f"Set aside as damaged, to be deleted: {LEDGER}.damaged-" in text
    assert "a guard has stopped a sync since" in text
    assert "In flight: nothing." in text


# Where the ledger is


def test_ledger_is_found_by_option_configuration_variable_or_default(
    sandbox: SandboxServer, load: TargetRunner, tmp_path: Path
) -> None:
    urls = {name: f"sqlite:///{name}.db" for name in ("option", "configuration", "variable")}
    for number, url in enumerate([*urls.values(), None], 1):
        load([schema(), *people(number), state(1)], ledger_url=url).succeeded()
    load.command(ledger_url=urls["configuration"])  # writes config.json

    def entries(command: Command, *arguments: str) -> int:
        done = command("show", "--format=json", *arguments)
        assert done.code == 0, done.err
        (segment,) = json.loads(done.out)["connections"][0]["segments"]
        return int(segment["people"]["delivered"])

    with_variable = Command(tmp_path, urls["variable"])
    assert entries(with_variable, "--ledger-url", urls["option"]) == 1
    assert entries(with_variable, "--config", "config.json") == 2
    assert entries(with_variable) == 3
    assert entries(Command(tmp_path, None)) == 4


@pytest.mark.parametrize("action", ["show", "vacuum", "forget --connection x --yes"])
def test_missing_ledger_is_an_error_and_is_not_created(
    command: Command, action: str, ledger_url: str, tmp_path: Path
) -> None:
    done = command(*action.split())

    assert done.code == 1
    assert done.err.startswith("target-activecampaign-ledger: There is no ledger at ")
    assert list(tmp_path.glob("*.db*")) == []
    if not ledger_url.startswith("sqlite"):
        with database(ledger_url) as db:
            schemas = db.exec_driver_sql("SELECT nspname FROM pg_namespace").scalars()
            assert SCHEMA not in schemas.all()


def test_empty_or_damaged_file_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / LEDGER).touch()
    done = Command(tmp_path, None)("show")
    assert (done.code, (tmp_path / LEDGER).stat().st_size) == (1, 0)
    (tmp_path / LEDGER).write_bytes(b"no ledger" * 100)
    done = Command(tmp_path, None)("show")
    assert done.code == 1
    assert "is damaged. The target's next run sets it aside" in done.err
    assert [path.name for path in tmp_path.iterdir()] == [LEDGER]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ledger-url", "postgresql+psycopg://ann:hush-hush@127.0.0.1:1/x"],
        ["--ledger-url", "postgresql+psycopg://ann:hush-hush@127.0.0.1:x/x"],
        ["--config", "bad.json"],
        ["--config", "worse.json"],
        ["--config", "missing.json"],
    ],
)
def test_unusable_ledger_or_configuration_is_one_line_without_password(
    tmp_path: Path, arguments: list[str]
) -> None:
    (tmp_path / "bad.json").write_text('{"ledger_url": ["hush-hush"]}')
    (tmp_path / "worse.json").write_text("hush-hush")

    impatient = Timings(ledger_patience_seconds=0.5)
    done = Command(tmp_path, None, impatient)("show", *arguments)

    assert done.code == 1
    assert "hush-hush" not in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["show", "--format=xml"],
        ["show", "--config", "config.json", "--ledger-url", "sqlite:///ledger.db"],
        ["forget", "--list", "one", "--yes"],
    ],
)
def test_usage_error_has_exit_code_2(tmp_path: Path, arguments: list[str]) -> None:
    done = Command(tmp_path, None)(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage: target-activecampaign-ledger" in done.err


@pytest.mark.parametrize("command", [[], ["show"], ["forget"], ["vacuum"]])
def test_help_needs_no_ledger(tmp_path: Path, command: list[str]) -> None:
    done = Command(tmp_path, None)(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert "--help" in done.out


# forget


def test_mirror_of_forgotten_list_records_a_baseline_and_removes_nobody(
    mirror: Mirror, command: Command
) -> None:
    mirror("ada bob cyd")
    mirror("ada bob", "others", list_id=2)

    done = command("forget", "--list", "1", "--yes")

    assert done.code == 0, done.err
    assert "profiles -> list 1, with 3 contacts" in done.out
    assert "delivers everything once more" in done.out
    assert command.people() == {"others": {"added_by_us": 2}}
    again = mirror("ada bob")
    assert again.counts == {"read": 2, "added": 2}
    assert "2 contacts recorded as the baseline" in again.log
    mirror("ada")
    assert mirror.members() == "ada bob cyd", "nobody proves that we added them"
    mirror("ada", "others", list_id=2)
    assert mirror.members(2) == "ada"


def test_contact_unsubscribed_by_us_is_not_resubscribed_once_forgotten(
    mirror: Mirror, command: Command
) -> None:
    mirror("ada bob")
    mirror("ada")
    assert command("forget", "--stream", "profiles", "--yes").code == 0

    outcome = mirror("ada bob")

    assert outcome.codes == {address("bob"): "OPTED_OUT"}
    assert mirror.members() == "ada"


def test_forgotten_stream_no_longer_keeps_contacts_on_the_list(
    mirror: Mirror, command: Command
) -> None:
    mirror("ada bob")
    mirror("bob", "closed")
    mirror("ada")
    assert mirror.members() == "ada bob"

    assert command("forget", "--stream", "closed", "--yes").code == 0

    mirror("ada")
    assert mirror.members() == "ada"


def test_stream_is_forgotten_by_its_name_in_another_unicode_form(
    mirror: Mirror, command: Command
) -> None:
    stream = "Clientèle"
    mirror("ada", unicodedata.normalize("NFD", stream))
    assert command("forget", "--stream", stream, "--yes").code == 0
    assert command.people() == {}


def test_connection_is_forgotten_with_all_its_rows(
    mirror: Mirror, command: Command, ledger_url: str
) -> None:
    mirror("ada bob cyd")
    mirror("ada", "others", list_id=2, sync_mode="create_only")
    with ledger(ledger_url) as db:
        key = db.exec_driver_sql("SELECT key FROM ledger").scalar()

    done = command("forget", "--connection", mirror.sandbox.url, "--yes")

    assert done.code == 0, done.err
    assert "its 2 segments" in done.out
    with ledger(ledger_url) as db:
        tables = ("account", "run", "import", "segment", "member", "existing")
        for table in (*tables, "opt_out", "opt_out_reading"):
            assert db.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0, table  # noqa: S608
        assert db.exec_driver_sql("SELECT key FROM ledger").scalar() == key
    assert "recorded as the baseline" in mirror("ada bob").log
    assert mirror.members() == "ada bob cyd"


def test_list_of_two_connections_needs_a_named_connection(mirror: Mirror, command: Command) -> None:
    mirror("ada bob cyd")
    other = mirror.sandbox.url.replace("127.0.0.1", "localhost")
    mirror("ada bob", api_url=other)

    done = command("forget", "--list", "1", "--yes")
    assert done.code == 1
    assert f"name one with --connection: {mirror.sandbox.url}, {other}." in done.err

    assert command("forget", "--list", "1", "--connection", other, "--yes").code == 0
    segments = {one["identity"]: one["segments"] for one in command.json()["connections"]}
    assert len(segments[mirror.sandbox.url]) == 1
    assert segments[other] == []


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("--list 9", "no such stream or list"),
        ("--list 2 --stream profiles", "no such stream or list"),
        ("--connection elsewhere", "no such connection. It has: http://127.0.0.1"),
    ],
)
def test_unknown_list_stream_or_connection_is_an_error(
    load: TargetRunner, command: Command, ledger_url: str, what: str, says: str
) -> None:
    load([schema(), *people(1), state(1)], ledger_url=ledger_url).succeeded()
    done = command("forget", *what.split(), "--yes")
    assert done.code == 1
    assert says in done.err


def test_nothing_is_forgotten_during_a_run(
    sandbox: SandboxServer, load: ForkedTargetRunner, command: Command, ledger_url: str
) -> None:
    ways: tuple[tuple[str, ...], ...] = (
        ("--person", "-"),
        ("--list", "1", "--yes"),
        ("--connection", sandbox.url, "--yes"),
    )
    with run_in_progress(load, sandbox, ledger_url=ledger_url):
        for way in ways:
            done = command("forget", *way, stdin="person3@example.com\n")
            assert done.code == 1
            assert "wait until it has ended" in done.err
        wait_for(lambda: command.people() == {"profiles": {"delivered": 10}})
    for way in ways:
        done = command("forget", *way, stdin="person3@example.com\n")
        assert done.code == 0, done.err


def test_forget_asks_on_a_terminal_and_needs_yes_elsewhere(
    load: TargetRunner, tmp_path: Path
) -> None:
    load([schema(), *people(3), state(1)]).succeeded()
    command = Command(tmp_path, None)

    done = command.as_script("forget", "--list", "1")
    assert done.code == 1
    assert "Use --yes. Nothing was forgotten." in done.err

    here, terminal = pty.openpty()
    try:
        for answer, code, left in (("", 1, 1), ("n", 1, 1), ("y", 0, 0)):
            os.write(here, f"{answer}\n".encode())
            done = command.as_script("forget", "--list", "1", stdin=terminal)
            assert done.code == code
            assert "profiles -> list 1, with 3 contacts" in done.out
            assert len(command.people()) == left
    finally:
        os.close(here)
        os.close(terminal)


def test_import_in_flight_does_not_restore_a_forgotten_stream(
    start_sandbox: Any, target_for: Any, command: Command, ledger_url: str
) -> None:
    """Not even if a new stream has its number."""
    sandbox = start_sandbox(latency=1)
    load = target_for(sandbox)
    kill_in_flight(load, sandbox, ledger_url)
    assert command.connection()["in_flight"][0]["contacts"] == 10
    assert "1 import with 10 contacts" in command("show").out

    assert command("forget", "--stream", "profiles", "--yes").code == 0
    load([schema("new"), record("new@example.com", "new"), state(1)], ledger_url=ledger_url)

    assert command.people() == {"new": {"delivered": 1}}


def kill_in_flight(load: ForkedTargetRunner, sandbox: SandboxServer, ledger_url: str) -> None:
    """Kill a mirror run when ActiveCampaign has accepted its import."""
    run = load.start(
        checkpoint_seconds=0.1, ledger_url=ledger_url, sync_mode="mirror", complete_stream=True
    )
    run.feed([schema(), *people(10)])
    wait_for(lambda: len(sandbox.requests(path="/api/3/import/info")) > 0)
    run.kill()
    run.wait()


# forget --person


def traces(folder: Path, *texts: bytes) -> int:
    """Return the number of times that texts are in the ledger's files."""
    contents = [path.read_bytes() for path in folder.glob(f"{LEDGER}*")]
    return sum(content.count(text) for content in contents for text in texts)


def hash_of(url: str, identity: str, person: str) -> bytes:
    with ledger(url) as db:
        key = bytes(db.exec_driver_sql("SELECT key FROM ledger").scalar_one())
    return contact_hash(key, identity, person)


def test_person_is_forgotten_everywhere_and_nobody_else_is(
    mirror: Mirror, command: Command, ledger_url: str
) -> None:
    names = "ada bob cyd"
    other = mirror.sandbox.url.replace("127.0.0.1", "localhost")
    mirror(names)
    mirror(names, "others", list_id=2)
    mirror(names, api_url=other)
    mirror(names, "index", list_id=3, sync_mode="update_only")

    done = command("forget", "--person", "-", stdin=" Ada@Example.COM\n")

    assert done.code == 0, done.err
    places = (
        "(segments: 4, contact indexes: 1, opt-outs: 0, imports in flight: 0, rejected records: 0)"
    )
    assert f"in 5 places {places}" in done.out
    for connection in command.json()["connections"]:
        assert all(sum(one["people"].values()) == 2 for one in connection["segments"])
    first = command.json()["connections"][0]
    assert first["existing"]["contacts"] == 2
    again = command("forget", "--person", "-", stdin="ada@example.com\n")
    assert (again.code, again.out[:21]) == (0, "Forgotten in 0 places")
    outcome = mirror(names)
    assert outcome.counts["unchanged"] == 2, "the source has the person still"


def test_opt_outs_are_shown_and_forgotten(mirror: Mirror, command: Command) -> None:
    for name in ("dan", "eve"):
        mirror.sandbox.prepare({"email": address(name), "opt_outs": {"1": {}, "2": {}}})
    mirror.sandbox.prepare({"email": address("fay"), "lists": {"1": 3}})
    mirror("ada bob")
    mirror("ada", "others", list_id=2)
    before = command.json()["connections"][0]["refused_by_lists"]
    assert [(one["list"], one["opted_out"], one["bounced"]) for one in before] == [
        (1, 2, 1),
        (2, 2, 0),
    ]
    assert "List 1: 2 opted out, 1 bounced, read 20" in command("show").out
    assert "opt-outs: 2," in command("forget", "--person", "-", stdin=address("dan")).out
    assert command("forget", "--list", "2", "--yes").code == 0
    (left,) = command.json()["connections"][0]["refused_by_lists"]
    assert (left["list"], left["opted_out"]) == (1, 1)
    assert command("forget", "--stream", "profiles", "--yes").code == 0
    assert command.json()["connections"][0]["refused_by_lists"] == []


def test_forgotten_person_leaves_no_trace_in_the_files(
    load: TargetRunner, sandbox: SandboxServer, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / LEDGER}"
    mirror = Mirror(load, sandbox)
    crowd = " ".join(f"p{number}" for number in range(1_000))
    mirror(f"{crowd} ada", batch_size_rows=50)
    mirror(crowd, batch_size_rows=50)
    mirror(f"{crowd} ada", batch_size_rows=50)
    mirror("ada", "index", list_id=2, sync_mode="update_only")
    ada = [b"ada@example.com", hash_of(url, sandbox.url, "ada@example.com")]
    p500 = [b"p500@example.com", hash_of(url, sandbox.url, "p500@example.com")]
    assert traces(tmp_path, ada[0]) > 0
    assert traces(tmp_path, ada[1]) > 1

    done = Command(tmp_path, None)("forget", "--person", "-", stdin="ada@example.com")

    assert done.code == 0, done.err
    assert traces(tmp_path, *ada) == 0
    assert traces(tmp_path, p500[0]) > 0
    assert traces(tmp_path, p500[1]) > 1


def test_address_of_removed_contact_is_deleted(
    load: TargetRunner, sandbox: SandboxServer, tmp_path: Path
) -> None:
    mirror = Mirror(load, sandbox)
    mirror("ada bob")
    mirror("ada")

    assert Command(tmp_path, None)("vacuum").code == 0

    assert traces(tmp_path, b"ada@example.com") > 0
    assert traces(tmp_path, b"bob@example.com") == 0
    mirror("ada bob")
    mirror("ada")
    assert mirror.members() == "ada", "back, and gone again"


def test_person_in_flight_is_forgotten(
    start_sandbox: Any, target_for: Any, command: Command, ledger_url: str, tmp_path: Path
) -> None:
    sandbox = start_sandbox(latency=1)
    load = target_for(sandbox)
    kill_in_flight(load, sandbox, ledger_url)
    person = b"person3@example.com"
    hashed = hash_of(ledger_url, sandbox.url, person.decode())

    done = command("forget", "--person", "-", stdin=person.decode())

    assert "(segments: 0, contact indexes: 0, opt-outs: 0, imports in flight: 1, " in done.out
    assert command.connection()["in_flight"][0]["contacts"] == 9
    assert traces(tmp_path, person, hashed) == 0
    mirror = {"sync_mode": "mirror", "complete_stream": True, "ledger_url": ledger_url}
    outcome = load([schema(), *people(10)[4:], state(1)], **mirror).succeeded()
    assert outcome.counts == {"read": 6, "unchanged": 6}
    assert command.people() == {"profiles": {"added_by_us": 9}}
    assert traces(tmp_path, person, hashed) == 0


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (["--person", "ada@example.com"], "", 2),
        (["--person=ada@example.com"], "", 2),
        (["--person", "-", "--list", "1"], "ada@example.com", 2),
        (["--person", "-"], "", 1),
        (["--person", "-"], "ada", 1),
        (["--person", "-"], "ada@example.com\nbob@example.com\n", 1),
        ([], "", 2),
    ],
)
def test_address_is_read_from_standard_input_only_and_never_printed(
    load: TargetRunner, tmp_path: Path, arguments: list[str], stdin: str, code: int
) -> None:
    load([schema(), record("ada@example.com"), state(1)]).succeeded()
    command = Command(tmp_path, None)

    done = command("forget", *arguments, stdin=stdin)

    assert done.code == code
    assert "ada" not in done.out + done.err
    assert command.people() == {"profiles": {"delivered": 1}}


def test_forget_person_names_files_set_aside(load: TargetRunner, tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_bytes(b"no ledger" * 100)
    load([schema(), record("ada@example.com"), state(1)]).succeeded()

    done = Command(tmp_path, None)("forget", "--person", "-", stdin="ada@example.com")

    assert f"may hold the person too, delete them: {LEDGER}.damaged-" in done.out


# vacuum


def test_vacuum_leaves_other_tables_of_a_shared_database_alone(
    sandbox: SandboxServer, load: TargetRunner, postgres: PostgresServer
) -> None:
    url = empty_database(postgres)
    load([schema(), *people(3), state(1)], ledger_url=url).succeeded()
    place = "SELECT pg_relation_filenode('theirs'), pg_relation_filenode(:ours)"
    place = place.replace(":ours", f"'{SCHEMA}.member'")
    with database(url) as db:
        db.exec_driver_sql("CREATE TABLE theirs (id INTEGER)")
        theirs, ours = db.exec_driver_sql(place).one()

    done = Command(load.folder, url)("vacuum")

    assert done.code == 0, done.err
    assert re.fullmatch(r"[\d.]+ kB before, [\d.]+ kB now\.\n", done.out)
    with database(url) as db:
        after = db.exec_driver_sql(place).one()
    assert after[0] == theirs
    assert after[1] != ours


# suppress and unsuppress


def loaded(mirror: Mirror) -> None:
    """Load ada, bob and cyd into a list that is no mirror."""
    mirror.load.config.update(sync_mode="upsert")
    mirror.load.config["guards"] = {"max_consent_loss_pct": None}
    mirror("ada bob cyd")


def sha256_of(name: str) -> str:
    return hashlib.sha256(address(name).encode()).hexdigest()


def test_suppressed_people_are_not_sent_until_that_is_lifted(
    mirror: Mirror, command: Command
) -> None:
    loaded(mirror)
    given = f"\ufeff {address('BOB')}\r\n\n{sha256_of('dee').upper()}\n{sha256_of('bob')}"

    done = command("suppress", "-", stdin=given)

    assert (done.code, done.err) == (0, "")
    assert "2 new, 1 known already, 0 invalid" in done.out
    assert command.connection()["suppressed"] == 2
    assert "Suppressed: 2 people." in command("show").out
    mirror("ada bob cyd dee")
    assert mirror.members() == "ada cyd"
    again = command("suppress", "-", stdin=f"{address('bob')}\n{address('cyd')}\n")
    assert "1 new, 1 known already, 0 invalid" in again.out
    mirror("ada bob cyd dee")
    assert mirror.members() == "ada"

    lifted = command(
        "unsuppress", "-", stdin=f"{sha256_of('bob')}\n{address('dee')}\n{address('eve')}"
    )

    assert lifted.code == 0
    assert "No longer suppressed" in lifted.out
    assert ": 2. Not suppressed before: 1. Invalid: 0." in lifted.out
    mirror("ada bob cyd dee")
    assert mirror.members() == "ada bob dee"


def test_commands_of_the_guide(mirror: Mirror, ledger_url: str) -> None:
    loaded(mirror)
    folder = mirror.load.folder
    (folder / "do-not-mail.txt").write_text(f"{address('bob')}\n{address('cyd')}\n")
    (folder / "may-be-mailed-again.txt").write_text(sha256_of("cyd"))

    done = subprocess.run(
        ["sh", "-ec", block("consent.md", "suppress")],
        cwd=folder,
        env={**os.environ, LEDGER_URL: ledger_url, "PATH": f"{Path(SCRIPT).parent}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    mirror("ada bob cyd")
    assert mirror.members() == "ada cyd"


def test_invalid_lines_are_named_by_their_number_and_the_others_count(
    mirror: Mirror, command: Command
) -> None:
    loaded(mirror)
    bad = ["nobody", address("bob"), "", "x" * 10_000, "abc123", address("cyd"), "two words"]

    done = command("suppress", "-", stdin="\n".join(bad))

    assert done.code == 1
    assert "2 new, 0 known already, 4 invalid" in done.out
    assert done.err.strip().endswith("line 1, 4, 5, 7.")
    assert "nobody" not in done.out + done.err
    many = command("unsuppress", "-", stdin="bad\n" * 30)
    assert many.code == 1
    assert "and 10 more." in many.err
    mirror("ada bob cyd")
    assert mirror.members() == "ada"


def test_person_given_as_an_argument_is_not_quoted(command: Command) -> None:
    done = command("suppress", address("bob"))

    assert done.code == 2
    assert "For a file: target-activecampaign-ledger suppress - < FILE" in done.err
    assert address("bob") not in done.err


def test_suppress_needs_one_connection_and_no_run_in_progress(
    mirror: Mirror,
    command: Command,
    load: ForkedTargetRunner,
    sandbox: SandboxServer,
    ledger_url: str,
) -> None:
    assert command("suppress", "-", stdin=address("bob")).code == 1
    loaded(mirror)
    (identity,) = [one["identity"] for one in command.json()["connections"]]
    with ledger(ledger_url) as db:
        db.exec_driver_sql("INSERT INTO account (identity, index_reading) VALUES ('another', 0)")

    done = command("suppress", "-", stdin=address("bob"))

    assert done.code == 1
    assert "Name one with --connection" in done.err
    named = command("suppress", "-", "--connection", identity, stdin=address("bob"))
    assert named.code == 0
    assert "no such connection" in command("suppress", "-", "--connection", "x", stdin="").err
    with run_in_progress(load, sandbox):
        busy = command("suppress", "-", "--connection", identity, stdin=address("ada"))
    assert busy.code == 1
    assert "in progress" in busy.err


def test_forgotten_person_stays_suppressed_and_leaves_all_the_same(
    mirror: Mirror, command: Command
) -> None:
    loaded(mirror)
    command("suppress", "-", stdin=address("bob"))

    done = command("forget", "--person", "-", stdin=address("bob"))

    assert done.code == 0
    assert "stays suppressed" in done.out
    mirror("ada bob cyd")
    assert mirror.members() == "ada cyd"
    other = command("forget", "--person", "-", stdin=address("ada"))
    assert "stays suppressed" not in other.out


def test_forgotten_connection_loses_its_suppressions(mirror: Mirror, command: Command) -> None:
    loaded(mirror)
    command("suppress", "-", stdin=address("dee"))

    done = command("forget", "--connection", command.connection()["identity"], "--yes")

    assert "1 suppressed people" in done.out
    assert "No suppression is left" in done.out
    mirror("ada dee")
    assert "dee" in mirror.members()


def test_forgotten_stream_does_not_keep_suppressed_people_on_the_list(
    mirror: Mirror, command: Command
) -> None:
    loaded(mirror)
    mirror("cyd", stream="others")
    command("suppress", "-", stdin=address("bob"))
    command("forget", "--stream", "profiles", "--yes")

    mirror("cyd", stream="others")

    assert mirror.members() == "ada cyd"


def test_many_people_are_suppressed_at_once(mirror: Mirror, command: Command) -> None:
    loaded(mirror)
    given = "\n".join(f"q{number}@example.com" for number in range(5_000))

    done = command("suppress", "-", stdin=f"{given}\n{address('bob')}")

    assert "5,001 new" in done.out
    mirror("ada bob cyd")
    assert mirror.members() == "ada cyd"
