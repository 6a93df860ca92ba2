"""`meltano run tap-warehouse target-activecampaign`, as the README promises it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sample_profiles import arrived, expected, json_lines, profiles, usable_address
from tests.support.sandbox_server import SandboxServer
from tests.support.target_runner import lines, record, schema

if TYPE_CHECKING:
    from tests.support.meltano_project import MeltanoProject


RUN = ("run", "tap-warehouse", "target-activecampaign")


def test_the_sample_is_loaded_and_a_second_run_ends_in_the_same_account(
    project: MeltanoProject,
) -> None:
    people = profiles()
    good = sum(usable_address(profile) is not None for profile in people)

    report = project.run(*RUN)

    counts = report["counts"]
    assert counts["read"] == len(people)
    assert counts["invalid"] == len(people) - good
    refusing = [one for one in people if usable_address(one) and not one["MarketingConsent"]]
    assert report["skipped"]["NO_CONSENT"]["records"] == counts["skipped"] > 500
    # A second record of a person is merged, or is a change if the first was already confirmed.
    again = counts["merged"] + counts["changed"] + counts["unchanged"]
    assert counts["added"] + again + counts["skipped"] == good
    assert len(refusing) <= counts["skipped"] + counts["merged"]
    assert counts["rejected"] == counts["unsettled"] == 0
    account = _account(project)
    assert arrived(account) == expected(people)
    assert {contact["lists"].get("1") for contact in account} == {1}
    assert _refused(project, report) == {
        profile["CustomerId"]: "EMAIL_INVALID" if _has_text(profile) else "EMAIL_MISSING"
        for profile in people
        if usable_address(profile) is None
    }
    state = project("state", "get", "sandbox:tap-warehouse-to-target-activecampaign")
    assert "unified_profiles" in json.loads(state.out)["singer_state"]["bookmarks"]

    again = project.run(*RUN)

    # A person who is in the sample twice is compared with what the later profile left.
    settled = again["counts"]
    assert settled["added"] == settled["rejected"] == settled["unsettled"] == 0
    assert settled["invalid"] == counts["invalid"]
    assert settled["unchanged"] + settled["skipped"] > 0.9 * good
    assert again["imports"] <= 1
    assert _without_history(_account(project)) == _without_history(account)


def _account(project: MeltanoProject) -> list[dict[str, Any]]:
    with SandboxServer(project.sandbox_path) as sandbox:
        return sandbox.export()


def _refused(project: MeltanoProject, report: dict[str, Any]) -> dict[str, str]:
    """By CustomerId: the code with which the run's reject file has it."""
    (file,) = report["reject_files"].values()
    records = [m["record"] for m in json_lines(project.folder / file) if m["type"] == "RECORD"]
    return {record["CustomerId"]: record["_reject_code"] for record in records}


def _has_text(profile: dict[str, Any]) -> bool:
    return bool((profile.get("EMailAddress1") or "").strip())


def _without_history(contacts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**contact, "times_imported": None} for contact in contacts]


@pytest.fixture
def small_export(project: MeltanoProject) -> list[dict[str, Any]]:
    """A few profiles instead of all, for what does not depend on how many there are."""
    few = profiles()[:20]
    (project.folder / "sample_data").unlink()
    (project.folder / "sample_data").mkdir()
    text = "".join(f"{json.dumps(profile)}\n" for profile in few)
    (project.folder / "sample_data" / "profiles.jsonl").write_text(text, "utf-8")
    return few


def _env_file(project: MeltanoProject, sandbox: SandboxServer, consent: str) -> None:
    (project.folder / ".env").write_text(
        f"ACTIVECAMPAIGN_API_URL={sandbox.url}\n"
        f"ACTIVECAMPAIGN_API_KEY={sandbox.api_key}\n"
        "ACTIVECAMPAIGN_CONNECTION_NAME='The shop'\n"
        "ACTIVECAMPAIGN_LIST_ID=2\n"
        f"ACTIVECAMPAIGN_DATA_PRIVACY_CONSENT={consent}\n"
    )


def test_prod_loads_the_account_that_env_names(
    project: MeltanoProject, sandbox: SandboxServer, small_export: list[dict[str, Any]]
) -> None:
    _env_file(project, sandbox, consent="true")

    report = project.run("--environment=prod", *RUN)

    assert report["connection"] == "The shop"
    contacts = sandbox.export()
    assert arrived(contacts) == expected(small_export)
    assert {contact["lists"].get("2") for contact in contacts} == {1}


def test_prod_sends_nothing_without_consent(
    project: MeltanoProject, sandbox: SandboxServer, small_export: list[dict[str, Any]]
) -> None:
    _env_file(project, sandbox, consent="false")
    already = len(sandbox.requests())

    refused = project("--environment=prod", *RUN)

    assert refused.code != 0
    assert "data_privacy_consent" in refused.log
    assert sandbox.api_key not in refused.out + refused.log
    assert len(sandbox.requests()) == already


def test_prod_is_tested_and_previewed_first(
    project: MeltanoProject, sandbox: SandboxServer, small_export: list[dict[str, Any]]
) -> None:
    _env_file(project, sandbox, consent="true")
    good = sum(usable_address(profile) is not None for profile in small_export)
    messages = [schema("unified_profiles"), record("ada@example.com", "unified_profiles")]

    tested = project("--environment=prod", "invoke", "target-activecampaign:test")
    piped = project(
        "--environment=prod",
        "invoke",
        "target-activecampaign:preview",
        given=lines(messages).decode(),
    )
    project.variables["TARGET_ACTIVECAMPAIGN_DRY_RUN"] = "true"
    previewed = project.run("--environment=prod", *RUN)

    assert tested.code == 0, tested.log
    assert next(line.split("  ")[0] for line in tested.out.splitlines()) == "settings"
    assert "env var" not in tested.out + tested.log
    assert "target-activecampaign  " not in tested.log, "nothing but the table"
    assert re.search(r"^list +ok +2 'VIP customers'", tested.out, re.MULTILINE)
    assert piped.code == 0, piped.log
    assert "1 read, would be 1 added" in piped.log
    counted = previewed["counts"]
    again = counted["merged"] + counted["changed"] + counted["unchanged"]
    assert counted["added"] + again + counted["skipped"] == good
    assert {one["method"] for one in sandbox.requests()} == {"GET"}
    assert sandbox.export() == []
    assert "tap-warehouse" not in project("--environment=prod", "state", "list").out


def test_meltanos_own_test_of_a_loader_passes_or_fails_and_sends_nothing(
    project: MeltanoProject, sandbox: SandboxServer
) -> None:
    _env_file(project, sandbox, consent="true")
    test = ("--environment=prod", "config", "test", "target-activecampaign")

    fine = project(*test)
    project.variables["TARGET_ACTIVECAMPAIGN_LIST_ID"] = "No such list"
    wrong = project(*test)

    # Meltano 4.4 says so once it has judged, and then most often fails in ending a process that
    # has ended by itself: with any loader.
    assert "Test data was written to your target system" in fine.log
    assert fine.code == 0 or "ProcessLookupError" in fine.log
    assert "Test data was written to your target system" not in wrong.log
    assert wrong.code != 0
    assert {one["method"] for one in sandbox.requests()} == {"GET"}
    assert sandbox.export() == []


def test_meltano_hands_on_booleans_fractions_and_what_is_inside_as_they_were_set(
    project: MeltanoProject, small_export: list[dict[str, Any]]
) -> None:
    config = ("--environment=sandbox", "config", "set", "target-activecampaign")
    for name, value in {
        "request_timeout": "20.5",
        "guards.max_leave_pct": "2.5",
        "streams.unified_profiles.complete_stream": "yes",
        "streams.unified_profiles.tags": '["from Meltano"]',
    }.items():
        assert project(*config, name, value).code == 0

    project.variables["TARGET_ACTIVECAMPAIGN_CHECKPOINT_SECONDS"] = "0.5"
    project.variables["TARGET_ACTIVECAMPAIGN_DRY_RUN"] = " Y\n"
    tested = project("invoke", "target-activecampaign:test")
    previewed = project.run(*RUN)
    project.variables["TARGET_ACTIVECAMPAIGN_DRY_RUN"] = "enabled"
    refused = project(*RUN)

    assert tested.code == 0, tested.out + tested.log
    assert previewed["dry_run"] is True
    assert refused.code != 0
    assert "The setting 'dry_run' can't be read" in refused.log
    assert _account(project) == []


def test_the_schedule_runs_the_job_daily(project: MeltanoProject) -> None:
    listed = json.loads(project("schedule", "list", "--format=json").out)

    (schedule,) = listed["schedules"]["job"]
    assert schedule["interval"] == "@daily"
    assert schedule["job"]["tasks"] == ["tap-warehouse target-activecampaign"]
