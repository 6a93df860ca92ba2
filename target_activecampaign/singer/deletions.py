"""Records that their source marks as deleted, by a property such as `_sdc_deleted_at`.

Such a record means that its row was deleted. It never adds or changes a contact.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.names import caseless
from target_activecampaign.text import scalar_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

DELETED = "It is marked as deleted."
"""The problem of a deleted record, compared by identity. It precedes all other problems."""

_NOT_DELETED = frozenset(
    {"", "0", "0.0", "f", "false", "n", "nan", "nat", "no", "none", "null", "off"}
)
"""Texts that mean null or false: warehouses and CSV files write them for an empty marker."""


class DeletionMarkers:
    """Finds records that are marked as deleted.

    Args:
        names: Names of properties, or paths into objects, of the setting `deleted_properties`.
        properties: The names of the properties that the schema declares.

    Attributes:
        names: All top-level properties that can be a marker or hold one.
    """

    def __init__(self, names: Collection[str], properties: Iterable[str]) -> None:
        self._folded = {caseless(name) for name in names}
        self._plain = list(names)
        self._paths = [caseless(name) for name in names if "." in name]
        self._starts = {start for path in self._paths for start, _ in _splits(path)}
        self.names = {*names, *self._starts}
        self.learn(properties)

    def learn(self, properties: Iterable[str]) -> None:
        """Add names of properties. Markers match in any case (`_SDC_DELETED_AT`)."""
        for name in properties:
            folded = caseless(name)
            if folded in self._folded and name not in self._plain:
                self._plain.append(name)
            if folded in self._folded or folded in self._starts:
                self.names.add(name)

    def are_in(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record is marked as deleted."""
        for name in self._plain:
            value = record.get(name)
            if value is not None and _is_set(value):
                return True
        return any(_is_set(value) for path in self._paths for value in _inner(record, path))


class MemberRules:
    """Finds records that are not of members, by the setting `member_when`.

    Args:
        rules: The values that each property may have, or path into objects, by its name.

    Attributes:
        names: The properties and paths.
    """

    def __init__(self, rules: Mapping[str, Collection[Any]]) -> None:
        self._rules = {
            name: {None if one is None else scalar_text(one) for one in values}
            for name, values in rules.items()
        }
        self.names = tuple(rules)

    def exclude(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has another value than a member. No value counts as null."""
        for name, allowed in self._rules.items():
            value = _value_at(record, name)
            if (None if value is None else scalar_text(value)) not in allowed:
                return True
        return False


def _value_at(record: Mapping[str, Any], name: str) -> Any:
    """Return the value of a property in any case, or at a path inside of objects."""
    if name in record:
        return record[name]
    folded = caseless(name)
    for one, value in record.items():
        if caseless(one) == folded:
            return value
    return next(iter(_inner(record, folded)), None) if "." in name else None


def _is_set(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().strip("\"'").strip().casefold() not in _NOT_DELETED
    if isinstance(value, (float, Decimal)):
        return value == value and value != 0  # noqa: PLR0124 - NaN is how some taps write null
    return bool(value)


def _splits(path: str) -> Iterable[tuple[str, str]]:
    """Yield each way to split a path into a property and the rest: names may have dots."""
    place = path.find(".")
    while place != -1:
        yield path[:place], path[place + 1 :]
        place = path.find(".", place + 1)


def _inner(record: Mapping[str, Any], path: str) -> Iterable[Any]:
    """Yield the values at a path inside of objects, ignoring case."""
    for first, rest in _splits(path):
        for name, inner in record.items():
            if isinstance(inner, dict) and caseless(name) == first:
                yield from (value for last, value in inner.items() if caseless(last) == rest)
                yield from _inner(inner, rest)
