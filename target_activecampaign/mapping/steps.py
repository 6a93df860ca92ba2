"""The steps that put a record's values into a contact. They run for every record."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.mapping.choices import (
    DroppedChoicesError,
    UnknownOptionError,
    items_of,
)
from target_activecampaign.mapping.values import UnfitValueError, to_text
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import exact, find_spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_activecampaign.mapping.formats import Converter
    from target_activecampaign.mapping.placement import MappedProperty

MISSING = object()
"""Stands for the value of a property that a record lacks."""

_TAG_SEPARATORS = re.compile(r"[,;|]")


def value_at(record: Mapping[str, Any], first: str, inner: tuple[str, ...]) -> Any:
    """Return the value at a path of a record; None below a null, `MISSING` if there is no value."""
    value = record.get(first, MISSING)
    for name in inner:
        if not isinstance(value, dict):
            return None if value is None else MISSING
        found = value.get(name, MISSING)
        if found is MISSING and not name.isascii():  # the schema may not list what is inside
            found = value.get(find_spelling(name, value), MISSING)
        value = found
    return value


class Step(NamedTuple):
    """The conversion of one property, from `record[first]` and `inner` inside of that.

    Attributes:
        first: The property.
        inner: Names inside of its object.
        convert: The converter.
        is_plain: Whether a non-blank text is sent unchanged, without the converter.
        clears: Whether an empty value clears the destination.
        place: The attribute of a contact, or the id of the custom field.
        entry: The property and its destination.
    """

    first: str
    inner: tuple[str, ...]
    convert: Converter
    is_plain: bool
    clears: bool
    place: Any
    entry: MappedProperty


class Steps:
    """The steps of several properties.

    Most values are plain texts at the top level of a record. A separate loop converts them several
    times as fast.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._plain: list[tuple[str, Any, list[Step]]] = []
        self._others: list[Step] = []
        for step in steps:
            if step.is_plain and not step.inner and not step.clears:
                self._plain.append((step.first, step.place, [step]))
            else:
                self._others.append(step)

    def run(self, record: Mapping[str, Any], values: dict[Any, str]) -> None:
        """Put the values of a record into `values`, by attribute or field id.

        Destinations that are not to change are left out.

        Raises:
            Refusal: A value does not fit its destination.
        """
        for first, place, step in self._plain:
            value = record.get(first)
            if type(value) is str:
                if value and not value.isspace():
                    values[place] = value
            elif value is not None:
                _run_steps(step, record, values)
        _run_steps(self._others, record, values)


def _run_steps(steps: list[Step], record: Mapping[str, Any], values: dict[Any, str]) -> None:
    """Run steps in order; see `Steps.run`. A single function, as calls are costly here."""
    for first, inner, convert, is_plain, clears, place, entry in steps:
        value = value_at(record, first, inner) if inner else record.get(first, MISSING)
        if value is MISSING:
            continue
        if is_plain and type(value) is str:
            text = value if value and not value.isspace() else None
        elif value is None:
            text = None
        else:
            try:
                text = convert(value)
            except DroppedChoicesError:
                continue
            except (UnknownOptionError, UnfitValueError) as error:
                raise _refusal_of(entry, error) from None
        if text is not None:
            values[place] = text
        elif clears:
            values[place] = ""


def _refusal_of(entry: MappedProperty, error: Exception) -> Refusal:
    if isinstance(error, UnknownOptionError):
        return Refusal(
            "FIELD_OPTION_UNKNOWN",
            f"Property '{entry.name}' has a choice that is not an option of {entry.target}: "
            f"{error}.",
        )
    kind = f" of type {entry.field.type}" if entry.field else ""
    return Refusal(
        "VALUE_INVALID", f"Property '{entry.name}' does not fit {entry.target}{kind}: {error}."
    )


class TagCollector:
    """Collects a contact's tags: those of the settings, then those in the record's properties.

    Args:
        tags: The tags of the settings.
        entries: The properties that hold tags.
    """

    def __init__(self, tags: Sequence[str], entries: Iterable[MappedProperty]) -> None:
        self._tags = tuple(tags)
        self._places = [(entry.path[0], entry.path[1:], entry.name) for entry in entries]

    def collect(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the tags for a record, each once.

        Raises:
            Refusal: A tag is not a text.
        """
        if not self._places:
            return self._tags
        tags = dict.fromkeys(self._tags)
        for first, inner, name in self._places:
            value = value_at(record, first, inner)
            if value is not None and value is not MISSING:
                tags.update(dict.fromkeys(_split_tags(value, name)))
        return tuple(tags)


def _split_tags(value: Any, name: str) -> Iterable[str]:
    """Return the tags in a property's value: the items of an array, or the parts of a text."""
    parts = items_of(value)
    if isinstance(value, str) and parts == [value]:
        parts = _TAG_SEPARATORS.split(value)
    if any(isinstance(part, (dict, list)) for part in parts):
        raise Refusal("VALUE_INVALID", f"Property '{name}' has a tag that is not a text.")
    try:
        return filter(None, [exact(to_text(part) or "") for part in parts])
    except UnfitValueError as error:
        reason = f"Property '{name}' has a tag that is not a text: {error}."
        raise Refusal("VALUE_INVALID", reason) from None
