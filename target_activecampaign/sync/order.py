"""The order of changes: a record that is older than one read before it in the run is outdated.

Change logs number their records (`_sdc_lsn`), and so do some taps (`_sdc_sequence`). The numbers of
one row can be compared within a run; across runs they can't, as a restored server starts anew.
"""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OUTDATED = "It is older than a record of the same row."
"""The problem of an outdated record, compared by identity."""

_NUMBERED_BY = ("_sdc_lsn", "_sdc_sequence")
_LARGEST = 2**63
_LOG_POSITION = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
"""A position in PostgreSQL's log as text, such as `16/B374D848`."""


class RecordNumbers:
    """Reads the numbers of a stream's records.

    Args:
        names: The properties that hold them, the more exact one first.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names
        fields = [(f"f{index}", Any, None) for index in range(len(names))]
        rename = {f"f{index}": name for index, name in enumerate(names)}
        kind = msgspec.defstruct("Numbers", fields, rename=rename, gc=False)
        self._decoder = msgspec.json.Decoder(kind)

    @classmethod
    def of(cls, properties: Iterable[str]) -> RecordNumbers | None:
        """Return the numbers of a stream with these properties; None if it has none."""
        names = [
            name for wanted in _NUMBERED_BY for name in properties if name.casefold() == wanted
        ]
        return cls(names) if names else None

    def number_of(self, raw: msgspec.Raw, record: Mapping[str, Any] | None) -> int | None:
        """Return a record's number; None if it has none.

        Args:
            raw: The record as JSON; empty if it is decoded already.
            record: The decoded record.
        """
        if record is not None:
            values = [record.get(name) for name in self._names]
        else:
            try:
                numbers = self._decoder.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return None
            values = [getattr(numbers, f"f{index}") for index in range(len(self._names))]
        return next((one for value in values if (one := _number(value)) is not None), None)


class ReadOrder:
    """Remembers the latest number of each row that was read, in a temporary file."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def is_outdated(self, segment: int, identity: bytes, number: int) -> bool:
        """Return whether a later record was read before; if not, remember this one.

        Args:
            segment: The segment of the record.
            identity: The hash of its row's key or of its contact.
            number: Its number.
        """
        if self._db is None:
            # An empty name is a temporary file: memory does not grow with the stream.
            self._db = sqlite3.connect("", isolation_level=None)
            self._db.execute(
                "CREATE TABLE latest (segment INTEGER, row BLOB, number INTEGER, "
                "PRIMARY KEY (segment, row)) WITHOUT ROWID"
            )
        where = (segment, identity)
        found = self._db.execute(
            "SELECT number FROM latest WHERE segment = ? AND row = ?", where
        ).fetchone()
        if found is not None and found[0] > number:
            return True
        self._db.execute("INSERT OR REPLACE INTO latest VALUES (?, ?, ?)", (*where, number))
        return False

    def close(self) -> None:
        """Delete the file."""
        if self._db is not None:
            self._db.close()


def _number(value: Any) -> int | None:
    """Return a number that can be stored; None for anything else."""
    if isinstance(value, str):
        position = _LOG_POSITION.fullmatch(value.strip())
        if position is not None:
            value = (int(position[1], 16) << 32) + int(position[2], 16)
        elif value.strip().isdecimal() and len(value) <= len(str(_LARGEST)):
            value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if -_LARGEST <= value < _LARGEST else None
