"""The reader of Singer messages: fast, interruptible, and with no content of a message in the log.

The SDK's own reader binds `sys.stdin` when it is imported, can't be woken from a blocked read, and
logs whole lines that it can't parse. This one replaces it by the SDK's `message_reader_class`.
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
from typing import IO, TYPE_CHECKING, Any

import msgspec
from singer_sdk.singerlib.encoding.base import GenericSingerReader
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.singer.held_lines import HeldLines
from target_activecampaign.singer.messages import (
    Place,
    check_members,
    describe_long_line,
    describe_place,
)
from target_activecampaign.singer.parsing import read_message
from target_activecampaign.singer.stream_order import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.singer.stream_order import StreamOrder


class Envelope(msgspec.Struct, gc=False):
    """A message whose record is not decoded yet."""

    type: str
    stream: str = ""
    record: msgspec.Raw = msgspec.Raw()
    version: Any = None


_envelope_decoder = msgspec.json.Decoder(Envelope)

Callbacks = dict[str, Callable[[dict[str, Any]], None]]
OnRecords = Callable[[str, object, Sequence[msgspec.Raw], Sequence[bytes], Sequence[Place]], bool]

MAX_LINE_BYTES = 1 << 26
_CHUNK_BYTES = 1 << 16
_SMALL_CHUNK_BYTES = 1 << 14
_PAUSE_SECONDS = 0.002
_TICK_SECONDS = 0.5


class MessageReader(GenericSingerReader[str]):
    """Reads Singer messages from standard input, or from a given stream.

    Attributes:
        line: The message in process, as it was read.
        line_number: Its line number, from 1.
        on_tick: Called between messages, at least twice a second while the input is silent.
        on_records: Called with consecutive records of one stream and version, before they are
            decoded: the stream, the version, the records, the lines and their places. If it
            returns False, the reader passes each message to its callback.
        size: The size of the input in bytes; None if it is not a file.
        bytes_read: The number of bytes read so far.
        waiting: Whether the reader is waiting for input.
        max_line_bytes: The limit for the length of a line, in bytes.
        order: Decides which messages wait for others; None if none do.
        has_dropped: Whether messages that waited were dropped, after an error or a signal.
        turn: The part of a message that is processed now: `Turn.NOW` for all of it. A message that
            is processed twice has `Turn.TWICE` at first; it and all others that have waited have
            `Turn.LATER`.
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
        self.order: StreamOrder | None = None
        self.turn = Turn.NOW
        self.has_dropped = False
        self._held = HeldLines()
        self._stopped = False
        self._waker: tuple[socket.socket, socket.socket] | None = None

    @property
    def default_input(self) -> IO[str]:
        """Standard input as it is now, not when the SDK was imported."""
        return sys.stdin

    @property
    def stopped(self) -> bool:
        """True once `stop` has been called."""
        return self._stopped

    def stop(self) -> None:
        """End the input after the current message. May be called from a signal handler."""
        self._stopped = True
        if self._waker is not None:
            self._waker[1].send(b"\0")

    def process_lines(
        self,
        file_input: IO[str] | None,
        callbacks: Callbacks,
    ) -> Counter[str]:
        """Pass each message to its callback.

        Args:
            file_input: The messages, one a line; None for standard input.
            callbacks: The callbacks, by message type.

        Returns:
            The number of messages, by type.

        Raises:
            InvalidInputLine: A line is not a Singer message; the text does not quote it.
        """
        counts: Counter[str] = Counter()
        try:
            for lines in self._read_lines(file_input or self.default_input):
                if not any(map(bytes.strip, lines)):
                    self.line_number += len(lines)  # there may be millions of blank lines
                    continue
                for run, envelopes in _split_runs(lines):
                    if self.order is None:
                        self._process_run(run, envelopes, callbacks, counts)
                    else:
                        self._process_in_turn(self.order, run, envelopes, callbacks, counts)
                    if self._stopped:
                        return counts
            if self.order is not None:
                self.order.check_names()
            self._process_held(callbacks, counts)
        finally:
            # After an error or a signal, what waits is not sent: not all people came who must not.
            self.has_dropped = bool(self._held)
            self._held.close()
        return counts

    def _process_run(
        self,
        run: list[bytes],
        envelopes: list[Envelope],
        callbacks: Callbacks,
        counts: Counter[str],
    ) -> None:
        """Process consecutive records of a stream, or another message."""
        if envelopes[0].type == "RECORD" and self._offer_records(run, envelopes):
            counts["RECORD"] += len(run)
            self.line_number += len(run)
        else:
            self._process_each(run, callbacks, counts)

    def _process_in_turn(
        self,
        order: StreamOrder,
        run: list[bytes],
        envelopes: list[Envelope],
        callbacks: Callbacks,
        counts: Counter[str],
    ) -> None:
        """Process messages now, or let them wait."""
        if not run[0].strip():
            self._process_each(run, callbacks, counts)
            return
        turn = self._turn_of(order, run[0], envelopes[0])
        if turn is Turn.AFTER_OTHERS:
            self.order = None
            self._process_held(callbacks, counts)
            if self._stopped:
                return
        if turn in (Turn.LATER, Turn.TWICE):
            self._held.add(self.line_number + 1, run)
        if turn is Turn.LATER:
            self.line_number += len(run)
        else:
            self.turn = turn if turn is Turn.TWICE else Turn.NOW
            self._process_run(
                run, envelopes, callbacks, Counter() if turn is Turn.TWICE else counts
            )
            self.turn = Turn.NOW

    def _turn_of(self, order: StreamOrder, line: bytes, head: Envelope) -> Turn:
        kind, stream, message = head.type, head.stream, None
        if kind == "SCHEMA" or not kind:
            self.line_number += 1
            message = self.deserialize_json(line)
            self.line_number -= 1
            if not isinstance(message, dict):
                return Turn.NOW
            kind, stream = str(message.get("type")), str(message.get("stream", ""))
        return order.turn(kind, stream, message)

    def _process_held(self, callbacks: Callbacks, counts: Counter[str]) -> None:
        """Process the messages that have waited, in their order, under their own line numbers."""
        self.order = None
        if not self._held:
            return
        now, self.turn = self.line_number, Turn.LATER
        for number, lines in self._held.take():
            self.line_number = number - 1
            for run, envelopes in _split_runs(lines):
                self._process_run(run, envelopes, callbacks, counts)
                if self._stopped:
                    return
            self.on_tick()
        self.line_number, self.turn = now, Turn.NOW

    def _offer_records(self, lines: list[bytes], envelopes: list[Envelope]) -> bool:
        """Offer consecutive records to `on_records`; return whether it took them."""
        first = envelopes[0]
        numbers = range(self.line_number + 1, self.line_number + 1 + len(lines))
        raws = [one.record for one in envelopes]
        return self.on_records(first.stream, first.version, raws, lines, numbers)

    def _process_each(
        self,
        lines: list[bytes],
        callbacks: Callbacks,
        counts: Counter[str],
    ) -> None:
        """Pass the message of each line to its callback, until the reader is stopped."""
        for line in lines:
            self.line_number += 1
            if line.strip():
                counts[self._process(line, callbacks)] += 1
            if self._stopped:
                break

    def _process(self, line: bytes, callbacks: Callbacks) -> str:
        """Pass a message to its callback, and return its type."""
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
        """Return a message as Python objects (see `read_message`).

        Raises:
            InvalidInputLine: The line is not JSON; the error does not quote it.
        """
        try:
            return read_message(line)  # type: ignore[no-any-return]
        except (ValueError, RecursionError) as error:
            where = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            raise InvalidInputLine(
                f"Line {self.line_number} of the input is not valid JSON{where}: it was cut off, "
                "or the tap wrote something that is not a Singer message. Run the tap alone and "
                "look at that line. It isn't shown here, as it may hold personal data."
            ) from None

    @staticmethod
    def assert_line_requires(line_dict: dict[str, Any], requires: set[str]) -> None:
        """Check a message by `check_members`; the SDK calls this."""
        check_members(line_dict, requires)

    def _read_lines(self, source: IO[str]) -> Iterator[list[bytes]]:
        """Yield lines as they arrive, some at a time."""
        descriptor = _descriptor(source)
        if descriptor is None:
            while text := source.readline(self.max_line_bytes + 1):
                if len(text) > self.max_line_bytes:
                    raise self._line_too_long()
                yield [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text]
                self.on_tick()
            return
        self.size = _remaining_bytes(descriptor)
        self._waker = socket.socketpair()
        try:
            yield from self._poll_lines(descriptor)
        finally:
            for end in self._waker:
                end.close()
            self._waker = None

    def _line_too_long(self) -> InvalidInputLine:
        place = describe_place(self.line_number + 1)
        return InvalidInputLine(f"{describe_long_line(place, self.max_line_bytes)}.")

    def _poll_lines(self, descriptor: int) -> Iterator[list[bytes]]:
        """Yield the lines of a pipe or file; `stop` ends a wait for the next one."""
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
            chunk = os.read(descriptor, _CHUNK_BYTES)
            self.bytes_read += len(chunk)
            if not chunk:
                if any(rest):
                    yield [b"".join(rest)]
                return
            head, *lines = chunk.split(b"\n")
            rest.append(head)
            length += len(head)
            if length > self.max_line_bytes:
                raise self._line_too_long()
            if lines:
                last = lines.pop()
                yield [b"".join(rest), *lines]
                rest, length = [last], len(last)
            if len(chunk) < _SMALL_CHUNK_BYTES and not self._stopped:
                # The tap is slower than the target. Each poll costs more than a line does, so wait
                # for several lines.
                time.sleep(_PAUSE_SECONDS)


def _split_runs(lines: list[bytes]) -> Iterator[tuple[list[bytes], list[Envelope]]]:
    """Split lines into runs of records of one stream and version, and single other lines.

    Yields:
        The lines and their envelopes.
    """
    envelopes = _decode_envelopes(lines)
    start, count = 0, len(lines)
    while start < count:
        head, end = envelopes[start], start + 1
        if head.type != "RECORD":
            yield lines[start:end], [head]
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


def _decode_envelopes(lines: list[bytes]) -> list[Envelope]:
    """Return the envelope of each line; one without a type for a line that can't be decoded."""
    try:
        return list(map(_envelope_decoder.decode, lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return list(map(_decode_envelope, lines))


def _decode_envelope(line: bytes) -> Envelope:
    try:
        return _envelope_decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Envelope("")


def _descriptor(source: IO[str]) -> int | None:
    """Return the file descriptor of an unread stream; None if it can't be polled."""
    if os.name != "posix":
        return None
    try:
        return source.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _remaining_bytes(descriptor: int) -> int | None:
    """Return the number of bytes left to read of a file; None for a pipe."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
