"""Parsing of JSON from taps, including what standard JSON parsers refuse.

Numbers with a fraction become Decimal. If only a part of a RECORD message can't be read, it becomes
null, so that one bad value costs one record. The slow path for such lines goes through the
brackets, without recursion and without converting numbers.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 64
"""Levels of nesting that are kept of a partly readable record."""
_MOST_DIGITS = 4300
"""Digits of the longest integer that Python converts."""

_TOKENS = re.compile(rb'\\.|[][{}",:]', re.DOTALL)

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_raw_list_decoder = msgspec.json.Decoder(list[msgspec.Raw])


class UnreadableRecord(dict[str, Any]):
    """A RECORD message, or a record, with null in place of what can't be read.

    Attributes:
        reason: Why it can't be read whole: the end of a sentence that begins with its place.
    """

    def __init__(self, content: dict[str, Any], reason: str) -> None:
        super().__init__(content)
        self.reason = reason


def read_json(text: str | bytes) -> Any:
    """Return JSON as Python objects, numbers with a fraction as Decimal.

    Raises:
        ValueError, RecursionError: It can't be read.
    """
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        # Accepts what JSON does not allow and taps write all the same: NaN, lone surrogates.
        return json.loads(text, parse_float=_decimal_or_text)


def read_record(text: bytes) -> Any:
    """Return a record as Python objects; an `UnreadableRecord` if only a part can be read.

    Raises:
        ValueError, RecursionError: It is not JSON.
    """
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        record = _read_partly(text)
        if record is None:
            raise
        return record


def read_message(line: str | bytes) -> Any:
    """Return a Singer message as Python objects.

    A RECORD message that can't be read whole becomes an `UnreadableRecord`. The value of a STATE
    message that can't be read becomes a `msgspec.Raw`, so that it is passed on as it was written.

    Raises:
        ValueError, RecursionError: It is not JSON.
    """
    try:
        return read_json(line)
    except (ValueError, RecursionError):
        raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
        message = read_record_message(raw) or _read_state_message(raw)
        if message is None:
            raise
        return message


def are_objects(texts: list[bytes]) -> bool:
    """Return whether each text, without outer spaces, is a JSON object; members are not decoded."""
    joined = b",".join(texts)
    try:
        joined.decode()
        found = _raw_list_decoder.decode(b"[" + joined + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    # Two texts that are not JSON may form two objects together, split at another place.
    return list(map(bytes, found)) == texts and {text[:1] for text in texts} == {b"{"}


def read_record_message(line: bytes) -> UnreadableRecord | None:
    """Return a RECORD message with a partly readable record; None if it is none."""
    parts = split_members(line.strip())
    if "record" not in parts or _read_or_none(parts.get("type", b"")) != "RECORD":
        return None
    record = _read_partly(parts["record"])
    rest = {name: _read_or_none(text) for name, text in parts.items() if name != "record"}
    is_read = all(rest[name] is not None or parts[name] == b"null" for name in rest)
    if record is None or not is_read:
        return None
    return UnreadableRecord({**rest, "record": dict(record)}, record.reason)


def _read_state_message(line: bytes) -> dict[str, Any] | None:
    """Return a STATE message with its value as written: only the tap needs to understand it."""
    parts = split_members(line.strip())
    if parts.get("type") != b'"STATE"' or "value" not in parts:
        return None
    try:
        parts["value"].decode()
    except UnicodeDecodeError:
        return None
    return {"type": "STATE", "value": msgspec.Raw(parts["value"])}


def _read_partly(text: bytes) -> UnreadableRecord | None:
    """Return a JSON object with null for what can't be read; None if it still is not an object."""
    reason, shallow = "holds a number that is too long to be read", _without_deep_levels(text)
    if shallow != text:
        reason = "is nested too deeply to be read"
    try:
        letters = shallow.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        letters, reason = shallow.decode("utf-8", "replace"), "is not text in UTF-8"
    try:
        content = json.loads(letters, parse_float=_decimal_or_text, parse_int=_int_or_none)
    except (ValueError, RecursionError):
        return None
    return UnreadableRecord(content, reason) if isinstance(content, dict) else None


def _read_or_none(text: bytes) -> Any:
    """Return a value that can be read whole; None for any other."""
    try:
        return json.loads(text, parse_float=_decimal_or_text)
    except (ValueError, RecursionError):
        return None


def _decimal_or_text(text: str) -> Decimal | str:
    """Return a number; its text if the exponent exceeds Decimal's range, which no schema allows."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return text


def _int_or_none(text: str) -> int | None:
    return int(text) if len(text) <= _MOST_DIGITS else None


def split_members(text: bytes) -> dict[str, bytes]:
    """Return the members of a JSON object as they are written, by name; none if it is not whole."""
    found: dict[str, bytes] = {}
    depth, start, colon, end = 0, 0, 0, -1
    for token, place in _tokens(text):
        if token in b"[{":
            depth += 1
            if depth == 1:
                start = place + 1
        elif token == b":":
            if depth == 1 and colon < start:
                colon = place
        elif token in b"]}" or depth == 1:
            if depth == 1 and colon > start:
                name = _read_or_none(text[start:colon])
                if not isinstance(name, str):
                    return {}
                found[name] = text[colon + 1 : place].strip()
                start = place + 1
            if token in b"]}":
                depth -= 1
                end = place
    is_whole = depth == 0 and text[:1] == b"{" and text[end:].strip() == b"}"
    return found if is_whole else {}


def _without_deep_levels(text: bytes) -> bytes:
    """Return JSON with null for everything that is nested deeper than `DEEPEST` levels."""
    parts: list[bytes] = []
    depth = copied = 0
    for token, place in _tokens(text):
        if token in b"[{":
            depth += 1
            if depth == DEEPEST:
                parts.append(text[copied:place])
        elif token in b"]}":
            if depth == DEEPEST:
                parts.append(b"null")
                copied = place + 1
            depth -= 1
    # A text that ends below this depth is not JSON, and must not become JSON here.
    return b"".join(parts) + text[copied:] if depth == 0 else text


def _tokens(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the brackets, commas and colons outside of strings, each with its position."""
    is_in_string = False
    for match in _TOKENS.finditer(text):
        token = match[0]
        if token == b'"':
            is_in_string = not is_in_string
        elif not is_in_string and len(token) == 1:
            yield token, match.start()
