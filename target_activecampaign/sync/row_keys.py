"""The keys of source rows: hashes of the properties that identify a record in its source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from target_activecampaign.text import scalar_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RowKeys:
    """Computes the keys of a stream's records.

    Args:
        names: The properties that identify a record, as the schema spells them.
        hasher: See `Ledger.row_hasher`.
    """

    def __init__(self, names: Sequence[str], hasher: Any) -> None:
        self.names = tuple(names)
        self._hasher = hasher

    def key_of(self, record: Mapping[str, Any]) -> bytes:
        """Return the hash of a record's key; an empty one if a part of the key is missing."""
        parts = []
        for name in self.names:
            value = record.get(name)
            if value is None or value == "":
                return b""
            parts.append(value if isinstance(value, str) else scalar_text(value))
        hashed = self._hasher.copy()
        hashed.update(json.dumps(parts).encode())
        return bytes(hashed.digest())
