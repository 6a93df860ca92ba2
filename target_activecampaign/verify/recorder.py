"""Record requests and answers as files that can be shown to others.

No key and no address of a person is recorded. Every text that could come from a person or from the
account is replaced, unless the verification made it itself.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from target_activecampaign.client.responses import parse_json
from target_activecampaign.errors import TargetError
from target_activecampaign.storage import private_files
from target_activecampaign.verify.marks import NAME, PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_activecampaign.client.responses import Answer

_HOST = "https://youraccount.api-us1.com"
_TEXT, _ADDRESS = "text", "someone@example.com"

_HEADERS = ("Date", "Content-Type", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining")

_HARMLESS = re.compile(
    r"[-+]?[0-9.,]*"  # numbers, and nothing
    r"|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+)?(?:Z|[-+][0-9:]+)?"  # dates and times
    r"|[0-9a-f-]{32,36}"  # ids of imports
    r"|(?:true|false|null|any|all|yes|no)",
    re.IGNORECASE,
)
_OURS = re.compile(
    rf"{re.escape(PREFIX)}[ -][^@]*(?:@[a-z0-9.-]+)?|{re.escape(NAME)}", re.IGNORECASE
)

_PERSONAL_KEYS = frozenset({"email", "username", "matchPhrase"})
"""Keys of objects that tell of a person, or of people. Nothing in them is kept, unless it is a
contact of the verification."""

_PERSONAL_STARTS = ("sender_", "phone", "ip", "zip", "fax")
"""Starts of keys whose numbers are personal as well."""

_SERVER_KEYS = frozenset({"message", "failureReason", "type", "status", "matchType", "errors"})
"""Keys below which the server writes all texts; addresses in them are replaced all the same."""
_QUOTED = re.compile(r"[^\s'\"<>]+@[^\s'\"<>]+")
_VALUES = frozenset({"full", "there", "First", "Second", "Earlier", "Later", "Ada", "Red", "Green",
                     "RED", "Purple", "+15555550100", "+15555550101"})  # fmt: skip
"""Values that the experiments send."""


class RecordingError(TargetError):
    """The recordings can't be written."""


class Recorder:
    """Writes one file per request.

    Args:
        folder: The folder; it is created.

    Raises:
        RecordingError: It can't be used.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._count = 0
        try:
            private_files.make_folder(self._folder)
        except OSError as error:
            raise _unusable(folder, error) from None

    def record(
        self, where: str, query: Mapping[str, Any] | None, body: bytes | None, answer: Answer
    ) -> None:
        """Write a request and its answer.

        Raises:
            RecordingError: The file can't be written.
        """
        method, path = where.split(" ", 1)
        query = dict(query or {})
        self._count += 1
        recording = {
            "request": {
                "method": method,
                "path": f"/api/3{path}{'?' if query else ''}{urlencode(_clean(query), doseq=True)}",
                "body": _clean(_json(body)) if body else None,
            },
            "response": {
                "status": answer.status,
                "headers": {
                    name: answer.headers[name] for name in _HEADERS if name in answer.headers
                },
                "body": _clean(_json(answer.body)),
            },
        }
        words = re.sub(r"[0-9]+", "ID", path.strip("/")).replace("/", "_")
        name = f"{self._count:04}_{method}_{words}_{answer.status}.json"
        try:
            text = json.dumps(recording, indent=1, ensure_ascii=False)
            private_files.replace(self._folder / name, text + "\n")
        except OSError as error:
            raise _unusable(str(self._folder), error) from None


def _clean(value: Any, key: str = "") -> Any:
    """Return a JSON value in which texts from people and from the account are replaced."""
    if isinstance(value, dict):
        if any(not _is_ours(value[name]) for name in _PERSONAL_KEYS & value.keys()):
            return _without_content(value)
        return {
            name: _clean(one, key if key in _SERVER_KEYS else name) for name, one in value.items()
        }
    if isinstance(value, list):
        return [_clean(one, key) for one in value]
    return _clean_text(value, key) if isinstance(value, str) else value


def _is_ours(text: Any) -> bool:
    return isinstance(text, str) and _OURS.fullmatch(text) is not None


def _without_content(value: Any) -> Any:
    """Return a JSON value of the same shape that says nothing."""
    if isinstance(value, dict):
        return {name: _without_content(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_content(one) for one in value]
    if isinstance(value, str):
        return _TEXT if value else ""
    return value if value is None or isinstance(value, bool) else 0


def _clean_text(text: str, key: str) -> str:
    if text and text not in _VALUES and key.casefold().startswith(_PERSONAL_STARTS):
        return _TEXT
    if _HARMLESS.fullmatch(text) or _OURS.fullmatch(text) or text in _VALUES:
        return text
    if set(text) == {"x"}:  # a long value of ours
        return f"x * {len(text)}"
    if "://" in text:
        path = urlsplit(text).path
        return f"{_HOST}{path}" if path.startswith("/api/3/") and "@" not in path else _HOST
    if key in _SERVER_KEYS:
        return _QUOTED.sub(_ADDRESS, text)
    return _ADDRESS if "@" in text else _TEXT


def _json(content: bytes) -> Any:
    try:
        return parse_json(content)
    except ValueError:
        return _TEXT


def _unusable(folder: str, error: OSError) -> RecordingError:
    return RecordingError(
        f"'--record' names {folder}, which can't be written: {private_files.explain(error)}"
    )
