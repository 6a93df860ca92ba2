"""A record on its way: where it came from, and the stream as the tap announced it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

REJECT_CODE = "_reject_code"
"""The property that only records of reject files have."""


@dataclass(frozen=True, eq=False)
class SourceStream:
    """A stream as the tap announced it, before stream maps.

    Attributes:
        name: Its name.
        schema: The JSON schema of its records.
        key_properties: The properties that identify a record.
    """

    name: str
    schema: dict[str, Any] = field(repr=False)
    key_properties: tuple[str, ...] = ()


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a contact came from.

    Attributes:
        name: The stream's name after stream maps, under which the record is counted.
        stream: The stream as the tap announced it.
        line: The tap's own RECORD message, for the reject file.
        epoch: The span between two STATE messages in which it was read.
    """

    name: str
    stream: SourceStream
    line: bytes
    epoch: int
