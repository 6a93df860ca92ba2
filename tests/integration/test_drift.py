"""Custom fields that are renamed, deleted or changed in ActiveCampaign between two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
IMPORT = "/api/3/import/bulk_import"


@pytest.fixture
def fields(sandbox: SandboxServer) -> CustomFields:
    """The account's fields; the values of `perk_level` find one of them by its title only."""
    fields = CustomFields(sandbox)
    fields.add("Perk level", tag="PERKS")
    return fields


def profiles(perk_level: Any = "high", kind: Any = "string") -> list[dict[str, Any]]:
    return [schema(perk_level=kind), record(ADA, first_name="Ada", perk_level=perk_level)]


def refused(outcome: Outcome) -> str:
    """Why a run was refused before its first record."""
    assert outcome.code == 1
    assert outcome.counts == {}
    return str(outcome.report["problem"])


# Fields that no longer are where they were


def test_renamed_field_is_an_error_before_first_record(
    sandbox: SandboxServer, load: TargetRunner, fields: CustomFields
) -> None:
    assert not load(profiles()).succeeded().warnings
    fields.change("Perk level", title="Reward")
    number = fields.id("Reward")
    imports = len(sandbox.requests(path=IMPORT, method="POST"))

    for _ in range(2):
        outcome = load(profiles("low"))

        assert refused(outcome) == (
            "Stream 'profiles': the account's fields have changed. Property 'perk_level' is no "
            "longer mapped. In the last run it was mapped to 'Perk level' (%PERKS%), which is now "
            f"called 'Reward' (%PERKS%) and has the id 'id:{number}'. Map each in 'field_mapping' "
            "to its field, preferably by id, or to 'ignore'."
        )
    assert len(sandbox.requests(path=IMPORT, method="POST")) == imports
    assert fields.held("Reward") == ["high"]


@pytest.mark.parametrize("destination", ["id:{}", "Reward", "PERKS", "ignore"])
def test_field_mapping_resolves_renamed_field(
    load: TargetRunner, fields: CustomFields, destination: str
) -> None:
    load(profiles()).succeeded()
    fields.change("Perk level", title="Reward")
    load.config["field_mapping"] = {"perk_level": destination.format(fields.id("Reward"))}

    load(profiles("low")).succeeded()

    assert fields.held("Reward") == ["high" if destination == "ignore" else "low"]
    assert not load(profiles("low")).succeeded().warnings


def test_deleted_field_is_an_error(load: TargetRunner, fields: CustomFields) -> None:
    load(profiles()).succeeded()
    fields.add("Perk levels")
    fields.delete("Perk level")
    problem = refused(load(profiles()))
    assert (
        "Property 'perk_level' is no longer mapped. In the last run it was mapped to 'Perk level' "
        "(%PERKS%), which has been deleted. Did you mean 'Perk levels'?"
    ) in problem


def test_history_keeps_properties_missing_from_a_run(
    load: TargetRunner, fields: CustomFields
) -> None:
    load(profiles()).succeeded()
    load([schema(), record("b@example.com")]).succeeded()
    fields.delete("Perk level")
    assert "has been deleted" in refused(load(profiles()))


@pytest.mark.parametrize("name", ["perk_level", "perk.level"])
def test_history_drops_properties_that_settings_ignore(
    load: TargetRunner, fields: CustomFields, name: str
) -> None:
    properties: dict[str, Any] = {name: "string"}
    messages = [schema(**properties), record(ADA)]
    load(messages).succeeded()
    load(messages, field_mapping={name: "ignore"}).succeeded()
    fields.delete("Perk level")
    assert not load(messages).succeeded().warnings


@pytest.mark.parametrize(
    ("change", "became"),
    [
        (
            lambda fields: fields.change("Perk level", title="Reward"),
            "which is now called 'Reward' (%PERKS%) and has the id 'id:{}'. The custom fields are",
        ),
        (
            lambda fields: fields.delete("Perk level"),
            "which has been deleted. Did you mean 'Perks level'?",
        ),
    ],
)
def test_error_for_missing_mapped_field_explains_its_change(
    load: TargetRunner,
    fields: CustomFields,
    change: Callable[[CustomFields], None],
    became: str,
) -> None:
    number = fields.id("Perk level")
    fields.add("Perks level")
    messages = [schema(level="string"), record(ADA, level="high")]
    load.config["field_mapping"] = {"level": "Perk level"}
    load(messages).succeeded()
    change(fields)
    problem = refused(load(messages))
    assert problem.startswith("Stream 'profiles': property 'level' is mapped to 'Perk level', ")
    change_told = became.format(number)
    assert f"In the last run it was mapped to 'Perk level' (%PERKS%), {change_told}" in problem


def test_error_for_deleted_field_id_suggests_its_successor(
    load: TargetRunner, fields: CustomFields
) -> None:
    load.config["field_mapping"] = {"perk_level": f"id:{fields.id('Perk level')}"}
    load(profiles()).succeeded()
    fields.delete("Perk level")
    fields.add("Perk level")
    assert "has been deleted. Did you mean 'Perk level'?" in refused(load(profiles()))


def test_error_names_all_properties_with_changed_fields(
    load: TargetRunner, fields: CustomFields
) -> None:
    messages = [schema(perk_level="string", city="string", notes="string"), record(ADA)]
    load(messages).succeeded()
    fields.delete("City")
    fields.change("Perk level", title="Reward")
    fields.change("Notes", title="Remarks")  # it is still found by its tag
    problem = refused(load(messages))
    assert "'perk_level' is no longer mapped" in problem
    assert "'city' is no longer mapped" in problem
    assert "'notes'" not in problem


# Fields that are still found


def test_renamed_field_found_by_tag_is_a_warning(load: TargetRunner, fields: CustomFields) -> None:
    messages = [schema(notes="string"), record(ADA, notes="x")]
    load(messages).succeeded()
    fields.change("Notes", title="Remarks")

    outcome = load(messages).succeeded()

    assert outcome.warnings == [
        "Stream 'profiles', property 'notes': its field 'Notes' (%NOTES%) is now called 'Remarks' "
        "(%NOTES%). If that is not intended, map it elsewhere in 'field_mapping', or to 'ignore'."
    ]
    assert outcome.counts == {"read": 1, "unchanged": 1}
    assert not load(messages).succeeded().warnings


@pytest.mark.parametrize("auto_map", [True, False])
def test_recreated_field_gets_values_of_unchanged_profiles(
    load: TargetRunner, fields: CustomFields, auto_map: bool
) -> None:
    if not auto_map:
        mapping = {"email": "email", "perk_level": "Perk level"}
        load.config.update(auto_map=False, field_mapping=mapping)
    load(profiles()).succeeded()
    fields.delete("Perk level")
    number = fields.add("Perk level", tag="PERKS")

    outcome = load(profiles()).succeeded()

    assert outcome.warnings == [
        "Stream 'profiles', property 'perk_level': it is now mapped to 'Perk level' (%PERKS%), "
        f"id:{number} of type text. In the last run it was mapped to 'Perk level' (%PERKS%), which "
        "has been deleted. If that is not intended, map it elsewhere in 'field_mapping', or to "
        "'ignore'."
    ]
    assert outcome.counts == {"read": 1, "changed": 1}
    assert fields.held("Perk level") == ["high"]
    assert not load(profiles()).succeeded().warnings


def test_changed_field_type_is_a_warning(load: TargetRunner, fields: CustomFields) -> None:
    load(profiles("7")).succeeded()
    fields.change("Perk level", type="number")

    outcome = load([*profiles("8"), record("b@example.com", perk_level="much")]).succeeded()

    assert outcome.warnings == [
        "Stream 'profiles', property 'perk_level': the type of 'Perk level' (%PERKS%) has changed "
        "from text to number. Values are converted to the new type, and those that don't fit are "
        "refused. If that is not intended, map it elsewhere in 'field_mapping', or to 'ignore'."
    ]
    assert outcome.codes == {"b@example.com": "VALUE_INVALID"}
    assert fields.held("Perk level") == ["8"]


@pytest.mark.parametrize("field_mapping", [{}, {"perk_level": "Perk level"}])
def test_changed_field_type_that_fits_no_value_is_an_error(
    load: TargetRunner, fields: CustomFields, field_mapping: dict[str, str]
) -> None:
    load.config["field_mapping"] = field_mapping
    load(profiles(7, "integer")).succeeded()
    fields.change("Perk level", type="date")
    for _ in range(2):
        problem = refused(load(profiles(8, "integer")))
        assert (
            "In the last run it was mapped to 'Perk level' (%PERKS%), which is now of type date "
            "instead of text."
        ) in problem


# What is no drift


def test_changed_field_mapping_is_not_drift(load: TargetRunner, fields: CustomFields) -> None:
    load(profiles()).succeeded()
    for destination in ("NOTES", "phone", "ignore", "City", "PERKS"):
        outcome = load(profiles(), field_mapping={"perk_level": destination}).succeeded()
        assert not outcome.warnings
    assert fields.held("City") == ["high"]


def test_property_no_longer_mapped_by_settings_is_not_drift(
    load: TargetRunner, fields: CustomFields
) -> None:
    mapping = {"email": "email", "perk_level": "PERKS"}
    load(profiles(), auto_map=False, field_mapping=mapping).succeeded()
    fields.delete("Perk level")
    outcome = load(profiles(), auto_map=False, field_mapping={"email": "email"}).succeeded()
    assert not outcome.warnings


def test_history_is_kept_per_stream_and_list(load: TargetRunner, fields: CustomFields) -> None:
    load(profiles()).succeeded()
    fields.delete("Perk level")
    others = [schema("others", perk_level="string"), record(ADA, "others", perk_level="x")]
    load(others).succeeded()
    load(profiles(), list_id=2).succeeded()
    refused(load(profiles()))


# Fields that the target makes


@pytest.mark.parametrize("auto_map", [True, False])
def test_create_recreates_deleted_field(
    load: TargetRunner, fields: CustomFields, auto_map: bool
) -> None:
    load.config.update(
        unmapped_properties="create", auto_map=auto_map, field_mapping={"email": "email"}
    )
    load(profiles()).succeeded()
    fields.delete("Perk level")

    outcome = load(profiles()).succeeded()

    assert "Created the custom field 'Perk level'" in outcome.log
    assert outcome.counts == {"read": 1, "changed": 1}
    assert fields.held("Perk level") == ["high"]


@pytest.mark.parametrize("auto_map", [True, False])
def test_create_does_not_recreate_renamed_field(
    load: TargetRunner, fields: CustomFields, auto_map: bool
) -> None:
    load.config.update(
        unmapped_properties="create", auto_map=auto_map, field_mapping={"email": "email"}
    )
    load(profiles()).succeeded()
    fields.change("Perk level", title="Reward")
    before = fields.titles()

    assert "is now called 'Reward' (%PERKS%)" in refused(load(profiles()))

    assert fields.titles() == before


# Properties inside of objects


def test_history_covers_nested_properties(load: TargetRunner, fields: CustomFields) -> None:
    address = {"type": "object", "properties": {"city": {"type": "string"}}}
    messages = [schema(address=address), record(ADA, address={"city": "Oslo"})]
    load.config["field_mapping"] = {"address.city": "Perk level"}
    load(messages).succeeded()
    fields.change("Perk level", title="Town")
    assert "property 'address.city' is mapped to 'Perk level'" in refused(load(messages))
    load.config["field_mapping"] = {"address.city": "Town"}
    load(messages).succeeded()


@pytest.mark.parametrize(
    "wrong",
    [
        {"only_if_empty": ["nope"]},
        {"sync_mode": "mirror", "on_leave": "field", "membership_field": "%NOPE%"},
        {"field_mapping": {"first_name": "%NOPE%"}},
    ],
)
def test_change_is_reported_by_first_run_that_loads_the_stream(
    load: TargetRunner, fields: CustomFields, wrong: dict[str, Any]
) -> None:
    load(profiles("7")).succeeded()
    fields.change("Perk level", type="number")
    assert "nope" in refused(load(profiles("8"), **wrong)).casefold()

    (warning,) = load(profiles("8")).succeeded().warnings

    assert "has changed from text to number" in warning
    assert not load(profiles("8")).succeeded().warnings
