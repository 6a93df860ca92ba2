"""The destination of each property of a stream, by the settings and by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.automatic import AutomaticResolver
from target_activecampaign.mapping.consent import has_consent_name, is_nested_consent
from target_activecampaign.mapping.explicit import ExplicitResolver
from target_activecampaign.mapping.placement import (
    IGNORE,
    IGNORED_PREFIXES,
    SUBSCRIPTION,
    ConsentProperties,
    MappedProperty,
    Placement,
)
from target_activecampaign.model.names import caseless
from target_activecampaign.singer.json_schema import paths
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_activecampaign.client import Field
    from target_activecampaign.mapping.catalog import FieldCatalog
    from target_activecampaign.mapping.stream import StreamToMap


class FieldResolver:
    """Finds the destination of each property of a stream.

    Args:
        stream: The stream.
        catalog: The account's custom fields.
        created: The fields that were created for properties without a destination, by name.
    """

    def __init__(
        self, stream: StreamToMap, catalog: FieldCatalog, created: Mapping[str, Field]
    ) -> None:
        self._stream = stream
        self._explicit = ExplicitResolver(stream, catalog, created)
        self._automatic = AutomaticResolver(stream, catalog)

    def resolve(self) -> Placement:
        """Return the destinations.

        Raises:
            MappingError: No property has the e-mail address; or a destination does not exist, is
                ambiguous, has two properties, or can't hold its property.
        """
        names = self._mappable_names()
        explicit = self._explicit.resolve()
        # A property with consent may have a custom field of its name besides.
        said = {entry.path[0] for entry in explicit if entry.destination != SUBSCRIPTION}
        mapped = [one for one in explicit if one.destination not in (SUBSCRIPTION, IGNORE)]
        if self._stream.settings.auto_map:
            free = [name for name in names if name not in said]
            mapped += self._automatic.resolve(free, mapped)
        undeclared = self._select_undeclared(explicit, mapped)
        mapped += self._undeclared_email(mapped, undeclared)
        self._check_email(mapped)
        self._sort(mapped)
        consent = self._consent(names, explicit)
        placed = {entry.path[0] for entry in (*mapped, *consent.mapped)}
        return Placement(
            mapped=mapped,
            unmapped=[name for name in names if name not in said | placed],
            ignored=[name for name in names if name in said - placed],
            warnings=[
                *self._explicit.warnings,
                *self._automatic.warnings,
                *self._unread_consent(names, explicit, consent),
            ],
            undeclared=[one for one in undeclared if one.destination != SUBSCRIPTION],
            consent=consent,
        )

    def _consent(
        self, names: Sequence[str], explicit: Sequence[MappedProperty]
    ) -> ConsentProperties:
        """Return the properties with consent: those that the settings name, or else by name."""
        named = [*explicit, *self._explicit.undeclared]
        if said := [one for one in named if one.destination == SUBSCRIPTION]:
            is_undeclared = not any(one.destination == SUBSCRIPTION for one in explicit)
            return ConsentProperties(said, is_undeclared=is_undeclared)
        if not self._stream.settings.auto_map:
            return ConsentProperties([])
        ignored = frozenset(one.path[0] for one in named if one.destination == IGNORE)
        properties = self._stream.properties
        found = [
            MappedProperty(name, SUBSCRIPTION, None, (name,), properties[name])
            for name in names
            if has_consent_name(name) and name not in ignored
        ]
        return ConsentProperties(found, by_name=True, ignored=ignored)

    def _unread_consent(
        self,
        names: Sequence[str],
        explicit: Sequence[MappedProperty],
        consent: ConsentProperties,
    ) -> list[str]:
        """Return a warning if consent seems to be inside of objects only, where it is not read."""
        if consent.mapped or not consent.by_name:
            return []
        ignored = {".".join(one.path) for one in explicit if one.destination == IGNORE}
        found = [
            path
            for path in paths({name: self._stream.properties[name] for name in names})
            if is_nested_consent(path)
            and not any(path == one or path.startswith(f"{one}.") for one in ignored)
        ]
        if not found:
            return []
        return [
            f"Stream '{self._stream.name}': no consent is read, so everyone may be subscribed. By "
            f"their names, these nested properties have it: {quoted_list(found)}. Map each in "
            f"'field_mapping' to '{SUBSCRIPTION}', or to '{IGNORE}'."
        ]

    def _mappable_names(self) -> list[str]:
        """Return the properties that are neither metadata nor markers of deletion."""
        markers = {caseless(name) for name in self._stream.settings.deleted_properties}
        return [
            name
            for name in self._stream.properties
            if not name.startswith(IGNORED_PREFIXES) and caseless(name) not in markers
        ]

    def _select_undeclared(
        self, explicit: Sequence[MappedProperty], mapped: Sequence[MappedProperty]
    ) -> list[MappedProperty]:
        """Return the undeclared properties whose destinations are free.

        A destination is taken if the settings map a property of the schema to it. A property
        mapped by name only takes `email`, as settings have priority. Several undeclared properties
        may share a destination, as a mapping may serve several streams: the last one in a record
        counts. Only one may be mapped to `email`.
        """
        taken = {entry.key for entry in mapped if entry in explicit or entry.destination == "email"}
        free = [one for one in self._explicit.undeclared if one.is_shared or one.key not in taken]
        address = next((one.name for one in free if one.destination == "email"), None)
        return [one for one in free if one.destination != "email" or one.name == address]

    def _undeclared_email(
        self, mapped: Sequence[MappedProperty], undeclared: Sequence[MappedProperty]
    ) -> list[MappedProperty]:
        """Return the undeclared property for `email`, if no other has it and records may."""
        if _has_email(mapped) or not self._stream.is_open:
            return []
        return [entry for entry in undeclared if entry.destination == "email"][:1]

    def _check_email(self, mapped: Sequence[MappedProperty]) -> None:
        if not _has_email(mapped):
            name = self._stream.name
            raise MappingError(
                f"Stream '{name}' has no property for the e-mail address, which every contact "
                'needs. Name it in \'field_mapping\', such as {"property": "email"}. The stream '
                f"has {quoted_list(self._stream.properties)}. To skip the stream, deselect it in "
                f'the tap, or exclude it with \'stream_maps\': {{"{name}": "__NULL__"}}.'
            )

    def _sort(self, mapped: list[MappedProperty]) -> None:
        """Sort entries in the order of the schema."""
        order = {name: number for number, name in enumerate(self._stream.properties)}
        mapped.sort(key=lambda entry: order.get(entry.path[0], len(order)))


def _has_email(mapped: Sequence[MappedProperty]) -> bool:
    return any(entry.destination == "email" for entry in mapped)
