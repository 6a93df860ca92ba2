"""Small streams of kinds that users of such tools have tripped over, each with its right outcome.

A case is `tests/integration/cases/NAME.jsonl`, with the configuration that its user had beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

CASES = Path(__file__).parent / "cases"
IMPORT = "/api/3/import/bulk_import"


@pytest.fixture
def fields(sandbox: SandboxServer) -> CustomFields:
    return CustomFields(sandbox)


@pytest.fixture
def run_case(load: TargetRunner) -> Callable[..., Outcome]:
    """Run a case as it stands, against the test's sandbox instead of an embedded one."""

    def run(name: str, **changes: Any) -> Outcome:
        config = json.loads((CASES / f"{name}.config.json").read_text("utf-8"))
        del config["sandbox"]
        return load((CASES / f"{name}.jsonl").read_bytes(), **{**config, **changes})

    return run


def test_deleted_row_adds_nobody(sandbox: SandboxServer, run_case: Callable[..., Outcome]) -> None:
    outcome = run_case("deleted-row").succeeded()
    assert list(sandbox.contacts()) == ["ana@example.com"]
    assert outcome.counts == {"read": 2, "added": 1, "skipped": 1}
    assert outcome.report["skipped"]["DELETED"]["records"] == 1
    assert outcome.states == [{"x": 1}]


def test_vowel_marks_are_part_of_a_name(
    sandbox: SandboxServer, run_case: Callable[..., Outcome], fields: CustomFields
) -> None:
    fields.add("ปี", tag="YEAR")
    outcome = run_case("vowel-marks").succeeded()
    assert "ignores: ปู, ชือ" in outcome.log
    assert sandbox.contacts()["th@example.com"]["fields"] == {}


def test_exact_title_beats_one_that_is_alike(
    run_case: Callable[..., Outcome], fields: CustomFields
) -> None:
    fields.add("Score +", tag="SCORE_PLUS")
    fields.add("Score -", tag="SCORE_MINUS")
    run_case("exact-name").succeeded()
    assert (fields.held("Score +"), fields.held("Score -")) == ([None], ["-5"])


def test_exact_name_of_an_address_wins_wherever_it_stands(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    assert run_case("two-address-properties").succeeded().counts == {"read": 1, "added": 1}
    assert list(sandbox.contacts()) == ["good@example.com"]


@pytest.mark.parametrize("how", ["reject", "add", "create"])
def test_composed_and_decomposed_names_are_the_same(
    run_case: Callable[..., Outcome], fields: CustomFields, how: str
) -> None:
    fields.add("étage préféré", tag="FLOOR")
    fields.add("Cafés", "dropdown", "Café crème", tag="CAFE")
    before = fields.titles()
    changes = {
        "reject": {},
        "add": {"on_unknown_option": "add"},
        "create": {"unmapped_properties": "create"},
    }
    outcome = run_case("nfd-names", **changes[how]).succeeded()
    assert outcome.counts == {"read": 2, "added": 2}
    assert fields.held("étage préféré") == ["3", "3"]
    assert fields.held("Cafés") == ["Café crème", "Café crème"]
    assert fields.options("Cafés") == ["Café crème"]
    assert fields.titles() - before == ({"नीम"} if how == "create" else set())


def test_foreign_phone_without_a_plus_is_left_as_it_is(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    run_case("foreign-phone").succeeded()
    phones = {who: contact["phone"] for who, contact in sandbox.contacts().items()}
    assert phones == {
        "q0@example.com": "447700900123",
        "q1@example.com": "919876543210",
        "q2@example.com": "12125550123",
    }


def test_whole_floats_lose_their_fraction(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    run_case("float-phone").succeeded()
    contact = sandbox.contacts()["fl@example.com"]
    assert contact["phone"] == "15550100199"
    assert contact["fields"] == {"CUSTOMER_ID": "27045"}


def test_boolean_is_neither_phone_nor_name(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    outcome = run_case("boolean-phone").succeeded()
    # `first_name` can be a text by its schema, so it is mapped; this value of it is refused.
    assert outcome.counts == {"read": 1, "invalid": 1}
    (reject,) = outcome.rejects
    assert reject["_reject_code"] == "VALUE_INVALID"
    assert "first_name" in reject["_reject_reason"]
    assert "ignores: mobile" in outcome.log
    assert sandbox.contacts() == {}


def test_record_without_its_key_costs_that_record(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    outcome = run_case("key-missing").succeeded()
    assert outcome.counts == {"read": 5, "added": 4, "invalid": 1}
    assert sorted(sandbox.contacts()) == [f"k{n}@example.com" for n in (0, 1, 2, 9)]
    (reject,) = outcome.rejects
    assert reject["_reject_code"] == "RECORD_INVALID"
    assert "Line 6" in reject["_reject_reason"]
    assert outcome.states[-1] == {"a": 2}


def test_undeclared_property_ends_a_run_that_is_to_fail_on_it(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    outcome = run_case("undeclared-property")
    assert outcome.code == 1
    assert "'city'" in outcome.log
    assert "'brandnew'" in outcome.log
    assert sandbox.requests(path=IMPORT) == []


def test_undeclared_property_arrives_if_mapped_and_is_warned_of_if_not(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    outcome = run_case("undeclared-property", unmapped_properties="ignore").succeeded()
    assert sandbox.contacts()["x1@example.com"]["fields"] == {"TIER": "Gold"}
    (warning,) = [one for one in outcome.warnings if "brandnew" in one]
    assert "city" in warning


def test_metadata_arrives_where_it_is_mapped_by_name(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    run_case("metadata-mapped").succeeded()
    held = sandbox.contacts()["y@example.com"]["fields"]["LAST_SEEN"]
    assert held.startswith("2025-01-0")


def test_year_one_costs_one_record_at_most(
    sandbox: SandboxServer, run_case: Callable[..., Outcome]
) -> None:
    outcome = run_case("year-one").succeeded()
    arrived = {"y0", "y1", "y2", "y4", "y5", "y6", "y7"}
    assert {who.partition("@")[0] for who in sandbox.contacts()} - {"y3"} == arrived
    assert set(outcome.codes.values()) <= {"VALUE_INVALID"}
    assert len(sandbox.imports()) == 1
