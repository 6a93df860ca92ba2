"""The properties that the settings map to destinations, and the fields created for properties."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.history import suggestion
from target_activecampaign.mapping.placement import (
    DESTINATIONS,
    IGNORE,
    ONE_LINE,
    MappedProperty,
    standard_destination,
)
from target_activecampaign.model.names import did_you_mean, find_spelling, named_with_hints, nfc
from target_activecampaign.singer.json_schema import kinds, paths, schema_at, spelled_path
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_activecampaign.client import Field
    from target_activecampaign.mapping.catalog import FieldCatalog
    from target_activecampaign.mapping.stream import StreamToMap
    from target_activecampaign.singer.json_schema import Schema


class ExplicitResolver:
    """Resolves what the setting `field_mapping` maps, and the fields created for properties.

    Args:
        stream: The stream.
        catalog: The account's custom fields.
        created: The fields that were created for properties, by name.

    Attributes:
        undeclared: Properties that the settings map and the schema lacks. Records may have them.
        warnings: Warnings for the operator, one sentence each.
    """

    def __init__(
        self, stream: StreamToMap, catalog: FieldCatalog, created: Mapping[str, Field]
    ) -> None:
        self._stream = stream
        self._settings = stream.settings
        self._properties = stream.properties
        self._catalog = catalog
        self._created = created
        self._lacking: list[str] = []
        self._may_come: list[str] = []
        self.undeclared: list[MappedProperty] = []
        self.warnings: list[str] = []

    def resolve(self) -> list[MappedProperty]:
        """Return the properties of the schema that are mapped; fill `undeclared` and `warnings`.

        Raises:
            MappingError: A destination does not exist, is ambiguous, has two properties or can't
                hold its property; or the stream's own mapping names a property that it lacks.
        """
        destinations = {**self._settings.field_mapping, **self._settings.own_field_mapping}
        names: dict[tuple[str, ...], str] = {}
        for name, destination in destinations.items():
            path = find_path(name, self._properties)
            if path is None:
                self._resolve_undeclared(name, destination)
            else:
                names[path] = self._choose_spelling(names.get(path), name)
        entries = [
            self._resolve_declared(name, path, destinations[name]) for path, name in names.items()
        ]
        self._check_any_maps(entries)
        self._warn()
        entries = [*self._without_overridden(entries), *self._created_entries()]
        self._check_twice(entries)
        return entries

    def _choose_spelling(self, first: str | None, second: str) -> str:
        """Return the one of two names in `field_mapping` that counts, if both name one property.

        They differ in their Unicode form. The stream's own mapping comes first.
        """
        own = self._settings.own_field_mapping
        if first is None or (first in own) < (second in own):
            return second
        if (first in own) > (second in own):
            return first
        raise MappingError(
            f"Stream '{self._stream.name}': 'field_mapping' names the property '{second}' twice, "
            "in two Unicode forms that look the same (NFC and NFD). Keep one of them."
        )

    def _resolve_declared(
        self, name: str, path: tuple[str, ...], destination: str
    ) -> MappedProperty:
        """Return the entry of a property that the schema has."""
        schema = schema_at(self._properties[path[0]], path[1:])
        standard = standard_destination(destination, self._catalog)
        field = None if standard is not None else self._find_field(name, destination)
        return self._checked(MappedProperty(name, standard or "field", field, path, schema))

    def _resolve_undeclared(self, name: str, destination: str) -> None:
        """Add a property that the schema lacks: records may have it all the same.

        Raises:
            MappingError: The stream's own mapping names it, and records can't have it.
        """
        entries = self._undeclared_entries(name, destination)
        self.undeclared += entries
        is_own = name in self._settings.own_field_mapping
        first = name.partition(".")[0]
        # The SDK adds its metadata to records even if the schema lacks it.
        may_come = self._stream.is_open or first.startswith("_sdc_")
        if may_come and first not in self._properties:
            if entries:
                self._may_come.append(name)
                return
            if is_own:
                self._find_field(name, destination)  # raises: there is no such destination
        if is_own and not self._stream.lenient:
            near = did_you_mean(name, list(paths(self._properties)))
            raise MappingError(
                f"Stream '{self._stream.name}' has no property '{name}', which its "
                f"'field_mapping' maps to '{destination}'.{near} The stream has "
                f"{quoted_list(self._properties)}. Name one of these, or remove the entry."
            )
        self._lacking.append(name)

    def _undeclared_entries(self, name: str, destination: str) -> list[MappedProperty]:
        """Return the entries of a property that the schema lacks; none without a destination."""
        standard = standard_destination(destination, self._catalog)
        field = None
        if standard is None:
            try:
                field = self._catalog.find(destination)
            except MappingError:
                return []
            if field is None:
                return []
            standard = "field"
        places: list[tuple[str, ...]] = [(name,)]
        if "." in name:
            parts = name.split(".")
            first, inner = next(iter(_split_path(name, self._properties)), (parts[0], parts[1:]))
            # If a record has both, the later counts: a property's own name may have dots.
            places = [(first, *inner), (name,)]
        return [MappedProperty(name, standard, field, path, True) for path in places]

    def _check_any_maps(self, entries: Sequence[MappedProperty]) -> None:
        """Check that some property is mapped if `auto_map` is off."""
        if self._lacking and not (entries or self._may_come or self._settings.auto_map):
            raise MappingError(
                f"'field_mapping' maps none of the properties of stream '{self._stream.name}'. "
                f"It has {quoted_list(self._properties)}."
            )

    def _warn(self) -> None:
        """Warn of properties that the schema lacks."""
        if self._may_come:
            self.warnings.append(
                f"The schema of stream '{self._stream.name}' does not list properties that "
                f"'field_mapping' maps: {quoted_list(self._may_come)}. They are taken from records "
                "that have them."
            )
        if self._lacking:
            self.warnings.append(
                f"Stream '{self._stream.name}' lacks properties that 'field_mapping' maps: "
                f"{named_with_hints(self._lacking, list(paths(self._properties)))}"
            )

    def _without_overridden(self, entries: Sequence[MappedProperty]) -> list[MappedProperty]:
        """Return the entries without those whose destination the stream's own mapping uses."""
        own = self._settings.own_field_mapping
        taken = {entry.key for entry in entries if entry.name in own}
        return [one for one in entries if one.name in own or one.key not in taken or one.is_shared]

    def _created_entries(self) -> list[MappedProperty]:
        """Return the entries of the properties that a field was created for."""
        return [
            self._checked(MappedProperty(name, "field", field, (name,), self._properties[name]))
            for name, field in self._created.items()
            if name in self._properties
        ]

    def _check_twice(self, entries: Iterable[MappedProperty]) -> None:
        """Check that no two properties have one destination."""
        seen: dict[tuple[str, Field | None], str] = {}
        for entry in entries:
            if not entry.is_shared and entry.key in seen:
                raise MappingError(
                    f"Stream '{self._stream.name}': both '{seen[entry.key]}' and '{entry.name}' "
                    f"are mapped to {entry.target}, which can have one property. Map one of them "
                    f"elsewhere, or to '{IGNORE}'."
                )
            seen[entry.key] = entry.name

    def _checked(self, entry: MappedProperty) -> MappedProperty:
        """Return an entry whose destination can hold the property.

        Raises:
            MappingError: The destination can't hold it.
        """
        on_object = self._settings.on_object
        if not entry.fits(on_object):
            change = suggestion(self._stream.history.get(nfc(entry.name)), self._catalog)
            is_object = "object" in kinds(entry.schema)
            inside = ", the properties inside of it by their paths" if is_object else ""
            raise MappingError(
                f"Stream '{self._stream.name}': {entry.incompatibility(on_object)}.{change} Map it "
                f"in 'field_mapping' to another destination{inside}, or to '{IGNORE}'."
            )
        return entry

    def _find_field(self, name: str, destination: str) -> Field:
        """Return the custom field that a setting names.

        Raises:
            MappingError: There is no such field, or there are several.
        """
        try:
            found = self._catalog.find(destination)
        except MappingError as error:
            raise self._stream.with_property(name, error) from None
        if found is None:
            near = self._catalog.suggest(destination, DESTINATIONS)
            before = self._stream.history.get(nfc(name))
            raise MappingError(
                f"Stream '{self._stream.name}': property '{name}' is mapped to '{destination}', "
                f"which is neither one of {', '.join(DESTINATIONS)} nor a custom field of the "
                f"account.{suggestion(before, self._catalog, near)} The custom fields are: "
                f"{self._catalog}. Map it to one of these, or to '{IGNORE}'."
            )
        return found


def resolve_only_if_empty(
    stream: str, names: Sequence[str], catalog: FieldCatalog
) -> tuple[str | int, ...]:
    """Return the destinations that the setting `only_if_empty` names.

    Args:
        stream: The stream's name, for messages.
        names: The setting.
        catalog: The account's custom fields.

    Returns:
        Attributes of a contact, and ids of custom fields.

    Raises:
        MappingError: A destination does not exist, or can have several values.
    """
    found: list[str | int] = []
    for name in names:
        standard = standard_destination(name, catalog)
        if standard in ONE_LINE:
            found.append(standard)
            continue
        try:
            field = catalog.find(name) if standard is None else None
        except MappingError as error:
            raise MappingError(f"Stream '{stream}', 'only_if_empty': {error}") from None
        if field is None:
            raise MappingError(
                f"Stream '{stream}': 'only_if_empty' names '{name}', which is neither one of "
                f"{', '.join(ONE_LINE)} nor a custom field of the account."
                f"{catalog.suggest(name, ONE_LINE)} The custom fields are: {catalog}."
            )
        found.append(field.id)
    return tuple(dict.fromkeys(found))


def find_path(name: str, properties: Mapping[str, Schema]) -> tuple[str, ...] | None:
    """Return the path of the property that a setting names: its own name, or a dotted path.

    Args:
        name: The name in the setting.
        properties: The schemas of the properties, by name.
    """
    whole = find_spelling(name, properties)
    if whole is not None:
        return (whole,)
    for first, inner in _split_path(name, properties):
        found = spelled_path(properties[first], inner)
        if found is not None:
            return (first, *found)
    return None


def _split_path(name: str, properties: Mapping[str, Schema]) -> Iterable[tuple[str, list[str]]]:
    """Yield each way to split a path into a known property and the names inside of it.

    There may be several, the longest property first: a property's own name may have dots.
    """
    parts = name.split(".")
    for number in range(len(parts) - 1, 0, -1):
        first = find_spelling(".".join(parts[:number]), properties)
        if first is not None:
            yield first, parts[number:]
