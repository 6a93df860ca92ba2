"""Consent: nobody is subscribed, or stays so, whose record says no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import ACTIVE, NO_GUARDS, UNSUBSCRIBED, activate, address, on_list
from tests.support.target_runner import state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

STREAM = "people"
YES, NO, NULL = True, False, None


@pytest.fixture
def people(load: TargetRunner) -> TargetRunner:
    load.config.update(guards={**NO_GUARDS, "max_consent_loss_pct": None})
    return load


def announce(*names: str, **types: Any) -> dict[str, Any]:
    """A SCHEMA message whose properties `names` may hold anything."""
    properties = {
        "email": {"type": ["string", "null"]},
        "first_name": {"type": ["string", "null"]},
        **{name: types.get(name, {}) for name in names},
    }
    return {
        "type": "SCHEMA",
        "stream": STREAM,
        "schema": {"type": "object", "properties": properties},
        "key_properties": [],
    }


def person(name: str, **values: Any) -> dict[str, Any]:
    record = {"email": address(name), "first_name": name.title(), **values}
    return {"type": "RECORD", "stream": STREAM, "record": record}


def consents(by: str = "marketing_consent", **people: Any) -> list[dict[str, Any]]:
    """All messages of a run: the value of a property with consent, by name."""
    rows = [person(name, **{by: value}) for name, value in people.items()]
    return [announce(by), *rows, state({STREAM: 1})]


def bodies(sandbox: SandboxServer) -> str:
    """Everything that was sent in bodies of requests so far."""
    return "\n".join(str(one.get("body")) for one in sandbox.requests() if one["method"] != "GET")


def skipped(outcome: Outcome) -> dict[str, int]:
    return {code: told["records"] for code, told in outcome.report["skipped"].items()}


def test_only_people_who_have_consented_are_subscribed(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = people(consents(ada=YES, bob=NO, cyd=NULL)).succeeded()

    assert on_list(sandbox) == "ada"
    assert sandbox.contacts().keys() == {address("ada")}
    assert outcome.counts == {"read": 3, "added": 1, "skipped": 2}
    assert skipped(outcome) == {"NO_CONSENT": 1, "CONSENT_UNKNOWN": 1}
    assert "consent is read from 'marketing_consent'" in outcome.log
    assert address("bob") not in bodies(sandbox)
    again = people(consents(ada=YES, bob=NO, cyd=NULL)).succeeded()
    assert again.counts == {"read": 3, "unchanged": 1, "skipped": 2}
    assert skipped(again) == {"NO_CONSENT": 1, "CONSENT_UNKNOWN": 1}


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_person_who_withdraws_consent_is_unsubscribed_and_comes_back(
    people: TargetRunner, sandbox: SandboxServer, mode: str
) -> None:
    people.config["sync_mode"] = mode

    def run(**who: Any) -> Outcome:
        messages = consents(**who)
        return people([*messages[:-1], activate(None, STREAM), messages[-1]]).succeeded()

    people.config["complete_stream"] = True
    run(ada=YES, bob=YES)

    outcome = run(ada=YES, bob=NO)

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "bob"
    assert outcome.counts == {"read": 2, "unchanged": 1, "skipped": 1}
    assert outcome.report["left"] == 1
    assert "1 contacts were unsubscribed" in outcome.log
    again = run(ada=YES, bob=NO)
    assert again.report["left"] == 0
    back = run(ada=YES, bob=YES)
    assert back.counts["unchanged"] == 1
    assert on_list(sandbox) == "ada bob"


def test_person_whom_somebody_else_added_is_unsubscribed(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    sandbox.prepare({"email": address("bob"), "lists": {"1": ACTIVE}})

    people(consents(bob=NO, ada=YES)).succeeded()

    assert on_list(sandbox) == "ada"
    assert on_list(sandbox, UNSUBSCRIBED) == "bob"
    assert address("bob") not in bodies(sandbox)
    people(consents(bob=YES, ada=YES)).succeeded()
    assert on_list(sandbox) == "ada bob"


def test_guard_unsubscribes_nobody_and_the_next_run_goes_on(
    people: TargetRunner, sandbox: SandboxServer
) -> None:
    people.config["guards"] = {}
    names = [f"p{number}" for number in range(10)]
    people(consents(**dict.fromkeys(names, YES))).succeeded()
    lost = {**dict.fromkeys(names, YES), **dict.fromkeys(names[:3], NULL), "p9": NO}
    people(consents(**lost)).succeeded()
    lost.update(dict.fromkeys(names[:3], NO))

    outcome = people(consents(**lost))

    assert outcome.code == 1
    assert "3 of 9 active contacts would be unsubscribed" in outcome.log.splitlines()[-1]
    assert "guards.max_consent_loss_pct: 20" in outcome.log.splitlines()[-1]
    assert len(on_list(sandbox).split()) == 9
    assert people(consents(**lost)).code == 1
    people(consents(**lost), guards={"override_once": True}).succeeded()
    assert len(on_list(sandbox).split()) == 6
