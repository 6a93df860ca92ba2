"""The guide to mapping: its examples, run as they stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import block, example, schema_of

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

PROFILE = example("mapping.md", "profile")
SETTINGS = example("mapping.md", "settings")


def messages(profile: dict[str, Any]) -> list[dict[str, Any]]:
    schema = {**schema_of(PROFILE), "type": "object"}
    schema["properties"]["LoyaltyPoints"] = {"type": ["integer", "null"]}
    schema["properties"].update(
        {name: schema_of(value) for name, value in profile.items() if name not in PROFILE}
    )
    return [
        {"type": "SCHEMA", "stream": "profiles", "schema": schema, "key_properties": []},
        {"type": "RECORD", "stream": "profiles", "record": profile},
    ]


def test_a_whole_profile_arrives_as_the_guide_says(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load(messages(PROFILE), **SETTINGS).succeeded()
    (contact,) = sandbox.export()
    expected = example("mapping.md", "contact")
    assert {name: contact[name] for name in expected} == expected
    assert contact["lists"] == {"1": 1}
    assert outcome.report["streams"]["profiles"]["ignored"] == ["CreatedOn", "InternalScore"]
    assert not outcome.warnings


def test_the_log_says_where_each_property_goes_as_the_guide_says(load: TargetRunner) -> None:
    log = load(messages(PROFILE), **SETTINGS).succeeded().log
    goes, has_none = block("mapping.md", "log").splitlines()
    assert all(part in log for part in goes.removesuffix(", ...").split(", "))
    assert has_none in log


def test_what_has_no_place_stops_it_as_the_guide_says(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load(messages({**PROFILE, "ShoeSize": 39}), **SETTINGS)
    assert outcome.code == 1
    assert "unmapped properties: 'ShoeSize'" in outcome.log.splitlines()[-1]
    assert sandbox.export() == []


@pytest.mark.parametrize("name", sorted(PROFILE))
def test_nothing_of_the_profile_arrives_when_it_is_not_there(
    sandbox: SandboxServer, load: TargetRunner, name: str
) -> None:
    """Each property is what fills its place: without it, the place is empty."""
    lesser = {key: value for key, value in PROFILE.items() if key != name}
    outcome = load(messages(lesser), **SETTINGS)
    if name == "EMailAddress1":
        assert outcome.counts == {"read": 1, "invalid": 1}
        return
    if name == "MarketingConsent":
        assert outcome.succeeded().counts == {"read": 1, "skipped": 1}
        outcome = load(messages(lesser), **SETTINGS, consent_unknown="subscribe")
    outcome.succeeded()
    (contact,) = sandbox.export()
    expected = example("mapping.md", "contact")
    differing = {key for key in expected if contact[key] != expected[key]}
    if name in SETTINGS["field_mapping"] and SETTINGS["field_mapping"][name] == "ignore":
        assert not differing
    else:
        assert len(differing) == 1
