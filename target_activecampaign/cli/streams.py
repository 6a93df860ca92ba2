"""The streams that a tap announces, read from its SCHEMA messages or its catalog."""

from __future__ import annotations

import json
import select
import sys
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
"""Maximum seconds to wait for the first line of a pipe, which may stay open without a tap."""


@dataclass(frozen=True)
class DiscoveredStream:
    """A stream that a tap announces.

    Attributes:
        name: Its name.
        schema: The JSON schema of its records.
        keys: The properties that identify a record.
        bookmarks: The replication keys.
    """

    name: str
    schema: dict[str, Any]
    keys: tuple[str, ...] = ()
    bookmarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamSource:
    """The place from which streams are read.

    Attributes:
        catalog: The path of a tap's catalog, or None.
        messages: A file of messages, or None for standard input unless it is a terminal.
    """

    catalog: str | None = None
    messages: IO[str] | None = None

    def read(self) -> list[DiscoveredStream]:
        """Return the streams; none if the input has no SCHEMA message.

        Raises:
            InvalidInputLine: A line is not a message, or the file is not a catalog.
            SingerSDKError: A schema is not valid.
        """
        if self.catalog is not None:
            return _read_catalog(self.catalog)
        return _read_messages(_piped_input() if self.messages is None else self.messages)


def _piped_input() -> IO[str] | None:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return None
    ready, _, _ = select.select([sys.stdin], [], [], _WAIT_SECONDS)
    return sys.stdin if ready else None


def _lines(messages: IO[str] | None) -> Iterator[str | bytes]:
    """Yield the lines of the input.

    Raises:
        InvalidInputLine: A line is too long.
    """
    source = getattr(messages, "buffer", messages)
    number = 0
    while source is not None and (line := source.readline(MAX_LINE_BYTES + 1)):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInputLine(f"{describe_long_line(describe_place(number), MAX_LINE_BYTES)}.")
        yield line


def _read_messages(messages: IO[str] | None) -> list[DiscoveredStream]:
    """Return the streams announced before the first record, so as not to read all records."""
    found: dict[str, DiscoveredStream] = {}
    for number, line in enumerate(_lines(messages), start=1):
        if not line.strip():
            continue
        message = _object(line, f"Line {number} of the input is not a Singer message.")
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


def _read_catalog(path: str) -> list[DiscoveredStream]:
    """Return the selected streams of a catalog."""
    problem = f"The file {path} is not the catalog of a Singer tap."
    content = _object(Path(path).read_text("utf-8-sig", "replace"), problem)
    try:
        entries = list(Catalog.from_dict(content).streams)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidInputLine(problem) from None
    found = [_from_entry(entry) for entry in entries if entry.metadata.root.selected is not False]
    if not found:
        raise InvalidInputLine(f"The catalog {path} has no selected streams.")
    return found


def _from_entry(entry: CatalogEntry) -> DiscoveredStream:
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


def _object(text: str | bytes, problem: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = read_record_message(text) if isinstance(text, bytes) else None
    if not isinstance(found, dict):
        raise InvalidInputLine(problem)
    return found
