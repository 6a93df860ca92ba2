"""Refusals that are not for the contacts: the run ends, and hardly anyone is rejected by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import people, record, schema, state
from tests.support.unforeseen import hide_refusals

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

IMPORT = {"method": "POST", "path": "/api/3/import/bulk_import"}
INFO = {"method": "GET", "path": "/api/3/import/info"}
BAD = "Field 'email' incorrect format"

SYSTEMATIC: dict[str, dict[str, Any]] = {
    "all named, from 1": {"kind": "import_refused_all"},
    "all named, from 0": {"kind": "import_refused_all", "base": 0},
    "none named": {"kind": "import_refused", "reasons": ["Something is wrong."]},
    "no reasons": {"kind": "import_refused", "reasons": []},
    "reasons are no objects": {"kind": "import_refused", "reasons": [None, 3, [], {}]},
    "first named": {"kind": "import_refused", "reasons": [{"contact": 1}]},
    "place 0": {"kind": "import_refused", "reasons": [{"contact": 0, "failureReason": BAD}]},
    "twice the same": {"kind": "import_refused", "reasons": [{"contact": 2.0}, {"contact": "2"}]},
    **{
        f"position {position!r}": {"kind": "import_refused", "reasons": [{"contact": position}]}
        for position in (-1, 9999, 10**30, "first", 1.5, True, None, [1])
    },
    "invalid": {"kind": "invalid"},
    "too large": {"kind": "too_large"},
    "200 that says no": {
        "kind": "altered",
        "values": {"success": 0, "message": "The import was not queued."},
        "without": ["batchId", "queued_contacts"],
    },
    "failed": {"kind": "queue_failed"},
    "interrupted": {"kind": "queue_interrupted"},
    "all dropped": {"kind": "queue_drop", "contacts": 250},
    "none queued": {"kind": "queue_partial", "contacts": 250},
}


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        *((kind, 1) for kind in SYSTEMATIC),
        *((kind, 3) for kind in ("all named, from 1", "none named", "place 0", "all dropped")),
    ],
)
def test_outage_ends_the_run_and_rejects_no_contact(
    sandbox: SandboxServer, load: TargetRunner, kind: str, first: int
) -> None:
    sandbox.fault(**{"match": IMPORT, **SYSTEMATIC[kind]}, first=first)
    messages = [schema(), *people(600), state("end")]
    outcome = load(messages, batch_size_rows=50, max_in_flight=1)
    assert outcome.code == 1, outcome.log
    assert outcome.states == []
    assert outcome.rejects == []
    last = outcome.log.splitlines()[-1]
    assert "no contact was rejected" in last
    assert "unconfirmed records are sent again" in last
    sandbox.clear_faults()
    load(messages).succeeded()
    assert len(sandbox.export()) == 600


def test_outage_is_detected_from_two_large_imports(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("import_refused_all")
    outcome = load([schema(), *people(500), state("end")])
    assert outcome.code == 1
    assert outcome.rejects == []
    assert outcome.report["counts"]["unsettled"] == 500


def test_single_refusal_naming_all_contacts_rejects_none(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("import_refused_all", first=2, times=1)
    outcome = load([schema(), *people(100), state("end")], batch_size_rows=20).succeeded()
    assert outcome.counts == {"read": 100, "added": 100}
    assert [one["kind"] for one in outcome.report["contradictions"]] == ["POSITIONS"]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "import_refused_all"},
        {"kind": "import_refused_all", "base": 0},
        {"kind": "import_refused"},
        {"kind": "invalid"},
        {"kind": "queue_drop", "contacts": 250},
        {"kind": "queue_failed"},
        {"kind": "queue_partial", "contacts": 250},
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [1, 3, 5])
def test_few_refused_contacts_are_rejected_without_a_working_import(
    sandbox: SandboxServer, load: TargetRunner, fault: dict[str, Any], count: int
) -> None:
    sandbox.fault(**{"match": IMPORT, **fault})
    outcome = load([schema(), *people(count), state("end")]).succeeded()
    assert outcome.counts == {"read": count, "rejected": count}
    assert len(outcome.rejects) == count
    assert outcome.states == ["end"]


def test_many_opted_out_contacts_are_no_outage(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.prepare(*({"email": f"person{n}@example.com", "lists": {"1": 2}} for n in range(300)))
    hide_refusals(sandbox)
    messages = [schema(), *people(300), state("end")]
    outcome = load(messages, batch_size_rows=10, diagnose_limit=30).succeeded()
    assert outcome.counts == {"read": 300, "rejected": 300}
    codes = list(outcome.codes.values())
    assert codes.count("OPTED_OUT") == 30
    assert outcome.states == ["end"]


def test_many_dropped_contacts_in_one_import_are_no_outage(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare(excluded=tuple(f"person{n}@example.com" for n in range(100)))
    hide_refusals(sandbox)
    outcome = load([schema(), *people(120), state("end")]).succeeded()
    assert outcome.counts == {"read": 120, "added": 20, "rejected": 100}


def test_held_refusal_does_not_block_a_later_record(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.fault("import_refused_all", match={**IMPORT, "contains": '"Person '})
    messages = [
        schema(),
        *people(3),
        # So many that the people's later records are compared apart from the first ones.
        *(record(None) for _ in range(1200)),
        *(record(f"person{n}@example.com", first_name="Later") for n in range(9)),
        state("end"),
    ]
    outcome = load(messages, batch_size_rows=3, max_in_flight=1).succeeded()
    assert outcome.counts == {"read": 1212, "added": 9, "rejected": 3, "invalid": 1200}
    assert {one["first_name"] for one in sandbox.export()} == {"Later"}
    assert outcome.states == ["end"]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "import_refused_all", "times": 8},
        {"kind": "queue_drop", "contacts": 250, "times": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [1, 3])
def test_short_outage_rejects_no_contact(
    sandbox: SandboxServer, load: TargetRunner, fault: dict[str, Any], first: int
) -> None:
    sandbox.fault(**{"match": IMPORT, **fault}, first=first)
    messages = [schema(), *people(600), state("end")]
    outcome = load(messages, batch_size_rows=50, max_in_flight=1).succeeded()
    assert outcome.counts == {"read": 600, "added": 600}
    assert outcome.states == ["end"]


def test_contacts_refused_again_after_the_retry_are_rejected(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    bad = {f"person{n}@example.com" for n in range(100, 200)}
    sandbox.prepare(excluded=tuple(bad))
    hide_refusals(sandbox)
    messages = [schema(), *people(400), state("end")]
    outcome = load(messages, batch_size_rows=50).succeeded()
    assert outcome.counts == {"read": 400, "added": 300, "rejected": 100}
    assert set(outcome.codes) == bad
    assert "REFUSED_BY_IMPORT" not in outcome.codes.values(), "the reason found first is kept"
    assert outcome.states == ["end"]


@pytest.mark.parametrize("kind", ["malformed", "excluded"])
@pytest.mark.parametrize("size", [250, 20, 1])
def test_contacts_refused_in_every_run_do_not_fail_the_run(
    sandbox: SandboxServer, load: TargetRunner, kind: str, size: int
) -> None:
    bad = {f"person{n}@example.com" for n in range(300, 360)}
    sandbox.prepare(**{kind: tuple(bad)})
    hide_refusals(sandbox)
    messages = [schema(), *people(360), state("end")]
    load(messages).succeeded()
    before = {one["email"]: one for one in sandbox.export()}
    outcome = load(messages, batch_size_rows=size).succeeded()
    assert outcome.counts == {"read": 360, "unchanged": 300, "rejected": 60}
    assert {one["email"] for one in outcome.rejects} == bad
    assert outcome.states == ["end"]
    after = {one["email"]: one for one in sandbox.export()}
    assert [after[one]["lists"] for one in before] == [before[one]["lists"] for one in before]
    assert after.keys() == before.keys(), "to see whether imports work makes nobody"


@pytest.mark.parametrize("reasons", [None, ["Something is wrong."]])
def test_many_bad_contacts_at_the_end_are_rejected(
    sandbox: SandboxServer, load: TargetRunner, reasons: list[str] | None
) -> None:
    bad = {f"person{n}@example.com" for n in range(60, 110)}
    if reasons is None:
        sandbox.prepare(malformed=tuple(bad))
    else:
        for one in bad:
            match = {**IMPORT, "contains": one}
            sandbox.fault("import_refused", reasons=reasons, match=match)
    outcome = load([schema(), *people(110), state("end")], batch_size_rows=20).succeeded()
    assert outcome.counts == {"read": 110, "added": 60, "rejected": 50}
    assert set(outcome.codes) == bad
    assert outcome.states == ["end"]


@pytest.mark.parametrize(
    "kind", ["all named, from 1", "none named", "place 0", "invalid", "failed", "all dropped"]
)
def test_outage_is_detected_when_other_contacts_are_unchanged(
    sandbox: SandboxServer, load: TargetRunner, kind: str
) -> None:
    load([schema(), *people(20)]).succeeded()
    sandbox.fault(**{"match": IMPORT, **SYSTEMATIC[kind]})
    messages = [schema(), *people(120), state("end")]
    outcome = load(messages, batch_size_rows=10)
    assert outcome.code == 1, outcome.log
    assert outcome.states == []
    assert outcome.rejects == []
    assert "unconfirmed records are sent again" in outcome.log.splitlines()[-1]
    sandbox.clear_faults()
    load(messages).succeeded()
    assert len(sandbox.export()) == 120


def test_control_import_creates_no_contact(sandbox: SandboxServer, load: TargetRunner) -> None:
    load([schema(), *people(1)]).succeeded()
    sandbox.delete("person0@example.com")
    sandbox.prepare(excluded=tuple(f"person{n}@example.com" for n in range(1, 60)))
    hide_refusals(sandbox)
    outcome = load([schema(), *people(60), state("end")])
    assert outcome.code == 1
    assert sandbox.export() == []


# Positions


def refuse_with(sandbox: SandboxServer, position: int, **how: Any) -> None:
    reasons = [{"contact": position, "failureReason": BAD}]
    sandbox.fault("import_refused", reasons=reasons, **how)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("odd", [0, 1, 7, 49, 50, 51])
def test_single_odd_refusal_teaches_no_wrong_position_base(
    start_sandbox: Any, target_for: Any, base: int, odd: int
) -> None:
    sandbox = start_sandbox(index_base=base, latency=0.02, false_status=0)
    refuse_with(sandbox, odd, times=1)
    bad = {f"person{n}@example.com" for n in range(60, 500, 25)}
    sandbox.prepare(malformed=tuple(bad))
    outcome = target_for(sandbox)(
        [schema(), *people(500), state("end")], batch_size_rows=50, max_in_flight=1
    ).succeeded()
    assert set(outcome.codes) == bad
    assert len(sandbox.export()) == 500 - len(bad)


@pytest.mark.parametrize("change", ["1 to 0", "0 to 1"])
def test_changed_position_base_rejects_no_good_contact(
    start_sandbox: Any, target_for: Any, change: str
) -> None:
    before, after = (int(one) for one in change.split(" to "))
    # By the first import it is learnt how the account counts, rightly; then it changes.
    sandbox = start_sandbox(index_base=after, latency=0.02, false_status=0)
    refuse_with(sandbox, 20 + before, match={**IMPORT, "contains": '"person20@'}, times=1)
    # Of the two contacts that this can mean, each is sent alone, and this one is refused.
    refuse_with(sandbox, before, match={**IMPORT, "contains": '"person20@'}, times=1)
    bad = {f"person{n}@example.com" for n in (77, 120, 180, 181)}
    sandbox.prepare(malformed=tuple(bad))
    outcome = target_for(sandbox)(
        [schema(), *people(250), state("end")], batch_size_rows=50, max_in_flight=1
    ).succeeded()
    assert set(outcome.codes) == {"person20@example.com"} | bad
    assert any("contradicts the positions in earlier refusals" in line for line in outcome.warnings)


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("naming", ["all", "first"])
def test_refusals_naming_all_or_the_first_bad_contact_are_read(
    start_sandbox: Any, target_for: Any, base: int, naming: str
) -> None:
    sandbox = start_sandbox(index_base=base, failure_reasons=naming, latency=0.02, false_status=0)
    bad = {f"person{n}@example.com" for n in (0, 1, 2, 30, 99, 148, 149, 150, 151, 299)}
    sandbox.prepare(malformed=tuple(bad))
    outcome = target_for(sandbox)(
        [schema(), *people(300), state("end")], batch_size_rows=150
    ).succeeded()
    assert set(outcome.codes) == bad
    assert outcome.counts == {"read": 300, "added": 290, "rejected": 10}
