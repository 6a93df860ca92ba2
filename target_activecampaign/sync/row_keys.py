"""The keys of source rows: hashes of the properties that identify a record in its source."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LARGE = Decimal(10) ** 40
"""Numbers from here on are not written out, as `1e999999999` would fill the memory."""


class RowKeys:
    """Computes the keys of a stream's records.

    Args:
        names: The properties that identify a record, as the schema spells them, in any order.
        hasher: See `Ledger.row_hasher`.
    """

    def __init__(self, names: Sequence[str], hasher: Any) -> None:
        self.names = tuple(sorted(names, key=str.casefold))
        # Values of other properties are other keys, even if they are the same.
        self._hasher = hasher.copy()
        self._hasher.update(json.dumps([name.casefold() for name in self.names]).encode())

    def key_of(self, record: Mapping[str, Any]) -> bytes:
        """Return the hash of a record's key; an empty one if a part of the key is missing."""
        parts = []
        for name in self.names:
            value = record.get(name)
            if value is None or value == "":
                return b""
            parts.append(value if isinstance(value, str) else _text(value))
        hashed = self._hasher.copy()
        hashed.update(json.dumps(parts).encode())
        return bytes(hashed.digest())


def _text(value: Any) -> str:
    """Return the text of a value that is not text: the same for 7 and 7.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)):
        number = value if isinstance(value, Decimal) else Decimal(repr(value))
        if not number.is_finite() or abs(number) >= _LARGE:
            return str(number.normalize() if number.is_finite() else number)
        if number == number.to_integral_value():
            return str(int(number))
        return str(number.normalize())
    return json.dumps(value, sort_keys=True, default=str)
