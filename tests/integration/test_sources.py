"""The recipes of docs/sources.md and docs/change-log.md, on messages that real taps sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import example
from tests.support.mirrors import ACTIVE, NO_GUARDS, UNSUBSCRIBED, records
from tests.support.source_recordings import messages
from tests.support.target_runner import schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

FIELDS = {
    "born": "BIRTHDAY",
    "interests": "INTERESTS",
    "points": "LOYALTY_POINTS",
    "seen": "LAST_SEEN",
    "spent": "LIFETIME_VALUE",
}


AFTER_CHANGES = "ana benedict cleo eva finn"
"""The list once the changes of a log were loaded."""


@pytest.fixture
def people(load: TargetRunner) -> TargetRunner:
    """The target for the stream that was recorded; too few people are in it for guards."""
    load.config.update(field_mapping=FIELDS, on_unknown_option="add", guards=NO_GUARDS)
    return load


def settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe for the target."""
    (loader,) = recipe["plugins"]["loaders"]
    assert loader["name"] == "target-activecampaign"
    config: dict[str, Any] = loader["config"]
    return config


def members(sandbox: SandboxServer, status: int = ACTIVE) -> str:
    """Return the people of the list, in alphabetical order."""
    contacts = sandbox.contacts().items()
    on_it = (who for who, contact in contacts if contact["lists"].get("1") == status)
    return " ".join(sorted(who.partition("@")[0] for who in on_it))


def test_full_table(people: TargetRunner, sandbox: SandboxServer) -> None:
    config = settings(example("sources.md", "full table"))
    people(messages("full_table/1_initial"), **config).succeeded()
    assert members(sandbox) == "ana ben cleo dora eva"

    outcome = people(messages("full_table/2_changes"), **config).succeeded()

    assert outcome.counts == {"read": 4, "added": 1, "changed": 1, "unchanged": 2}
    assert members(sandbox) == "ana ben eva kleo"
    assert members(sandbox, UNSUBSCRIBED) == "cleo dora"


def test_full_table_with_soft_deletes(people: TargetRunner, sandbox: SandboxServer) -> None:
    config = settings(example("sources.md", "full table with soft deletes"))
    people(messages("full_table/1_initial"), **config).succeeded()

    outcome = people(messages("full_table/2_changes"), **config).succeeded()

    assert outcome.counts == {"read": 4, "added": 1, "changed": 1, "unchanged": 1, "skipped": 1}
    assert members(sandbox) == "ana eva kleo"
    assert members(sandbox, UNSUBSCRIBED) == "ben cleo dora"


def test_incremental_with_soft_deletes(people: TargetRunner, sandbox: SandboxServer) -> None:
    config = settings(example("sources.md", "incremental"))
    people(messages("incremental/1_initial"), **config).succeeded()

    outcome = people(messages("incremental/2_soft_deletes"), **config).succeeded()

    # The tap asks for rows from the bookmark on, so that the last one comes again.
    assert outcome.counts == {"read": 4, "added": 1, "changed": 1, "unchanged": 1, "skipped": 1}
    assert outcome.report["skipped"]["DELETED"]["records"] == 1
    assert members(sandbox) == "ana dora eva kleo", "ben is deleted, cleo is kleo now"

    outcome = people(messages("incremental/3_return"), **config).succeeded()

    assert outcome.counts == {"read": 2, "changed": 1, "unchanged": 1}
    assert members(sandbox) == "ana ben dora eva kleo"


@pytest.mark.parametrize("identity", ["default", "full"])
def test_log_based(people: TargetRunner, sandbox: SandboxServer, identity: str) -> None:
    config = settings(example("change-log.md", "log based"))
    people(messages(f"log_based_{identity}/1_initial"), **config).succeeded()
    assert members(sandbox) == "ana ben cleo dora eva", "nobody from before the slot"

    outcome = people(messages(f"log_based_{identity}/2_changes"), **config).succeeded()

    assert outcome.counts["read"] == 18
    assert outcome.report["skipped"]["DELETED"]["records"] == 3
    assert members(sandbox) == AFTER_CHANGES
    assert sandbox.contacts()["cleo@example.com"]["first_name"] == "Cleo"
    assert sandbox.contacts()["finn@example.com"]["first_name"] == "Finn"

    outcome = people(messages(f"log_based_{identity}/3_truncated"), **config).succeeded()

    assert outcome.counts["skipped"] == 1
    assert people(messages(f"log_based_{identity}/4_quiet"), **config).succeeded().counts == {}


def test_log_based_by_an_index_on_the_address(people: TargetRunner, sandbox: SandboxServer) -> None:
    outcome = people(messages("log_based_identities/1_index")).succeeded()
    # The delete has the address that the row had last, and takes this contact back.
    assert outcome.counts == {"read": 5, "added": 3, "merged": 1, "skipped": 1}
    assert members(sandbox) == "ana ben cleo"


def test_log_based_values_are_those_of_the_table(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people(messages("log_based_bootstrapped/1_initial")).succeeded()
    ana = sandbox.contacts()["ana@example.com"]["fields"]
    assert {"BIRTHDAY", "INTERESTS", "LOYALTY_POINTS", "LAST_SEEN", "LIFETIME_VALUE"} <= ana.keys()

    # The log has them in other forms: a time with a blank, a JSON column as text.
    outcome = people(messages("log_based_default/1_initial")).succeeded()

    assert outcome.counts == {"read": 5, "unchanged": 5}


def test_log_based_after_a_killed_run(people: TargetRunner, sandbox: SandboxServer) -> None:
    for run in ("1_initial", "2_killed", "3_again"):
        outcome = people(messages(f"log_based_interrupted/{run}")).succeeded()
    assert outcome.counts == {"read": 4, "added": 1, "unchanged": 2, "skipped": 1}
    assert members(sandbox) == "ana ben cleo dora eva"


@pytest.mark.parametrize("name", ["incremental/1_initial", "log_based_full/1_initial"])
def test_stream_of_changes_is_no_complete_stream(people: TargetRunner, name: str) -> None:
    assert people(messages(name), sync_mode="mirror").code == 1


def test_status_column(load: TargetRunner, sandbox: SandboxServer) -> None:
    config = settings(example("sources.md", "status column"))
    load.config["guards"] = NO_GUARDS
    begin = schema("people", status="string")
    ana, ben = records("ana ben", "people", status="active")
    load([begin, ana, ben], **config).succeeded()
    assert members(sandbox) == "ana ben"

    (former,) = records("ben", "people", status="cancelled")
    load([begin, former], **config).succeeded()

    assert members(sandbox) == "ana"


def test_changes_and_the_whole_table_together(people: TargetRunner, sandbox: SandboxServer) -> None:
    often, seldom = example("sources.md", "together")["plugins"]["loaders"]
    config, whole = often["config"], {**often["config"], **seldom["config"]}
    for one in (config, whole):
        del one["deleted_properties"]  # as the guide says of a change log
    begin, *rows, end = messages("full_table/1_initial")
    people([begin, *rows, end], **whole).succeeded()
    people(messages("log_based_default/2_changes"), **config).succeeded()
    assert members(sandbox) == AFTER_CHANGES

    outcome = people([begin, *rows[1:], end], **whole).succeeded()

    assert members(sandbox) == "ben cleo dora eva"
    drift = outcome.report["streams"]["public-people"]["mirror"]["drift"]
    assert drift["missing"] > 0


def test_files(load: TargetRunner, sandbox: SandboxServer) -> None:
    config = settings(example("sources.md", "full table"))
    load.config["guards"] = NO_GUARDS
    (of,) = config["streams"]
    load([schema(of), *records("ana ben cleo", of)], **config).succeeded()
    load([schema(of), *records("ana ben", of)], **config).succeeded()
    assert members(sandbox) == "ana ben"


@pytest.mark.parametrize(
    ("marker", "alive", "gone"),
    [
        ("_ab_cdc_deleted_at", None, "2026-01-02T03:04:05Z"),
        ("_fivetran_deleted", False, True),
    ],
)
def test_replicated_table(
    load: TargetRunner, sandbox: SandboxServer, marker: str, alive: Any, gone: Any
) -> None:
    config = settings(example("sources.md", "full table"))
    load.config["guards"] = NO_GUARDS
    (of,) = config["streams"]
    begin = schema(of, **{marker: "boolean" if gone is True else "string"})
    ana, ben, cleo = records("ana ben cleo", of, **{marker: alive})
    load([begin, ana, ben, cleo], **config).succeeded()

    (deleted,) = records("ben", of, **{marker: gone})
    outcome = load([begin, ana, deleted], **config).succeeded()

    assert outcome.counts == {"read": 2, "unchanged": 1, "skipped": 1}
    assert members(sandbox) == "ana"
