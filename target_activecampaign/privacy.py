"""Keeping the key and people out of everything that is printed.

The code that logs takes care by itself; this is the net below it, for what libraries print.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ADDRESS = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+\.[^\s@<>\"'(),;:]+")


class RedactingFilter(logging.Filter):
    """Takes secrets and e-mail addresses out of log records.

    Args:
        secrets: Texts that must never be shown, such as the API key.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]

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
                record.msg, record.args = f"{clean}\n{where_it_failed(error)}", None
        return True

    def redacted(self, text: str) -> str:
        """A text without secrets and addresses."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return _ADDRESS.sub("[address]", text)


def shareable(secrets: Iterable[str]) -> Callable[[str], str]:
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


def where_it_failed(error: BaseException) -> str:
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
