"""The definition of every setting: name, JSON type, default and description.

The JSON schema of the target, and with it `--about`, is made from `GROUPS`. So are the settings in
the documentation, in `meltano.yml` and in `hub/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_CONTACTS_PER_IMPORT = 250
"""Contacts that one import may hold (documented by ActiveCampaign)."""

MAX_BYTES_PER_IMPORT = 399_999
"""Bytes that the body of one import may have (documented by ActiveCampaign)."""

MAX_CHANGE_PCT = 10_000
"""The greatest change of a stream's records that `alert_on` can wait for, in percent."""

_BOOLEAN = {"type": "boolean"}
_STRING = {"type": "string"}
_TEXT = {"type": "string", "minLength": 1}
_LIST = {"type": ["integer", "string"]}
_NAMES = {"type": "array", "items": _TEXT}
_PERCENT = {"type": ["number", "null"], "minimum": 0, "maximum": 100}
_RATE = {"type": "number", "minimum": 0}
_SECONDS = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 0}
_OPTIONAL_COUNT = {"type": ["integer", "null"], "minimum": 0}
_NAMES_OR_TRUE = {"type": ["string", "array", "boolean", "null"], "items": _TEXT}
_VALUE_TYPES = ["string", "number", "boolean", "null"]
_VALUES = {"type": [*_VALUE_TYPES, "array"], "items": {"type": _VALUE_TYPES}, "minItems": 1}

DEFAULT_GUARDS: dict[str, Any] = {
    "max_leave_pct": 20,
    "max_leave": None,
    "max_change_pct": None,
    "min_source_pct": 50,
    "max_rename_pct": 5,
    "max_renames": None,
    "max_consent_loss_pct": 20,
    "override_once": False,
}
DEFAULT_DELETED_PROPERTIES = (
    "_sdc_deleted_at",
    "_sdc_lsn_deleted_at",
    "_ab_cdc_deleted_at",
    "_fivetran_deleted",
)


def _one_of(*choices: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(choices)}


@dataclass(frozen=True)
class Setting:
    """One setting of the target.

    Attributes:
        name: Its name in the configuration.
        schema: Its JSON schema, without default and description.
        description: One or two sentences for the operator, in Markdown.
        default: Its value when it is not given; None for no value.
        secret: True if its value must never be shown.
        per_stream: True if it can also be set for one stream, under `streams`.
    """

    name: str
    schema: dict[str, Any]
    description: str
    default: Any = None
    secret: bool = False
    per_stream: bool = False

    def json_schema(self) -> dict[str, Any]:
        """Return its JSON schema as the SDK and Meltano expect it."""
        texts = {
            "title": self.name.replace("_", " ").capitalize(),
            "description": self.description,
        }
        default = {} if self.default is None else {"default": self.default}
        secret = {"secret": True, "writeOnly": True} if self.secret else {}
        return {**self.schema, **texts, **default, **secret}


_ACCOUNT = (
    Setting(
        "api_url",
        _STRING,
        "API URL of the account, shown in ActiveCampaign under Settings > Developer. "
        "Required unless `sandbox` is on.",
    ),
    Setting(
        "api_key",
        _STRING,
        "API key of a user of the account, from the same page. Required unless `sandbox` is on.",
        secret=True,
    ),
    Setting(
        "connection_name",
        _STRING,
        "Name for this account, shown in the log and the report.",
    ),
    Setting(
        "data_privacy_consent",
        _BOOLEAN,
        "The operator agrees that profile data is sent to ActiveCampaign. Nothing is sent until "
        "this is true.",
        default=False,
    ),
)

_SANDBOX = (
    Setting(
        "sandbox",
        _BOOLEAN,
        "Use an embedded sandbox instead of a real account. Needs no account, key or consent.",
        default=False,
    ),
    Setting(
        "sandbox_path",
        _STRING,
        "File that stores the data of the embedded sandbox.",
        default=".activecampaign-sandbox.db",
    ),
)

_LISTS_AND_TAGS = (
    Setting(
        "list_id",
        _LIST,
        "List that contacts are added to: its id, exact name or string id. Required unless each "
        "stream has its own.",
        per_stream=True,
    ),
    Setting(
        "create_list",
        _BOOLEAN,
        "If `list_id` is a name that the account does not have, create the list. Mind the "
        "spelling: a wrong name becomes a list.",
        default=False,
    ),
    Setting(
        "tags",
        {"type": "array", "items": _STRING},
        "Tags added to each contact. Missing tags are created.",
        per_stream=True,
    ),
)

_MAPPING = (
    Setting(
        "field_mapping",
        {"type": "object", "additionalProperties": _STRING},
        "Maps properties to destinations: {property: destination}. A destination is `email`, "
        "`first_name`, `last_name`, `phone`, `customer_account`, `tags`, `subscription`, `ignore`, "
        "or a custom field by personalisation tag (`%TIER%` or `TIER`), title or id (`id:7`). Name "
        "a nested property by its path: `address.city`.",
        per_stream=True,
    ),
    Setting(
        "auto_map",
        _BOOLEAN,
        "Map properties that are not in `field_mapping` by their names.",
        default=True,
    ),
    Setting(
        "unmapped_properties",
        _one_of("ignore", "create", "fail"),
        "How to handle unmapped properties: `ignore` them, `create` a custom field of a fitting "
        "type for each, or `fail` before the first record.",
        default="ignore",
        per_stream=True,
    ),
    Setting(
        "on_object",
        _one_of("json", "refuse"),
        "How to handle objects in text fields: send them as `json`, or `refuse` the record.",
        default="json",
        per_stream=True,
    ),
    Setting(
        "on_unknown_option",
        _one_of("reject", "drop", "add"),
        "How to handle a value that is not one of its field's options: `reject` the contact, "
        "`drop` the value, or `add` the option to the field (at most 100 per field and run).",
        default="reject",
        per_stream=True,
    ),
    Setting(
        "null_policy",
        _one_of("keep", "clear"),
        "How to handle an explicit null: `keep` the contact's value, or `clear` it. A property "
        "missing from the record changes nothing.",
        default="keep",
        per_stream=True,
    ),
    Setting(
        "only_if_empty",
        _NAMES,
        "Destinations, as in `field_mapping`, that are written only if the contact has no value "
        "there. Reading the contacts' values costs requests.",
        per_stream=True,
    ),
    Setting(
        "default_country",
        _TEXT,
        "Country of phone numbers that have no country code, such as `DE`. Phone numbers are then "
        "sent in international format (`+49301234567`); a value that is not clearly a phone "
        "number is sent as it is. Needs the extra `phone`.",
        per_stream=True,
    ),
)

_MIRROR = (
    Setting(
        "sync_mode",
        _one_of("upsert", "update_only", "create_only", "mirror"),
        "`upsert`: create and update contacts. `update_only`: only update existing contacts. "
        "`create_only`: only create new contacts. `mirror`: like `upsert`, and contacts missing "
        "from a complete stream are removed from the list.",
        default="upsert",
        per_stream=True,
    ),
    Setting(
        "on_leave",
        _one_of("unsubscribe", "field", "tag", "nothing"),
        "How `mirror` removes contacts: `unsubscribe` them from the list, set the "
        "`membership_field` to false, remove the `membership_tag`, or do `nothing`.",
        default="unsubscribe",
        per_stream=True,
    ),
    Setting(
        "membership_field",
        _TEXT,
        "With `on_leave: field`: the custom field that is `true` for contacts in the stream and "
        "`false` for removed ones. Created if the account has no field of that title.",
        per_stream=True,
    ),
    Setting(
        "membership_tag",
        _TEXT,
        "With `on_leave: tag`: the tag of the contacts in the stream. If not given, the stream's "
        "only tag under `tags`.",
        per_stream=True,
    ),
    Setting(
        "complete_stream",
        _BOOLEAN,
        "Treat every run as a full snapshot, even without ACTIVATE_VERSION after the last record. "
        "Then only the guards protect the list from a stream that was cut off.",
        default=False,
        per_stream=True,
    ),
    Setting(
        "adopt_members",
        _BOOLEAN,
        "Treat contacts that were on the list before, and are in the stream, as added by the "
        "target. A mirror then unsubscribes them too once they are missing from the stream.",
        default=False,
        per_stream=True,
    ),
    Setting(
        "guards",
        {
            "type": "object",
            "properties": {
                "max_leave_pct": _PERCENT,
                "max_leave": _OPTIONAL_COUNT,
                "max_change_pct": _PERCENT,
                "min_source_pct": _PERCENT,
                "max_rename_pct": _PERCENT,
                "max_renames": _OPTIONAL_COUNT,
                "max_consent_loss_pct": _PERCENT,
                "override_once": _BOOLEAN,
            },
            "additionalProperties": False,
        },
        "Limits that protect a list from a wrong source. A mirror removes nobody if it would "
        "remove more than `max_leave_pct` percent of the segment or more than `max_leave` "
        "contacts, if more than `max_change_pct` percent of the profiles have changed, or if the "
        "stream has less than `min_source_pct` percent of the contacts of the last run. With "
        "`person_key`, no contact is renamed if that would affect more than `max_rename_pct` "
        "percent (20 are always allowed) or `max_renames`. For lack of consent or a suppression, "
        "no contact is unsubscribed if that would affect more than `max_consent_loss_pct` percent "
        "of the list's active contacts. If a guard stopped a run, `override_once` lets the next "
        "run through.",
        default=DEFAULT_GUARDS,
        per_stream=True,
    ),
)

_DELETED = (
    Setting(
        "deleted_properties",
        _NAMES,
        "Properties that mark a record as deleted in its source. A record is skipped if one of "
        "them is anything but null, empty or false: it neither adds nor changes a contact. Name a "
        "nested property by its path: `meta.deleted`. `[]` turns this off.",
        default=list(DEFAULT_DELETED_PROPERTIES),
        per_stream=True,
    ),
    Setting(
        "member_when",
        {"type": "object", "additionalProperties": _VALUES},
        "Values that a record must have, as {property: value or [values]}, such as {status: "
        "[active, trial]}. A record with another value is treated as one that is marked as "
        "deleted. Name a nested property by its path: `meta.status`. Texts must be equal, except "
        "for outer spaces. `1` also matches `1.0` and the texts of both, `true` also its text in "
        "any case, and `null` also a property that the record lacks. An array matches if one of "
        "its values does.",
        per_stream=True,
    ),
    Setting(
        "leave_when",
        _one_of("absent", "deleted", "both"),
        "Contacts that `mirror` removes: those `absent` from a complete stream, those whose record "
        "is marked as `deleted`, or `both`. With `deleted` or `both`, the stream may be "
        "incremental or a change log.",
        default="absent",
        per_stream=True,
    ),
)

_IDENTITY = (
    Setting(
        "person_key",
        _NAMES_OR_TRUE,
        "The property, or properties, by which a person is known even if the e-mail address "
        "changes: a name, an array of names, or `true` for the stream's key properties, all after "
        "stream maps. The ledger then stores the addresses.",
        per_stream=True,
    ),
    Setting(
        "on_address_change",
        _one_of("rename", "new", "reject"),
        "What to do with a person of `person_key` whose address has changed: `rename` the contact, "
        "which keeps its lists, history and opt-outs; add a `new` contact; or `reject` the record.",
        default="rename",
        per_stream=True,
    ),
)

_OPTED_OUT = (
    Setting(
        "on_opted_out",
        _one_of("reject", "update"),
        "How to handle a contact that has opted out of the list or is excluded from it: `reject` "
        "its record, or `update` its values without changing the membership. A contact that has "
        "bounced is always rejected, as no import accepts it.",
        default="reject",
        per_stream=True,
    ),
)

_MODES = (*_MIRROR, *_DELETED, *_IDENTITY, *_OPTED_OUT)

_OPT_OUTS = (
    Setting(
        "opt_out_refresh_days",
        {"type": "number", "minimum": 0},
        "Days after which the target reads all opt-outs and bounces of a list again, with one "
        "request per 100 of them. 0: in each run.",
        default=7,
    ),
    Setting(
        "opt_outs_update_contacts",
        {"type": ["boolean", "null"]},
        "In this account, an opt-out counts as a change of the contact. Between full readings, the "
        "target then reads only contacts that have changed. If not set, the result of `--verify` "
        "counts. If there is none either, this is off, as ActiveCampaign does not document it.",
    ),
    Setting(
        "facts_max_age_days",
        {"type": "number", "minimum": 0},
        "A run warns if the results of `--verify` for the account are more days old than this.",
        default=180,
    ),
)

_RETRIES = (
    Setting(
        "retry_rejected",
        _BOOLEAN,
        "The next run of the stream tries a rejected record again, if time or a change of the "
        "account may mend it. A newer record of the same person replaces it. If off, rejected "
        "records that wait are deleted.",
        default=True,
        per_stream=True,
    ),
    Setting(
        "retry_max_attempts",
        {"type": "integer", "minimum": 1},
        "Runs that try a rejected record again, at most.",
        default=5,
    ),
    Setting(
        "retry_max_days",
        {"type": "number", "exclusiveMinimum": 0},
        "Days for which a rejected record is tried again, at most.",
        default=7,
    ),
)

_CONSENT = (
    Setting(
        "consent_unknown",
        _one_of("hold", "subscribe"),
        "How to handle a record with neither a yes nor a no, in a stream that has a property with "
        "consent: `hold` it, so that it subscribes nobody, or `subscribe` its person.",
        default="hold",
        per_stream=True,
    ),
    Setting(
        "without_consent",
        _one_of("skip", "update"),
        "How to handle a record whose person has not consented: `skip` it, so that nothing of "
        "the person is sent, or `update` the values of a contact that exists. Neither subscribes "
        "the person.",
        default="skip",
        per_stream=True,
    ),
)

PROFILES, SUPPRESSION = "profiles", "suppression"

_ROLE = Setting(
    "role",
    _one_of(PROFILES, SUPPRESSION),
    "Content of a stream: `profiles`, or `suppression` for people who must never be sent.",
    default=PROFILES,
    per_stream=True,
)
"""The only setting that streams alone have."""

OF_SUPPRESSION = (
    "role",
    "field_mapping",
    "deleted_properties",
    "member_when",
    "leave_when",
)
"""The settings that have an effect for a stream with `role: suppression`."""

_PER_STREAM = {
    one.name: one.schema
    for one in (_ROLE, *_LISTS_AND_TAGS, *_MAPPING, *_MODES, *_CONSENT, *_RETRIES)
    if one.per_stream
}

STREAM_SETTINGS = tuple(_PER_STREAM)
"""The names of the settings that can also be set for one stream."""

_STREAMS = Setting(
    "streams",
    {"type": "object", "additionalProperties": {"type": "object", "properties": _PER_STREAM}},
    "Settings for single streams: {stream: {setting: value}}. They override the target's own. A "
    "stream can have " + ", ".join(f"`{name}`" for name in STREAM_SETTINGS) + ". Only a stream "
    "can have `role`: `profiles`, or `suppression` if it has people who must never be sent. A "
    "suppression stream needs no list. Only its `field_mapping`, `deleted_properties`, "
    "`member_when` and `leave_when: deleted` have an effect.",
)

_DELIVERY = (
    Setting(
        "dry_run",
        _BOOLEAN,
        "Preview: process the whole input, but send nothing. The report shows what a run would "
        "do; STATE and the ledger do not change. Same as `--dry-run`.",
        default=False,
    ),
    Setting(
        "skip_unchanged",
        _BOOLEAN,
        "Do not send profiles that have not changed since they were last delivered.",
        default=True,
    ),
    Setting(
        "full_resync",
        _BOOLEAN,
        "Send every profile in this run, changed or not.",
        default=False,
    ),
    Setting(
        "resync_after_days",
        {"type": ["number", "null"], "minimum": 0},
        "Days after which a delivered profile is sent again, changed or not.",
    ),
    Setting(
        "exclude_automations",
        _BOOLEAN,
        "Keep imports from starting ActiveCampaign's automations.",
        default=False,
    ),
)

_REJECTS = (
    Setting(
        "fail_on_empty",
        _BOOLEAN,
        "Fail the run if its input has no records. If off, a run without any stream logs a "
        "warning. Leave it off for incremental taps.",
        default=False,
    ),
    Setting(
        "rejects_path",
        _STRING,
        "Folder for rejected records, written as Singer streams.",
        default="rejects/",
    ),
    Setting(
        "max_rejects",
        _OPTIONAL_COUNT,
        "End the run as failed once more records than this are rejected.",
    ),
    Setting(
        "max_reject_pct",
        _PERCENT,
        "Fail the run if more than this percentage of the records read is rejected.",
    ),
    *_RETRIES,
    Setting(
        "diagnose_limit",
        _COUNT,
        "Maximum number of rejected contacts per run that the target looks up in ActiveCampaign to "
        "find the cause. Each takes one or two requests.",
        default=100,
    ),
    Setting(
        "validate_records",
        _BOOLEAN,
        "Validate each record against its stream's schema. Costs about a microsecond per record.",
        default=True,
    ),
)

_RECORDS_OF_RUNS = (
    Setting(
        "checkpoint_seconds",
        {"type": "number", "minimum": 0},
        "Minimum seconds between STATE messages.",
        default=30,
    ),
    Setting(
        "ledger_url",
        _STRING,
        "Location of the ledger, which records what was delivered: `sqlite:///path`, or "
        "`postgresql+psycopg://...` if there is no persistent disk or several workers share it.",
        default="sqlite:///.activecampaign-ledger.db",
        secret=True,
    ),
    Setting(
        "report_path",
        _STRING,
        "Folder for run reports.",
        default="reports/",
    ),
    Setting(
        "keep_reports",
        _COUNT,
        "Number of runs whose reports are kept; older reports are deleted at the end of a run. "
        "0 keeps all. Reject files are never deleted.",
        default=100,
    ),
    Setting(
        "report_personal_data",
        _BOOLEAN,
        "Show personal data in the report's samples, and addresses in rows of outcomes. If off, "
        "addresses, names, phone numbers and texts are masked in samples: only their first "
        "characters are shown.",
        default=False,
    ),
    Setting(
        "on_complete_webhook",
        _TEXT,
        "URL that the report of each run is POSTed to as JSON, without personal data: an "
        "`https://` URL, such as a Slack incoming webhook. A webhook that fails never fails the "
        "run.",
        secret=True,
    ),
    Setting(
        "alert_on",
        {
            "type": "object",
            "properties": {
                "refused_pct": _PERCENT,
                "records_change_pct": {
                    "type": ["number", "null"],
                    "minimum": 0,
                    "maximum": MAX_CHANGE_PCT,
                },
            },
            "additionalProperties": False,
        },
        "Percentages above which a completed run warns, in the log, the report and the webhook, "
        "without failing: `refused_pct`, the share of its records that were rejected, and "
        "`records_change_pct`, by how much the records of a stream differ from the median of its "
        "last ten completed runs (at least three), such as {refused_pct: 5, records_change_pct: "
        "50}.",
    ),
)

_OUTCOMES = (
    Setting(
        "outcomes_url",
        _TEXT,
        "Where the outcome of each record is stored as a row: a database as "
        "`postgresql+psycopg://...` or `sqlite:///path`, or a folder of Singer files as "
        "`file:///folder`. Off if it is not given.",
        secret=True,
    ),
    Setting(
        "outcomes_schema",
        _TEXT,
        "Schema of the tables of outcomes on PostgreSQL, created if it is missing. If not given, "
        "the default schema of the user.",
    ),
    Setting(
        "outcomes",
        _one_of("changes", "all", "failures"),
        "Records that get a row: `changes` for those that were not unchanged, `all`, or "
        "`failures` for those that were refused.",
        default="changes",
    ),
    Setting(
        "outcomes_keep_days",
        {"type": "number", "exclusiveMinimum": 0},
        "Days after which the rows of a run are deleted. The latest row of each key stays.",
        default=90,
    ),
    Setting(
        "outcomes_required",
        _BOOLEAN,
        "End the run as failed if rows of outcomes can't be stored. If off, the run goes on "
        "without them, and the log and the report say so.",
        default=False,
    ),
)

_LIMITS = (
    Setting(
        "batch_size_rows",
        {"type": "integer", "minimum": 1, "maximum": MAX_CONTACTS_PER_IMPORT},
        "Contacts per import; ActiveCampaign's limit is 250. A batch is also cut at 399,999 bytes.",
        default=MAX_CONTACTS_PER_IMPORT,
    ),
    Setting(
        "max_in_flight",
        {"type": "integer", "minimum": 1, "maximum": 64},
        "Imports that are posted at the same time. Imports waiting for confirmation do not count.",
        default=8,
    ),
    Setting(
        "requests_per_second",
        _RATE,
        "Requests per second to the account; ActiveCampaign's limit is 5. 0 means no limit.",
        default=5,
    ),
    Setting(
        "imports_per_minute",
        _RATE,
        "Imports of several contacts per minute; ActiveCampaign's limit is 100. 0 means no limit.",
        default=100,
    ),
    Setting(
        "single_imports_per_minute",
        _RATE,
        "Imports of one contact per minute; ActiveCampaign's limit is 20. 0 means no limit.",
        default=20,
    ),
    Setting(
        "rate_budget_url",
        _STRING,
        "Where processes that use the same account at the same time share its rate limits: a "
        "SQLite file on one machine, `redis://...` or `postgresql://...` for several.",
        secret=True,
    ),
    Setting(
        "request_timeout",
        _SECONDS,
        "Seconds that one request may take, from connecting to the last byte of the response.",
        default=60,
    ),
    Setting(
        "max_retry_after",
        _SECONDS,
        "Maximum seconds to wait when ActiveCampaign asks for a pause (`Retry-After`).",
        default=300,
    ),
    Setting(
        "import_timeout",
        _SECONDS,
        "Seconds within which an accepted import must be confirmed.",
        default=3600,
    ),
    Setting(
        "max_line_bytes",
        {"type": "integer", "minimum": 65536},
        "Maximum bytes of one line of the input or of a batch file. A longer line ends the run "
        "with an error before it fills the memory.",
        default=64 * 1024 * 1024,
    ),
)

GROUPS: dict[str, tuple[Setting, ...]] = {
    "Account": _ACCOUNT,
    "Sandbox": _SANDBOX,
    "Lists, streams and tags": (*_LISTS_AND_TAGS, _STREAMS),
    "Mapping": _MAPPING,
    "Sync modes and mirrors": _MIRROR,
    "Deleted records": _DELETED,
    "Changed addresses": _IDENTITY,
    "Opt-outs": (*_OPTED_OUT, *_OPT_OUTS),
    "Consent": _CONSENT,
    "Delivery": _DELIVERY,
    "Rejected records": _REJECTS,
    "State, ledger and report": _RECORDS_OF_RUNS,
    "Outcomes in your own tables": _OUTCOMES,
    "Limits and timeouts": _LIMITS,
}
"""All settings by task. Each group has a section in a page of docs/, see docs/settings.md."""

SETTINGS = tuple(setting for group in GROUPS.values() for setting in group)
