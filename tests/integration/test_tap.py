"""The tap reads back what ActiveCampaign knows: opt-outs, bounces and exclusions."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import block, example
from tests.support.shell import Shell
from tests.support.tap_runner import SCRIPT, TapRunner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer

DAY = 24 * 3600
REASON = "You wrote to me about my illness"


@pytest.fixture
def tap(tmp_path: Path, sandbox: SandboxServer) -> TapRunner:
    return TapRunner(tmp_path, sandbox)


@pytest.fixture
def account(sandbox: SandboxServer) -> SandboxServer:
    """The sandbox, with people of all kinds."""
    sandbox.prepare(
        {"email": "Here@example.com", "lists": {"1": 1}},
        {"email": "Left@Example.com", "lists": {"2": 2}},
        {"email": "bounced@example.com", "bounces": [{"campaign": 5, "code": 48, "message": 6}]},
        {"email": "soft@example.com", "lists": {"1": 3}, "bounces": [{"hard": False}]},
        excluded=(
            "Never@example.com",
            {"match_phrase": "@example.org", "channel": "several", "lists": [2]},
        ),
    )
    sandbox.opt_out("left@example.com", 1, campaign=5, message=6, automation=7, reason=REASON)
    return sandbox


def moments(rows: list[dict[str, Any]], name: str) -> set[Any]:
    """The times of records, taken out of them, which must be about now."""
    texts = {row.pop(name) for row in rows}
    now = datetime.now(timezone.utc)
    assert all(abs(now - datetime.fromisoformat(text)) < timedelta(minutes=1) for text in texts)
    return texts


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


# Records


def test_opt_outs_are_read_with_their_cause(account: SandboxServer, tap: TapRunner) -> None:
    outcome = tap()
    assert outcome.code == 0, outcome.log
    rows = outcome.records("list_opt_outs")
    moments(rows, "opted_out_at")
    unknown = dict.fromkeys(("campaign_id", "message_id", "automation_id", "reason"))
    left = {"contact_id": 2, "email": "Left@Example.com", "status": 2}
    cause = {"campaign_id": "5", "message_id": "6", "automation_id": "7", "reason": REASON}
    assert rows == [{**left, "list_id": 1, **cause}, {**left, "list_id": 2, **unknown}]


def test_bounces_are_read_of_all_contacts(account: SandboxServer, tap: TapRunner) -> None:
    rows = tap(lists=["Win-back"]).records("bounces")
    moments(rows, "bounced_at")
    hard, soft = rows
    assert hard == {
        "id": 1,
        "contact_id": 3,
        "email": "bounced@example.com",
        "code": "48",
        "campaign_id": "5",
        "message_id": "6",
        "hard_bounces": 1,
        "soft_bounces": 0,
    }
    assert (soft["email"], soft["hard_bounces"], soft["soft_bounces"]) == ("soft@example.com", 0, 1)
    logs = [one for one in account.requests() if one["path"].endswith("bounceLogs")]
    assert len(logs) == 2, "contacts without a bounce are not asked about"


def test_exclusions_are_read(account: SandboxServer, tap: TapRunner) -> None:
    assert tap().records("exclusions") == [
        {
            "id": 2,
            "match_phrase": "@example.org",
            "match_type": "end",
            "channel": "several",
            "list_ids": [2],
        },
        {
            "id": 1,
            "match_phrase": "Never@example.com",
            "match_type": "exact",
            "channel": "all",
            "list_ids": [],
        },
    ]


def test_addresses_are_hashed_on_request(account: SandboxServer, tap: TapRunner) -> None:
    outcome = tap(addresses="sha256")
    assert "@" not in outcome.out
    assert {row["email_sha256"] for row in outcome.records("list_opt_outs")} == {
        digest("left@example.com")
    }
    assert [row["email_sha256"] for row in outcome.records("bounces")] == [
        digest("bounced@example.com"),
        digest("soft@example.com"),
    ]
    assert [row["match_phrase_sha256"] for row in outcome.records("exclusions")] == [
        digest("@example.org"),
        digest("never@example.com"),
    ]


def test_opt_outs_are_read_of_lists_by_any_name(account: SandboxServer, tap: TapRunner) -> None:
    for lists in (["VIP customers"], [2], ["vip-customers", "2"]):
        rows = tap(lists=lists).records("list_opt_outs")
        assert [row["list_id"] for row in rows] == [2], lists
    assert tap(lists=[3]).records("list_opt_outs") == []


def test_nothing_is_changed(account: SandboxServer, tap: TapRunner) -> None:
    before = account.export()
    since = account.requests()[-1:]
    assert tap().code == 0
    methods = {one["method"] for one in account.requests(since=since[0]["id"] if since else 0)}
    assert methods == {"GET"}
    assert account.export() == before


# State


def test_streams_are_read_whole_by_default(account: SandboxServer, tap: TapRunner) -> None:
    first = tap()
    assert first.state == {"bookmarks": {"bounces": {}, "exclusions": {}, "list_opt_outs": {}}}
    second = tap(state=first.state)
    for stream in ("bounces", "exclusions", "list_opt_outs"):
        assert second.records(stream) == first.records(stream) != []
    assert not [one for one in first.messages if one["type"] == "ACTIVATE_VERSION"]
    assert all("updated_after" not in one["query"] for one in account.requests())


def test_last_day_is_read_again(account: SandboxServer, tap: TapRunner) -> None:
    first = tap(changed_contacts_only=True)
    second = tap(changed_contacts_only=True, state=first.state)
    for stream in ("bounces", "list_opt_outs"):
        assert second.records(stream) == first.records(stream) != []
    assert any("updated_after" in one["query"] for one in account.requests())


def test_whole_streams_can_be_activated(account: SandboxServer, tap: TapRunner) -> None:
    messages = tap(emit_activate_version_messages=True).messages
    activated = [one["stream"] for one in messages if one["type"] == "ACTIVATE_VERSION"]
    assert activated == ["bounces", "exclusions", "list_opt_outs"]


@pytest.mark.parametrize(("counts", "expected"), [("yes", ["late"]), ("no", [])])
def test_only_changed_contacts_are_read_on_request(
    start_sandbox: Callable[..., SandboxServer], tmp_path: Path, counts: str, expected: list[str]
) -> None:
    """With `no`, the opt-out of a contact that is not changed is missed: the setting's risk."""
    sandbox = start_sandbox(membership_updates_contact=counts)
    tap = TapRunner(tmp_path, sandbox)
    sandbox.prepare(
        {"email": "early@example.com", "lists": {"1": 2}, "bounces": [{}]},
        {"email": "late@example.com", "lists": {"1": 1}},
    )

    first = tap(changed_contacts_only=True)

    (row,) = first.records("list_opt_outs")
    state = first.state
    bookmarks = state["bookmarks"]
    assert bookmarks["list_opt_outs"] == {
        "replication_key": "opted_out_at",
        "replication_key_value": row["opted_out_at"],
    }
    assert bookmarks["bounces"]["replication_key"] == "bounced_at"
    assert bookmarks["exclusions"] == {}

    moment = datetime.fromtimestamp(sandbox.advance(3 * DAY), timezone.utc).isoformat()
    sandbox.opt_out("late@example.com", 1)
    for stream in ("bounces", "list_opt_outs"):
        bookmarks[stream]["replication_key_value"] = moment
    second = tap(changed_contacts_only=True, state=state)

    found = [row["email"].partition("@")[0] for row in second.records("list_opt_outs")]
    assert found == expected
    assert second.records("bounces") == []


# Mistakes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"api_url": None}, "'api_url' is missing"),
        ({"api_key": None}, "'api_key' is missing"),
        ({"api_url": "nonsense here"}, "'api_url' can't be used"),
        ({"api_key": "wrong"}, "API key"),
        ({"lists": ["Newsleter"]}, "Did you mean 'Newsletter'?"),
        ({"lists": "Newsletter"}, "'lists'"),
        ({"addresses": "md5"}, "'addresses' must be one of plain, sha256"),
        ({"rate_budget_url": "nonsense://x"}, "'rate_budget_url' can't be used"),
        ({"changed_contacts_only": "perhaps"}, "'changed_contacts_only'"),
        ({"api_key": 5}, "'api_key' has the wrong type"),
    ],
)
def test_mistake_is_one_clear_line(tap: TapRunner, changes: dict[str, Any], words: str) -> None:
    outcome = tap(**changes)
    assert outcome.code == 1
    assert words in outcome.last_line, outcome.log
    assert outcome.log.count("ERROR") == 1, outcome.log


def test_unknown_setting_is_a_warning(tap: TapRunner) -> None:
    outcome = tap(adresses="sha256")
    assert outcome.code == 0
    assert "'adresses' is unknown and has no effect. Did you mean 'addresses'?" in outcome.log


@pytest.mark.parametrize("option", ["--state", "--catalog"])
@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_unusable_file_is_one_clear_line(
    tap: TapRunner, tmp_path: Path, option: str, content: str
) -> None:
    (tmp_path / "file.json").write_text(content)
    outcome = tap(option, "file.json")
    assert (outcome.code, outcome.messages) == (1, [])
    assert f"The file given with {option}" in outcome.last_line


@pytest.mark.parametrize("fault", ["malformed", "forbidden"])
def test_fault_of_account_ends_the_run(account: SandboxServer, tap: TapRunner, fault: str) -> None:
    account.fault(fault, match={"path": "/api/3/lists/exclusions"})
    outcome = tap()
    assert outcome.code == 1
    assert "GET /lists/exclusions" in outcome.last_line
    assert "exclusions" not in outcome.state["bookmarks"]


def test_short_fault_is_retried(account: SandboxServer, tap: TapRunner) -> None:
    account.fault("unavailable", match={"path": "/api/3/contacts/*"}, times=2)
    assert len(tap().records("list_opt_outs")) == 2


# The command


def test_settings_of_guide_are_right(account: SandboxServer, tap: TapRunner) -> None:
    outcome = tap(**{**example("consent-tap.md", "consent settings"), **tap.config})
    assert outcome.code == 0, outcome.log
    assert "unknown" not in outcome.log
    (row,) = outcome.records("list_opt_outs")
    assert row["email_sha256"] == digest("left@example.com")


def test_guide_pipes_it_into_a_target(
    account: SandboxServer, tap: TapRunner, tmp_path: Path
) -> None:
    (tmp_path / "consent.json").write_text(json.dumps(tap.config))
    shell = Shell(tmp_path)
    shell.stand_in("some-target", "grep -c RECORD")
    shell(block("consent-tap.md", "consent by hand"))
    assert (tmp_path / "state.json").read_text() == "6\n"


def test_settings_come_from_variables(account: SandboxServer, tap: TapRunner) -> None:
    config, tap.config = tap.config, {**tap.config, "api_url": None, "api_key": None}
    given = {
        "TAP_ACTIVECAMPAIGN_CONSENT_API_URL": config["api_url"],
        "TAP_ACTIVECAMPAIGN_CONSENT_API_KEY": config["api_key"],
        "TAP_ACTIVECAMPAIGN_CONSENT_LISTS": '["VIP customers"]',
    }
    tap.config["api_key"] = "no such text"
    outcome = tap("--config", "ENV", variables=given, api_key=None)
    assert outcome.code == 0, outcome.log
    assert len(outcome.records("list_opt_outs")) == 1


def test_help_says_what_it_reads(tap: TapRunner) -> None:
    outcome = tap("--help")
    assert outcome.code == 0
    assert "Read opt-outs, bounces and the exclusion list" in outcome.out
    assert "docs/consent-tap.md" in outcome.out


def test_discovery_needs_no_account(tap: TapRunner) -> None:
    outcome = tap("--discover", api_url=None, addresses="sha256")
    assert outcome.code == 0, outcome.log
    streams = {one["stream"]: one for one in json.loads(outcome.out)["streams"]}
    assert set(streams) == {"bounces", "exclusions", "list_opt_outs"}
    assert {one["replication_method"] for one in streams.values()} == {"FULL_TABLE"}
    assert streams["list_opt_outs"]["key_properties"] == ["contact_id", "list_id"]
    assert "email_sha256" in streams["bounces"]["schema"]["properties"]


def test_catalog_selects_streams(account: SandboxServer, tap: TapRunner, tmp_path: Path) -> None:
    catalog = json.loads(tap("--discover").out)
    for one in catalog["streams"]:
        if one["stream"] != "exclusions":
            (whole,) = (row for row in one["metadata"] if row["breadcrumb"] == [])
            whole["metadata"]["selected"] = False
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    outcome = tap("--catalog", "catalog.json")
    assert {one["stream"] for one in outcome.messages if "stream" in one} == {"exclusions"}


def test_test_reads_one_record_of_each_stream(account: SandboxServer, tap: TapRunner) -> None:
    outcome = tap("--test")
    assert outcome.code == 0, outcome.log
    for stream in ("bounces", "exclusions", "list_opt_outs"):
        assert len(outcome.records(stream)) == 1
    wrong = tap("--test", api_key="wrong")
    assert (wrong.code, wrong.log.count("ERROR")) == (1, 1)


def test_embedded_sandbox_is_read(tap: TapRunner, tmp_path: Path) -> None:
    outcome = tap(sandbox=True, sandbox_path="none.db", api_url=None, requests_per_second=5)
    assert outcome.code == 0, outcome.log
    assert len(outcome.messages) == 6, "SCHEMA and STATE of three streams"
    assert not (tmp_path / "none.db").exists()


def test_signal_ends_it(account: SandboxServer, tap: TapRunner, tmp_path: Path) -> None:
    account.fault("slow", seconds=30, match={"path": "/api/3/lists/exclusions"})
    tap("--discover")  # writes the configuration
    process = subprocess.Popen(
        [SCRIPT, "--config", "config.json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30
    while not any(one["fired"] for one in account.faults()) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, log = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM, log
    assert "Traceback" not in log
    assert [json.loads(line)["type"] for line in out.splitlines()][-1] == "SCHEMA"
