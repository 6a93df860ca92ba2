"""Creation of custom fields and options: type, title and options follow a property's schema."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from target_activecampaign.client import Field, InvalidRequest, NotFound
from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.choices import MAX_ADDED, Options, breaks_delimiters
from target_activecampaign.mapping.formats import form_of
from target_activecampaign.mapping.values import remove_nul, to_text
from target_activecampaign.model.names import exact, nfc, normalised, rank, visible
from target_activecampaign.singer.json_schema import Schema, choices, formats, kinds, max_length
from target_activecampaign.text import is_encodable, replace_surrogates

if TYPE_CHECKING:
    from target_activecampaign.account.account import Account
    from target_activecampaign.mapping.placement import Placement
    from target_activecampaign.mapping.stream import StreamToMap

logger = logging.getLogger("target-activecampaign")

_MAX_TEXT_LENGTH = 255
"""Characters up to which a `text` field is used, beyond them a `textarea`. The API has no limit."""


def field_type_for(schema: Schema) -> tuple[str, tuple[str, ...]]:
    """Return the type of the custom field that fits a property's values, and its options."""
    types = kinds(schema)
    options: dict[str, str] = {}
    for one in map(remove_nul, choices(schema)):
        text = nfc(to_text(one) or "")
        # A value with a lone surrogate is refused, so it needs no option.
        if text and is_encodable(text):
            # Two that look the same become one option, which both values find.
            options.setdefault(exact(visible(text)), text)
    texts = tuple(options.values())
    if 0 < len(texts) <= MAX_ADDED and not any(map(breaks_delimiters, texts)):
        if types == {"array"}:
            return "listbox", texts
        if types != {"boolean"} and "array" not in types:
            return "dropdown", texts
    if types == {"boolean"}:
        return "dropdown", ("true", "false")
    if types and types <= {"integer", "number"}:
        return "number", ()
    if types == {"string"}:
        return _text_type_for(schema), ()
    return ("textarea" if not types or types & {"array", "object"} else "text"), ()


def _text_type_for(schema: Schema) -> str:
    text_formats = formats(schema)
    if text_formats == {"date"}:
        return "date"
    if text_formats == {"date-time"}:
        return "datetime"
    return "textarea" if (max_length(schema) or 0) > _MAX_TEXT_LENGTH else "text"


def title_for(name: str) -> str:
    """Return the title for a property's field: `loyaltyTier` gives `Loyalty tier`."""
    name = nfc(visible(name))
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s_\0]+", " ", name).split()
    words = [part if part.isupper() else part.lower() for part in parts]
    text = replace_surrogates(" ".join(words))
    return text[:1].upper() + text[1:] if text else replace_surrogates(name)


def plan_fields(
    stream: StreamToMap, placement: Placement, catalog: FieldCatalog
) -> dict[str, Field]:
    """Return fields for a stream's unmapped properties: existing ones of their names, or new ones.

    Args:
        stream: The stream.
        placement: The destinations of its properties without these fields.
        catalog: The account's fields.

    Returns:
        The fields by property. A field that does not exist yet has a negative id.

    Raises:
        MappingError: A field of a property's name exists, but another property is mapped to it.
    """
    planned: dict[str, Field] = {}
    by_form: dict[str, list[Field]] = {}
    taken = {entry.field.id: entry.name for entry in placement.mapped if entry.field}
    for name in placement.unmapped:
        title = title_for(name)
        try:
            field = catalog.find_by_name(title)
        except MappingError as error:
            raise stream.with_property(name, error) from None
        similar = by_form.setdefault(normalised(title), [])
        field = field or next((one for one in similar if rank(title, one.title) is not None), None)
        if field is None:
            kind, options = field_type_for(stream.properties[name])
            field = Field(-1 - len(planned), title, kind, "", options)
            similar.append(field)
        if field.id in taken:
            raise MappingError(
                f"Stream '{stream.name}': no field can be created for property '{name}', as "
                f"'{taken[field.id]}' is mapped to the field of its name, '{field.title}'. Map "
                f"'{name}' in 'field_mapping' to another destination, or to 'ignore'."
            )
        taken[field.id] = name
        planned[name] = field
    return planned


class FieldCreator:
    """Creates custom fields and options, and adds them to the fields known of the account.

    Args:
        account: The account.
        options_delay: Seconds in which another process that has created a field adds its options.
    """

    def __init__(self, account: Account, options_delay: float) -> None:
        self._account = account
        self._options_delay = options_delay

    def create(
        self, title: str, field_type: str, options: tuple[str, ...] = (), list_id: int = 0
    ) -> Field:
        """Create a field, or return the one that another process has just created.

        Args:
            title: Its title.
            field_type: Its type.
            options: Its options.
            list_id: The list whose contacts show it; 0 for all lists.

        Raises:
            ActiveCampaignError: It could not be created.
        """
        account = self._account
        try:
            field = account.client.create_field(title, field_type, list_id)
        except InvalidRequest:
            account.fields = account.client.fields()
            found = FieldCatalog(account.fields).find_by_name(title)
            if found is None:
                raise
            return self.add_missing_options(found, options)
        logger.info("Created the custom field '%s' (%%%s%%).", field.title, field.tag)
        if options:
            account.client.add_options(field.id, options)
        return self._remember(replace(field, options=options))

    def add_missing_options(self, field: Field, options: tuple[str, ...]) -> Field:
        """Add the options of an existing field, if it should have some and has none.

        An interrupted run may have created it without them. Or another process has just created
        it, and is about to add them.
        """
        if field.options or not options or not form_of(field.type).has_options:
            return field
        time.sleep(self._options_delay)
        field = self._account.client.field(field.id)
        if not field.options:
            self._account.client.add_options(field.id, options)
            field = replace(field, options=options)
            logger.info(
                "Added the missing options of the custom field '%s' (%%%s%%).",
                field.title,
                field.tag,
            )
        return self._remember(field)

    def add_option(self, field: Field, text: str) -> tuple[str, ...]:
        """Add an option to a field, unless it has been added since the fields were read.

        Returns:
            All options of the field.

        Raises:
            MappingError: The field has been deleted.
            ActiveCampaignError: The option could not be added.
        """
        client = self._account.client
        try:
            now = client.field(field.id)
        except NotFound:
            raise MappingError(
                f"The custom field '{field.title}' (%{field.tag}%) was deleted during the run, and "
                "an option had to be added to it. Run again."
            ) from None
        if Options(now, self).find(text) is not None:
            return now.options
        client.add_options(field.id, [text])
        logger.info("Added an option to the custom field '%s' (%%%s%%).", field.title, field.tag)
        return (*now.options, text)

    def show(self, field: Field, list_id: int) -> None:
        """Show an existing field on a list, if it is not shown there.

        An interrupted run may have created it, or it was created for another list.
        """
        if not {0, list_id} & set(field.lists):
            self._account.client.show_field(field.id, list_id)
            self._remember(replace(field, lists=(*field.lists, list_id)))

    def _remember(self, field: Field) -> Field:
        others = [one for one in self._account.fields if one.id != field.id]
        self._account.fields = [*others, field]
        return field
