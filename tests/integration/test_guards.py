"""Guards: what keeps a bad source from emptying a list, and how to go on when it was right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import Mirror, activate, mirrored, records, whole
from tests.support.target_runner import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

TEN = "ada bob cyd dan eve fay gus hal ida joe"


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Iterator[Mirror]:
    mirror = Mirror(load, sandbox)
    yield mirror
    mirror.assert_no_address_was_printed()


def without(number: int, more: str = "") -> str:
    """The ten but for the last few, and perhaps others."""
    return " ".join([*TEN.split()[: 10 - number], *more.split()])


def told(outcome: Outcome) -> str:
    """The last line of the log."""
    return outcome.log.splitlines()[-1]


def tripped(mirror: Mirror, names: str, guards: dict[str, Any]) -> Outcome:
    """A run that a guard stopped: one that removed no one."""
    before = mirror.members()
    outcome = mirror.load(whole(names), guards=guards)
    assert outcome.code == 1
    assert mirrored(outcome)["kind"] == "guard"
    assert set(before.split()) <= set(mirror.members().split())
    return outcome


# What trips, and what does not


@pytest.mark.parametrize(
    ("guard", "names", "passes", "words"),
    [
        ({"max_leave_pct": 30}, without(4), without(3), "4 of 10 contacts would be removed"),
        ({"max_leave_pct": 0}, without(1), TEN, "1 of 10 contacts would be removed"),
        (
            {"max_leave_pct": 30},
            without(4, "new"),
            without(3, "new"),
            "4 of 10 contacts would be removed",
        ),
        ({"max_leave": 3}, without(4), without(3), "4 contacts would be removed"),
        ({"max_leave": 0}, without(1), TEN, "1 contacts would be removed"),
        ({"min_source_pct": 60}, without(5), without(4), "shrunk from 10 contacts to 5"),
        ({"min_source_pct": 100}, without(1), without(1, "new"), "shrunk from 10 contacts to 9"),
    ],
    ids=[
        "max_leave_pct",
        "max_leave_pct of 0",
        "max_leave_pct with newcomers",
        "max_leave",
        "max_leave of 0",
        "min_source_pct",
        "min_source_pct of 100",
    ],
)
def test_removal_guard_trips_above_its_limit_only(
    mirror: Mirror, guard: dict[str, Any], names: str, passes: str, words: str
) -> None:
    guards = {**mirror.load.config["guards"], **guard}
    mirror(TEN)
    outcome = tripped(mirror, names, guards)
    (name, limit), *_ = guard.items()
    assert words in told(outcome)
    assert f"(guards.{name}: {limit})" in told(outcome)
    outcome = mirror(passes, guards=guards)
    assert set(mirror.members().split()) == {*passes.split()}
    assert mirrored(outcome)["kind"] == "left"


def test_change_guard_trips_above_its_limit_only(mirror: Mirror) -> None:
    guards = {**mirror.load.config["guards"], "max_change_pct": 30}
    mirror(f"{TEN} zoe")
    mirror(TEN)  # ten people, of whom the share is taken

    def changed(names: str) -> list[dict[str, Any]]:
        others = " ".join(name for name in without(1).split() if name not in names.split())
        return [schema(), *records(names, first_name="New"), *records(others), activate(1)]

    outcome = mirror.load(changed("ada bob cyd dan"), guards=guards)
    assert outcome.code == 1
    assert "4 of 10 profiles have changed (guards.max_change_pct: 30)" in told(outcome)
    assert mirror.members() == TEN
    assert outcome.counts == {"read": 9, "changed": 4, "unchanged": 5}
    outcome = mirror.load(changed("ada bob cyd dan eve"), guards=guards)
    assert outcome.counts == {"read": 9, "changed": 1, "unchanged": 8}, "the four are delivered"
    assert "5 of 10 profiles" in told(outcome), "and count until a run has gone through"
    mirror.load(changed("ada"), guards={**guards, "override_once": True}).succeeded()
    assert mirror.members() == without(1)


def test_change_guard_sends_up_to_its_limit(mirror: Mirror) -> None:
    mirror(TEN)
    guards = {**mirror.load.config["guards"], "max_change_pct": 30}
    others = " ".join(without(1).split()[3:])
    messages = [*records("ada bob cyd", first_name="New"), *records(others), activate(1)]
    mirror.load([schema(), *messages], guards=guards).succeeded()
    assert mirror.members() == without(1)


def test_new_contacts_do_not_count_as_changes(mirror: Mirror) -> None:
    guards = {**mirror.load.config["guards"], "max_change_pct": 0}
    mirror(TEN)
    mirror(f"{TEN} new", guards=guards)


@pytest.mark.parametrize(
    ("names", "trips"),
    [
        (without(2), None),
        (without(3), "guards.max_leave_pct: 20"),
        (without(6), "guards.min_source_pct: 50"),
    ],
)
def test_default_guards(mirror: Mirror, names: str, trips: str | None) -> None:
    mirror(TEN)
    outcome = mirror.load(whole(names), guards=None)
    assert outcome.code == (1 if trips else 0)
    assert mirror.members() == (TEN if trips else names)
    assert trips is None or trips in told(outcome)


def test_null_switches_a_guard_off(mirror: Mirror) -> None:
    mirror(TEN)
    mirror("ada", guards={"max_leave_pct": None, "min_source_pct": None})
    assert mirror.members() == "ada"


def test_each_guard_is_switched_off_alone(mirror: Mirror) -> None:
    mirror(TEN)
    outcome = tripped(mirror, "ada", {"max_leave_pct": None})
    assert "min_source_pct" in told(outcome)
    outcome = tripped(mirror, "ada", {"min_source_pct": None})
    assert "max_leave_pct" in told(outcome)


@pytest.mark.parametrize(
    "settings",
    [
        {"guards": {"max_leave_percent": 20}},
        {"streams": {"profiles": {"guards": {"max_leave_percent": 20}}}},
    ],
    ids=["for all", "for one stream"],
)
def test_unknown_guard_is_an_error(mirror: Mirror, settings: dict[str, Any]) -> None:
    outcome = mirror.load(whole(TEN), **settings)
    assert outcome.code == 1
    assert "guards' has unknown keys: 'max_leave_percent'. " in outcome.log
    assert "Did you mean 'max_leave_pct'?" in outcome.log
    assert mirror.sandbox.requests() == []


@pytest.mark.parametrize(
    "guards",
    [{"max_leave_pct": 101}, {"min_source_pct": -1}, {"max_leave": 0.5}, {"max_leave": "one"}],
)
def test_guard_out_of_range_is_an_error(mirror: Mirror, guards: dict[str, Any]) -> None:
    outcome = mirror.load(whole(TEN), guards=guards)
    assert outcome.code == 1
    assert f"guards.{next(iter(guards))}" in outcome.log
    assert mirror.sandbox.requests() == []


def test_stream_guards_override_general_guards(mirror: Mirror) -> None:
    guards = {"max_leave_pct": 0, "min_source_pct": 80}
    streams = {"profiles": {"guards": {"max_leave_pct": 90}}}
    mirror(TEN)
    outcome = mirror.load(whole(without(3)), guards=guards, streams=streams)
    assert outcome.code == 1
    assert "guards.min_source_pct: 80" in told(outcome), "what it leaves out holds for it too"
    mirror(without(2), guards=guards, streams=streams)
    assert mirror.members() == without(2)


def test_stream_of_rejected_records_only_trips_the_guard(mirror: Mirror) -> None:
    refused = [schema(), *records("zoe", first_name=1), activate(1)]
    mirror(TEN)
    outcome = mirror.load(refused, guards={})
    assert "shrunk from 10 contacts to 0" in told(outcome)
    assert mirror.members() == TEN
    mirror.load(refused).succeeded()
    assert mirror.members() == "", "there is someone in it, and all guards are off"


# What a run does that was stopped


def test_tripped_guard_stops_removals_only(mirror: Mirror) -> None:
    settings: dict[str, Any] = {
        "guards": {"max_leave": 1},
        "streams": {"vip": {"list_id": 2, "guards": {"max_leave_pct": 50}}},
    }
    mirror.load([*whole(TEN), *whole("una val", "vip")], **settings).succeeded()
    written = [*whole("ada new", first_name="Changed"), *whole("una", "vip")]
    outcome = mirror.load(written, **settings)
    assert outcome.code == 1
    assert mirror.members() == f"{TEN} new"
    assert mirror.members(2) == "una", "the other stream's leavers leave"
    assert mirror.person("ada")["first_name"] == "Changed"
    assert outcome.counts == {"read": 3, "added": 1, "changed": 1, "unchanged": 1}
    assert outcome.states == [written[-1]["value"]]
    report = outcome.report
    assert (report["outcome"], report["left"]) == ("failed", 1)
    assert mirrored(outcome)["kind"] == "guard"
    assert mirrored(outcome)["left"] == 0
    assert mirrored(outcome, "vip")["left"] == 1
    assert mirrored(outcome)["problem"] in report["problem"]


def test_last_log_line_names_guard_numbers_and_next_step(mirror: Mirror) -> None:
    streams = {"streams": {"vip": {"list_id": 2}}}
    mirror.load([*whole(TEN), *whole("una val wes", "vip")], **streams).succeeded()
    written = [*whole(without(5)), *whole("una", "vip")]
    outcome = mirror.load(written, guards={}, **streams)
    assert outcome.code == 1
    for words in (
        "ERROR",
        "Stream 'profiles', list 1: 5 of 10 contacts would be removed (guards.max_leave_pct: 20)",
        "Stream 'vip', list 2: the source has shrunk from 3 contacts to 1",
        "'guards.override_once' set to true",
    ):
        assert words in told(outcome)


def test_pending_removals_survive_a_tripped_guard(mirror: Mirror) -> None:
    mirror(TEN)
    tripped(mirror, without(3), {})
    mirror(f"{without(2)} new", guards={})
    assert mirror.members() == f"{without(2)} new"


# Going on


def test_override_lets_the_next_run_remove(mirror: Mirror) -> None:
    mirror(TEN)
    tripped(mirror, without(4), {})
    outcome = mirror(without(4), guards={"override_once": True})
    assert mirror.members() == without(4)
    assert mirrored(outcome)["kind"] == "left"
    line = next(line for line in outcome.log.splitlines() if "override_once" in line)
    assert "WARNING" in line
    assert "4 of 10 contacts would be removed" in line


def test_override_left_in_the_configuration_has_no_effect(mirror: Mirror) -> None:
    guards = {"override_once": True}
    mirror(TEN, guards=guards)
    outcome = tripped(mirror, without(4), guards)
    assert "run once with 'guards.override_once' set to false, then once more" in told(outcome)
    tripped(mirror, without(4), guards)
    tripped(mirror, without(4), {})
    mirror(without(4), guards=guards)
    assert mirror.members() == without(4)
    tripped(mirror, without(6), guards)


def test_override_is_spent_by_a_run_that_did_not_need_it(mirror: Mirror) -> None:
    guards = {"override_once": True}
    mirror(TEN)
    tripped(mirror, without(4), {})
    mirror(TEN, guards=guards)
    tripped(mirror, without(4), guards)


def test_override_waits_for_a_complete_run(mirror: Mirror) -> None:
    guards = {"override_once": True}
    mirror(TEN)
    tripped(mirror, without(4), {})
    mirror.load([schema(), *records("ada")], guards=guards).succeeded()
    mirror.load([schema()], guards=guards).succeeded()
    assert mirror.members() == TEN
    mirror(without(4), guards=guards)
    assert mirror.members() == without(4)


def test_override_applies_to_its_stream_only(mirror: Mirror) -> None:
    settings: dict[str, Any] = {"guards": {}, "streams": {"vip": {"list_id": 2}}}
    mirror.load([*whole("una val", "vip"), *whole(TEN)], **settings).succeeded()
    assert mirror.load([*whole("una val", "vip"), *whole(without(4))], **settings).code == 1
    settings["guards"] = {"override_once": True}
    outcome = mirror.load([*whole("una", "vip"), *whole(without(4))], **settings)
    assert outcome.code == 1
    assert (mirror.members(1), mirror.members(2)) == (without(4), "una val")
    assert "Stream 'vip'" in told(outcome)


def test_guard_stops_each_run_of_a_shrinking_source(mirror: Mirror) -> None:
    mirror(TEN)
    guards = {"max_leave_pct": None}
    for names in ("ada bob cyd dan", "ada bob", "ada bob", "ada"):
        outcome = tripped(mirror, names, guards)
        assert "shrunk from 10 contacts" in told(outcome)
    assert mirror.members() == TEN


def test_guard_percentages_refer_to_the_last_complete_run(mirror: Mirror) -> None:
    mirror(TEN)
    mirror("ada bob cyd dan")
    mirror("ada bob", guards={"max_leave_pct": 50, "min_source_pct": 50})
    assert mirror.members() == "ada bob"
    tripped(mirror, "ada", {"max_leave_pct": 49})
