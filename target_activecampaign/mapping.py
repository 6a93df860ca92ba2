"""The mapping of a stream: compiled once from its schema, then a function record -> contact.

All questions about names and types are answered when it is compiled; none is left for a record.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.addresses import person_key, valid_address
from target_activecampaign.choices import DroppedError, Options, UnknownOptionError, items_of
from target_activecampaign.codes import Refusal
from target_activecampaign.contact import Contact
from target_activecampaign.destinations import MappedProperty, Placement, listed
from target_activecampaign.field_catalog import MappingError
from target_activecampaign.forms import STANDARD, converter
from target_activecampaign.phones import phone_converter
from target_activecampaign.property_schema import choices
from target_activecampaign.values import UnfitValueError, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from target_activecampaign.activecampaign import Field
    from target_activecampaign.forms import Converter
    from target_activecampaign.settings import StreamSettings

_TAG_SEPARATORS = re.compile(r"[,;|]")
_MISSING = object()


@dataclass(frozen=True)
class Member:
    """What marks a segment's members besides the list.

    Attributes:
        field: A custom field that holds `value`.
        value: What it holds.
        tag: A tag that they have.
    """

    field: Field | None = None
    value: str = ""
    tag: str | None = None


class _Step(NamedTuple):
    """How one property gets into a contact: from `record[first]`, and `inner` inside of that."""

    first: str
    inner: tuple[str, ...]
    convert: Converter
    entry: MappedProperty
    clears: bool


class StreamMapping:
    """What becomes of a stream's records.

    Args:
        stream: The stream's name, for messages.
        placement: Where its properties go.
        settings: What holds for the stream.
        list_ids: The lists that its contacts are put on.
        options: What can be chosen in a custom field.
        member: What marks each contact besides.
        dropped: Where the choices that are dropped are counted, by property.

    Attributes:
        properties: The properties that are mapped, the e-mail address first.
        ignored: The properties that go nowhere.
        warnings: What the operator should know, one sentence each.

    Raises:
        MappingError: A property goes where the target itself writes.
        SettingError: The `default_country` can't be used.
    """

    def __init__(
        self,
        stream: str,
        placement: Placement,
        settings: StreamSettings,
        list_ids: tuple[int, ...],
        *,
        options: Callable[[Field], Options],
        member: Member | None = None,
        dropped: Counter[str] | None = None,
    ) -> None:
        emails = [entry for entry in placement.mapped if entry.destination == "email"]
        self._stream = stream
        self._settings = settings
        self._options = options
        self._list_ids = list_ids
        self._dropped: Counter[str] = Counter() if dropped is None else dropped
        self.properties = emails + [one for one in placement.mapped if one not in emails]
        self.ignored = [*placement.ignored, *placement.unmapped]
        self.warnings = [*placement.warnings, *self._unknown_choices()]
        self._email = (emails[0].path[0], emails[0].path[1:])
        self._take_member(member or Member())
        self._tags_at = [
            (entry.path[0], entry.path[1:], entry.name)
            for entry in self.properties
            if entry.destination == "tags"
        ]
        steps = [self._step(entry) for entry in self.properties if entry.form is not None]
        self._standard = [step for step in steps if step.entry.field is None]
        self._fields = [(step, step.entry.field.id) for step in steps if step.entry.field]

    @property
    def shortcut(self) -> str | None:
        """The property of the e-mail address, if an unchanged record is an unchanged contact.

        None where each record has to be looked into: its address is inside of an object, or
        choices are counted that are dropped.
        """
        first, inner = self._email
        drops = self._settings.on_unknown_option == "drop" and any(
            entry.form is not None and entry.form.several is not None for entry in self.properties
        )
        return None if inner or drops else first

    @property
    def makes(self) -> tuple[Any, ...]:
        """All but the schema that makes a contact of a record; the same text if it is the same."""
        placed = [(one.name, one.path, one.destination, one.field) for one in self.properties]
        return (placed, self._settings, self._list_ids, self._constants, self._tags)

    def _take_member(self, member: Member) -> None:
        self._tags = self._settings.tags
        self._constants: dict[int, str] = {}
        if member.tag is not None and member.tag not in self._tags:
            self._tags = (*self._tags, member.tag)
        if member.field is None:
            return
        self._constants = {member.field.id: member.value}
        for entry in self.properties:
            if entry.field is not None and entry.field.id == member.field.id:
                raise MappingError(
                    f"Stream '{self._stream}': '{entry.name}' is mapped to {entry.target}, which "
                    "is the 'membership_field': map it elsewhere, or name another field."
                )

    def _step(self, entry: MappedProperty) -> _Step:
        settings, form = self._settings, entry.form or STANDARD
        if entry.destination == "phone" and settings.default_country:
            form = replace(form, convert=phone_converter(settings.default_country))
        convert = converter(
            form,
            entry.schema,
            on_object=settings.on_object,
            on_unknown_option=settings.on_unknown_option,
            options=self._options(entry.field) if entry.field else None,
            on_drop=partial(self._drop, entry.name),
        )
        # What an empty name does to a contact's account is not documented: none is sent.
        clears = settings.null_policy == "clear" and entry.destination != "customer_account"
        return _Step(entry.path[0], entry.path[1:], convert, entry, clears)

    def _drop(self, name: str) -> None:
        self._dropped[name] += 1

    def _unknown_choices(self) -> Iterable[str]:
        """A warning for each field that lacks options which a property's schema counts up."""
        for entry in self.properties:
            held = entry.form is not None and entry.form.several is not None and entry.field
            if not held or self._settings.on_unknown_option == "add":
                continue
            options = self._options(held)
            lacking = [
                text
                for one in choices(entry.schema)
                if (text := to_text(one)) and options.find(one) is None
            ]
            if lacking:
                yield (
                    f"Stream '{self._stream}': property '{entry.name}' may hold what is none of "
                    f"the options of {entry.target}: {listed(lacking)}. See 'on_unknown_option'."
                )

    def person(self, record: Mapping[str, Any]) -> str | None:
        """Whom a record stands for, whether or not it can be sent; None when it doesn't say."""
        try:
            return person_key(self._address(record))
        except Refusal:
            return None

    def contact(self, record: Mapping[str, Any]) -> Contact:
        """The contact that a record stands for.

        Raises:
            Refusal: The record can't be sent.
            ActiveCampaignError: An option could not be added to a field.
        """
        email = self._address(record)
        contact = Contact(
            key=person_key(email), email=email, fields=dict(self._constants), lists=self._list_ids
        )
        for step in self._standard:
            if (text := _text(step, record)) is not None:
                setattr(contact, step.entry.destination, text)
        contact.tags = self._tags_of(record)
        for step, number in self._fields:
            if (text := _text(step, record)) is not None:
                contact.fields[number] = text
        return contact

    def _address(self, record: Mapping[str, Any]) -> str:
        value = _at(record, *self._email)
        return valid_address(None if value is _MISSING else value)

    def _tags_of(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        if not self._tags_at:
            return self._tags
        tags = dict.fromkeys(self._tags)
        for first, inner, name in self._tags_at:
            value = _at(record, first, inner)
            if value is None or value is _MISSING:
                continue
            parts = items_of(value)
            if isinstance(value, str) and parts == [value]:
                parts = _TAG_SEPARATORS.split(value)
            if any(isinstance(part, (dict, list)) for part in parts):
                raise Refusal("VALUE_INVALID", f"Property '{name}' has a tag that is no text.")
            tags.update(
                dict.fromkeys(tag for part in parts if (tag := (to_text(part) or "").strip()))
            )
        return tuple(tags)


def _at(record: Mapping[str, Any], first: str, inner: tuple[str, ...]) -> Any:
    """What stands at a place in a record: null where an object on the way is, else `_MISSING`."""
    value = record.get(first, _MISSING)
    for name in inner:
        if not isinstance(value, dict):
            return None if value is None else _MISSING
        value = value.get(name, _MISSING)
    return value


def _text(step: _Step, record: Mapping[str, Any]) -> str | None:
    """What a property's destination is to hold; None for what it has."""
    value = _at(record, step.first, step.inner)
    if value is _MISSING:
        return None
    try:
        text = None if value is None else _converted(step, value)
    except DroppedError:
        return None
    return "" if text is None and step.clears else text


def _converted(step: _Step, value: Any) -> str | None:
    name, target = step.entry.name, step.entry.target
    try:
        return step.convert(value)
    except UnknownOptionError as error:
        raise Refusal(
            "FIELD_OPTION_UNKNOWN",
            f"Property '{name}' has what is none of the options of {target}: {error}.",
        ) from None
    except UnfitValueError as error:
        kind = f" of type {step.entry.field.type}" if step.entry.field else ""
        raise Refusal(
            "VALUE_INVALID", f"Property '{name}' does not fit {target}{kind}: {error}."
        ) from None
