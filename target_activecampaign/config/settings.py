"""Every setting once: its name, JSON type, default and meaning.

The JSON schema of the target (and with it `--about`), the settings in the documentation, in
`meltano.yml` and in `hub/` are made from or tested against `SETTINGS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.names import find_spelling, nfc
from target_activecampaign.text import replace_surrogates

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_CONTACTS_PER_IMPORT = 250
"""Contacts that one import may hold (documented by ActiveCampaign)."""

MAX_BYTES_PER_IMPORT = 399_999
"""Bytes that the body of one import may have (documented by ActiveCampaign)."""

_LIST = {"type": ["integer", "string"]}
_MAPPING = {"type": "object", "additionalProperties": {"type": "string"}}
_TAGS = {"type": "array", "items": {"type": "string"}}
_TEXT = {"type": "string", "minLength": 1}
_SWITCH = {"type": "boolean"}
_PERCENT = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
_MODE = {"type": "string", "enum": ["upsert", "update_only", "create_only", "mirror"]}
_ON_LEAVE = {"type": "string", "enum": ["unsubscribe", "field", "tag", "nothing"]}
_UNMAPPED = {"type": "string", "enum": ["ignore", "create", "fail"]}
_ON_OBJECT = {"type": "string", "enum": ["json", "refuse"]}
_ON_UNKNOWN_OPTION = {"type": "string", "enum": ["reject", "drop", "add"]}
_NULL_POLICY = {"type": "string", "enum": ["keep", "clear"]}
_DESTINATIONS = {"type": "array", "items": {"type": "string", "minLength": 1}}
_DELETED_PROPERTIES = [
    "_sdc_deleted_at",
    "_sdc_lsn_deleted_at",
    "_ab_cdc_deleted_at",
    "_fivetran_deleted",
]
_GUARDS = {
    "type": "object",
    "properties": {
        "max_leave_pct": _PERCENT,
        "max_leave": {"type": ["integer", "null"], "minimum": 0},
        "max_change_pct": _PERCENT,
        "min_source_pct": _PERCENT,
        "override_once": {"type": "boolean"},
    },
    "additionalProperties": False,
}
_GUARDS_DEFAULT = {
    "max_leave_pct": 20,
    "max_leave": None,
    "max_change_pct": None,
    "min_source_pct": 50,
    "override_once": False,
}
_OWN = {
    "list_id": _LIST,
    "field_mapping": _MAPPING,
    "unmapped_properties": _UNMAPPED,
    "on_object": _ON_OBJECT,
    "on_unknown_option": _ON_UNKNOWN_OPTION,
    "null_policy": _NULL_POLICY,
    "only_if_empty": _DESTINATIONS,
    "tags": _TAGS,
    "default_country": _TEXT,
    "sync_mode": _MODE,
    "on_leave": _ON_LEAVE,
    "membership_field": _TEXT,
    "membership_tag": _TEXT,
    "complete_stream": _SWITCH,
    "adopt_members": _SWITCH,
    "guards": _GUARDS,
    "deleted_properties": _DESTINATIONS,
}
"""What a stream can have of its own."""


@dataclass(frozen=True)
class Setting:
    """One setting of the target.

    Attributes:
        name: Its name in the configuration.
        schema: Its JSON schema, without default and text.
        text: What it means, in one or two sentences.
        default: What holds when it is not given; None for nothing.
        secret: Whether it must never be shown.
    """

    name: str
    schema: dict[str, Any]
    text: str
    default: Any = None
    secret: bool = False

    def json_schema(self) -> dict[str, Any]:
        """Its JSON schema as the SDK and Meltano want it."""
        schema = {"title": self.name.replace("_", " ").capitalize(), "description": self.text}
        extra = {"secret": True, "writeOnly": True} if self.secret else {}
        default = {} if self.default is None else {"default": self.default}
        return {**self.schema, **schema, **default, **extra}


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "api_url",
        {"type": "string"},
        "The account's API address, as ActiveCampaign shows it under Settings > Developer. "
        "Required unless `sandbox` is on.",
    ),
    Setting(
        "api_key",
        {"type": "string"},
        "The API key of a user of the account, from the same page. "
        "Required unless `sandbox` is on.",
        secret=True,
    ),
    Setting(
        "connection_name",
        {"type": "string"},
        "A name that people recognise, shown in the log and the report.",
    ),
    Setting(
        "data_privacy_consent",
        {"type": "boolean"},
        "The operator agrees that profiles leave for ActiveCampaign. Nothing is sent until "
        "this is true.",
        default=False,
    ),
    Setting(
        "sandbox",
        {"type": "boolean"},
        "Load into an embedded sandbox instead of an account: no account, key or consent needed.",
        default=False,
    ),
    Setting(
        "sandbox_path",
        {"type": "string"},
        "The file that keeps the embedded sandbox's data.",
        default=".activecampaign-sandbox.db",
    ),
    Setting(
        "dry_run",
        _SWITCH,
        "A preview: the whole run, but nothing is sent. The report says what would be; STATE and "
        "the ledger stay as they are. `--dry-run` does the same.",
        default=False,
    ),
    Setting(
        "list_id",
        _LIST,
        "The list that contacts are put on: its id, its exact name or its string id. "
        "Required unless each stream has its own.",
    ),
    Setting(
        "field_mapping",
        _MAPPING,
        "{property: destination}. A destination is `email`, `first_name`, `last_name`, `phone`, "
        "`customer_account`, `tags`, `ignore`, or a custom field by personalisation tag "
        "(`%TIER%` or `TIER`), title or id (`id:7`). A property inside an object is named by its "
        "path: `address.city`.",
    ),
    Setting(
        "auto_map",
        {"type": "boolean"},
        "Map the properties that `field_mapping` leaves out by their names.",
        default=True,
    ),
    Setting(
        "unmapped_properties",
        _UNMAPPED,
        "What becomes of properties that have no place: `ignore` them, `create` a custom field of "
        "the fitting type for each, or `fail` before the first record.",
        default="ignore",
    ),
    Setting(
        "on_object",
        _ON_OBJECT,
        "What becomes of objects in text fields: `json`, or `refuse` the record.",
        default="json",
    ),
    Setting(
        "on_unknown_option",
        _ON_UNKNOWN_OPTION,
        "What becomes of a choice that is none of its field's options: `reject` the contact, "
        "`drop` the value, or `add` the option to the field (100 a field and run at most).",
        default="reject",
    ),
    Setting(
        "null_policy",
        _NULL_POLICY,
        "What an explicit null does: `keep` what the contact has, or `clear` it. A property that "
        "a record lacks changes nothing.",
        default="keep",
    ),
    Setting(
        "only_if_empty",
        _DESTINATIONS,
        "Destinations, as in `field_mapping`, that are only written where the contact has no "
        "value yet. What contacts have must be asked for, which costs requests.",
    ),
    Setting(
        "streams",
        {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": _OWN},
        },
        "{stream: {setting: value}}: what holds for one stream instead, of "
        + ", ".join(f"`{name}`" for name in _OWN)
        + ".",
    ),
    Setting("tags", _TAGS, "Tags given to each contact; unknown ones are made."),
    Setting(
        "default_country",
        _TEXT,
        "The country of phone numbers that are written without one, such as `DE`. Phones then go "
        "in the international form (`+49301234567`); what is not clearly a number goes as it is. "
        "Needs the extra `phone`.",
    ),
    Setting(
        "sync_mode",
        _MODE,
        "`upsert`: everyone in the stream. `update_only`: only people whom the account has. "
        "`create_only`: only people whom it doesn't have. `mirror`: as `upsert`, and whom a "
        "complete stream no longer has leaves.",
        default="upsert",
    ),
    Setting(
        "on_leave",
        _ON_LEAVE,
        "How people leave in the mode `mirror`: `unsubscribe` them from the list, set the "
        "`membership_field` to false, take the `membership_tag` off, or do `nothing`.",
        default="unsubscribe",
    ),
    Setting(
        "membership_field",
        _TEXT,
        "With `on_leave: field`: the custom field that holds `true` for the stream's people and "
        "`false` for those who left it; made when the account has none of that title.",
    ),
    Setting(
        "membership_tag",
        _TEXT,
        "With `on_leave: tag`: the tag that the stream's people have. Without it, the stream's "
        "only tag under `tags`.",
    ),
    Setting(
        "complete_stream",
        _SWITCH,
        "Each run has the whole segment, although the tap never says so with ACTIVATE_VERSION "
        "after its last record. Then only the guards stand between a stream that was cut off "
        "and the list.",
        default=False,
    ),
    Setting(
        "adopt_members",
        _SWITCH,
        "Take people who already were on the list, and are in the stream, for people whom we "
        "added: a mirror then unsubscribes them too when they leave the stream.",
        default=False,
    ),
    Setting(
        "guards",
        _GUARDS,
        "What stops a mirror from removing anyone: more leavers than `max_leave_pct` per cent "
        "of the segment or than `max_leave`, more changed profiles than `max_change_pct` per "
        "cent, fewer people than `min_source_pct` per cent of the last run. `override_once` "
        "lets the run after a stopped one through.",
        default=_GUARDS_DEFAULT,
    ),
    Setting(
        "deleted_properties",
        _DESTINATIONS,
        "Properties that mark a record as deleted in its source. A record in which one of them is "
        "neither null, empty nor false adds and changes nobody: it is skipped. A property inside "
        "an object is named by its path: `meta.deleted`. `[]` switches this off.",
        default=_DELETED_PROPERTIES,
    ),
    Setting(
        "skip_unchanged",
        _SWITCH,
        "Send no profile that is as it was delivered.",
        default=True,
    ),
    Setting(
        "full_resync",
        _SWITCH,
        "Send every profile in this run, changed or not.",
        default=False,
    ),
    Setting(
        "resync_after_days",
        {"type": ["number", "null"], "minimum": 0},
        "Send a profile again that was delivered so many days ago, changed or not.",
    ),
    Setting(
        "exclude_automations",
        {"type": "boolean"},
        "Keep the import from starting ActiveCampaign's automations.",
        default=False,
    ),
    Setting(
        "batch_size_rows",
        {"type": "integer", "minimum": 1, "maximum": MAX_CONTACTS_PER_IMPORT},
        "Contacts an import; 250 is ActiveCampaign's limit. A batch is also cut at 399,999 bytes.",
        default=MAX_CONTACTS_PER_IMPORT,
    ),
    Setting(
        "checkpoint_seconds",
        {"type": "number", "minimum": 0},
        "How often STATE may leave, in seconds.",
        default=30,
    ),
    Setting(
        "rejects_path",
        {"type": "string"},
        "The folder for the records that were refused, as Singer streams.",
        default="rejects/",
    ),
    Setting(
        "report_path",
        {"type": "string"},
        "The folder for the run's report.",
        default="reports/",
    ),
    Setting(
        "keep_reports",
        {"type": "integer", "minimum": 0},
        "How many runs keep their reports: those of older runs are deleted at a run's end. 0 keeps "
        "all. Reject files are never deleted.",
        default=100,
    ),
    Setting(
        "report_personal_data",
        _SWITCH,
        "Show personal data in the report's samples as it is. Otherwise addresses, names, phones "
        "and texts are masked: only their first characters are shown.",
        default=False,
    ),
    Setting(
        "on_complete_webhook",
        _TEXT,
        "Where the report of each run is POSTed as JSON, without people: an `https://` address, "
        "such as an incoming webhook of Slack. What goes wrong there never fails a run.",
        secret=True,
    ),
    Setting(
        "fail_on_empty",
        _SWITCH,
        "Fail a run whose input has no record. Without it, a run without any stream warns. Leave "
        "it off for taps that bring only what changed.",
        default=False,
    ),
    Setting(
        "max_reject_pct",
        {"type": ["number", "null"], "minimum": 0, "maximum": 100},
        "More refused records than this share of those read, in per cent, fail the run.",
    ),
    Setting(
        "max_rejects",
        {"type": ["integer", "null"], "minimum": 0},
        "More refused records than this end the run as failed.",
    ),
    Setting(
        "max_in_flight",
        {"type": "integer", "minimum": 1, "maximum": 64},
        "Imports being posted at once. Those that wait to be confirmed don't count.",
        default=8,
    ),
    Setting(
        "diagnose_limit",
        {"type": "integer", "minimum": 0},
        "Contacts a run whose refusal is looked into by questions, one or two requests each.",
        default=100,
    ),
    Setting(
        "ledger_url",
        {"type": "string"},
        "Where the ledger is, which knows what was delivered: `sqlite:///path`, or "
        "`postgresql+psycopg://...` where no disk stays or several workers share it.",
        default="sqlite:///.activecampaign-ledger.db",
        secret=True,
    ),
    Setting(
        "rate_budget_url",
        {"type": "string"},
        "Where processes that work on one account at once share its limits: a SQLite file on one "
        "machine, `redis://...` or `postgresql://...` for several.",
        secret=True,
    ),
    Setting(
        "requests_per_second",
        {"type": "number", "minimum": 0},
        "Requests a second on the account; 5 is ActiveCampaign's limit. 0 is no limit.",
        default=5,
    ),
    Setting(
        "imports_per_minute",
        {"type": "number", "minimum": 0},
        "Imports of several contacts a minute; 100 is ActiveCampaign's limit. 0 is no limit.",
        default=100,
    ),
    Setting(
        "single_imports_per_minute",
        {"type": "number", "minimum": 0},
        "Imports of one contact a minute; 20 is ActiveCampaign's limit. 0 is no limit.",
        default=20,
    ),
    Setting(
        "request_timeout",
        {"type": "number", "exclusiveMinimum": 0},
        "Seconds that one request may take, from connecting to the last byte of its answer.",
        default=60,
    ),
    Setting(
        "max_retry_after",
        {"type": "number", "exclusiveMinimum": 0},
        "Seconds that a run waits at most when ActiveCampaign asks for a wait (`Retry-After`).",
        default=300,
    ),
    Setting(
        "import_timeout",
        {"type": "number", "exclusiveMinimum": 0},
        "Seconds after which an import that was accepted must be confirmed.",
        default=3600,
    ),
    Setting(
        "validate_records",
        {"type": "boolean"},
        "Check each record against its stream's schema, which costs about a microsecond each.",
        default=True,
    ),
    Setting(
        "max_line_bytes",
        {"type": "integer", "minimum": 65536},
        "Bytes that one line of the input or of a batch file may have. A longer line ends the run "
        "with an error before it fills the memory.",
        default=64 * 1024 * 1024,
    ),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}
STREAM_SETTINGS = tuple(_BY_NAME["streams"].schema["additionalProperties"]["properties"])
"""The settings that a stream can have of its own."""


@dataclass(frozen=True)
class Guards:
    """What stops a mirror from removing anyone; None is no limit."""

    max_leave_pct: float | None
    max_leave: int | None
    max_change_pct: float | None
    min_source_pct: float | None
    override_once: bool


@dataclass(frozen=True)
class StreamSettings:
    """What holds for one stream: the target's settings under the stream's own.

    Attributes:
        list_id: Id, name or string id of the list; None when none was given.
        field_mapping: {property: destination} that the target's settings hold for all streams.
        own_field_mapping: {property: destination} of this stream alone; wins over the former.
        tags: Tags for each contact.
        auto_map: Whether unnamed properties map by their names.
        unmapped_properties: `ignore`, `create` or `fail`.
        on_object: `json` or `refuse`.
        on_unknown_option: `reject`, `drop` or `add`.
        null_policy: `keep` or `clear`.
        only_if_empty: Destinations that are only written where there is no value.
        default_country: The country of phone numbers without one; None leaves phones as they are.
        sync_mode: `upsert`, `update_only`, `create_only` or `mirror`.
        on_leave: `unsubscribe`, `field`, `tag` or `nothing`.
        membership_field: The field for `on_leave: field`.
        membership_tag: The tag for `on_leave: tag`.
        complete_stream: Whether the stream is complete without saying so.
        adopt_members: Whether those found on the list count as ours.
        guards: What stops a mirror.
        deleted_properties: Properties that mark a record as deleted.
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
    guards: Guards = Guards(**_GUARDS_DEFAULT)  # type: ignore[arg-type]
    deleted_properties: tuple[str, ...] = tuple(_DELETED_PROPERTIES)


@dataclass(frozen=True)
class Settings:
    """The target's settings with their defaults filled in; one attribute a setting."""

    api_url: str | None
    api_key: str | None = field(repr=False)
    connection_name: str | None
    data_privacy_consent: bool
    sandbox: bool
    sandbox_path: str
    dry_run: bool
    list_id: int | str | None
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
    fail_on_empty: bool
    max_reject_pct: float | None
    max_rejects: int | None
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
        """Take the settings out of a valid configuration; null means not given."""
        empty: dict[str, Any] = {
            "field_mapping": {},
            "only_if_empty": [],
            "streams": {},
            "tags": [],
        }
        values: dict[str, Any] = {}
        for known in fields(cls):
            given = config.get(known.name)
            default = _BY_NAME[known.name].default
            values[known.name] = empty.get(known.name, default) if given is None else given
        return cls(**values)

    @property
    def contacts_per_minute(self) -> int | None:
        """How many contacts may be imported a minute; None if there is no limit."""
        limit = self.batch_size_rows * self.imports_per_minute
        return round(limit) or None if math.isfinite(limit) else None

    @property
    def lists(self) -> dict[str, int | str]:
        """What lists are called, by the setting that names each."""
        named = {"list_id": self.list_id}
        for stream, own in self.streams.items():
            named[f"streams.{stream}.list_id"] = (own or {}).get("list_id")
        return {setting: wanted for setting, wanted in named.items() if wanted is not None}

    def for_stream(self, stream: str) -> StreamSettings:
        """The settings of one stream, by its name after stream maps."""
        given = self.streams.get(find_spelling(stream, self.streams) or stream) or {}
        own = {name: value for name, value in given.items() if value is not None}
        values = {name: own.get(name, getattr(self, name)) for name in STREAM_SETTINGS}
        special = {
            "field_mapping": self.field_mapping,
            "own_field_mapping": own.get("field_mapping", {}),
            "only_if_empty": tuple(values["only_if_empty"]),
            "deleted_properties": tuple(values["deleted_properties"]),
            "tags": tuple(dict.fromkeys(_sendable(one) for one in values["tags"])),
            "membership_tag": _sendable(values["membership_tag"] or "") or None,
            "membership_field": _sendable(values["membership_field"] or "") or None,
            "guards": Guards(**{**_GUARDS_DEFAULT, **self.guards, **own.get("guards", {})}),
        }
        return StreamSettings(auto_map=self.auto_map, **{**values, **special})


def _sendable(text: str) -> str:
    """A text that goes to the account, where half of a surrogate pair would refuse everybody."""
    return nfc(replace_surrogates(text))


def json_schema() -> dict[str, Any]:
    """The JSON schema of the target's configuration."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }
