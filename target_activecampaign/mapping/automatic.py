"""Properties that are mapped by name, to standard destinations or custom fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.placement import IGNORE, MappedProperty
from target_activecampaign.model.names import normalised, rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_activecampaign.client import Field
    from target_activecampaign.mapping.catalog import FieldCatalog
    from target_activecampaign.mapping.stream import StreamToMap

STANDARD_NAMES: dict[str, tuple[str, ...]] = {
    "email": (
        "email",
        "emailaddress",
        "emailaddress1",
        "mail",
        "primaryemail",
        "contactemail",
        "useremail",
    ),
    "first_name": ("firstname", "givenname", "forename", "fname"),
    "last_name": ("lastname", "familyname", "surname", "lname"),
    "phone": (
        "phone",
        "phonenumber",
        "mobilephone",
        "mobile",
        "telephone",
        "telephone1",
        "mobilenumber",
        "primaryphone",
    ),
}
"""The names that map to each standard destination, in the form of `normalised`.

If a stream has several of them, the first in this list counts, in its best-matching spelling.
"""

_Quality = tuple[int, ...]
"""The quality of the match between a property's name and a destination; lower is better."""

_Match = tuple[_Quality, MappedProperty]


class AutomaticResolver:
    """Resolves the properties that map by their names.

    Args:
        stream: The stream.
        catalog: The account's custom fields.

    Attributes:
        warnings: Warnings for the operator, one sentence each.
    """

    def __init__(self, stream: StreamToMap, catalog: FieldCatalog) -> None:
        self._stream = stream
        self._catalog = catalog
        self.warnings: list[str] = []

    def resolve(
        self, names: Sequence[str], explicit: Iterable[MappedProperty]
    ) -> list[MappedProperty]:
        """Return the properties that map by their names to free destinations that can hold them.

        Args:
            names: The properties that the settings don't map.
            explicit: The properties that they map, whose destinations are taken.

        Raises:
            MappingError: Two properties match one destination equally well, or one matches two
                fields.
        """
        on_object = self._stream.settings.on_object
        taken = {entry.key for entry in explicit}
        entries: dict[str, MappedProperty] = {}
        best: dict[tuple[str, Field | None], tuple[_Quality, str]] = {}
        for find_matches in (self._standard_matches, self._field_matches):
            for quality, entry in find_matches([name for name in names if name not in entries]):
                if entry.name in entries:
                    continue
                fits = entry.fits(on_object)
                if entry.key in taken:
                    if fits and entry.key in best and best[entry.key][0] == quality:
                        raise self._tie(best[entry.key][1], entry)
                elif fits:
                    entries[entry.name] = entry
                    taken.add(entry.key)
                    best[entry.key] = quality, entry.name
                else:
                    self.warnings.append(
                        f"Stream '{self._stream.name}': {entry.incompatibility(on_object)}, so it "
                        f"is not mapped. Map it elsewhere in 'field_mapping', or to '{IGNORE}'."
                    )
        return list(entries.values())

    def _standard_matches(self, names: Sequence[str]) -> Iterable[_Match]:
        """Yield matches with standard destinations, the best of each destination first."""
        by_name: dict[str, list[str]] = {}
        for name in names:
            by_name.setdefault(normalised(name), []).append(name)
        for destination, aliases in STANDARD_NAMES.items():
            for number, alias in enumerate(aliases):
                spellings = (destination, alias) if number == 0 else (alias,)
                matches = [
                    ((number, *_spelling_quality(name, spellings)), self._entry(name, destination))
                    for name in by_name.get(alias, ())
                ]
                yield from sorted(matches, key=_quality_of)

    def _field_matches(self, names: Sequence[str]) -> Iterable[_Match]:
        """Return matches with custom fields, the best first."""
        matches: list[_Match] = []
        for name in names:
            try:
                found = self._catalog.match(name)
            except MappingError as error:
                raise self._stream.with_property(name, error) from None
            if found is not None:
                matches.append((found.quality, self._entry(name, "field", found.field)))
        return sorted(matches, key=_quality_of)

    def _entry(self, name: str, destination: str, field: Field | None = None) -> MappedProperty:
        schema = self._stream.properties[name]
        return MappedProperty(name, destination, field, (name,), schema)

    def _tie(self, first: str, second: MappedProperty) -> MappingError:
        return MappingError(
            f"Stream '{self._stream.name}': the properties '{first}' and '{second.name}' match "
            f"{second.target} equally well. Map one of them to it in 'field_mapping', and the "
            f"other elsewhere or to '{IGNORE}'."
        )


def _quality_of(match: _Match) -> _Quality:
    return match[0]


def _spelling_quality(name: str, spellings: Sequence[str]) -> tuple[int, int]:
    """Return the rank of a name's best match among spellings, and the number of that spelling."""
    ranks = ((rank(name, one), number) for number, one in enumerate(spellings))
    return min((one, number) for one, number in ranks if one is not None)
