"""Keeping the key and people out of everything that is printed.

The code that logs takes care by itself; this is the net below it, for what libraries print.
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
"""Characters below which a secret is masked as a whole word alone."""
_ESCAPE = re.compile("%[0-9A-F]{2}")
_ADDRESS = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+\.[^\s@<>\"'(),;:]+")


class RedactingFilter(logging.Filter):
    """Takes secrets and e-mail addresses out of log records.

    Args:
        secrets: Texts that must never be shown, such as the API key.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = _pattern(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let records pass, redacted; a traceback keeps places but not messages.

        What the SDK's stream maps tell at DEBUG does not pass: it quotes values of the records.
        """
        if record.module == "mapper" and record.levelno <= logging.DEBUG:
            return False
        message = record.getMessage()
        clean = self.redacted(message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info:
            error = record.exc_info[1]
            record.exc_info = None
            if error is not None:
                record.exc_text = None
                record.msg, record.args = f"{clean}\n{traceback_without_messages(error)}", None
        return True

    def redacted(self, text: str) -> str:
        """A text without secrets and addresses, which can be written in UTF-8."""
        if self._secrets is not None:
            text = self._secrets.sub("[secret]", text)
        return encodable(_ADDRESS.sub("[address]", text))


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds secrets in a text; None without secrets."""
    forms = {form for secret in secrets for form in _forms(secret.strip())}
    # The longest first: a part of one may be another.
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(_bounded, ordered))) if ordered else None


def _bounded(form: str) -> str:
    """The pattern of one form of a secret: a short one may be a part of any word."""
    found = re.escape(form)
    return found if len(form) >= _SHORT else rf"(?<!\w){found}(?!\w)"


def _forms(secret: str) -> set[str]:
    """A secret as it is, and as a URL, JSON or a header would have it."""
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
    escaped_low = {_ESCAPE.sub(lambda escape: escape[0].lower(), form) for form in encoded}
    return {form for form in plain | encoded | escaped_low if form.strip()}


def make_redactor(secrets: Iterable[str]) -> Callable[[str], str]:
    """What makes texts fit to be seen by others: no secret, no address, the home folder as `~`.

    Args:
        secrets: Texts that must never be shown, such as the API key.
    """
    redacted = RedactingFilter(secrets).redacted
    home = os.environ.get("HOME", "")

    def clean(text: str) -> str:
        return redacted(text.replace(home, "~") if len(home) > 1 else text)

    return clean


def install(secrets: Iterable[str]) -> None:
    """Put the filter on all handlers of the root logger, and quiet what prints URLs."""
    redacting = RedactingFilter(secrets)
    for handler in logging.getLogger().handlers:
        handler.filters = [f for f in handler.filters if not isinstance(f, RedactingFilter)]
        handler.addFilter(redacting)
    # At DEBUG it prints each request's path, and a question about a person has the address in it.
    logging.getLogger("urllib3").setLevel(logging.INFO)


def traceback_without_messages(error: BaseException) -> str:
    """The places of an error and of what led to it, without the messages.

    Messages of unforeseen errors may quote values of a record.
    """
    parts = []
    seen: BaseException | None = error
    while seen is not None:
        frames = "".join(traceback.format_tb(seen.__traceback__))
        parts.append(f"{frames}{type(seen).__module__}.{type(seen).__name__}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\nwhich came from:\n".join(parts)
