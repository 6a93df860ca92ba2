"""Random schemas and records: no value is lost, and none arrives at another's place.

Every stream has a schema of its own, a field is made for each of its properties, and what the
sandbox then holds is read as its field's type says and held against the record. None of the
target's own conversions is used for that.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import unicodedata
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

STREAMS = 20
RUNS = int(os.environ.get("PROFILE_RUNS", "3"))
"""Each run has a schema for each of its streams."""

WORDS = (
    "loyalty_tier",
    "lastSeen",
    "Größe",
    "Preferred Store",
    "x",
    "日付",
    "is_vip",
    "UTM-Source",
)
Kind = tuple[dict[str, Any], "st.SearchStrategy[Any]"]
"""A schema, and the values that fit it."""

OPTIONS = st.lists(
    st.text(min_size=1, max_size=6).filter(str.strip), min_size=1, max_size=4, unique=True
)
DATES = st.dates().map(str)
TIMES = st.builds(
    lambda day, time, tail: f"{day}T{time}{tail}",
    DATES,
    st.times().map(str),
    st.sampled_from(["Z", "", "+00:00", "-03:30", "+14:00"]),
)


def enum(options: list[str]) -> Kind:
    return {"type": "string", "enum": options}, st.sampled_from(options)


def bare_enum(options: list[str]) -> Kind:
    return {"enum": [*options, None]}, st.sampled_from([*options, None])


def short(limit: int) -> Kind:
    return {"type": "string", "maxLength": limit}, st.text(max_size=min(limit, 20))


SCALARS: st.SearchStrategy[Kind] = st.one_of(
    st.sampled_from(
        [
            ({"type": "string"}, st.text(max_size=12)),
            ({"type": "string", "format": "date"}, DATES),
            ({"type": "string", "format": "date-time"}, TIMES),
            ({"type": "integer"}, st.integers()),
            ({"type": "integer"}, st.integers(-99, 99).map(float)),
            ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
            ({"type": "number", "multipleOf": 0.25}, st.integers(-999, 999).map(lambda n: n / 4)),
            ({"type": "boolean"}, st.booleans()),
            ({"type": ["string", "integer"]}, st.text(max_size=5) | st.integers()),
            ({}, st.text(max_size=5) | st.booleans()),
        ]
    ),
    st.builds(short, st.integers(1, 400)),
    st.builds(enum, OPTIONS),
    st.builds(bare_enum, OPTIONS),
)


def array(items: Kind) -> Kind:
    schema, values = items
    return {"type": "array", "items": schema}, st.lists(values, max_size=4)


def object_(properties: dict[str, Kind]) -> Kind:
    schemas = {name: schema for name, (schema, _) in properties.items()}
    values = {name: strategy for name, (_, strategy) in properties.items()}
    schema = {"type": "object", "properties": schemas, "additionalProperties": False}
    often = {name: one | one | one | st.just(MISSING) for name, one in values.items()}
    return schema, st.fixed_dictionaries(often).map(_present)


MISSING = object()


def _present(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value is not MISSING}


def nullable(kind: Kind, how: str) -> Kind:
    schema, values = kind
    if how == "never":
        return kind
    if how == "type" and isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}, st.none() | values
    return {"anyOf": [schema, {"type": "null"}]}, st.none() | values


KINDS: st.SearchStrategy[Kind] = st.builds(
    nullable,
    st.recursive(
        SCALARS,
        lambda inner: (
            st.builds(array, inner)
            | st.builds(
                object_, st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
            )
        ),
        max_leaves=4,
    ),
    st.sampled_from(["type", "anyOf", "never"]),
)
PROPERTIES = st.lists(st.tuples(st.sampled_from(WORDS), KINDS), min_size=1, max_size=4)


@st.composite
def streams(draw: st.DrawFn) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The schemas of some streams, each with its records; every property has a name of its own."""
    found = []
    for stream in range(STREAMS):
        properties = {
            f"{word} {stream} of {place}": kind
            for place, (word, kind) in enumerate(draw(PROPERTIES))
        }
        schema, record = object_(properties)
        found.append((schema, draw(st.lists(record, min_size=1, max_size=3))))
    return found


@hypothesis.settings(
    max_examples=RUNS,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to shrink twenty streams takes minutes; a failure is shown whole
    suppress_health_check=list(HealthCheck),
)
@given(streams())
def test_no_value_is_lost_or_misplaced(
    sandbox: SandboxServer,
    load: TargetRunner,
    drawn: list[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> None:
    sandbox.reset()
    run = next(_runs)
    messages: list[dict[str, Any]] = []
    sent: dict[str, dict[str, Any]] = {}
    for stream, (schema, records) in enumerate(drawn):
        name = f"stream{stream}"
        own = {**schema, "properties": {**schema["properties"], "email": {"type": "string"}}}
        messages.append({"type": "SCHEMA", "stream": name, "schema": own, "key_properties": []})
        for number, values in enumerate(records):
            address = f"run{run}.stream{stream}.record{number}@example.com"
            sent[address] = values
            record = {**values, "email": address}
            messages.append({"type": "RECORD", "stream": name, "record": record})

    ledger = f"sqlite:///{load.folder}/ledger{run}.db"
    settings = {"unmapped_properties": "create", "ledger_url": ledger}
    outcome = load(messages, **settings).succeeded()

    refused = {one["email"] for one in outcome.rejects}
    fields = {one["perstag"]: one for one in all_fields(sandbox)}
    arrived = sandbox.contacts()
    for address, values in sent.items():
        if address in refused:
            assert any(cannot_arrive(leaf) for leaf in leaves(values)), values
            continue
        held = {
            key(fields[tag]["title"]): (fields[tag]["type"], text)
            for tag, text in arrived[address]["fields"].items()
        }
        for name, value in values.items():
            kind, text = held.pop(key(name), ("", None))
            assert holds(kind, text, value), (kind, text, value)
        assert not held, "something has arrived that the record doesn't have"

    again = load(messages, **settings).succeeded()
    assert again.report["imports"] == 0, "what is the same is taken for changed"


_runs = itertools.count()


def all_fields(sandbox: SandboxServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := sandbox.get("/api/3/fields", limit=100, offset=len(found))["fields"]:
        found += page
    return found


def key(name: str) -> str:
    """What a property and its field have in common."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def holds(kind: str, text: str | None, value: Any) -> bool:
    """Whether a field of some type holds a value; a field that isn't there, nothing."""
    value = without_nul(value)
    if text is None:
        return value in (None, "", []) or (isinstance(value, list) and not any(map(spelt, value)))
    if kind == "listbox":
        _, *chosen, _ = text.split("||")
        return chosen == list(dict.fromkeys(filter(None, map(option_of, value))))
    if kind == "dropdown":
        return text == option_of(value)
    if kind == "date":
        return bool(text == value[:10])
    if kind == "datetime":
        return bool(moment(text) == moment(value))
    if isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(one, (list, dict)) for one in value)
    ):
        return alike(json.loads(text), value)
    items = [one for one in value if one is not None] if isinstance(value, list) else [value]
    if any(isinstance(one, float) for one in items):
        shown = text.split(", ")
        return len(shown) == len(items) and all(map(equal, shown, items))
    return text == ", ".join(map(spelt, items))


def without_nul(value: Any) -> Any:
    """A value without U+0000, as it is sent."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [without_nul(one) for one in value]
    if isinstance(value, dict):
        return {name: without_nul(one) for name, one in value.items()}
    return value


def spelt(value: Any) -> str:
    """A scalar but for decimals as a text field shows it; nothing for null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def option_of(value: Any) -> str:
    """The option that is made of a value."""
    return unicodedata.normalize("NFC", spelt(value))


def equal(text: str, value: float) -> bool:
    """Whether a text is a number but for what may be the noise of binary fractions."""
    shown, exact = Decimal(text), Decimal(repr(value))
    return shown == exact or abs(shown - exact) < abs(exact) * Decimal("1e-14")


def alike(shown: Any, value: Any) -> bool:
    """Whether two JSON values are the same; 1 is 1.0, but not true."""
    if isinstance(value, dict):
        return shown.keys() == value.keys() and all(alike(shown[n], value[n]) for n in value)
    if isinstance(value, list):
        return len(shown) == len(value) and all(map(alike, shown, value))
    return isinstance(shown, bool) == isinstance(value, bool) and bool(shown == value)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(timezone.utc).replace(microsecond=0)


def leaves(value: Any) -> Iterator[Any]:
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        yield value
        return
    for one in inner:
        yield from leaves(one)


def cannot_arrive(leaf: Any) -> bool:
    """Whether a value looks like a time, and is none that the calendar has."""
    if not isinstance(leaf, str) or not re.match(r"\d{4}-\d\d-\d\dT", leaf, re.IGNORECASE):
        return False
    try:
        moment(leaf)
    except (ValueError, OverflowError):
        return True
    return False
