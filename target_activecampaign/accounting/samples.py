"""What the report shows of records: what arrives of each property, and some who were refused.

It is masked unless the operator wants it in full: a report goes to people who need not know whom it
is about. Nothing else in the report is made of records, and all of this stays out of the webhook.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from target_activecampaign.mapping.choices import DELIMITER
from target_activecampaign.mapping.formats import FORMS, TEXT

if TYPE_CHECKING:
    from target_activecampaign.mapping.mapping import StreamMapping
    from target_activecampaign.mapping.placement import MappedProperty
    from target_activecampaign.model.contact import Contact


_EXAMPLES = 3
"""Refused records that are shown of each code."""
_LONGEST = 80
"""Characters of a value that are shown."""
_ELSEWHERE = "What ActiveCampaign said of it stands in the reject file."

_FOREIGN = "REFUSED_BY_IMPORT"
"""The code whose reason is what ActiveCampaign says."""
_NO_VALUE = re.compile(r"Field '\w+' (?:incorrect format|not found)")
"""What ActiveCampaign is known to say; anything else may quote a value."""


class Samples:
    """Takes what is to be shown, as far as it may be.

    Args:
        personal: Whether personal data may be shown.

    Attributes:
        mapping: By stream and property: what arrived of its first record.
        rejects: By code: up to three refused records that differ, each with its stream, the
            person's address (None where there is none that can be used) and the reason.
    """

    def __init__(self, *, personal: bool) -> None:
        self._personal = personal
        self.mapping: dict[str, dict[str, str]] = {}
        self.rejects: dict[str, list[dict[str, str | None]]] = {}

    def arrived(self, stream: str, mapping: StreamMapping, contact: Contact) -> None:
        """Take what becomes of a stream's first record."""
        shown = self.mapping.setdefault(stream, {})
        for entry in mapping.properties:
            value = _value(entry, contact)
            if value:
                shown[entry.name] = _shortened(
                    value if self._personal else masked(value, entry.type)
                )

    def refused(self, stream: str, person: str | None, code: str, reason: str) -> None:
        """Take a refused record, if there are not enough of its code, nor one that looks the same.

        Args:
            stream: The stream's name after stream maps.
            person: The person's address, if the record has one that can be used.
            code: A code out of `CODES`.
            reason: The reason as the reject file has it.
        """
        examples = self.rejects.setdefault(code, [])
        if len(examples) == _EXAMPLES:
            return
        if not self._personal:
            person = person and mask_address(person)
            if code == _FOREIGN and not _NO_VALUE.fullmatch(reason):
                reason = _ELSEWHERE
        example = {"stream": stream, "person": person, "reason": reason}
        if example not in examples:
            examples.append(example)

    def as_dict(self) -> dict[str, Any]:
        """What the report's JSON has as `samples`."""
        return {"mapping": self.mapping, "rejects": self.rejects}


def _value(entry: MappedProperty, contact: Contact) -> str:
    """What arrives of a property, as people read it; empty if nothing does."""
    if entry.field is not None:
        text = contact.fields.get(entry.field.id, "")
        if entry.form is not None and entry.form.holds_several:
            return ", ".join(text.strip("|").split(DELIMITER))
        return text
    if entry.destination == "tags":
        return ", ".join(contact.tags)
    return getattr(contact, entry.destination) or ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_DOTS = "•••"
"""Always as many, so that nobody learns a length."""

_PLAIN = {kind for form in FORMS if form is not TEXT for kind in form.types}
"""Types of custom fields whose values are no texts that people write."""


def mask_text(text: str) -> str:
    """A text's first character and dots: `Miller` gives `M•••`; nothing of an empty one."""
    return f"{text[0]}{_DOTS}" if text else ""


def mask_address(address: str) -> str:
    """An e-mail address masked: `ann@example.com` gives `a•••@e•••.com`.

    The end of the domain stays; what is no address is masked as a text.
    """
    name, at, domain = address.rpartition("@")
    host, dot, end = domain.rpartition(".")
    if not (name and at):
        return mask_text(address)
    return f"{mask_text(name)}@{mask_text(host)}.{end}" if dot else f"{mask_text(name)}@{_DOTS}"


def masked(value: str, kind: str) -> str:
    """A value of a contact as it may be shown: masked if it is personal.

    Args:
        value: The value.
        kind: `email`, another standard field such as `phone`, or a custom field's type.
    """
    if kind == "email":
        return mask_address(value)
    return value if kind in _PLAIN else mask_text(value)
