"""Every setting once: its name, JSON type, default and meaning.

The JSON schema of the target (and with it `--about`), the table of settings in the
README and the settings in `meltano.yml` are made from or tested against `SETTINGS`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CONTACTS_PER_IMPORT = 250
"""Contacts that one import may hold (documented by ActiveCampaign)."""

MAX_BYTES_PER_IMPORT = 399_999
"""Bytes that the body of one import may have (documented by ActiveCampaign)."""

_LIST = {"type": ["integer", "string"]}
_MAPPING = {"type": "object", "additionalProperties": {"type": "string"}}
_TAGS = {"type": "array", "items": {"type": "string"}}


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

    @property
    def kind(self) -> str:
        """Its JSON type in words, such as `integer or string`."""
        types = self.schema["type"]
        return types if isinstance(types, str) else " or ".join(types)

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
        "list_id",
        _LIST,
        "The list that contacts are put on: its id, its exact name or its string id. "
        "Required unless each stream has its own.",
    ),
    Setting(
        "field_mapping",
        _MAPPING,
        "{property: destination}. A destination is `email`, `first_name`, `last_name`, `phone`, "
        "`customer_account`, `tags`, or a custom field by personalisation tag (`%TIER%` or "
        "`TIER`), title or id (`id:7`).",
    ),
    Setting(
        "auto_map",
        {"type": "boolean"},
        "Map the properties that `field_mapping` leaves out by their names.",
        default=True,
    ),
    Setting(
        "streams",
        {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"list_id": _LIST, "field_mapping": _MAPPING, "tags": _TAGS},
            },
        },
        "{stream: {`list_id`, `field_mapping`, `tags`}}: what holds for one stream instead.",
    ),
    Setting("tags", _TAGS, "Tags given to each contact; unknown ones are made."),
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
        "Where the ledger is that lets a run go on where another was cut off: `sqlite:///path` "
        "or `postgresql+psycopg://...`.",
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
        "Seconds that one request may take.",
        default=60,
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
        "Check each record against its stream's schema.",
        default=True,
    ),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}
STREAM_SETTINGS = tuple(_BY_NAME["streams"].schema["additionalProperties"]["properties"])
"""The settings that a stream can have of its own."""


@dataclass(frozen=True)
class StreamSettings:
    """What holds for one stream: the target's settings under the stream's own.

    Attributes:
        list_id: Id, name or string id of the list; None when none was given.
        field_mapping: {property: destination} that the target's settings hold for all streams.
        own_field_mapping: {property: destination} of this stream alone; wins over the former.
        tags: Tags for each contact.
        auto_map: Whether unnamed properties map by their names.
    """

    list_id: int | str | None
    field_mapping: Mapping[str, str]
    own_field_mapping: Mapping[str, str]
    tags: tuple[str, ...]
    auto_map: bool


@dataclass(frozen=True)
class Settings:
    """The target's settings with their defaults filled in; one attribute a setting."""

    api_url: str | None
    api_key: str | None = field(repr=False)
    connection_name: str | None
    data_privacy_consent: bool
    sandbox: bool
    sandbox_path: str
    list_id: int | str | None
    field_mapping: dict[str, str]
    auto_map: bool
    streams: dict[str, dict[str, Any]]
    tags: list[str]
    exclude_automations: bool
    batch_size_rows: int
    checkpoint_seconds: float
    rejects_path: str
    report_path: str
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
    import_timeout: float
    validate_records: bool

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Take the settings out of a valid configuration; null means not given."""
        empty: dict[str, Any] = {"field_mapping": {}, "streams": {}, "tags": []}
        values: dict[str, Any] = {}
        for known in fields(cls):
            given = config.get(known.name)
            default = _BY_NAME[known.name].default
            values[known.name] = empty.get(known.name, default) if given is None else given
        return cls(**values)

    def for_stream(self, stream: str) -> StreamSettings:
        """The settings of one stream, by its name after stream maps."""
        own = self.streams.get(stream) or {}
        list_id = own.get("list_id")
        tags = own.get("tags")
        return StreamSettings(
            list_id=self.list_id if list_id is None else list_id,
            field_mapping=self.field_mapping,
            own_field_mapping=own.get("field_mapping") or {},
            tags=tuple(self.tags if tags is None else tags),
            auto_map=self.auto_map,
        )


def json_schema() -> dict[str, Any]:
    """The JSON schema of the target's configuration."""
    return {
        "type": "object",
        "properties": {setting.name: setting.json_schema() for setting in SETTINGS},
    }


def markdown_table() -> str:
    """The table of settings for the README."""
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for setting in SETTINGS:
        default = "" if setting.default is None else f"`{json.dumps(setting.default)}`"
        kind = f"{setting.kind}, secret" if setting.secret else setting.kind
        rows.append(f"| `{setting.name}` | {kind} | {default} | {setting.text} |")
    return "\n".join(rows)
