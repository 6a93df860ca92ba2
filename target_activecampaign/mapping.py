"""The mapping of a stream: compiled once from its schema, then a function record -> contact.

All questions about names are answered when it is compiled; none is left for a record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_activecampaign.addresses import person_key, valid_address
from target_activecampaign.codes import Refusal
from target_activecampaign.config import did_you_mean
from target_activecampaign.contact import Contact
from target_activecampaign.phones import phone_converter
from target_activecampaign.values import CONVERTERS, UnfitValueError, to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from target_activecampaign.activecampaign import Field
    from target_activecampaign.settings import StreamSettings

STANDARD_NAMES: dict[str, tuple[str, ...]] = {
    "email": (
        "email",
        "emailaddress",
        "emailaddress1",
        "mail",
        "primaryemail",
        "contactemail",
        "useremail",
    ),
    "first_name": ("firstname", "givenname", "forename", "fname"),
    "last_name": ("lastname", "familyname", "surname", "lname"),
    "phone": (
        "phone",
        "phonenumber",
        "mobilephone",
        "mobile",
        "telephone",
        "telephone1",
        "mobilenumber",
        "primaryphone",
    ),
}
"""Names that map by themselves, in their normalised form; of two in one stream the first wins."""

DESTINATIONS = ("email", "first_name", "last_name", "phone", "customer_account", "tags")
"""What a property can be mapped to besides a custom field."""

IGNORED_PREFIXES = ("_sdc_", "_reject_")
"""Properties that are about a record, not of the person: never mapped by name."""

_TAG_SEPARATORS = re.compile(r"[,;|]")


class MappingError(ValueError):
    """A mapping that can't be: the text says which stream, which property, and what to do."""


@dataclass(frozen=True)
class MappedProperty:
    """One property and where it goes.

    Attributes:
        name: The property in the record.
        destination: One of `DESTINATIONS`, or `field`.
        field: The custom field; None for the other destinations.
    """

    name: str
    destination: str
    field: Field | None = None

    def __str__(self) -> str:
        target = self.destination if self.field is None else f"%{self.field.tag}%"
        return f"{self.name} -> {target}"


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


def normalised(name: str) -> str:
    """A name without case, spaces and punctuation: `E-Mail Address 1` is `emailaddress1`."""
    return re.sub(r"[\W_]+", "", name.casefold())


class StreamMapping:
    """What becomes of a stream's records.

    Attributes:
        properties: The properties that are mapped, the e-mail address first.
        ignored: The properties that go nowhere.
        warnings: What the operator should know, one sentence each.
    """

    def __init__(
        self,
        stream: str,
        names: Sequence[str],
        settings: StreamSettings,
        fields: Sequence[Field],
        list_ids: tuple[int, ...],
        *,
        member: Member | None = None,
    ) -> None:
        """Compile the mapping.

        Args:
            stream: The stream's name, for messages.
            names: The properties of its schema.
            settings: What holds for the stream.
            fields: The account's custom fields.
            list_ids: The lists that its contacts are put on.
            member: What marks each of them besides.

        Raises:
            MappingError: No property for the e-mail address, or a destination that is not
                there, not clear, or taken twice.
            SettingError: The `default_country` can't be used.
        """
        catalog = FieldCatalog(fields)
        usable = [name for name in names if not name.startswith(IGNORED_PREFIXES)]
        explicit, self.warnings = _explicit(stream, usable, settings, catalog)
        mapped = {entry.name: entry for entry in explicit}
        if settings.auto_map:
            taken = {(entry.destination, entry.field) for entry in explicit}
            for entry in _automatic(stream, usable, catalog):
                key = (entry.destination, entry.field)
                if entry.name not in mapped and (key not in taken or entry.destination == "tags"):
                    mapped[entry.name] = entry
                    taken.add(key)
        emails = [entry for entry in mapped.values() if entry.destination == "email"]
        if not emails:
            raise MappingError(
                f"Stream '{stream}' has no property for the e-mail address, without which there "
                'is no contact: name it in \'field_mapping\', such as {"property": "email"}. '
                f"The stream has {_listed(names)}."
            )
        self.properties = emails + [
            mapped[name] for name in usable if name in mapped and mapped[name] is not emails[0]
        ]
        self.ignored = [name for name in usable if name not in mapped]
        self._email = emails[0].name
        self._tags = settings.tags
        self._constants: dict[int, str] = {}
        if member is not None and member.tag is not None and member.tag not in self._tags:
            self._tags = (*self._tags, member.tag)
        if member is not None and member.field is not None:
            self._constants = {member.field.id: member.value}
            self._refuse_member_field(stream, member.field)
        self._list_ids = list_ids
        to_phone = (
            phone_converter(settings.default_country) if settings.default_country else to_text
        )
        self._standard = [
            (entry.name, entry.destination, to_phone if entry.destination == "phone" else to_text)
            for entry in self.properties
            if entry.field is None and entry.destination not in {"email", "tags"}
        ]
        self._tag_names = [e.name for e in self.properties if e.destination == "tags"]
        self._fields = [
            (entry.name, entry.field, CONVERTERS.get(entry.field.type, to_text))
            for entry in self.properties
            if entry.field is not None
        ]

    def _refuse_member_field(self, stream: str, field: Field) -> None:
        for entry in self.properties:
            if entry.field is not None and entry.field.id == field.id:
                raise MappingError(
                    f"Stream '{stream}': '{entry.name}' is mapped to %{field.tag}%, which is the "
                    "'membership_field': map it elsewhere, or name another field."
                )

    def person(self, record: Mapping[str, Any]) -> str | None:
        """Whom a record stands for, whether or not it can be sent; None when it doesn't say."""
        try:
            return person_key(valid_address(record.get(self._email)))
        except Refusal:
            return None

    def contact(self, record: Mapping[str, Any]) -> Contact:
        """The contact that a record stands for.

        Raises:
            Refusal: The record can't be sent.
        """
        email = valid_address(record.get(self._email))
        contact = Contact(
            key=person_key(email), email=email, fields=dict(self._constants), lists=self._list_ids
        )
        for name, destination, convert in self._standard:
            if (text := convert(record.get(name))) is not None:
                setattr(contact, destination, text)
        contact.tags = self._tags_of(record)
        for name, field, convert in self._fields:
            value = record.get(name)
            if value is not None and (text := _converted(convert, value, name, field)) is not None:
                contact.fields[field.id] = text
        return contact

    def _tags_of(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        if not self._tag_names:
            return self._tags
        tags = dict.fromkeys(self._tags)
        for name in self._tag_names:
            value = record.get(name)
            parts = (
                value if isinstance(value, list) else _TAG_SEPARATORS.split(to_text(value) or "")
            )
            tags.update(
                dict.fromkeys(tag for part in parts if (tag := (to_text(part) or "").strip()))
            )
        return tuple(tags)


def _converted(
    convert: Callable[[Any], str | None], value: Any, name: str, field: Field
) -> str | None:
    try:
        return convert(value)
    except UnfitValueError as error:
        raise Refusal(
            "VALUE_INVALID",
            f"Property '{name}' does not fit field %{field.tag}% of type {field.type}: {error}.",
        ) from None


class FieldCatalog:
    """The account's custom fields, found by the ways in which people name them."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields = fields

    def named(self, destination: str) -> Field | None:
        """The field that a setting names: `id:7`, `%TIER%`, `TIER` or a title.

        Raises:
            MappingError: Two fields match equally.
        """
        text = destination.strip()
        if match := re.fullmatch(r"id:\s*(\d+)", text, re.IGNORECASE):
            return self._only(text, [f for f in self._fields if f.id == int(match[1])])
        if match := re.fullmatch(r"%(.+)%", text):
            return self._only(text, [f for f in self._fields if f.tag == match[1].upper()])
        return (
            self._only(text, [f for f in self._fields if f.tag == text])
            or self._only(text, [f for f in self._fields if f.title == text])
            or self.like(text)
        )

    def like(self, name: str) -> Field | None:
        """The field whose tag, or else whose title, is a name but for case and spaces.

        Raises:
            MappingError: Two fields match equally.
        """
        wanted = normalised(name)
        if not wanted:
            return None
        return self._only(
            name, [f for f in self._fields if normalised(f.tag) == wanted]
        ) or self._only(name, [f for f in self._fields if normalised(f.title) == wanted])

    def nearest(self, destination: str) -> str:
        """` Did you mean ...?` for a destination that is not there, or nothing."""
        names = [*DESTINATIONS, *(f.tag for f in self._fields), *(f.title for f in self._fields)]
        return did_you_mean(destination.strip("%"), names)

    def __str__(self) -> str:
        return ", ".join(f"%{f.tag}% ({f.title})" for f in self._fields) or "none"

    @staticmethod
    def _only(name: str, found: list[Field]) -> Field | None:
        if len(found) > 1:
            both = " and ".join(f"'{f.title}' (id:{f.id})" for f in found)
            raise MappingError(
                f"'{name}' could be any of the custom fields {both}: name the one by its id."
            )
        return found[0] if found else None


def _explicit(
    stream: str, names: Sequence[str], settings: StreamSettings, catalog: FieldCatalog
) -> tuple[list[MappedProperty], list[str]]:
    """The properties that the settings map, and a warning of those that the stream lacks."""
    entries: list[MappedProperty] = []
    lacking: list[str] = []
    for name, destination in {**settings.field_mapping, **settings.own_field_mapping}.items():
        if name in names:
            entries.append(_resolved(stream, name, destination, catalog))
            continue
        if name in settings.own_field_mapping:
            raise MappingError(
                f"Stream '{stream}' has no property '{name}', which its 'field_mapping' maps to "
                f"'{destination}'.{did_you_mean(name, names)} The stream has {_listed(names)}."
            )
        lacking.append(f"'{name}'{did_you_mean(name, names)}")
    if lacking and not entries and not settings.auto_map:
        raise MappingError(
            f"'field_mapping' maps none of the properties of stream '{stream}': "
            f"it has {_listed(names)}."
        )
    _refuse_twice(stream, entries)
    if not lacking:
        return entries, []
    return entries, [
        f"Stream '{stream}' lacks properties that 'field_mapping' maps: {', '.join(lacking)}"
    ]


def _resolved(stream: str, name: str, destination: str, catalog: FieldCatalog) -> MappedProperty:
    standard = destination.strip().lower()
    if standard in DESTINATIONS:
        return MappedProperty(name, standard)
    try:
        field = catalog.named(destination)
    except MappingError as error:
        raise MappingError(f"Stream '{stream}', property '{name}': {error}") from None
    if field is None:
        raise MappingError(
            f"Stream '{stream}': property '{name}' is mapped to '{destination}', which is neither "
            f"one of {', '.join(DESTINATIONS)} nor a custom field of the account."
            f"{catalog.nearest(destination)} The custom fields are: {catalog}."
        )
    return MappedProperty(name, "field", field)


def _refuse_twice(stream: str, entries: Iterable[MappedProperty]) -> None:
    seen: dict[tuple[str, Field | None], str] = {}
    for entry in entries:
        key = (entry.destination, entry.field)
        if entry.destination != "tags" and key in seen:
            raise MappingError(
                f"Stream '{stream}': both '{seen[key]}' and '{entry.name}' are mapped to "
                f"{str(entry).split(' -> ')[1]}; only one can be."
            )
        seen[key] = entry.name


def _automatic(
    stream: str, names: Sequence[str], catalog: FieldCatalog
) -> Iterable[MappedProperty]:
    """The properties that map by their names, the best name of each destination first."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(normalised(name), name)
    standard: dict[str, str] = {}
    for destination, aliases in STANDARD_NAMES.items():
        for alias in aliases:
            if alias in by_name:
                standard[by_name[alias]] = destination
                yield MappedProperty(by_name[alias], destination)
    for name in names:
        if name in standard:
            continue
        try:
            field = catalog.like(name)
        except MappingError as error:
            raise MappingError(f"Stream '{stream}', property '{name}': {error}") from None
        if field is not None:
            yield MappedProperty(name, "field", field)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) if names else "no properties"
