"""Many segments in one run: each stream has its own settings, and a person is one contact."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkServer
from tests.support.mirrors import IMPORT, QUICK
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
SMALL_WINDOWS = replace(QUICK, window_records=4)
"""How many records are compared at once: few, so that people come again in later imports."""
SEGMENTS: dict[str, Any] = {
    "tags": ["warehouse"],
    "field_mapping": {"level": "TIER"},
    "streams": {
        "vip": {"list_id": "VIP customers", "tags": ["vip"], "field_mapping": {"level": "NOTES"}},
        "lost": {"list_id": 3, "tags": [], "field_mapping": {"town": "CITY"}},
    },
}


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    return ForkServer(SMALL_WINDOWS)


def contact(sandbox: SandboxServer, email: str = ADA) -> tuple[dict[str, int], list[str], Any]:
    """Someone's lists, tags and fields."""
    one = sandbox.contacts()[email]
    return one["lists"], sorted(one["tags"]), one["fields"]


def test_each_stream_has_its_own_list_tags_and_mapping(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [
        schema("news", level="string"),
        record("n@example.com", "news", level="Gold"),
        schema("vip", level="string"),
        record("v@example.com", "vip", level="Gold"),
        schema("lost", level="string", town="string"),
        record("l@example.com", "lost", level="Gold", town="Oslo"),
    ]

    outcome = load(messages, **SEGMENTS).succeeded()

    assert contact(sandbox, "n@example.com") == ({"1": 1}, ["warehouse"], {"TIER": "Gold"})
    assert contact(sandbox, "v@example.com") == ({"2": 1}, ["vip"], {"NOTES": "Gold"})
    assert contact(sandbox, "l@example.com") == ({"3": 1}, [], {"TIER": "Gold", "CITY": "Oslo"})
    assert len(sandbox.requests(path=IMPORT, method="POST")) == 1, "one import takes all streams"
    streams = outcome.report["streams"]
    assert {name: (one["list"]["id"], one["counts"]["added"]) for name, one in streams.items()} == {
        "news": (1, 1),
        "vip": (2, 1),
        "lost": (3, 1),
    }


@pytest.mark.parametrize(
    ("between", "imports"), [(0, 1), (20, 2)], ids=["in one import", "in different imports"]
)
def test_who_is_in_two_segments_of_one_list_has_the_tags_and_fields_of_both(
    sandbox: SandboxServer, load: TargetRunner, between: int, imports: int
) -> None:
    settings: dict[str, Any] = {
        "batch_size_rows": 5,
        "streams": {"buyers": {"tags": ["buyer"]}, "readers": {"tags": ["reader"]}},
    }
    messages = [
        schema("buyers", tier="string", city="string"),
        record(ADA, "buyers", tier="Gold", city="Oslo"),
        *people(between, "buyers"),
        schema("readers", city="string", interests={"type": "array"}),
        *people(between, "readers"),
        record("Ada@Example.com", "readers", city="Bergen", interests=["Tea"]),
    ]

    for _ in range(2):
        outcome = load(messages, **settings).succeeded()
        assert contact(sandbox) == (
            {"1": 1},
            ["buyer", "reader"],
            {"TIER": "Gold", "CITY": "Bergen", "INTERESTS": "||Tea||"},
        )
        assert len(sandbox.export()) == 1 + between
        assert outcome.counts["read"] == 2 + 2 * between
        assert sandbox.contacts()[ADA]["times_imported"] == imports


def test_a_segment_that_lacks_a_value_leaves_what_another_gave(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [
        schema("buyers", tier="string"),
        record(ADA, "buyers", first_name="Ada", tier="Gold"),
        schema("readers", tier="string"),
        record(ADA, "readers", first_name=None, tier=None),
    ]

    load(messages).succeeded()

    assert contact(sandbox)[2] == {"TIER": "Gold"}
    assert sandbox.contacts()[ADA]["first_name"] == "Ada"


def test_interleaved_streams_keep_the_order_of_their_records(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    streams = {"news": {"list_id": 1, "tags": ["news"]}, "vip": {"list_id": 2, "tags": ["vip"]}}
    rounds = [
        [
            *people(1, "news"),
            record(ADA, "news", first_name=f"news {n}"),
            record(ADA, "vip", first_name=f"vip {n}"),
            record(f"v{n}@example.com", "vip"),
            state(n),
        ]
        for n in range(30)
    ]
    messages = [schema("news"), schema("vip"), *chain.from_iterable(rounds)]

    outcome = load(messages, streams=streams, batch_size_rows=7, checkpoint_seconds=0).succeeded()

    assert contact(sandbox)[:2] == ({"1": 1, "2": 1}, ["news", "vip"])
    assert sandbox.contacts()[ADA]["first_name"] == "vip 29"
    assert contact(sandbox, "v29@example.com")[0] == {"2": 1}
    assert contact(sandbox, "person0@example.com")[0] == {"1": 1}
    assert len(sandbox.export()) == 32
    assert outcome.states == sorted(outcome.states)
    assert outcome.states[-1] == 29
    by_stream = {name: one["counts"] for name, one in outcome.report["streams"].items()}
    assert {name: one["read"] for name, one in by_stream.items()} == {"news": 60, "vip": 60}
    for name, count in outcome.report["counts"].items():
        if name != "unsettled":
            assert by_stream["news"][name] + by_stream["vip"][name] == count


def test_a_record_that_is_refused_in_one_segment_arrives_with_the_other(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [
        schema("news", birthday="string"),
        schema("vip"),
        record(ADA, "news", birthday="next May"),
        record(ADA, "vip"),
    ]

    outcome = load(messages, streams={"vip": {"list_id": 2}}).succeeded()

    assert contact(sandbox)[0] == {"2": 1}
    assert outcome.codes == {ADA: "VALUE_INVALID"}
    assert [path.name.split("-")[0] for path in outcome.reject_files] == ["news"]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"field_mapping": {"first_name": "NO_SUCH_FIELD"}}, "'NO_SUCH_FIELD'"),
        ({"field_mapping": {"frist_name": "NOTES"}}, "Did you mean 'first_name'?"),
        ({"field_mapping": {"email": "NOTES"}}, "no property for the e-mail address"),
        ({"sync_mode": "mirror", "on_leave": "field"}, "membership_field"),
    ],
    ids=["destination", "property", "address", "mode"],
)
def test_a_stream_that_its_settings_do_not_fit_ends_the_run_before_its_first_record(
    sandbox: SandboxServer, load: TargetRunner, own: dict[str, Any], said: str
) -> None:
    messages = [
        schema("news"),
        *people(3, "news"),
        state("news"),
        schema("vip"),
        record(ADA, "vip"),
        state("vip"),
    ]

    outcome = load(messages, streams={"vip": own})

    assert outcome.code == 1
    assert said in outcome.log.splitlines()[-1]
    assert "vip" in outcome.log.splitlines()[-1]
    assert outcome.states == ["news"], "what came before is settled"
    assert set(sandbox.contacts()) == {f"person{n}@example.com" for n in range(3)}


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"tags": "vip"}, "'streams.vip.tags' can't be read"),
        ({"sync_mode": "delete"}, "'streams.vip.sync_mode' must be one of"),
        ({"list_id": [2]}, "'streams.vip.list_id' has the wrong type"),
    ],
)
def test_settings_of_a_stream_that_cannot_be_end_the_run_before_any_stream(
    sandbox: SandboxServer, load: TargetRunner, own: dict[str, Any], said: str
) -> None:
    outcome = load([schema("news"), *people(3, "news")], streams={"vip": own})

    assert outcome.code == 1
    assert said in outcome.log
    assert sandbox.requests() == []


@pytest.mark.parametrize("destination", ["email", "phone", "NOTES"])
def test_a_streams_own_mapping_takes_a_destination_from_the_general_one(
    sandbox: SandboxServer, load: TargetRunner, destination: str
) -> None:
    messages = [
        schema("news", primary="string", other="string"),
        record(ADA, "news", primary="p@example.com", other="o@example.com"),
        schema("vip", primary="string", other="string"),
        record("v@example.com", "vip", primary="p@example.com", other="o@example.com"),
    ]
    settings: dict[str, Any] = {
        "field_mapping": {"primary": destination},
        "streams": {"vip": {"field_mapping": {"other": destination}}},
    }

    outcome = load(messages, **settings).succeeded()

    streams = outcome.report["streams"]
    shown = "%NOTES%" if destination == "NOTES" else destination
    assert streams["news"]["mapping"]["primary"]["destination"] == shown
    assert streams["vip"]["mapping"]["other"]["destination"] == shown
    assert "primary" in streams["vip"]["ignored"]
    assert len(sandbox.export()) == 2


def test_tags_are_taken_from_no_other_property(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [schema("vip", a="string", b="string"), record(ADA, "vip", a="one", b="two")]
    own = {"vip": {"field_mapping": {"b": "tags"}}}
    load(messages, field_mapping={"a": "tags"}, streams=own).succeeded()
    assert contact(sandbox)[1] == ["one", "two"]


def test_a_later_schema_of_a_stream_may_lack_what_its_own_mapping_names(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [
        schema("vip", level="string"),
        record(ADA, "vip", level="Gold"),
        schema("vip"),
        record("b@example.com", "vip"),
    ]
    own = {"vip": {"field_mapping": {"level": "TIER"}}}

    outcome = load(messages, streams=own).succeeded()

    assert outcome.warnings == ["Stream 'vip' lacks properties that 'field_mapping' maps: 'level'."]
    assert contact(sandbox)[2] == {"TIER": "Gold"}
    assert outcome.counts == {"read": 2, "added": 2}
    assert load(messages[2:], streams=own).code == 1, "the first schema must have it"
