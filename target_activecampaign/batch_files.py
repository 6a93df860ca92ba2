"""BATCH messages: the records of their files, one by one."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._batch import BatchFileFormat, StorageTarget

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class BatchFileError(ValueError):
    """A batch file that can't be read; the text names it and what to do."""


def record_lines(
    encoding: Mapping[str, Any], manifest: Sequence[str]
) -> Iterator[tuple[str, int, bytes]]:
    """The records of a BATCH message's files: the file, the line's number, the line of JSON.

    Files are read as a stream, never whole.

    Args:
        encoding: The message's `encoding`: `format` and `compression`.
        manifest: The message's `manifest`: the files' URLs or paths.

    Raises:
        BatchFileError: A form other than JSON lines, plain or gzip; or a file that is not there.
    """
    kind, compression = encoding.get("format"), encoding.get("compression") or "none"
    if kind != BatchFileFormat.JSONL or compression not in {"none", "gzip"}:
        raise BatchFileError(
            f"A BATCH message has files of format '{kind}' with compression '{compression}'; "
            "this target reads 'jsonl', plain or 'gzip'. Set the tap's 'batch_config' so."
        )
    for url in manifest:
        head, tail = StorageTarget.split_url(url)
        try:
            with StorageTarget.from_url(head).open(tail, mode="rb") as raw:
                lines = gzip.open(raw) if compression == "gzip" else raw  # noqa: SIM115
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield url, number, line
        except (OSError, EOFError, zlib.error) as error:
            raise BatchFileError(
                f"The batch file {url} can't be read ({type(error).__name__}). Target and tap "
                "must see the same files."
            ) from None
