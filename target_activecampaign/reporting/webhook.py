"""Telling a webhook how a run ended. Whatever happens there, the run ends as it does without one.

The address holds the secret (Slack's in its path, others' in the query): no more than scheme and
host of it is ever shown.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from target_activecampaign.client.connection import open_pool
from target_activecampaign.config.webhook_url import request_target
from target_activecampaign.redaction import make_redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_activecampaign.reporting.report import Report


logger = logging.getLogger("target-activecampaign")

_TRIES = 2
_PAUSE = 1.0
_TIMEOUT = 10.0
"""Seconds to connect, and seconds of silence until a try is given up."""
_PATIENCE = 25.0
"""Seconds that the end of the run waits in all, also where a timeout does not reach: a server that
answers a byte at a time, a name that is looked up for ever."""
_HEADERS = {"Content-Type": "application/json", "User-Agent": "target-activecampaign"}
_OWN_NAME = re.compile("[a-z_]+")
"""Names that the report has: they stay, also where a short secret is such a word."""
_SERVER_ERROR = 500
_TOO_MANY = 429


def tell(url: str, report: Report, secrets: Iterable[str]) -> None:
    """POST a report as JSON. It never raises: what goes wrong is a warning.

    Args:
        url: The address, which `problem` finds nothing wrong with.
        report: The report.
        secrets: Texts that must not leave, such as the API key.
    """
    problems: list[str | None] = []

    def post() -> None:
        try:
            problems.append(_send(url, _payload(report, make_redactor(secrets))))
        except Exception as error:  # noqa: BLE001 - its text may hold the address
            problems.append(type(error).__name__)

    thread = threading.Thread(target=post, name="webhook", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    wrong = problems[0] if problems else f"no answer within {_PATIENCE:g} s"
    if wrong:
        parts = urlsplit(url)
        logger.warning(
            "The webhook at %s://%s was not told of the run's end (%s). The run is not affected.",
            parts.scheme,
            parts.netloc,
            wrong,
        )


def _payload(report: Report, shared: Callable[[str], str]) -> bytes:
    """The report as JSON, with `text` for services that show it as a message.

    Folders of reject files can hold a person's name, so that the names of the files must do. What
    is made of records stays here, masked or not.
    """
    named = replace(
        report, rejects={stream: Path(path).name for stream, path in report.rejects.items()}
    )
    told = named.as_dict()
    del told["samples"]

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name if _OWN_NAME.fullmatch(name) else shared(name): clean(one)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [clean(one) for one in value]
        return shared(value) if isinstance(value, str) else value

    return msgspec.json.encode(clean({"text": named.line(), **told}))


def _send(url: str, body: bytes) -> str | None:
    """Try once, and once more if that may help; returns what went wrong the last time."""
    wrong: str | None = None
    for number in range(_TRIES):
        time.sleep(_PAUSE if number else 0)
        try:
            status = _post(url, body)
        except Exception as error:  # noqa: BLE001 - any failure is one try; its text has the address
            wrong = type(error).__name__
            continue
        if 200 <= status < 300:  # noqa: PLR2004 - what HTTP calls a success
            return None
        wrong = f"it answered with status {status}"
        if status != _TOO_MANY and status < _SERVER_ERROR:
            break
    return wrong


def _post(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    pool = open_pool(f"{parts.scheme}://{parts.netloc}", _TIMEOUT, 1)
    try:
        response = pool.urlopen(
            "POST",
            request_target(url),
            body=body,
            headers=_HEADERS,
            redirect=False,
            preload_content=False,
        )
        response.close()  # what it says besides its status is nothing to us
        return response.status
    finally:
        pool.close()
