"""Decoding of the API's loosely typed JSON.

`msgspec` converts answers in its lax mode, which reads numbers that come as text. Every other
oddity of the API is a named step: a function in the annotation of a type, such as `Text`, that
is applied before the conversion. What still does not fit raises `msgspec.ValidationError`, whose
text names the place and the types, and quotes no value.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
M = TypeVar("M", bound="Model")

logger = logging.getLogger("target_activecampaign.client")

PERSONAL = "personal"
"""Marks a type whose values stay out of ``repr``, so that models can be logged."""

_type_lock = Lock()
_MAX = 2**63 - 1  # no database holds more, so it is no id or count either


def whole_number(value: Any) -> int | None:
    """Return the whole number that a value is or spells, else None."""
    with suppress(msgspec.ValidationError):
        value = value.strip() if isinstance(value, str) else value
        return int(msgspec.convert(value, Number, strict=False))
    return None


def _count(value: Any) -> int:
    """Return a count; 0 for null [rec] and anything else that is no number."""
    return whole_number(value) or 0


def _text(value: Any) -> str:
    """Return a text; the digits of a number, and an empty text for null [rec] and anything else."""
    if isinstance(value, float):
        return str(int(value) if value.is_integer() else value)
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def digits(value: Any) -> Any:
    """Return the digits of an id that comes as a number; anything else as it is."""
    return str(value) if type(value) is int else value


def _optional_id(value: Any) -> Any:
    """Return an empty text for null, 0 and ``"0"``, which mean no id [rec], and for no others."""
    return digits(value) if value and value != "0" else ""


def _texts(value: Any) -> Any:
    """Return a list with the digits of the ids that come as numbers."""
    items = as_list(value)
    return [digits(item) for item in items] if isinstance(items, list) else items


def _items(value: Any) -> Any:
    """Return a list in any form that `as_list` takes."""
    return as_list(value)


def _moment(value: Any) -> float | None:
    """Return a time in seconds since the epoch.

    Null, an empty text and ``0000-00-00 00:00:00`` [rec] are none, and neither is a time without
    an offset: such keys hold the account's own clock, whatever their name [rec].
    """
    try:
        moment = msgspec.convert(value, datetime)
        return None if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        return None


Number = Annotated[int, msgspec.Meta(ge=-_MAX, le=_MAX)]
Id = Annotated[int, msgspec.Meta(ge=0, le=_MAX)]
Ids = Annotated[tuple[Id, ...], _items]
TextId = Annotated[str, digits, msgspec.Meta(min_length=1)]
OptionalId = Annotated[str, _optional_id]
Count = Annotated[int, _count]
Text = Annotated[str, _text]
PersonalText = Annotated[str, _text, PERSONAL]
PersonalTextId = Annotated[str, digits, msgspec.Meta(min_length=1), PERSONAL]
PersonalTexts = Annotated[tuple[str, ...], _texts, PERSONAL]
Moment = Annotated[float | None, _moment]


class Model(msgspec.Struct, frozen=True):
    """Base of the models that are one JSON object each."""

    def __repr__(self) -> str:
        shown = [one.name for one in msgspec.structs.fields(self) if PERSONAL not in _marks(one)]
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
        return f"{type(self).__name__}({values})"


def _marks(field: msgspec.structs.FieldInfo) -> tuple[Any, ...]:
    """Return what a field's type is annotated with."""
    return getattr(field.type, "__metadata__", ())


@cache
def _steps(model: type[Model]) -> dict[str, Callable[[Any], Any]]:
    """Return the keys of a model's JSON object, each with the step that its type names."""
    fields = msgspec.structs.fields(model)
    return {one.encode_name: next(filter(callable, _marks(one)), _same) for one in fields}


def _same(value: Any) -> Any:
    return value


def read_model(value: Any, model: type[M], place: str) -> M:
    """Convert a JSON object to a model; `place` names it in errors."""
    return convert(_prepare(value, model), model, place)


def read_models(value: Any, model: type[M], place: str) -> list[M]:
    """Convert a JSON array of objects, in any form that `as_list` takes, to models."""
    items = as_list(value)
    if isinstance(items, list):
        items = [_prepare(item, model) for item in items]
    return convert(items, list[model], place)  # type: ignore[valid-type]


def _prepare(value: Any, model: type[Model]) -> Any:
    """Apply the steps of a model to a JSON object. Keys that the model lacks are dropped."""
    if not isinstance(value, dict):
        return value
    return {key: step(value[key]) for key, step in _steps(model).items() if key in value}


def convert(value: Any, kind: type[T], place: str) -> T:
    """Convert a JSON value with `msgspec.convert`; errors name the place in the answer.

    Raises:
        msgspec.ValidationError: The value does not fit, such as "expected `int`, got `bool` -
            at `lists[0].id`".
    """
    _read_types(kind)  # type: ignore[arg-type]  # mypy: a type is hashable
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
    text = text[0].lower() + text[1:]
    text = text.replace("`$", f"`{place}") if "`$" in text else f"{text} - at `{place}`"
    raise msgspec.ValidationError(text)


@cache
def _read_types(kind: type[Any]) -> None:
    """Let msgspec read the types of a model's fields, in one thread at a time.

    It reads them when a model is first used and keeps what it has read so far. A second thread
    that used the model meanwhile would crash the process (msgspec 0.22).
    """
    with _type_lock:
        msgspec.json.Decoder(kind)


def as_object(answer: Any) -> dict[str, Any]:
    """Return the JSON object that a whole answer is."""
    return convert(answer, dict[str, Any], "answer")


def as_list(value: Any) -> Any:
    """Return an empty list for null and false, and the values of an object.

    PHP writes an array with gaps as an object. Anything else is returned as it is.
    """
    if value is None or value is False:
        return []
    return list(value.values()) if isinstance(value, dict) else value


def lower_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with its keys in lower case: ``Success`` is also spelt ``success``."""
    return {key.lower(): value for key, value in values.items()}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a collection.

    Attributes:
        items: The models on this page.
        total: Number of items on all pages, None if the answer doesn't say.
    """

    items: list[T]
    total: int | None


def page_of(name: str, model: type[M]) -> Callable[[Any], Page[M]]:
    """Return the decoder of ``{name: [...], "meta": {"total": "2"}}`` [rec]."""

    def decode(answer: Any) -> Page[M]:
        values = collection(answer, name)
        return Page(read_models(values[name], model, name), total_of(values))

    return decode


def collection(answer: Any, name: str) -> dict[str, Any]:
    """Return an answer that has a collection of this name."""
    values = as_object(answer)
    if name not in values:
        raise msgspec.ValidationError(f"it has no `{name}`")
    return values


def total_of(values: dict[str, Any]) -> int | None:
    """Return ``meta.total`` of a collection's answer, None if it doesn't say."""
    meta = values.get("meta")  # PHP writes an empty object as an empty array
    total = meta.get("total") if isinstance(meta, dict) else None
    number = whole_number(total)
    if number is not None and number >= 0:
        return number
    if total is not None:
        logger.warning("An answer's 'meta.total' is not a number of items; it is ignored.")
    return None
