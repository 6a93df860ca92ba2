"""What Meltano Hub asks of entries, as far as it could be seen, as JSON schemas.

Put down from reading the Hub's schemas (`schemas/plugin_definitions/loaders.schema.json` in its
repository and those that it refers to) and entries that it has accepted.
"""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}

_KINDS = [
    *("array", "boolean", "date_iso8601", "decimal", "email", "file", "hidden", "integer"),
    *("oauth", "object", "options", "password", "string"),
]

_CAPABILITIES = [
    *("about", "activate-version", "batch", "datatype-failsafe", "hard-delete"),
    *("schema-flattening", "soft-delete", "stream-maps", "target-schema", "validate-records"),
    # In none of the schemas that could be seen, but in entries that the Hub has.
    "structured-logging",
]

_TAP_CAPABILITIES = [
    *("about", "activate-version", "batch", "catalog", "discover", "log-based", "properties"),
    *("schema-flattening", "state", "stream-maps", "structured-logging", "test"),
]

SETTING: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(
            ("name", "label", "description", "placeholder", "tooltip", "documentation", "env"),
            _TEXT,
        ),
        "aliases": _TEXTS,
        "kind": {"enum": _KINDS},
        "value": {},
        "options": {
            "type": "array",
            "items": {"type": "object", "properties": {"label": _TEXT, "value": _TEXT}},
        },
        "hidden": {"type": "boolean"},
        "sensitive": {"type": "boolean"},
    },
}

LOADER: dict[str, Any] = {
    "type": "object",
    "required": ["name", "namespace", "variant", "quality"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(
            (
                *("name", "namespace", "variant", "label", "description", "docs", "repo"),
                *("pip_url", "executable", "python", "log_parser", "definition", "next_steps"),
                *("prereq", "settings_preamble", "usage"),
            ),
            _TEXT,
        ),
        "logo_url": {"type": ["string", "null"]},
        "domain_url": {"type": ["string", "null"], "format": "uri"},
        "keywords": _TEXTS,
        "maintenance_status": {"enum": ["active", "beta", "development", "inactive", "unknown"]},
        "quality": {"enum": ["gold", "silver", "bronze", "unknown"]},
        "supported_python_versions": {
            "type": "array",
            "items": {"type": "string", "pattern": r"^3\.\d+$"},
        },
        "capabilities": {"type": "array", "items": {"enum": _CAPABILITIES}},
        "commands": {"type": "object"},
        "hidden": {"type": "boolean"},
        "settings": {"type": "array", "items": SETTING},
        "settings_group_validation": {"type": "array", "items": _TEXTS},
    },
}

EXTRACTOR: dict[str, Any] = {
    **LOADER,
    "properties": {
        **LOADER["properties"],
        "capabilities": {"type": "array", "items": {"enum": _TAP_CAPABILITIES}},
        "select": _TEXTS,
        "metadata": {"type": "object"},
    },
}
"""The keys of a loader, and those of extractors only."""
