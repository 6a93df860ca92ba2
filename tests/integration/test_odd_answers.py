"""Answers that contradict what was sent: nobody counts as delivered by one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import QUICK_RETRIES
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.target_runner import Outcome, people, schema, state
from tests.support.unforeseen import hide_refusals, questions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

IMPORT = "/api/3/import/bulk_import"
INFO = {"method": "GET", "path": "/api/3/import/info"}


def person(number: int) -> str:
    return f"person{number}@example.com"


def kinds(outcome: Outcome) -> set[str]:
    """The kinds of contradiction that the report tells."""
    return {one["kind"] for one in outcome.report["contradictions"]}


def arrived(sandbox: SandboxServer) -> set[str]:
    """Who is on the list with the values that were sent."""
    return {
        one["email"]
        for one in sandbox.export()
        if one["first_name"].startswith("Person") and one["lists"].get("1") == 1
    }


def test_contacts_not_queued_are_rejected(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.fault("queue_partial", contacts=[person(3), person(7)])
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert arrived(sandbox) == {person(n) for n in range(10)} - {person(3), person(7)}
    assert outcome.counts == {"read": 10, "added": 8, "rejected": 2}
    assert outcome.codes == {person(3): "NOT_CREATED", person(7): "NOT_CREATED"}
    assert outcome.states == ["end"]
    assert kinds(outcome) == {"QUEUED_FEWER"}
    assert any("8 were queued" in line for line in outcome.warnings)
    sandbox.clear_faults()
    again = load([schema(), *people(10)]).succeeded()
    assert again.counts == {"read": 10, "added": 2, "unchanged": 8}


def test_existing_contact_not_queued_is_not_counted_as_updated(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    there = {"lists": {"1": 1}, "first_name": "Old"}
    off_list = {"first_name": "Person 6"}
    sandbox.prepare(*({"email": person(n), **there} for n in range(5)))
    sandbox.prepare({"email": person(6), **off_list})
    sandbox.fault("queue_partial", contacts=[person(3), person(6)])
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.counts == {"read": 10, "added": 8, "rejected": 2}
    assert outcome.codes == {person(3): "NOT_IMPORTED", person(6): "NOT_IMPORTED"}
    contacts = sandbox.contacts()
    assert contacts[person(3)]["first_name"] == "Old"
    assert contacts[person(1)]["first_name"] == "Person 1"


def test_old_custom_value_is_noticed_in_contact_just_changed(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare(
        {
            "email": person(2),
            "first_name": "Person 2",
            "lists": {"1": 1},
            "fields": {"NOTES": "old", "LAST_SEEN": "2026-01-02T03:04:05-06:00"},
        }
    )
    sandbox.fault("queue_partial", contacts=[person(2)])
    outcome = load(
        [
            schema(notes="string", last_seen="string"),
            *people(5, notes="new", last_seen="2026-05-01T10:00:00Z"),
        ]
    ).succeeded()
    assert outcome.codes == {person(2): "NOT_IMPORTED"}
    assert outcome.counts == {"read": 5, "added": 4, "rejected": 1}


def test_excluded_contacts_explain_queued_count(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.prepare(excluded=(person(1), person(2), person(3)))
    hide_refusals(sandbox)
    outcome = load([schema(), *people(5)]).succeeded()
    assert outcome.counts == {"read": 5, "added": 2, "rejected": 3}
    assert set(outcome.codes.values()) == {"NOT_CREATED"}
    assert questions(sandbox) == 3
    assert kinds(outcome) == set()
    assert outcome.warnings == []


def test_excluded_and_missing_contacts_are_distinguished(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": person(4), "lists": {"1": 2}}, excluded=(person(1),))
    hide_refusals(sandbox)
    sandbox.fault("queue_partial", contacts=[person(2), person(3)])
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.codes == {
        person(1): "NOT_CREATED",
        person(2): "NOT_CREATED",
        person(3): "NOT_CREATED",
        person(4): "OPTED_OUT",
    }
    assert arrived(sandbox) == {person(n) for n in (0, 5, 6, 7, 8, 9)}


@pytest.mark.parametrize("limit", [0, 3, 30])
def test_smaller_imports_find_contacts_beyond_diagnose_limit(
    sandbox: SandboxServer, load: TargetRunner, limit: int
) -> None:
    lost = [person(11), person(47)]
    sandbox.fault("queue_partial", contacts=lost)
    outcome = load([schema(), *people(60), state("end")], diagnose_limit=limit).succeeded()
    assert arrived(sandbox) == {person(n) for n in range(60)} - set(lost)
    assert outcome.counts == {"read": 60, "added": 58, "rejected": 2}
    assert set(outcome.codes) == set(lost)
    assert outcome.states == ["end"]
    assert questions(sandbox) <= limit


COUNTS = [None, True, False, -1, 11, 10**30, "ten", "", [10], {"n": 10}, 9.5]


@pytest.mark.parametrize("count", COUNTS, ids=repr)
@pytest.mark.parametrize("lost", [0, 2])
def test_impossible_count_confirms_no_contact(
    sandbox: SandboxServer, load: TargetRunner, count: Any, lost: int
) -> None:
    sandbox.fault("altered", match={"path": IMPORT}, values={"queued_contacts": count})
    _check_odd(sandbox, load, lost, {"COUNT_UNCLEAR"})


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize(
    "how",
    [
        {"without": ["queued_contacts"]},
        {"values": {"success": 0}},
        {"values": {"success": False}},
        {"values": {"failureReasons": [{"contact": 3, "failureReason": "bad"}]}},
    ],
    ids=str,
)
def test_contradictory_answer_confirms_no_contact(
    sandbox: SandboxServer, load: TargetRunner, how: dict[str, Any], lost: int
) -> None:
    sandbox.fault("altered", match={"path": IMPORT}, **how)
    _check_odd(sandbox, load, lost, {"COUNT_UNCLEAR"})


def _check_odd(sandbox: SandboxServer, load: TargetRunner, lost: int, told: set[str]) -> None:
    """Load ten people of whom some are deleted while it runs, and see that they are found."""
    if lost:
        # The first two are not applied, and no count tells.
        sandbox.prepare(*({"email": person(n), "lists": {"1": 2}} for n in range(lost)))
        sandbox.fault("altered", match=INFO, values={"failure": []})
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert kinds(outcome) == told
    assert outcome.codes == {person(n): "OPTED_OUT" for n in range(lost)}
    assert outcome.counts["added"] == 10 - lost
    assert outcome.states == ["end"]


@pytest.mark.parametrize("count", ["10", 10.0, " 10 "])
def test_count_may_be_text_or_float(sandbox: SandboxServer, load: TargetRunner, count: Any) -> None:
    sandbox.fault("altered", match={"path": IMPORT}, values={"queued_contacts": count})
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert questions(sandbox) == 0
    assert outcome.warnings == []


@pytest.mark.parametrize("batch", [None, "", True, ["x"], {"id": 1}, "x" * 100_000, "a\nb", 1.5])
def test_import_without_batch_id_is_looked_up(
    sandbox: SandboxServer, load: TargetRunner, batch: Any
) -> None:
    sandbox.fault("altered", match={"path": IMPORT}, times=1, values={"batchId": batch})
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert len(sandbox.imports()) == 1, "it was not sent again"


def test_run_fails_if_batch_ids_are_always_missing(sandbox: SandboxServer, tmp_path: Path) -> None:
    """It looks contacts up, but not without end."""
    sandbox.fault("altered", match={"method": "POST", "path": IMPORT}, without=["batchId"])
    server = ForkServer(replace(QUICK_RETRIES, lost_answer_lookups=5))
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, server)
    outcome = load([schema(), *people(10), state("end")])
    assert outcome.code == 1
    assert outcome.states == []
    assert "batchId" in outcome.log.splitlines()[-1]


@pytest.mark.parametrize("batch", ["a b&c=d#e%2F?", "übung", 17, "x" * 200])
def test_import_with_unknown_batch_id_is_sent_again(
    sandbox: SandboxServer, load: TargetRunner, batch: Any
) -> None:
    sandbox.fault("altered", match={"path": IMPORT}, times=1, values={"batchId": batch})
    outcome = load([schema(), *people(10), state("end")], import_timeout=1).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert outcome.states == ["end"]


def test_repeated_batch_id_confirms_no_contact(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.fault("import_batch_again", first=3, times=1)
    sandbox.fault("queue_failed", match={"path": IMPORT, "contains": '"person25@'}, times=1)
    outcome = load([schema(), *people(60), state("end")], batch_size_rows=10).succeeded()
    assert arrived(sandbox) == {person(n) for n in range(60)}
    assert outcome.counts == {"read": 60, "added": 60}
    assert kinds(outcome) == {"BATCH_ID_AGAIN"}


def test_run_fails_if_all_imports_have_one_batch_id(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("import_batch_again", first=2)
    outcome = load(
        [schema(), *people(10), state("first"), *people(200)[10:], state("end")],
        batch_size_rows=10,
    )
    assert outcome.code == 1
    assert "end" not in outcome.states
    assert outcome.rejects == []


def test_status_of_another_import_is_ignored(sandbox: SandboxServer, load: TargetRunner) -> None:
    other = {"batchId": "another", "status": "completed", "failure": [], "success": []}
    sandbox.fault("queue_failed", times=1)
    sandbox.fault("altered", match=INFO, times=3, values=other)
    outcome = load([schema(), *people(10), state("end")]).succeeded()
    assert arrived(sandbox) == {person(n) for n in range(10)}
    assert kinds(outcome) == {"BATCH_ID_OTHER"}


def test_lasting_status_of_another_import_confirms_no_contact(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("altered", match=INFO, values={"batchId": "another"})
    outcome = load([schema(), *people(2), state("end")], import_timeout=1).succeeded()
    assert outcome.counts == {"read": 2, "rejected": 2}
    assert set(outcome.codes.values()) == {"IMPORT_TIMEOUT"}


@pytest.mark.parametrize("status", ["paused", "3", 3, "done"])
def test_unknown_status_is_reported_and_polled_again(
    sandbox: SandboxServer, load: TargetRunner, status: Any
) -> None:
    sandbox.fault("altered", match=INFO, times=3, values={"status": status})
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert kinds(outcome) == {"STATUS_UNKNOWN"}


def test_status_that_goes_backwards_is_reported(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.fault("altered", match=INFO, times=1, values={"status": "active"})
    sandbox.fault("altered", match=INFO, times=1, values={"status": "waiting"})
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert kinds(outcome) == {"STATUS_BACKWARDS"}


@pytest.mark.parametrize("status", [" Completed ", "COMPLETED"])
def test_status_may_have_any_case(sandbox: SandboxServer, load: TargetRunner, status: str) -> None:
    sandbox.fault("altered", match=INFO, values={"status": status})
    assert kinds(load([schema(), *people(5)]).succeeded()) == set()


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([str(n) for n in range(11)], "SUCCESS_MORE"),
        (["5", "5"], "SUCCESS_ODD"),
        (["-3", "x"], "SUCCESS_ODD"),
        (["", "7"], "SUCCESS_ODD"),
    ],
)
def test_invalid_contact_ids_are_reported(
    sandbox: SandboxServer, load: TargetRunner, ids: list[str], told: str
) -> None:
    sandbox.fault("altered", match=INFO, values={"success": ids})
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.counts == {"read": 10, "added": 10}
    assert kinds(outcome) == {told}


def test_failures_never_sent_are_reported_and_all_contacts_checked(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": person(3), "lists": {"1": 2}})
    strangers = [f"stranger{n}@example.org" for n in range(12)]
    sandbox.fault("altered", match=INFO, values={"failure": strangers})
    outcome = load([schema(), *people(10)]).succeeded()
    assert outcome.counts == {"read": 10, "added": 9, "rejected": 1}
    assert outcome.codes == {person(3): "OPTED_OUT"}
    assert kinds(outcome) == {"FAILURE_UNKNOWN"}


def test_failed_address_is_recognised_in_another_spelling(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [schema(), *people(5)]
    messages[3]["record"]["email"] = "person2@bücher.example"
    failure = [" PERSON1@Example.COM ", "Person2@BÜCHER.example", "person3@example.com"]
    sandbox.fault("altered", match=INFO, values={"failure": failure})
    outcome = load(messages).succeeded()
    assert set(outcome.codes) == {person(1), "person2@bücher.example", person(3)}
    assert kinds(outcome) == set()


@pytest.mark.parametrize("failure", ["person1@example.com", 3, True, [None], [{"a": 1}]])
def test_failure_of_another_shape_confirms_no_contact(
    sandbox: SandboxServer, load: TargetRunner, failure: Any
) -> None:
    sandbox.fault("altered", match=INFO, values={"failure": failure})
    outcome = load([schema(), *people(5), state("end")])
    assert outcome.code == 1
    assert outcome.states == []
    assert "failure" in outcome.log.splitlines()[-1]
    sandbox.clear_faults()
    assert load([schema(), *people(5), state("end")]).succeeded().states == ["end"]


def test_run_that_dies_after_partial_import_delivers_all_in_the_next(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("queue_partial", contacts=[person(3)])
    sandbox.fault("payment", match={"method": "GET", "path": "/api/3/contacts"})
    outcome = load([schema(), *people(10), state("end")])
    assert outcome.code == 1
    assert outcome.states == []
    sandbox.clear_faults()
    load([schema(), *people(10), state("end")]).succeeded()
    assert arrived(sandbox) == {person(n) for n in range(10)}


def test_report_page_shows_contradictions(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.fault("queue_partial", contacts=[person(3)])
    outcome = load([schema(), *people(10)]).succeeded()
    (page,) = outcome.folder.glob("reports/run-*.html")
    text = page.read_text("utf-8")
    assert "Contradictory responses" in text
    assert "QUEUED_FEWER" in text


def test_contradictory_status_of_earlier_runs_import_confirms_no_contact(
    start_sandbox: Any, target_for: Any
) -> None:
    sandbox = start_sandbox(latency=1.5)
    load = target_for(sandbox)
    sandbox.fault("payment", match=INFO)
    assert load([schema(), *people(5), state("end")]).code == 1
    sandbox.clear_faults()
    sandbox.fault("altered", match=INFO, values={"failure": ["who@example.org"]})
    outcome = load([schema(), *people(5), state("end")]).succeeded()
    assert kinds(outcome) == {"FAILURE_UNKNOWN"}
    assert {one["times_imported"] for one in sandbox.export()} == {1}, "they were looked up"
