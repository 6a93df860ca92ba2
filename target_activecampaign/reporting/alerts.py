"""Alerts: figures of a run that differ more from what is usual than the settings allow.

An alert fails no run. The log, the report and the webhook show it.
"""

from __future__ import annotations

import logging
from statistics import median
from typing import TYPE_CHECKING, Any

from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from target_activecampaign.ledger import History, StreamFigures
    from target_activecampaign.reporting.report import Report

logger = logging.getLogger("target-activecampaign")

_RUNS = 10
"""Completed runs whose median is the usual number of records."""
_MIN_RUNS = 3
"""Completed runs without which nothing is usual yet."""


def find_alerts(
    limits: Mapping[str, float | None],
    report: Report,
    streams: Iterable[StreamFigures],
    history: History,
) -> list[dict[str, Any]]:
    """Return the alerts of a run, and log them as warnings.

    Args:
        limits: The setting `alert_on`.
        report: The report of the run, with its counts.
        streams: The figures of the run's streams.
        history: The figures of earlier runs.

    Returns:
        For each alert its `kind` (the key of `alert_on`), its `stream` (null for the whole run),
        the `limit`, the `value`, and a `text`.

    Raises:
        LedgerError: The earlier runs can't be read.
    """
    alerts = []
    share, change = limits.get("refused_pct"), limits.get("records_change_pct")
    if share is not None and (alert := _share_alert(share, report)) is not None:
        alerts.append(alert)
    for one in streams if change is not None else ():
        usual = history.records_read(one.stream, one.segment, _RUNS)
        if len(usual) >= _MIN_RUNS and (alert := _change_alert(change, one, usual)) is not None:
            alerts.append(alert)
    for alert in alerts:
        logger.warning("Alert: %s", alert["text"])
    return alerts


def _share_alert(limit: float, report: Report) -> dict[str, Any] | None:
    read, refused = report.counts["read"], report.rejected
    if 100 * refused <= limit * read:
        return None
    value = 100 * refused / read
    were = "would be" if report.dry_run else "were"
    text = (
        f"{_percent(value)} % of the records {were} rejected ({refused:,} of {read:,}; "
        f"alert_on.refused_pct: {limit:g}). The reject files say why."
    )
    return _alert("refused_pct", None, limit, value, text)


def _change_alert(
    limit: float | None, stream: StreamFigures, usual: list[int]
) -> dict[str, Any] | None:
    """Return the alert if a stream has far more or fewer records than usual.

    Nothing is a percentage of zero: a stream that mostly has no record never alerts.
    """
    middle = median(usual)
    if limit is None or not middle or 100 * abs(stream.read - middle) <= limit * middle:
        return None
    value = 100 * (stream.read - middle) / middle
    direction = "more" if value > 0 else "fewer"
    text = (
        f"Stream '{stream.stream}' had {pluralize(stream.read, 'record')}, "
        f"{_percent(abs(value))} % {direction} than the median of its last {len(usual)} completed "
        f"runs, {middle:,g} (alert_on.records_change_pct: {limit:g}). Check the source."
    )
    return _alert("records_change_pct", stream.stream, limit, value, text)


def _alert(kind: str, stream: str | None, limit: float, value: float, text: str) -> dict[str, Any]:
    return {"kind": kind, "stream": stream, "limit": limit, "value": round(value, 2), "text": text}


def _percent(value: float) -> str:
    """Return a percentage with one decimal, or with none if that is zero."""
    return f"{value:,.1f}".removesuffix(".0")
