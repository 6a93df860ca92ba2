"""Parquet and Arrow files: their rows as the JSON lines that a tap would have written.

pyarrow is large and rarely needed, so it comes with the extra `parquet` and is imported when the
first such file is read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec

from target_activecampaign.text import install_hint, quoted_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_BATCH_ROWS = 2000
"""Number of rows that are decoded at a time."""

_READ_AHEAD_BYTES = 1 << 16
"""Bytes of a column that are read ahead; without a limit, pyarrow reads a whole row group."""

_JSON_TYPE = "arrow.json"
"""The extension type of columns whose texts are JSON."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class FormatError(ValueError):
    """A file is not of the expected format; the text says why, as a clause that quotes nothing."""


def read_parquet(path: Path) -> Iterator[bytes]:
    """Yield the rows of a Parquet file, each as a JSON object.

    Times are ISO 8601, to the microsecond; decimals keep their digits; NaN is null; maps are
    objects; bytes are base64. Each row has all columns: a value that a record lacked is null.

    Args:
        path: An existing file that can be opened.

    Raises:
        FormatError: The file is not Parquet, is cut off or damaged, or pyarrow is missing.
    """
    arrow, parquet = _import_pyarrow("parquet", "Parquet")
    failures = (arrow.ArrowException, OSError)
    try:
        file = parquet.ParquetFile(path, buffer_size=_READ_AHEAD_BYTES, pre_buffer=False)
    except failures:
        raise FormatError("it is not Parquet, or was cut off") from None
    with file:
        batches = file.iter_batches(_BATCH_ROWS, use_threads=False)
        yield from _lines_of(arrow, batches, failures)


def read_arrow(path: Path) -> Iterator[bytes]:
    """Yield the rows of an Arrow IPC file, as `read_parquet` does.

    Values of the extension type `arrow.json` become the JSON that they hold. One record batch of
    the file is in memory at a time.

    Args:
        path: An existing file that can be opened.

    Raises:
        FormatError: The file is not Arrow, is cut off or damaged, or pyarrow is missing.
    """
    arrow, ipc = _import_pyarrow("ipc", "Arrow")
    failures = (arrow.ArrowException, OSError)
    # Not a memory map: if the file were cut meanwhile, the process would die without a message.
    with arrow.OSFile(str(path)) as source:
        try:
            file = ipc.open_file(source)
        except failures:
            raise FormatError("it is not an Arrow file, or was cut off") from None
        batches = (
            batch.slice(start, _BATCH_ROWS)
            for batch in map(file.get_batch, range(file.num_record_batches))
            for start in range(0, batch.num_rows, _BATCH_ROWS)
        )
        yield from _lines_of(arrow, batches, failures)


def _lines_of(
    arrow: Any, batches: Iterator[Any], failures: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    """Yield the rows of batches as JSON.

    Args:
        arrow: The module `pyarrow`.
        batches: The batches; reading the next one may fail.
        failures: The errors of a damaged file.

    Raises:
        FormatError: The file is damaged, or a value can't be written as JSON.
    """
    while True:
        try:
            batch = next(batches, None)
        except failures:
            raise FormatError("it was cut off or damaged") from None
        if batch is None:
            return
        for row in _rows_of(arrow, batch):
            yield _encoder.encode(row)


def _import_pyarrow(module: str, form: str) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module(f"pyarrow.{module}")
    except ImportError:
        raise FormatError(
            f"{form} needs pyarrow, which is not installed. "
            f"{install_hint('parquet')} Or make the tap write 'jsonl'"
        ) from None


def _rows_of(arrow: Any, batch: Any) -> list[dict[str, Any]]:
    """Return the rows of a batch as Python objects.

    Raises:
        FormatError: A value can't be converted; the text names its columns.
    """
    try:
        rows: list[dict[str, Any]] = _cast_types(arrow, batch).to_pylist(maps_as_pydicts="strict")
    except (arrow.ArrowException, ArithmeticError, LookupError, ValueError):
        names = quoted_list(
            name for name in batch.schema.names if not _is_convertible(arrow, batch, name)
        )
        raise FormatError(
            f"a value in the column {names} can't be written as JSON, such as a time after the "
            "year 9999"
        ) from None
    for name, parse in _json_parsers(arrow, batch.schema).items():
        for row in rows:
            row[name] = parse(row[name])
    return rows


def _json_parsers(arrow: Any, fields: Iterable[Any]) -> dict[str, Callable[[Any], Any]]:
    """Return what turns values into the JSON that they hold, by the names of such fields."""
    found = {field.name: _json_parser(arrow, field.type) for field in fields}
    return {name: parse for name, parse in found.items() if parse is not None}


def _json_parser(arrow: Any, kind: Any) -> Callable[[Any], Any] | None:
    """Return what turns values of a type into the JSON that they hold; None if they hold none."""
    types = arrow.types
    if getattr(kind, "extension_name", None) == _JSON_TYPE:
        return _parse_json
    if types.is_struct(kind):
        return _struct_parser(_json_parsers(arrow, kind))
    if types.is_map(kind):
        return _map_parser(_json_parser(arrow, kind.item_type))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _list_parser(_json_parser(arrow, kind.value_type))
    return None


def _struct_parser(parsers: dict[str, Callable[[Any], Any]]) -> Callable[[Any], Any] | None:
    def parse(value: Any) -> Any:
        return value and {
            name: parsers[name](inner) if name in parsers else inner
            for name, inner in value.items()
        }

    return parse if parsers else None


def _map_parser(item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    def parse(value: Any) -> Any:
        assert item is not None  # noqa: S101 - else nobody calls this
        return value and {name: item(inner) for name, inner in value.items()}

    return parse if item else None


def _list_parser(item: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    def parse(value: Any) -> Any:
        return value and [item(inner) for inner in value] if item else value

    return parse if item else None


def _parse_json(value: Any) -> Any:
    """Return JSON as it stands in a text; a text that is not JSON stays a text."""
    try:
        # On one line, as a record is one line of a reject file.
        return value and msgspec.Raw(msgspec.json.format(value.encode(), indent=-1))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return value


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
    if getattr(kind, "extension_name", None) == _JSON_TYPE:
        return inner(kind.storage_type)
    if types.is_struct(kind):
        return arrow.struct([field.with_type(inner(field.type)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(inner(kind.key_type), inner(kind.item_type))
    if types.is_fixed_size_list(kind):
        return arrow.list_(inner(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return arrow.large_list(inner(kind.value_type))
    return arrow.list_(inner(kind.value_type)) if types.is_list(kind) else change(kind)
