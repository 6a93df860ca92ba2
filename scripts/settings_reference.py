"""The settings as Markdown: all for the pages of docs/, the first ones for the README."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from target_activecampaign.config.definitions import GROUPS, STREAM_SETTINGS
from target_activecampaign.tap.definitions import SETTINGS as TAP_SETTINGS
from target_activecampaign.tap.tap import TapActiveCampaignConsent
from target_activecampaign.target import TargetActiveCampaign

DOCS = Path(__file__).resolve().parent.parent / "docs"

PAGES = (
    "settings-contacts.md",
    "settings-lists.md",
    "settings-runs.md",
    "settings-limits.md",
)
"""The pages with all settings. A group stands between `<!-- settings: GROUP -->` and its end."""

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
"""The group of the settings that come from the Meltano SDK."""

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


def groups() -> dict[str, list[str]]:
    """Return the names of all settings by group, those of the SDK last."""
    found = {heading: [one.name for one in group] for heading, group in GROUPS.items()}
    own = {name for names in found.values() for name in names}
    return {**found, OF_THE_SDK: [name for name in schemas() if name not in own]}


def group_reference(heading: str) -> str:
    """Return the settings of a group, each under a heading of its own."""
    known = schemas()
    return "\n\n".join(_entry(name, known[name]) for name in groups()[heading])


def index() -> str:
    """Return the table of all settings by task, with links to the sections that have them.

    Raises:
        SystemExit: A group is in no page of `PAGES`.
    """
    rows, missing = [], groups()
    for page in PAGES:
        title, anchor = "", ""
        for line in (DOCS / page).read_text("utf-8").splitlines():
            if line.startswith("## "):
                title = line.removeprefix("## ")
                anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            elif marker := re.fullmatch(r"<!-- settings: (.+) -->", line):
                links = (f"[`{name}`]({page}#{name})" for name in missing.pop(marker[1]))
                rows.append(f"| [{title}]({page}#{anchor}) | {', '.join(links)} |")
    if missing:
        raise SystemExit(f"Give these groups of settings a section in {PAGES}: {list(missing)}")
    return "\n".join(["| task | settings |", "| --- | --- |", *rows])


def _entry(name: str, schema: dict[str, Any]) -> str:
    facts = [_kind(schema)]
    facts += [f"default: {_default(schema)}"] if "default" in schema else []
    facts += ["secret"] if schema.get("secret") else []
    facts += ["also per stream"] if name in STREAM_SETTINGS else []
    return f"### `{name}`\n\n*{'; '.join(facts)}.* {schema['description']}"


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
