"""The forms that values take, by the type of their custom field.

`FORMS` is the one table of them: the mapping converts by it, and the documentation's table is
made from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_activecampaign.mapping.choices import ChoiceConverter, ChoicesConverter
from target_activecampaign.mapping.values import (
    UnfitValueError,
    to_any_text,
    to_date,
    to_datetime,
    to_line,
    to_number,
    whole,
)
from target_activecampaign.singer.json_schema import is_whole, kinds

if TYPE_CHECKING:
    from collections import Counter

    from target_activecampaign.mapping.choices import Options
    from target_activecampaign.singer.json_schema import Schema

Converter = Callable[[Any], str | None]
"""From a JSON value other than null to text; None for a value that holds nothing."""

_SCALARS = frozenset({"string", "integer", "number", "boolean"})


@dataclass(frozen=True)
class Form:
    """A form that values take.

    Attributes:
        name: Its name.
        types: The types of custom fields that have it, by ActiveCampaign's names.
        kinds: The JSON types that it can hold; of texts, only some may fit.
        convert: The converter, where the field's options don't matter.
        several: Whether it holds several choices; None if it holds none.
    """

    name: str
    types: tuple[str, ...]
    kinds: frozenset[str]
    convert: Converter = to_any_text
    several: bool | None = None


TEXT = Form("text", ("text", "textarea", "hidden"), _SCALARS | {"array", "object"})
NUMBER = Form("number", ("number", "currency"), _SCALARS, to_number)
DATE = Form("date", ("date",), frozenset({"string"}), to_date)
DATETIME = Form("date-time", ("datetime",), frozenset({"string"}), to_datetime)
CHOICE = Form("one choice", ("dropdown", "radio"), _SCALARS | {"array"}, several=False)
CHOICES = Form(
    "choices", ("checkbox", "listbox", "multiselect"), _SCALARS | {"array"}, several=True
)
STANDARD = Form("line", (), _SCALARS - {"boolean"}, to_line)
"""What names, phone and account take: one line of text, which no array, object or boolean is."""

FORMS = (TEXT, NUMBER, DATE, DATETIME, CHOICE, CHOICES)
_BY_TYPE = {kind: form for form in FORMS for kind in form.types}


def form_of(field_type: str) -> Form:
    """The form of a custom field's values; of a type that is not known, text."""
    return _BY_TYPE.get(field_type, TEXT)


def fits(form: Form, schema: Schema, on_object: str) -> bool:
    """Whether any value of a property can take a form."""
    types = kinds(schema)
    held = form.kinds - {"object"} if on_object == "refuse" else form.kinds
    return not types or bool(types & held)


def converter(
    form: Form,
    schema: Schema,
    *,
    on_object: str,
    on_unknown_option: str,
    options: Options | None,
    dropped: Counter[str],
    name: str,
) -> Converter:
    """The converter of a property's values.

    Args:
        form: The form that they take.
        schema: The property's schema.
        on_object: The setting.
        on_unknown_option: The setting.
        options: What can be chosen, where the form holds choices.
        dropped: Counts the choices that are dropped, by property.
        name: The property.

    Returns:
        The converter. It raises UnfitValueError for what the form can't hold, and for choices
        what `ChoiceConverter` does.
    """
    convert = form.convert
    if form.several is not None and options is not None:
        kind = ChoicesConverter if form.several else ChoiceConverter
        convert = kind(options, on_unknown_option, dropped, name)
    if is_whole(schema):
        convert = _of_whole_numbers(convert)
    if on_object == "refuse":
        convert = _without_objects(convert)
    return convert


def _of_whole_numbers(convert: Converter) -> Converter:
    return lambda value: convert(value if type(value) is int else whole(value))


def _without_objects(convert: Converter) -> Converter:
    def checked(value: Any) -> str | None:
        if _holds_object(value):
            raise UnfitValueError("it is an object, and 'on_object' is 'refuse'")
        return convert(value)

    return checked


def _holds_object(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
    )
