"""Values of records in the text forms of ActiveCampaign's custom fields.

ActiveCampaign takes each custom field value as a string whose form depends on the field's
type (documented under "create a custom field value"): plain text; `2018-12-31` for dates;
ISO 8601 with a zone for date-times, which it converts to the account's zone when it saves;
`||a||b||` for fields that hold several choices.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timezone
from decimal import Context, Decimal
from typing import Any

import msgspec

_MAX_DIGITS = 100
_PLAIN = frozenset("0123456789.-")
_DATE_LENGTH = len("2018-12-31")
_CERTAIN = 15
"""Decimal digits that a binary fraction of 64 bits holds for certain."""
_SHORTEST = 17
"""Decimal digits that tell any two of them apart."""
_MEANT = 12
_certain = Context(prec=_CERTAIN)
_json = msgspec.json.Encoder(decimal_format="number")


_USUAL = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\+[0-9]{2}:[0-5][0-9]|-(?!00:00)[0-9]{2}:[0-5][0-9])"
)


class UnfitValueError(ValueError):
    """A value that the field's form can't hold; its text does not hold the value."""


def to_text(value: Any) -> str | None:
    """Any JSON value as plain text; None for null, not-a-number and an empty array."""
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal, float)):
        return _number_text(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        texts = [text for text in map(to_text, value) if text is not None]
        return ", ".join(texts) if texts else None
    try:
        return _json.encode(value).decode()
    except UnicodeEncodeError:
        raise UnfitValueError("it holds half of a surrogate pair, which is not text") from None
    except RecursionError:
        raise UnfitValueError("it is nested too deeply") from None


def to_any_text(value: Any) -> str | None:
    """Any JSON value as plain text; None also for a blank text."""
    return _unless_blank(to_text(value))


def to_line(value: Any) -> str | None:
    """A text, number or boolean as plain text: what a name or a phone can be, and not blank.

    Raises:
        UnfitValueError: It is an array or object that is not empty.
    """
    if value and isinstance(value, (dict, list)):
        raise UnfitValueError("it is no single value")
    return _unless_blank(to_text(value)) if value not in ([], {}) else None


def _unless_blank(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _number_text(value: float | Decimal) -> str | None:
    if isinstance(value, int):
        return str(value)
    if type(value) is Decimal and len(text := str(value)) <= _CERTAIN and _PLAIN.issuperset(text):
        return text  # It is spelt out, and too short to hold noise.
    # repr of a float is its shortest text, which Decimal then spells without exponent.
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        return None
    exact = _without_noise(exact)
    # Spelt out, a number of twelve characters could be a hundred million digits long.
    return f"{exact:f}" if abs(exact.adjusted()) <= _MAX_DIGITS else str(exact)


def _without_noise(exact: Decimal) -> Decimal:
    """The decimal that was meant by one that is the spelling of a binary fraction.

    Sums of binary fractions are spelt 0.30000000000000004 or 19.990000000000002. A number is
    taken for such a spelling only if all 15 digits that a binary fraction holds for certain come
    to 12 at most: an exact number of 16 or 17 digits that looks like that is not to be expected.
    Whole numbers are left alone: they have no fraction to be noise, and may be ids.
    """
    digits = len(exact.as_tuple().digits)
    if digits <= _CERTAIN:
        return exact
    if exact == (integer := exact.to_integral_value()):
        return integer
    if digits > _SHORTEST and Decimal(float(exact)) == exact:
        exact = Decimal(repr(float(exact)))  # all digits of the binary fraction, spelt out
        digits = len(exact.as_tuple().digits)
    if digits > _SHORTEST:
        return exact
    meant = _certain.plus(exact).normalize()
    return meant if len(meant.as_tuple().digits) <= _MEANT else exact


def whole(value: Any) -> Any:
    """A value whose schema has whole numbers only: `3.0` is 3."""
    if isinstance(value, (Decimal, float)) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


def to_date(value: Any) -> str | None:
    """A date, or the date part of a date-time, as `2018-12-31`; None for a blank text.

    Raises:
        UnfitValueError: It is neither.
    """
    if type(value) is str and len(value) == _DATE_LENGTH:
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:  # something shorter, between blanks
            moment = _moment(value)
    else:
        moment = _moment(value)
    return None if moment is None else moment.date().isoformat()


def to_datetime(value: Any) -> str | None:
    """A date-time as ISO 8601 to the second; without a zone it is taken as UTC.

    Raises:
        UnfitValueError: It is neither a date nor a date-time.
    """
    if type(value) is str and _USUAL.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise UnfitValueError("it is not a date in ISO 8601") from None
        return value  # It is in the very form that is wanted, which takes long to write.
    moment = _moment(value)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.isoformat(timespec="seconds")


def _moment(value: Any) -> datetime | None:
    if _holds_nothing(value):
        return None
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a date has no zone
    if not isinstance(value, str):
        raise UnfitValueError("it is not a date in ISO 8601")
    try:
        # Python 3.10's own parser knows neither "Z" nor fractions of other lengths, but
        # the SDK brings a backport there that patches this very method.
        return datetime.fromisoformat(value.strip().upper())
    except ValueError:
        raise UnfitValueError("it is not a date in ISO 8601") from None


def to_number(value: Any) -> str | None:
    """A number, or a text that is one, without thousands separators; None for a blank text.

    There is no exponent, unless the number has more than a hundred digits. A boolean is 1 or 0.

    Raises:
        UnfitValueError: It is none of these.
    """
    if type(value) is int:
        return str(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if type(value) is not Decimal and _holds_nothing(value):
        return None
    if isinstance(value, str):
        value = _number_in(value)
    if not isinstance(value, (int, float, Decimal)):
        raise UnfitValueError("it is not a number")
    return _number_text(value)


def _number_in(text: str) -> Decimal | None:
    try:
        # "1_000" is a number in Python, and nowhere in data.
        return None if "_" in text else Decimal(text.strip())
    except ArithmeticError:
        return None


def _holds_nothing(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())
