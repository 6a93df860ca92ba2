"""The settings as docs/settings.md shows them all, and the README the first of them."""

from __future__ import annotations

import json
from typing import Any

from target_activecampaign.config.settings import SETTINGS, STREAM_SETTINGS
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
"""What a newcomer needs to know."""

GROUPS: dict[str, tuple[str, ...]] = {
    "The account": ("api_url", "api_key", "connection_name", "data_privacy_consent"),
    "The sandbox": ("sandbox", "sandbox_path"),
    "Lists, streams and tags": ("list_id", "tags", "streams"),
    "Mapping": (
        "field_mapping",
        "auto_map",
        "unmapped_properties",
        "on_object",
        "on_unknown_option",
        "null_policy",
        "only_if_empty",
        "default_country",
    ),
    "Modes": (
        "sync_mode",
        "on_leave",
        "membership_field",
        "membership_tag",
        "complete_stream",
        "adopt_members",
        "guards",
        "deleted_properties",
    ),
    "What is sent": (
        "dry_run",
        "skip_unchanged",
        "full_resync",
        "resync_after_days",
        "exclude_automations",
    ),
    "Refused records": (
        "fail_on_empty",
        "rejects_path",
        "max_rejects",
        "max_reject_pct",
        "diagnose_limit",
        "validate_records",
    ),
    "State, ledger and report": (
        "checkpoint_seconds",
        "ledger_url",
        "report_path",
        "keep_reports",
        "report_personal_data",
        "on_complete_webhook",
    ),
    "Limits and times": (
        "batch_size_rows",
        "max_in_flight",
        "requests_per_second",
        "imports_per_minute",
        "single_imports_per_minute",
        "rate_budget_url",
        "request_timeout",
        "max_retry_after",
        "import_timeout",
        "max_line_bytes",
    ),
}
"""The target's own settings under the headings of docs/settings.md."""

OF_THE_SDK = "Stream maps and flattening"
"""The heading of the settings that the Meltano SDK brings."""

_RANGES = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
}


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas of all settings, those of the SDK too, as `--about` shows them."""
    schema = TargetActiveCampaign.config_jsonschema
    TargetActiveCampaign.append_builtin_config(schema)
    properties: dict[str, dict[str, Any]] = schema["properties"]
    return properties


def first_settings() -> str:
    """The settings that a newcomer needs, as a table."""
    known = schemas()
    rows = ["| setting | default | meaning |", "| --- | --- | --- |"]
    rows += [
        f"| `{name}` | {_default(known[name])} | {known[name]['description']} |" for name in FIRST
    ]
    return "\n".join(rows)


def reference() -> str:
    """All settings under their headings."""
    known = schemas()
    ours = {setting.name for setting in SETTINGS}
    grouped = {name for names in GROUPS.values() for name in names}
    if ours != grouped:
        raise ValueError(f"GROUPS and SETTINGS differ in {', '.join(sorted(ours ^ grouped))}.")
    of_the_sdk = tuple(name for name in known if name not in ours)
    parts = []
    for heading, names in {**GROUPS, OF_THE_SDK: of_the_sdk}.items():
        parts += [f"## {heading}", *(_entry(name, known[name]) for name in names)]
    return "\n\n".join(parts)


def _entry(name: str, schema: dict[str, Any]) -> str:
    facts = [f"Type: {_kind(schema)}"]
    facts += [f"default: {_default(schema)}"] if "default" in schema else []
    facts += ["secret"] if schema.get("secret") else []
    facts += ["also for one stream, under `streams`"] if name in STREAM_SETTINGS else []
    facts += [f"variable: `{PREFIX}{name.upper()}`"]
    return f"### `{name}`\n\n{'; '.join(facts)}.\n\n{schema['description']}"


def _kind(schema: dict[str, Any]) -> str:
    """What a setting can be, such as `number or null, at least 0`."""
    types = schema["type"]
    kind = types if isinstance(types, str) else " or ".join(types)
    if "enum" in schema:
        return f"{kind}, one of {', '.join(f'`{value}`' for value in schema['enum'])}"
    ranges = [words.format(schema[rule]) for rule, words in _RANGES.items() if rule in schema]
    return ", ".join([kind, *ranges])


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
