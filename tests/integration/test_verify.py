"""`--verify` settles open facts on an account, leaves nothing behind, and runs heed what it saw."""

from __future__ import annotations

import json
import os
import pty
import random
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from target_activecampaign.model.facts import BY_NAME, FACTS
from tests.support.guide import block
from tests.support.ledgers import LEDGER, ledger
from tests.support.target_runner import people, record, schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ACCOUNT: dict[str, Any] = {
    "limits": True,
    "requests_per_second": 0,
    "multi_imports_per_minute": 0,
    "single_imports_per_minute": 0,
    "latency": 0.02,
    "false_status": 0,
}
"""A sandbox that is quick, and refuses imports that are too large."""

FLIPS = {
    "index_base": ("0",),
    "bad_email": ("drop",),
    "failure_reasons": ("first",),
    "too_many": ("accept", "truncate"),
    "too_large": ("accept",),
    "unknown_batch": ("empty", "not_found", "false"),
    "success_lists": ("all",),
    "queued_contacts": ("accepted",),
    "same_person_twice": ("last", "first"),
    "opted_out": ("update", "subscribe"),
    "opted_out_without_list": ("skip",),
    "unsubscribe_stranger": ("ignore",),
    "resubscribe_with_sourceid": ("no",),
    "resubscribe_without_sourceid": ("no",),
    "sdate_on_reactivation": ("keep",),
    "udate_on_reactivation": ("clear",),
    "membership_updates_contact": ("yes",),
    "empty_name": ("keep",),
    "empty_phone": ("keep",),
    "empty_field": ("keep",),
    "option_case": ("ignore",),
    "unknown_option": ("drop", "refuse"),
    "emoji": ("replace", "cut"),
    "longest_value": ("1000", "10000"),
    "unrelated_field": ("hide", "not_found"),
    "split_tags": ("yes",),
    "tag_case": ("exact",),
    "rename_contact": ("refuse",),
    "rename_opted_out": ("refuse",),
    "large_limit": ("honour", "refuse"),
    "listid_alone": ("active",),
    "ids_filter": ("ignored",),
    "include": ("no",),
    "exclusions": ("no",),
}
"""The sandbox's switches that a verification finds, with their other choices."""

USUAL = {
    "unsubscribe_stranger": "record",
    "resubscribe_without_sourceid": "yes",
    "sdate_on_reactivation": "renew",
    "option_case": "exact",
    "unknown_option": "store",
    "listid_alone": "any",
    "include": "yes",
    "queued_contacts": "sent",
    "clock_offset": "0",
}
"""What the sandbox does by default where the target assumes nothing, or the names differ."""

STRANGERS = [
    {
        "email": f"stranger{number}@example.com",
        "first_name": "Zoe",
        "phone": "+4915112345678",
        "lists": {"1": 1 + number % 3},
        "tags": ["Customer"],
    }
    for number in range(150)
]


class Verifier:
    """Runs `--verify` for a sandbox."""

    def __init__(self, sandbox: SandboxServer, load: TargetRunner) -> None:
        self.sandbox = sandbox
        self.load = load

    def command(self, *arguments: str, **settings: Any) -> list[str]:
        return [*self.load.command(**settings), "--verify", "--yes", *arguments]

    def __call__(self, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        given = arguments if "--verify-list" in arguments else ("--verify-list", "1", *arguments)
        done = subprocess.run(
            self.command(*given, **settings),
            capture_output=True,
            text=True,
            cwd=self.load.folder,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert self.load.config["api_key"] not in done.stdout + done.stderr
        return done

    def seen(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run it, and return what it has seen by fact."""
        done = self("--format", "json", *arguments)
        assert done.returncode == code, done.stderr
        result = json.loads(done.stdout)
        assert result["ok"] is (code == 0)
        assert [one["name"] for one in result["facts"]] == [one.name for one in FACTS]
        return {one["name"]: one["seen"] for one in result["facts"]}

    def account(self) -> dict[str, Any]:
        """Everything that the account shows, as far as a verification might touch it."""
        pages = [self.sandbox.get("/api/3/contacts", limit=100, offset=n) for n in (0, 100, 200)]
        names = ("lists", "fields", "tags")
        shown: dict[str, Any] = {n: self.sandbox.get(f"/api/3/{n}", limit=100)[n] for n in names}
        return {"contacts": [page["contacts"] for page in pages], **shown}


@pytest.fixture
def verifier_for(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
) -> Callable[..., Verifier]:
    """A verifier for an account of its own, with some switches flipped."""

    def make(**switches: Any) -> Verifier:
        sandbox = start_sandbox(**{**ACCOUNT, **switches})
        sandbox.prepare(*STRANGERS)
        return Verifier(sandbox, target_for(sandbox))

    return make


def expected(**flipped: str) -> dict[str, str]:
    """What is seen of each fact that a switch stands for."""
    return {name: flipped.get(name) or USUAL.get(name) or BY_NAME[name].assumed for name in FLIPS}


def consequences(flipped: dict[str, str], seen: dict[str, Any]) -> dict[str, Any]:
    """Take out what can't be seen with the given switches."""
    hidden = set()
    if flipped.get("opted_out") == "subscribe":
        hidden |= {"queued_contacts"}  # nobody is skipped
    if flipped.get("bad_email") == "drop":
        hidden |= {"index_base", "failure_reasons"}
    if not {"resubscribe_with_sourceid", "resubscribe_without_sourceid"} - flipped.keys():
        hidden |= {"sdate_on_reactivation", "udate_on_reactivation"}
    if flipped.get("rename_contact") == "refuse":
        hidden |= {"rename_opted_out"}
    return {name: value for name, value in seen.items() if name in FLIPS and name not in hidden}


def code_for(flipped: dict[str, str]) -> int:
    """The exit code: 1 if something differs that the target can't adapt to."""
    undoes_opt_outs = flipped.get("opted_out") == "subscribe"
    return int(undoes_opt_outs or any(not BY_NAME[name].adapts for name in flipped))


# What is found


def test_usual_account_is_as_assumed_and_stays_as_it_was(
    verifier_for: Callable[..., Verifier], tmp_path: Path
) -> None:
    verify = verifier_for()
    verify.sandbox.prepare(
        {"email": "tac-verify-0123abcd-1@example.com", "first_name": "A", "last_name": "Person"},
        {"email": "tac-verify-of-mine@example.com", "first_name": "Another"},
    )
    before = verify.account()
    seen = verify.seen("--record", str(tmp_path / "recordings"))
    assert {name: seen[name] for name in FLIPS} == expected()
    assert seen["clock_offset"] == "0"
    assert float(seen["latency"]) < 5
    assert seen["single_imports_per_minute"] is None
    assert verify.account() == before
    assert len(verify.sandbox.imports()) <= 60
    check_recordings(tmp_path / "recordings", verify.load.config["api_key"])


def check_recordings(folder: Path, key: str) -> None:
    """See that recordings hold neither the key nor anything of the account's people."""
    files = sorted(folder.glob("*.json"))
    assert len(files) > 100
    text = "".join(one.read_text("utf-8") for one in files)
    for other in (
        key,
        "stranger",
        "Zoe",
        "127.0.0.1",
        "Customer",
        "Newsletter",
        "Person",
        "4915112345678",
    ):
        assert other not in text
    first = json.loads(files[0].read_text("utf-8"))
    assert first.keys() == {"request", "response"}
    assert all(one.stat().st_mode & 0o077 == 0 for one in files)


def combinations(count: int, seed: int) -> list[dict[str, str]]:
    """Flip switches: the first times all of them, to each choice once, and then by chance."""
    most = max(map(len, FLIPS.values()))
    every = [
        {name: choices[n] for name, choices in FLIPS.items() if n < len(choices)}
        for n in range(most)
    ]
    rng = random.Random(seed)
    by_chance = [
        {name: rng.choice(choices) for name, choices in FLIPS.items() if rng.random() < 0.4}
        for _ in range(count)
    ]
    return every + by_chance


COMBINATIONS = combinations(
    int(os.environ.get("VERIFY_COMBINATIONS", "0")), int(os.environ.get("VERIFY_SEED", "1"))
)
if "VERIFY_EACH" in os.environ:
    COMBINATIONS = [{name: choice} for name, choices in FLIPS.items() for choice in choices]


@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
def test_flipped_switches_are_found_and_a_run_delivers_all_the_same(
    verifier_for: Callable[..., Verifier], number: int
) -> None:
    flipped = COMBINATIONS[number]
    verify = verifier_for(**flipped)
    before = verify.account()
    seen = verify.seen(code=code_for(flipped))
    assert consequences(flipped, seen) == consequences(flipped, expected(**flipped))
    assert verify.account() == before
    verify.load([schema(), *people(7)]).succeeded()
    names = {one["email"]: one["first_name"] for one in verify.sandbox.export()}
    for one in people(7):
        assert names[one["record"]["email"]] == one["record"]["first_name"]


def test_contradictions_clock_and_zone_are_told(verifier_for: Callable[..., Verifier]) -> None:
    verify = verifier_for(index_base="alternating", clock_offset=-90, time_zone="Asia/Kolkata")
    done = verify()
    assert done.returncode == 0, done.stderr
    rows = {one.split()[0]: one for one in done.stdout.splitlines()}
    assert "could not tell" in rows["index_base"]
    assert "contradict each other" in rows["index_base"]
    assert abs(int(rows["clock_offset"].split()[1]) + 90) <= 1
    assert rows["time_zone"].split()[1] == "+05:30"


def test_limit_of_single_imports_is_found_only_if_asked_for(
    verifier_for: Callable[..., Verifier],
) -> None:
    verify = verifier_for(single_imports_per_minute=7)
    assert verify.seen("--limits")["single_imports_per_minute"] == "7"
    assert sum(one["contacts"] == 1 for one in verify.sandbox.imports()) == 7


# What is left alone, and what is removed


def test_list_is_made_if_asked_for_and_removed(verifier_for: Callable[..., Verifier]) -> None:
    verify = verifier_for()
    before = verify.account()
    missing = verify("--verify-list", "Experiments")
    assert missing.returncode == 1
    assert "the account has no such list" in missing.stderr
    _, *options = shlex.split(block("verify.md", "verify"))
    assert options[:3] == ["--config", "config.json", "--verify"]
    for _ in range(2):
        seen = verify.seen(*options[3:])
        assert {name: seen[name] for name in FLIPS} == expected()
    assert verify.account() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_after_cleaning_up(
    verifier_for: Callable[..., Verifier], number: signal.Signals
) -> None:
    verify = verifier_for(latency=1)
    before = verify.account()
    process = started(verify)
    wait_for_imports(verify, 3)
    process.send_signal(number)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Stopped. What the verification had made was removed." in log.splitlines()[-1]
    assert verify.account() == before


@pytest.mark.parametrize("kills", [int(os.environ.get("VERIFY_KILLS", "2"))])
def test_next_one_removes_what_a_killed_one_has_left(
    verifier_for: Callable[..., Verifier], kills: int
) -> None:
    verify = verifier_for(latency=0.3)
    before = verify.account()
    rng = random.Random(int(os.environ.get("VERIFY_SEED", "1")))
    for _ in range(kills):
        process = started(verify)
        wait_for_imports(verify, len(verify.sandbox.imports()) + 1)
        time.sleep(rng.uniform(0, 4))
        process.kill()
        process.communicate()
    done = verify()
    assert done.returncode == 0, done.stderr
    assert "Removed what an earlier verification had left" in done.stderr
    assert verify.account() == before


def started(verify: Verifier) -> subprocess.Popen[str]:
    return subprocess.Popen(
        verify.command("--verify-list", "1"),
        cwd=verify.load.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_imports(verify: Verifier, count: int) -> None:
    until = time.monotonic() + 30
    while len(verify.sandbox.imports()) < count:
        assert time.monotonic() < until
        time.sleep(0.05)


# What runs do with it


def test_what_was_seen_is_kept_and_shown(verifier_for: Callable[..., Verifier]) -> None:
    verify = verifier_for(index_base="0")
    nothing = facts(verify)
    assert nothing.stdout.strip() == "Nothing is known of this account: run --verify."
    verify.seen()
    before = len(verify.sandbox.requests())
    shown = facts(verify)
    assert next(one for one in shown.stdout.splitlines() if one.startswith("index_base "))
    known = json.loads(facts(verify, "--format", "json").stdout)
    assert known["index_base"]["seen"] == "0"
    assert len(verify.sandbox.requests()) == before


def test_facts_of_an_account_that_the_ledger_lacks_leave_it_as_it_is(load: TargetRunner) -> None:
    load([schema(), *people(1)]).succeeded()
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        db.execute(sa.text("UPDATE account SET identity = 'another'"))
    command = [*load.command(), "--facts"]
    shown = subprocess.run(
        command, capture_output=True, text=True, cwd=load.folder, check=True, timeout=60
    )
    assert shown.stdout.strip() == "Nothing is known of this account: run --verify."
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        assert [*db.execute(sa.text("SELECT identity FROM account")).scalars()] == ["another"]


def facts(verify: Verifier, *arguments: str) -> subprocess.CompletedProcess[str]:
    _, *options = shlex.split(block("verify.md", "facts"))
    assert options == ["--config", "config.json", "--facts"]
    command = [*verify.load.command(), "--facts", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=verify.load.folder, check=True, timeout=60
    )


def test_sandbox_behaves_as_the_account_did(
    verifier_for: Callable[..., Verifier], tmp_path: Path
) -> None:
    flipped = {name: choices[-1] for name, choices in FLIPS.items()}
    told = [{"name": name, "seen": seen} for name, seen in expected(**flipped).items()]
    others = [{"name": "latency", "seen": "0.1"}, {"name": "time_zone", "seen": "+05:30"}]
    file = tmp_path / "account.json"
    file.write_text(json.dumps({"facts": [*told, *others]}), "utf-8")
    command = shlex.split(block("verify.md", "sandbox"))
    assert command[:2] == ["activecampaign-sandbox", "--facts"]
    again = verifier_for(facts=file)
    result = json.loads(again("--format", "json").stdout)
    seen = {one["name"]: one["seen"] for one in result["facts"]}
    assert consequences(flipped, seen) == consequences(flipped, expected(**flipped))
    assert seen["time_zone"] == "+05:30"


def know(load: TargetRunner, **values: str) -> None:
    """Let the ledger know facts of the account, as from a verification."""
    load([schema(), *people(1)]).succeeded()
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        db.execute(sa.text("DELETE FROM fact"))
        for name, value in values.items():
            assert value in BY_NAME[name].values
            row = {"name": name, "value": value, "seen": time.time()}
            db.execute(sa.text("INSERT INTO fact VALUES (1, :name, :value, :seen)"), row)


def test_refused_import_costs_less_once_the_base_is_known(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
) -> None:
    sandbox = start_sandbox(index_base="0")
    load = target_for(sandbox)
    # Addresses that are good by the book, so that only ActiveCampaign finds fault with them.
    sandbox.prepare(malformed=("person30@example.com", "person50@example.com"))
    costs = []
    for known, count in (({}, 40), ({"index_base": "0"}, 60)):
        know(load, **known)
        before = len(sandbox.requests(path="/api/3/import/bulk_import", method="POST"))
        messages = [schema(), *people(count)[count - 20 :]]
        outcome = load(messages, retry_rejected=False).succeeded()
        assert outcome.codes[f"person{count - 10}@example.com"] == "REFUSED_BY_IMPORT"
        after = len(sandbox.requests(path="/api/3/import/bulk_import", method="POST"))
        costs.append(after - before)
    assert costs[1] < costs[0]
    assert costs[1] == 2  # the refused import, and the rest


@pytest.mark.parametrize(
    ("fact", "name"),
    [("empty_name", "first_name"), ("empty_phone", "phone"), ("empty_field", "Lead Source")],
)
def test_clearing_stops_the_run_where_it_is_known_not_to_work(
    load: TargetRunner, fact: str, name: str
) -> None:
    know(load, **{fact: "keep"})
    own = {"properties": {"email": {"type": "string"}, name: {"type": ["string", "null"]}}}
    values: dict[str, Any] = {"email": "ada@example.com", name: None}
    messages = [
        {"type": "SCHEMA", "stream": "profiles", "schema": own, "key_properties": ["email"]},
        {"type": "RECORD", "stream": "profiles", "record": values},
    ]
    for preview in (True, False):
        outcome = load(messages, null_policy="clear", dry_run=preview)
        assert outcome.code == 1
        last = outcome.log.splitlines()[-1]
        assert "'null_policy' is 'clear', but this account keeps a value" in last
        assert "run --verify again" in last
    load(messages, null_policy="keep").succeeded()
    know(load, **{fact: "clear"})
    load(messages, null_policy="clear").succeeded()


def test_opt_outs_are_read_by_changes_where_that_is_known_to_work(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    know(load, membership_updates_contact="yes")
    load([schema(), *people(3)]).succeeded()
    queries = [one["query"] for one in sandbox.requests(path="/api/3/contacts")]
    assert "updated_after" in queries[-1]
    load([schema(), *people(4)], opt_outs_update_contacts=False).succeeded()
    again = [one["query"] for one in sandbox.requests(path="/api/3/contacts")]
    assert not any("updated_after" in one for one in again[len(queries) :])


def test_pages_are_larger_where_that_is_known_to_work(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
) -> None:
    sandbox = start_sandbox(large_limit="honour")
    gone = [{"email": f"gone{n}@example.com", "lists": {"1": 2}} for n in range(450)]
    load = target_for(sandbox)
    know(load, large_limit="honour")
    sandbox.prepare(*gone)
    known = [record("gone3@example.com"), record("gone449@example.com")]
    outcome = load([schema(), *known], opt_out_refresh_days=0).succeeded()
    assert outcome.codes == dict.fromkeys(("gone3@example.com", "gone449@example.com"), "OPTED_OUT")
    queries = (one["query"] for one in sandbox.requests(path="/api/3/contacts"))
    reading = [one for one in queries if "status=2" in one and "limit=200" in one]
    assert len(reading) == 3


def test_opted_out_contacts_are_not_renamed_where_that_is_known_not_to_work(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
) -> None:
    sandbox = start_sandbox(rename_opted_out="refuse")
    load = target_for(sandbox)
    own = {"properties": {"id": {"type": "integer"}, "email": {"type": "string"}}}
    head = {"type": "SCHEMA", "stream": "rows", "schema": own, "key_properties": ["id"]}

    def row(email: str) -> dict[str, Any]:
        return {"type": "RECORD", "stream": "rows", "record": {"id": 1, "email": email}}

    know(load, rename_opted_out="refuse")
    settings = {"person_key": True, "opt_out_refresh_days": 7}
    load([head, row("ada@example.com")], **settings).succeeded()
    sandbox.opt_out("ada@example.com", 1)
    outcome = load([head, row("ada@new.example.com")], **settings).succeeded()
    assert outcome.counts["rejected"] == 1
    assert not [one for one in sandbox.requests() if one["method"] == "PUT"]


def test_old_facts_are_told(sandbox: SandboxServer, load: TargetRunner) -> None:
    know(load, index_base="1")
    sandbox.advance(200 * 86_400)
    outcome = load([schema(), *people(1)]).succeeded()
    assert any("more than 180 days ago: run --verify again" in one for one in outcome.warnings)
    quiet = load([schema(), *people(2)], facts_max_age_days=365).succeeded()
    assert quiet.warnings == []


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--verify",), "--verify needs --verify-list"),
        (("--verify", "--verify-list", "1"), "add --yes where nobody can answer"),
        (("--verify", "--test", "--verify-list", "1"), "Only one of"),
        (("--verify", "--verify-list", "1", "--verify-domain", "two words"), "must be a domain"),
        (("--facts", "--format", "markdown"), "support only --format json"),
    ],
)
def test_misuse_is_told(load: TargetRunner, arguments: tuple[str, ...], says: str) -> None:
    done = subprocess.run(
        [*load.command(), *arguments],
        capture_output=True,
        text=True,
        cwd=load.folder,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", ["y", "n"])
def test_person_is_asked_before_it_begins(
    verifier_for: Callable[..., Verifier], answer: str
) -> None:
    verify = verifier_for()
    mine, theirs = pty.openpty()
    os.write(mine, f"{answer}\n".encode())
    done = subprocess.run(
        [*verify.load.command(), "--verify", "--verify-list", "1"],
        stdin=theirs,
        capture_output=True,
        text=True,
        cwd=verify.load.folder,
        check=False,
        timeout=120,
    )
    os.close(theirs)
    os.close(mine)
    assert "It creates up to 40 contacts at example.com in up to 60 imports" in done.stderr
    assert done.returncode == (0 if answer == "y" else 1)
    assert bool(verify.sandbox.requests()) is (answer == "y")


def test_rejected_key_is_told_in_one_line(load: TargetRunner) -> None:
    done = subprocess.run(
        [*load.command(api_key="another-key"), "--verify", "--verify-list", "1", "--yes"],
        capture_output=True,
        text=True,
        cwd=load.folder,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "key" in done.stderr.splitlines()[-1]
