"""The rows of runs that were cut off: their records come again, and get no second row."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from target_activecampaign.outcomes.rows import DELIVERED, ID, OUTCOME, RECORD_HASH, RUN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_activecampaign.outcomes.rows import Row
    from target_activecampaign.outcomes.store import EarlierRow

_AT_ONCE = 5000


class EarlierRows:
    """Rows of runs that were cut off, in a temporary file: memory does not grow with them.

    Only one thread at a time may use it.

    Args:
        rows: The rows.
    """

    def __init__(self, rows: Iterable[EarlierRow]) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("CREATE TABLE earlier (hash TEXT, id TEXT PRIMARY KEY, delivered INTEGER)")
        self._db.execute("BEGIN")
        put = "INSERT OR REPLACE INTO earlier VALUES (?, ?, ?)"
        self._db.executemany(put, ((one[0], one[1], one[2] in DELIVERED) for one in rows))
        self._db.execute("COMMIT")
        self._db.execute("CREATE INDEX by_hash ON earlier (hash)")

    def has(self, row: Row) -> bool:
        """Return whether there is a row of this id."""
        found = self._db.execute("SELECT 1 FROM earlier WHERE id = ?", (row[ID],))
        return found.fetchone() is not None

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows of these runs that are stored only now."""
        put = "INSERT OR REPLACE INTO earlier VALUES (?, ?, ?)"
        self._db.executemany(
            put, [(row[RECORD_HASH], row[ID], row[OUTCOME] in DELIVERED) for row in rows]
        )

    def match(self, rows: Sequence[Row]) -> list[Row]:
        """Return new rows as they are to be stored.

        A record that has come again takes the place of its earlier row. If it was delivered then
        and not sent now, its earlier row stays. An unchanged record always has a row of its own.
        """
        return [one for row in rows if (one := self._match(row)) is not None]

    def _match(self, row: Row) -> Row | None:
        if row[OUTCOME] == "unchanged":
            return row
        query = "SELECT id, delivered FROM earlier WHERE hash = ? ORDER BY id"
        own = f"{row[RUN]}-"
        some = self._db.execute(query, (row[RECORD_HASH],)).fetchall()
        found = next((one for one in some if not one[0].startswith(own)), None)
        if found is None:
            return row
        id_, delivered = found
        # Only once: the same record may have come several times in one run.
        self._db.execute("DELETE FROM earlier WHERE id = ?", (id_,))
        if delivered and row[OUTCOME] in {"skipped", "merged"}:
            return None
        return [id_, *row[ID + 1 :]]

    def close(self) -> None:
        """Delete the file."""
        self._db.close()
