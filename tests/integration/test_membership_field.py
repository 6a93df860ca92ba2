"""`on_leave: field`: the field that says who is in a mirrored stream, found, made and guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.mirrors import Mirror, whole
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

TITLE, TAG = "In segment", "MEMBER"
"""The tag is unlike the title: a field that is renamed is not found by it."""


@pytest.fixture
def fields(sandbox: SandboxServer) -> CustomFields:
    return CustomFields(sandbox)


@pytest.fixture
def mirror(load: TargetRunner, sandbox: SandboxServer) -> Iterator[Mirror]:
    """A mirror whose people leave by a field."""
    mirror = Mirror(load, sandbox)
    load.config.update(on_leave="field", membership_field=TITLE)
    yield mirror
    mirror.assert_no_address_was_printed()


def refused(outcome: Outcome) -> str:
    """Why a run was refused before its first record."""
    assert outcome.code == 1
    assert outcome.counts == {}
    return str(outcome.report["problem"])


# Renamed


def test_renamed_field_is_an_error_and_no_new_one_is_created(
    mirror: Mirror, fields: CustomFields
) -> None:
    number = fields.add(TITLE, tag=TAG)
    mirror("ada bob")
    fields.change(TITLE, title="Of the segment")
    before = fields.titles()

    for _ in range(2):
        assert refused(mirror.load(whole("ada"))) == (
            "Stream 'profiles': its 'membership_field' is now called 'Of the segment' (%MEMBER%) "
            f"in ActiveCampaign: use that title, or its id, 'id:{number}'."
        )

    assert fields.titles() == before
    assert fields.held("Of the segment") == ["true", "true"]


@pytest.mark.parametrize("name", ["id:{}", "Of the segment", "%MEMBER%"])
def test_new_name_or_id_fixes_a_renamed_field(
    mirror: Mirror, fields: CustomFields, name: str
) -> None:
    number = fields.add(TITLE, tag=TAG)
    mirror("ada bob")
    fields.change(TITLE, title="Of the segment")
    refused(mirror.load(whole("ada")))

    mirror("ada", membership_field=name.format(number))

    assert fields.held("Of the segment") == ["true", "false"]
    assert TITLE not in fields.titles()


def test_another_existing_field_is_accepted(mirror: Mirror, fields: CustomFields) -> None:
    fields.add(TITLE, tag=TAG)
    mirror("ada bob")
    fields.change(TITLE, title="Of the segment")

    outcome = mirror("ada bob", membership_field="Now in segment")

    assert "Created the custom field 'Now in segment'" in outcome.log
    assert fields.held("Now in segment") == ["true", "true"]
    mirror("ada", membership_field="Now in segment")
    assert fields.held("Now in segment") == ["true", "false"]
    assert fields.held("Of the segment") == ["true", "true"]


def test_deleted_field_is_created_again(mirror: Mirror, fields: CustomFields) -> None:
    mirror("ada bob")
    fields.delete(TITLE)
    assert f"Created the custom field '{TITLE}'" in mirror("ada bob").log
    assert fields.held(TITLE) == ["true", "true"]


# Named wrongly


@pytest.mark.parametrize("name", ["id:99", "ID: 99", "%NOPE%"])
def test_invalid_title_creates_no_field(mirror: Mirror, fields: CustomFields, name: str) -> None:
    before = fields.titles()
    problem = refused(mirror.load(whole("ada"), membership_field=name))
    assert problem.startswith(
        f"Stream 'profiles': the account has no field '{name}', which 'membership_field' names."
    )
    assert problem.endswith("Name an existing field, or the title of a new one.")
    assert fields.titles() == before


@pytest.mark.parametrize("kind", ["listbox", "checkbox"])
def test_multiple_choice_field_is_refused(mirror: Mirror, fields: CustomFields, kind: str) -> None:
    fields.add(TITLE, kind, "true", "false")
    assert f"of type '{kind}' and can't hold 'true' and 'false'" in refused(
        mirror.load(whole("ada"))
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"field_mapping": {"first_name": "%CITY2%"}}, "'%CITY2%'"),
        ({"unmapped_properties": "fail"}, "unmapped properties"),
    ],
)
def test_refused_stream_creates_no_field(
    mirror: Mirror, fields: CustomFields, settings: dict[str, Any], said: str
) -> None:
    before = fields.titles()
    messages = [schema(shoe_size="string"), *whole("ada")[1:]]
    assert said in refused(mirror.load(messages, **settings))
    assert fields.titles() == before


# Written by another stream


def other(**settings: Any) -> dict[str, Any]:
    """Settings of a stream that is not mirrored."""
    return {"streams": {"others": {"sync_mode": "upsert", **settings}}}


def member(value: str) -> list[dict[str, Any]]:
    """A stream that writes a property of the membership field's name."""
    return [
        schema("others", member="string"),
        record("ada@example.com", "others", member=value),
    ]


@pytest.mark.parametrize("first", ["profiles", "others"])
@pytest.mark.parametrize("mapping", [{}, {"field_mapping": {"member": TITLE}}])
def test_other_streams_may_not_map_to_the_field(
    mirror: Mirror, fields: CustomFields, first: str, mapping: dict[str, Any]
) -> None:
    number = fields.add(TITLE, tag=TAG)
    messages = [*whole("ada"), *member("no")]
    second = "others"
    if first == "others":
        messages, second = [*member("no"), *whole("ada")], "profiles"

    outcome = mirror.load(messages, **other(**mapping))

    assert outcome.code == 1
    assert outcome.report["problem"] == (
        f"Streams '{first}' and '{second}' both write the field id:{number}, which is the "
        "'membership_field' of one of them: map the other's property elsewhere, or to 'ignore'."
    )
    mirror.load(messages, **other(field_mapping={"member": "ignore"})).succeeded()
    assert fields.held(TITLE) == ["true"]


def test_mirrors_may_share_the_field(mirror: Mirror, fields: CustomFields) -> None:
    messages = [*whole("ada bob"), *whole("bob cyd", "others")]
    mirror.load(messages).succeeded()
    mirror.load([*whole("ada"), *whole("cyd", "others")]).succeeded()
    assert fields.held(TITLE) == ["true", "false", "true"]
