"""Phone numbers in the international form E.164, such as `+49301234567`.

`phonenumbers` knows how each country writes its numbers. The package is optional (an extra) and
large, so this module is only imported if the setting `default_country` is used.
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import CountryCodeSource, PhoneNumber, PhoneNumberFormat, ValidationResult

REGIONS = phonenumbers.SUPPORTED_REGIONS
"""The countries whose numbers `phonenumbers` knows, as ISO 3166 codes of two letters."""

# `phonenumbers` accepts more: it reads letters as digits (030 1234567 home), drops extensions, and
# joins two numbers (1234567/68). Here a slash is only accepted after an area code (030/1234567).
_NUMBER = re.compile(r"(?:\(?0\d{1,5}\)?\s?/\s?)?[+\uff0b]?[\d\s().\-\u2010-\u2015\u2212]+")

# A number that was a float before it became a text: the `.0` is not part of it.
_FLOAT = re.compile(r"([+\uff0b]?\d+)\.0+")

_CALLING_CODE = re.compile(r"[+0]*(\d{1,3})", re.ASCII)

# Numbers that Ofcom reserves for films and examples. They have the form of British numbers, but
# `phonenumbers` does not consider them valid.
_EXAMPLES = re.compile(r"\+44(?:7700900|1632960|3069990)\d{3}")


def to_e164(text: str, region: str) -> str:
    """Return a phone number in E.164; return a text that is not clearly a phone number unchanged.

    A number without a plus only counts as one of `region` if it is valid there, and if the same
    digits after a plus are not a valid number of another country.

    Args:
        text: Any text.
        region: The country of numbers without a country code, as an ISO 3166 code.
    """
    plain = text.strip()
    if match := _FLOAT.fullmatch(plain):
        plain = match[1]
    if not _NUMBER.fullmatch(plain):
        return text
    number = _parsed(plain, region)
    if number is None or not _is_certain(plain, number, region):
        return text
    return _format(number)


def likely_region(text: str) -> str | None:
    """Return the country that a text not in `REGIONS` probably means, as one of `REGIONS`."""
    if text == "UK":
        return "GB"
    code = _CALLING_CODE.fullmatch(text)
    region = phonenumbers.region_code_for_country_code(int(code[1])) if code else ""
    return region if region in REGIONS else None


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    """Return a number that is long enough to be dialled from abroad; None for any other text."""
    try:
        number = phonenumbers.parse(text, region, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    if length != ValidationResult.IS_POSSIBLE or not number.national_number:
        return None  # wrong length, no area code, or only zeros
    return number


def _is_certain(text: str, number: PhoneNumber, region: str) -> bool:
    """Return whether a text can only mean this number."""
    source = number.country_code_source
    if source == CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN:
        return True
    if source == CountryCodeSource.FROM_NUMBER_WITH_IDD:
        return _is_valid(number)
    if not (phonenumbers.is_valid_number_for_region(number, region) or _is_example(number)):
        return False
    digits = re.sub(r"\D", "", text)
    foreign = _parsed(f"+{digits}", None)
    return foreign is None or _format(foreign) == _format(number) or not _is_valid(foreign)


def _is_valid(number: PhoneNumber) -> bool:
    return phonenumbers.is_valid_number(number) or _is_example(number)


def _is_example(number: PhoneNumber) -> bool:
    return _EXAMPLES.fullmatch(_format(number)) is not None


def _format(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
