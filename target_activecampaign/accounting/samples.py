"""Samples of records in the report: a value of each property, and some refused records.

They are masked unless `report_personal_data` is set, as readers of a report need not know the
persons in it. Nothing else in the report has values of records. The webhook has none.
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
"""Limit of refused records that are shown per code."""
_LONGEST = 80
"""Limit of characters that are shown of a value."""
_ELSEWHERE = "ActiveCampaign's reason is in the reject file."

_RENAMED = 10
"""Renamed contacts that the report shows."""

_FOREIGN = "REFUSED_BY_IMPORT"
"""The code whose reason is a text from ActiveCampaign."""
_NO_VALUE = re.compile(r"Field '\w+' (?:incorrect format|not found)")
"""The texts of ActiveCampaign that are known to quote no value [doc]."""


class Samples:
    """Collects the samples of a run, and masks them if necessary.

    Args:
        personal: Whether personal data may be shown.

    Attributes:
        mapping: The value in the contact of the stream's first record, by stream and property.
        rejects: Up to three different refused records, by code: each with its stream, the
            contact's address (None without a valid one) and the reason.
        renamed: Up to ten contacts that got another address, with both.
    """

    def __init__(self, *, personal: bool) -> None:
        self._personal = personal
        self.mapping: dict[str, dict[str, str]] = {}
        self.rejects: dict[str, list[dict[str, str | None]]] = {}
        self.renamed: list[dict[str, str]] = []

    def arrived(self, stream: str, mapping: StreamMapping, contact: Contact) -> None:
        """Add the contact of a stream's first record."""
        shown = self.mapping.setdefault(stream, {})
        for entry in mapping.properties:
            value = _value(entry, contact)
            if value:
                shown[entry.name] = _shortened(
                    value if self._personal else masked(value, entry.type)
                )

    def refused(self, stream: str, contact_key: str | None, code: str, reason: str) -> None:
        """Add a refused record, unless its code has enough of them, or one that looks the same.

        Args:
            stream: The stream's name after stream maps.
            contact_key: The contact's key, if the record has a valid address.
            code: A code of `CODES`.
            reason: The reason, as in the reject file.
        """
        examples = self.rejects.setdefault(code, [])
        if len(examples) == _EXAMPLES:
            return
        reason = self.shown_reason(code, reason)
        if not self._personal:
            contact_key = contact_key and mask_address(contact_key)
        example = {"stream": stream, "person": contact_key, "reason": reason}
        if example not in examples:
            examples.append(example)

    def shown_reason(self, code: str, reason: str) -> str:
        """Return the reason of a refusal as it may be shown.

        Args:
            code: A code of `CODES`.
            reason: The reason, as in the reject file.
        """
        if self._personal or code != _FOREIGN or _NO_VALUE.fullmatch(reason):
            return reason
        return _ELSEWHERE

    def add_renamed(self, old: str, new: str) -> None:
        """Add a contact that got another address, unless there are enough of them.

        It may be called from any thread.
        """
        if len(self.renamed) < _RENAMED:
            shown = (old, new) if self._personal else (mask_address(old), mask_address(new))
            self.renamed.append({"from": shown[0], "to": shown[1]})

    def as_dict(self) -> dict[str, Any]:
        """Return the samples as the report's JSON has them."""
        shown: dict[str, Any] = {"mapping": self.mapping, "rejects": self.rejects}
        return {**shown, "renamed": self.renamed} if self.renamed else shown


def _value(entry: MappedProperty, contact: Contact) -> str:
    """Return a contact's value from a property, in a readable form; empty if it has none."""
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
"""Always three, so that they show no length."""

_PLAIN = {kind for form in FORMS if form is not TEXT for kind in form.types}
"""Types of custom fields without free text."""


def mask_text(text: str) -> str:
    """Mask a text: `Miller` becomes `M•••`, and an empty text stays empty."""
    return f"{text[0]}{_DOTS}" if text else ""


def mask_address(address: str) -> str:
    """Mask an e-mail address: `ann@example.com` becomes `a•••@e•••.com`.

    The end of the domain stays. A text that is no address is masked as a text.
    """
    name, at, domain = address.rpartition("@")
    host, dot, end = domain.rpartition(".")
    if not (name and at):
        return mask_text(address)
    return f"{mask_text(name)}@{mask_text(host)}.{end}" if dot else f"{mask_text(name)}@{_DOTS}"


def masked(value: str, kind: str) -> str:
    """Return a value of a contact as it may be shown: masked if it is personal.

    Args:
        value: The value.
        kind: `email`, another standard field such as `phone`, or a custom field's type.
    """
    if kind == "email":
        return mask_address(value)
    return value if kind in _PLAIN else mask_text(value)
