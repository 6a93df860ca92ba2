"""Fill the generated parts of the documentation; `--check` only sees whether they fit.

A generated part stands between `<!-- name -->` and `<!-- /name -->`.
"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from scale import arithmetic_table, quantities_table
from settings_reference import first_settings, reference

from target_activecampaign.client import ActiveCampaignError, Field
from target_activecampaign.config.settings import StreamSettings
from target_activecampaign.mapping.choices import FieldOptions
from target_activecampaign.mapping.formats import FORMS
from target_activecampaign.mapping.mapping import StreamMapping
from target_activecampaign.mapping.new_fields import fitting
from target_activecampaign.mapping.placement import MappedProperty, Placement
from target_activecampaign.mapping.resolver import STANDARD_NAMES
from target_activecampaign.model.codes import CODES, Refusal

ROOT = Path(__file__).resolve().parent.parent

SAMPLES: dict[str, tuple[dict[str, Any], ...]] = {
    "text": ({"value": "Gold"},),
    "number as text": ({"value": "42"},),
    "integer": ({"value": 42},),
    "decimal": ({"value": 19.9},),
    "boolean": ({"value": True},),
    "date": ({"value": "2024-05-31"},),
    "date-time": ({"value": "2024-05-31T18:30:00+02:00"},),
    "array of texts": ({"value": ["Gold", "Silver"]},),
    "object": ({"value": {"city": "Ghent"}},),
    "null, missing or empty array": ({"value": None}, {}, {"value": []}),
}
"""Records with the property `value`, by the kind of value that they stand for."""

OPTIONS = ("Gold", "Silver", "Yes", "No")
SINGLE = ("I agree",)
"""The options of the fields that hold choices, and of a checkbox with one box."""

SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "string"},
    {"type": "string", "maxLength": 4000},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "date-time"},
    {"type": "string", "enum": ["Gold", "Silver"]},
    {"type": "integer"},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "array", "items": {"enum": ["Tea", "Events"]}},
    {"type": "array", "items": {"type": "string"}},
    {"type": "object"},
    {"type": ["string", "number"]},
    {},
)
"""Schemas of properties, each with its own kind of custom field."""


def names_table() -> str:
    """The names that map by themselves."""
    rows = ["| destination | names that map to it, the better known first |", "| --- | --- |"]
    rows += [
        f"| `{destination}` | {', '.join(f'`{name}`' for name in names)} |"
        for destination, names in STANDARD_NAMES.items()
    ]
    return "\n".join([*rows, "| a custom field | its personalisation tag, or its title |"])


def types_table() -> str:
    """What arrives of each kind of value in each type of custom field."""
    rows = [("type of field", *map(_heading, SAMPLES)), ("---",) * (len(SAMPLES) + 1)]
    for form in FORMS:
        for cells, types in groupby(form.types, lambda kind: arrivals(kind, OPTIONS)):
            rows.append((", ".join(f"`{kind}`" for kind in types), *cells))
    rows.append((f"`checkbox`, its one option `{SINGLE[0]}`", *arrivals("checkbox", SINGLE)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def arrivals(field_type: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """What arrives of each kind of value in a custom field, as the cells of a table."""
    field = Field(1, "Value", field_type, "VALUE", options)
    mapped = [
        MappedProperty("email", "email", None, ("email",), {}),
        MappedProperty("value", "field", field, ("value",), {}),
    ]
    mapping = StreamMapping(
        "samples",
        Placement(mapped, [], [], []),
        StreamSettings(list_id=1, field_mapping={}, own_field_mapping={}, tags=(), auto_map=True),
        (1,),
        options=FieldOptions(),
    )
    return tuple(
        " or ".join(dict.fromkeys(_arrival(mapping, record) for record in records))
        for records in SAMPLES.values()
    )


def _arrival(mapping: StreamMapping, record: dict[str, Any]) -> str:
    try:
        contact = mapping.contact({"email": "ada@example.com", **record})
    except Refusal as refusal:
        return refusal.code
    return f"`{contact.fields[1]}`".replace("|", "\\|") if contact.fields else "stays as it is"


def _heading(kind: str) -> str:
    """A kind of value with its sample, where it has a single one."""
    records = SAMPLES[kind]
    return f"{kind}<br>`{json.dumps(records[0]['value'])}`" if len(records) == 1 else kind


def new_fields_table() -> str:
    """The custom field that is made for each kind of property."""
    rows = ["| schema | type of field | options |", "| --- | --- | --- |"]
    for schema in SCHEMAS:
        field_type, options = fitting(schema)
        listed = ", ".join(f"`{option}`" for option in options)
        rows.append(f"| `{json.dumps(schema)}` | `{field_type}` | {listed} |")
    return "\n".join(rows)


def codes_table() -> str:
    """The codes of refused and skipped records."""
    rows = [
        "| code | kind | retried | what happened | what to do |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, code in CODES.items():
        again = "yes" if code.retried else "no"
        rows.append(f"| `{name}` | {code.kind} | {again} | {code.meaning} | {code.advice} |")
    return "\n".join(rows)


def errors_table() -> str:
    """The errors of the client, by their codes."""
    rows = ["| code | tried again | what happened | what to do |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{kind.code}` | {'yes' if kind.retried else 'no'} | {kind.meaning}. | {kind.advice} |"
        for kind in _leaves(ActiveCampaignError)
        if kind.code
    ]
    return "\n".join(rows)


def _leaves(kind: type[ActiveCampaignError]) -> list[type[ActiveCampaignError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


PARTS = {
    "README.md": {"settings": first_settings},
    "docs/settings.md": {"settings": reference},
    "docs/mapping.md": {"names": names_table, "types": types_table, "new-fields": new_fields_table},
    "docs/errors.md": {"codes": codes_table, "errors": errors_table},
    "docs/scale.md": {"quantities": quantities_table, "arithmetic": arithmetic_table},
}


def filled(path: str) -> tuple[str, str]:
    """A file's text as it is, and as it should be."""
    text = fresh = (ROOT / path).read_text("utf-8")
    for name, make in PARTS[path].items():
        head, tail = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if (text.count(head), text.count(tail)) != (1, 1):
            raise SystemExit(f"{path} must have the markers of '{name}' once, each on its line.")
        before, _, rest = fresh.partition(head)
        fresh = f"{before}{head}\n{make()}\n\n{tail}{rest.partition(tail)[2]}"
    return text, fresh


def main() -> int:
    """Write or check; returns the exit code."""
    stale = []
    for path in PARTS:
        text, fresh = filled(path)
        if text != fresh:
            stale.append(path)
            if "--check" not in sys.argv:
                (ROOT / path).write_text(fresh, "utf-8")
    for path in stale:
        print(f"{path} {'is stale' if '--check' in sys.argv else 'written'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
