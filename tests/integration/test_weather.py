"""A server that answers late, not at all, or with a limit: nothing good is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

IMPORT = {"method": "POST", "path": "/api/3/import/bulk_import"}
QUESTION = {"method": "GET", "path": "/api/3/import/info"}


@pytest.mark.parametrize("match", [IMPORT, QUESTION])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("slow", {"seconds": 3, "takes_effect": False}),
        ("slow", {"seconds": 3, "takes_effect": True}),
        ("reset", {"takes_effect": False}),
        ("reset", {"takes_effect": True}),
        ("unavailable", {}),
        ("malformed", {}),
    ],
)
def test_short_connection_fault_loses_no_record(
    sandbox: SandboxServer, load: TargetRunner, match: dict[str, str], kind: str, more: Any
) -> None:
    sandbox.fault(kind, match=match, times=1, **more)
    outcome = load([schema(), *people(600), state("end")], request_timeout=1).succeeded()
    assert outcome.states == ["end"]
    assert outcome.counts == {"read": 600, "added": 600}
    assert len(sandbox.export()) == 600
    assert sum(fault["fired"] for fault in sandbox.faults()) == 1


@pytest.mark.parametrize("kind", ["queue_failed", "queue_interrupted"])
def test_failed_import_is_retried(sandbox: SandboxServer, load: TargetRunner, kind: str) -> None:
    sandbox.fault(kind, times=1)
    outcome = load([schema(), *people(300), state("end")]).succeeded()
    assert outcome.counts == {"read": 300, "added": 300}
    assert len(sandbox.export()) == 300


def test_unconfirmed_import_is_retried(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.fault("queue_stuck", times=1)
    outcome = load([schema(), *people(30), state("end")], import_timeout=1).succeeded()
    assert outcome.counts == {"read": 30, "added": 30}
    assert outcome.states == ["end"]


def test_bad_contact_in_a_retried_import_is_rejected_alone(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("queue_failed", times=1)
    sandbox.prepare({"email": "person3@example.com", "lists": {"1": 2}})
    outcome = load([schema(), *people(10), record("nobody"), state("end")]).succeeded()
    assert outcome.codes == {"person3@example.com": "OPTED_OUT", "nobody": "EMAIL_INVALID"}
    assert outcome.counts == {"read": 11, "added": 9, "rejected": 1, "invalid": 1}


def test_account_limits_are_kept(start_sandbox: Any, target_for: Any) -> None:
    sandbox = start_sandbox(limits=True)
    load = target_for(sandbox)
    own = {name: None for name in load.config if name.endswith(("_per_second", "_per_minute"))}
    load([schema(), *people(1300), state("end")], **own).succeeded()
    assert len(sandbox.export()) == 1300
    assert sandbox.stats()["refusals"] == {}
