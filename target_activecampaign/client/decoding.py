"""Taking answers apart: what the API's loosely typed JSON may look like.

Decoding is lenient where the API is: numbers come as numbers or as strings, ``Success`` is
also spelt ``success``, some values are null, and an empty list may be null or false. Whatever
else is missing or of another shape raises `ShapeError`.
"""

from __future__ import annotations

import logging
import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger("target_activecampaign.client")

_GREATEST = 2**63 - 1
"""More than any database holds, and so no id or count."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


class ShapeError(ValueError):
    """An answer lacks something or holds it in another type; the text names the place."""


def composed(text: str) -> str:
    """Return a text in NFC, without outer blanks: whether the API stores NFC is not documented."""
    return unicodedata.normalize("NFC", text.strip())


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a collection.

    Attributes:
        items: The models on this page.
        total: Number of items on all pages, None if the answer doesn't say.
    """

    items: list[T]
    total: int | None


def page_of(name: str, from_item: Callable[[Any], T]) -> Callable[[Any], Page[T]]:
    """Make the decoder of ``{name: [...], "meta": {"total": "2"}}`` [rec]."""

    def decode(answer: Any) -> Page[T]:
        values = collection(answer, name)
        return Page([from_item(item) for item in as_list(values[name], name)], total_in(values))

    return decode


def collection(answer: Any, name: str) -> dict[str, Any]:
    """Return an answer that holds a collection of this name."""
    values = as_object(answer, "answer")
    if name not in values:
        raise ShapeError(f"no {name}")
    return values


def total_in(values: dict[str, Any]) -> int | None:
    """Return ``meta.total`` of a collection's answer, None if it doesn't say."""
    meta = values.get("meta")
    total = meta.get("total") if isinstance(meta, dict) else None
    number = whole_number(total)
    if number is not None and number >= 0:
        return number
    if total is not None:
        logger.warning("An answer's 'meta.total' is no number of items: it is ignored.")
    return None


def as_object(value: Any, place: str) -> dict[str, Any]:
    """Return the JSON object `value` is, or say that `place` holds none."""
    if not isinstance(value, dict):
        raise ShapeError(f"{place} is not an object")
    return value


def as_list(value: Any, place: str) -> list[Any]:
    """Return the JSON array `value` is.

    Null and false stand for an empty one, and an object for its values: PHP writes an array
    with gaps that way.
    """
    if value is None or value is False:
        return []
    if isinstance(value, dict):
        return list(value.values())
    if not isinstance(value, list):
        raise ShapeError(f"{place} is not a list")
    return value


def lower_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Return the object with its keys in lower case: ``Success`` and ``success`` are one."""
    return {key.lower(): value for key, value in values.items()}


def whole_number(value: Any) -> int | None:
    """Return the whole number that `value` is or spells, None if it is or spells none.

    Digits are counted before they are read: `int` refuses more than 4,300, and no id or count has
    more than 19.
    """
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if _WHOLE.fullmatch(text) else None
    elif isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= _GREATEST else None


def as_number(value: Any, place: str) -> int:
    """Return the number that `value` is or spells."""
    number = whole_number(value)
    if number is None:
        raise ShapeError(f"{place} is not a number")
    return number


def as_id(value: Any, place: str) -> int:
    """Return the id that `value` is or spells: a number that is not negative."""
    number = whole_number(value)
    if number is None or number < 0:
        raise ShapeError(f"{place} is not an id")
    return number


def as_text(value: Any, place: str) -> str:
    """Return a text or the digits of a number; an empty one is an error."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ShapeError(f"{place} is not a text")
    return str(value)


def as_text_or_empty(value: Any) -> str:
    """Return a text or the digits of a number, and '' for anything else."""
    if isinstance(value, float):
        return str(int(value) if value.is_integer() else value)
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def as_texts(value: Any, place: str) -> tuple[str, ...]:
    """Return a list of texts, some of which may be empty."""
    items = as_list(value, place)
    if set(map(type, items)) == {str}:
        return tuple(items)  # as nearly always, and there may be 250 of them
    return tuple("" if item == "" else as_text(item, place) for item in items)


def as_text_if_set(value: Any, place: str) -> str:
    """Return a text or an id, and '' for what stands for none: null, '', 0 and ``"0"``.

    Unlike `as_text_or_empty` it takes nothing for none that is something.
    """
    return as_text(value, place) if value and value != "0" else ""


def as_moment(value: Any) -> float | None:
    """Return a time in seconds since the epoch.

    None where there is none, which is null, empty or ``0000-00-00 00:00:00`` [rec], and where
    it has no offset: keys without one hold the account's own clock, whatever their name [rec].
    """
    try:
        moment = msgspec.convert(value, datetime)
        return None if moment.tzinfo is None else moment.timestamp()
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
