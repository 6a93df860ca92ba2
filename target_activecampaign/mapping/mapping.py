"""The mapping of a stream: compiled once from its schema, then a function record -> contact.

All questions about names and types are answered when it is compiled; none is left for a record.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.choices import (
    DroppedError,
    FieldOptions,
    UnknownOptionError,
    items_of,
)
from target_activecampaign.mapping.formats import STANDARD, TEXT, converter
from target_activecampaign.mapping.phones import phone_converter
from target_activecampaign.mapping.placement import IGNORE, MappedProperty, Placement
from target_activecampaign.mapping.values import UnfitValueError, to_text, without_nul
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.contact import Contact
from target_activecampaign.model.email import person_key, valid_address
from target_activecampaign.model.names import caseless, exact, spelled
from target_activecampaign.singer.json_schema import choices
from target_activecampaign.text import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.client import Field
    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.mapping.formats import Converter

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
    """How one property gets into a contact: from `record[first]`, and `inner` inside of that.

    Attributes:
        first: The property.
        inner: Names inside of its object.
        convert: The converter.
        plain: Whether a text that is not blank goes as it is, for which it need not be asked.
        clears: Whether what holds nothing empties the destination.
        place: The attribute of a contact, or the id of the custom field.
        entry: The property and where it goes.
    """

    first: str
    inner: tuple[str, ...]
    convert: Converter
    plain: bool
    clears: bool
    place: Any
    entry: MappedProperty


class StreamMapping:
    """What becomes of a stream's records.

    Args:
        stream: The stream's name, for messages.
        placement: Where its properties go.
        settings: What holds for the stream.
        list_ids: The lists that its contacts are put on.
        options: The options of custom fields.
        member: What marks each contact besides.
        dropped: Where the choices that are dropped are counted, by property.

    Attributes:
        properties: The properties that are mapped, the e-mail address first.
        named: The names of all that are mapped or ignored, also of those that the schema lacks.
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
        options: FieldOptions,
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
        # Steps for what the schema lacks: mostly it does not come, so nobody is told of them.
        own = member.field.id if member is not None and member.field is not None else None
        undeclared = [
            one for one in placement.undeclared if one.field is None or one.field.id != own
        ]
        self._undeclared = [
            one
            for one in undeclared
            if one.destination not in ("email", IGNORE) and one not in self.properties
        ]
        self.named = {one.path[0] for one in (*self.properties, *undeclared)}
        self.warnings = [*placement.warnings, *self._unknown_choices()]
        self._email = (emails[0].path[0], emails[0].path[1:])
        self._take_member(member or Member())
        self._tags_at = [
            (entry.path[0], entry.path[1:], entry.name)
            for entry in (*self.properties, *self._undeclared)
            if entry.destination == "tags"
        ]
        placed = (*self.properties, *self._undeclared)
        steps = [self._step(entry) for entry in placed if entry.form is not None]
        standard = [step for step in steps if step.entry.field is None]
        fields = [step for step in steps if step.entry.field is not None]
        self._plain_standard = [_plain(step) for step in standard if _is_plain(step)]
        self._plain_fields = [_plain(step) for step in fields if _is_plain(step)]
        self._standard = [step for step in standard if not _is_plain(step)]
        self._fields = [step for step in fields if not _is_plain(step)]

    @property
    def address(self) -> str | None:
        """The property of the e-mail address; None where that is inside of an object."""
        first, inner = self._email
        return None if inner else first

    @property
    def supports_record_hash(self) -> bool:
        """Whether an unchanged record needs no look: not where dropped choices are counted."""
        return self._settings.on_unknown_option != "drop" or not any(
            entry.form is not None and entry.form.several is not None
            for entry in (*self.properties, *self._undeclared)
        )

    @property
    def makes(self) -> tuple[Any, ...]:
        """All but the schema that makes a contact of a record; the same text if it is the same."""
        entries = (*self.properties, *self._undeclared)
        placed = [(one.name, one.path, one.destination, one.field) for one in entries]
        return (placed, self._settings, self._list_ids, self._constants, self._tags)

    def _take_member(self, member: Member) -> None:
        self._tags = self._settings.tags
        self._constants: dict[int, str] = {}
        known = {caseless(tag) for tag in self._tags}
        if member.tag is not None and caseless(member.tag) not in known:
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
        plain = form in (TEXT, STANDARD)
        if entry.destination == "phone" and settings.default_country:
            form, plain = replace(form, convert=phone_converter(settings.default_country)), False
        convert = converter(
            form,
            entry.schema,
            on_object=settings.on_object,
            on_unknown_option=settings.on_unknown_option,
            options=self._options.of(entry.field) if entry.field else None,
            dropped=self._dropped,
            name=entry.name,
        )
        # What an empty name does to a contact's account is not documented: none is sent.
        clears = settings.null_policy == "clear" and entry.destination != "customer_account"
        place = entry.field.id if entry.field else entry.destination
        return _Step(entry.path[0], entry.path[1:], convert, plain, clears, place, entry)

    def _unknown_choices(self) -> Iterable[str]:
        """A warning for each field that lacks options which a property's schema counts up."""
        for entry in self.properties:
            held = entry.form is not None and entry.form.several is not None and entry.field
            if not held or self._settings.on_unknown_option == "add":
                continue
            options = self._options.of(held)
            lacking = [
                text
                for one in map(without_nul, choices(entry.schema))
                if (text := to_text(one)) and not options.has(one)
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

    def without_nul(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without U+0000 in its values.

        One whose address has it stays as it is, to be refused: the address may be another's.
        """
        first, inner = self._email
        address = _at(record, first, inner)
        if isinstance(address, str) and "\0" in address:
            return record
        return {name: without_nul(value) for name, value in record.items()}

    def contact(self, record: Mapping[str, Any]) -> Contact:
        """The contact that a record stands for.

        Raises:
            Refusal: The record can't be sent.
            ActiveCampaignError: An option could not be added to a field.
        """
        email = self._address(record)
        standard: dict[Any, Any] = {}
        fields: dict[Any, str] = dict(self._constants)
        _put_plain_texts(self._plain_standard, record, standard)
        _put_texts(self._standard, record, standard)
        tags = self._tags_of(record) if self._tags_at else self._tags
        _put_plain_texts(self._plain_fields, record, fields)
        _put_texts(self._fields, record, fields)
        key = email.lower() if email.isascii() else person_key(email)
        return Contact(key, email, fields=fields, tags=tags, lists=self._list_ids, **standard)

    def _address(self, record: Mapping[str, Any]) -> str:
        first, inner = self._email
        value = _at(record, first, inner) if inner else record.get(first)
        return valid_address(None if value is _MISSING else value)

    def _tags_of(self, record: Mapping[str, Any]) -> tuple[str, ...]:
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
            try:
                texts = [exact(to_text(part) or "") for part in parts]
            except UnfitValueError as error:
                reason = f"Property '{name}' has a tag that is no text: {error}."
                raise Refusal("VALUE_INVALID", reason) from None
            tags.update(dict.fromkeys(filter(None, texts)))
        return tuple(tags)


def _at(record: Mapping[str, Any], first: str, inner: tuple[str, ...]) -> Any:
    """What stands at a place in a record: null where an object on the way is, else `_MISSING`."""
    value = record.get(first, _MISSING)
    for name in inner:
        if not isinstance(value, dict):
            return None if value is None else _MISSING
        found = value.get(name, _MISSING)
        if found is _MISSING and not name.isascii():  # a schema may leave open what is inside
            found = value.get(spelled(name, value), _MISSING)
        value = found
    return value


_PlainStep = tuple[str, Any, list[_Step]]
"""A property, its place, and the step itself, for a value that is no text."""


def _is_plain(step: _Step) -> bool:
    """Whether most of its values are texts that go as they are, and the others matter little."""
    return step.plain and not step.inner and not step.clears


def _plain(step: _Step) -> _PlainStep:
    return step.first, step.place, [step]


def _put_plain_texts(
    steps: list[_PlainStep], record: Mapping[str, Any], texts: dict[Any, str]
) -> None:
    """Do as `_put_texts` does, for the properties of which most are: texts that go as they are."""
    for first, place, step in steps:
        value = record.get(first)
        if type(value) is str:
            if value and not value.isspace():
                texts[place] = value
        elif value is not None:
            _put_texts(step, record, texts)


def _put_texts(steps: list[_Step], record: Mapping[str, Any], texts: dict[Any, str]) -> None:
    """Put what destinations are to hold, by attribute or field id; not those that stay as they are.

    It is run for every property of every record that is looked into, hence in one piece.
    """
    for first, inner, convert, plain, clears, place, entry in steps:
        value = _at(record, first, inner) if inner else record.get(first, _MISSING)
        if value is _MISSING:
            continue
        if plain and type(value) is str:
            text = value if value and not value.isspace() else None
        elif value is None:
            text = None
        else:
            try:
                text = convert(value)
            except DroppedError:
                continue
            except (UnknownOptionError, UnfitValueError) as error:
                raise _refused(entry, error) from None
        if text is not None:
            texts[place] = text
        elif clears:
            texts[place] = ""


def _refused(entry: MappedProperty, error: Exception) -> Refusal:
    if isinstance(error, UnknownOptionError):
        return Refusal(
            "FIELD_OPTION_UNKNOWN",
            f"Property '{entry.name}' has what is none of the options of {entry.target}: {error}.",
        )
    kind = f" of type {entry.field.type}" if entry.field else ""
    return Refusal(
        "VALUE_INVALID", f"Property '{entry.name}' does not fit {entry.target}{kind}: {error}."
    )
