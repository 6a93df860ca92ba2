"""Input without a stream, a record or an address; and what is told of a stream, told once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import Mirror, mirrored, records, whole
from tests.support.target_runner import record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ANA = "ana@example.com"
NAMES = " ".join(f"p{number}" for number in range(20))


@pytest.mark.parametrize("messages", [[], [state("end")]])
def test_input_without_streams(load: TargetRunner, messages: list[Any]) -> None:
    outcome = load(messages).succeeded()
    assert len(outcome.warnings) == 1
    assert "Check that a stream is selected" in outcome.warnings[0]
    assert outcome.states == [one["value"] for one in messages]
    outcome = load(messages, fail_on_empty=True)
    assert outcome.code == 1
    assert outcome.report["outcome"] == "failed"
    assert "Check that a stream is selected" in outcome.report["problem"]


def test_stream_without_records(load: TargetRunner) -> None:
    messages = [schema(), state("end")]
    assert not load(messages).succeeded().warnings
    outcome = load(messages, fail_on_empty=True)
    assert outcome.code == 1
    assert "The input has no record." in outcome.log
    messages = [schema("a"), schema("b"), record(ANA, "b")]
    load(messages, fail_on_empty=True).succeeded()


def test_stream_without_email_property(load: TargetRunner, sandbox: SandboxServer) -> None:
    orders = schema("orders")
    del orders["schema"]["properties"]["email"]
    messages = [orders, schema(), record(ANA)]
    outcome = load(messages)
    assert outcome.code == 1
    assert """exclude it with 'stream_maps': {"orders": "__NULL__"}.""" in outcome.log
    load(messages, stream_maps={"orders": "__NULL__"}).succeeded()
    assert set(sandbox.contacts()) == {ANA}


@pytest.mark.parametrize("complete_stream", [True, False])
@pytest.mark.parametrize("dry_run", [True, False])
def test_empty_mirror_trips_the_guard(
    load: TargetRunner, sandbox: SandboxServer, *, complete_stream: bool, dry_run: bool
) -> None:
    mirror = Mirror(load, sandbox)
    del load.config["guards"]
    mirror(NAMES)
    outcome = load(whole(""), complete_stream=complete_stream, dry_run=dry_run)
    assert outcome.code == 1
    assert "the source has shrunk from 20 contacts to 0 (guards.min_source_pct: 50)" in outcome.log
    assert mirrored(outcome)["kind"] == "empty"
    assert mirror.members() == " ".join(sorted(NAMES.split()))
    if not dry_run:
        # An override lets the run through, and still no contact is removed.
        outcome = load(whole(""), guards={"override_once": True}).succeeded()
        assert any("is empty; no contact was removed" in one for one in outcome.warnings)
        assert mirror.members() == " ".join(sorted(NAMES.split()))
    assert mirror(NAMES).counts == {"read": 20, "unchanged": 20}


def test_empty_mirror_without_guard_or_baseline(load: TargetRunner, sandbox: SandboxServer) -> None:
    mirror = Mirror(load, sandbox)
    load(whole(""), guards={}).succeeded()
    mirror(NAMES)
    load(whole(""), guards={"min_source_pct": None}).succeeded()
    assert mirror.members() == " ".join(sorted(NAMES.split()))


@pytest.mark.parametrize("keys", [["email"], [], None])
@pytest.mark.parametrize("maps", [None, {"profiles": {"secret": None, "tier": "'Gold'"}}])
def test_mapping_is_logged_once(load: TargetRunner, keys: Any, maps: Any) -> None:
    types: dict[str, Any] = {"_sdc_extracted_at": "string", "secret": "string", "shoe": "object"}
    first = {**schema(tier="string", **types), "key_properties": keys}
    other = {**schema(level="string", **types), "key_properties": keys}
    messages = [
        message
        for number in range(3)
        for one in (first, other, first)
        for message in (one, *records(f"p{number}"))
    ]
    mapping = {"tear": "%TIER%", "shoe": "%CITY%"}
    outcome = load(messages, field_mapping=mapping, stream_maps=maps, on_object="json").succeeded()
    lines = [one.partition(" | ")[2].partition(" | ")[2] for one in outcome.log.splitlines()]
    about = [one for one in lines if "Stream 'profiles'" in one]
    assert len(about) == len(set(about)), about
    assert sum("goes to list" in one for one in about) <= 2
    assert len(outcome.warnings) == len(set(outcome.warnings)) >= 1
