"""Every setting once: its name, JSON type, default and meaning.

The JSON schema of the target (and with it `--about`), the table of settings in the
README and the settings in `meltano.yml` are made from or tested against `SETTINGS`.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dotenv import find_dotenv
from jsonschema import Draft202012Validator
from singer_sdk.configuration._dict_config import parse_environment_config

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jsonschema import ValidationError

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
_STREAM_SETTINGS = tuple(
    _BY_NAME["streams"].schema["additionalProperties"]["properties"],
)


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


def problems(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """What is wrong with a configuration, one sentence each; empty when nothing is.

    No sentence holds a value of the configuration, since one of them is the key.
    """
    given = {name: value for name, value in config.items() if value is not None}
    found = [_explain(error) for error in Draft202012Validator(schema).iter_errors(given)]
    if found:
        return found
    settings = Settings.from_config(given)
    found += _connection_problems(settings)
    if settings.list_id is None and not any(
        (own or {}).get("list_id") is not None for own in settings.streams.values()
    ):
        found.append(
            "The setting 'list_id' is missing: give the id, name or string id of the list that "
            "contacts are put on, for all streams or for each under 'streams'."
        )
    return found


def _connection_problems(settings: Settings) -> list[str]:
    if settings.sandbox:
        return []
    found = [
        f"The setting '{name}' is missing: see Settings > Developer in ActiveCampaign, "
        "or set 'sandbox' to true to try without an account."
        for name in ("api_url", "api_key")
        if not getattr(settings, name)
    ]
    if not settings.data_privacy_consent:
        found.append(
            "The setting 'data_privacy_consent' is not true: profiles may not leave for "
            "ActiveCampaign until someone who may decide that sets it to true."
        )
    return found


def _explain(error: ValidationError) -> str:
    name = ".".join(str(part) for part in error.absolute_path) or "the configuration"
    rule: Any = error.validator_value
    if error.validator == "type":
        wanted = rule if isinstance(rule, str) else " or ".join(rule)
        return f"The setting '{name}' has the wrong type: it must be of type {wanted}."
    if error.validator in {"minimum", "maximum", "exclusiveMinimum"}:
        words = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than"}
        return f"The setting '{name}' is out of range: it must be {words[error.validator]} {rule}."
    return f"The setting '{name}' does not fit its schema ({error.validator}: {rule!r})."


def unknown_settings(config: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """A warning for each setting that the target does not know, with the nearest known one."""
    names = [(name, name, tuple(known)) for name in config]
    for stream, own in (config.get("streams") or {}).items():
        names += [(f"streams.{stream}.{name}", name, _STREAM_SETTINGS) for name in own or {}]
    return [
        f"The setting '{path}' is not known and has no effect.{did_you_mean(name, candidates)}"
        for path, name, candidates in names
        if name not in candidates
    ]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the candidate nearest to a name, or nothing."""
    by_fold = {candidate.casefold(): candidate for candidate in reversed(list(candidates))}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return f" Did you mean '{by_fold[near[0]]}'?" if near else ""


def from_environment(schema: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The settings that environment variables and a `.env` file give.

    The SDK's own parser is asked for one setting at a time, with numbers disguised as
    strings: by itself it leaves `number` a string, which the schema then refuses, takes
    any type that admits an integer for one (a list's name would end in a traceback), and
    does not say which variable it could not read. It also looks for `.env` from its own
    place upwards, which only finds one if it is installed below the project; here the
    search begins in the current folder.

    Raises:
        ValueError: A variable that can't be read; the message names it, not its value.
    """
    dotenv = find_dotenv(usecwd=True)
    found: dict[str, Any] = {}
    for name, setting in schema["properties"].items():
        numeric = _numeric_type(setting)
        asked = {"type": "string"} if numeric else setting
        variable = f"{prefix}{name.upper()}"
        try:
            given = parse_environment_config({"properties": {name: asked}}, prefix, dotenv)
            if name in given:
                found[name] = numeric(given[name]) if numeric else given[name]
        except ValueError:
            kinds = setting.get("type", "object")
            wanted = kinds if isinstance(kinds, str) else kinds[0]
            form = "JSON" if wanted in {"object", "array"} else f"a value of type {wanted}"
            raise ValueError(
                f"The environment variable {variable} can't be read: it must hold {form}."
            ) from None
    return found


def _numeric_type(setting: dict[str, Any]) -> type[int | float | str] | None:
    types = setting.get("type")
    if types is None:
        return None
    types = {types} if isinstance(types, str) else set(types)
    if "string" in types:
        return str
    if "number" in types:
        return float
    return int if "integer" in types else None
