"""Notify a webhook of the end of a run. A webhook that fails does not affect the run.

The URL contains a secret, for Slack in its path and for others in its query. So only its scheme and
host are ever shown.
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

from target_activecampaign.client.connection import open_session
from target_activecampaign.redaction import make_redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_activecampaign.model.timings import Timings
    from target_activecampaign.reporting.report import Report


logger = logging.getLogger("target-activecampaign")

_TRIES = 2
_HEADERS = {"Content-Type": "application/json", "User-Agent": "target-activecampaign"}
_REPORT_KEY = re.compile("[a-z_]+")
"""Keys of the report, which stay even if a short secret is such a word."""
_SERVER_ERROR = 500
_TOO_MANY = 429


def notify(url: str, report: Report, secrets: Iterable[str], timings: Timings) -> None:
    """POST a report as JSON. Problems are logged as a warning; nothing is raised.

    Args:
        url: The URL, checked by `webhook_url.find_problem`.
        report: The report.
        secrets: Texts that must not be sent, such as the API key.
        timings: The times of attempts.
    """
    problems: list[str | None] = []

    def post() -> None:
        try:
            problems.append(_send(url, _payload(report, make_redactor(secrets)), timings))
        except Exception as error:  # noqa: BLE001 - its text may quote the URL
            problems.append(type(error).__name__)

    thread = threading.Thread(target=post, name="webhook", daemon=True)
    thread.start()
    longest = timings.webhook_max_wait_seconds
    thread.join(longest)
    problem = problems[0] if problems else f"no response within {longest:g} s"
    if problem:
        parts = urlsplit(url)
        logger.warning(
            "The webhook at %s://%s could not be notified (%s). The run is not affected.",
            parts.scheme,
            parts.netloc,
            problem,
        )


def _payload(report: Report, redact: Callable[[str], str]) -> bytes:
    """Return the report as JSON, with a `text` for services that show messages: summary and alerts.

    It has the names of reject files instead of their paths, which may contain a person's name.
    Samples of records are not sent, not even masked.
    """
    named = replace(
        report, rejects={stream: Path(path).name for stream, path in report.rejects.items()}
    )
    content = named.as_dict()
    del content["samples"]

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name if _REPORT_KEY.fullmatch(name) else redact(name): clean(one)
                for name, one in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [clean(one) for one in value]
        return redact(value) if isinstance(value, str) else value

    alerts = [f"Alert: {one['text']}" for one in report.alerts]
    return msgspec.json.encode(clean({"text": " ".join([named.summary(), *alerts]), **content}))


def _send(url: str, body: bytes, timings: Timings) -> str | None:
    """Send the body, with a retry if that may help. Return the last problem; None if sent."""
    problem: str | None = None
    for number in range(_TRIES):
        time.sleep(timings.webhook_pause_seconds if number else 0)
        try:
            status = _post(url, body, timings.webhook_timeout_seconds)
        except Exception as error:  # noqa: BLE001 - its text may quote the URL
            problem = type(error).__name__
            continue
        if 200 <= status < 300:  # noqa: PLR2004 - success in HTTP
            return None
        problem = f"status {status}"
        if status != _TOO_MANY and status < _SERVER_ERROR:
            break
    return problem


def _post(url: str, body: bytes, timeout: float) -> int:
    parts = urlsplit(url)
    how: dict[str, Any] = {"allow_redirects": False, "stream": True, "timeout": timeout}
    with (
        open_session(f"{parts.scheme}://{parts.netloc}", 1) as session,
        session.post(url, data=body, headers=_HEADERS, **how) as response,
    ):
        return response.status_code  # only the status matters
