"""Rows of outcomes in a folder of files, one for each run: a Singer stream that can be loaded."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from target_activecampaign.errors import OutcomesError
from target_activecampaign.outcomes import schema as tables
from target_activecampaign.outcomes.rows import COLUMNS
from target_activecampaign.outcomes.store import EarlierRow
from target_activecampaign.storage import private_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from target_activecampaign.outcomes.rows import Row

_RUNS, _OUTCOMES = str(tables.runs.name), str(tables.outcomes.name)
_PREFIX = "outcomes-"
_START = "%Y%m%dT%H%M%S.%f"
"""The start of a run in the name of its file, in UTC."""
# Encoded faster than a dictionary.
_Record = msgspec.defstruct("_Record", [(name, Any) for name in COLUMNS], gc=False)
_HEAD = b'{"type":"RECORD","stream":"%s","record":' % _OUTCOMES.encode()


class FileStore:
    """Rows of outcomes in a folder, readable only by their owner.

    Args:
        folder: The folder, created when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Without a buffer, which would keep lines that could not be written.
        self._descriptor: int | None = None
        self._path = folder

    def prepare(self) -> None:
        """Create the folder.

        Raises:
            OutcomesError: It can't be created.
        """
        with self._errors():
            private_files.make_folder(self._folder)

    def begin_run(self, run: Mapping[str, Any]) -> None:
        """Create the run's file.

        Raises:
            OutcomesError: It can't be created.
        """
        # With microseconds: the order of the names is that in which the files are loaded.
        start = run["started"].strftime(_START)
        self._path = self._folder / f"{_PREFIX}{start}-{_random_part(run['run'])}.jsonl"
        with self._errors():
            self._descriptor = private_files.create_private(self._path)
        self._append(
            b"".join(_schema_line(table) for table in (tables.runs, tables.outcomes))
            + _record_line(_RUNS, run)
        )

    def _path_of(self, run: str) -> Path | None:
        """Return the file of an earlier run; None if there is none."""
        return next(self._folder.glob(f"{_PREFIX}*-{_random_part(run)}.jsonl"), None)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with private_files.naming(self._path):
                yield
        except OSError as error:
            raise OutcomesError(
                f"Rows of outcomes can't be stored: {private_files.explain(error)} Their place is "
                "the setting 'outcomes_url'."
            ) from None

    def _append(self, lines: bytes) -> None:
        """Append whole lines; if that fails, nothing of them stays.

        When this returns, the operating system has them, so that they survive the process.
        """
        with self._errors():
            assert self._descriptor is not None  # noqa: S101 - `begin_run` comes first
            size = os.lseek(self._descriptor, 0, os.SEEK_END)
            rest = memoryview(lines)
            try:
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, size)
                raise

    def _messages(self, run: str) -> Iterator[dict[str, Any]]:
        """Yield the messages of a run's file, if there is one."""
        path = self._path_of(run)
        if path is None:
            return
        with path.open("rb") as file:
            for line in file:
                with suppress(msgspec.DecodeError, UnicodeDecodeError):
                    message = msgspec.json.decode(line)
                    if isinstance(message, dict):
                        yield message

    def _records(self, run: str, stream: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a stream in a run's file."""
        for message in self._messages(run):
            if message.get("type") == "RECORD" and message.get("stream") == stream:
                yield message["record"]

    def rows_of(self, runs: Collection[str]) -> Iterator[EarlierRow]:
        """Yield the rows of runs that were cut off. A line that was cut off is removed."""
        with self._errors():
            for run in runs:
                path = self._path_of(run)
                if path is not None:
                    _repair(path)
                for row in self._records(run, _OUTCOMES):
                    yield EarlierRow(row["record_hash"], row["id"], row["outcome"])

    def close_runs(self, runs: Collection[str], at: datetime) -> None:
        """Store that runs were interrupted, unless they have stored their end."""
        for run in runs:
            with self._errors():
                # Its file also has the ends of runs that it has closed.
                found = [one for one in self._records(run, _RUNS) if one["run"] == run]
            if found and found[-1].get("outcome") is None:
                closed = {**found[-1], "outcome": "interrupted", "finished": at}
                self._append(_record_line(_RUNS, closed))

    def recount(self, runs: Collection[str]) -> None:
        """Do nothing: whoever loads the files can count the rows."""

    def write(self, rows: Sequence[Row]) -> None:
        """Store rows for good. A row with the id of an earlier one replaces it, once loaded."""
        encode = msgspec.json.encode
        self._append(b"".join([_HEAD + encode(_Record(*row)) + b"}\n" for row in rows]))

    def end_run(self, run: Mapping[str, Any]) -> None:
        """Store the end of a run, given all columns of its row."""
        self._append(_record_line(_RUNS, run))

    def prune(self, before: datetime) -> None:
        """Delete the files of runs that started before a time."""
        with self._errors():
            for path in self._folder.glob(f"{_PREFIX}*.jsonl"):
                started = path.stem.removeprefix(_PREFIX).partition("-")[0]
                with suppress(ValueError):  # a file of another name
                    if datetime.strptime(f"{started}+0000", f"{_START}%z") < before:
                        path.unlink()

    def forget(self, people: Collection[str], addresses: Collection[str]) -> int:
        """Delete the rows of a person from all files, and return their number.

        Args:
            people: The hashes of the person's addresses.
            addresses: The addresses.

        Raises:
            OutcomesError: A file can't be read or replaced.
        """
        deleted = 0
        with self._errors():
            for path in sorted(self._folder.glob(f"{_PREFIX}*.jsonl")):
                deleted += _forget_in(path, set(people), set(addresses))
        return deleted

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with self._errors():
                os.close(descriptor)


def _repair(path: Path) -> None:
    """Remove the last line of a file if it has no end."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        start = end
        while start:
            size = min(start, 64 * 1024)
            start = file.seek(start - size)
            newline = file.read(size).rfind(b"\n")
            if newline >= 0:
                start += newline + 1
                break
        if start < end:
            file.truncate(start)


def _random_part(run: str) -> str:
    """Return the part of a run's id behind its time, which no other run has."""
    return run.rpartition("-")[2]


def _forget_in(path: Path, people: set[str], addresses: set[str]) -> int:
    """Delete the rows of a person from a file, and return their number."""

    def is_of_person(line: bytes) -> bool:
        try:
            message = msgspec.json.decode(line)
            row = message["record"] if message["type"] == "RECORD" else {}
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            return False
        return row.get("person") in people or row.get("address") in addresses

    with path.open("rb") as file:
        count = sum(map(is_of_person, file))
        if count:
            file.seek(0)
            private_files.replace_lines(path, (line for line in file if not is_of_person(line)))
    return count


def _record_line(stream: str, record: Mapping[str, Any]) -> bytes:
    shown = {
        name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
        for name, value in record.items()
    }
    return msgspec.json.encode({"type": "RECORD", "stream": stream, "record": shown}) + b"\n"


def _schema_line(table: sa.Table) -> bytes:
    message = {
        "type": "SCHEMA",
        "stream": str(table.name),
        "schema": {
            "type": "object",
            "properties": {str(column.name): _type_of(column) for column in table.columns},
        },
        "key_properties": [str(column.name) for column in table.primary_key],
    }
    return msgspec.json.encode(message) + b"\n"


def _type_of(column: sa.Column[Any]) -> dict[str, Any]:
    kind = "integer" if isinstance(column.type, sa.Integer) else "string"
    types: dict[str, Any] = {"type": ["null", kind] if column.nullable else [kind]}
    return {**types, "format": "date-time"} if isinstance(column.type, sa.DateTime) else types
