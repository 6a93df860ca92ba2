"""Records that the quick decoder gives up on."""

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
"""A record, and the reason why it can't be read whole, if it can't."""


def read_record_line(reader: MessageReader, line: bytes, place: Place) -> ReadRecord:
    """Read the record of a RECORD message.

    Args:
        reader: The reader of the input.
        line: The message.
        place: Where it stands.

    Raises:
        InvalidInputLine: It is no RECORD message; the text says where it stands.
    """
    now = reader.line_number
    if isinstance(place, int):
        reader.line_number = place
    message = reader.deserialize_json(line)
    reader.assert_line_requires(message, {"stream", "record"})
    reader.line_number = now
    return record_of(message)


def record_of(message: dict[str, Any]) -> ReadRecord:
    """Return the record of a RECORD message that was read."""
    return message["record"], _refusal_of(message)


def read_batch_record(text: bytes, place: Place) -> ReadRecord:
    """Read the record of a line of a batch file.

    Raises:
        BatchFileError: It is no JSON object.
    """
    record = None
    with suppress(ValueError, RecursionError):
        record = read_record(text)
    if not isinstance(record, dict):
        raise BatchFileError(
            f"{describe_place(place)} is no JSON object: the file was cut off, damaged, or is of "
            "another format."
        )
    return record, _refusal_of(record)


def _refusal_of(content: dict[str, Any]) -> Refusal | None:
    if isinstance(content, UnreadableRecord):
        return Refusal("RECORD_INVALID", f"{content.reason}.", needs_place=True)
    return None
