"""Records that their source marks as deleted, by a property such as `_sdc_deleted_at`.

Such a record means that its row was deleted. It never adds or changes a contact. A record that is
not of a member, by the setting `member_when`, is treated like one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import caseless
from target_activecampaign.singer.member_rules import MemberRules, inner_values, splits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

DELETED = "It is deleted in its source."
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
        self._starts = {start for path in self._paths for start, _ in splits(path)}
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
        return any(_is_set(value) for path in self._paths for value in inner_values(record, path))


@dataclass(frozen=True)
class DeletionRules:
    """Finds deleted records: marked ones, and those that are not of members.

    Attributes:
        markers: Finds the marked ones.
        members: Finds those that are not of members.
    """

    markers: DeletionMarkers
    members: MemberRules

    def learn(self, properties: Iterable[str]) -> None:
        """Add names of properties, which may be other spellings of known ones."""
        self.markers.learn(properties)
        self.members.learn(properties)

    def mark_deleted(
        self,
        records: Sequence[Mapping[str, Any]],
        names: Collection[str],
        problems: list[Exception | str | None],
    ) -> None:
        """Set the problem of deleted records to `DELETED`.

        Args:
            records: The records.
            names: The names of all of their properties.
            problems: The known problem of each record, if any. They are changed in place.
        """
        may_be_marked = not self.markers.names.isdisjoint(names)
        if not (may_be_marked or self.members):
            return
        for number, record in enumerate(records):
            problem = problems[number]
            if problem is not None and not isinstance(problem, Refusal):
                continue
            # A record with another problem may lack its values, so it is not excluded for them.
            if (may_be_marked and self.markers.are_in(record)) or (
                problem is None and self.members.exclude(record)
            ):
                problems[number] = DELETED


def _is_set(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().strip("\"'").strip().casefold() not in _NOT_DELETED
    if isinstance(value, (float, Decimal)):
        return value == value and value != 0  # noqa: PLR0124 - NaN is how some taps write null
    return bool(value)
