"""Write everything that is generated from the code: parts of the documents, meltano.yml and hub/.

A generated part of a document stands between `<!-- name -->` and `<!-- /name -->`. With `--check`,
nothing is written, and the exit code is 1 if a file is out of date.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plugin_definition
import support_matrix
from scale import arithmetic_table, quantities_table
from settings_reference import PAGES, first_settings, group_reference, groups, index, tap_settings

from activecampaign_sandbox.options import switches
from target_activecampaign.client import ActiveCampaignError, Field
from target_activecampaign.config.settings import StreamSettings
from target_activecampaign.mapping.automatic import STANDARD_NAMES
from target_activecampaign.mapping.choices import OptionCatalog
from target_activecampaign.mapping.consent import (
    CONSENT_NAMES,
    REFUSAL_NAMES,
    STATES,
    SWITCHES,
    UNKNOWN_WORDS,
)
from target_activecampaign.mapping.formats import FORMS
from target_activecampaign.mapping.mapping import StreamMapping
from target_activecampaign.mapping.new_fields import field_type_for
from target_activecampaign.mapping.placement import MappedProperty, Placement
from target_activecampaign.mapping.suppression import EMAIL, EMAIL_SHA256, HASH_NAMES
from target_activecampaign.model.codes import CODES, Refusal
from target_activecampaign.model.facts import ANY, FACTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
"""Records with the property `value`, by kind of value."""

OPTIONS = ("Gold", "Silver", "Yes", "No")
SINGLE = ("I agree",)
"""The options of fields with choices, and of a checkbox with one box."""

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
"""Schemas of properties for which `unmapped_properties: create` makes a custom field."""


def names_table() -> str:
    """Return the table of property names that are mapped automatically."""
    rows = ["| destination | names that map to it, the most common first |", "| --- | --- |"]
    rows += [
        f"| `{destination}` | {', '.join(f'`{name}`' for name in names)} |"
        for destination, names in STANDARD_NAMES.items()
    ]
    return "\n".join([*rows, "| a custom field | its personalisation tag, or its title |"])


def types_table() -> str:
    """Return the table of the texts that each type of custom field gets for each kind of value."""
    rows = [("type of field", *map(_heading, SAMPLES)), ("---",) * (len(SAMPLES) + 1)]
    for form in FORMS:
        for cells, types in groupby(form.types, lambda kind: arrivals(kind, OPTIONS)):
            rows.append((", ".join(f"`{kind}`" for kind in types), *cells))
    rows.append((f"`checkbox`, its one option `{SINGLE[0]}`", *arrivals("checkbox", SINGLE)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


class _NoOptionAdder:
    """Adds no option: the samples are converted without an account."""

    def add_option(self, field: Field, text: str) -> tuple[str, ...]:  # noqa: ARG002 - a protocol
        """Return the options that the field has."""
        return field.options


def arrivals(field_type: str, options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts that a custom field gets for each kind of value, as cells of a table."""
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
        options=OptionCatalog(_NoOptionAdder()),
    )
    return tuple(
        " or ".join(dict.fromkeys(_arrival(mapping, record) for record in records))
        for records in SAMPLES.values()
    )


def _arrival(mapping: StreamMapping, record: dict[str, Any]) -> str:
    try:
        contact = mapping.to_contact({"email": "ada@example.com", **record})
    except Refusal as refusal:
        return refusal.code
    return f"`{contact.fields[1]}`".replace("|", "\\|") if contact.fields else "unchanged"


def _heading(kind: str) -> str:
    """Return a kind of value, with its sample if it has only one."""
    records = SAMPLES[kind]
    return f"{kind}<br>`{json.dumps(records[0]['value'])}`" if len(records) == 1 else kind


def new_fields_table() -> str:
    """Return the table of the custom fields that are created for properties."""
    rows = ["| schema | type of field | options |", "| --- | --- | --- |"]
    for schema in SCHEMAS:
        field_type, options = field_type_for(schema)
        listed = ", ".join(f"`{option}`" for option in options)
        rows.append(f"| `{json.dumps(schema)}` | `{field_type}` | {listed} |")
    return "\n".join(rows)


def codes_table() -> str:
    """Return the table of the codes of rejected and skipped records."""
    rows = [
        "| code | kind | retried | what happened | what to do |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, code in CODES.items():
        again = "yes" if code.retry else "no"
        rows.append(f"| `{name}` | {code.kind} | {again} | {code.meaning} | {code.advice} |")
    return "\n".join(rows)


def errors_table() -> str:
    """Return the table of the errors of the client, by code."""
    rows = ["| code | retried | what happened | what to do |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{kind.code}` | {'yes' if kind.retried else 'no'} | {kind.meaning}. | {kind.advice} |"
        for kind in _leaves(ActiveCampaignError)
        if kind.code
    ]
    return "\n".join(rows)


def consent_names() -> str:
    """Return the table of property names that are read as consent."""
    rows = (
        ("the person has consented", CONSENT_NAMES),
        ("the person has not consented", REFUSAL_NAMES),
    )
    table = [f"| {meaning} | {_listed(sorted(names))} |" for meaning, names in rows]
    return "\n".join(["| `true` means | names |", "| --- | --- |", *table])


def consent_words() -> str:
    """Return the table of words that mean yes or no."""
    rows = (
        ("yes", [word for word, means in SWITCHES.items() if means]),
        ("no", [word for word, means in SWITCHES.items() if not means]),
        ("has consented, whatever the property's name", [w for w, m in STATES.items() if m]),
        (
            "has not consented, whatever the property's name",
            [w for w, m in STATES.items() if not m],
        ),
    )
    table = [f"| {meaning} | {_listed(words)} |" for meaning, words in rows]
    unknown = _listed(sorted(UNKNOWN_WORDS - {""}))
    table.append(f"| unknown | null, an empty text, a property that the record lacks, {unknown} |")
    return "\n".join(["| means | words |", "| --- | --- |", *table])


def suppression_names() -> str:
    """Return the table of property names by which people are suppressed."""
    rows = ((EMAIL, STANDARD_NAMES[EMAIL]), (EMAIL_SHA256, HASH_NAMES))
    table = [f"| `{destination}` | {_listed(names)} |" for destination, names in rows]
    head = "| destination | names that map to it, the most common first |"
    return "\n".join([head, "| --- | --- |", *table])


def switches_table() -> str:
    """Return the table of the sandbox's switches."""
    rows = ["| switch | values (default first) | known | it sets |", "| --- | --- | --- | --- |"]
    for switch in switches():
        default = f"{switch.default:,}" if isinstance(switch.default, int) else switch.default
        values = _listed(switch.choices or (str(default),))
        rows.append(f"| `{switch.option}` | {values} | {switch.mark} | {switch.text} |")
    return "\n".join(rows)


def facts_table() -> str:
    """Return the table of the facts that `--verify` settles."""
    rows = [
        "| fact | question | assumed | if something else is seen |",
        "| --- | --- | --- | --- |",
    ]
    for one in FACTS:
        assumed = "anything" if one.assumed == ANY else f"`{one.assumed}`"
        end = "" if one.adapts else " **Exit code 1.**"
        rows.append(f"| `{one.name}` | {one.question} | {assumed} | {one.effect}{end} |")
    return "\n".join(rows)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _leaves(kind: type[ActiveCampaignError]) -> list[type[ActiveCampaignError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


def settings_of(page: str) -> dict[str, Callable[[], str]]:
    """Return the groups of settings that a page has."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    names = [name for name in groups() if f"<!-- settings: {name} -->\n" in text]
    return {f"settings: {name}": partial(group_reference, name) for name in names}


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"settings": first_settings},
    "docs/settings.md": {"settings": index},
    **{f"docs/{page}": settings_of(page) for page in PAGES},
    "docs/mapping.md": {"names": names_table, "new-fields": new_fields_table},
    "docs/values.md": {"types": types_table},
    "docs/consent.md": {
        "consent-names": consent_names,
        "consent-words": consent_words,
        "suppression-names": suppression_names,
    },
    "docs/consent-tap.md": {"tap-settings": tap_settings},
    "docs/sandbox-behaviour.md": {"switches": switches_table},
    "docs/verify.md": {"facts": facts_table},
    "docs/support.md": {
        "platforms": support_matrix.platforms_table,
        "plugins": support_matrix.plugins_table,
        "calls": support_matrix.calls_table,
        "assumptions": support_matrix.facts_table,
    },
    "docs/errors.md": {"codes": codes_table, "errors": errors_table},
    "docs/scale.md": {"quantities": quantities_table, "arithmetic": arithmetic_table},
}


def document(path: str) -> str:
    """Return the text of a document with its generated parts filled in."""
    fresh = (ROOT / path).read_text("utf-8")
    for name, make in PARTS[path].items():
        head, tail = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if (fresh.count(head), fresh.count(tail)) != (1, 1):
            raise SystemExit(f"{path} must have the markers of '{name}' once, each on its line.")
        before, _, rest = fresh.partition(head)
        fresh = f"{before}{head}\n{make()}\n\n{tail}{rest.partition(tail)[2]}"
    return fresh


FILES: dict[Path, Callable[[], str]] = {
    **{ROOT / path: partial(document, path) for path in PARTS},
    plugin_definition.PROJECT: plugin_definition.project,
    # After meltano.yml, from which they take the commands.
    **{one.entry: partial(plugin_definition.entry_file, one) for one in plugin_definition.PLUGINS},
    **{one.lock: partial(plugin_definition.lock_file, one) for one in plugin_definition.PLUGINS},
}


def main() -> int:
    """Write or check the files. Returns the exit code."""
    check = "--check" in sys.argv
    code = 0
    for path, make in FILES.items():
        text = make()
        if path.read_text("utf-8") != text:
            print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
            if check:
                code = 1
            else:
                path.write_text(text, "utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
