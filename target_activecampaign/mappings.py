"""The mappings of a run's streams: compiled against the account's fields as they are.

Where the settings ask for it, fields and options that are missing are made.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from target_activecampaign import drift
from target_activecampaign.activecampaign import InvalidRequest, NotFound
from target_activecampaign.choices import Options
from target_activecampaign.destinations import MappedProperty, Placement, Placing, listed
from target_activecampaign.field_catalog import FieldCatalog, MappingError
from target_activecampaign.mapping import Member, StreamMapping
from target_activecampaign.new_fields import FieldMaker, fitting, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from target_activecampaign.account import Account
    from target_activecampaign.activecampaign import Field
    from target_activecampaign.property_schema import Schema
    from target_activecampaign.settings import StreamSettings

    _Place = Callable[[Mapping[str, Field]], Placement]

logger = logging.getLogger("target-activecampaign")


class Mappings:
    """Compiles the mapping of each stream of a run.

    Args:
        account: Where the fields are.

    Attributes:
        dropped: How many choices were dropped, by stream and property.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._maker = FieldMaker(account)
        self._options: dict[int, Options] = {}
        self.dropped: dict[str, Counter[str]] = {}

    def compile(
        self,
        stream: str,
        properties: Mapping[str, Schema],
        settings: StreamSettings,
        list_id: int,
        *,
        member: Member | None = None,
        history: Mapping[str, Field] | None = None,
        lenient: bool = False,
    ) -> tuple[StreamMapping, dict[str, Field]]:
        """The mapping of a stream, and what the next run is to know of it.

        Args:
            stream: Its name after stream maps.
            properties: The schemas of its properties after stream maps, by name.
            settings: What holds for it.
            list_id: Its list.
            member: What marks its people besides.
            history: The field that each property went to in its last run.
            lenient: Whether it may lack what its own mapping names, as another stream of the tap,
                or another SCHEMA of it, has that.

        Raises:
            MappingError: It can't be mapped.
            SettingError: A setting can't be used.
            ActiveCampaignError: A field could not be made.
        """
        history = history or {}
        place = self._placing(stream, properties, settings, history, lenient=lenient)
        placement, planned, warnings = self._planned(stream, properties, settings, history, place)
        if settings.unmapped_properties == "create":
            place(planned)  # what can't be is refused before the first field is made
            self._complete(placement, settings)
            placement = place(
                {
                    name: self._made(stream, name, field, properties[name], list_id)
                    for name, field in planned.items()
                }
            )
            self._show(placement, settings, list_id)
        mapping = self._mapping(
            stream, placement, settings, list_id, member=member, warnings=warnings
        )
        return mapping, drift.remembered(history, placement, list(properties))

    def preview(
        self,
        stream: str,
        properties: Mapping[str, Schema],
        settings: StreamSettings,
        list_id: int,
        *,
        member: Member | None = None,
        history: Mapping[str, Field] | None = None,
        lenient: bool = False,
    ) -> StreamMapping:
        """The mapping as `compile` would give it; nothing is made.

        Fields that would be made have negative ids. Arguments and errors are those of `compile`.
        """
        history = history or {}
        place = self._placing(stream, properties, settings, history, lenient=lenient)
        _, planned, warnings = self._planned(stream, properties, settings, history, place)
        return self._mapping(
            stream, place(planned), settings, list_id, member=member, warnings=warnings
        )

    def _placing(
        self,
        stream: str,
        properties: Mapping[str, Schema],
        settings: StreamSettings,
        history: Mapping[str, Field],
        *,
        lenient: bool,
    ) -> _Place:
        def place(made: Mapping[str, Field]) -> Placement:
            catalog = FieldCatalog(self._account.fields)
            placing = Placing(
                stream,
                properties,
                settings,
                catalog,
                made=made,
                history=history,
                lenient=lenient,
            )
            return placing.place()

        return place

    def _planned(
        self,
        stream: str,
        properties: Mapping[str, Schema],
        settings: StreamSettings,
        history: Mapping[str, Field],
        place: _Place,
    ) -> tuple[Placement, dict[str, Field], list[str]]:
        """Where properties go as the fields are, which fields are to be made, and warnings."""
        placement = place({})
        catalog = FieldCatalog(self._account.fields)
        warnings = drift.check(stream, placement, history, catalog, settings)
        if placement.unmapped and settings.unmapped_properties == "fail":
            raise MappingError(
                f"Stream '{stream}' has properties without a place: {listed(placement.unmapped)}. "
                "Map each in 'field_mapping' to its destination, or to 'ignore'."
            )
        create = settings.unmapped_properties == "create"
        planned = plan(stream, placement, properties, catalog) if create else {}
        return placement, planned, warnings

    def _mapping(
        self,
        stream: str,
        placement: Placement,
        settings: StreamSettings,
        list_id: int,
        *,
        member: Member | None,
        warnings: list[str],
    ) -> StreamMapping:
        mapping = StreamMapping(
            stream,
            placement,
            settings,
            (list_id,),
            options=self.options,
            member=member,
            dropped=self.dropped.setdefault(stream, Counter()),
        )
        mapping.warnings = [*warnings, *mapping.warnings]
        return mapping

    def options(self, field: Field) -> Options:
        """What can be chosen in a field, the same object for all streams of the run."""
        known = self._options.get(field.id)
        if known is None:
            known = self._options[field.id] = Options(field, self._add_option)
        elif known.field != field:
            known.update(field)
        return known

    def make_field(self, title: str) -> Field:
        """Make a text field that shows on all lists."""
        return self._maker.make(title, "text")

    def _made(self, stream: str, name: str, planned: Field, schema: Schema, list_id: int) -> Field:
        """The field that was planned for a property, which is there already or is made now."""
        _, options = fitting(schema)
        if planned.id > 0:
            return self._maker.complete(planned, options)
        try:
            return self._maker.make(planned.title, planned.type, options, list_id)
        except InvalidRequest:
            raise MappingError(
                f"Stream '{stream}': ActiveCampaign refuses to make the custom field "
                f"'{planned.title}' of type {planned.type} for property '{name}'. Map it in "
                "'field_mapping' to another destination, or to 'ignore'."
            ) from None

    def _complete(self, placement: Placement, settings: StreamSettings) -> None:
        """Give fields that a cut-off run made their options."""
        for entry, field in _by_name(placement, settings):
            _, options = fitting(entry.schema)
            self._maker.complete(field, options)

    def _show(self, placement: Placement, settings: StreamSettings, list_id: int) -> None:
        """Show the fields that go by their properties' names on the stream's list."""
        for _, field in _by_name(placement, settings):
            self._maker.show(field, list_id)

    def _add_option(self, field: Field, text: str) -> tuple[str, ...]:
        try:
            # Another process, or a person, may have added it since the fields were read.
            now = self._account.client.field(field.id)
        except NotFound:
            raise MappingError(
                f"The custom field '{field.title}' (%{field.tag}%) was deleted while the run went "
                "on, and an option was to be added to it: run again."
            ) from None
        if Options(now, self._add_option).find(text) is not None:
            return now.options
        self._account.client.add_options(field.id, [text])
        logger.info("Added an option to the custom field '%s' (%%%s%%).", field.title, field.tag)
        return (*now.options, text)


def _by_name(
    placement: Placement, settings: StreamSettings
) -> Iterator[tuple[MappedProperty, Field]]:
    """The properties that go to custom fields without being told to."""
    said = {**settings.field_mapping, **settings.own_field_mapping}
    for entry in placement.mapped:
        if entry.field is not None and entry.name not in said:
            yield entry, entry.field
