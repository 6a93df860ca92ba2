"""Records that can't be delivered: found, named, kept, and ready to come back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner


def addresses(sandbox: SandboxServer) -> set[str]:
    return {one["email"] for one in sandbox.export()}


def test_invalid_records_are_rejected_and_the_run_continues(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load(
        [
            schema(birthday="string", notes="string"),
            record(None, first_name="nameless"),
            record("no-address"),
            record("big@example.com", notes="x" * 400_000),
            record("born@example.com", birthday="last spring"),
            record("typed@example.com", first_name=7),
            record("good@example.com"),
            state("end"),
        ]
    ).succeeded()
    assert addresses(sandbox) == {"good@example.com"}
    assert outcome.codes == {
        None: "EMAIL_MISSING",
        "no-address": "EMAIL_INVALID",
        "big@example.com": "CONTACT_TOO_LARGE",
        "born@example.com": "VALUE_INVALID",
        "typed@example.com": "RECORD_INVALID",
    }
    assert outcome.counts == {"read": 6, "added": 1, "invalid": 5}
    assert outcome.states == ["end"]
    (path,) = outcome.reject_files
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_reject_file_without_a_refusal(load: TargetRunner) -> None:
    assert load([schema(), *people(3)]).succeeded().reject_files == []


def test_validate_records_off_skips_validation(sandbox: SandboxServer, load: TargetRunner) -> None:
    load([schema(), record("a@example.com", first_name=7)], validate_records=False).succeeded()
    assert [one["first_name"] for one in sandbox.export()] == ["7"]


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("place", [0, 1, 120, 248, 249])
def test_refused_import_rejects_only_the_bad_contact(
    start_sandbox: Any, target_for: Any, base: int, place: int
) -> None:
    sandbox = start_sandbox(index_base=base)
    load = target_for(sandbox)
    # An address that is good by the book, so that only ActiveCampaign finds fault with it.
    sandbox.prepare(malformed=(f"person{place}@example.com",))
    outcome = load([schema(), *people(250), state("end")]).succeeded()
    assert outcome.codes == {f"person{place}@example.com": "REFUSED_BY_IMPORT"}
    assert len(addresses(sandbox)) == 249
    assert outcome.states == ["end"]
    assert len(sandbox.requests(path="/api/3/import/bulk_import", method="POST")) <= 4


def test_contact_dropped_by_the_queue_is_rejected(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": "person7@example.com", "lists": {"1": 2}})
    outcome = load([schema(), *people(20), state("end")]).succeeded()
    assert outcome.codes == {"person7@example.com": "OPTED_OUT"}
    assert outcome.counts == {"read": 20, "added": 19, "rejected": 1}
    by_address = {one["email"]: one["lists"] for one in sandbox.export()}
    assert by_address["person7@example.com"] == {"1": 2}, "still unsubscribed"
    assert len(by_address) == 20


def test_all_records_of_a_rejected_contact_are_in_the_reject_file(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": "ada@example.com", "lists": {"1": 2}})
    outcome = load(
        [
            schema(phone="string"),
            record("ada@example.com", phone="1"),
            record("ADA@example.com", first_name="Ada"),
            record("bob@example.com"),
        ]
    ).succeeded()
    assert [r["email"] for r in outcome.rejects] == ["ada@example.com", "ADA@example.com"]
    assert outcome.counts == {"read": 3, "added": 1, "rejected": 2}


def test_corrected_reject_file_can_be_loaded(sandbox: SandboxServer, load: TargetRunner) -> None:
    numbers = {"type": ["number", "null"]}
    outcome = load(
        [
            schema(lifetime_value=numbers, nested={"type": ["object", "null"]}),
            record("ada(at)example.com", lifetime_value=1.10, nested={"a": [1]}),
            record("bob@example.com"),
        ]
    ).succeeded()
    (path,) = outcome.reject_files
    kept = json.loads(path.read_text().splitlines()[1])["record"]
    assert {k: v for k, v in kept.items() if not k.startswith("_")} == {
        "email": "ada(at)example.com",
        "lifetime_value": 1.10,
        "nested": {"a": [1]},
    }
    corrected = path.read_bytes().replace(b"ada(at)example.com", b"ada@example.com")
    again = load(corrected).succeeded()
    assert addresses(sandbox) == {"ada@example.com", "bob@example.com"}
    assert again.counts == {"read": 1, "added": 1}
    assert again.reject_files == [path]


def test_uncorrected_reject_file_is_rejected_again(load: TargetRunner) -> None:
    outcome = load([schema(), record("nobody")]).succeeded()
    again = load(outcome.reject_files[0].read_bytes()).succeeded()
    assert again.counts == {"read": 1, "invalid": 1}


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_rejects": 1}, 1),
        ({"max_rejects": 2}, 0),
        ({"max_reject_pct": 19.9}, 1),
        ({"max_reject_pct": 20}, 0),
    ],
)
def test_reject_limits_fail_the_run_after_settling(
    sandbox: SandboxServer, load: TargetRunner, limits: dict[str, Any], code: int
) -> None:
    bad = [record(f"nobody{n}") for n in range(2)]
    outcome = load([schema(), *people(8), *bad, state("end")], **limits)
    assert outcome.code == code
    assert len(sandbox.export()) == 8, "what was read is settled all the same"
    assert outcome.states == ["end"]
    assert outcome.counts == {"read": 10, "added": 8, "invalid": 2}
    if code:
        assert next(iter(limits)) in outcome.log.splitlines()[-1]


def test_max_rejects_counts_the_last_record(load: TargetRunner) -> None:
    data = lines([schema(), record("nobody")]).rstrip(b"\n")
    assert load(data, max_rejects=0).code == 1


def test_max_rejects_counts_contacts_dropped_by_the_queue(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": "person1@example.com", "lists": {"1": 2}})
    outcome = load([schema(), *people(5), state(1)], max_rejects=0)
    assert outcome.code == 1
    assert outcome.states == [1]


def test_imports_in_flight_are_settled_when_another_import_fails(
    start_sandbox: Any, target_for: Any
) -> None:
    sandbox = start_sandbox(latency=1.5)
    sandbox.fault("payment", match={"path": "*bulk_import"}, first=2)
    messages = [schema(), *people(10), state("first"), *people(15)[10:]]
    outcome = target_for(sandbox)(messages, batch_size_rows=10, max_in_flight=1)
    assert outcome.code == 1
    assert outcome.states == ["first"]
    assert outcome.report["counts"]["added"] == 10
