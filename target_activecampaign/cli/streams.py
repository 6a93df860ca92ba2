"""The streams that a tap announces, as far as they can be known without a run.

They stand in SCHEMA messages or in the tap's catalog.
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from singer_sdk.singerlib import Catalog
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.singer.flattening import without_booleans
from target_activecampaign.singer.messages import (
    check_property_names,
    describe_long_line,
    describe_place,
)
from target_activecampaign.singer.parsing import read_record_message
from target_activecampaign.singer.reader import MAX_LINE_BYTES
from target_activecampaign.singer.validation import check_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.singerlib import CatalogEntry

_WAIT_SECONDS = 30.0
"""How long the first line of a pipe may take: where no tap is, a pipe may stay open for ever."""


@dataclass(frozen=True)
class DiscoveredStream:
    """A stream as a tap announces it.

    Attributes:
        name: Its name.
        schema: The JSON schema of its records.
        keys: The properties that identify a record.
        bookmarks: The properties by which it is replicated.
    """

    name: str
    schema: dict[str, Any]
    keys: tuple[str, ...] = ()
    bookmarks: tuple[str, ...] = ()


Source = Callable[[], list[DiscoveredStream]]
"""What reads the streams when it is called; none if nobody announces any.

It raises `InvalidInputLine` for what is no message or catalog, and `SingerSDKError` for a schema
that is none.
"""


def source(catalog: str | None, messages: IO[str] | None) -> Source:
    """Where the streams are to be read.

    Args:
        catalog: The path of a tap's catalog.
        messages: A file of messages; standard input, unless it is a terminal, if there is neither.
    """
    if catalog is not None:
        return lambda: _of_catalog(catalog)
    return lambda: _of_messages(_piped() if messages is None else messages)


def _piped() -> IO[str] | None:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    ready, _, _ = select.select([sys.stdin], [], [], _WAIT_SECONDS)
    return sys.stdin if ready else None


def _lines(messages: IO[str] | None) -> Iterator[str | bytes]:
    """Lines as they are written, as far as they are needed.

    Raises:
        InvalidInputLine: One is longer than a line may be.
    """
    source = getattr(messages, "buffer", messages)
    number = 0
    while source is not None and (line := source.readline(MAX_LINE_BYTES + 1)):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInputLine(f"{describe_long_line(describe_place(number), MAX_LINE_BYTES)}.")
        yield line


def _of_messages(messages: IO[str] | None) -> list[DiscoveredStream]:
    """The streams before the first message that is no SCHEMA: nobody waits for all records."""
    found: dict[str, DiscoveredStream] = {}
    for number, line in enumerate(_lines(messages), start=1):
        if not line.strip():
            continue
        message = _object(line, f"Line {number} of the input is no Singer message.")
        if message.get("type") == "SCHEMA":
            one = _stream(message.get("stream"), message.get("schema"))
            check_property_names(message, one.name, one.schema["properties"])
            keys, bookmarks = message.get("key_properties"), message.get("bookmark_properties")
            found[one.name] = DiscoveredStream(
                one.name, one.schema, tuple(keys or ()), tuple(bookmarks or ())
            )
        elif found:
            break
    return list(found.values())


def _of_catalog(path: str) -> list[DiscoveredStream]:
    """The streams that a catalog selects."""
    wrong = f"The catalog {path} is none of a Singer tap's."
    content = _object(Path(path).read_text("utf-8-sig", "replace"), wrong)
    try:
        entries = list(Catalog.from_dict(content).streams)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidInputLine(wrong) from None
    found = [_of_entry(entry) for entry in entries if entry.metadata.root.selected is not False]
    if not found:
        raise InvalidInputLine(f"The catalog {path} selects no stream.")
    return found


def _of_entry(entry: CatalogEntry) -> DiscoveredStream:
    one = _stream(entry.stream or entry.tap_stream_id, entry.schema.to_dict())
    selected = entry.metadata.resolve_selection()
    properties = {
        name: schema
        for name, schema in one.schema["properties"].items()
        if selected.get(("properties", name), True)
    }
    full = (entry.replication_method or "").upper() == "FULL_TABLE"
    bookmark = None if full else entry.replication_key
    return DiscoveredStream(
        one.name,
        {**one.schema, "properties": properties},
        tuple(entry.key_properties or ()),
        (bookmark,) if bookmark else (),
    )


def _stream(name: Any, schema: Any) -> DiscoveredStream:
    check_schema(schema, str(name))
    return DiscoveredStream(
        str(name), {**schema, "properties": without_booleans(schema["properties"])}
    )


def _object(text: str | bytes, wrong: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = read_record_message(text) if isinstance(text, bytes) else None
    if not isinstance(found, dict):
        raise InvalidInputLine(wrong)
    return found
