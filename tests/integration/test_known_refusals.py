"""What ActiveCampaign would refuse is known before it is sent: opt-outs, bounces and exclusions."""

from __future__ import annotations

import json
import random
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import block
from tests.support.ledgers import LEDGER, empty_database, ledger
from tests.support.mirrors import (
    ACTIVE,
    DAY_SECONDS,
    UNSUBSCRIBED,
    Mirror,
    address,
    whole,
)
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA, BOB, CYD, DAN, EVE = (address(name) for name in ("ada", "bob", "cyd", "dan", "eve"))
BOUNCED = 3
CONTACTS, EXCLUSIONS = "/api/3/contacts", "/api/3/lists/exclusions"
SEES: dict[str, Any] = {
    "latency": 0.02,
    "false_status": 0,
    "membership_updates_contact": "yes",
}


def records(*emails: str, name: str = "New") -> list[dict[str, Any]]:
    return [schema(), *(record(email, first_name=name) for email in emails)]


def readings(sandbox: SandboxServer, status: int = UNSUBSCRIBED) -> list[str]:
    """The queries of requests for the contacts with a status on a list."""
    queries = (one["query"] for one in sandbox.requests(path=CONTACTS))
    return [one for one in queries if f"status={status}" in one and "ids" not in one]


def checks(sandbox: SandboxServer) -> list[str]:
    """The queries of requests that check if known contacts are still opted out."""
    queries = (one["query"] for one in sandbox.requests(path=CONTACTS))
    return [query for query in queries if "ids" in query]


def sent(sandbox: SandboxServer) -> int:
    """The number of contacts that were sent in imports."""
    return sum(one["contacts"] for one in sandbox.imports())


class Rejects:
    """Reads the codes of one run's rejects, by address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[Path] = set()

    def __call__(self) -> dict[str, str]:
        files = {*(self._folder / "rejects").rglob("*.jsonl")}
        new, self._seen = files - self._seen, files
        lines = [line for path in new for line in path.read_text("utf-8").splitlines()]
        rejected = [one["record"] for one in map(json.loads, lines) if one["type"] == "RECORD"]
        return {one["email"]: one["_reject_code"] for one in rejected}


@pytest.fixture
def rejects(load: ForkedTargetRunner) -> Rejects:
    return Rejects(load.folder)


# Rejecting


def test_known_refusals_are_rejected_before_an_import_is_spent(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare(
        {"email": ADA, "lists": {"1": UNSUBSCRIBED}},
        {"email": BOB.title(), "lists": {"1": BOUNCED}, "bounced": True},
        {"email": CYD, "lists": {"2": UNSUBSCRIBED}},
        excluded=(DAN, "@blocked.example", {"match_phrase": EVE, "lists": [2]}),
    )
    messages = records(ADA, BOB, CYD, DAN, EVE, "eve@blocked.example")
    outcome = load(messages).succeeded()
    assert outcome.codes == {
        ADA: "OPTED_OUT",
        BOB: "BOUNCED",
        DAN: "EXCLUDED",
        "eve@blocked.example": "EXCLUDED",
    }
    assert outcome.counts == {"read": 6, "added": 2, "rejected": 4}
    assert sent(sandbox) == 2
    assert len(sandbox.requests(path=EXCLUSIONS)) == 1
    again = load(messages).succeeded()
    assert again.counts == {"read": 6, "unchanged": 2, "rejected": 4}
    assert sent(sandbox) == 2
    assert (len(readings(sandbox)), len(readings(sandbox, BOUNCED))) == (1, 1)


@pytest.mark.parametrize("channel", ["all", "allEmail", "allSms", "several"])
def test_channel_of_an_exclusion_counts(
    sandbox: SandboxServer, load: ForkedTargetRunner, channel: str
) -> None:
    sandbox.prepare(excluded=({"match_phrase": ADA, "channel": channel, "lists": [1]},))
    outcome = load(records(ADA, BOB)).succeeded()
    assert outcome.codes == ({} if channel == "allSms" else {ADA: "EXCLUDED"})
    assert sent(sandbox) == 2 - len(outcome.codes)


def test_exclusions_that_cannot_be_read_are_left_to_the_import(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare(excluded=(ADA,))
    sandbox.fault("permission", match={"path": EXCLUSIONS})
    outcome = load(records(ADA, BOB)).succeeded()
    assert outcome.codes == {ADA: "NOT_CREATED"}
    assert "exclusion list can't be read" in outcome.warnings[0]


def test_unchanged_records_cost_no_request(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    load(records(ADA, BOB)).succeeded()
    sandbox.opt_out(ADA, 1)
    before = len(sandbox.requests())
    outcome = load(records(ADA, BOB), opt_out_refresh_days=0).succeeded()
    assert outcome.counts == {"read": 2, "unchanged": 2}
    paths = [one["path"] for one in sandbox.requests()[before:]]
    assert CONTACTS not in paths
    assert EXCLUSIONS not in paths


def test_opt_out_since_the_last_reading_is_refused_once_and_then_known(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects
) -> None:
    sandbox.prepare({"email": BOB, "bounced": True})
    load(records(CYD)).succeeded()
    sandbox.opt_out(ADA, 1)
    for contacts in (3, 3):
        load(records(ADA, BOB)).succeeded()
        assert rejects() == {ADA: "OPTED_OUT", BOB: "BOUNCED"}
        assert sent(sandbox) == contacts
    assert len(readings(sandbox)) == 1


# Reading


def test_everything_is_read_again_after_the_refresh_days(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects
) -> None:
    sandbox.prepare(*({"email": one, "lists": {"1": UNSUBSCRIBED}} for one in (ADA, BOB)))
    load(records(ADA, BOB)).succeeded()
    for days, count in ((6, 1), (1, 2)):
        sandbox.advance(days * DAY_SECONDS)
        load(records(ADA, BOB)).succeeded()
        assert rejects().keys() == {ADA, BOB}
        assert len(readings(sandbox)) == count


def test_contact_that_subscribes_again_is_accepted_at_once(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects
) -> None:
    sandbox.prepare(*({"email": one, "lists": {"1": UNSUBSCRIBED}} for one in (ADA, BOB)))
    load(records(ADA, BOB, CYD)).succeeded()
    sandbox.opt_out(CYD, 1)  # learnt from a refusal
    load(records(ADA, BOB, CYD, name="Newer")).succeeded()
    assert rejects() == dict.fromkeys((ADA, BOB, CYD), "OPTED_OUT")
    sandbox.resubscribe(ADA, 1)
    sandbox.resubscribe(CYD, 1)
    again = records(ADA, BOB, CYD, name="Newer")
    preview = load(again, dry_run=True).succeeded()
    assert preview.counts == {"read": 3, "added": 1, "changed": 1, "rejected": 1}
    outcome = load(again).succeeded()
    assert rejects() == {BOB: "OPTED_OUT"}
    assert outcome.counts == {"read": 3, "added": 1, "changed": 1, "rejected": 1}
    assert {one: sandbox.contacts()[one]["first_name"] for one in (ADA, CYD)} == {
        ADA: "Newer",
        CYD: "Newer",
    }
    assert load(again).succeeded().counts == {"read": 3, "unchanged": 2, "rejected": 1}


def test_checks_of_opt_outs_are_limited(sandbox: SandboxServer, load: ForkedTargetRunner) -> None:
    known = [f"old{number}@example.com" for number in range(1100)]
    sandbox.prepare(*({"email": one, "lists": {"1": UNSUBSCRIBED}} for one in known))
    assert load(records(*known)).succeeded().counts == {"read": 1100, "rejected": 1100}
    assert checks(sandbox) == [], "they have just been read"
    before = len(sandbox.requests())
    assert load(records(*known)).succeeded().counts == {"read": 1100, "rejected": 1100}
    assert len(checks(sandbox)) == 10
    assert len(sandbox.requests()) - before < 30
    assert sent(sandbox) == 0


@pytest.mark.parametrize("changes", [True, False])
def test_in_between_only_changed_contacts_are_read_where_an_opt_out_is_a_change(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
    changes: bool,
) -> None:
    sandbox = start_sandbox(**SEES)
    old = ({"email": f"old{n}@example.com", "lists": {"1": UNSUBSCRIBED}} for n in range(450))
    sandbox.prepare(*old, {"email": ADA, "lists": {"1": ACTIVE}})
    sandbox.advance(2 * DAY_SECONDS)
    load = target_for(sandbox)
    load.config.update(opt_outs_update_contacts=changes)
    load(records(CYD)).succeeded()
    assert len(readings(sandbox)) == 5
    sandbox.advance(3 * DAY_SECONDS)
    sandbox.opt_out(ADA, 1)
    outcome = load(records(ADA, "old7@example.com")).succeeded()
    assert outcome.codes == {ADA: "OPTED_OUT", "old7@example.com": "OPTED_OUT"}
    assert sent(sandbox) == (1 if changes else 2)
    new = readings(sandbox)[5:]
    assert len(new) == changes
    assert all("updated_after" in one for one in new)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_reading_that_was_cut_off_is_not_taken_for_complete(
    request: pytest.FixtureRequest,
    sandbox: SandboxServer,
    load: ForkedTargetRunner,
    rejects: Rejects,
    database: str,
) -> None:
    if database == "postgresql":
        load.config.update(ledger_url=empty_database(request.getfixturevalue("postgres")))
    sandbox.prepare(
        *({"email": f"old{n}@example.com", "lists": {"1": UNSUBSCRIBED}} for n in range(350))
    )
    sandbox.fault("payment", match={"path": CONTACTS}, first=3)
    assert load(records("old0@example.com", "old349@example.com")).code == 1
    assert rejects() == {}
    sandbox.clear_faults()
    # It has been read before the cut, and is not found by the whole reading.
    sandbox.resubscribe("old0@example.com", 1)
    load(records("old0@example.com", "old349@example.com")).succeeded()
    assert rejects() == {"old349@example.com": "OPTED_OUT"}
    assert sent(sandbox) == 1


@pytest.mark.parametrize("counts", ["yes", "no"])
def test_documented_question_shows_whether_an_opt_out_counts_as_a_change(
    start_sandbox: Callable[..., SandboxServer], counts: str
) -> None:
    sandbox = start_sandbox(membership_updates_contact=counts)
    sandbox.prepare({"email": ADA, "lists": {"1": ACTIVE}})
    now = sandbox.advance(DAY_SECONDS)
    sandbox.opt_out(ADA, 1)
    method, _, path = block("consent.md", "does an opt-out count").strip().partition(" ")
    asked, _, _ = path.rpartition("=")
    hour_ago = datetime.fromtimestamp(now - 3600, timezone.utc)
    answer = sandbox.call(method, f"{asked}={hour_ago:%Y-%m-%dT%H:%M:%SZ}").json()
    assert [one["email"] for one in answer["contacts"]] == ([ADA] if counts == "yes" else [])


def test_mirror_reads_opt_outs_in_each_run_unless_changes_show(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    mirror = Mirror(load, sandbox)
    for run in range(3):
        mirror("ada bob")
        assert len(readings(sandbox)) == 1 + run
    mirror("ada bob", opt_outs_update_contacts=True)
    assert "updated_after" in readings(sandbox)[-1]
    sandbox.advance(7 * DAY_SECONDS)
    mirror("ada bob", opt_outs_update_contacts=True)
    assert "updated_after" not in readings(sandbox)[-1]


def test_opted_out_member_that_subscribed_again_is_not_removed_where_changes_are_read(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
) -> None:
    sandbox = start_sandbox(**SEES)
    mirror = Mirror(target_for(sandbox), sandbox)
    mirror.load.config.update(opt_outs_update_contacts=True)
    mirror("ada bob cyd")
    sandbox.opt_out(BOB, 1)
    mirror("ada bob cyd")
    sandbox.resubscribe(BOB, 1)
    mirror("ada")
    assert mirror.members() == "ada bob"


# People whom we unsubscribed ourselves


def test_those_whom_we_unsubscribed_come_back_although_they_were_read(
    start_sandbox: Callable[..., SandboxServer],
    target_for: Callable[[SandboxServer], TargetRunner],
) -> None:
    sandbox = start_sandbox(**SEES)
    mirror = Mirror(target_for(sandbox), sandbox)
    for is_change in (False, True):
        mirror.load.config.update(opt_outs_update_contacts=is_change)
        mirror("ada bob")
        assert mirror.members() == "ada bob"
        mirror("ada")
        mirror("ada", opt_out_refresh_days=0)
        assert mirror.members() == "ada"
        outcome = mirror("ada bob")
        assert outcome.counts == {"read": 2, "unchanged": 1, "changed": 1}
        # Their values are delivered from now on, and the mirror may remove them once more.
        changed = mirror.load(whole("ada bob", first_name="Newer")).succeeded()
        assert changed.report["refused"] == {}
        assert mirror.members() == "ada bob"
        mirror("ada")
        assert mirror.members() == "ada"


# Updating


def test_values_are_updated_without_touching_the_list(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects
) -> None:
    load.config.update(on_opted_out="update")
    sandbox.prepare(
        {"email": ADA, "lists": {"1": UNSUBSCRIBED}, "first_name": "Old"},
        {"email": BOB, "lists": {"1": BOUNCED}, "bounced": True},
        {"email": CYD, "lists": {"1": BOUNCED}, "bounced": False},
        excluded=(DAN, {"match_phrase": EVE, "lists": [1]}),
    )
    everyone = (ADA, BOB, CYD, DAN, EVE)
    outcome = load(records(*everyone)).succeeded()
    assert outcome.counts == {"read": 5, "added": 2, "rejected": 3}
    refused = {BOB: "BOUNCED", CYD: "BOUNCED", DAN: "EXCLUDED"}
    assert rejects() == refused, "no import accepts these"
    found = sandbox.contacts()
    assert [found[one]["first_name"] for one in (ADA, EVE)] == ["New"] * 2
    assert [found[one]["lists"] for one in (ADA, EVE)] == [{"1": 2}, {}]
    before = sent(sandbox)
    assert load(records(*everyone)).succeeded().counts == {
        "read": 5,
        "unchanged": 2,
        "rejected": 3,
    }
    assert sent(sandbox) == before
    newest = records(ADA, name="Newest")
    assert load(newest).succeeded().counts == {"read": 1, "changed": 1}
    assert sandbox.contacts()[ADA] == {**found[ADA], "first_name": "Newest", "times_imported": 2}
    assert load(newest).succeeded().counts == {"read": 1, "unchanged": 1}
    sandbox.resubscribe(ADA, 1)
    after = load(newest, opt_out_refresh_days=0).succeeded()
    assert after.counts == {"read": 1, "changed": 1}, "with its list, as the table has it no more"


@pytest.mark.parametrize("why", ["opted out", "no consent"])
def test_bounce_of_a_contact_that_is_sent_without_its_list_is_refused_once_and_then_known(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects, why: str
) -> None:
    how = {"on_opted_out": "update", "without_consent": "update"}
    messages = [
        schema(marketing_consent="boolean"),
        record(ADA, first_name="New", marketing_consent=True),
        record(BOB, first_name="New", marketing_consent=why == "opted out"),
    ]
    sandbox.opt_out(BOB, 1)
    load(messages[:2], **how).succeeded()  # reads who has opted out
    sandbox.prepare({"email": BOB, "bounced": True})

    load(messages, **how)

    assert rejects() == {BOB: "BOUNCED"}
    imports = sent(sandbox)
    load(messages, **how)
    assert rejects() == {BOB: "BOUNCED"}
    assert sent(sandbox) == imports


def test_mirror_updates_and_never_removes_those_that_opted_out(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    mirror = Mirror(load, sandbox)
    load.config.update(on_opted_out="update")
    mirror("ada bob")
    sandbox.opt_out(BOB, 1)
    outcome = load(whole("ada bob", first_name="Newer")).succeeded()
    assert outcome.counts == {"read": 2, "changed": 2}
    assert mirror.person("bob")["first_name"] == "Newer"
    assert mirror.members(status=UNSUBSCRIBED) == "bob"
    assert load(whole("ada bob", first_name="Newer")).succeeded().counts == {
        "read": 2,
        "unchanged": 2,
    }
    sandbox.resubscribe(BOB, 1)
    mirror("ada")
    assert mirror.members() == "ada bob"


# A renamed contact


@pytest.mark.parametrize("dry_run", [True, False])
def test_renamed_contact_keeps_its_opt_out(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects, dry_run: bool
) -> None:
    load.config.update(person_key="id")
    keyed = [schema(id="string"), record(ADA, id="1", first_name="Ada")]
    load(keyed).succeeded()
    sandbox.opt_out(ADA, 1)
    load([schema(id="string"), record(ADA, id="1", first_name="A.")]).succeeded()
    assert rejects() == {ADA: "OPTED_OUT"}
    before = sent(sandbox)
    moved = [schema(id="string"), record(BOB, id="1", first_name="Ada")]
    load(moved, dry_run=dry_run).succeeded()
    assert rejects() == {BOB: "OPTED_OUT"}
    assert sent(sandbox) == before


# Previews


def test_preview_names_who_would_be_refused_and_why(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare(
        {"email": ADA, "lists": {"1": UNSUBSCRIBED}},
        {"email": BOB, "lists": {"1": UNSUBSCRIBED}},
        excluded=(CYD,),
    )
    outcome = load(records(ADA, BOB, CYD, DAN, "no address"), dry_run=True).succeeded()
    assert outcome.report["preview"]["would_refuse"] == {
        "profiles": {"OPTED_OUT": 2, "EXCLUDED": 1}
    }
    assert outcome.report["samples"]["would_refuse"] == {
        "profiles": {"OPTED_OUT": ["a•••@e•••.com", "b•••@e•••.com"], "EXCLUDED": ["c•••@e•••.com"]}
    }
    text = (
        "ActiveCampaign would refuse 2 contacts as OPTED_OUT (a••• at e•••.com, b••• at e•••.com)"
    )
    assert text in outcome.log
    page = next((load.folder / "reports").glob("run-*.html")).read_text("utf-8")
    assert "Would be refused by ActiveCampaign" in page
    shown = load(records(ADA), dry_run=True, report_personal_data=True).succeeded()
    assert shown.report["samples"]["would_refuse"] == {"profiles": {"OPTED_OUT": [ADA]}}
    assert ADA not in shown.log


@pytest.mark.parametrize("seed", range(8))
def test_preview_refuses_whom_the_run_refuses(
    sandbox: SandboxServer, load: ForkedTargetRunner, rejects: Rejects, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"p{n}" for n in range(12)]
    load.config.update(
        sync_mode=chance.choice(["upsert", "update_only", "create_only", "mirror"]),
        on_opted_out=chance.choice(["reject", "update"]),
        opt_outs_update_contacts=False,
        guards={"max_leave_pct": None, "min_source_pct": None},
    )
    for day in range(4):
        for name in names:
            _change(sandbox, chance, address(name))
        stream = " ".join(chance.sample(names, 9))
        messages = whole(stream, last_name=f"on day {day // 2}")
        told = load(messages, dry_run=True).succeeded()
        predicted, counts = rejects(), told.report["counts"]
        outcome: Outcome = load(messages).succeeded()
        assert predicted == rejects(), f"day {day}"
        assert counts == outcome.report["counts"], f"day {day}"
        sandbox.advance(chance.choice([1, 4]) * DAY_SECONDS)


def _change(sandbox: SandboxServer, chance: random.Random, email: str) -> None:
    """Let something happen to a person, or nothing."""
    number = chance.choice([1, 2])
    happenings: list[Callable[[], None]] = [
        lambda: sandbox.opt_out(email, number),
        lambda: sandbox.prepare({"email": email, "lists": {"1": ACTIVE}, "bounced": False}),
        lambda: sandbox.prepare({"email": email, "lists": {"1": BOUNCED}, "bounced": True}),
        lambda: sandbox.prepare({"email": email, "lists": {"1": BOUNCED}}),
        lambda: sandbox.prepare(excluded=(email,)),
        lambda: sandbox.prepare(excluded=({"match_phrase": email, "lists": [number]},)),
        lambda: sandbox.prepare({"email": email}),
    ]
    if chance.random() < 0.25:
        chance.choice(happenings)()


# What the ledger keeps


def test_ledger_keeps_hashes_only_and_forgets_them(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    sandbox.prepare(*({"email": one, "lists": {"1": UNSUBSCRIBED}} for one in (ADA, BOB)))
    load(records(CYD)).succeeded()
    path = load.folder / LEDGER
    content = b"".join(one.read_bytes() for one in load.folder.glob(f"{LEDGER}*"))
    assert ADA.encode() not in content
    url = f"sqlite:///{path}"
    with ledger(url) as db:
        assert db.exec_driver_sql("SELECT count(*) FROM opt_out").scalar() == 2
