"""Which property of a stream goes where, by the settings and by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.history import hint
from target_activecampaign.mapping.placement import (
    DESTINATIONS,
    IGNORE,
    IGNORED_PREFIXES,
    ONE_LINE,
    MappedProperty,
    Placement,
)
from target_activecampaign.model.names import (
    caseless,
    did_you_mean,
    exact,
    named_with_hints,
    nfc,
    normalised,
    rank,
    spelled,
)
from target_activecampaign.singer.json_schema import Schema, below, kinds, paths, spelled_path
from target_activecampaign.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_activecampaign.client import Field
    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.mapping.catalog import FieldCatalog


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
"""Names that map by themselves, in their normalised form.

Of two in one stream the first wins; of two spellings of one name, the one that matches it best.
"""


_Quality = tuple[int, ...]
"""How well a property's name matches a destination; the lower the better."""


_Match = tuple[_Quality, MappedProperty]


class FieldResolver:
    """Finds the place of each property of a stream.

    Args:
        stream: The stream's name, for messages.
        properties: The schemas of its properties, by name.
        settings: What holds for the stream.
        catalog: The account's custom fields.
        made: Fields that were made for properties that had no place.
        history: The field that each property last went to, by its name in NFC.
        lenient: Whether the stream may lack what its own mapping names.
        is_open: Whether its schema says that records may have more properties.
    """

    def __init__(
        self,
        stream: str,
        properties: Mapping[str, Schema],
        settings: StreamSettings,
        catalog: FieldCatalog,
        *,
        made: Mapping[str, Field],
        history: Mapping[str, Field],
        lenient: bool = False,
        is_open: bool = False,
    ) -> None:
        self._stream = stream
        self._properties = properties
        self._settings = settings
        self._catalog = catalog
        self._made = made
        self._history = history
        self._lenient = lenient
        self._is_open = is_open
        self._undeclared: list[MappedProperty] = []
        self._warnings: list[str] = []

    def place(self) -> Placement:
        """Find the places.

        Raises:
            MappingError: No property for the e-mail address, or a destination that is not
                there, not clear, taken twice, or can't hold what the property has.
        """
        markers = {caseless(name) for name in self._settings.deleted_properties}
        usable = [
            name
            for name in self._properties
            if not name.startswith(IGNORED_PREFIXES) and caseless(name) not in markers
        ]
        explicit = [*self._explicit(), *self._for_made_fields()]
        self._refuse_twice(explicit)
        said = {entry.path[0] for entry in explicit}
        mapped = [entry for entry in explicit if entry.destination != IGNORE]
        if self._settings.auto_map:
            mapped += self._automatic([name for name in usable if name not in said], mapped)
        # Nothing but the address is taken by what merely has its name: the settings count more.
        undeclared = self._without_taken(
            {entry.key for entry in mapped if entry in explicit or entry.destination == "email"}
        )
        if not any(entry.destination == "email" for entry in mapped) and self._is_open:
            mapped += [entry for entry in undeclared if entry.destination == "email"][:1]
        if not any(entry.destination == "email" for entry in mapped):
            raise MappingError(
                f"Stream '{self._stream}' has no property for the e-mail address, without which "
                "there is no contact: name it in 'field_mapping', such as "
                f'{{"property": "email"}}. The stream has {listed(self._properties)}. If it is not '
                f"to be loaded, deselect it in the tap, or leave it out with 'stream_maps': "
                f'{{"{self._stream}": "__NULL__"}}.'
            )
        order = {name: number for number, name in enumerate(self._properties)}
        mapped.sort(key=lambda entry: order.get(entry.path[0], len(order)))
        placed = {entry.path[0] for entry in mapped}
        ignored = [name for name in usable if name in said - placed]
        unmapped = [name for name in usable if name not in said | placed]
        return Placement(mapped, unmapped, ignored, self._warnings, undeclared)

    def _explicit(self) -> list[MappedProperty]:
        """The properties that the settings map; a warning of those that the stream lacks."""
        settings = self._settings
        lacking: list[str] = []
        may_come: list[str] = []
        own = settings.own_field_mapping
        named: dict[tuple[str, ...], str] = {}
        given = {**settings.field_mapping, **own}
        for name, destination in given.items():
            path = self._path(name)
            if path is not None:
                named[path] = self._preferred(named.get(path), name)
                continue
            undeclared = self._resolved_undeclared(name, destination)
            self._undeclared += undeclared
            first = name.partition(".")[0]
            # The SDK's metadata may come with each record, whatever the schema says.
            may = (self._is_open or first.startswith("_sdc_")) and first not in self._properties
            if may and name in own and not undeclared:
                self._named(name, destination)  # it raises
            if may and undeclared:
                may_come.append(name)
                continue
            if name in own and not self._lenient:
                near = did_you_mean(name, list(paths(self._properties)))
                raise MappingError(
                    f"Stream '{self._stream}' has no property '{name}', which its "
                    f"'field_mapping' maps to '{destination}'.{near} The stream has "
                    f"{listed(self._properties)}: name one of these, or take it out."
                )
            lacking.append(name)
        entries = [self._resolved(name, path, given[name]) for path, name in named.items()]
        if lacking and not (entries or may_come) and not settings.auto_map:
            raise MappingError(
                f"'field_mapping' maps none of the properties of stream '{self._stream}': "
                f"it has {listed(self._properties)}."
            )
        if may_come:
            self._warnings.append(
                f"The schema of stream '{self._stream}' does not list properties that "
                f"'field_mapping' maps: {listed(may_come)}. They are taken from records that have "
                "them."
            )
        if lacking:
            self._warnings.append(
                f"Stream '{self._stream}' lacks properties that 'field_mapping' maps: "
                f"{named_with_hints(lacking, list(paths(self._properties)))}"
            )
        # What the stream's own mapping takes is not there for the general one.
        taken = {entry.key for entry in entries if entry.name in own}
        return [one for one in entries if one.name in own or one.key not in taken or _shared(one)]

    def _resolved_undeclared(self, name: str, destination: str) -> list[MappedProperty]:
        """Where a property goes that the schema lacks: records may have it all the same."""
        standard = standard_of(destination, self._catalog)
        found = None
        if standard is None:
            try:
                found = self._catalog.named(destination)
            except MappingError:
                return []
            if found is None:
                return []
            standard = "field"
        parts = name.split(".")
        first, count = parts[0], 1
        for number in range(len(parts) - 1, 0, -1):  # a property's own name may have dots too
            known = spelled(".".join(parts[:number]), self._properties)
            if known is not None:
                first, count = known, number
                break
        inside = (first, *parts[count:]) if len(parts) > 1 else None
        # Of two that come, the later is taken: a property's own name may have dots too.
        places = [path for path in (inside, (name,)) if path is not None]
        return [MappedProperty(name, standard, found, path, True) for path in places]

    def _without_taken(self, taken: set[tuple[str, Field | None]]) -> list[MappedProperty]:
        """The properties that the schema lacks, as far as nothing else goes where they would.

        Several may go to one place, as one mapping may be for several streams: of those that a
        record has, the last counts. Only the address comes from one property alone.
        """
        free = [one for one in self._undeclared if _shared(one) or one.key not in taken]
        address = next((one.name for one in free if one.destination == "email"), None)
        return [one for one in free if one.destination != "email" or one.name == address]

    def _path(self, name: str) -> tuple[str, ...] | None:
        """Where a property stands: one of this name, or what a path of names leads to."""
        whole = spelled(name, self._properties)
        if whole is not None:
            return (whole,)
        parts = name.split(".")
        for number in range(len(parts) - 1, 0, -1):  # a property's own name may have dots too
            first = spelled(".".join(parts[:number]), self._properties)
            if first is not None:
                inner = spelled_path(self._properties[first], parts[number:])
                if inner is not None:
                    return (first, *inner)
        return None

    def _preferred(self, first: str | None, second: str) -> str:
        """The one of two names in `field_mapping` that counts, when both name one property.

        They differ in Unicode's normal form. What the stream's own mapping names counts more.
        """
        own = self._settings.own_field_mapping
        if first is None or (first in own) < (second in own):
            return second
        if (first in own) > (second in own):
            return first
        raise MappingError(
            f"Stream '{self._stream}': 'field_mapping' names the property '{second}' twice, in "
            "two Unicode forms that look the same (NFC and NFD): keep one of them."
        )

    def _resolved(self, name: str, path: tuple[str, ...], destination: str) -> MappedProperty:
        schema = below(self._properties[path[0]], path[1:])
        standard = standard_of(destination, self._catalog)
        if standard is not None:
            entry = MappedProperty(name, standard, None, path, schema)
        else:
            found = self._named(name, destination)
            entry = MappedProperty(name, "field", found, path, schema)
        return self._fitting(entry)

    def _fitting(self, entry: MappedProperty) -> MappedProperty:
        if not entry.fits(self._settings.on_object):
            became = hint(self._history.get(nfc(entry.name)), self._catalog)
            inside = ", what is inside of it by its path" if _is_object(entry) else ""
            wrong = incompatibility(entry, self._settings.on_object)
            raise MappingError(
                f"Stream '{self._stream}': {wrong}.{became} Map it in 'field_mapping' to "
                f"another destination{inside}, or to '{IGNORE}'."
            )
        return entry

    def _named(self, name: str, destination: str) -> Field:
        try:
            found = self._catalog.named(destination)
        except MappingError as error:
            raise self._about(name, error) from None
        if found is None:
            near = self._catalog.nearest(destination, DESTINATIONS)
            raise MappingError(
                f"Stream '{self._stream}': property '{name}' is mapped to '{destination}', which "
                f"is neither one of {', '.join(DESTINATIONS)} nor a custom field of the account."
                f"{hint(self._history.get(nfc(name)), self._catalog, near)} "
                f"The custom fields are: {self._catalog}. Map it to one of these, or to '{IGNORE}'."
            )
        return found

    def _for_made_fields(self) -> list[MappedProperty]:
        return [
            self._fitting(MappedProperty(name, "field", made, (name,), self._properties[name]))
            for name, made in self._made.items()
            if name in self._properties
        ]

    def _automatic(
        self, names: Sequence[str], explicit: Iterable[MappedProperty]
    ) -> list[MappedProperty]:
        """The properties that map by their names, unless the place is taken or can't hold them."""
        taken = {entry.key for entry in explicit}
        entries: dict[str, MappedProperty] = {}
        best: dict[tuple[str, Field | None], tuple[_Quality, str]] = {}
        for find in (self._standard, self._custom):
            for quality, entry in find([name for name in names if name not in entries]):
                if entry.name in entries:
                    continue
                fits = entry.fits(self._settings.on_object)
                if entry.key in taken:
                    if fits and entry.key in best and best[entry.key][0] == quality:
                        raise self._tie(best[entry.key][1], entry)
                elif fits:
                    entries[entry.name] = entry
                    taken.add(entry.key)
                    best[entry.key] = quality, entry.name
                else:
                    self._warnings.append(self._no_place(entry))
        return list(entries.values())

    def _tie(self, first: str, second: MappedProperty) -> MappingError:
        return MappingError(
            f"Stream '{self._stream}': the properties '{first}' and '{second.name}' match "
            f"{second.target} equally well. Map one of them to it in 'field_mapping', and the "
            f"other elsewhere or to '{IGNORE}'."
        )

    def _no_place(self, entry: MappedProperty) -> str:
        wrong = incompatibility(entry, self._settings.on_object)
        return (
            f"Stream '{self._stream}': {wrong}, so it has no place. Map it elsewhere in "
            f"'field_mapping', or to '{IGNORE}'."
        )

    def _standard(self, names: Sequence[str]) -> Iterable[_Match]:
        """What properties are called after, the best name of each destination first."""
        by_name: dict[str, list[str]] = {}
        for name in names:
            by_name.setdefault(normalised(name), []).append(name)
        for destination, aliases in STANDARD_NAMES.items():
            for number, alias in enumerate(aliases):
                spellings = (destination, alias) if number == 0 else (alias,)
                yield from sorted(
                    (
                        ((number, *_nearness(name, spellings)), self._by_itself(name, destination))
                        for name in by_name.get(alias, ())
                    ),
                    key=_quality,
                )

    def _custom(self, names: Sequence[str]) -> Iterable[_Match]:
        """The custom fields that properties are called like, the best matches first."""
        matches: list[_Match] = []
        for name in names:
            try:
                found = self._catalog.match(name)
            except MappingError as error:
                raise self._about(name, error) from None
            if found is not None:
                entry = self._by_itself(name, "field", found.field)
                matches.append((found.quality, entry))
        return sorted(matches, key=_quality)

    def _by_itself(self, name: str, destination: str, field: Field | None = None) -> MappedProperty:
        return MappedProperty(name, destination, field, (name,), self._properties[name])

    def _refuse_twice(self, entries: Iterable[MappedProperty]) -> None:
        seen: dict[tuple[str, Field | None], str] = {}
        for entry in entries:
            if not _shared(entry) and entry.key in seen:
                raise MappingError(
                    f"Stream '{self._stream}': both '{seen[entry.key]}' and '{entry.name}' are "
                    f"mapped to {entry.target}. Only one can be: map the other elsewhere, or to "
                    f"'{IGNORE}'."
                )
            seen[entry.key] = entry.name

    def _about(self, name: str, error: MappingError) -> MappingError:
        return MappingError(f"Stream '{self._stream}', property '{name}': {error}")


def _quality(match: _Match) -> _Quality:
    return match[0]


def _nearness(name: str, spellings: Sequence[str]) -> tuple[int, int]:
    """How well a name matches the best of some spellings, and which that is."""
    ranks = ((rank(name, one), number) for number, one in enumerate(spellings))
    return min((one, number) for one, number in ranks if one is not None)


def standard_of(destination: str, catalog: FieldCatalog) -> str | None:
    """The one of `DESTINATIONS` that a setting names; None for a custom field.

    A custom field that is called exactly so comes before one that is but for case.
    """
    text = exact(destination)
    if text in DESTINATIONS:
        return text
    standard = caseless(destination)
    return standard if standard in DESTINATIONS and not catalog.has(text) else None


def _shared(entry: MappedProperty) -> bool:
    """Whether several properties can go there."""
    return entry.destination in ("tags", IGNORE)


def destinations_of(
    stream: str, names: Sequence[str], catalog: FieldCatalog
) -> tuple[str | int, ...]:
    """What the setting `only_if_empty` names: attributes of a contact, and ids of custom fields.

    Raises:
        MappingError: One that is not there, or of which there can be several.
    """
    found: list[str | int] = []
    for name in names:
        standard = standard_of(name, catalog)
        if standard in ONE_LINE:
            found.append(standard)
            continue
        try:
            named = catalog.named(name) if standard is None else None
        except MappingError as error:
            raise MappingError(f"Stream '{stream}', 'only_if_empty': {error}") from None
        if named is None:
            raise MappingError(
                f"Stream '{stream}': 'only_if_empty' names '{name}', which is neither one of "
                f"{', '.join(ONE_LINE)} nor a custom field of the account."
                f"{catalog.nearest(name, ONE_LINE)} The custom fields are: {catalog}."
            )
        found.append(named.id)
    return tuple(dict.fromkeys(found))


def incompatibility(entry: MappedProperty, on_object: str) -> str:
    """Why a property can't go where it goes, without a full stop."""
    has = " or ".join(sorted(kinds(entry.schema)))
    if on_object == "refuse" and entry.fits("json"):
        return f"property '{entry.name}' is of type {has}, and 'on_object' is 'refuse'"
    held = entry.target if entry.field is None else f"{entry.target} (type {entry.field.type})"
    return f"property '{entry.name}' is of type {has}, which {held} can't hold"


def _is_object(entry: MappedProperty) -> bool:
    return "object" in kinds(entry.schema)
