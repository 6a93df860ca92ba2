"""Conversion of JSON values to the text forms of ActiveCampaign's custom fields.

ActiveCampaign accepts each custom field value as a string whose form depends on the field's type
(documented under "create a custom field value"): plain text; `2018-12-31` for dates; ISO 8601 with
an offset for date-times, which it converts to the account's time zone when it saves; `||a||b||`
for fields that hold several choices.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timezone
from decimal import Context, Decimal
from typing import Any

import msgspec

from target_activecampaign.singer.json_schema import is_finite

_MAX_DIGITS = 100
"""Digits of the longest number that is written without an exponent."""
_MAX_INTEGER_DIGITS = 1000
"""Digits of the longest number with a fraction that is converted to an integer."""
_PLAIN_CHARACTERS = frozenset("0123456789.-")
_DATE_LENGTH = len("2018-12-31")
_EXACT_DIGITS = 15
"""Decimal digits that a 64-bit float always holds exactly."""
_ROUND_TRIP_DIGITS = 17
"""Decimal digits that distinguish any two 64-bit floats."""
_MEANT_DIGITS = 12
"""Decimal digits of the longest number that is restored from a float's noise."""
_NOT_FINITE = "it is or contains NaN or an infinite number"
_exact_context = Context(prec=_EXACT_DIGITS)
_encoder = msgspec.json.Encoder(decimal_format="number")


_NUL = "\0"

# Every time zone from UTC-12 to UTC+14 can represent the date-times between these. The zone of the
# account is not known here.
_EARLIEST = datetime(1, 1, 1, 12, tzinfo=timezone.utc)
_LATEST = datetime(9999, 12, 31, 9, 59, 59, 999_999, tzinfo=timezone.utc)

_USUAL = re.compile(
    r"(?!0001|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\+[0-9]{2}:[0-5][0-9]|-(?!00:00)[0-9]{2}:[0-5][0-9])"
)


# Midnight as hour 24: later versions of Python accept it, earlier ones don't.
_HOUR_24 = re.compile(r"[T ]24")


class UnfitValueError(ValueError):
    """A value does not fit the form of its field; the text does not quote the value."""


def remove_nul(value: Any) -> Any:
    """Return a JSON value without U+0000, which is useless in texts and often refused."""
    if isinstance(value, str):
        return value.replace(_NUL, "") if _NUL in value else value
    if isinstance(value, list):
        return [remove_nul(one) for one in value]
    if isinstance(value, dict):
        return {remove_nul(name): remove_nul(one) for name, one in value.items()}
    return value


def to_text(value: Any) -> str | None:
    """Return any JSON value as plain text; None for null and an empty array.

    Raises:
        UnfitValueError: It contains something that has no text form, such as NaN.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal, float)):
        return _number_text(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        texts = [text for text in map(to_text, value) if text is not None]
        return ", ".join(texts) if texts else None
    return _json_text(value)


def _json_text(value: Any) -> str:
    try:
        text = _encoder.encode(value).decode()
        # JSON has no NaN: the encoder writes null or invalid JSON.
        if ("null" in text or "N" in text or "I" in text) and _contains_non_finite(value):
            raise UnfitValueError(_NOT_FINITE)
    except UnicodeEncodeError:
        raise UnfitValueError("it has a lone surrogate, which is not valid text") from None
    except RecursionError:
        raise UnfitValueError("it is nested too deeply") from None
    except (TypeError, OverflowError):
        raise UnfitValueError("it can't be written as JSON") from None
    return text


def _contains_non_finite(value: Any) -> bool:
    """Return whether a value is or contains NaN or an infinite number."""
    if isinstance(value, (float, Decimal)):
        return not is_finite(value)
    if isinstance(value, dict):
        return any(map(_contains_non_finite, value.values()))
    return isinstance(value, list) and any(map(_contains_non_finite, value))


def to_any_text(value: Any) -> str | None:
    """Return any JSON value as plain text; None also for a blank text."""
    return _unless_blank(to_text(value))


def to_line(value: Any) -> str | None:
    """Return a text or number as plain text, as for a name or a phone; None if it is blank.

    Raises:
        UnfitValueError: It is a boolean, or an array or object that is not empty.
    """
    if isinstance(value, bool):
        raise UnfitValueError("it is true or false")
    if value and isinstance(value, (dict, list)):
        raise UnfitValueError("it is not a single value")
    return _unless_blank(to_text(value)) if value not in ([], {}) else None


def _unless_blank(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _number_text(value: float | Decimal) -> str:
    if isinstance(value, int):
        return _integer_text(value)
    if (
        type(value) is Decimal
        and len(text := str(value)) <= _EXACT_DIGITS
        and _PLAIN_CHARACTERS.issuperset(text)
    ):
        return _without_zero_fraction(text)  # no exponent, and too short for a float's noise
    # repr of a float is its shortest text, which Decimal then writes without an exponent.
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        raise UnfitValueError(_NOT_FINITE)
    exact = _without_noise(exact)
    # Without an exponent, a number such as 1e99999999 would have a hundred million digits.
    if abs(exact.adjusted()) > _MAX_DIGITS:
        return str(exact)
    return _without_zero_fraction(f"{exact:f}")


def _integer_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        raise UnfitValueError("it has too many digits") from None


def _without_zero_fraction(text: str) -> str:
    """Return a number without a fraction of zeros: `3.0` becomes 3, and `-0.0` becomes 0."""
    if text[-1] != "0":
        return text
    whole_part, _, fraction = text.partition(".")
    if fraction.strip("0"):
        return text
    return "0" if whole_part == "-0" else whole_part


def _without_noise(exact: Decimal) -> Decimal:
    """Return the decimal that a float's text was meant to be.

    Sums of floats come out as 0.30000000000000004 or 19.990000000000002. A number only counts as
    such noise if its first 15 digits, which a float holds exactly, round to at most 12 digits: an
    exact number of 16 or 17 digits of that form is very unlikely. Integers are never rounded: they
    have no fraction that could be noise, and may be ids.
    """
    digits = len(exact.as_tuple().digits)
    if digits <= _EXACT_DIGITS:
        return exact
    if exact == (integer := exact.to_integral_value()):
        return integer
    if digits > _ROUND_TRIP_DIGITS and Decimal(float(exact)) == exact:
        exact = Decimal(repr(float(exact)))  # it was the full decimal expansion of a float
        digits = len(exact.as_tuple().digits)
    if digits > _ROUND_TRIP_DIGITS:
        return exact
    meant = _exact_context.plus(exact).normalize()
    return meant if len(meant.as_tuple().digits) <= _MEANT_DIGITS else exact


def to_integer(value: Any) -> Any:
    """Return an integer for a number without a fraction, such as `3.0`; other values unchanged."""
    if not isinstance(value, (Decimal, float)) or not is_finite(value):
        return value
    # As an integer, a number such as 1e99999999 would have a hundred million digits.
    is_short = not isinstance(value, Decimal) or value.adjusted() < _MAX_INTEGER_DIGITS
    return int(value) if is_short and value == int(value) else value


def to_date(value: Any) -> str | None:
    """Return a date, or the date part of a date-time, as `2018-12-31`; None for a blank text.

    Raises:
        UnfitValueError: It is neither.
    """
    if type(value) is str and len(value) == _DATE_LENGTH:
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:  # for example a shorter form between spaces
            moment = _parse_moment(value)
    else:
        moment = _parse_moment(value)
    return None if moment is None else moment.date().isoformat()


def to_datetime(value: Any) -> str | None:
    """Return a date-time as ISO 8601 to the second; without an offset it counts as UTC.

    Raises:
        UnfitValueError: It is neither a date nor a date-time, or so near an end of the calendar
            that some time zones can't represent it.
    """
    if type(value) is str and _USUAL.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise UnfitValueError("it is not a date in ISO 8601") from None
        return value  # Already in the wanted form; formatting it again is slow.
    moment = _parse_moment(value)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    if not _EARLIEST <= moment <= _LATEST:
        raise UnfitValueError("it is too near an end of the calendar for some time zones")
    return moment.isoformat(timespec="seconds")


def _parse_moment(value: Any) -> datetime | None:
    if _is_empty(value):
        return None
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a date has no zone
    if not isinstance(value, str) or _HOUR_24.search(text := value.strip().upper()):
        raise UnfitValueError("it is not a date in ISO 8601")
    try:
        # Python 3.10's own parser accepts neither "Z" nor fractions of all lengths. There the SDK
        # brings a backport that patches this method.
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnfitValueError("it is not a date in ISO 8601") from None


def to_number(value: Any) -> str | None:
    """Return a number, or a text that is one, without separators; None for a blank text.

    An exponent is only used for more than a hundred digits. A boolean becomes 1 or 0.

    Raises:
        UnfitValueError: It is not a number, and not a text or boolean that stands for one.
    """
    if type(value) is int:
        return _integer_text(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    if type(value) is not Decimal and _is_empty(value):
        return None
    if isinstance(value, str):
        value = _parse_number(value)
    if not isinstance(value, (int, float, Decimal)):
        raise UnfitValueError("it is not a number")
    return _number_text(value)


def _parse_number(text: str) -> Decimal | None:
    try:
        # Python accepts "1_000" as a number, but in data it is not meant as one.
        return None if "_" in text else Decimal(text.strip())
    except ArithmeticError:
        return None


def _is_empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())
