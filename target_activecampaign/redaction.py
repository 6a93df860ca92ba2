"""Redaction: no secret and no e-mail address in anything that is printed.

The target's own log calls quote neither. This is the safety net below them, for what libraries log.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import traceback
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus, unquote

from target_activecampaign.text import encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SHORT = 8
"""Length in characters below which a secret is only masked as a whole word."""
_PERCENT_ESCAPE = re.compile("%[0-9A-F]{2}")
_PART = r"[^\s@<>\"'(),;:]"
# From where a word begins, or a long one without an `@` would be read again from each character.
_ADDRESS = re.compile(rf"(?<!{_PART}){_PART}+@{_PART}+\.{_PART}+")


class RedactingFilter(logging.Filter):
    """Removes secrets and e-mail addresses from log records.

    Args:
        secrets: Texts that must never be shown, such as the API key.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = _pattern(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record; a traceback keeps its places and loses its messages.

        Drops the DEBUG records of the SDK's stream maps, which quote values of Singer records.
        """
        if record.module == "mapper" and record.levelno <= logging.DEBUG:
            return False
        message = record.getMessage()
        clean = self.redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info:
            error = record.exc_info[1]
            record.exc_info = None
            if error is not None:
                record.exc_text = None
                record.msg, record.args = f"{clean}\n{traceback_without_messages(error)}", None
        return True

    def redact(self, text: str) -> str:
        """Return a text without secrets and addresses, encodable in UTF-8."""
        if self._secrets is not None:
            text = self._secrets.sub("[secret]", text)
        return encodable(_ADDRESS.sub("[address]", text))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that matches any of the secrets; None without secrets."""
    forms = {form for secret in secrets for form in _forms(secret.strip())}
    # The longest first: a part of one may be another.
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(_form_pattern, ordered))) if ordered else None


def _form_pattern(form: str) -> str:
    """Return the pattern of one form of a secret; a short one only matches a whole word."""
    escaped = re.escape(form)
    return escaped if len(form) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"


def _forms(secret: str) -> set[str]:
    """Return a secret as it is, and as encoded in a URL, in JSON and in a header."""
    if not secret:
        return set()
    plain = {secret, unquote(secret)}
    raw = [one.encode("utf-8", "surrogatepass") for one in plain]
    encoded = {
        *(quote(one, safe="") for one in raw),
        *(quote_plus(one) for one in raw),
        *(
            json.dumps(one, ensure_ascii=plain_only)[1:-1]
            for one in plain
            for plain_only in (True, False)
        ),
        *(base64.b64encode(one).decode() for one in raw),
    }
    escaped_low = {_PERCENT_ESCAPE.sub(lambda escape: escape[0].lower(), form) for form in encoded}
    return {form for form in plain | encoded | escaped_low if form.strip()}


def make_redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that makes texts safe to share.

    It removes secrets and addresses, and writes the home folder as `~`.

    Args:
        secrets: Texts that must never be shown, such as the API key.
    """
    redact = RedactingFilter(secrets).redact
    home = os.environ.get("HOME", "")

    def make_shareable(text: str) -> str:
        return redact(text.replace(home, "~") if len(home) > 1 else text)

    return make_shareable


def install_log_filter(secrets: Iterable[str]) -> None:
    """Put a `RedactingFilter` on all handlers of the root logger, and silence URLs at DEBUG.

    Args:
        secrets: Texts that must never be shown, such as the API key.
    """
    redacting = RedactingFilter(secrets)
    for handler in logging.getLogger().handlers:
        handler.filters = [f for f in handler.filters if not isinstance(f, RedactingFilter)]
        handler.addFilter(redacting)
    # At DEBUG urllib3 logs the path of each request, and some paths hold an address.
    logging.getLogger("urllib3").setLevel(logging.INFO)


def traceback_without_messages(error: BaseException) -> str:
    """Return the traceback of an error and of its causes, without the messages.

    The message of an unexpected error may quote values of a record.
    """
    parts = []
    current: BaseException | None = error
    while current is not None:
        frames = "".join(traceback.format_tb(current.__traceback__))
        parts.append(f"{frames}{type(current).__module__}.{type(current).__name__}")
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return "\ncaused by:\n".join(parts)
