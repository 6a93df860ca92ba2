"""The settings as Markdown: all for docs/settings.md, the first ones for the README."""

from __future__ import annotations

import json
from typing import Any

from target_activecampaign.config.definitions import GROUPS, STREAM_SETTINGS
from target_activecampaign.tap.definitions import SETTINGS as TAP_SETTINGS
from target_activecampaign.tap.tap import TapActiveCampaignConsent
from target_activecampaign.target import TargetActiveCampaign

PREFIX = "TARGET_ACTIVECAMPAIGN_"

FIRST = (
    "api_url",
    "api_key",
    "data_privacy_consent",
    "sandbox",
    "list_id",
    "field_mapping",
    "unmapped_properties",
    "tags",
    "sync_mode",
    "ledger_url",
)
"""The settings that a newcomer needs."""

OF_THE_SDK = "Stream maps and flattening"
"""The heading of the settings that come from the Meltano SDK."""

_RANGES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
}


def schemas(
    plugin: type[TargetActiveCampaign | TapActiveCampaignConsent] = TargetActiveCampaign,
) -> dict[str, dict[str, Any]]:
    """Return the schemas of a plugin's settings, with those of the SDK, as `--about` shows them."""
    schema = plugin.config_jsonschema
    plugin.append_builtin_config(schema)
    return dict(schema["properties"])


def first_settings() -> str:
    """Return a table of the settings that a newcomer needs."""
    known = schemas()
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{name}` | {_default(known[name])} | {known[name]['description']} |" for name in FIRST
    ]
    return "\n".join(rows)


def tap_settings() -> str:
    """Return a table of the tap's settings, without those of the SDK."""
    known = schemas(TapActiveCampaignConsent)
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{one.name}` | {_default(known[one.name])} | {one.description} |"
        for one in TAP_SETTINGS
    ]
    return "\n".join(rows)


def reference() -> str:
    """Return all settings under their headings."""
    rest = schemas()
    parts = []
    for heading, group in GROUPS.items():
        parts += [f"## {heading}", *(_entry(one.name, rest.pop(one.name)) for one in group)]
    parts += [f"## {OF_THE_SDK}", *(_entry(name, schema) for name, schema in rest.items())]
    return "\n\n".join(parts)


def _entry(name: str, schema: dict[str, Any]) -> str:
    facts = [f"Type: {_kind(schema)}"]
    facts += [f"default: {_default(schema)}"] if "default" in schema else []
    facts += ["secret"] if schema.get("secret") else []
    facts += ["also for one stream, under `streams`"] if name in STREAM_SETTINGS else []
    facts += [f"variable: `{PREFIX}{name.upper()}`"]
    return f"### `{name}`\n\n{'; '.join(facts)}.\n\n{schema['description']}"


def _kind(schema: dict[str, Any]) -> str:
    """Return the type of a setting in words, such as `number or null, at least 0`."""
    types = schema["type"]
    kind = types if isinstance(types, str) else " or ".join(types)
    if "enum" in schema:
        return f"{kind}, one of {', '.join(f'`{value}`' for value in schema['enum'])}"
    ranges = [words.format(schema[rule]) for rule, words in _RANGES.items() if rule in schema]
    return ", ".join([kind, *ranges])


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
