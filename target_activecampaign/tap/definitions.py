"""The settings of the tap. Those of the account are the target's own."""

from __future__ import annotations

from typing import Any

from target_activecampaign.config.definitions import SETTINGS as TARGET_SETTINGS
from target_activecampaign.config.definitions import Setting

PLAIN, SHA256 = "plain", "sha256"

_SHARED = (
    "api_url",
    "api_key",
    "connection_name",
    "sandbox",
    "sandbox_path",
    "requests_per_second",
    "rate_budget_url",
    "request_timeout",
    "max_retry_after",
)

_OWN = (
    Setting(
        "lists",
        {"type": "array", "items": {"type": ["integer", "string"]}},
        "Lists whose opt-outs are read: ids, exact names or string ids. Empty means all lists. "
        "Bounces and exclusions are always those of the whole account.",
        default=[],
    ),
    Setting(
        "addresses",
        {"type": "string", "enum": [PLAIN, SHA256]},
        "How records identify people: by their e-mail address as it is (`plain`), or by the "
        "SHA-256 of the address in lower case (`sha256`), as a hex text.",
        default=PLAIN,
    ),
    Setting(
        "changed_contacts_only",
        {"type": "boolean"},
        "Read opt-outs and bounces only of contacts that ActiveCampaign counts as changed since "
        "the last run, with a day's overlap. It is not documented whether an opt-out or a bounce "
        "counts: leave this off unless you have seen that it does in your account.",
        default=False,
    ),
    Setting(
        "emit_activate_version_messages",
        {"type": "boolean"},
        "Start each stream that is read as a whole with an ACTIVATE_VERSION message, so that a "
        "loader removes the rows of earlier runs, such as those of people who have come back.",
        default=False,
    ),
)


def _settings() -> tuple[Setting, ...]:
    shared = {one.name: one for one in TARGET_SETTINGS}
    return (*(shared[name] for name in _SHARED), *_OWN)


SETTINGS = _settings()


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the tap's configuration."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }
