"""Choices: values that match options of their field, and unknown ones (`on_unknown_option`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import BULK, QUICK_RETRIES, CustomFields
from tests.support.fork_server import ForkServer
from tests.support.mirrors import quick_sandbox, wait_for
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

ADA = "ada@example.com"
MOST_ADDED = 100


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    return ForkServer(QUICK_RETRIES)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[SandboxServer]:
    with quick_sandbox() as server:
        yield server


@pytest.fixture
def fields(sandbox: SandboxServer) -> CustomFields:
    return CustomFields(sandbox)


def choosing(name: str, *values: Any) -> list[dict[str, Any]]:
    """A stream of people who each have another value of a property: person0 the first."""
    anything: dict[str, Any] = {name: {}}
    return [
        schema(**anything),
        *(record(f"person{n}@example.com", **{name: one}) for n, one in enumerate(values)),
    ]


# Matching


@pytest.mark.parametrize(
    ("kind", "options", "values"),
    [
        ("dropdown", ["Gold", "New York"], {"Gold": "Gold", " gOLD ": "Gold"}),
        ("dropdown", ["Gold", "New York"], {"new_york": "New York", "NEW  YORK": "New York"}),
        ("radio", ["very_high", "GOLD", "gold"], {"Very High": "very_high", "gold": "gold"}),
        ("dropdown", ["2", "3"], {2: "2", 3.0: "3", "2": "2"}),
        ("dropdown", ["Yes", "No"], {True: "Yes", False: "No", "YES": "Yes"}),
        ("radio", ["TRUE", "FALSE"], {True: "TRUE", False: "FALSE"}),
        ("dropdown", ["1", "0"], {True: "1", False: "0"}),
        ("radio", ["On", "Off"], {True: "On", False: "Off"}),
        ("listbox", ["Tea", "Green tea"], {"tea": "||Tea||", "green_tea": "||Green tea||"}),
        ("checkbox", ["I agree"], {True: "||I agree||", False: "", "I AGREE": "||I agree||"}),
        ("checkbox", ["Yes"], {True: "||Yes||", False: ""}),
        ("checkbox", ["No"], {True: "", False: "||No||"}),
        ("checkbox", ["Yes", "No"], {True: "||Yes||", False: "||No||"}),
    ],
)
def test_choice_is_sent_in_spelling_of_its_option(
    load: TargetRunner,
    fields: CustomFields,
    kind: str,
    options: list[str],
    values: dict[Any, str],
) -> None:
    fields.add("Choice", kind, *options)
    load(choosing("choice", *values)).succeeded()
    assert fields.held("Choice") == list(values.values())


@pytest.mark.parametrize(
    "value",
    [["tea", "EVENTS", "Tea"], "||tea||events||", "tea||Events", '["tea", "events"]'],
)
def test_several_choices_are_read_from_array_or_delimited_text(
    load: TargetRunner, fields: CustomFields, value: Any
) -> None:
    load(choosing("interests", value)).succeeded()
    assert fields.held("Interests") == ["||Tea||Events||"]


def test_value_without_choice_keeps_the_field(load: TargetRunner, fields: CustomFields) -> None:
    empty = ["", " ", "||||", [], [None, ""], None]
    load(choosing("interests", *empty)).succeeded()
    assert fields.held("Interests") == [None] * len(empty)


def test_several_choices_are_refused_for_single_choice_field(load: TargetRunner) -> None:
    outcome = load(choosing("tier", ["Gold", "Silver"], {"level": "Gold"}, [["Gold"]]))
    assert set(outcome.codes.values()) == {"VALUE_INVALID"}
    assert outcome.counts == {"read": 3, "invalid": 3}
    reasons = [one["_reject_reason"] for one in outcome.rejects]
    assert reasons[0] == (
        "Property 'tier' does not fit %TIER% of type dropdown: it has several choices, and the "
        "field holds one."
    )


# What is none of the options


def test_unknown_choice_refuses_the_record(load: TargetRunner, fields: CustomFields) -> None:
    messages = choosing("tier", "Gold", "Diamond", "gold plus")

    outcome = load(messages).succeeded()

    assert outcome.counts == {"read": 3, "added": 1, "invalid": 2}
    assert outcome.codes == {
        "person1@example.com": "FIELD_OPTION_UNKNOWN",
        "person2@example.com": "FIELD_OPTION_UNKNOWN",
    }
    assert {one["_reject_reason"] for one in outcome.rejects} == {
        "Property 'tier' has a choice that is not an option of %TIER%: it has 4 options."
    }
    assert fields.held("Tier") == ["Gold"]
    assert "'on_unknown_option'" in outcome.report["refused"]["FIELD_OPTION_UNKNOWN"]["do"]
    assert "Diamond" not in outcome.log


@pytest.mark.parametrize("null_policy", ["keep", "clear"])
def test_drop_removes_only_unknown_choices(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields, null_policy: str
) -> None:
    sandbox.prepare({"email": "person2@example.com", "fields": {"INTERESTS": "||Events||"}})
    messages = choosing("interests", ["Tea", "Golf", "Chess"], ["Golf"], "Golf", ["Tea"])

    outcome = load(messages, on_unknown_option="drop", null_policy=null_policy).succeeded()

    assert fields.held("Interests") == ["||Tea||", None, "||Events||", "||Tea||"]
    assert outcome.report["streams"]["profiles"]["dropped"] == {"interests": 4}
    warnings = outcome.warnings
    assert len(warnings) == 1
    assert warnings[0] == (
        "Stream 'profiles': choices were dropped, as their fields lack such options: 4 of "
        "'interests'. Add the options in ActiveCampaign, or see 'on_unknown_option'."
    )
    assert "Golf" not in outcome.log


def test_on_unknown_option_is_set_per_stream(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [
        schema("strict", tier="string"),
        record("a@example.com", "strict", tier="Diamond"),
        schema("lenient", tier="string"),
        record("b@example.com", "lenient", tier="Diamond", first_name="B"),
    ]
    own = {"streams": {"lenient": {"on_unknown_option": "drop"}}}

    outcome = load(messages, **own).succeeded()

    assert outcome.codes == {"a@example.com": "FIELD_OPTION_UNKNOWN"}
    assert "dropped" not in outcome.report["streams"]["strict"]
    assert outcome.report["streams"]["lenient"]["dropped"] == {"tier": 1}
    assert sandbox.contacts()["b@example.com"]["fields"] == {}


# Adding options


def test_unknown_choice_is_added_as_option_once(load: TargetRunner, fields: CustomFields) -> None:
    messages = [
        *choosing("tier", "Diamond", " diamond", "gold", "DIAMOND", True, 3.0, 3),
        schema("others", tier="string"),
        record("person9@example.com", "others", tier="Diamond"),
    ]

    outcome = load(messages, on_unknown_option="add").succeeded()

    assert fields.options("Tier") == [
        *["Bronze", "Silver", "Gold", "Platinum"],
        *["Diamond", "true", "3"],
    ]
    assert fields.held("Tier") == [
        *["Diamond", "Diamond", "Gold", "Diamond", "true", "3", "3", "Diamond"]
    ]
    assert fields.added() == 3
    assert "Added an option to the custom field 'Tier' (%TIER%)." in outcome.log
    assert "Diamond" not in outcome.log


def test_next_run_adds_no_option_again(load: TargetRunner, fields: CustomFields) -> None:
    for value in (["Tea", "Golf", "Chess"], ["chess", "GOLF"]):
        load(choosing("interests", value), on_unknown_option="add").succeeded()
    assert fields.options("Interests")[-2:] == ["Golf", "Chess"]
    assert fields.added() == 2
    assert fields.held("Interests") == ["||Chess||Golf||"]


def test_option_added_by_another_process_is_not_added_again(
    load: ForkedTargetRunner, fields: CustomFields
) -> None:
    running = load.start(on_unknown_option="add")
    running.feed(choosing("tier", "Emerald"))
    wait_for(lambda: fields.added() == 1)
    fields.add_options(fields.id("Tier"), "Diamond", "Jade")
    before = fields.added()

    running.feed([record("b@example.com", tier="Diamond"), record("c@example.com", tier="JADE")])
    running.wait().succeeded()

    assert fields.added() == before
    assert fields.options("Tier")[4:] == ["Emerald", "Diamond", "Jade"]
    assert fields.held("Tier") == ["Diamond", "Jade", "Emerald"]


@pytest.mark.parametrize("takes_effect", [True, False])
def test_option_is_not_added_twice_if_answer_is_lost(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields, takes_effect: bool
) -> None:
    how = {"match": {"path": BULK}, "times": 1, "takes_effect": takes_effect}
    sandbox.fault("reset", **how)

    load(choosing("tier", "Diamond"), on_unknown_option="add").succeeded()

    assert fields.options("Tier")[4:] == ["Diamond"]
    assert fields.held("Tier") == ["Diamond"]


def test_run_adds_at_most_100_options_to_a_field(load: TargetRunner, fields: CustomFields) -> None:
    values = [f"Tier {n:03}" for n in range(MOST_ADDED + 1)]
    messages = choosing("tier", *values, "tier_000", "Gold")

    outcome = load(messages, on_unknown_option="add").succeeded()

    assert fields.options("Tier")[4:] == values[:MOST_ADDED]
    assert outcome.counts == {"read": MOST_ADDED + 3, "added": MOST_ADDED + 2, "invalid": 1}
    assert outcome.codes == {f"person{MOST_ADDED}@example.com": "FIELD_OPTION_UNKNOWN"}
    assert "this run has already added 100 options to it" in outcome.rejects[0]["_reject_reason"]


def test_invalid_choice_is_not_added_as_option(load: TargetRunner, fields: CustomFields) -> None:
    before = fields.options("Interests")
    messages = choosing("interests", ["a||b"], [{"a": 1}], {"a": 1})
    outcome = load(messages, on_unknown_option="add").succeeded()
    assert set(outcome.codes.values()) == {"VALUE_INVALID"}
    assert fields.options("Interests") == before


# What the schema counts up


def test_schema_values_missing_from_options_are_a_warning(
    load: TargetRunner,
) -> None:
    tier = {"enum": ["bronze", "GOLD", "Diamond", "Jade", None]}
    interests = {"type": "array", "items": {"enum": ["tea", "Golf", "a||b"]}}
    consent = {"type": "boolean"}
    messages = [schema(tier=tier, interests=interests, newsletter_consent=consent)]

    outcome = load(messages).succeeded()

    warnings = outcome.warnings
    assert [line.rpartition(" | ")[2] for line in warnings] == [
        "Stream 'profiles': property 'tier' may have values that are not options of %TIER%: "
        "'Diamond', 'Jade'. See 'on_unknown_option'.",
        "Stream 'profiles': property 'interests' may have values that are not options of "
        "%INTERESTS%: 'Golf', 'a||b'. See 'on_unknown_option'.",
    ]


def test_schema_values_that_are_options_give_no_warning(load: TargetRunner) -> None:
    tier = {"type": ["string", "null"], "enum": ["bronze", "GOLD", None]}
    outcome = load([schema(tier=tier)]).succeeded()
    assert not outcome.warnings


def test_schema_values_that_will_be_added_give_no_warning(load: TargetRunner) -> None:
    tier = {"type": ["string", "null"], "enum": ["Diamond", None]}
    outcome = load([schema(tier=tier)], on_unknown_option="add").succeeded()
    assert not outcome.warnings


# What could be an array, and what is no field any more


def test_unclosed_array_in_text_is_plain_text(sandbox: SandboxServer, load: TargetRunner) -> None:
    deep = "[" * 200_000
    messages = [
        schema(interests="string", labels="string"),
        record(ADA, interests=deep),
        record("b@example.com", labels=deep),
    ]

    outcome = load(messages, field_mapping={"labels": "tags"}).succeeded()

    assert outcome.codes == {ADA: "FIELD_OPTION_UNKNOWN"}
    assert sandbox.contacts()["b@example.com"]["tags"] == [deep]


def test_field_deleted_before_option_is_added_is_named_in_error(
    sandbox: SandboxServer, load: ForkedTargetRunner, fields: CustomFields
) -> None:
    fields.add("Colour", "dropdown", "Red")
    running = load.start(on_unknown_option="add", checkpoint_seconds=0.1)
    running.feed([schema(colour="string"), record(ADA, colour="Red")])
    wait_for(lambda: len(sandbox.export()) == 1)
    fields.delete("Colour")

    running.feed([record("b@example.com", colour="Blue")])
    outcome = running.wait()

    assert outcome.code == 1
    assert outcome.report["problem"] == (
        "The custom field 'Colour' (%COLOUR%) was deleted during the run, and an option had to "
        "be added to it. Run again."
    )
