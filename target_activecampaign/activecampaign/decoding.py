"""Taking answers apart: what the API's loosely typed JSON may look like.

Decoding is lenient where the API is: numbers come as numbers or as strings, ``Success`` is
also spelt ``success``, some values are null, and an empty list may be null or false. Whatever
else is missing or of another shape raises `ShapeError`.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_MOST_DIGITS = 18


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
    total = as_object(values.get("meta") or {}, "meta").get("total")
    return None if total is None else as_number(total, "meta.total")


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


def as_number(value: Any, place: str) -> int:
    """Return the number that `value` is or spells."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise ShapeError(f"{place} is not a number") from None


def as_whole_number(value: Any) -> int | None:
    """Return the whole number that `value` is or spells, such as 8, 8.0 or "8"; None if none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str):
        digits = value.strip()
        plain = digits.removeprefix("-")
        whole = plain.isascii() and plain.isdecimal() and len(plain) <= _MOST_DIGITS
        return int(digits) if whole else None
    return value if isinstance(value, int) else None


def as_text(value: Any, place: str) -> str:
    """Return a text or the digits of a number; an empty one is an error."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise ShapeError(f"{place} is not a text")
    return str(value)


def as_text_or_empty(value: Any) -> str:
    """Return a text or the digits of a number, and '' for anything else."""
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
    except msgspec.ValidationError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()
