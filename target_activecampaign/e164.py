"""Phone numbers in the international form E.164, such as `+49301234567`.

`phonenumbers` knows how numbers are written in each country. It is an extra's package and a heavy
one, so this module is only imported by `phones`, when it is asked for.
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, ValidationResult

REGIONS = phonenumbers.SUPPORTED_REGIONS
"""The countries whose numbers are known, by the two letters of ISO 3166."""

# `phonenumbers` reads more: it takes letters for digits (030 1234567 home), drops extensions, and
# runs two numbers together (1234567/68). A slash is taken behind an area code alone (030/1234567).
_NUMBER = re.compile(r"(?:\(?0\d{1,5}\)?\s?/\s?)?[+\uff0b]?[\d\s().\-\u2010-\u2015\u2212]+")

_CALLING_CODE = re.compile(r"[+0]*(\d{1,3})", re.ASCII)


def to_e164(text: str, region: str) -> str:
    """A phone number in the international form; a text that is not clearly one, as it is.

    Args:
        text: Any text.
        region: The country of a number that is written without one.
    """
    if not _NUMBER.fullmatch(text.strip()):
        return text
    number = _parsed(text, region)
    if number is None or _may_lack_its_plus(text, number):
        return text
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def likely_region(text: str) -> str | None:
    """The country that a text which is none of `REGIONS` was probably meant to name."""
    if text == "UK":
        return "GB"
    code = _CALLING_CODE.fullmatch(text)
    region = phonenumbers.region_code_for_country_code(int(code[1])) if code else ""
    return region if region in REGIONS else None


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    """A number that could be dialled from abroad, as far as its length tells."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    length = phonenumbers.is_possible_number_with_reason(number)
    if length != ValidationResult.IS_POSSIBLE or not number.national_number:
        return None  # Of another length, without an area code, or nothing but zeros.
    return number


def _may_lack_its_plus(text: str, number: PhoneNumber) -> bool:
    """Whether a number may as well be another in the international form: 49 151 12345678."""
    digits = re.sub(r"\D", "", text)
    if not digits.startswith(str(number.country_code)):
        return False
    other = _parsed(f"+{digits}", None)
    return other is not None and other != number and phonenumbers.is_valid_number(other)
