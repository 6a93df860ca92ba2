"""Values of records in the text forms of ActiveCampaign's custom fields.

ActiveCampaign takes each custom field value as a string whose form depends on the field's
type (documented under "create a custom field value"): plain text; `2018-12-31` for dates;
ISO 8601 with a zone for date-times, which it converts to the account's zone when it saves;
`||a||b||` for fields that hold several choices.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timezone
from decimal import Context, Decimal
from typing import Any

import msgspec

from target_activecampaign.singer.json_schema import is_finite

_MAX_DIGITS = 100
_PLAIN = frozenset("0123456789.-")
_LONGEST_WHOLE = 1000
"""Digits to which a number of a schema of whole numbers is spelt out."""
_DATE_LENGTH = len("2018-12-31")
_CERTAIN = 15
"""Decimal digits that a binary fraction of 64 bits holds for certain."""
_SHORTEST = 17
"""Decimal digits that tell any two of them apart."""
_MEANT = 12
_NOT_FINITE = "it is, or holds, a number that is none (NaN) or infinite"
_certain = Context(prec=_CERTAIN)
_json = msgspec.json.Encoder(decimal_format="number")


_NUL = "\0"

# Every zone from UTC-12 to UTC+14 can hold a date-time between these. Which one the account has is
# not known here.
_EARLIEST = datetime(1, 1, 1, 12, tzinfo=timezone.utc)
_LATEST = datetime(9999, 12, 31, 9, 59, 59, 999_999, tzinfo=timezone.utc)

_USUAL = re.compile(
    r"(?!0001|9999)[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}"
    r"(?:\+[0-9]{2}:[0-5][0-9]|-(?!00:00)[0-9]{2}:[0-5][0-9])"
)


# The hour 24 is the next day's first: later versions of Python read it, earlier ones don't.
_HOUR_24 = re.compile(r"[T ]24")


class UnfitValueError(ValueError):
    """A value that the field's form can't hold; its text does not hold the value."""


def without_nul(value: Any) -> Any:
    """Return a JSON value without U+0000, which texts have no use for and many systems refuse."""
    if isinstance(value, str):
        return value.replace(_NUL, "") if _NUL in value else value
    if isinstance(value, list):
        return [without_nul(one) for one in value]
    if isinstance(value, dict):
        return {without_nul(name): without_nul(one) for name, one in value.items()}
    return value


def to_text(value: Any) -> str | None:
    """Return any JSON value as plain text; None for null and an empty array.

    Raises:
        UnfitValueError: It holds what no text can be made of, such as NaN.
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
        text = _json.encode(value).decode()
        # JSON has no such numbers: the encoder writes null, or what nothing can read.
        if ("null" in text or "N" in text or "I" in text) and _holds_no_number(value):
            raise UnfitValueError(_NOT_FINITE)
    except UnicodeEncodeError:
        raise UnfitValueError("it holds half of a surrogate pair, which is not text") from None
    except RecursionError:
        raise UnfitValueError("it is nested too deeply") from None
    except (TypeError, OverflowError):
        raise UnfitValueError("it can't be written as JSON") from None
    return text


def _holds_no_number(value: Any) -> bool:
    """Return whether NaN or an infinity is in a value."""
    if isinstance(value, (float, Decimal)):
        return not is_finite(value)
    if isinstance(value, dict):
        return any(map(_holds_no_number, value.values()))
    return isinstance(value, list) and any(map(_holds_no_number, value))


def to_any_text(value: Any) -> str | None:
    """Any JSON value as plain text; None also for a blank text."""
    return _unless_blank(to_text(value))


def to_line(value: Any) -> str | None:
    """Return a text or number as plain text: what a name or a phone can be, and not blank.

    Raises:
        UnfitValueError: It is a boolean, or an array or object that is not empty.
    """
    if isinstance(value, bool):
        raise UnfitValueError("it is true or false")
    if value and isinstance(value, (dict, list)):
        raise UnfitValueError("it is no single value")
    return _unless_blank(to_text(value)) if value not in ([], {}) else None


def _unless_blank(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _number_text(value: float | Decimal) -> str:
    if isinstance(value, int):
        return _integer_text(value)
    if type(value) is Decimal and len(text := str(value)) <= _CERTAIN and _PLAIN.issuperset(text):
        return _without_zeros(text)  # It is spelt out, and too short to hold noise.
    # repr of a float is its shortest text, which Decimal then spells without exponent.
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        raise UnfitValueError(_NOT_FINITE)
    exact = _without_noise(exact)
    # Spelt out, a number of twelve characters could be a hundred million digits long.
    return _without_zeros(f"{exact:f}") if abs(exact.adjusted()) <= _MAX_DIGITS else str(exact)


def _integer_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # beyond the digits that Python writes
        raise UnfitValueError("it has too many digits") from None


def _without_zeros(text: str) -> str:
    """Return a whole number without its fraction: `3.0` is 3, and `-0.0` is 0."""
    if text[-1] != "0":
        return text
    whole_part, _, fraction = text.partition(".")
    if fraction.strip("0"):
        return text
    return "0" if whole_part == "-0" else whole_part


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
    """Return a value whose schema has whole numbers only: `3.0` is 3."""
    if not isinstance(value, (Decimal, float)) or not is_finite(value):
        return value
    # Spelt out, a number of twelve characters could be a hundred million digits long.
    short = not isinstance(value, Decimal) or value.adjusted() < _LONGEST_WHOLE
    return int(value) if short and value == int(value) else value


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
    """Return a date-time as ISO 8601 to the second; without a zone it is taken as UTC.

    Raises:
        UnfitValueError: It is neither a date nor a date-time, or at an end of the calendar, where
            an account's zone may not be able to hold it.
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
    if not _EARLIEST <= moment <= _LATEST:
        raise UnfitValueError("it is too near to an end of the calendar to be in every time zone")
    return moment.isoformat(timespec="seconds")


def _moment(value: Any) -> datetime | None:
    if _holds_nothing(value):
        return None
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a date has no zone
    if not isinstance(value, str) or _HOUR_24.search(text := value.strip().upper()):
        raise UnfitValueError("it is not a date in ISO 8601")
    try:
        # Python 3.10's own parser knows neither "Z" nor fractions of other lengths, but
        # the SDK brings a backport there that patches this very method.
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnfitValueError("it is not a date in ISO 8601") from None


def to_number(value: Any) -> str | None:
    """A number, or a text that is one, without thousands separators; None for a blank text.

    There is no exponent, unless the number has more than a hundred digits. A boolean is 1 or 0.

    Raises:
        UnfitValueError: It is none of these.
    """
    if type(value) is int:
        return _integer_text(value)
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
