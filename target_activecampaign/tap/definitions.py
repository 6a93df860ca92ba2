"""The settings of the tap. It shares the settings of the account with the target."""

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
        "Bounces and exclusions are always read for the whole account.",
        default=[],
    ),
    Setting(
        "addresses",
        {"type": "string", "enum": [PLAIN, SHA256]},
        "How records identify people: by the e-mail address (`plain`), or by the SHA-256 of the "
        "address in lower case, in hex digits (`sha256`).",
        default=PLAIN,
    ),
    Setting(
        "changed_contacts_only",
        {"type": "boolean"},
        "Read opt-outs and bounces only of contacts that have changed since one day before the "
        "last run. ActiveCampaign does not document whether an opt-out or a bounce counts as a "
        "change of the contact: switch this on only if you have seen that it does.",
        default=False,
    ),
    Setting(
        "emit_activate_version_messages",
        {"type": "boolean"},
        "Start each stream that is read in full with an ACTIVATE_VERSION message. A loader then "
        "removes the rows of earlier runs, such as those of people who subscribed again.",
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
