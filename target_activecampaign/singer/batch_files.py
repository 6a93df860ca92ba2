"""BATCH messages: the records of their files, one at a time."""

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
from target_activecampaign.singer.columnar_files import FormatError, read_arrow, read_parquet
from target_activecampaign.singer.messages import describe_long_line
from target_activecampaign.singer.reader import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


_GZIP = b"\x1f\x8b"
_STARTS = {b"PAR1": "Parquet", b"ARROW1": "Arrow"}
"""The first bytes of files of these formats."""

_COLUMNAR = {"parquet": read_parquet, "arrow": read_arrow}
"""The formats whose files hold columns, each with its reader."""

_BUFFER_BYTES = 1 << 17
"""Bytes per read. Threads may switch at each read, which costs more than the read itself."""

_SCHEME = re.compile(r"(?:([a-z][a-z0-9+.-]*)://([^/]*)|(file):(?=/))", re.IGNORECASE)


def record_lines(
    encoding: Mapping[str, Any], manifest: Sequence[str], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[str, int, bytes]]:
    """Yield the records of a BATCH message's files.

    Files are read as streams, never whole, and are not deleted. Blank lines are yielded too, so
    that the caller can act between them.

    Args:
        encoding: The message's `encoding`: `format` and `compression`.
        manifest: The message's `manifest`: the files' URLs or paths.
        max_line_bytes: The limit for the length of a line, in bytes.

    Yields:
        The file's URL, the record's number in it from 1, and the record as JSON.

    Raises:
        BatchFileError: The format is not supported, or a file is missing or damaged.
    """
    form, compression = encoding.get("format"), encoding.get("compression") or "none"
    # These files name their own compression.
    if form not in _COLUMNAR and (form != "jsonl" or compression not in {"none", "gzip"}):
        raise BatchFileError(
            f"A BATCH message has files of format '{form}' with compression '{compression}'. This "
            "target reads 'jsonl', plain or 'gzip', 'parquet' and 'arrow'. Change the tap's "
            "'batch_config'."
        )
    for url in manifest:
        number = 0
        try:
            path = _path(url)
            with _open_regular(path) as file:
                lines = (
                    _COLUMNAR[form](path)
                    if form in _COLUMNAR
                    else _read_json_lines(file, compression, max_line_bytes)
                )
                for line in lines:
                    number += 1
                    _check_length(line, number, max_line_bytes)
                    yield url, number, line.strip()
        except FileNotFoundError:
            raise BatchFileError(
                f"The batch file {url} is missing. Target and tap must share the same files, and "
                "nothing may delete them before the run has ended."
            ) from None
        except (OSError, EOFError, zlib.error, FormatError) as error:
            where = f" after record {number:,}" if number else ""
            raise BatchFileError(
                f"The batch file {url} can't be read{where}: {_reason(error)}."
            ) from None
        except BatchFileError:
            raise
        except ValueError:  # U+0000, or a lone surrogate
            raise BatchFileError(
                "The manifest of a BATCH message has an entry that can't be the name of a file."
            ) from None


def _check_length(line: bytes, number: int, limit: int) -> None:
    if len(line) > limit:
        raise FormatError(describe_long_line(f"its line {number:,}", limit))


def _open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file.

    Raises:
        FormatError: It is not a regular file: reading it might block, or never end.
        OSError: It can't be opened.
    """
    _check_regular(os.stat(path).st_mode)  # noqa: PTH116 - beside fstat
    # Non-blocking: the file may have been replaced by a pipe that has no writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = io.FileIO(os.open(path, flags))
    try:
        _check_regular(os.fstat(file.fileno()).st_mode)
    except FormatError:
        file.close()
        raise
    return io.BufferedReader(file, _BUFFER_BYTES)


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise FormatError("it is a folder; the manifest must name the files in it")
    if not stat.S_ISREG(mode):
        raise FormatError("it is a pipe, a socket or a device, not a regular file")


def _read_json_lines(
    file: io.BufferedReader, compression: str, max_line_bytes: int
) -> Iterator[bytes]:
    """Yield the lines of a file, each cut at one byte more than the limit."""
    start = file.peek(max(map(len, _STARTS)))
    for first, form in _STARTS.items():
        if start.startswith(first):
            raise FormatError(f"it is {form}, but its message calls it 'jsonl'")
    if compression == "gzip" and not start.startswith(_GZIP):
        raise FormatError("its message calls it 'gzip', but it is not, or it was cut off")
    # Taps of the Meltano SDK always write gzip, and announce the compression of their settings.
    if start.startswith(_GZIP):
        with gzip.open(file) as unpacked:
            yield from iter(partial(unpacked.readline, max_line_bytes + 1), b"")
    else:
        yield from iter(partial(file.readline, max_line_bytes + 1), b"")


def _path(url: object) -> Path:
    """Return the path of a file that is given by a URL or a path.

    Raises:
        BatchFileError: It is not a file on this machine.
    """
    if not isinstance(url, str) or not url:
        raise BatchFileError("The manifest of a BATCH message has an entry that is not a URL.")
    match = _SCHEME.match(url)
    if match is None:
        return Path(url)
    scheme, host = (match[1] or match[3]).lower(), match[2] or ""
    if scheme != "file" or host not in {"", "localhost"}:
        # Only the scheme is named: the rest may hold a password or a signature.
        raise BatchFileError(
            f"A BATCH message has a file at {scheme}://, which is not on this machine. This target "
            "only reads files on a disk that it shares with the tap. In the tap's 'batch_config', "
            "set the storage's root to a folder such as file:///var/tmp/batches."
        )
    rest = url[match.end() :]
    # Taps of the Meltano SDK percent-encode names below a root that is a path, and don't below a
    # root that is a URL.
    decoded, literal = Path(unquote(rest)), Path(rest)
    return literal if literal.exists() and not decoded.exists() else decoded


def _reason(error: Exception) -> str:
    """Return the reason for an error as a clause that quotes nothing from the file."""
    if isinstance(error, FormatError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "it was cut off or damaged"
