"""`null_policy`: explicit nulls, and properties that a record lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
CLEAR = {"null_policy": "clear"}
TEXTS = {"first_name": "Ada", "last_name": "King", "phone": "+49301234567"}
FIELDS: dict[str, Any] = {
    "tier": "Gold",
    "birthday": "1815-12-10",
    "last_seen": "2026-01-02T03:04:05+00:00",
    "lifetime_value": "7",
    "interests": ["Tea", "Events"],
    "city": "London",
    "notes": "x",
    "newsletter_consent": ["Yes"],
}
WHOLE = {**TEXTS, **FIELDS, "company": "Engines", "labels": "vip"}
MAPPING = {"company": "customer_account", "labels": "tags"}


def profiles(*records: dict[str, Any], stream: str = "profiles") -> list[dict[str, Any]]:
    """Records of Ada, in a stream of which anything may be null."""
    anything: dict[str, Any] = {name: {} for name in [*WHOLE, "address"]}
    return [schema(stream, **anything), *(record(ADA, stream, **values) for values in records)]


def contact(sandbox: SandboxServer) -> dict[str, Any]:
    """Ada's contact without what an import counts."""
    return {**sandbox.contacts()[ADA], "times_imported": None}


@pytest.fixture
def whole(sandbox: SandboxServer, load: TargetRunner) -> dict[str, Any]:
    """Ada's contact, in which every value is there."""
    load.config.update(field_mapping=MAPPING, consent_unknown="subscribe")
    load(profiles(WHOLE)).succeeded()
    there = contact(sandbox)
    assert there["organization"] == "Engines"
    assert len(there["fields"]) == len(FIELDS)
    return there


def empty_database(whole: dict[str, Any]) -> dict[str, Any]:
    """A contact of which all is cleared that can be."""
    fields = dict.fromkeys(whole["fields"], "")
    return {**whole, **dict.fromkeys(TEXTS, ""), "fields": fields}


NOTHING: dict[str, Any] = {
    name: [] if isinstance(value, list) else None for name, value in WHOLE.items()
}


def test_null_keeps_existing_values(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    load(profiles(NOTHING), full_resync=True).succeeded()
    assert contact(sandbox) == whole


@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
@pytest.mark.parametrize("country", [{}, {"default_country": "DE"}], ids=["any phone", "DE"])
@pytest.mark.parametrize("policy", [{}, CLEAR], ids=["keep", "clear"])
def test_blank_text_counts_as_null(  # noqa: PLR0917 - what a case is
    sandbox: SandboxServer,
    load: TargetRunner,
    whole: dict[str, Any],
    policy: dict[str, Any],
    country: dict[str, Any],
    blank: str,
) -> None:
    load(profiles(dict.fromkeys(WHOLE, blank)), **policy, **country, full_resync=True).succeeded()
    assert contact(sandbox) == (empty_database(whole) if policy else whole)


def test_null_policy_clear_clears_all_but_address_account_and_tags(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    load(profiles(NOTHING), **CLEAR).succeeded()
    assert contact(sandbox) == empty_database(whole)


def test_missing_property_changes_nothing(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    load(profiles({"phone": None}), **CLEAR).succeeded()
    assert contact(sandbox) == {**whole, "phone": ""}


def test_null_address_is_refused(load: TargetRunner) -> None:
    outcome = load([schema(), record(None)], **CLEAR).succeeded()
    assert outcome.codes == {None: "EMAIL_MISSING"}


def test_null_policy_is_set_per_stream(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    messages = [
        *profiles({"city": None, "notes": None}),
        *profiles({"city": None}, stream="clears"),
    ]
    load(messages, streams={"clears": CLEAR}).succeeded()
    assert contact(sandbox) == {**whole, "fields": {**whole["fields"], "CITY": ""}}


def test_later_record_of_a_contact_wins(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    records: list[dict[str, Any]] = [
        {"first_name": "Augusta", "city": "Ockham", "notes": None},
        {"first_name": None, "city": None, "notes": "y"},
        {"last_name": "Lovelace"},
    ]

    load(profiles(*records), **CLEAR).succeeded()

    fields = {**whole["fields"], "CITY": "", "NOTES": "y"}
    assert contact(sandbox) == {
        **whole, "first_name": "", "last_name": "Lovelace", "fields": fields
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "city"),
    [
        ({"city": None}, ""),
        (None, ""),
        ({}, "London"),
        ({"city": "Ockham"}, "Ockham"),
        ("not an object", "London"),
        ([{"city": "Ockham"}], "London"),
    ],
)
def test_null_object_clears_its_mapped_properties(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any], value: Any, city: str
) -> None:
    mapping = {**MAPPING, "address.city": "CITY"}
    load(profiles({"address": value}), field_mapping=mapping, **CLEAR).succeeded()
    assert contact(sandbox) == {**whole, "fields": {**whole["fields"], "CITY": city}}


def test_missing_object_clears_nothing(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    mapping = {**MAPPING, "address.city": "CITY", "address.geo.zone": "NOTES"}
    messages = profiles({"phone": ""}, {"address": {"city": "Bath"}}, {"address": {"geo": None}})
    load(messages, field_mapping=mapping, **CLEAR).succeeded()
    fields = {**whole["fields"], "CITY": "Bath", "NOTES": ""}
    assert contact(sandbox) == {**whole, "phone": "", "fields": fields}


def test_cleared_value_is_not_sent_again(load: TargetRunner, whole: dict[str, Any]) -> None:
    assert whole
    assert load(profiles(NOTHING), **CLEAR).counts == {"read": 1, "changed": 1}
    assert load(profiles(NOTHING), **CLEAR).counts == {"read": 1, "unchanged": 1}


def test_only_if_empty_destination_is_not_cleared(
    sandbox: SandboxServer, load: TargetRunner, whole: dict[str, Any]
) -> None:
    only = ["phone", "CITY"]
    load(profiles({"phone": None, "city": None, "notes": None}), only_if_empty=only, **CLEAR)
    assert contact(sandbox) == {**whole, "fields": {**whole["fields"], "NOTES": ""}}
