"""Records of members: those that have the values of the setting `member_when`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.names import caseless, exact

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_BOOLEANS = {"true": True, "false": False}
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?")


class MemberRules:
    """Finds records that are not of members.

    Args:
        rules: The values that a member has, by property or path into objects.
        properties: The names of the properties that the schema declares.
    """

    def __init__(self, rules: Mapping[str, Collection[Any]], properties: Iterable[str]) -> None:
        self._rules = [_Rule(name, values) for name, values in rules.items()]
        self.learn(properties)

    def __bool__(self) -> bool:
        """Return whether there is any rule."""
        return bool(self._rules)

    def learn(self, properties: Iterable[str]) -> None:
        """Add names of properties. Rules are for them in any case, and in any Unicode form."""
        if not self._rules:
            return
        for name in properties:
            for rule in self._rules:
                rule.learn(name)

    def exclude(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has other values than a member."""
        return not all(rule.holds(record) for rule in self._rules)


class _Rule:
    """The values that a member has in one property."""

    def __init__(self, name: str, values: Collection[Any]) -> None:
        self._folded = caseless(name)
        self._spellings = [name]
        self._is_path = "." in name
        self._values = _Values(values)

    def learn(self, name: str) -> None:
        if name not in self._spellings and caseless(name) == self._folded:
            self._spellings.append(name)

    def holds(self, record: Mapping[str, Any]) -> bool:
        """Return whether a record has one of the values. No value counts as null."""
        found = [record[name] for name in self._spellings if name in record]
        if self._is_path and not found:
            found += inner_values(record, self._folded)
        return any(map(self._values.include, found or (None,)))


class _Values:
    """Values that are compared across types: a number or boolean is equal to its text.

    Args:
        values: Texts, numbers, booleans and null.
    """

    def __init__(self, values: Collection[Any]) -> None:
        texts = {exact(one) for one in values if isinstance(one, str)}
        self._has_null = None in values
        self._texts = texts
        self._booleans = {one for one in values if isinstance(one, bool)}
        self._booleans |= {_BOOLEANS[low] for one in texts if (low := one.lower()) in _BOOLEANS}
        self._numbers = {_number(one) for one in values if _is_number(one)}
        self._numbers_and_texts = self._numbers | {
            Decimal(one) for one in texts if _NUMBER.fullmatch(one)
        }

    def include(self, value: Any) -> bool:
        """Return whether a value of a record is one of these, or an array with one of these."""
        if value is None:
            return self._has_null
        if isinstance(value, bool):
            return value in self._booleans
        if isinstance(value, str):
            return self._include_text(exact(value))
        if _is_number(value):
            number = _number(value)
            # Some taps write NaN for null.
            return self._has_null if number.is_nan() else number in self._numbers_and_texts
        return isinstance(value, list) and any(map(self.include, value))

    def _include_text(self, text: str) -> bool:
        if text in self._texts:
            return True
        if text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()] in self._booleans
        # Two texts are never compared as numbers: `01` is another text than `1`.
        return bool(_NUMBER.fullmatch(text)) and Decimal(text) in self._numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _number(value: float | Decimal) -> Decimal:
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def splits(path: str) -> Iterator[tuple[str, str]]:
    """Yield each way to split a path into a property and the rest: names may have dots."""
    place = path.find(".")
    while place != -1:
        yield path[:place], path[place + 1 :]
        place = path.find(".", place + 1)


def inner_values(record: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield the values at a path inside of objects, ignoring case.

    Args:
        record: The record, or an object in it.
        path: The path, as `caseless` returns it.
    """
    for first, rest in splits(path):
        for name, inner in record.items():
            if isinstance(inner, dict) and caseless(name) == first:
                yield from (value for last, value in inner.items() if caseless(last) == rest)
                yield from inner_values(inner, rest)
