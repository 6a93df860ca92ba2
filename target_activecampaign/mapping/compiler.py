"""The mappings of a run's streams: compiled against the account's fields as they are.

Where the settings ask for it, fields and options that are missing are made.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from target_activecampaign.client import InvalidRequest, NotFound
from target_activecampaign.errors import MappingError
from target_activecampaign.mapping import history
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.choices import FieldOptions, Options
from target_activecampaign.mapping.mapping import Member, StreamMapping
from target_activecampaign.mapping.new_fields import FieldMaker, fitting, plan
from target_activecampaign.mapping.resolver import FieldResolver
from target_activecampaign.model.names import exact, visible
from target_activecampaign.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_activecampaign.account.account import Account
    from target_activecampaign.client import Field
    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.mapping.placement import MappedProperty, Placement
    from target_activecampaign.singer.json_schema import Schema

logger = logging.getLogger("target-activecampaign")


class StreamToMap(NamedTuple):
    """A stream, with what its mapping depends on besides the account's fields.

    Attributes:
        name: Its name after stream maps.
        properties: The schemas of its properties after stream maps, by name.
        settings: What holds for it.
        list_id: Its list.
        history: The field that each property went to in its last run.
        lenient: Whether it may lack what its own mapping names, as another stream of the tap,
            or another SCHEMA of it, has that.
        member: What marks its people besides.
        is_open: Whether its schema says that records may have more properties.
    """

    name: str
    properties: Mapping[str, Schema]
    settings: StreamSettings
    list_id: int
    history: Mapping[str, Field]
    lenient: bool
    member: Member | None = None
    is_open: bool = False


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
        self._options = _AccountOptions(account)
        self.dropped: dict[str, Counter[str]] = {}

    def compile(self, stream: StreamToMap) -> tuple[StreamMapping, dict[str, Field]]:
        """The mapping of a stream, and what the next run is to know of it.

        Raises:
            MappingError: It can't be mapped.
            SettingError: A setting can't be used.
            ActiveCampaignError: A field could not be made.
        """
        placement, planned, warnings = self._planned(stream)
        if stream.settings.unmapped_properties == "create":
            self._placed(stream, planned)  # what can't be is refused before a field is made
            self._complete(placement, stream.settings)
            made = {name: self._made(stream, name, field) for name, field in planned.items()}
            placement = self._placed(stream, made)
            self._show(placement, stream)
        remembered = history.remembered(stream.history, placement, list(stream.properties))
        return self._mapping(stream, placement, warnings), remembered

    def preview(self, stream: StreamToMap) -> StreamMapping:
        """The mapping as `compile` would give it; nothing is made.

        Fields that would be made have negative ids. Errors are those of `compile`.
        """
        _, planned, warnings = self._planned(stream)
        return self._mapping(stream, self._placed(stream, planned), warnings)

    def _placed(self, stream: StreamToMap, made: Mapping[str, Field]) -> Placement:
        """Where properties go as the fields are, and those that are made."""
        return FieldResolver(
            stream.name,
            stream.properties,
            stream.settings,
            FieldCatalog(self._account.fields),
            made=made,
            history=stream.history,
            lenient=stream.lenient,
            is_open=stream.is_open,
        ).place()

    def _planned(self, stream: StreamToMap) -> tuple[Placement, dict[str, Field], list[str]]:
        """Where properties go as the fields are, which fields are to be made, and warnings."""
        placement = self._placed(stream, {})
        catalog = FieldCatalog(self._account.fields)
        warnings = history.check(stream.name, placement, stream.history, catalog, stream.settings)
        if placement.unmapped and stream.settings.unmapped_properties == "fail":
            raise MappingError(
                f"Stream '{stream.name}' has properties without a place: "
                f"{listed(placement.unmapped)}. "
                "Map each in 'field_mapping' to its destination, or to 'ignore'."
            )
        create = stream.settings.unmapped_properties == "create"
        planned = plan(stream.name, placement, stream.properties, catalog) if create else {}
        return placement, planned, warnings

    def _mapping(
        self, stream: StreamToMap, placement: Placement, warnings: list[str]
    ) -> StreamMapping:
        mapping = StreamMapping(
            stream.name,
            placement,
            stream.settings,
            (stream.list_id,),
            options=self._options,
            member=stream.member,
            dropped=self.dropped.setdefault(stream.name, Counter()),
        )
        mapping.warnings = [*warnings, *mapping.warnings]
        return mapping

    def make_field(self, title: str) -> Field:
        """Make a text field that shows on all lists."""
        return self._maker.make(exact(visible(title)), "text")

    def _made(self, stream: StreamToMap, name: str, planned: Field) -> Field:
        """The field that was planned for a property, which is there already or is made now."""
        _, options = fitting(stream.properties[name])
        if planned.id > 0:
            return self._maker.complete(planned, options)
        try:
            return self._maker.make(planned.title, planned.type, options, stream.list_id)
        except InvalidRequest:
            raise MappingError(
                f"Stream '{stream.name}': ActiveCampaign refuses to make the custom field "
                f"'{planned.title}' of type {planned.type} for property '{name}'. Map it in "
                "'field_mapping' to another destination, or to 'ignore'."
            ) from None

    def _complete(self, placement: Placement, settings: StreamSettings) -> None:
        """Give fields that a cut-off run made their options."""
        for entry, field in _by_name(placement, settings):
            _, options = fitting(entry.schema)
            self._maker.complete(field, options)

    def _show(self, placement: Placement, stream: StreamToMap) -> None:
        """Show the fields that go by their properties' names on the stream's list."""
        for _, field in _by_name(placement, stream.settings):
            self._maker.show(field, stream.list_id)


class _AccountOptions(FieldOptions):
    """The options of an account's fields, to which missing ones are added."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account

    def add(self, field: Field, text: str) -> tuple[str, ...]:
        """Add an option to a field in the account; returns all that it then has."""
        try:
            # Another process, or a person, may have added it since the fields were read.
            now = self._account.client.field(field.id)
        except NotFound:
            raise MappingError(
                f"The custom field '{field.title}' (%{field.tag}%) was deleted while the run went "
                "on, and an option was to be added to it: run again."
            ) from None
        if Options(now, self).find(text) is not None:
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
