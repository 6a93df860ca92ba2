"""Edge cases of values: foreign phones, floats, booleans, NaN, U+0000, ends of the calendar."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.target_runner import batch, lines, record, schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
NUMBER: Any = {"type": ["null", "number"]}
ANY: Any = {}


def refused(outcome: Outcome) -> set[str]:
    """The codes with which records were refused; all of a run that did so."""
    return set(outcome.codes.values())


# Phones, names, account


def test_foreign_phone_without_plus_is_unchanged(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    written = ["447700900123", "919876543210", "12125550123", "030 1234567", 301234567]
    messages = [
        schema(phone=ANY),
        *(record(f"q{n}@example.com", phone=one) for n, one in enumerate(written)),
    ]
    load(messages, list_id="Newsletter", default_country="DE").succeeded()
    assert [one["phone"] for one in sandbox.export()] == [
        *("447700900123", "919876543210", "12125550123", "+49301234567", "+49301234567"),
    ]


@pytest.mark.parametrize("country", [None, "US"])
@pytest.mark.parametrize("number", ["15550100199.0", "1.5550100199e10", "15550100199.00"])
def test_zero_fraction_of_float_is_removed(
    sandbox: SandboxServer, load: TargetRunner, number: str, country: str | None
) -> None:
    names = ("phone", "first_name", "last_name", "company", "customer_id", "notes", "label")
    values = ", ".join(f'"{name}": {number}' for name in names)
    line = f'{{"type": "RECORD", "stream": "profiles", "record": {{"email": "{ADA}", {values}}}}}'
    load(
        [schema(**dict.fromkeys(names, NUMBER)), line],
        field_mapping={"company": "customer_account", "label": "tags"},
        default_country=country,
    ).succeeded()
    (contact,) = sandbox.export()
    whole = "15550100199"
    assert contact["phone"] == whole  # no number of the United States
    assert (contact["first_name"], contact["last_name"]) == (whole, whole)
    assert (contact["organization"], contact["tags"]) == (whole, [whole])
    assert (contact["fields"]["CUSTOMER_ID"], contact["fields"]["NOTES"]) == (whole, whole)


def test_huge_exponents_cost_no_memory(sandbox: SandboxServer, load: TargetRunner) -> None:
    names = ("phone", "customer_id", "loyalty_points", "tier", "notes")
    huge = [
        f'{{"type": "RECORD", "stream": "profiles", "record": {{"email": "{name}@example.com", '
        f'"{name}": 1E+999999999}}}}'
        for name in names
    ]
    whole: Any = {"type": ["null", "integer"]}
    outcome = load([schema(**dict.fromkeys(names, whole)), *huge]).succeeded()
    assert outcome.codes == {"tier@example.com": "FIELD_OPTION_UNKNOWN"}
    assert sandbox.contacts()["phone@example.com"]["phone"] == "1E+999999999"


def test_boolean_property_does_not_map_to_phone_or_name(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    flag = {"type": ["null", "boolean"]}
    messages = [
        schema(mobile=flag, first_name=flag, surname={"enum": [True, False]}, mail=flag),
        record(ADA, mobile=True, first_name=False, surname=True, mail=True),
    ]
    outcome = load(messages).succeeded()
    (contact,) = sandbox.export()
    assert (contact["phone"], contact["first_name"], contact["last_name"]) == ("", "", "")
    assert outcome.counts == {"read": 1, "added": 1}
    told = [line for line in outcome.warnings if "is of type boolean" in line]
    assert {line.split("'")[3] for line in told} == {"mobile", "first_name", "surname"}


@pytest.mark.parametrize("destination", ["phone", "first_name", "last_name", "customer_account"])
def test_boolean_property_mapped_to_phone_or_name_is_an_error(
    sandbox: SandboxServer, load: TargetRunner, destination: str
) -> None:
    messages = [schema(flag="boolean"), record(ADA, flag=True)]
    outcome = load(messages, field_mapping={"flag": destination})
    assert outcome.code == 1
    assert f"'flag' is of type boolean, which {destination} can't hold" in outcome.log
    assert sandbox.export() == []


@pytest.mark.parametrize("country", [None, "DE"])
@pytest.mark.parametrize("name", ["mobile", "first_name", "last_name", "company"])
def test_boolean_is_refused_for_phone_name_and_account(
    sandbox: SandboxServer, load: TargetRunner, name: str, country: str | None
) -> None:
    several: Any = {"type": ["null", "boolean", "string", "integer"]}
    values: list[tuple[str, Any]] = [("true", True), ("false", False), ("zero", 0)]
    messages = [
        schema(**{name: several}),
        *(record(f"{who}@example.com", **{name: value}) for who, value in values),
    ]
    outcome = load(messages, default_country=country, field_mapping={"company": "customer_account"})
    assert outcome.codes == dict.fromkeys(
        ("true@example.com", "false@example.com"), "VALUE_INVALID"
    )
    attribute = {"mobile": "phone", "company": "organization"}.get(name, name)
    assert [one[attribute] for one in sandbox.export()] == ["0"]


# What is no number


@pytest.mark.parametrize("policy", ["keep", "clear"])
@pytest.mark.parametrize(
    "text", ["nan", "NaN", "inf", "-Infinity", "+inf", " INF ", "sNaN", "nan1"]
)
def test_text_nan_is_refused_for_number_field(
    sandbox: SandboxServer, load: TargetRunner, text: str, policy: str
) -> None:
    sandbox.prepare({"email": ADA, "fields": {"LOYALTY_POINTS": "7"}})
    outcome = load(
        [schema(loyalty_points="string"), record(ADA, loyalty_points=text)], null_policy=policy
    )
    assert outcome.codes == {ADA: "VALUE_INVALID"}
    assert sandbox.contacts()[ADA]["fields"] == {"LOYALTY_POINTS": "7"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_nan_is_refused_everywhere(sandbox: SandboxServer, load: TargetRunner, number: str) -> None:
    """Python's json writes it, so taps in Python do."""
    names = ("loyalty_points", "notes", "phone", "last_name", "tier", "interests", "birthday")
    messages: list[Any] = [schema(**dict.fromkeys((*names, "label", "both"), ANY))]
    for name in (*names, "label"):
        for n, value in enumerate((number, f"[{number}]", f'{{"a": {number}}}')):
            start = f'{{"type": "RECORD", "stream": "profiles", "record": {{"{name}": {value}'
            messages.append(f'{start}, "email": "{name}{n}@example.com"}}}}')
    outcome = load([*messages, record(ADA)], field_mapping={"label": "tags"})
    assert outcome.counts == {"read": 3 * 8 + 1, "invalid": 3 * 8, "added": 1}
    assert refused(outcome) == {"VALUE_INVALID"}
    assert [one["email"] for one in sandbox.export()] == [ADA]


def test_schema_may_list_nan(load: TargetRunner) -> None:
    line = (
        '{"type": "SCHEMA", "stream": "profiles", "key_properties": [], "schema": {"properties": '
        '{"email": {"type": "string"}, "tier": {"enum": ["Gold", NaN]}, "other": {"enum": [NaN]}}}}'
    )
    load([line, record(ADA, tier="Gold")], unmapped_properties="create").succeeded()


# U+0000


NUL_VALUES: dict[str, Any] = {
    "first_name": "A\0da",
    "phone": "030 \x001234567",
    "company": "\0Acme\0",
    "notes": {"a\0": ["b\0", {"c": "\0"}]},
    "city": "\0",
    "tier": "Go\0ld",
    "interests": ["T\0ea", "Events\0"],
    "loyalty_points": "4\x002",
    "birthday": "2024-05-31\0",
    "label": ["one\0", "\0", "two"],
    "texts": '["three\\u0000"]',
}


def check_without_nul(sandbox: SandboxServer, outcome: Outcome) -> None:
    """See that all of `NUL_VALUES` has arrived, without U+0000, and was warned of once."""
    contact = sandbox.contacts()[ADA]
    assert "\\u0000" not in json.dumps(contact)
    assert (contact["first_name"], contact["phone"]) == ("Ada", "+49301234567")
    assert (contact["organization"], contact["tags"]) == ("Acme", ["one", "three", "two"])
    assert contact["fields"] == {
        "BIRTHDAY": "2024-05-31",
        "INTERESTS": "||Tea||Events||",
        "LOYALTY_POINTS": "42",
        "NOTES": '{"a":["b",{"c":""}]}',
        "TIER": "Gold",
    }
    warnings = [line for line in outcome.warnings if "U+0000" in line]
    assert warnings == ["Stream 'profiles': the character U+0000 was removed from values."]


NUL_SETTINGS: dict[str, Any] = {
    "default_country": "DE",
    "field_mapping": {"company": "customer_account", "label": "tags", "texts": "tags"},
    "on_unknown_option": "add",
}


@pytest.mark.parametrize("validate", [True, False])
def test_nul_is_removed_from_values(
    sandbox: SandboxServer, load: TargetRunner, validate: bool
) -> None:
    before = CustomFields(sandbox).options("Tier")
    messages = [
        schema(**dict.fromkeys(NUL_VALUES, ANY)),
        record("first@example.com"),
        record(ADA, **NUL_VALUES),
        record("b@example.com", first_name="\0"),
    ]
    outcome = load(messages, validate_records=validate, **NUL_SETTINGS).succeeded()
    check_without_nul(sandbox, outcome)
    assert CustomFields(sandbox).options("Tier") == before
    again = load(messages, validate_records=validate, **NUL_SETTINGS).succeeded()
    assert again.counts == {"read": 3, "unchanged": 3}


def test_nul_is_removed_with_stream_map(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [schema(**dict.fromkeys(NUL_VALUES, ANY)), record(ADA, **NUL_VALUES)]
    maps = {"profiles": {"__filter__": "True"}}
    check_without_nul(sandbox, load(messages, stream_maps=maps, **NUL_SETTINGS).succeeded())


def test_nul_is_removed_in_batch_files(
    sandbox: SandboxServer, load: TargetRunner, tmp_path: Path
) -> None:
    path = tmp_path / "batch.jsonl.gz"
    path.write_bytes(gzip.compress(lines([{"email": ADA, **NUL_VALUES}])))
    messages = [
        schema(**dict.fromkeys(NUL_VALUES, ANY)),
        batch({"format": "jsonl", "compression": "gzip"}, path),
    ]
    check_without_nul(sandbox, load(messages, **NUL_SETTINGS).succeeded())


def test_value_of_nul_alone_is_empty_and_allowed_in_schemas(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": ADA, "fields": {"CITY": "Ghent"}, "last_name": "Byron"})
    messages = [
        schema(tier={"enum": ["Gold\0", "Silver"]}, city="string", last_name="string"),
        record(ADA, tier="Gold\0", city="\0", last_name="\0 \0"),
    ]
    outcome = load(messages).succeeded()
    assert not [line for line in outcome.warnings if "none of the options" in line]
    contact = sandbox.contacts()[ADA]
    assert (contact["last_name"], contact["fields"]) == ("Byron", {"CITY": "Ghent", "TIER": "Gold"})


def test_address_with_nul_is_refused(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [schema(), record("a\0da@example.com", first_name="\0"), record("b@example.com")]
    outcome = load(messages)
    assert refused(outcome) == {"EMAIL_INVALID"}
    assert [one["email"] for one in sandbox.export()] == ["b@example.com"]


def test_escaped_backslash_before_u0000_is_text(sandbox: SandboxServer, load: TargetRunner) -> None:
    outcome = load([schema(), record(ADA, first_name="\\u0000 A")]).succeeded()
    assert sandbox.contacts()[ADA]["first_name"] == "\\u0000 A"
    assert not outcome.warnings


def test_created_field_has_no_nul_in_title(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [schema(**{"shoe\0size": "string"}), record(ADA, **{"shoe\0size": "39"})]
    load(messages, unmapped_properties="create").succeeded()
    assert CustomFields(sandbox).held("Shoe size") == ["39"]


# Dates


YEAR_ONE = ["2024-05-31T18:30:00Z"] * 8
YEAR_ONE[3] = "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "moment",
    [
        *("0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01T00:00:00+14:00"),
        *("9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59+00:00", "0000-00-00 00:00:00"),
        *("0000-01-01T00:00:00Z", "2023-02-30T00:00:00Z", "2024-05-31T24:00:00Z"),
        *("2016-12-31T23:59:60Z", "2024-05-31T18:30:00+24:00"),
    ],
)
def test_date_beyond_calendar_or_zone_costs_only_its_record(
    sandbox: SandboxServer, load: TargetRunner, moment: str
) -> None:
    moments = [*YEAR_ONE[:3], moment, *YEAR_ONE[4:]]
    messages = [
        schema(last_seen="string"),
        *(record(f"y{n}@example.com", last_seen=one) for n, one in enumerate(moments)),
    ]
    outcome = load(messages, list_id="Newsletter").succeeded()
    assert outcome.codes == {"y3@example.com": "VALUE_INVALID"}
    assert [one["status"] for one in sandbox.imports()] == ["completed"]
    assert len(sandbox.export()) == 7


@pytest.mark.parametrize(
    ("moment", "saved"),
    [
        ("1899-12-31T12:00:00Z", "1899-12-31"),
        ("0001-01-03T00:00:00Z", "0001-01-02"),
        ("9999-12-30T00:00:00+00:00", "9999-12-29"),
    ],
)
def test_date_near_end_of_calendar_arrives(
    sandbox: SandboxServer, load: TargetRunner, moment: str, saved: str
) -> None:
    messages = [schema(last_seen="string", birthday="string")]
    load([*messages, record(ADA, last_seen=moment, birthday=moment)]).succeeded()
    fields = sandbox.contacts()[ADA]["fields"]
    assert fields["LAST_SEEN"].startswith(saved)
    assert fields["BIRTHDAY"] == moment[:10]


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1899-12-31"])
def test_date_field_holds_every_day(sandbox: SandboxServer, load: TargetRunner, day: str) -> None:
    load([schema(birthday="string"), record(ADA, birthday=f"{day}T23:59:59-05:00")]).succeeded()
    assert sandbox.contacts()[ADA]["fields"] == {"BIRTHDAY": day}


# Yes and no


YES = [True, "true", "TRUE", " True ", "t", "1", 1, 1.0, "yes", "YES", "y", "on", "On"]
NO = [False, "false", "F", "0", 0, 0.0, "no", "No", "N", "off"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("dropdown", ["Yes", "No"]),
        ("radio", ["No", "yes"]),
        ("dropdown", ["TRUE", "FALSE"]),
        ("radio", ["1", "0"]),
        ("dropdown", ["Off", "On"]),
        ("checkbox", ["Yes", "No"]),
        ("listbox", ["Y", "N"]),
    ],
)
def test_booleans_match_yes_and_no_options_in_any_spelling(
    sandbox: SandboxServer, load: TargetRunner, kind: str, options: list[str]
) -> None:
    fields = CustomFields(sandbox)
    fields.add("Choice", kind, *options)
    yes, no = sorted(options, key=lambda one: one.lower() in ("no", "false", "0", "off", "n"))
    messages = [
        schema(choice=ANY),
        *(record(f"p{n:02}@example.com", choice=one) for n, one in enumerate([*YES, *NO])),
    ]
    load(messages, on_unknown_option="add").succeeded()
    held = [yes] * len(YES) + [no] * len(NO)
    several = kind in ("checkbox", "listbox")
    assert fields.held("Choice") == [f"||{one}||" if several else one for one in held]
    assert fields.options("Choice") == options


@pytest.mark.parametrize(
    ("options", "value", "found"),
    [
        # What is written in an option goes there
        (["Yes", "No", "true"], "true", "true"),
        (["1", "No"], "1", "1"),
        (["3.0", "3"], 3.0, "3.0"),
        # Where there is more than a yes and a no, a word or number may mean something else
        (["Yes", "No", "2"], "1", None),
        (["Yes", "No", "Unknown"], "t", None),
        (["Yes", "True"], "on", None),
        (["Yes"], "on", None),
        (["Yes", "No"], "2", None),
        (["Yes", "No"], "maybe", None),
        (["Yes", "No"], 2, None),
    ],
)
def test_words_count_as_yes_only_if_options_are_yes_and_no(
    sandbox: SandboxServer, load: TargetRunner, options: list[str], value: Any, found: str | None
) -> None:
    fields = CustomFields(sandbox)
    fields.add("Choice", "dropdown", *options)
    outcome = load([schema(choice=ANY), record(ADA, choice=value)])
    if found is None:
        assert refused(outcome) == {"FIELD_OPTION_UNKNOWN"}
    else:
        assert fields.held("Choice") == [found]


# Odd values of every kind, for every destination


ODD: list[Any] = [
    *("\ud83d", "a\udc00b", "\0", "😀" * 300, "x" * 20_000, "\u202eabc", "e\u0301", "\u2028", "||"),
    *(10**30, -(10**30), 1e308, 5e-324, -0.0, 10**400, True, False, 0, ""),
    *([], {}, [[]], [{}], [None], {"": None}, ["\ud83d"], {"\ud83d": "\0"}, {"a": [{"b": "\0"}]}),
    *("0001-01-01", "9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+14:00", "24:00"),
    *("nan", "-inf", "1E+999999", "+", "00", "\\", "'", '"', "<b>", "%s", "{{ x }}", "\r\n", "\t"),
]


def test_lone_surrogate_is_not_an_option(sandbox: SandboxServer, load: TargetRunner) -> None:
    fields = CustomFields(sandbox)
    before = fields.options("Tier")
    messages = [
        schema(tier={"enum": ["Gold", "\ud83d"]}, shoes={"enum": ["\udc00"]}),
        record("b@example.com"),
        record(ADA, tier="\ud83d"),
    ]
    outcome = load(messages, on_unknown_option="add", unmapped_properties="create").succeeded()
    assert outcome.codes == {ADA: "VALUE_INVALID"}
    assert fields.options("Tier") == before
    assert fields.options("Shoes") == []


@pytest.mark.parametrize("unknown", ["reject", "drop", "add"])
def test_no_value_stops_a_run_or_the_sandbox(
    sandbox: SandboxServer, load: TargetRunner, unknown: str
) -> None:
    names = (
        *("first_name", "phone", "company", "notes", "customer_id", "tier", "interests", "label"),
        *("newsletter_consent", "birthday", "last_seen", "loyalty_points", "lifetime_value"),
    )
    messages = [schema(**dict.fromkeys(names, ANY)), record(ADA)]
    for n, value in enumerate(ODD):
        messages += [record(f"{name}-{n}@example.com", **{name: value}) for name in names]
    outcome = load(
        messages,
        default_country="DE",
        field_mapping={"company": "customer_account", "label": "tags"},
        on_unknown_option=unknown,
    ).succeeded()
    assert refused(outcome) <= {"VALUE_INVALID", "FIELD_OPTION_UNKNOWN"}
    assert {one["status"] for one in sandbox.imports()} == {"completed"}
    assert {one["status"] for one in sandbox.requests()} <= {200, 201}
    assert outcome.counts["added"] == len(sandbox.export()) == len(sandbox.contacts())
    assert outcome.counts["read"] == 1 + len(ODD) * len(names)
