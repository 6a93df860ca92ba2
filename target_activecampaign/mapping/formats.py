"""The text forms of values, by the type of their custom field, and the converters to them.

`FORMS` lists them all. The mapping uses it, and the table in the documentation is generated from
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_activecampaign.config.validation import phone_region
from target_activecampaign.mapping.values import (
    UnfitValueError,
    to_any_text,
    to_date,
    to_datetime,
    to_integer,
    to_line,
    to_number,
)
from target_activecampaign.singer.json_schema import is_whole, kinds

if TYPE_CHECKING:
    from target_activecampaign.singer.json_schema import Schema

Converter = Callable[[Any], str | None]
"""Converts a JSON value other than null to text; None for a value without content."""

_SCALARS = frozenset({"string", "integer", "number", "boolean"})


@dataclass(frozen=True)
class Form:
    """A text form of values.

    Attributes:
        name: Its name.
        types: The types of custom fields that have it, by ActiveCampaign's names.
        kinds: The JSON types that it can hold, perhaps only some strings.
        convert: The converter. It does not apply to choices, which depend on the field's options.
        holds_several: Whether it holds several choices; None if it does not hold choices.
    """

    name: str
    types: tuple[str, ...]
    kinds: frozenset[str]
    convert: Converter = to_any_text
    holds_several: bool | None = None

    @property
    def has_options(self) -> bool:
        """True if its fields have options to choose from."""
        return self.holds_several is not None

    def fits(self, schema: Schema, on_object: str) -> bool:
        """Return whether any value of a schema may have this form.

        Args:
            schema: The property's JSON schema.
            on_object: The setting.
        """
        types = kinds(schema)
        held = self.kinds - {"object"} if on_object == "refuse" else self.kinds
        return not types or bool(types & held)


TEXT = Form("text", ("text", "textarea", "hidden"), _SCALARS | {"array", "object"})
NUMBER = Form("number", ("number", "currency"), _SCALARS, to_number)
DATE = Form("date", ("date",), frozenset({"string"}), to_date)
DATETIME = Form("date-time", ("datetime",), frozenset({"string"}), to_datetime)
CHOICE = Form("one choice", ("dropdown", "radio"), _SCALARS | {"array"}, holds_several=False)
CHOICES = Form(
    "choices", ("checkbox", "listbox", "multiselect"), _SCALARS | {"array"}, holds_several=True
)
STANDARD = Form("line", (), _SCALARS - {"boolean"}, to_line)
"""The form of names, phone and account: one line of text; no array, object or boolean."""

FORMS = (TEXT, NUMBER, DATE, DATETIME, CHOICE, CHOICES)
_BY_TYPE = {kind: form for form in FORMS for kind in form.types}


def form_of(field_type: str) -> Form:
    """Return the form of a custom field's values; `TEXT` for an unknown type."""
    return _BY_TYPE.get(field_type, TEXT)


def make_converter(convert: Converter, schema: Schema, *, on_object: str) -> Converter:
    """Return the converter of a property's values.

    Args:
        convert: The converter of the form, or of the field's choices.
        schema: The property's JSON schema.
        on_object: The setting.

    Returns:
        The converter. It raises UnfitValueError for a value that the form can't hold, and for
        choices also the errors of `ChoiceConverter`.
    """
    if is_whole(schema):
        convert = _of_integers(convert)
    if on_object == "refuse":
        convert = _without_objects(convert)
    return convert


def make_phone_converter(country: str) -> Converter:
    """Return the converter of phones for the setting `default_country`.

    A text that is not clearly a phone number is sent unchanged: a phone must never cause a contact
    to be refused, and must never become another number.

    Args:
        country: The country of numbers without a country code.

    Raises:
        SettingError: See `phone_region`.
    """
    region = phone_region(country)
    from target_activecampaign.model.phone import to_e164  # noqa: PLC0415 - an extra's package

    def convert(value: Any) -> str | None:
        text = to_line(value)
        return None if text is None else to_e164(text, region)

    return convert


def _of_integers(convert: Converter) -> Converter:
    return lambda value: convert(value if type(value) is int else to_integer(value))


def _without_objects(convert: Converter) -> Converter:
    def convert_checked(value: Any) -> str | None:
        if _contains_object(value):
            raise UnfitValueError("it is an object, and 'on_object' is 'refuse'")
        return convert(value)

    return convert_checked


def _contains_object(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
    )
