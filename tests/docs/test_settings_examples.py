"""The examples of settings in the documentation: valid, and together they show every setting."""

from __future__ import annotations

import re
from typing import Any

import pytest

from target_activecampaign.config.definitions import GROUPS
from target_activecampaign.config.settings import Settings, json_schema
from target_activecampaign.config.validation import convert, find_problems, unknown_settings
from target_activecampaign.target import TargetActiveCampaign
from tests.support.guide import DOCS, example

SECTIONS: dict[str, dict[str, Any]] = {
    "Account": example("settings-contacts.md", "account"),
    "Sandbox": example("settings-contacts.md", "sandbox"),
    "Lists, streams and tags": example("settings-contacts.md", "lists"),
    "Mapping": example("settings-contacts.md", "mapping"),
    "Sync modes and mirrors": example("settings-lists.md", "mirror"),
    "Deleted records": example("settings-lists.md", "deleted"),
    "Changed addresses": example("settings-lists.md", "identity"),
    "Opt-outs": example("settings-lists.md", "opt-outs"),
    "Consent": example("settings-lists.md", "consent"),
    "Delivery": example("settings-runs.md", "delivery"),
    "Rejected records": example("settings-runs.md", "rejects"),
    "State, ledger and report": example("settings-runs.md", "state"),
    "Outcomes in your own tables": example("settings-runs.md", "outcomes"),
    "Limits and timeouts": example("settings-limits.md", "limits"),
    "Stream maps and flattening": example("settings-limits.md", "stream maps"),
}
"""The example of each group of settings."""

ACCOUNT = {
    "api_url": "https://acct.api-us1.com",
    "api_key": "a-key",
    "data_privacy_consent": True,
    "list_id": 1,
}


def of_the_sdk() -> set[str]:
    """The settings that come from the SDK."""
    schema: dict[str, Any] = {"properties": {}}
    TargetActiveCampaign.append_builtin_config(schema)
    return set(schema["properties"]) - set(json_schema()["properties"])


@pytest.mark.parametrize("group", SECTIONS)
def test_an_example_is_valid_and_has_each_setting_of_its_group(group: str) -> None:
    schema = json_schema()
    shown = SECTIONS[group]
    given, problems = convert({**ACCOUNT, **shown}, schema)
    of_streams = [name for own in given.get("streams", {}).values() for name in own]
    names = {*shown, *of_streams}

    assert problems == []
    assert find_problems(given, schema) == []
    assert unknown_settings(given, {*schema["properties"], *of_the_sdk()}) == []
    settings = Settings.from_config(given)
    assert all(settings.for_stream(name) for name in given.get("streams", ()))
    expected = {one.name for one in GROUPS[group]} if group in GROUPS else of_the_sdk()
    assert expected - names == set(), "show these in the example"


def test_each_group_has_a_section_with_its_example() -> None:
    found = {}
    for page in DOCS.glob("settings-*.md"):
        text = page.read_text("utf-8")
        marks = re.findall(r"^<!-- (example|settings): (.+) -->$", text, re.MULTILINE)
        for (kind, _), (other, group) in zip(marks[::2], marks[1::2], strict=True):
            assert (kind, other) == ("example", "settings"), f"{page.name}: {group}"
            found[group] = page.name
    assert found.keys() == SECTIONS.keys()
    assert set(GROUPS) < SECTIONS.keys()
