"""Custom fields that the target makes: their type, title and options by a property's schema."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from target_activecampaign.activecampaign import InvalidRequest
from target_activecampaign.choices import DELIMITER, MAX_ADDED
from target_activecampaign.field_catalog import FieldCatalog
from target_activecampaign.property_schema import Schema, choices, formats, kinds, longest
from target_activecampaign.values import to_text

if TYPE_CHECKING:
    from target_activecampaign.account import Account
    from target_activecampaign.activecampaign import Field

logger = logging.getLogger("target-activecampaign")

_LINE = 255
"""Characters that a text of one line is taken to be good for; the API names no limit."""


def fitting(schema: Schema) -> tuple[str, tuple[str, ...]]:
    """The type of the custom field that a property's values fit, and its options."""
    types = kinds(schema)
    listed = tuple(dict.fromkeys(text for one in choices(schema) if (text := to_text(one))))
    if 0 < len(listed) <= MAX_ADDED and not any(DELIMITER in text for text in listed):
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
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s_]+", " ", name).split()
    words = [part if part.isupper() else part.lower() for part in parts]
    text = " ".join(words)
    return text[:1].upper() + text[1:] if text else name


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
            logger.info("Made the custom field '%s' (%%%s%%).", field.title, field.tag)
        except InvalidRequest:
            account.fields = account.client.fields()
            found = FieldCatalog(account.fields).named(title)
            if found is None:
                raise
            return self.give_options(found, options)
        account.fields = [*account.fields, field]
        return self.give_options(field, options)

    def give_options(self, field: Field, options: tuple[str, ...]) -> Field:
        """Give a field without options some, and return it with them.

        One that has none was made by a run that was cut off before it came to them.
        """
        if field.options or not options:
            return field
        self._account.client.add_options(field.id, options)
        whole = replace(field, options=options)
        self._account.fields = [
            whole if one.id == field.id else one for one in self._account.fields
        ]
        return whole
