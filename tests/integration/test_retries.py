"""Rejected records are tried again by the next run of their stream, by itself."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.fork_server import ForkedTargetRunner, ForkServer, run_script
from tests.support.ledgers import LEDGER, empty_database, ledger
from tests.support.mirrors import (
    ACTIVE,
    DAY_SECONDS,
    NO_GUARDS,
    QUICK,
    UNSUBSCRIBED,
    activate,
    address,
    quick_sandbox,
)
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA, BOB, CYD = (address(name) for name in ("ada", "bob", "cyd"))
NEW = "Diamond"


class Source:
    """An incremental source: each run brings what changed since the last one.

    The people have a tier. `NEW` is no option of the account's field until `add_option`.
    """

    def __init__(self, load: TargetRunner, sandbox: SandboxServer) -> None:
        self.load = load
        self.sandbox = sandbox

    def __call__(self, *records: dict[str, Any], **settings: Any) -> Outcome:
        """Run it, ending with STATE."""
        return self.load([self.schema(), *records, state("end")], **settings)

    @staticmethod
    def schema(**properties: Any) -> dict[str, Any]:
        return {
            **schema(
                id="integer", tier="string", newsletter_consent="boolean", _sdc_deleted_at="string"
            ),
            "key_properties": ["id"],
            "bookmark_properties": ["id"],
            **properties,
        }

    def row(self, email: str, tier: str = NEW, **values: Any) -> dict[str, Any]:
        """A record; its row's key is made from the address unless it is given."""
        known = {"id": sum(map(ord, email)), "tier": tier, "newsletter_consent": True}
        return record(email, **{**known, **values})

    def add_option(self) -> None:
        """Add the tier that was missing."""
        fields = CustomFields(self.sandbox)
        fields.add_options(fields.id("Tier"), NEW)

    def waiting(self) -> int:
        """The number of contacts whose records the next run tries again."""
        shown = self.ledger("show", "--format", "json")
        segments = json.loads(shown)["connections"][0]["segments"]
        return sum(one["retries"] for one in segments)

    def ledger(self, *arguments: str, given: bytes = b"") -> str:
        """Run the command of the ledger."""
        script = SCRIPT.replace("target-activecampaign", "target-activecampaign-ledger")
        path = self.load.folder / ".activecampaign-ledger.db"
        command = [script, *arguments[:1], "--ledger-url", f"sqlite:///{path}", *arguments[1:]]
        done = run_script(command, given, folder=self.load.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, email: str) -> int | None:
        """The status of a contact on the list."""
        contact = self.sandbox.contacts().get(email)
        return None if contact is None else contact["lists"].get("1")


@pytest.fixture(scope="module")
def shared_sandbox() -> Any:
    """Of this module alone: options of a field outlive a reset."""
    with quick_sandbox(keep_bodies="yes") as server:
        yield server


@pytest.fixture
def source(load: TargetRunner, sandbox: SandboxServer) -> Source:
    return Source(load, sandbox)


def retries(outcome: Outcome, stream: str = "profiles") -> dict[str, Any]:
    found: dict[str, Any] = outcome.report["streams"][stream].get("retries", {})
    return found


def test_rejected_record_is_delivered_by_the_next_run(source: Source) -> None:
    first = source(source.row(ADA), source.row(BOB, "Gold")).succeeded()
    assert first.counts == {"read": 2, "added": 1, "invalid": 1}
    assert first.states == ["end"]
    assert retries(first) == {"retried": 0, "given_up": {}, "waiting": 1}
    assert "the next run tries 1 rejected contact again" in first.log
    file = source.load.folder / ".activecampaign-ledger.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    source.add_option()

    second = source(source.row(CYD, "Gold")).succeeded()

    assert second.counts == {"read": 1, "retried": 1, "added": 2}
    assert "1 read + 1 retried = 2 added;" in second.log
    assert retries(second) == {"retried": 1, "given_up": {}, "waiting": 0}
    assert source.listed(ADA) == ACTIVE
    page = source.load.folder / "reports" / f"run-{second.report['run_id']}.html"
    assert "read + retried" in page.read_text("utf-8")
    assert source.waiting() == 0
    assert source().succeeded().counts == {}, "once is enough"


def test_full_account_is_retried_once_there_is_room(start_sandbox: Any, target_for: Any) -> None:
    sandbox = start_sandbox(
        limits=True,
        account_limit=10,
        requests_per_second=0,
        multi_imports_per_minute=0,
        latency=0.02,
        false_status=0,
    )
    sandbox.prepare(*({"email": f"old{n}@example.com"} for n in range(10)))
    load = target_for(sandbox)
    first = load([schema(), *people(25), state("end")]).succeeded()
    assert set(first.codes.values()) == {"ACCOUNT_LIMIT"}
    refused = retries(first)["waiting"]
    assert refused == first.counts["rejected"] > 0

    still_full = load([schema(), state("end")], max_rejects=0).succeeded()

    assert still_full.counts == {"retried": refused, "rejected": refused}, "not new ones"
    for one in list(sandbox.contacts()):
        if one.startswith("old"):
            sandbox.delete(one)
    room = load([schema(), state("end")]).succeeded()
    assert room.counts["retried"] == refused
    missing = retries(room)["waiting"]
    assert sum(one.startswith("person") for one in sandbox.contacts()) == 25 - missing


def test_failed_import_is_retried_and_given_up_after_its_attempts(
    source: Source, sandbox: SandboxServer
) -> None:
    sandbox.fault("queue_failed", match={"path": "*bulk_import", "contains": ADA})
    limits = {"retry_max_attempts": 2}
    others = [source.row(address(f"x{n}"), "Gold") for n in range(5)]
    first = source(source.row(ADA, "Gold"), *others, **limits).succeeded()
    assert first.codes == {ADA: "IMPORT_FAILED"}
    second = source(*others[:1], **limits).succeeded()
    assert retries(second) == {"retried": 1, "given_up": {}, "waiting": 1}
    third = source(*others[1:2], **limits).succeeded()
    assert retries(third) == {"retried": 1, "given_up": {"IMPORT_FAILED": 1}, "waiting": 0}
    assert "1 rejected record of earlier runs are not tried again (1 IMPORT_FAILED)" in third.log
    assert len(third.rejects) == 3, "each run that rejects it writes it to its file"
    assert retries(source(**limits)) == {}


def test_record_is_given_up_after_days(source: Source, sandbox: SandboxServer) -> None:
    source(source.row(ADA)).succeeded()
    sandbox.advance(6.9 * DAY_SECONDS)
    assert retries(source()) == {"retried": 1, "given_up": {}, "waiting": 1}
    sandbox.advance(0.2 * DAY_SECONDS)
    source.add_option()

    outcome = source().succeeded()

    assert retries(outcome) == {
        "retried": 0,
        "given_up": {"FIELD_OPTION_UNKNOWN": 1},
        "waiting": 0,
    }
    assert source.listed(ADA) is None


def test_only_what_may_be_mended_is_retried(source: Source, sandbox: SandboxServer) -> None:
    sandbox.opt_out(ADA, 1)
    sandbox.prepare({"email": BOB, "bounced": True}, excluded=(CYD,))
    outcome = source(
        *(source.row(one, "Gold") for one in (ADA, BOB, CYD, "nobody", "")),
        source.row(address("dan"), "Gold", id="x"),
        source.row(address("eve"), "Gold", newsletter_consent=False),
    ).succeeded()
    assert set(outcome.codes.values()) == {
        "OPTED_OUT",
        "BOUNCED",
        "EXCLUDED",
        "EMAIL_INVALID",
        "EMAIL_MISSING",
        "RECORD_INVALID",
    }
    assert outcome.counts["skipped"] == 1
    assert source.waiting() == 0


# The newer records of people whose older one was rejected. The first four letters are theirs.
NEWER: dict[str, dict[str, Any]] = {
    "delivered": {"tier": "Gold"},
    "invalid": {"id": "x"},
    "deleted": {"_sdc_deleted_at": "2026-01-01T00:00:00Z"},
    "without consent": {"newsletter_consent": False},
    "rejected": {"tier": "Silver, more or less"},
}


@pytest.mark.parametrize("when", ["same run", "next run"])
def test_newer_record_of_the_person_replaces_it(source: Source, when: str) -> None:
    older = [source.row(address(f"{newer[:4]}")) for newer in NEWER]
    newer = [
        source.row(one["record"]["email"], **NEWER[name])
        for name, one in zip(NEWER, older, strict=True)
    ]
    if when == "same run":
        source(*older, *newer).succeeded()
    else:
        source(*older).succeeded()
        assert source.waiting() == len(NEWER)
        source.add_option()
        assert "retried" not in source(*newer).succeeded().counts
    assert source.waiting() == 1, "the newer one is rejected"
    if when == "same run":
        source.add_option()
    assert source().succeeded().counts == {"retried": 1, "invalid": 1}
    listed = {name: source.listed(address(name[:4])) for name in NEWER}
    assert listed == {**dict.fromkeys(NEWER), "delivered": ACTIVE}
    assert CustomFields(source.sandbox).held("Tier") == ["Gold"]


@pytest.mark.parametrize("newer", ["deleted", "without consent"])
def test_newer_record_that_is_read_while_the_older_one_is_in_flight_replaces_it(
    tmp_path: Path, sandbox: SandboxServer, newer: str
) -> None:
    timings = replace(QUICK, window_records=1)
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, ForkServer(timings))
    source = Source(load, sandbox)
    sandbox.fault("queue_failed", match={"path": "*bulk_import", "contains": ADA})
    others = [source.row(address(f"x{n}"), "Gold") for n in range(5)]
    first = source(
        source.row(ADA, "Gold"), *others, source.row(ADA, **NEWER[newer]), batch_size_rows=1
    ).succeeded()
    assert first.codes == {ADA: "IMPORT_FAILED"}
    sandbox.clear_faults()
    assert retries(first) == {}
    source().succeeded()
    assert source.listed(ADA) is None


def test_newer_record_of_the_row_replaces_it(source: Source) -> None:
    rows: dict[str, Any] = {"person_key": True}
    ada, bob = source.row(ADA, id=1), source.row(BOB, id=2)
    source(ada, bob, source.row(CYD, id=3), **rows).succeeded()
    assert source.waiting() == 3
    source.add_option()
    new = address("new")
    deleted = {"id": 2, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}

    outcome = source(
        source.row(new, id=1), {**bob, "record": deleted}, source.row("nobody", id=3), **rows
    ).succeeded()

    assert "retried" not in outcome.counts
    source(**rows).succeeded()
    assert [source.listed(one) for one in (ADA, BOB, CYD, new)] == [None, None, None, ACTIVE]


def test_suppressed_person_is_never_sent_even_once_that_is_lifted(source: Source) -> None:
    source(source.row(ADA), source.row(BOB)).succeeded()
    source.ledger("suppress", "-", given=ADA.encode())
    source.ledger("unsuppress", "-", given=ADA.encode())
    source.add_option()
    assert source().succeeded().counts == {"retried": 1, "added": 1}
    assert source.listed(ADA) is None


def test_person_who_has_opted_out_since_is_not_subscribed(
    source: Source, sandbox: SandboxServer
) -> None:
    source(source.row(ADA)).succeeded()
    sandbox.opt_out(ADA, 1)
    source.add_option()
    outcome = source(opt_out_refresh_days=0).succeeded()
    assert retries(outcome) == {"retried": 1, "given_up": {"OPTED_OUT": 1}, "waiting": 0}
    assert source.listed(ADA) == UNSUBSCRIBED


def test_forgotten_person_and_stream_are_not_retried(source: Source) -> None:
    source(source.row(ADA), source.row(BOB)).succeeded()
    assert "rejected records: 1" in source.ledger("forget", "--person", "-", given=ADA.encode())
    assert source.waiting() == 1
    assert "1 rejected contact to be tried again" in source.ledger("show")
    source.ledger("forget", "--stream", "profiles", "--yes")
    with ledger(f"sqlite:///{source.load.folder}/{LEDGER}") as db:
        assert not db.exec_driver_sql("SELECT * FROM retry").all()


def test_preview_shows_what_would_be_retried_and_changes_nothing(source: Source) -> None:
    source(source.row(ADA), source.row(BOB, "none")).succeeded()
    source.add_option()
    preview = source(source.row(CYD, "Gold"), dry_run=True).succeeded()
    assert preview.counts == {"read": 1, "retried": 2, "added": 2, "invalid": 1}
    assert "1 read + 2 retried, would be 2 added + 1 invalid;" in preview.log
    assert source.waiting() == 2
    assert source.listed(ADA) is None
    assert source().succeeded().counts == {"retried": 2, "added": 1, "invalid": 1}


def test_complete_stream_that_no_longer_has_the_person_drops_it(
    source: Source, load: TargetRunner
) -> None:
    def whole(version: int, *emails: str) -> Outcome:
        messages = [source.schema(bookmark_properties=[])]
        for one in emails:
            tier = NEW if one == ADA else "Gold"
            messages.append({**source.row(one, tier), "version": version})
        settings: dict[str, Any] = {"sync_mode": "mirror", "guards": NO_GUARDS}
        return load([*messages, activate(version), state(version)], **settings).succeeded()

    whole(1, ADA, BOB)
    assert source.waiting() == 1
    source.add_option()
    outcome = whole(2, BOB)
    assert "left the stream" in outcome.log
    assert source.listed(ADA) is None
    assert source.waiting() == 0
    assert whole(3, ADA, BOB).counts == {"read": 2, "added": 1, "unchanged": 1}


@pytest.mark.parametrize("edited", [False, True])
def test_replayed_reject_file_removes_it(source: Source, edited: bool) -> None:
    first = source(source.row(ADA)).succeeded()
    (path,) = first.reject_files
    replayed = path.read_bytes()
    if edited:
        replayed = replayed.replace(NEW.encode(), b"Gold")
    else:
        again = source.load(replayed).succeeded()
        assert again.counts == {"read": 1, "invalid": 1}
        assert source.waiting() == 1, "rejected once more"
        source.add_option()
    assert source.load(replayed).succeeded().counts == {"read": 1, "added": 1}
    assert source.waiting() == 0
    source.add_option()
    assert source().succeeded().counts == {}
    assert CustomFields(source.sandbox).held("Tier") == ["Gold" if edited else NEW]


def test_replayed_record_is_stored_as_the_tap_wrote_it(source: Source) -> None:
    closed = source.schema()
    closed["schema"]["additionalProperties"] = False
    first = source.load([closed, source.row(ADA)]).succeeded()
    source.load(first.reject_files[0].read_bytes()).succeeded()
    source.add_option()
    assert source.load([closed]).succeeded().counts == {"retried": 1, "added": 1}


def test_retries_can_be_switched_off_for_a_stream(source: Source) -> None:
    source(source.row(ADA)).succeeded()
    source.add_option()
    outcome = source(streams={"profiles": {"retry_rejected": False}}).succeeded()
    assert outcome.counts == {}
    assert source.waiting() == 0


def test_each_stream_of_a_stream_map_retries_its_own(source: Source) -> None:
    settings: dict[str, Any] = {
        "stream_maps": {
            "profiles": {},
            "others": {"__source__": "profiles", "tier": "'Gold'"},
        },
        "streams": {"others": {"list_id": 2}},
    }
    first = source(source.row(ADA), **settings).succeeded()
    assert first.counts == {"read": 2, "added": 1, "invalid": 1}
    source.add_option()
    assert source(**settings).succeeded().counts == {"retried": 1, "added": 1}
    assert source.sandbox.contacts()[ADA]["lists"] == {"1": 1, "2": 1}


def test_stream_that_has_changed_since_ends_no_run(source: Source) -> None:
    source(source.row(ADA)).succeeded()
    wide = source.schema()
    wide["schema"]["properties"]["former"] = {"type": "string"}
    strict = {"unmapped_properties": "fail", "field_mapping": {"id": "ignore", "former": "ignore"}}
    source.load([wide, source.row(CYD, former="x")], **strict).succeeded()
    source.add_option()
    strict["field_mapping"] = {"id": "ignore"}
    outcome = source(**strict).succeeded()
    assert outcome.counts == {"retried": 2, "added": 2}, "with a property that is gone"


def test_record_that_a_stream_map_fails_on_by_now_is_given_up(source: Source) -> None:
    source(source.row(ADA)).succeeded()
    maps = {"profiles": {"first_name": "nickname.upper()"}}
    outcome = source(stream_maps=maps).succeeded()
    assert outcome.counts == {"retried": 1, "invalid": 1}
    assert retries(outcome)["given_up"] == {"RECORD_INVALID": 1}
    reasons = [one["_reject_reason"] for one in outcome.rejects]
    assert any("A rejected record of an earlier run does not fit" in one for one in reasons)


def test_database_server_has_them_too(source: Source, postgres: PostgresServer) -> None:
    url = {"ledger_url": empty_database(postgres)}
    source(source.row(ADA), source.row(BOB, "none"), person_key=True, **url).succeeded()
    assert retries(source(person_key=True, **url))["waiting"] == 2
    source.add_option()
    again = source(source.row(CYD, "Gold"), person_key=True, **url).succeeded()
    assert again.counts == {"read": 1, "retried": 2, "added": 2, "invalid": 1}
    deleted = source.row(BOB, _sdc_deleted_at="2026-01-01T00:00:00Z")
    assert retries(source(deleted, person_key=True, **url)) == {}
