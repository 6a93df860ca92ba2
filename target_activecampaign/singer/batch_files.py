"""BATCH messages: the records of their files, one by one."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from target_activecampaign.errors import BatchFileError
from target_activecampaign.singer.parquet import FormatError, rows
from target_activecampaign.singer.reader import MAX_LINE_BYTES, line_too_long

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
"""What files of these formats begin with."""

_BUFFER = 1 << 17
"""Bytes that are read at once: at each reading, threads take turns, which costs more than it."""

_SCHEME = re.compile(r"(?:([a-z][a-z0-9+.-]*)://([^/]*)|(file):(?=/))", re.IGNORECASE)


def record_lines(
    encoding: Mapping[str, Any], manifest: Sequence[str], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[str, int, bytes]]:
    """The records of a BATCH message's files: the file, the record's number, its line of JSON.

    Blank lines come too, so that whoever reads has a turn between them. Files are read as a
    stream, never whole, and are left where they are.

    Args:
        encoding: The message's `encoding`: `format` and `compression`.
        manifest: The message's `manifest`: the files' URLs or paths.
        max_line_bytes: Bytes that a line may have.

    Raises:
        BatchFileError: A form that can't be read, or a file that is not there or not whole.
    """
    form, compression = encoding.get("format"), encoding.get("compression") or "none"
    # A Parquet file says itself how it is compressed.
    if form != "parquet" and (form != "jsonl" or compression not in {"none", "gzip"}):
        raise BatchFileError(
            f"A BATCH message has files of format '{form}' with compression '{compression}'; this "
            "target reads 'jsonl', plain or 'gzip', and 'parquet'. Set the tap's 'batch_config' so."
        )
    for url in manifest:
        number = 0
        try:
            path = _path(url)
            with _opened(path) as file:
                lines = (
                    rows(path)
                    if form == "parquet"
                    else _json_lines(file, compression, max_line_bytes)
                )
                for line in lines:
                    number += 1
                    _check_length(line, number, max_line_bytes)
                    yield url, number, line.strip()
        except FileNotFoundError:
            raise BatchFileError(
                f"The batch file {url} is not there. Target and tap must see the same files, and "
                "nothing may delete them before the run has ended."
            ) from None
        except (OSError, EOFError, zlib.error, FormatError) as error:
            where = f" after record {number:,}" if number else ""
            raise BatchFileError(
                f"The batch file {url} can't be read{where}: {_reason(error)}."
            ) from None
        except BatchFileError:
            raise
        except ValueError:  # a NUL, or half a surrogate pair
            raise BatchFileError(
                "The manifest of a BATCH message holds what can't be the name of a file."
            ) from None


def _check_length(line: bytes, number: int, limit: int) -> None:
    if len(line) > limit:
        raise FormatError(line_too_long(f"its line {number:,}", limit))


def _opened(path: Path) -> io.BufferedReader:
    """A regular file, opened.

    Raises:
        FormatError: It is something else, which may never end, or hold the run before it begins.
        OSError: It can't be opened.
    """
    _check_regular(os.stat(path).st_mode)  # noqa: PTH116 - beside fstat
    # Whatever stands there by now, a pipe that nobody writes to must not hold the run.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = io.FileIO(os.open(path, flags))
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)
    except FormatError:
        file.close()
        raise
    return io.BufferedReader(file, _BUFFER)


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise FormatError("it is a folder, and the manifest must name the files in it")
    if not stat.S_ISREG(mode):
        raise FormatError("it is a pipe, a socket or a device, and no regular file")


def _json_lines(file: io.BufferedReader, compression: str, max_line_bytes: int) -> Iterator[bytes]:
    """The lines of a file; of one that is too long, no more than shows that it is."""
    start = file.peek(len(_PARQUET))
    if start.startswith(_PARQUET):
        raise FormatError("it is Parquet, but its message calls it 'jsonl'")
    if compression == "gzip" and not start.startswith(_GZIP):
        raise FormatError("its message calls it 'gzip', which it is not, or it was cut off")
    # Taps of the Meltano SDK write gzip whatever they are told, and say what they were told.
    if start.startswith(_GZIP):
        with gzip.open(file) as unpacked:
            yield from iter(partial(unpacked.readline, max_line_bytes + 1), b"")
    else:
        yield from iter(partial(file.readline, max_line_bytes + 1), b"")


def _path(url: object) -> Path:
    """The file that a URL or a path stands for.

    Raises:
        BatchFileError: It is none on this machine.
    """
    if not isinstance(url, str) or not url:
        raise BatchFileError("The manifest of a BATCH message holds something that is no URL.")
    match = _SCHEME.match(url)
    if match is None:
        return Path(url)
    scheme, host = (match[1] or match[3]).lower(), match[2] or ""
    if scheme != "file" or host not in {"", "localhost"}:
        # No more of it is said: it may hold a password or a signature.
        raise BatchFileError(
            f"A BATCH message has a file at {scheme}://, which is no file of this machine. This "
            "target reads only what lies on a disk that it shares with the tap: in the tap's "
            "'batch_config', let the storage's root be a folder such as file:///var/tmp/batches."
        )
    rest = url[match.end() :]
    # Taps of the Meltano SDK encode a name below a root that is a path, and leave it as it is
    # below a root that is a URL.
    decoded, literal = Path(unquote(rest)), Path(rest)
    return literal if literal.exists() and not decoded.exists() else decoded


def _reason(error: Exception) -> str:
    """What is wrong with a file, without anything that may stand in it."""
    if isinstance(error, FormatError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it was cut off or damaged"
