"""Custom fields that the target makes: their type, title and options by a property's schema."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from target_activecampaign.client import Field, InvalidRequest
from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.catalog import FieldCatalog
from target_activecampaign.mapping.choices import MAX_ADDED, blurs
from target_activecampaign.mapping.formats import form_of
from target_activecampaign.mapping.values import to_text, without_nul
from target_activecampaign.model.names import exact, nfc, normalised, rank, visible
from target_activecampaign.singer.json_schema import Schema, choices, formats, kinds, longest
from target_activecampaign.text import as_unicode, is_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.account.account import Account
    from target_activecampaign.mapping.placement import Placement

logger = logging.getLogger("target-activecampaign")

_LINE = 255
"""Characters that a text of one line is taken to be good for; the API names no limit."""

_MOMENT = 2.0
"""Seconds within which a process that has made a field adds its options."""


def fitting(schema: Schema) -> tuple[str, tuple[str, ...]]:
    """The type of the custom field that a property's values fit, and its options."""
    types = kinds(schema)
    options: dict[str, str] = {}
    for one in map(without_nul, choices(schema)):
        text = nfc(to_text(one) or "")
        # A value with half of a surrogate pair is refused, so no option is needed for it.
        if text and is_unicode(text):
            # Of two that look the same, one is made: both values find it.
            options.setdefault(exact(visible(text)), text)
    listed = tuple(options.values())
    if 0 < len(listed) <= MAX_ADDED and not any(map(blurs, listed)):
        if types == {"array"}:
            return "listbox", listed
        if types != {"boolean"} and "array" not in types:
            return "dropdown", listed
    if types == {"boolean"}:
        return "dropdown", ("true", "false")
    if types and types <= {"integer", "number"}:
        return "number", ()
    if types == {"string"}:
        return _for_texts(schema), ()
    return ("textarea" if not types or types & {"array", "object"} else "text"), ()


def _for_texts(schema: Schema) -> str:
    named = formats(schema)
    if named == {"date"}:
        return "date"
    if named == {"date-time"}:
        return "datetime"
    return "textarea" if (longest(schema) or 0) > _LINE else "text"


def title_of(name: str) -> str:
    """The title of a property's field: `loyaltyTier` and `loyalty_tier` give `Loyalty tier`."""
    name = nfc(visible(name))
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s_\0]+", " ", name).split()
    words = [part if part.isupper() else part.lower() for part in parts]
    text = as_unicode(" ".join(words))
    return text[:1].upper() + text[1:] if text else as_unicode(name)


def plan(
    stream: str, placement: Placement, properties: Mapping[str, Schema], catalog: FieldCatalog
) -> dict[str, Field]:
    """The fields of properties that have no place: those that are called so, or new ones.

    Args:
        stream: The stream's name, for messages.
        placement: Where its properties go without them.
        properties: The schemas of its properties, by name.
        catalog: The account's fields.

    Returns:
        The fields by property. One that is still to be made has a negative id.

    Raises:
        MappingError: A field of a property's name is there, but taken by another property.
    """
    planned: dict[str, Field] = {}
    by_form: dict[str, list[Field]] = {}
    taken = {entry.field.id: entry.name for entry in placement.mapped if entry.field}
    for name in placement.unmapped:
        title = title_of(name)
        field = _called(stream, name, title, catalog)
        similar = by_form.setdefault(normalised(title), [])
        field = field or next((one for one in similar if rank(title, one.title) is not None), None)
        if field is None:
            kind, options = fitting(properties[name])
            field = Field(-1 - len(planned), title, kind, "", options)
            similar.append(field)
        if field.id in taken:
            raise MappingError(
                f"Stream '{stream}': no field can be made for property '{name}', as "
                f"'{taken[field.id]}' goes to the field of its name, '{field.title}'. Map it in "
                "'field_mapping' to another destination, or to 'ignore'."
            )
        taken[field.id] = name
        planned[name] = field
    return planned


def _called(stream: str, name: str, title: str, catalog: FieldCatalog) -> Field | None:
    try:
        return catalog.called(title)
    except MappingError as error:
        raise MappingError(f"Stream '{stream}', property '{name}': {error}") from None


class FieldMaker:
    """Makes custom fields, and keeps the account's fields up to date with them."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def make(
        self, title: str, field_type: str, options: tuple[str, ...] = (), list_id: int = 0
    ) -> Field:
        """Make a field, unless another process has made it at the same time.

        Args:
            title: Its title.
            field_type: Its type.
            options: What can be chosen in it.
            list_id: The list whose contacts show it; 0 for all.

        Raises:
            ActiveCampaignError: It could not be made.
        """
        account = self._account
        try:
            field = account.client.create_field(title, field_type, list_id)
        except InvalidRequest:
            account.fields = account.client.fields()
            found = FieldCatalog(account.fields).called(title)
            if found is None:
                raise
            return self.complete(found, options)
        logger.info("Made the custom field '%s' (%%%s%%).", field.title, field.tag)
        if options:
            account.client.add_options(field.id, options)
        return self._know(replace(field, options=options))

    def complete(self, field: Field, options: tuple[str, ...]) -> Field:
        """Give a field that is there its options, if it is one of choices and has none.

        It was made by a run that was cut off before it came to them, or by another process just
        now, which will come to them in a moment.
        """
        if field.options or not options or form_of(field.type).several is None:
            return field
        time.sleep(_MOMENT)
        field = self._account.client.field(field.id)
        if not field.options:
            self._account.client.add_options(field.id, options)
            field = replace(field, options=options)
            logger.info("Gave the custom field '%s' (%%%s%%) its options.", field.title, field.tag)
        return self._know(field)

    def show(self, field: Field, list_id: int) -> None:
        """Show a field that is there on a list, if it is not.

        It was made by a run that was cut off before it came to that, or for another list.
        """
        if not {0, list_id} & set(field.lists):
            self._account.client.show_field(field.id, list_id)
            self._know(replace(field, lists=(*field.lists, list_id)))

    def _know(self, field: Field) -> Field:
        others = [one for one in self._account.fields if one.id != field.id]
        self._account.fields = [*others, field]
        return field
