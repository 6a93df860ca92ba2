"""Why a contact was refused: found by questions that change nothing, within a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import people, schema, state
from tests.support.unforeseen import hide_refusals, questions

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner


def person(number: int) -> str:
    return f"person{number}@example.com"


def test_rejection_codes_are_looked_up(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.prepare(
        {"email": person(1), "lists": {"1": 2}},
        {"email": person(2), "bounced": True},
        {"email": person(4), "lists": {"2": 2}},
        excluded=(person(3),),
    )
    hide_refusals(sandbox)
    before = {one["email"]: one for one in sandbox.export()}
    outcome = load([schema(), *people(20), state("end")]).succeeded()
    assert outcome.codes == {
        person(1): "OPTED_OUT",
        person(2): "BOUNCED",
        person(3): "NOT_CREATED",
    }, "having left another list is no obstacle"
    assert outcome.counts == {"read": 20, "added": 17, "rejected": 3}
    after = sandbox.contacts()
    assert after[person(1)]["lists"] == before[person(1)]["lists"], "asking changes nothing"
    methods = {one["method"] for one in sandbox.requests() if "import" not in one["path"]}
    assert methods == {"GET"}


def test_account_at_its_limit_is_recognized(start_sandbox: Any, target_for: Any) -> None:
    sandbox = start_sandbox(
        limits=True, account_limit=10, requests_per_second=0, multi_imports_per_minute=0
    )
    sandbox.prepare(*({"email": person(n)} for n in range(10)))
    outcome = target_for(sandbox)([schema(), *people(25), state("end")]).succeeded()
    assert set(outcome.codes.values()) == {"ACCOUNT_LIMIT"}
    assert outcome.counts == {"read": 25, "added": 10, "rejected": 15}


@pytest.mark.parametrize("limit", [0, 3])
def test_diagnose_limit_bounds_lookups(
    sandbox: SandboxServer, load: TargetRunner, limit: int
) -> None:
    sandbox.prepare(*({"email": person(n), "lists": {"1": 2}} for n in range(8)))
    hide_refusals(sandbox)
    outcome = load([schema(), *people(20)], diagnose_limit=limit).succeeded()
    codes = list(outcome.codes.values())
    assert codes.count("OPTED_OUT") == limit
    assert codes.count("REFUSED_BY_IMPORT") == 8 - limit
    assert questions(sandbox) == limit


def test_contact_that_fails_every_import_is_rejected(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("queue_failed", match={"path": "*bulk_import", "contains": person(13)})
    outcome = load([schema(), *people(60), state("end")], batch_size_rows=20).succeeded()
    assert outcome.codes == {person(13): "IMPORT_FAILED"}
    assert outcome.counts == {"read": 60, "added": 59, "rejected": 1}
    assert outcome.states == ["end"]


def test_failing_queue_rejects_no_contact(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.fault("queue_failed", match={"path": "*bulk_import"})
    outcome = load([schema(), *people(200), state("end")], batch_size_rows=20)
    assert outcome.code == 1
    assert "imports in a row failed" in outcome.log.splitlines()[-1]
    assert outcome.states == []
    assert outcome.rejects == []
    assert outcome.report["counts"]["unsettled"] == 200
    sandbox.clear_faults()
    assert load([schema(), *people(200), state("end")]).succeeded().states == ["end"]
    assert len(sandbox.export()) == 200


def test_refusal_without_names_finds_bad_contacts(start_sandbox: Any, target_for: Any) -> None:
    sandbox = start_sandbox(latency=1)
    for number in (3, 170, 171):
        sandbox.fault("invalid", match={"path": "*bulk_import", "contains": person(number)})
    outcome = target_for(sandbox)([schema(), *people(250), state("end")]).succeeded()
    assert set(outcome.codes) == {person(3), person(170), person(171)}
    assert outcome.counts == {"read": 250, "added": 247, "rejected": 3}
