"""JSON that the readers give up on: nested too deeply, or with a number that is too long.

It is looked through bracket by bracket, with no recursion and no number read. That is slow, and
only done for lines that nothing else reads.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST = 64
"""Levels of nesting that are kept of a record that can't be read whole."""
_LONGEST = 4300
"""Digits of an integer that Python reads."""

_TOKENS = re.compile(rb'\\.|[][{}",:]', re.DOTALL)


class UnreadableRecord(dict[str, Any]):
    """A RECORD message, or a record, of which a part can't be read and stands as null.

    Attributes:
        reason: Why it can't be read: the end of a sentence that begins with its place.
    """

    def __init__(self, content: dict[str, Any], reason: str) -> None:
        super().__init__(content)
        self.reason = reason


def members(text: bytes) -> dict[str, bytes]:
    """The members of a JSON object as they are written, by name; none if it is no whole object.

    Args:
        text: The object.
    """
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
                name = read(text[start:colon])
                if not isinstance(name, str):
                    return {}
                found[name] = text[colon + 1 : place].strip()
                start = place + 1
            if token in b"]}":
                depth -= 1
                end = place
    whole = depth == 0 and text[:1] == b"{" and text[end:].strip() == b"}"
    return found if whole else {}


def partly_read(text: bytes) -> UnreadableRecord | None:
    """A JSON object with null for what can't be read; None if it is no object all the same."""
    reason, shallow = "holds a number that is too long to be read", _without_depths(text)
    if shallow != text:
        reason = "is nested too deeply to be read"
    try:
        letters = shallow.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        letters, reason = shallow.decode("utf-8", "replace"), "is not text in UTF-8"
    content = _loads(letters)
    return UnreadableRecord(content, reason) if isinstance(content, dict) else None


def unreadable_record(line: bytes) -> UnreadableRecord | None:
    """A RECORD message of which only the record can't be read whole; None for any other line."""
    parts = members(line.strip())
    if "record" not in parts or read(parts.get("type", b"")) != "RECORD":
        return None
    record = partly_read(parts["record"])
    rest = {name: read(text) for name, text in parts.items() if name != "record"}
    is_read = all(rest[name] is not None or parts[name] == b"null" for name in rest)
    if record is None or not is_read:
        return None
    return UnreadableRecord({**rest, "record": dict(record)}, record.reason)


def read(text: bytes) -> Any:
    """A value that can be read whole; None for any other."""
    try:
        return json.loads(text, parse_float=decimal_or_text)
    except (ValueError, RecursionError):
        return None


def decimal_or_text(text: str) -> Decimal | str:
    """A number; its text where the exponent is beyond all reason, which no schema takes."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return text


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_float=decimal_or_text, parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _integer(text: str) -> int | None:
    return int(text) if len(text) <= _LONGEST else None


def _without_depths(text: bytes) -> bytes:
    """JSON with null for all that is nested too deeply."""
    parts: list[bytes] = []
    depth = kept = 0
    for token, place in _tokens(text):
        if token in b"[{":
            depth += 1
            if depth == DEEPEST:
                parts.append(text[kept:place])
        elif token in b"]}":
            if depth == DEEPEST:
                parts.append(b"null")
                kept = place + 1
            depth -= 1
    # Cut off in the depth, it is no JSON, and must not look as if it were.
    return b"".join(parts) + text[kept:] if depth == 0 else text


def _tokens(text: bytes) -> Iterator[tuple[bytes, int]]:
    """The brackets, commas and colons outside of texts, each with its place."""
    inside = False
    for match in _TOKENS.finditer(text):
        token = match[0]
        if token == b'"':
            inside = not inside
        elif not inside and len(token) == 1:
            yield token, match.start()
