"""The settings of a run with their defaults, for the whole target and for one stream."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from target_activecampaign.config.definitions import (
    DEFAULT_DELETED_PROPERTIES,
    DEFAULT_GUARDS,
    OF_SUPPRESSION,
    PROFILES,
    SETTINGS,
    STREAM_SETTINGS,
    SUPPRESSION,
)
from target_activecampaign.model.names import find_spelling, nfc
from target_activecampaign.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULTS: dict[str, Any] = {
    **{setting.name: setting.default for setting in SETTINGS},
    "alert_on": {},
    "field_mapping": {},
    "member_when": {},
    "only_if_empty": [],
    "streams": {},
    "tags": [],
}

_SUPPRESSION_DEFAULTS: dict[str, Any] = {
    name: _DEFAULTS[name] for name in ("person_key", "sync_mode", "on_address_change")
} | {"leave_when": "deleted", "list_id": None}
"""Settings of the whole target that a stream of suppressed people does not take over."""


@dataclass(frozen=True)
class Guards:
    """The limits that stop a run from removing, renaming or unsubscribing anyone.

    None means no limit.
    """

    max_leave_pct: float | None
    max_leave: int | None
    max_change_pct: float | None
    min_source_pct: float | None
    max_rename_pct: float | None
    max_renames: int | None
    max_consent_loss_pct: float | None
    override_once: bool


@dataclass(frozen=True)
class StreamSettings:
    """The settings for one stream: those of the target, overridden by the stream's own.

    Attributes not listed are the settings of the same name.

    Attributes:
        list_id: Id, name or string id of the list; None if none was given.
        field_mapping: {property: destination} for all streams.
        own_field_mapping: {property: destination} for this stream; overrides `field_mapping`.
        member_when: {property: values}; empty if every record is of a member.
        person_key: Names of properties; True for the stream's key properties, None if not given.
    """

    list_id: int | str | None
    field_mapping: Mapping[str, str]
    own_field_mapping: Mapping[str, str]
    tags: tuple[str, ...]
    auto_map: bool
    unmapped_properties: str = "ignore"
    on_object: str = "json"
    on_unknown_option: str = "reject"
    null_policy: str = "keep"
    only_if_empty: tuple[str, ...] = ()
    default_country: str | None = None
    sync_mode: str = "upsert"
    on_leave: str = "unsubscribe"
    membership_field: str | None = None
    membership_tag: str | None = None
    complete_stream: bool = False
    adopt_members: bool = False
    guards: Guards = Guards(**DEFAULT_GUARDS)
    deleted_properties: tuple[str, ...] = DEFAULT_DELETED_PROPERTIES
    member_when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    leave_when: str = "absent"
    person_key: tuple[str, ...] | Literal[True] | None = None
    on_address_change: str = "rename"
    on_opted_out: str = "reject"
    consent_unknown: str = "hold"
    without_consent: str = "skip"
    retry_rejected: bool = True
    role: str = PROFILES

    @property
    def suppresses(self) -> bool:
        """True if the stream has people who must never be sent."""
        return self.role == SUPPRESSION


@dataclass(frozen=True)
class Settings:
    """The settings of the target with their defaults; one attribute per setting."""

    api_url: str | None
    api_key: str | None = field(repr=False)
    connection_name: str | None
    data_privacy_consent: bool
    sandbox: bool
    sandbox_path: str
    dry_run: bool
    list_id: int | str | None
    create_list: bool
    field_mapping: dict[str, str]
    auto_map: bool
    unmapped_properties: str
    on_object: str
    on_unknown_option: str
    null_policy: str
    only_if_empty: list[str]
    streams: dict[str, dict[str, Any]]
    tags: list[str]
    default_country: str | None
    sync_mode: str
    on_leave: str
    membership_field: str | None
    membership_tag: str | None
    complete_stream: bool
    adopt_members: bool
    guards: dict[str, Any]
    deleted_properties: list[str]
    member_when: dict[str, Any]
    leave_when: str
    person_key: str | list[str] | bool | None
    on_address_change: str
    consent_unknown: str
    without_consent: str
    on_opted_out: str
    opt_out_refresh_days: float
    opt_outs_update_contacts: bool | None
    facts_max_age_days: float
    skip_unchanged: bool
    full_resync: bool
    resync_after_days: float | None
    exclude_automations: bool
    batch_size_rows: int
    checkpoint_seconds: float
    rejects_path: str
    report_path: str
    keep_reports: int
    report_personal_data: bool
    on_complete_webhook: str | None = field(repr=False)
    alert_on: dict[str, float | None]
    outcomes_url: str | None = field(repr=False)
    outcomes_schema: str | None
    outcomes: str
    outcomes_keep_days: float
    outcomes_required: bool
    fail_on_empty: bool
    max_reject_pct: float | None
    max_rejects: int | None
    retry_rejected: bool
    retry_max_attempts: int
    retry_max_days: float
    max_in_flight: int
    diagnose_limit: int
    ledger_url: str
    rate_budget_url: str | None
    requests_per_second: float
    imports_per_minute: float
    single_imports_per_minute: float
    request_timeout: float
    max_retry_after: float
    import_timeout: float
    validate_records: bool
    max_line_bytes: int

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Return the settings of a valid configuration; null means not given."""
        given = {name: value for name, value in config.items() if value is not None}
        values = {**_DEFAULTS, **given}
        return cls(**{one.name: values[one.name] for one in fields(cls)})

    @property
    def contacts_per_minute(self) -> int | None:
        """The contacts that may be imported per minute; None if there is no limit."""
        limit = self.batch_size_rows * self.imports_per_minute
        return round(limit) or None if math.isfinite(limit) else None

    @property
    def lists(self) -> dict[str, int | str]:
        """The lists by the setting that names each, such as `streams.vip.list_id`."""
        named = {"list_id": self.list_id}
        for stream, own in self.streams.items():
            if not self.for_stream(stream).suppresses:
                named[f"streams.{stream}.list_id"] = (own or {}).get("list_id")
        return {setting: wanted for setting, wanted in named.items() if wanted is not None}

    @property
    def suppression_streams(self) -> list[str]:
        """The streams with people who must never be sent, by their names after stream maps."""
        return [name for name in self.streams if self.for_stream(name).suppresses]

    def for_stream(self, stream: str) -> StreamSettings:
        """Return the settings for one stream, by its name after stream maps."""
        given = self.streams.get(find_spelling(stream, self.streams) or stream) or {}
        own = {name: value for name, value in given.items() if value is not None}
        suppresses = own.get("role") == SUPPRESSION
        shared = {"role": PROFILES, **vars(self)}
        if suppresses:
            # Its deleted records lift a suppression. The target's modes are not for it.
            shared.update(_SUPPRESSION_DEFAULTS)
            own = {name: value for name, value in own.items() if name in OF_SUPPRESSION}
        values = {name: own.get(name, shared[name]) for name in STREAM_SETTINGS}
        converted = {
            "field_mapping": self.field_mapping,
            "own_field_mapping": own.get("field_mapping", {}),
            "only_if_empty": tuple(values["only_if_empty"]),
            "deleted_properties": tuple(values["deleted_properties"]),
            "member_when": {name: _values(one) for name, one in values["member_when"].items()},
            "person_key": _person_key(values["person_key"]),
            "tags": tuple(dict.fromkeys(_valid_unicode(tag) for tag in values["tags"])),
            "membership_tag": _valid_unicode(values["membership_tag"] or "") or None,
            "membership_field": _valid_unicode(values["membership_field"] or "") or None,
            "guards": Guards(**{**DEFAULT_GUARDS, **self.guards, **own.get("guards", {})}),
        }
        return StreamSettings(auto_map=self.auto_map, **{**values, **converted})


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _person_key(given: str | list[str] | bool | None) -> tuple[str, ...] | Literal[True] | None:
    """Return the names of properties, True for those of the tap, or None if none are given.

    Variables and Meltano's commands pass a boolean as a text, and may pass names with commas.
    """
    if isinstance(given, str):
        choice = given.strip().casefold()
        if choice in ("true", "false", "null"):
            given = choice == "true"
        else:
            given = [name.strip() for name in given.split(",") if name.strip()]
    return True if given is True else tuple(dict.fromkeys(given or ())) or None


def _valid_unicode(text: str) -> str:
    """Return a text in NFC, without halves of surrogate pairs, which would fail every import."""
    return nfc(replace_surrogates(text))


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the target's configuration."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }
