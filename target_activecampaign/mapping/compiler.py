"""Compiles the mappings of a run's streams against the account's current fields.

If the settings ask for it, missing fields and options are created.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from target_activecampaign.client import InvalidRequest
from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.choices import OptionCatalog
from target_activecampaign.mapping.history import check_changes, merge_history
from target_activecampaign.mapping.mapping import StreamMapping
from target_activecampaign.mapping.new_fields import FieldCreator, field_type_for, plan_fields
from target_activecampaign.mapping.resolver import FieldResolver
from target_activecampaign.model.names import exact, visible
from target_activecampaign.model.timings import Timings
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_activecampaign.account.account import Account
    from target_activecampaign.client import Field
    from target_activecampaign.mapping.placement import MappedProperty, Placement
    from target_activecampaign.mapping.stream import StreamToMap


class MappingCompiler:
    """Compiles the mapping of each stream of a run.

    Args:
        account: The account whose fields are used.
        options_delay: As for `FieldCreator`, in seconds.

    Attributes:
        dropped: The number of choices that were dropped, by stream and property.
    """

    def __init__(
        self, account: Account, options_delay: float = Timings.options_delay_seconds
    ) -> None:
        self._account = account
        self._creator = FieldCreator(account, options_delay)
        self._options = OptionCatalog(self._creator)
        self.dropped: dict[str, Counter[str]] = {}

    def compile(self, stream: StreamToMap) -> tuple[StreamMapping, dict[str, Field]]:
        """Return the mapping of a stream, and the history for its next run.

        Creates missing fields if the settings ask for it.

        Raises:
            MappingError: The stream can't be mapped.
            SettingError: A setting can't be used.
            ActiveCampaignError: A field could not be created.
        """
        placement, planned, warnings = self._plan(stream)
        if stream.settings.unmapped_properties == "create":
            self._resolve(stream, planned)  # finds errors before a field is created
            self._add_missing_options(stream, placement)
            created = {name: self._create(stream, name, field) for name, field in planned.items()}
            placement = self._resolve(stream, created)
            self._show(stream, placement)
        history = merge_history(stream.history, placement, list(stream.properties))
        return self._make_mapping(stream, placement, warnings), history

    def preview(self, stream: StreamToMap) -> StreamMapping:
        """Return the mapping that `compile` would return, and create nothing.

        Fields that would be created have negative ids. Errors are those of `compile`.
        """
        _, planned, warnings = self._plan(stream)
        return self._make_mapping(stream, self._resolve(stream, planned), warnings)

    def create_text_field(self, title: str) -> Field:
        """Create a text field that shows on all lists."""
        return self._creator.create(exact(visible(title)), "text")

    def _plan(self, stream: StreamToMap) -> tuple[Placement, dict[str, Field], list[str]]:
        """Return the placement with existing fields, the fields to create, and warnings."""
        placement = self._resolve(stream, {})
        catalog = FieldCatalog(self._account.fields)
        warnings = check_changes(stream, placement, catalog)
        if placement.unmapped and stream.settings.unmapped_properties == "fail":
            raise MappingError(
                f"Stream '{stream.name}' has unmapped properties: "
                f"{quoted_list(placement.unmapped)}. "
                "Map each in 'field_mapping' to its destination, or to 'ignore'."
            )
        creates = stream.settings.unmapped_properties == "create"
        planned = plan_fields(stream, placement, catalog) if creates else {}
        return placement, planned, warnings

    def _resolve(self, stream: StreamToMap, created: Mapping[str, Field]) -> Placement:
        """Return the placement with existing fields and those that were created, by property."""
        return FieldResolver(stream, FieldCatalog(self._account.fields), created).resolve()

    def _make_mapping(
        self, stream: StreamToMap, placement: Placement, warnings: list[str]
    ) -> StreamMapping:
        mapping = StreamMapping(
            stream.name,
            placement,
            stream.settings,
            (stream.list_id,),
            options=self._options,
            marker=stream.marker,
            dropped=self.dropped.setdefault(stream.name, Counter()),
        )
        mapping.warnings = [*warnings, *mapping.warnings]
        return mapping

    def _create(self, stream: StreamToMap, name: str, planned: Field) -> Field:
        """Return the field that was planned for a property; create it if it does not exist."""
        _, options = field_type_for(stream.properties[name])
        if planned.id > 0:
            return self._creator.add_missing_options(planned, options)
        try:
            return self._creator.create(planned.title, planned.type, options, stream.list_id)
        except InvalidRequest:
            raise MappingError(
                f"Stream '{stream.name}': ActiveCampaign refuses to create the custom field "
                f"'{planned.title}' of type {planned.type} for property '{name}'. Map the property "
                "in 'field_mapping' to another destination, or to 'ignore'."
            ) from None

    def _add_missing_options(self, stream: StreamToMap, placement: Placement) -> None:
        """Add the options of fields that an interrupted run created without them."""
        for entry, field in _mapped_by_name(stream, placement):
            _, options = field_type_for(entry.schema)
            self._creator.add_missing_options(field, options)

    def _show(self, stream: StreamToMap, placement: Placement) -> None:
        """Show the fields that are mapped by name on the stream's list."""
        for _, field in _mapped_by_name(stream, placement):
            self._creator.show(field, stream.list_id)


def _mapped_by_name(
    stream: StreamToMap, placement: Placement
) -> Iterator[tuple[MappedProperty, Field]]:
    """Yield the properties that are mapped to custom fields, but not by the settings."""
    said = {**stream.settings.field_mapping, **stream.settings.own_field_mapping}
    for entry in placement.mapped:
        if entry.field is not None and entry.name not in said:
            yield entry, entry.field
