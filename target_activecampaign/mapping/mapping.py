"""The mapping of a stream: compiled once from its schema, it converts each record to a contact.

Names and types are resolved when it is compiled, so that records convert fast.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.choices import ChoiceConverter, MultipleChoiceConverter
from target_activecampaign.mapping.consent import ConsentReader
from target_activecampaign.mapping.formats import (
    STANDARD,
    TEXT,
    make_converter,
    make_phone_converter,
)
from target_activecampaign.mapping.placement import IGNORE, MappedProperty, Placement
from target_activecampaign.mapping.steps import MISSING, Step, Steps, TagCollector, value_at
from target_activecampaign.mapping.values import remove_nul, to_text
from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.contact import Contact
from target_activecampaign.model.email import contact_key, valid_address
from target_activecampaign.model.names import caseless
from target_activecampaign.singer.json_schema import choices
from target_activecampaign.text import quoted_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.config.settings import StreamSettings
    from target_activecampaign.mapping.choices import OptionCatalog
    from target_activecampaign.mapping.formats import Converter
    from target_activecampaign.mapping.stream import MembershipMarker


class StreamMapping:
    """Converts the records of one stream to contacts.

    Args:
        stream: The stream's name, for messages.
        placement: The destinations of its properties.
        settings: The settings of the stream.
        list_ids: The lists that its contacts are subscribed to.
        options: The options of the account's fields.
        marker: The field or tag that marks its members, if one does.
        dropped: Counts dropped choices, by property.

    Attributes:
        properties: The properties that are mapped, the e-mail address first.
        known_names: The names of all properties that the mapping reads, including those that the
            schema lacks.
        consent: Reads whether a record's person may be subscribed.
        ignored: The properties that are not mapped.
        warnings: Warnings for the operator, one sentence each.

    Raises:
        MappingError: A property is mapped to the membership field.
        SettingError: `default_country` is invalid.
    """

    def __init__(
        self,
        stream: str,
        placement: Placement,
        settings: StreamSettings,
        list_ids: tuple[int, ...],
        *,
        options: OptionCatalog,
        marker: MembershipMarker | None = None,
        dropped: Counter[str] | None = None,
    ) -> None:
        self._stream = stream
        self._settings = settings
        self._options = options
        self._list_ids = list_ids
        self._dropped: Counter[str] = Counter() if dropped is None else dropped
        emails = [entry for entry in placement.mapped if entry.destination == "email"]
        self._email = (emails[0].path[0], emails[0].path[1:])
        self.properties = emails + [one for one in placement.mapped if one not in emails]
        self.ignored = [*placement.ignored, *placement.unmapped]
        self.consent = ConsentReader(placement.consent, settings.consent_unknown)
        self._constants = self._marker_values(marker)
        undeclared = [
            one
            for one in placement.undeclared
            if one.field is None or one.field.id not in self._constants
        ]
        readable = (*self.properties, *undeclared, *placement.consent.mapped)
        self.known_names = {one.path[0] for one in readable}
        # Properties that the schema lacks are converted too, but not reported: they are rare.
        self._entries = [
            *self.properties,
            *(
                one
                for one in undeclared
                if one.destination not in ("email", IGNORE) and one not in self.properties
            ),
        ]
        self.warnings = [*placement.warnings, *self._missing_option_warnings()]
        self._tags = _tags_of(settings, marker)
        self._tag_collector = TagCollector(
            self._tags, [entry for entry in self._entries if entry.destination == "tags"]
        )
        steps = [self._make_step(entry) for entry in self._entries if entry.form is not None]
        self._standard = Steps(step for step in steps if step.entry.field is None)
        self._fields = Steps(step for step in steps if step.entry.field is not None)

    @property
    def email_property(self) -> str | None:
        """The property of the e-mail address; None if it is nested in an object."""
        first, inner = self._email
        return None if inner else first

    @property
    def supports_record_hash(self) -> bool:
        """True if records may be skipped by their hash: not if dropped choices must be counted."""
        return self._settings.on_unknown_option != "drop" or not any(
            entry.options_field for entry in self._entries
        )

    @property
    def fingerprint(self) -> tuple[Any, ...]:
        """Everything except the schema that affects the conversion of a record.

        Two runs whose fingerprints have the same `repr` convert a record to the same contact.
        """
        entries = [(one.name, one.path, one.destination, one.field) for one in self._entries]
        consent = self.consent.names
        return (entries, self._settings, self._list_ids, self._constants, self._tags, consent)

    def contact_key(self, record: Mapping[str, Any]) -> str | None:
        """Return the key of a record's contact; None if it has no valid address."""
        return self.address_of(record).key or None

    def address_of(self, record: Mapping[str, Any]) -> Contact:
        """Return a contact with a record's address alone; empty if it has no valid one."""
        try:
            return self.valid_address_of(record)
        except Refusal:
            return Contact("", "")

    def valid_address_of(self, record: Mapping[str, Any]) -> Contact:
        """Return a contact with a record's address alone.

        Raises:
            Refusal: It has no valid one.
        """
        address = self._address_of(record)
        return Contact(contact_key(address), address)

    def remove_nul(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record without U+0000 in its values.

        If the address has one, the record is returned unchanged, and then rejected: without the
        character, the address might be another contact's.
        """
        first, inner = self._email
        address = value_at(record, first, inner)
        if isinstance(address, str) and "\0" in address:
            return record
        return {name: remove_nul(value) for name, value in record.items()}

    def to_contact(self, record: Mapping[str, Any]) -> Contact:
        """Return the contact for a record.

        Raises:
            Refusal: The record can't be sent.
            ActiveCampaignError: An option could not be added to a field.
        """
        email = self._address_of(record)
        standard: dict[Any, Any] = {}
        fields: dict[Any, str] = dict(self._constants)
        self._standard.run(record, standard)
        tags = self._tag_collector.collect(record)
        self._fields.run(record, fields)
        key = email.lower() if email.isascii() else contact_key(email)
        return Contact(key, email, fields=fields, tags=tags, lists=self._list_ids, **standard)

    def _address_of(self, record: Mapping[str, Any]) -> str:
        first, inner = self._email
        value = value_at(record, first, inner) if inner else record.get(first)
        return valid_address(None if value is MISSING else value)

    def _marker_values(self, marker: MembershipMarker | None) -> dict[int, str]:
        """Return the values that mark every contact as a member, by field id."""
        if marker is None or marker.field is None:
            return {}
        for entry in self.properties:
            if entry.field is not None and entry.field.id == marker.field.id:
                raise MappingError(
                    f"Stream '{self._stream}': '{entry.name}' is mapped to {entry.target}, which "
                    "is the 'membership_field'. Map it elsewhere, or name another field."
                )
        return {marker.field.id: marker.value}

    def _missing_option_warnings(self) -> Iterable[str]:
        """Yield a warning for each field that lacks options of its property's schema."""
        if self._settings.on_unknown_option == "add":
            return
        for entry in self.properties:
            if entry.options_field is None:
                continue
            options = self._options.options_of(entry.options_field)
            lacking = [
                text
                for one in map(remove_nul, choices(entry.schema))
                if (text := to_text(one)) and not options.has(one)
            ]
            if lacking:
                yield (
                    f"Stream '{self._stream}': property '{entry.name}' may have values that are "
                    f"not options of {entry.target}: {quoted_list(lacking)}. See "
                    "'on_unknown_option'."
                )

    def _make_step(self, entry: MappedProperty) -> Step:
        settings, form = self._settings, entry.form or STANDARD
        is_plain = form in (TEXT, STANDARD)
        convert = form.convert
        if entry.options_field is not None:
            convert = self._make_choice_converter(entry)
        elif entry.destination == "phone" and settings.default_country:
            convert, is_plain = make_phone_converter(settings.default_country), False
        return Step(
            first=entry.path[0],
            inner=entry.path[1:],
            convert=make_converter(convert, entry.schema, on_object=settings.on_object),
            is_plain=is_plain,
            # Never clear it: the effect of an empty account name is not documented.
            clears=settings.null_policy == "clear" and entry.destination != "customer_account",
            place=entry.field.id if entry.field else entry.destination,
            entry=entry,
        )

    def _make_choice_converter(self, entry: MappedProperty) -> Converter:
        assert entry.options_field is not None  # noqa: S101 - checked by the only caller
        is_multiple = entry.form is not None and entry.form.holds_several
        kind = MultipleChoiceConverter if is_multiple else ChoiceConverter
        options = self._options.options_of(entry.options_field)
        return kind(options, self._settings.on_unknown_option, entry.name, self._dropped)


def _tags_of(settings: StreamSettings, marker: MembershipMarker | None) -> tuple[str, ...]:
    """Return the tags of every contact: those of the settings, and the marker's."""
    if marker is None or marker.tag is None:
        return settings.tags
    known = {caseless(tag) for tag in settings.tags}
    return settings.tags if caseless(marker.tag) in known else (*settings.tags, marker.tag)
