"""Decoding of single records that the fast decoder can't decode."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from target_activecampaign.errors import BatchFileError
from target_activecampaign.model.codes import Refusal
from target_activecampaign.singer.messages import describe_place
from target_activecampaign.singer.parsing import UnreadableRecord, read_record

if TYPE_CHECKING:
    from target_activecampaign.singer.messages import Place
    from target_activecampaign.singer.reader import MessageReader

ReadRecord = tuple[dict[str, Any], Refusal | None]
"""A record, and the reason why a part of it can't be read, if so."""


def read_record_line(reader: MessageReader, line: bytes, place: Place) -> ReadRecord:
    """Read the record of a RECORD message.

    Args:
        reader: The reader of the input.
        line: The message.
        place: Its place in the input.

    Raises:
        InvalidInputLine: It is not a RECORD message; the text names its place.
    """
    now = reader.line_number
    if isinstance(place, int):
        reader.line_number = place
    message = reader.deserialize_json(line)
    reader.assert_line_requires(message, {"stream", "record"})
    reader.line_number = now
    return record_of(message)


def record_of(message: dict[str, Any]) -> ReadRecord:
    """Return the record of a decoded RECORD message."""
    return message["record"], _refusal_of(message)


def read_batch_record(text: bytes, place: Place) -> ReadRecord:
    """Read the record of a line of a batch file.

    Raises:
        BatchFileError: It is not a JSON object.
    """
    record = None
    with suppress(ValueError, RecursionError):
        record = read_record(text)
    if not isinstance(record, dict):
        raise BatchFileError(
            f"{describe_place(place)} is not a JSON object: the file was cut off, damaged, or has "
            "another format."
        )
    return record, _refusal_of(record)


def _refusal_of(content: dict[str, Any]) -> Refusal | None:
    if isinstance(content, UnreadableRecord):
        return Refusal("RECORD_INVALID", f"{content.reason}.", needs_place=True)
    return None
