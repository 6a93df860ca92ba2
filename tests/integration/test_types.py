"""Each kind of value in each type of custom field, compared with the table in the guide.

All cells of the guide's table are one run: a stream for each kind of value, a property for each
type of field, and a contact for each pair.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.fork_server import ForkedTargetRunner
from tests.support.guide import DOCS
from tests.support.sandbox_server import API_KEY, SandboxServer
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fork_server import ForkServer
    from tests.support.target_runner import Outcome, TargetRunner

    LoadAll = Callable[[dict[str, dict[str, Any]]], "Loaded"]

MISSING = object()
VALUES: dict[str, Any] = {
    "text": "Gold",
    "number as text": "42",
    "integer": 42,
    "decimal": 19.9,
    "boolean": True,
    "date": "2024-05-31",
    "date-time": "2024-05-31T18:30:00+02:00",
    "array of texts": ["Gold", "Silver"],
    "object": {"city": "Ghent"},
    "null": None,
    "missing": MISSING,
    "empty array": [],
}
"""What the source has, by its kind."""

SCHEMAS: dict[str, dict[str, Any]] = {
    **{name: {"type": ["string", "null"]} for name in ("text", "number as text", "null")},
    "integer": {"type": ["integer", "null"]},
    "decimal": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "date-time": {"type": ["string", "null"], "format": "date-time"},
    "array of texts": {"type": ["array", "null"], "items": {"type": "string"}},
    "object": {"type": ["object", "null"]},
    "missing": {},
    "empty array": {},
}
"""What a tap says of properties that have nothing else."""

BEFORE = "before"
"""What people have already of whom the source says nothing."""

NOTHING = {"null": BEFORE, "missing": BEFORE, "empty array": BEFORE}
UNFIT, UNKNOWN = "VALUE_INVALID", "FIELD_OPTION_UNKNOWN"

TEXT = {
    "text": "Gold",
    "number as text": "42",
    "integer": "42",
    "decimal": "19.9",
    "boolean": "true",
    "date": "2024-05-31",
    "date-time": "2024-05-31T18:30:00+02:00",
    "array of texts": "Gold, Silver",
    "object": '{"city":"Ghent"}',
    **NOTHING,
}
NUMBER = {
    "text": UNFIT,
    "number as text": "42",
    "integer": "42",
    "decimal": "19.9",
    "boolean": "1",
    "date": UNFIT,
    "date-time": UNFIT,
    "array of texts": UNFIT,
    "object": UNFIT,
    **NOTHING,
}
DATE = {
    **dict.fromkeys(VALUES, UNFIT),
    "date": "2024-05-31",
    "date-time": "2024-05-31",
    **NOTHING,
}
# As ActiveCampaign saves it: in the account's zone, which is Chicago (UTC-5 in May).
DATETIME = {
    **dict.fromkeys(VALUES, UNFIT),
    "date": "2024-05-30T19:00:00-05:00",
    "date-time": "2024-05-31T11:30:00-05:00",
    **NOTHING,
}
CHOICE = {
    "text": "Gold",
    "number as text": UNKNOWN,
    "integer": UNKNOWN,
    "decimal": UNKNOWN,
    "boolean": "Yes",
    "date": UNKNOWN,
    "date-time": UNKNOWN,
    "array of texts": UNFIT,
    "object": UNFIT,
    **NOTHING,
}
CHOICES = {
    **CHOICE,
    "text": "||Gold||",
    "boolean": "||Yes||",
    "array of texts": "||Gold||Silver||",
}
SINGLE = {
    **CHOICE,
    "text": UNKNOWN,
    "boolean": "||I agree||",
    "array of texts": UNKNOWN,
}
ARRIVES: dict[str, dict[str, str]] = {
    **dict.fromkeys(("text", "textarea", "hidden"), TEXT),
    **dict.fromkeys(("number", "currency"), NUMBER),
    "date": DATE,
    "datetime": DATETIME,
    **dict.fromkeys(("dropdown", "radio"), CHOICE),
    **dict.fromkeys(("checkbox", "listbox", "multiselect"), CHOICES),
    "single": SINGLE,
}
"""What arrives, by the type of the field: `single` is a checkbox with one option."""

CELLS = [(field, kind) for field, cells in ARRIVES.items() for kind in cells]

NO_PLACE = {
    **dict.fromkeys(("text", "textarea", "hidden"), frozenset[str]()),
    **dict.fromkeys(("number", "currency"), frozenset({"array of texts", "object"})),
    **dict.fromkeys(
        ("date", "datetime"),
        frozenset({"integer", "decimal", "boolean", "array of texts", "object"}),
    ),
    **dict.fromkeys(
        ("dropdown", "radio", "checkbox", "listbox", "multiselect", "single"), frozenset({"object"})
    ),
}
"""Kinds of which no value fits a field: a property that has nothing else is not mapped to it."""


def address(field: str, kind: str) -> str:
    """The person who has a kind of value for a type of field."""
    return f"{field}-{kind.replace(' ', '-')}@example.com"


@dataclass(frozen=True)
class Loaded:
    """A run of all cells, and what it left in the account."""

    outcome: Outcome
    contacts: dict[str, dict[str, Any]]

    def came_to(self, field: str, kind: str) -> str | None:
        """What a field holds, or the code with which the record was refused."""
        person = address(field, kind)
        code = self.outcome.codes.get(person)
        if code is not None:
            assert person not in self.contacts
            return code
        value: str | None = self.contacts[person]["fields"].get(field.upper())
        return value


@pytest.fixture(scope="module")
def account() -> Iterator[SandboxServer]:
    with SandboxServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def load_all(
    account: SandboxServer, fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> LoadAll:
    """Runs all cells in a new account, with the schemas of the kinds."""

    def load(schemas: dict[str, dict[str, Any]]) -> Loaded:
        account.reset()
        make_fields(account)
        account.prepare(
            *(
                {"email": address(field, kind), "fields": {field.upper(): BEFORE}}
                for field in ARRIVES
                for kind in NOTHING
            )
        )
        folder = tmp_path_factory.mktemp("types")
        runner = ForkedTargetRunner(folder, account.url, account.api_key, fork_server)
        outcome = runner(
            message for kind in VALUES for message in messages(kind, schemas[kind])
        ).succeeded()
        return Loaded(outcome, account.contacts())

    return load


def make_fields(account: SandboxServer) -> None:
    """One field of each type, named after it; some types can't be given to a new field."""
    fields = CustomFields(account)
    choice = ("Gold", "Silver", "Yes", "No")
    for kind in ("text", "textarea", "hidden", "number", "date", "datetime"):
        fields.add(kind, kind)
    for kind in ("dropdown", "radio", "checkbox", "listbox"):
        fields.add(kind, kind, *choice)
    fields.add("single", "checkbox", "I agree")
    for kind, options in (("currency", ()), ("multiselect", choice)):
        fields.add(kind, "number", *options)
        fields.change(kind, type=kind)


def messages(kind: str, of_property: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream of a kind of value."""
    stream = kind.replace(" ", "_")
    yield schema(stream, **dict.fromkeys(ARRIVES, of_property))
    for field in ARRIVES:
        values = {} if VALUES[kind] is MISSING else {field: VALUES[kind]}
        yield record(address(field, kind), stream, **values)


@pytest.fixture(scope="module")
def loaded(load_all: LoadAll) -> Loaded:
    """The run in which each property may have any value."""
    return load_all({kind: {} for kind in VALUES})


@pytest.mark.parametrize(("field", "kind"), CELLS)
def test_value_arrives_or_is_refused_by_field_type(loaded: Loaded, field: str, kind: str) -> None:
    assert loaded.came_to(field, kind) == ARRIVES[field][kind]


def test_property_whose_schema_never_fits_is_not_mapped(load_all: LoadAll) -> None:
    typed = load_all(SCHEMAS)
    expected = {
        (field, kind): None if kind in NO_PLACE[field] else ARRIVES[field][kind]
        for field, kind in CELLS
    }
    assert {cell: typed.came_to(*cell) for cell in CELLS} == expected
    told = re.findall(r"Stream '(\w+)': property '(\w+)' .* can't hold", typed.outcome.log)
    assert {(field, stream.replace("_", " ")) for stream, field in told} == {
        cell for cell, value in expected.items() if value is None
    }


# The guide


def table(document: str, name: str) -> list[list[str]]:
    """The cells of a generated table of the guide, its heading first."""
    text = (DOCS / document).read_text("utf-8")
    part = text.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]
    heading, _, *rows = [line for line in part.splitlines() if line.startswith("|")]
    return [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (heading, *rows)
    ]


def columns() -> list[str]:
    """The kinds of values that the table of types has."""
    return [cell.partition("<br>")[0] for cell in table("values.md", "types")[0][1:]]


def documented() -> dict[tuple[str, str], str]:
    """What the guide says that arrives."""
    found: dict[tuple[str, str], str] = {}
    for first, *cells in table("values.md", "types")[1:]:
        fields = ["single"] if "I agree" in first else re.findall(r"`(\w+)`", first)
        for field in fields:
            found.update(zip(((field, kind) for kind in columns()), cells, strict=True))
    return found


def column_of(kind: str) -> str:
    """The column in which the guide has a kind of value."""
    return "null, missing or empty array" if kind in NOTHING else kind


def test_guide_covers_all_field_types_and_values() -> None:
    assert set(documented()) == {(field, column_of(kind)) for field, kind in CELLS}
    samples = dict(
        cell.split("<br>") for cell in table("values.md", "types")[0][1:] if "<br>" in cell
    )
    assert {kind: json.loads(text.strip("`")) for kind, text in samples.items()} == {
        kind: value for kind, value in VALUES.items() if kind not in NOTHING
    }


@pytest.mark.parametrize("field", ARRIVES)
def test_guide_table_matches_converted_values(loaded: Loaded, field: str) -> None:
    says = documented()
    for kind in VALUES:
        cell, found = says[field, column_of(kind)], loaded.came_to(field, kind)
        assert found is not None
        if kind in NOTHING:
            assert (cell, found) == ("unchanged", BEFORE)
        elif found in (UNFIT, UNKNOWN):
            assert cell == found
        elif field == "datetime":
            # The guide has what is sent; the account has the same moment in its own zone.
            assert datetime.fromisoformat(cell.strip("`")) == datetime.fromisoformat(found)
        else:
            assert cell == f"`{found}`"


def test_guide_table_matches_created_fields(sandbox: SandboxServer, load: TargetRunner) -> None:
    rows = table("mapping.md", "new-fields")[1:]
    schemas = {f"made_{n}": json.loads(row[0].strip("`")) for n, row in enumerate(rows)}
    load([schema(**schemas), record("ada@example.com")], unmapped_properties="create").succeeded()
    fields = CustomFields(sandbox)
    for number, (_, field_type, options) in enumerate(rows):
        title = f"Made {number}"
        assert f"`{fields.type(title)}`" == field_type
        assert fields.options(title) == re.findall("`(.+?)`", options)
