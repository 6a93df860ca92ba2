"""The origin of records: the tap's streams and messages."""

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
    """The record that a contact was made of.

    Attributes:
        name: The stream's name after stream maps, under which the record is counted.
        stream: The stream as the tap announced it.
        line: The tap's RECORD message, for the reject file.
        epoch: The time between two STATE messages in which it was read.
        number: Its place in the order in which the run read its records.
        row: The key of its source row; empty if rows need not be known.
        contact_key: The key of its contact; empty if it has no valid address.
        contact_hash: The hash of that key.
        read_at: The time when it was read, by ActiveCampaign's clock.
        record_hash: The keyed hash of the record, if its route has made one.
        attempt: 1, or more for a rejected record of an earlier run that is tried again.
    """

    name: str
    stream: SourceStream
    line: bytes
    epoch: int
    number: int = 0
    row: bytes = b""
    contact_key: str = ""
    contact_hash: bytes = b""
    read_at: float = 0.0
    record_hash: bytes | None = None
    attempt: int = 1
