"""Reading Singer messages: fast, interruptible, and without a word of their content in a log.

The SDK's own reader binds `sys.stdin` when it is imported, can't be woken from a blocked
read, and prints a line that it can't parse whole. This one is put in its place through the
SDK's `message_reader_class`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.singer.unreadable import (
    decimal_or_text,
    members,
    partly_read,
    unreadable_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Envelope(msgspec.Struct, gc=False):
    """A message whose record is not looked into yet."""

    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw()
    version: Any = None


_envelopes = msgspec.json.Decoder(Envelope)
_raws = msgspec.json.Decoder(list[msgspec.Raw])


def are_objects(texts: list[bytes]) -> bool:
    """Whether texts, without outer space, are JSON objects, without a look at what is in them."""
    joined = b",".join(texts)
    try:
        joined.decode()
        found = _raws.decode(b"[" + joined + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    # Two texts that are none by themselves may be two objects together, cut elsewhere.
    return list(map(bytes, found)) == texts and {text[:1] for text in texts} == {b"{"}


Place = int | tuple[str, int]
"""Where a record stands: the number of its line in the input, or a batch file and a line of it."""

OnRecords = Callable[[str, object, Sequence[msgspec.Raw], Sequence[bytes], Sequence[Place]], bool]


def place_text(place: Place) -> str:
    """Name the place of a record, as the beginning of a sentence."""
    if isinstance(place, int):
        return f"Line {place} of the input"
    url, number = place
    return f"Line {number} of the batch file {url}"


_FORMS: dict[str, type] = {
    "stream": str,
    "record": dict,
    "schema": dict,
    "encoding": dict,
    "manifest": list,
}
"""The form in which the parts of a message must come."""
_CALLED: dict[type, str] = {str: "text", dict: "JSON object", list: "JSON array"}

MAX_LINE_BYTES = 1 << 26
_CHUNK = 1 << 16
_SMALL = 1 << 14
_BREATH_SECONDS = 0.002
_TICK_SECONDS = 0.5


class MessageReader(GenericSingerReader[str]):
    """Reads messages from standard input, or from the stream that it is given.

    Attributes:
        line: The message that is being processed, as it came.
        line_number: Its number, from 1.
        on_tick: Called between messages, at least twice a second while the input is silent.
        on_records: Called with records that come one after the other, of one stream and version,
            before anything else is done with them: the stream, the version, the records, the
            lines and their numbers. It tells whether it takes them.
        size: Bytes of the input, where that is a file; None where nobody knows.
        bytes_read: How many of them were read.
        waiting: Whether it waits for more to come.
        max_line_bytes: Bytes that a line may have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line = b""
        self.line_number = 0
        self.on_tick: Callable[[], None] = lambda: None
        self.on_records: OnRecords = lambda *_: False
        self.size: int | None = None
        self.bytes_read = 0
        self.waiting = False
        self.max_line_bytes = MAX_LINE_BYTES
        self._stopped = False
        self._waker: tuple[socket.socket, socket.socket] | None = None

    @property
    def default_input(self) -> IO[str]:
        """Standard input as it is now, not as it was when the SDK was imported."""
        return sys.stdin

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """End the input after the message in work. May be called from a signal handler."""
        self._stopped = True
        if self._waker is not None:
            self._waker[1].send(b"\0")

    def process_lines(
        self,
        file_input: IO[str] | None,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],
    ) -> Counter[str]:
        """Hand each message to its callback.

        Args:
            file_input: The messages, one a line; None for standard input.
            callbacks: What to call, by the message's type.

        Returns:
            How many messages there were, by type.

        Raises:
            InvalidInputLine: A line that is no Singer message; its text does not quote it.
        """
        counts: Counter[str] = Counter()
        for lines in self._lines(file_input or self.default_input):
            if not any(map(bytes.strip, lines)):
                self.line_number += len(lines)  # there may be millions of blank ones
                continue
            for some, envelopes in _runs(lines):
                if envelopes and self._taken(some, envelopes):
                    counts["RECORD"] += len(some)
                    self.line_number += len(some)
                else:
                    for line in some:
                        self.line_number += 1
                        if line.strip():
                            counts[self._process(line, callbacks)] += 1
                        if self._stopped:
                            break
                if self._stopped:
                    return counts
        return counts

    def _taken(self, lines: list[bytes], envelopes: list[Envelope]) -> bool:
        """Whether records are taken as they are."""
        first = envelopes[0]
        numbers = range(self.line_number + 1, self.line_number + 1 + len(lines))
        raws = [one.record for one in envelopes]
        return self.on_records(first.stream, first.version, raws, lines, numbers)

    def _process(self, line: bytes, callbacks: dict[str, Callable[[dict[str, Any]], None]]) -> str:
        """Hand a message to its callback; returns its type."""
        self.line = line
        message = self.deserialize_json(line)
        kind = message.get("type") if isinstance(message, dict) else None
        callback = callbacks.get(kind) if isinstance(kind, str) else None
        if callback is None:
            raise InvalidInputLine(
                f"Line {self.line_number} of the input is not a Singer message: its type is "
                f"none of {', '.join(str(getattr(t, 'value', t)) for t in callbacks)}."
            )
        callback(message)
        return str(kind)

    def deserialize_json(self, line: str | bytes) -> dict[str, Any]:
        """A message as Python objects, numbers with a fraction as Decimal.

        A record that can't be read whole makes an `UnreadableRecord`; the value of such a STATE
        stays as it is written.

        Raises:
            InvalidInputLine: The line is not JSON; the error does not quote it.
        """
        try:
            return read_json(line)  # type: ignore[no-any-return]
        except (ValueError, RecursionError) as error:
            raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
            message = unreadable_record(raw) or _unread_state(raw)
            if message is not None:
                return message
            where = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            raise InvalidInputLine(
                f"Line {self.line_number} of the input is not valid JSON{where}: the tap wrote "
                "something that is no Singer message, or was cut off. Run the tap alone and look "
                "at that line; it isn't shown here since it may hold personal data."
            ) from None

    @staticmethod
    def assert_line_requires(line_dict: dict[str, Any], requires: set[str]) -> None:
        """Check that a message has what it must have, in its form, without quoting it.

        Raises:
            InvalidInputLine: It does not.
        """
        missing = sorted(requires - set(line_dict))
        kind = line_dict.get("type", "nameless")
        if missing:
            raise InvalidInputLine(f"A {kind} message lacks {', '.join(missing)}.")
        for name in requires:
            form = _FORMS.get(name, object)
            if not isinstance(line_dict[name], form):
                what = _CALLED[form]
                raise InvalidInputLine(f"The '{name}' of a {kind} message is no {what}.")

    def _lines(self, source: IO[str]) -> Iterator[list[bytes]]:
        """Lines as they come, some at a time."""
        descriptor = _descriptor(source)
        if descriptor is None:
            while text := source.readline(self.max_line_bytes + 1):
                if len(text) > self.max_line_bytes:
                    raise self._too_long()
                yield [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text]
                self.on_tick()
            return
        self.size = _size(descriptor)
        self._waker = socket.socketpair()
        try:
            yield from self._polled_lines(descriptor)
        finally:
            for end in self._waker:
                end.close()
            self._waker = None

    def _too_long(self) -> InvalidInputLine:
        place = place_text(self.line_number + 1)
        return InvalidInputLine(f"{line_too_long(place, self.max_line_bytes)}.")

    def _polled_lines(self, descriptor: int) -> Iterator[list[bytes]]:
        """Lines of a pipe or file; a wait for the next can be ended by `stop`."""
        assert self._waker is not None  # noqa: S101 - set by the only caller
        watched = [descriptor, self._waker[0].fileno()]
        rest: list[bytes] = []
        length = 0
        while not self._stopped:
            self.waiting = True
            ready, _, _ = select.select(watched, [], [], _TICK_SECONDS)
            self.waiting = False
            self.on_tick()
            if descriptor not in ready:
                continue
            chunk = os.read(descriptor, _CHUNK)
            self.bytes_read += len(chunk)
            if not chunk:
                if any(rest):
                    yield [b"".join(rest)]
                return
            head, *lines = chunk.split(b"\n")
            rest.append(head)
            length += len(head)
            if length > self.max_line_bytes:
                raise self._too_long()
            if lines:
                last = lines.pop()
                yield [b"".join(rest), *lines]
                rest, length = [last], len(last)
            if len(chunk) < _SMALL and not self._stopped:
                # A tap that is slower than we are would be read line by line, and each look costs
                # more than a line does: let some lines come.
                time.sleep(_BREATH_SECONDS)


def line_too_long(place: str, limit: int) -> str:
    """The sentence that tells of a line that is longer than the limit."""
    return (
        f"{place} is longer than {limit:,} bytes: see whether it is one record, and raise "
        "'max_line_bytes' if it is"
    )


def read_record(text: bytes) -> Any:
    """A record as Python objects; an `UnreadableRecord` if only a part can be read.

    Raises:
        ValueError, RecursionError: It is not JSON.
    """
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        record = partly_read(text)
        if record is None:
            raise
        return record


def read_json(text: str | bytes) -> Any:
    """JSON as Python objects, numbers with a fraction as Decimal.

    Raises:
        ValueError, RecursionError: It can't be read.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        # Takes what JSON does not allow and taps write all the same: NaN, lone surrogates.
        return json.loads(text, parse_float=decimal_or_text)


def _unread_state(line: bytes) -> dict[str, Any] | None:
    """A STATE message with its value as it is written: it is the tap's own, whatever it holds."""
    parts = members(line.strip())
    if parts.get("type") != b'"STATE"' or "value" not in parts:
        return None
    try:
        parts["value"].decode()
    except UnicodeDecodeError:
        return None
    return {"type": "STATE", "value": msgspec.Raw(parts["value"])}


def _runs(lines: list[bytes]) -> Iterator[tuple[list[bytes], list[Envelope]]]:
    """Lines, parted into records of one stream and version, and single lines.

    The second is what the records are; empty where the line is none.
    """
    envelopes = _decoded(lines)
    start, count = 0, len(lines)
    while start < count:
        head, end = envelopes[start], start + 1
        if head.type != "RECORD":
            yield lines[start:end], []
        else:
            stream, version = head.stream, head.version
            while (
                end < count
                and (one := envelopes[end]).type == "RECORD"
                and one.stream == stream
                and one.version == version
            ):
                end += 1
            yield lines[start:end], envelopes[start:end]
        start = end


def _decoded(lines: list[bytes]) -> list[Envelope]:
    """What lines are, without their content; of no type if that is not clear."""
    try:
        return list(map(_envelopes.decode, lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return list(map(_envelope, lines))


def _envelope(line: bytes) -> Envelope:
    try:
        return _envelopes.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Envelope("")


def _descriptor(source: IO[str]) -> int | None:
    """The file descriptor behind a stream from which nothing was read yet, if it can be polled."""
    if os.name != "posix":
        return None
    try:
        return source.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _size(descriptor: int) -> int | None:
    """How many bytes there are to read, if a file is read and not a pipe."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
