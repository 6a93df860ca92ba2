"""Values of records in the text forms of ActiveCampaign's custom fields.

ActiveCampaign takes each custom field value as a string whose form depends on the field's
type (documented under "create a custom field value"): plain text; `2018-12-31` for dates;
ISO 8601 with a zone for date-times, which it converts to the account's zone when it saves;
`||a||b||` for fields that hold several choices.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DELIMITER = "||"

_MAX_DIGITS = 100


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
    if isinstance(value, list):
        texts = [text for text in map(to_text, value) if text is not None]
        return ", ".join(texts) if texts else None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=to_text)


def _number_text(value: float | Decimal) -> str | None:
    if isinstance(value, int):
        return str(value)
    # repr of a float is its shortest text, which Decimal then spells without exponent.
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    if not exact.is_finite():
        return None
    # Spelt out, a number of twelve characters could be a hundred million digits long.
    return f"{exact:f}" if abs(exact.adjusted()) <= _MAX_DIGITS else str(exact)


def to_choices(value: Any) -> str | None:
    """An array, or one value, as `||a||b||`; None when it holds nothing."""
    items = value if isinstance(value, list) else [value]
    texts = [text for text in map(to_text, items) if text]
    if not texts:
        return None
    if any(DELIMITER in text for text in texts):
        raise UnfitValueError(f"one of the choices holds {DELIMITER}, which parts them")
    return f"{DELIMITER}{DELIMITER.join(texts)}{DELIMITER}"


def to_date(value: Any) -> str | None:
    """A date, or the date part of a date-time, as `2018-12-31`."""
    moment = _moment(value)
    return None if moment is None else moment.date().isoformat()


def to_datetime(value: Any) -> str | None:
    """A date-time as ISO 8601 to the second; without a zone it is taken as UTC."""
    moment = _moment(value)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.isoformat(timespec="seconds")


def _moment(value: Any) -> datetime | None:
    if value is None or value == "":
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
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise UnfitValueError("it is not a date in ISO 8601") from None


def to_number(value: Any) -> str | None:
    """A number, or a text that is one, without exponent and thousands separators."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        if not value.strip():
            return value.strip()
        try:
            value = Decimal(value.strip())
        except ArithmeticError:
            raise UnfitValueError("it is not a number") from None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is not None and not isinstance(value, (int, float, Decimal)):
        raise UnfitValueError("it is not a number")
    return None if value is None else _number_text(value)


CONVERTERS: dict[str, Callable[[Any], str | None]] = {
    "checkbox": to_choices,
    "listbox": to_choices,
    "multiselect": to_choices,
    "date": to_date,
    "datetime": to_datetime,
    "number": to_number,
}
"""The converter of each field type that has a form of its own; all others hold plain text."""
