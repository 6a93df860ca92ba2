"""Consent: what a record says of whether its person may be subscribed.

A property is read by the destination `subscription`, or by its name. If a record has several such
properties, a single refusal counts.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from target_activecampaign.mapping.steps import MISSING, value_at
from target_activecampaign.model.names import caseless, normalised
from target_activecampaign.model.withheld import WithheldReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.mapping.placement import ConsentProperties

CONSENT_NAMES = frozenset(
    {
        "acceptsemailmarketing",
        "acceptsmarketing",
        "allowemailmarketing",
        "allowmarketing",
        "emailconsent",
        "emailmarketingconsent",
        "emailoptin",
        "emailpermission",
        "emailsubscribed",
        "hasoptedin",
        "issubscribed",
        "marketingconsent",
        "marketingemailconsent",
        "marketingoptin",
        "marketingpermission",
        "newsletterconsent",
        "newsletteroptin",
        "newslettersubscribed",
        "optedin",
        "optin",
        "subscribed",
    }
)
"""Names of properties that say that a person has consented, in the form of `normalised`."""

REFUSAL_NAMES = frozenset(
    {
        "donotbulkemail",
        "donotemail",
        "emailoptout",
        "emailunsubscribed",
        "hasoptedout",
        "hasoptedoutofemail",
        "isunsubscribed",
        "marketingoptout",
        "newsletteroptout",
        "nomarketing",
        "optedout",
        "optout",
        "unsubscribed",
    }
)
"""Names of properties that say the opposite: `true` means that the person has not consented."""

SWITCHES = {
    **dict.fromkeys(("1", "on", "t", "true", "y", "yes"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), False),
}
"""Words for true and false, in the form of `normalised`."""

STATES = {
    **dict.fromkeys(("consented", "given", "granted", "optedin", "optin", "subscribed"), True),
    **dict.fromkeys(
        ("declined", "denied", "optedout", "optout", "refused", "revoked", "unsubscribed"), False
    ),
    "withdrawn": False,
}
"""Words that say whether the person has consented, whatever the property's name."""

_SWITCH = re.compile(r"([01])\.0+")
_SPACES = re.compile(r"(?<=[a-z]{2})[ _-]+(?=[a-z]{2})")

_NESTING = re.compile(r"\.|__")
"""The separators of names in a path, and in a name that flattening made."""

UNKNOWN_WORDS = frozenset({"", "n/a", "na", "nan", "nat", "none", "null", "unknown"})
"""Words that say that it is not known. Any other word is reported."""


class _Property(NamedTuple):
    """A property with consent.

    Attributes:
        name: Its name, for messages.
        first: The property of the record.
        inner: Names inside of its object.
        is_refusal: Whether `true` means that the person has not consented.
    """

    name: str
    first: str
    inner: tuple[str, ...]
    is_refusal: bool


class ConsentReader:
    """Reads the consent of records.

    Args:
        properties: The properties with consent; without any, all records have consent.
        unknown: The setting `consent_unknown`.

    Attributes:
        is_undeclared: Whether the schema lacks all properties that the settings name.
        unknown_words: The number of values that are none of the known words, by property.
    """

    def __init__(self, properties: ConsentProperties, unknown: str) -> None:
        self._properties = [
            _Property(one.name, one.path[0], one.path[1:], _is_refusal_name(one.path[-1]))
            for one in properties.mapped
        ]
        self._by_name, self._ignored = properties.by_name, properties.ignored
        self._unknown = WithheldReason.CONSENT_UNKNOWN if unknown == "hold" else None
        self.is_undeclared = properties.is_undeclared
        self.unknown_words: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Return whether records have any property with consent."""
        return bool(self._properties)

    @property
    def names(self) -> list[str]:
        """The names of the properties."""
        return list(dict.fromkeys(one.name for one in self._properties))

    def learn(self, names: Iterable[str]) -> None:
        """Add properties that records have although the schema lacks them."""
        known = {one.first for one in self._properties} | self._ignored
        self._properties += [
            _Property(name, name, (), _is_refusal_name(name))
            for name in names
            if self._by_name and name not in known and has_consent_name(name)
        ]

    def withheld_reason(self, record: Mapping[str, Any]) -> WithheldReason | None:
        """Return why a record may not subscribe its person; None if it may."""
        has_consented = False
        for one in self._properties:
            value = value_at(record, one.first, one.inner)
            found = self._read(value, one)
            if found is False:
                return WithheldReason.NO_CONSENT
            has_consented = has_consented or found is True
        return None if has_consented or not self._properties else self._unknown

    def _read(self, value: Any, one: _Property) -> bool | None:
        """Return whether a value means consent; None if that is not known."""
        if isinstance(value, list) and len(value) == 1:
            (value,) = value  # of a field with several choices
        if value is None or value is MISSING or value == []:
            return None
        word = _word_of(value)
        if word in SWITCHES:
            return SWITCHES[word] != one.is_refusal
        if word in STATES:
            return STATES[word]
        if word not in UNKNOWN_WORDS:
            self.unknown_words[one.name] += 1
        return None


def _word_of(value: Any) -> str | None:
    """Return a value as a word; None if it is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)):
        if value != value:  # noqa: PLR0124 - NaN, which some taps write for null
            return ""
        return "1" if value == 1 else "0" if value == 0 else None
    if not isinstance(value, str):
        return None
    text = caseless(value).strip("\"'").strip()
    if number := _SWITCH.fullmatch(text):
        return number[1]
    # Only spaces and dashes are left out: `-1` and `1` are different words.
    return _SPACES.sub("", text)


def has_consent_name(name: str) -> bool:
    """Return whether a property's name shows that it has consent, or its refusal."""
    word = normalised(name)
    return word in CONSENT_NAMES or word in REFUSAL_NAMES


def is_nested_consent(path: str) -> bool:
    """Return whether the end of a path shows that it has consent, or its refusal.

    Args:
        path: A path into objects, or the name that flattening made of it.
    """
    parts = _NESTING.split(path)
    return any(has_consent_name(".".join(parts[start:])) for start in range(len(parts)))


def _is_refusal_name(name: str) -> bool:
    """Return whether `true` in a property of this name means that the person has not consented."""
    return normalised(name) in REFUSAL_NAMES
