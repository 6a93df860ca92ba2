"""Parquet files: their rows as the JSON lines that a tap would have written.

pyarrow is large and rarely needed, so it comes with the extra `parquet` and is imported when the
first such file is read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.text import install_hint, quoted_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BATCH_ROWS = 2000
"""Number of rows that are decoded at a time."""

_READ_AHEAD_BYTES = 1 << 16
"""Bytes of a column that are read ahead; without a limit, pyarrow reads a whole row group."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class FormatError(ValueError):
    """A file is not of the expected format; the text says why, as a clause that quotes nothing."""


def read_rows(path: Path) -> Iterator[bytes]:
    """Yield the rows of a Parquet file, each as a JSON object.

    Times are ISO 8601, to the microsecond; decimals keep their digits; NaN is null; maps are
    objects; bytes are base64. Each row has all columns: a value that a record lacked is null.

    Args:
        path: An existing file that can be opened.

    Raises:
        FormatError: The file is not Parquet, is cut off or damaged, or pyarrow is missing.
    """
    arrow, parquet = _import_pyarrow()
    failures = (arrow.ArrowException, OSError)
    try:
        file = parquet.ParquetFile(path, buffer_size=_READ_AHEAD_BYTES, pre_buffer=False)
    except failures:
        raise FormatError("it is not Parquet, or was cut off") from None
    with file:
        batches = file.iter_batches(_BATCH_ROWS, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except failures:
                raise FormatError("it was cut off or damaged") from None
            if batch is None:
                return
            for row in _rows_of(arrow, batch):
                yield _encoder.encode(row)


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise FormatError(
            "Parquet needs pyarrow, which is not installed. "
            f"{install_hint('parquet')} Or make the tap write 'jsonl'"
        ) from None


def _rows_of(arrow: Any, batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch as Python objects.

    Raises:
        FormatError: A value can't be converted; the text names its columns.
    """
    try:
        return _cast_types(arrow, batch).to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return]
    except (arrow.ArrowException, ArithmeticError, LookupError, ValueError):
        names = quoted_list(
            name for name in batch.schema.names if not _is_convertible(arrow, batch, name)
        )
        raise FormatError(
            f"a value in the column {names} can't be written as JSON, such as a time after the "
            "year 9999"
        ) from None


def _is_convertible(arrow: Any, batch: Any, name: str) -> bool:
    """Return whether the values of a column can be converted to Python objects."""
    try:
        _cast_types(arrow, batch.select([name])).to_pylist(maps_as_pydicts="strict")
    except (arrow.ArrowException, ArithmeticError, LookupError, ValueError):
        return False
    return True


def _cast_types(arrow: Any, batch: Any) -> Any:
    """Return a batch without the types that Python has no exact counterpart of.

    Python's times end at microseconds. A 32-bit float is cast to 64 bits by way of its text, as
    0.1 would become 0.10000000149011612 otherwise.
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
        fields = [field.with_type(_map_type(arrow, field.type, change)) for field in schema]
        batch = batch.cast(arrow.schema(fields), safe=False)
    return batch


def _map_type(arrow: Any, kind: Any, change: Callable[[Any], Any]) -> Any:
    """Return a type with `change` applied to the plain types in it, and no dictionary encoding."""
    types = arrow.types

    def inner(kind: Any) -> Any:
        return _map_type(arrow, kind, change)

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
