"""Reject files: refused records as Singer streams that can be loaded again."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from singer_sdk.singerlib.json import deserialize_json, serialize_json

from target_activecampaign.model.record import REJECT_CODE, SourceStream
from target_activecampaign.singer.parsing import split_members
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from target_activecampaign.model.record import Source


_MOST_ALIKE = 1_000
"""Limit of streams of a run whose files would have the same name."""
_ADDED = {
    REJECT_CODE: {"type": ["null", "string"]},
    "_reject_reason": {"type": ["null", "string"]},
    "_reject_at": {"type": ["null", "string"], "format": "date-time"},
}


class RejectFiles:
    """Files of refused records: one per stream and run, readable only by its owner.

    A file is created with the first refused record.

    Args:
        folder: The folder of the files, created when it is needed.
        run_id: Part of the files' names, so that each run has its own.

    Attributes:
        paths: The files by stream.
    """

    def __init__(self, folder: str | Path, run_id: str) -> None:
        self._folder = Path(folder)
        self._run_id = run_id
        self._files: dict[str, BinaryIO] = {}
        self._announced: dict[str, SourceStream] = {}
        self.paths: dict[str, Path] = {}

    def write(self, source: Source, code: str, reason: str) -> None:
        """Write a refused record with its code and reason.

        When this returns, the operating system has the record, so it survives the process. Then a
        STATE after it may be written.

        Raises:
            OSError: The file can't be written; the error names it.
        """
        stream = source.stream
        file = self._files.get(stream.name) or self._open(stream.name)
        with private_files.naming(self.paths[stream.name]):
            if self._announced.get(stream.name) is not stream:
                file.write(_schema_line(stream))
                self._announced[stream.name] = stream
            file.write(_record_line(source, code, reason))
            file.flush()

    def close(self) -> None:
        """Close the files, if any record was refused.

        Raises:
            OSError: The rest can't be written; the error names the file.
        """
        files, self._files = self._files, {}
        for stream, file in files.items():
            with private_files.naming(self.paths[stream]):
                file.close()

    def _open(self, stream: str) -> BinaryIO:
        private_files.make_folder(self._folder)
        # 100 bytes, as a file name may have 255. Drop a character that is cut in the middle.
        name = re.sub(r"[^\w.-]", "_", stream).encode()[:100].decode("utf-8", "ignore")
        path = self._folder / f"{name}-{self._run_id}.jsonl"
        number = 1
        while True:
            try:
                # The run's id is random, so nobody can have put a link there before.
                file = private_files.open_private(path)
                break
            except FileExistsError:  # the file of a stream whose name differs in its case, for one
                number += 1
                if number > _MOST_ALIKE:
                    raise
                path = self._folder / f"{name}-{number}-{self._run_id}.jsonl"
        self.paths[stream] = path
        self._files[stream] = file
        return file


def _schema_line(stream: SourceStream) -> bytes:
    schema = {**stream.schema, "properties": {**stream.schema.get("properties", {}), **_ADDED}}
    message = {
        "type": "SCHEMA",
        "stream": stream.name,
        "schema": schema,
        "key_properties": list(stream.key_properties),
    }
    return serialize_json(message).encode() + b"\n"


def _record_line(source: Source, code: str, reason: str) -> bytes:
    added = {
        REJECT_CODE: code,
        "_reject_reason": reason,
        "_reject_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    try:
        # The SDK's own JSON keeps each digit of a number.
        message = deserialize_json(source.line)
        message["record"].update(added)
        return serialize_json(message).encode() + b"\n"
    except (ValueError, RecursionError, ArithmeticError):
        return _with_added(source.line, serialize_json(added).encode())


def _with_added(line: bytes, added: bytes) -> bytes:
    """Return the line of a record that can't be decoded, with properties added at its end."""
    parts = split_members(line.strip())
    record = parts["record"][:-1].rstrip()
    parts["record"] = record + (b"" if record == b"{" else b",") + added[1:]
    return (
        b"{" + b",".join(json.dumps(n).encode() + b":" + text for n, text in parts.items()) + b"}\n"
    )
