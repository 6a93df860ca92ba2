"""`dry_run` and `--dry-run`: what a run would do, while nothing is sent and everything stays."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from target_activecampaign.account.account import QUESTIONS_AT_ONCE
from target_activecampaign.config.settings import Settings
from target_activecampaign.ledger.schema import VERSION
from target_activecampaign.preview.client import PreviewClient
from target_activecampaign.preview.preview import Calls, seconds_at_limits
from tests.support.api_stub import ApiStub, Reply
from tests.support.ledgers import LEDGER, SCHEMA, database, empty_database, run_in_progress
from tests.support.mirrors import UNSUBSCRIBED, Mirror, mirrored, wait_for, whole
from tests.support.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
FIELDS = {"tier": "string", "city": "string", "birthday": "string"}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the target keeps what is temporary."""
    tempfile.gettempdir()  # of this process, which remembers it, it stays
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def preview(load: ForkedTargetRunner, sandbox: SandboxServer, temporary: Path) -> Preview:
    return Preview(load, sandbox, temporary)


class Preview:
    """Previews runs, and sees each time that everything is as it was."""

    def __init__(self, load: ForkedTargetRunner, sandbox: SandboxServer, temporary: Path) -> None:
        self.load = load
        self.sandbox = sandbox
        self.temporary = temporary

    def __call__(self, messages: list[Any], code: int = 0, **settings: Any) -> Outcome:
        before = self._everything(settings)
        asked = len(self.sandbox.requests())
        outcome = self.load(messages, **{"dry_run": True, **settings})
        methods = {one["method"] for one in self.sandbox.requests()[asked:]}
        assert outcome.code == code, outcome.log
        assert methods <= {"GET"}
        assert outcome.states == []
        assert self._everything(settings) == before
        assert list(self.temporary.iterdir()) == []
        assert outcome.report["dry_run"] is True
        return outcome

    def then_run(self, messages: list[Any], **settings: Any) -> tuple[dict[str, Any], Outcome]:
        """What a preview tells, and the run that it stands for, which came to the same."""
        told = self(messages, **settings).report
        run = self.load(messages, **settings).succeeded()
        for name in ("counts", "left", "refused"):
            assert told[name] == run.report[name], name
        streams = {name: run.report["streams"][name].get("mirror") for name in told["streams"]}
        assert streams == {name: one.get("mirror") for name, one in told["streams"].items()}
        calls = told["preview"]["calls"]
        assert calls["imports"] + calls["single_imports"] == run.report["imports"]
        # Imports may be asked about more than once.
        assert calls["total"] <= run.report["requests"]
        assert told["imports"] == 0
        return told, run

    def _everything(self, settings: dict[str, Any]) -> Any:
        url = settings.get("ledger_url", "")
        ledger = _rows(url) if url.startswith("postgresql") else _dump(self.load.folder / LEDGER)
        files = sorted(path.name for path in self.load.folder.iterdir())
        made = {"rejects", "reports", "config.json"}
        state = self.sandbox.export(), self.sandbox.get("/api/3/fields")["fields"]
        return state, ledger, [name for name in files if name not in made]


def _dump(path: Path) -> list[str]:
    """All rows of a SQLite ledger."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        return list(db.iterdump())


def _rows(url: str) -> dict[str, list[Any]]:
    """All rows of a ledger on PostgreSQL."""
    with database(url) as db:
        names = sa.inspect(db).get_table_names(schema=SCHEMA)
        found = {}
        for name in names:
            rows = db.execute(sa.select(sa.text("*")).select_from(sa.table(name, schema=SCHEMA)))
            found[name] = sorted(map(str, rows))
        return found


# The figures are those of the run


MIXED = [
    schema(),
    *people(3),
    record("person7@example.com", first_name="New name"),
    record("person8@example.com", first_name="New name"),
    record("later@example.com", first_name="Early"),
    record("later@example.com", first_name="Late"),
    record("nobody"),
    state(2),
]


@pytest.mark.parametrize("mode", ["upsert", "update_only", "create_only"])
def test_a_preview_tells_what_the_run_then_does(preview: Preview, mode: str) -> None:
    preview.load([schema(), *people(10), state(1)]).succeeded()

    told, run = preview.then_run(MIXED, sync_mode=mode)

    assert run.states[-1] == 2
    assert told["counts"]["read"] == 8
    assert told["preview"]["counts"]["refused"] == 1
    kinds = {
        "upsert": {"added": 1, "changed": 2, "unchanged": 3, "merged": 1},
        "update_only": {"changed": 2, "unchanged": 3, "skipped": 1, "merged": 1},
        "create_only": {"added": 1, "skipped": 5, "merged": 1},
    }
    counts = told["preview"]["counts"]
    assert {name: n for name, n in counts.items() if n and name != "refused"} == kinds[mode]


def test_a_first_preview_makes_no_ledger(preview: Preview) -> None:
    outcome = preview([schema(), *people(600)])
    assert "3 imports, about 12 requests. Nothing was sent." in outcome.log
    assert outcome.counts == {"read": 600, "added": 600}
    assert outcome.report["preview"]["calls"]["imports"] == 3
    assert not (preview.load.folder / LEDGER).exists()


def test_the_last_line_says_that_nothing_was_sent(preview: Preview) -> None:
    log = preview([schema(), *people(2), record("nobody")], imports_per_minute=0.5).log
    assert "Preview, stream 'profiles': 2 would be added, 1 would be rejected." in log
    (line,) = [one for one in log.splitlines() if "completed: 3 read" in one]
    assert "3 read, would be 2 added + 1 invalid; 1 import, about 8 requests" in line
    assert "about 120 s at the account's limits. Nothing was sent." in line


@pytest.mark.parametrize(
    ("calls", "limits", "seconds"),
    [
        (Calls(100, 0, 0, 0, 0), (5, 100, 20), 60),
        (Calls(10, 10, 0, 0, 0), (5, 100, 20), 30),
        (Calls(10, 1, 11, 8, 71), (5, 100, 20), 21),
        (Calls(10, 10, 10, 10, 10), (0, 0, 0), 0),
        (Calls(10, 10, 10, 10, 11), (0, 0, 60), 10),
    ],
)
def test_the_time_is_that_of_the_limit_which_takes_longest(
    calls: Calls, limits: tuple[float, float, float], seconds: int
) -> None:
    names = ("requests_per_second", "imports_per_minute", "single_imports_per_minute")
    settings = Settings.from_config(dict(zip(names, limits, strict=True)))
    assert seconds_at_limits(calls, settings) == seconds


# Mirrors


def test_a_mirror_tells_who_would_leave_and_who_would_come_back(preview: Preview) -> None:
    mirror = Mirror(preview.load, preview.sandbox)
    mirror("ada bob cy")
    mirror("ada cy")
    assert mirror.members(status=UNSUBSCRIBED) == "bob"

    told, _ = preview.then_run(whole("ada bob"))

    assert told["left"] == told["preview"]["counts"]["left"] == 1
    assert told["preview"]["counts"]["brought_back"] == 1
    assert mirror.members() == "ada bob"
    lists = {
        (one["kind"], field["old"], field["new"])
        for one in told["samples"]["changes"]
        for field in one["fields"]
        if field["destination"] == "list 1"
    }
    assert lists == {
        ("leaving", "subscribed", "unsubscribed"),
        ("changed", "unsubscribed", "subscribed"),
    }


@pytest.mark.parametrize(
    "how",
    [
        {"on_leave": "tag", "tags": ["segment"]},
        {"on_leave": "field", "membership_field": "In segment"},
        {"on_leave": "nothing"},
    ],
    ids=lambda how: how["on_leave"],
)
def test_each_way_of_leaving_is_previewed(preview: Preview, how: dict[str, Any]) -> None:
    mirror = Mirror(preview.load, preview.sandbox)
    first, _ = preview.then_run(whole("ada bob"), **how)
    assert len(first["preview"]["new_fields"]) == (how["on_leave"] == "field")
    assert first["samples"]["new_tags"] == how.get("tags", [])
    mirror("ada bob", **how)

    told, _ = preview.then_run(whole("ada"), **how)

    assert told["left"] == 1
    assert first["left"] == 0


def test_a_guard_holds_back_in_a_preview_too(preview: Preview) -> None:
    mirror = Mirror(preview.load, preview.sandbox)
    mirror("ada bob cy dan")

    outcome = preview(whole("ada bob"), code=1, guards={"max_leave": 1})

    assert "guards.max_leave: 1" in outcome.log
    assert mirrored(outcome)["kind"] == "guard"
    assert outcome.report["preview"]["counts"]["held_back"] == 2
    assert outcome.report["left"] == 0
    assert preview.load(whole("ada bob"), guards={"max_leave": 1}).code == 1


# What would be made


def test_fields_options_and_tags_that_would_be_made_are_told(preview: Preview) -> None:
    sizes = {"type": "string", "enum": ["small", "large"]}
    messages = [
        schema(size=sizes, tier="string"),
        record(ADA, size="small", tier="Diamond"),
        record("bob@example.com", size="large", tier="Diamond"),
        record("cy@example.com", size="large", tier="Gold"),
    ]

    told, _ = preview.then_run(
        messages, unmapped_properties="create", on_unknown_option="add", tags=["fresh"]
    )

    assert told["preview"]["new_fields"] == [{"title": "Size", "type": "dropdown"}]
    assert told["preview"]["new_options"] == {"Tier": 1}
    assert told["preview"]["calls"]["others"] == 4
    assert told["samples"]["new_tags"] == ["fresh"]
    assert told["streams"]["profiles"]["mapping"]["size"]["destination"] == "%SIZE%"


def test_a_field_that_several_streams_share_would_be_made_once(preview: Preview) -> None:
    told, run = preview.then_run(
        [
            schema("a", loyalty_club="string"),
            record(ADA, "a", loyalty_club="gold"),
            schema("b", loyalty_club="string", shoe_size="number"),
            record("bob@example.com", "b", loyalty_club="none", shoe_size=41),
        ],
        unmapped_properties="create",
    )
    assert [one["title"] for one in told["preview"]["new_fields"]] == ["Loyalty club", "Shoe size"]
    assert run.report["streams"]["b"]["mapping"].keys() == told["streams"]["b"]["mapping"].keys()


def test_tags_of_records_are_masked_and_those_of_settings_are_not(preview: Preview) -> None:
    settings: dict[str, Any] = {"field_mapping": {"manager": "tags"}, "tags": ["staff"]}
    messages = [schema(manager="string"), record(ADA, manager="Herbert Miller")]
    masked = preview(messages, **settings).report["samples"]["new_tags"]
    assert sorted(masked) == ["H•••", "staff"]
    in_full = preview(messages, **settings, report_personal_data=True).report["samples"]["new_tags"]
    assert sorted(in_full) == ["Herbert Miller", "staff"]


def test_the_log_says_of_nothing_that_it_was_done(preview: Preview) -> None:
    messages = [schema(size="string"), record(ADA, size="small")]
    log = preview(messages, unmapped_properties="create").log
    for what in ("Created the custom field 'Size'", "Stream 'profiles' goes to list 1"):
        assert f"| Preview: {what}" in log


# Old and new values


@pytest.fixture
def known(preview: Preview) -> Preview:
    """Ada was delivered; bob is in the account by another's doing."""
    values: dict[str, Any] = {
        "tier": "Silver",
        "city": "Ghent",
        "birthday": "1990-05-31",
        "lifetime_value": 10,
    }
    preview.load([schema(**FIELDS), record(ADA, first_name="Ada", **values)]).succeeded()
    preview.sandbox.prepare({"email": "bob@example.com", "first_name": "Bob"})
    return preview


CHANGED = [
    schema(**FIELDS),
    record(ADA, first_name="Ada", tier="Gold", city="Namur", birthday="1990-05-31"),
    record("bob@example.com", first_name="Robert"),
    record("new@example.com", first_name="New"),
]


def test_old_and_new_values_of_a_sample_are_in_the_report(known: Preview) -> None:
    outcome = known(CHANGED, report_personal_data=True)
    assert outcome.report["samples"]["changes"] == [
        {
            "stream": "profiles",
            "kind": "changed",
            "person": ADA,
            "fields": [
                {"destination": "%CITY%", "old": "Ghent", "new": "Namur"},
                {"destination": "%TIER%", "old": "Silver", "new": "Gold"},
            ],
        },
        {
            "stream": "profiles",
            "kind": "added",
            "person": "bob@example.com",
            "fields": [{"destination": "first_name", "old": "Bob", "new": "Robert"}],
        },
    ]
    values = "%CITY% (1), %TIER% (1), first_name (1)"
    assert f"Preview, stream 'profiles': changed values in the sample: {values}." in outcome.log
    for value in ("Gold", "Namur", "Robert"):
        assert value not in outcome.log


def test_people_are_masked_unless_the_setting_shows_them(known: Preview) -> None:
    outcome = known(CHANGED)
    ada, bob = outcome.report["samples"]["changes"]
    assert (ada["person"], bob["person"]) == ("a•••@e•••.com", "b•••@e•••.com")
    assert ada["fields"] == [
        {"destination": "%CITY%", "old": "G•••", "new": "N•••"},
        {"destination": "%TIER%", "old": "Silver", "new": "Gold"},
    ]
    assert bob["fields"] == [{"destination": "first_name", "old": "B•••", "new": "R•••"}]


@pytest.mark.parametrize(("in_full", "shown"), [(False, "a•••@e•••.com"), (True, ADA)])
def test_the_page_has_a_section_of_its_own(known: Preview, in_full: bool, shown: str) -> None:
    outcome = known(CHANGED, report_personal_data=in_full)
    reports = known.load.folder / "reports"
    page = (reports / f"run-{outcome.report['run_id']}.html").read_text("utf-8")
    for text in ("<h1>Preview ", "Nothing was sent", "<td>Silver</td><td>Gold</td>", shown):
        assert text in page
    assert (ADA in page) is in_full
    assert "completed (preview)" in (reports / "index.html").read_text("utf-8")


def test_a_value_in_another_spelling_is_no_change(preview: Preview) -> None:
    fields: dict[str, Any] = {"lifetime_value": "number", "interests": {"type": "array"}}
    preview.sandbox.prepare(
        {
            "email": ADA,
            "first_name": "Ada",
            "fields": {"LIFETIME_VALUE": "10.00", "INTERESTS": "||Tea||Coffee||"},
        }
    )
    outcome = preview(
        [
            schema(**fields),
            record(ADA, first_name="Ada", lifetime_value=10, interests=["Coffee", "Tea"]),
        ]
    )
    assert outcome.counts == {"read": 1, "added": 1}
    assert outcome.report["samples"]["changes"] == []


@pytest.mark.parametrize(
    ("tag", "kind", "old", "new"),
    [
        ("LAST_SEEN", "string", "2024-05-31T18:30:00+02:00", "2024-05-31T16:30:00Z"),
        ("BIRTHDAY", "string", "1990-05-31 00:00:00", "1990-05-31"),
        ("LIFETIME_VALUE", "number", "-3.50", -3.5),
    ],
)
def test_dates_and_numbers_are_compared_by_what_they_mean(
    preview: Preview, tag: str, kind: str, old: str, new: Any
) -> None:
    preview.sandbox.prepare({"email": ADA, "fields": {tag: old}})
    messages = [schema(**{tag: kind}), record(ADA, **{tag: new})]
    assert preview(messages).report["samples"]["changes"] == []
    preview.sandbox.prepare({"email": ADA, "fields": {tag: ""}})
    (change,) = preview(messages).report["samples"]["changes"]
    assert [one["destination"] for one in change["fields"]] == [f"%{tag}%"]


def test_what_is_only_written_where_it_is_empty_is_no_change(known: Preview) -> None:
    outcome = known(CHANGED, only_if_empty=["first_name", "TIER"])
    (change,) = outcome.report["samples"]["changes"]
    assert [one["destination"] for one in change["fields"]] == ["%CITY%"]
    known.then_run(CHANGED, only_if_empty=["first_name", "TIER"])


def test_at_most_twenty_people_are_asked_about(preview: Preview) -> None:
    preview.load([schema(), *people(30)]).succeeded()
    changed = [record(f"person{n}@example.com", first_name="Other") for n in range(30)]
    outcome = preview([schema(), *changed])
    assert len(outcome.report["samples"]["changes"]) == 20
    assert outcome.counts == {"read": 30, "changed": 30}


# Nothing leaves


def test_a_write_that_is_not_simulated_raises() -> None:
    class Careless(PreviewClient):
        def delete(self) -> None:
            self._call("DELETE", "/contacts/1", lambda _: None)

    with ApiStub(Reply()) as api, Careless(api.url, "key") as client:
        with pytest.raises(RuntimeError, match="must not send"):
            client.delete()
        assert api.asked == []


def test_the_webhook_is_not_told(preview: Preview) -> None:
    with ApiStub(Reply()) as hook:
        preview([schema(), *people(2)], on_complete_webhook=f"{hook.url}/hook")
        assert hook.asked == []


def test_reject_files_of_previews_are_not_taken_for_those_of_runs(preview: Preview) -> None:
    outcome = preview([schema(), record("nobody")])
    assert outcome.reject_files == [], "`rejects/*.jsonl` has those of runs alone"
    (path,) = (outcome.folder / "rejects" / "preview").iterdir()
    assert outcome.report["reject_files"] == {"profiles": f"rejects/preview/{path.name}"}
    assert '"_reject_code":"EMAIL_INVALID"' in path.read_text("utf-8")


def test_a_threshold_ends_a_preview_as_it_would_the_run(preview: Preview) -> None:
    outcome = preview([schema(), record("nobody"), record("no one")], code=1, max_rejects=1)
    assert outcome.report["outcome"] == "failed"
    assert outcome.report["counts"]["invalid"] == 2


def test_the_embedded_sandbox_makes_no_file(load: ForkedTargetRunner, temporary: Path) -> None:
    outcome = load([schema(), *people(2)], sandbox=True, dry_run=True).succeeded()
    assert outcome.counts == {"read": 2, "added": 2}
    left = {path.name for path in load.folder.iterdir()} - {temporary.name}
    assert left == {"config.json", "rejects", "reports"}


# Ways to say so


def test_the_option_does_what_the_setting_does(
    preview: Preview, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_ACTIVECAMPAIGN_DRY_RUN", "false")
    load, data = preview.load, lines([schema(), *people(2), state(1)])
    done = subprocess.run(
        [*load.command(dry_run=False), "--config=ENV", "--dry-run"],
        input=data,
        capture_output=True,
        cwd=load.folder,
        timeout=60,
        check=False,
    )
    outcome = load.outcome(done.returncode, done.stdout, done.stderr, data).succeeded()
    assert outcome.report["dry_run"] is True
    assert outcome.states == []
    assert preview.sandbox.export() == []


def test_a_variable_does_what_the_setting_does(
    preview: Preview, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**preview.load.config, "dry_run": "true"}
    for name, value in config.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"TARGET_ACTIVECAMPAIGN_{name.upper()}", text)
    command, *_ = preview.load.command()
    done = subprocess.run(
        [command, "--config=ENV"],
        input=lines([schema(), *people(2), state(1)]),
        capture_output=True,
        cwd=preview.load.folder,
        env=dict(os.environ),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == b""
    assert preview.sandbox.export() == []


def test_it_is_no_test(load: ForkedTargetRunner) -> None:
    done = subprocess.run(
        [*load.command(), "--test", "--dry-run"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert b"Only one of --dry-run, --test, --verify and --facts" in done.stderr


# The ledger


def test_what_an_earlier_run_left_in_flight_is_asked_about_and_stays(preview: Preview) -> None:
    with run_in_progress(preview.load, preview.sandbox):
        pass
    told, _ = preview.then_run([schema(), *people(12)])
    assert told["counts"]["added"] + told["counts"]["unchanged"] == 12


def test_a_ledger_in_use_is_copied_as_it_is(preview: Preview) -> None:
    with run_in_progress(preview.load, preview.sandbox):
        outcome = preview.load([schema("others"), *people(5, "others")], dry_run=True)
    assert outcome.succeeded().counts == {"read": 5, "added": 5}


def test_a_signal_deletes_the_copy(preview: Preview) -> None:
    run = preview.load.start(dry_run=True)
    run.feed([schema(), *people(2)])
    wait_for(lambda: list(preview.temporary.glob("*/ledger.db")) != [])
    (copy,) = preview.temporary.glob("*/ledger.db")
    assert copy.stat().st_mode & 0o777 == 0o600
    run.kill(signal.SIGTERM)
    outcome = run.wait()
    assert outcome.code == 128 + signal.SIGTERM
    assert outcome.states == []
    assert list(preview.temporary.iterdir()) == []
    assert preview.sandbox.export() == []


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_ends_the_questions_about_people(preview: Preview, signals: int) -> None:
    preview.load([schema(), *people(20)]).succeeded()
    contacts = {"method": "GET", "path": "/api/3/contacts"}
    preview.sandbox.fault("slow", match=contacts, seconds=3 if signals == 1 else 30)
    changed = [record(f"person{n}@example.com", first_name="Other") for n in range(20)]
    run = preview.load.start([schema(), *changed], dry_run=True)
    wait_for(lambda: preview.sandbox.faults()[0]["seen"] >= 1)
    run.kill(signal.SIGTERM)
    if signals == 2:
        time.sleep(2.2)  # within two seconds, both are one
        run.kill(signal.SIGTERM)
    outcome = run.wait(timeout=20)
    assert outcome.code == 128 + signal.SIGTERM
    assert preview.sandbox.faults()[0]["seen"] <= 2 * QUESTIONS_AT_ONCE
    assert list(preview.temporary.iterdir()) == []


def test_another_programs_database_is_told_by_its_own_place(preview: Preview) -> None:
    path = preview.load.folder / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE orders (id)")
    outcome = preview([schema(), *people(1)], code=1, ledger_url=f"sqlite:///{path}")
    assert f"The database at {path} belongs to another program" in outcome.log


@pytest.mark.parametrize("damage", ["whole", "part"])
def test_a_damaged_ledger_stays_and_the_preview_begins_anew(preview: Preview, damage: str) -> None:
    # Of a file without a trace of a ledger, only the default's name tells that it was one.
    name = f"own/{LEDGER}" if damage == "whole" else "other.db"
    path = preview.load.folder / name
    url = f"sqlite:///{path}"
    preview.load([schema(), *people(3)], ledger_url=url).succeeded()
    intact = path.read_bytes()
    path.write_bytes((b"" if damage == "whole" else intact[:100]) + b"garbage " * 2000)
    before = path.read_bytes()

    outcome = preview([schema(), *people(3)], ledger_url=url)

    assert outcome.counts == {"read": 3, "added": 3}
    assert [f"The ledger at {path} is DAMAGED" in one for one in outcome.warnings] == [True]
    assert path.read_bytes() == before


def test_a_ledger_on_postgresql_is_only_read(preview: Preview, postgres: PostgresServer) -> None:
    url = empty_database(postgres)
    preview([schema(), *people(3)], ledger_url=url)
    with database(url) as db:
        assert not sa.inspect(db).has_schema(SCHEMA)
    preview.load([schema(), *people(3)], ledger_url=url).succeeded()

    told, _ = preview.then_run(
        [schema(), *people(2), record("person2@example.com", first_name="New")], ledger_url=url
    )

    assert told["preview"]["counts"]["unchanged"] == 2
    assert told["preview"]["counts"]["changed"] == 1


def copied(preview: Preview, rows: str) -> int:
    """How many rows the copy of the ledger has while a preview goes on."""
    for copy in preview.temporary.glob("*/ledger.db"):
        with (
            closing(sqlite3.connect(copy.absolute())) as db,
            contextlib.suppress(sqlite3.OperationalError),  # as long as it is being made
        ):
            return int(db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])  # noqa: S608
    return 0


def test_of_a_shared_ledger_only_the_accounts_rows_are_copied(
    preview: Preview,
    postgres: PostgresServer,
    start_sandbox: Callable[..., SandboxServer],
) -> None:
    url = empty_database(postgres)
    other = start_sandbox()
    preview.load([schema(), *people(7)], ledger_url=url, api_url=other.url).succeeded()
    preview.load([schema(), *people(3)], ledger_url=url).succeeded()

    run = preview.load.start(dry_run=True, ledger_url=url)
    run.feed([schema(), *people(4)])
    wait_for(lambda: copied(preview, "run WHERE finished IS NULL") == 1)

    assert copied(preview, "account") == 1
    assert copied(preview, "member") == 3
    assert run.wait().succeeded().counts == {"read": 4, "added": 1, "unchanged": 3}


def test_ledger_of_another_version_on_postgresql_is_refused_and_stays(
    preview: Preview, postgres: PostgresServer
) -> None:
    url = empty_database(postgres)
    preview.load([schema(), *people(3)], ledger_url=url).succeeded()
    with database(url) as db:
        db.exec_driver_sql(f"UPDATE {SCHEMA}.ledger SET version = 1")  # noqa: S608 - constant
    outcome = preview([schema(), *people(3)], code=1, ledger_url=url)
    assert f"(its tables have version 1, this one needs {VERSION})" in outcome.log.splitlines()[-1]
    with database(url) as db:
        version = f"SELECT version FROM {SCHEMA}.ledger"  # noqa: S608 - constant
        assert db.exec_driver_sql(version).scalar() == 1
