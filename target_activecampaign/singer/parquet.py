"""Parquet files: their rows as the lines of JSON that a tap would have written instead.

pyarrow is large and few need it: it comes with the extra `parquet`, and is imported when the
first such file is read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.text import how_to_install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ROWS = 2000
"""Rows that are decoded at a time."""

_PAGES_BYTES = 1 << 16
"""Bytes of a column that are read ahead; without a limit a whole row group's would be."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class FormatError(ValueError):
    """A file that is not what it should be; the text says how, and quotes nothing of it."""


def rows(path: Path) -> Iterator[bytes]:
    """The rows of a Parquet file, each as a JSON object.

    Times are ISO 8601, to the microsecond; decimals keep their digits; not-a-number is null;
    maps are objects; bytes are base64. A row has all the columns: what a record lacked is null.

    Args:
        path: The file, which is there and can be opened.

    Raises:
        FormatError: It is no such file, was cut off or damaged; or there is no pyarrow.
    """
    arrow, parquet = _pyarrow()
    failures = (arrow.ArrowException, OSError)
    try:
        file = parquet.ParquetFile(path, buffer_size=_PAGES_BYTES, pre_buffer=False)
    except failures:
        raise FormatError("it is not Parquet, or was cut off") from None
    with file:
        batches = file.iter_batches(_ROWS, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except failures:
                raise FormatError("it was cut off or damaged") from None
            if batch is None:
                return
            for row in _records(arrow, batch):
                yield _encoder.encode(row)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FormatError(
            "Parquet needs pyarrow, which is not installed. "
            f"{how_to_install('parquet')} Or have the tap write 'jsonl'"
        ) from None


def _records(arrow: Any, batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch as Python objects.

    Raises:
        FormatError: A value has no such form; the text says in which columns.
    """
    try:
        return _convertible(arrow, batch).to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return]
    except (arrow.ArrowException, ArithmeticError, LookupError, ValueError):
        names = ", ".join(f"'{name}'" for name in batch.schema.names if _unfit(arrow, batch, name))
        raise FormatError(
            f"a value in the column {names} can't be written as JSON, such as a time after the "
            "year 9999"
        ) from None


def _unfit(arrow: Any, batch: Any, name: str) -> bool:
    try:
        _convertible(arrow, batch.select([name])).to_pylist(maps_as_pydicts="strict")
    except (arrow.ArrowException, ArithmeticError, LookupError, ValueError):
        return True
    return False


def _convertible(arrow: Any, batch: Any) -> Any:
    """A batch without the types that Python has no good counterpart of.

    Python's times end at microseconds. A float of 32 bits becomes one of 64 by way of its
    text: 0.1 would be 0.10000000149011612 otherwise.
    """
    types, schema = arrow.types, batch.schema

    def as_text(kind: Any) -> Any:
        if types.is_float32(kind):
            return arrow.string()
        if types.is_timestamp(kind) and kind.unit == "ns":
            return arrow.timestamp("us", tz=kind.tz)
        if types.is_time(kind) and kind.unit == "ns":
            return arrow.time64("us")
        if types.is_duration(kind) and kind.unit == "ns":
            return arrow.duration("us")
        return kind

    def as_number(kind: Any) -> Any:
        return arrow.float64() if types.is_float32(kind) else as_text(kind)

    for change in (as_text, as_number):
        fields = [field.with_type(_changed(arrow, field.type, change)) for field in schema]
        batch = batch.cast(arrow.schema(fields), safe=False)
    return batch


def _changed(arrow: Any, kind: Any, change: Callable[[Any], Any]) -> Any:
    """A type with all the plain types in it changed, and none of them encoded as a dictionary."""
    types = arrow.types

    def inner(kind: Any) -> Any:
        return _changed(arrow, kind, change)

    if types.is_dictionary(kind):
        return inner(kind.value_type)
    if types.is_struct(kind):
        return arrow.struct([field.with_type(inner(field.type)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(inner(kind.key_type), inner(kind.item_type))
    if types.is_fixed_size_list(kind):
        return arrow.list_(inner(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return arrow.large_list(inner(kind.value_type))
    return arrow.list_(inner(kind.value_type)) if types.is_list(kind) else change(kind)
