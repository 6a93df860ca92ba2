"""The report as HTML: a page for each run, and an index of the last runs.

A page is one file and loads no other. It is made from the JSON report only, so it shows no more
personal data than that.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from target_activecampaign.accounting.outcomes import OUTCOMES
from target_activecampaign.redaction import make_redactor
from target_activecampaign.storage import private_files
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jinja2 import Environment

logger = logging.getLogger("target-activecampaign")

LATEST = 50
"""Runs in the index."""
_BRIEF = 120
"""Characters of the problem of a failed run in the index."""

_MEANINGS = {
    "added": "delivered, and new in this stream",
    "changed": "delivered, and already known in this stream",
    "unchanged": "not sent, because it did not change since it was delivered",
    "skipped": "not sent: without consent, suppressed, marked as deleted, outdated, left out by "
    "--limit, or excluded by the sync mode",
    "merged": "merged into a later record of the same contact",
    "invalid": "rejected before it was sent",
    "rejected": "rejected by ActiveCampaign",
    "unsettled": "no outcome: the run ended early, or there was an internal error",
}
_OF_SUPPRESSION = (
    "In a suppression stream, an added record suppresses a person, and a changed one lifts a "
    "suppression. Neither is delivered."
)
_REMOVALS = {
    "left": "Contacts that left the stream are removed.",
    "incomplete": "The stream was not complete, so no contact is removed.",
    "empty": "The stream was empty, so no contact is removed.",
    "first run": "First complete run of this mirror: its contacts are the baseline, and none is "
    "removed.",
    "guard": "A guard stopped the mirror, so no contact is removed.",
}
_STANDARD_FIELDS = {
    "email": "E-mail address",
    "first_name": "First name",
    "last_name": "Last name",
    "phone": "Phone",
    "customer_account": "Account",
    "tags": "Tags",
}
_WIDTH, _HEIGHT = 720, 200
_AUDIENCE_WIDTH, _AUDIENCE_HEIGHT = 240, 60
_MIN_INTERVALS = 6
"""Intervals that a chart has at least: a single bar would fill it."""


def write_page(report: dict[str, Any], folder: str | Path, secrets: Iterable[str]) -> Path | None:
    """Write the page of a run, and update the index. Problems are logged as a warning.

    Args:
        report: The report as in its JSON file.
        folder: The folder of the JSON files.
        secrets: Texts that must not be shown, such as the API key.

    Returns:
        The path of the page; None if it can't be written.
    """
    try:
        return _write(report, Path(folder), _environment(secrets))
    except Exception as error:  # noqa: BLE001 - the JSON file is written, so the run is not affected
        if isinstance(error, OSError):
            why = private_files.explain(error)
        else:
            why = f"{type(error).__name__}."
        logger.warning("The report page can't be written: %s The run is not affected.", why)
        return None


def write_verification(result: dict[str, Any], path: Path, secrets: Iterable[str]) -> None:
    """Write the page of a verification.

    Args:
        result: The result as in its JSON file, with a `summary` in one sentence.
        path: The file.
        secrets: Texts that must not be shown.

    Raises:
        OSError: It can't be written.
    """
    template = _environment(secrets).get_template("verify.html")
    private_files.replace(path, template.render(result=result))


def _write(report: dict[str, Any], folder: Path, environment: Environment) -> Path:
    values = {
        "run": report,
        "verdict": _verdict(report),
        "chart": _chart(report["confirmed_over_time"]),
        "audience": _audience(report["audience"]),
        "delivered": _delivered(report),
        "meanings": _MEANINGS,
        "of_suppression": _OF_SUPPRESSION,
        "removals": _REMOVALS,
        "outcomes": OUTCOMES,
        "standard": _STANDARD_FIELDS,
    }
    page = folder / f"run-{report['run_id']}.html"
    private_files.replace(page, environment.get_template("report.html").render(values))
    index = environment.get_template("index.html").render(runs=_latest(folder), most=LATEST)
    private_files.replace(folder / "index.html", index)
    return page


def _verdict(report: dict[str, Any]) -> dict[str, Any]:
    """Return the result in one sentence, and what to do: texts, each with an anchor or None."""
    counts, outcome, preview = report["counts"], report["outcome"], report.get("dry_run")
    rejected, taken = counts["invalid"] + counts["rejected"], counts["read"] + counts["retried"]
    actions: list[tuple[str, str | None]] = []
    if outcome == "failed":
        kind, text = "badly", "Failed."
    elif outcome == "stopped":
        kind, text = "partly", "Stopped before the end."
        again = "" if preview else "; it continues where this run stopped"
        actions.append((f"Run it again{again}.", None))
    elif preview:
        kind = "partly" if rejected else "well"
        text = "Nothing was sent. This page shows what a run would do."
        actions.append(("See what would be added, changed and removed.", "preview"))
    elif report["limited"]:
        kind, text = "well", _verdict_of_limited(report["limited"])
        actions.append(("See what was sent, and what ActiveCampaign has.", "limited"))
        actions.append(("Run without --limit to load everything.", None))
    elif rejected:
        kind, text = _verdict_with_rejects(rejected, taken)
    elif counts["skipped"]:
        kind, text = "well", f"Succeeded, with {pluralize(counts['skipped'], 'skipped record')}."
    elif taken:
        kind, text = "well", "Succeeded: all records delivered."
    else:
        kind, text = "well", "Succeeded, but the input had no records."
        actions.append(("Check whether the source is meant to be empty.", None))
    actions += _findings(report)
    if kind == "well" and report["alerts"]:
        kind = "partly"
    if kind == "well" and not actions:
        actions.append(("Nothing to do.", None))
    return {"kind": kind, "text": text, "actions": actions}


def _verdict_of_limited(figures: dict[str, Any]) -> str:
    """Return the text of the verdict on a limited run whose contacts have all arrived."""
    count = figures["contacts"]
    if not count:
        return "Limited run: no contact had to be sent."
    return f"Limited run: {pluralize(count, 'contact')} sent, and all values arrived as meant."


def _findings(report: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return the findings that the operator should look at: texts with their anchors."""
    findings: list[tuple[str, str | None]] = [
        (f"Alert: {one['text']}", None) for one in report["alerts"]
    ]
    limited = report["limited"]
    if limited and limited["arrived"] < limited["contacts"]:
        findings.append(("See what did not arrive as meant.", "limited"))
    if report["counts"]["invalid"] + report["counts"]["rejected"]:
        findings.append(("See why records were rejected, and what to do.", "rejected"))
    if report["skipped"]:
        findings.append(("See why records were skipped.", "skipped"))
    if any(one.get("consent", {}).get("unknown_words") for one in report["streams"].values()):
        findings.append(("See which values of consent are neither yes nor no.", "consent"))
    if any(one.get("retries", {}).get("given_up") for one in report["streams"].values()):
        findings.append(("See which records of earlier runs are not tried again.", "retries"))
    if report["contradictions"]:
        findings.append(
            ("See which responses of ActiveCampaign are contradictory.", "contradictions")
        )
    not_removed = sum(
        one.get("mirror", {}).get("not_left", 0) for one in report["streams"].values()
    )
    if not_removed:
        findings.append(
            (f"{pluralize(not_removed, 'contact')} could not be removed: see where.", "removed")
        )
    if any(one.get("dropped") for one in report["streams"].values()):
        findings.append(("See which values were dropped as unknown options.", "mapping"))
    return findings


def _delivered(report: dict[str, Any]) -> int:
    """Return the number of delivered records; those of suppression streams are none."""
    suppressions = [
        one["counts"]
        for one in report["streams"].values()
        if one.get("role") == "suppression" and "counts" in one
    ]
    all_, *others = (one["added"] + one["changed"] for one in (report["counts"], *suppressions))
    return int(all_ - sum(others))


def _verdict_with_rejects(rejected: int, taken: int) -> tuple[str, str]:
    """Return the kind and the text of the verdict on a completed run that rejected records."""
    if rejected < taken:
        return "partly", f"Succeeded, except for {pluralize(rejected, 'rejected record')}."
    which = "the only record was" if rejected == 1 else f"all {rejected:,} records were"
    return "badly", f"Nothing was delivered: {which} rejected."


def _environment(secrets: Iterable[str]) -> Environment:
    # Imported here, as only the end of a run needs it.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    from jinja2.filters import do_truncate  # noqa: PLC0415

    redact = make_redactor(secrets)

    def clean(value: Any) -> Any:
        # Plain strings only: the result of a macro has been redacted already, and values that a
        # template escapes itself are masked.
        return redact(value) if type(value) is str else value

    environment = Environment(
        loader=PackageLoader("target_activecampaign.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=clean,
    )
    environment.filters.update(
        number="{:,}".format,
        clock=lambda seconds: str(timedelta(seconds=round(seconds))),
        # Redacted before it is cut: half an address would not be recognised.
        brief=lambda text: do_truncate(environment, redact(text), _BRIEF),
        moment=lambda iso: f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%S %Z}",
    )
    return environment


def _latest(folder: Path) -> list[dict[str, Any]]:
    """Return the last runs from their JSON files, newest first, each with its page if any."""
    runs = []
    # Their names start with the time of the run.
    for path in sorted(folder.glob("run-*.json"), reverse=True)[:LATEST]:
        try:
            run = json.loads(path.read_text("utf-8"))
            page = path.with_suffix(".html")
            lists = {one["list"]["name"]: None for one in run["streams"].values() if "list" in one}
            summary = {
                "page": page.name if page.exists() else None,
                "lists": ", ".join(lists),
                "time": datetime.fromisoformat(run["started"]),
                "rejected": run["counts"]["invalid"] + run["counts"]["rejected"],
                "problem": run.get("problem"),
                "dry_run": run.get("dry_run", False),
                **{name: run[name] for name in _SUMMARY},
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # not one of our reports
        runs.append(summary)
    return sorted(runs, key=lambda run: run["time"], reverse=True)


_SUMMARY = (
    "run_id", "started", "outcome", "connection", "address", "counts", "left", "duration_seconds",
)  # fmt: skip


def _chart(confirmed: dict[str, Any]) -> dict[str, Any]:
    """Return the bars and the limit line of the chart, in contacts per minute."""
    seconds, contacts = confirmed["seconds"], confirmed["contacts"]
    limit = confirmed["limit_a_minute"]
    rates = [round(count * 60 / seconds) for count in contacts]
    top = _round_up(max([limit or 0, *rates, 1]))
    room = max(len(rates), _MIN_INTERVALS)
    step = _WIDTH / room
    bars = [
        {
            "start": number * seconds,
            "contacts": count,
            "rate": rate,
            "x": round(number * step, 2),
            "height": round(_HEIGHT * rate / top, 2),
        }
        for number, (count, rate) in enumerate(zip(contacts, rates, strict=True))
    ]
    return {
        "width": _WIDTH,
        "height": _HEIGHT,
        "bar": round(step * 0.9, 2),
        "bars": bars,
        "top": top,
        "seconds": seconds,
        "end": room * seconds,
        "total": sum(contacts),
        "peak": max(rates, default=0),
        "limit": limit,
        "limit_y": round(_HEIGHT * (1 - limit / top), 2) if limit else None,
    }


def _audience(audience: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the audience with the bars of its charts: the sizes over the runs, the oldest first.

    All segments have the same scale, and each overlap is a share of its smallest segment.
    """
    if audience is None or not audience["segments"]:
        return None
    segments = audience["segments"]
    top = max(1, *(one["size"] for each in segments for one in (each, *each["runs"])))
    step = _AUDIENCE_WIDTH / max(_MIN_INTERVALS, *(len(one["runs"]) for one in segments))
    sizes = {(one["list"], one["stream"]): one["size"] for one in segments}
    return {
        **audience,
        "width": _AUDIENCE_WIDTH,
        "height": _AUDIENCE_HEIGHT,
        "bar": round(step * 0.9, 2),
        "segments": [
            {
                **segment,
                "bars": [
                    {
                        "x": round(number * step, 2),
                        "height": round(_AUDIENCE_HEIGHT * one["size"] / top, 2),
                        "completed": one["outcome"] == "completed",
                    }
                    for number, one in enumerate(reversed(segment["runs"]))
                ],
            }
            for segment in segments
        ],
        "overlaps": [
            {**one, "share": _share(one, [sizes[one["list"], name] for name in one["streams"]])}
            for one in audience["overlaps"]
        ],
    }


def _share(overlap: dict[str, Any], sizes: list[int]) -> int:
    return int(100 * overlap["in_all"] / max(1, min(sizes)))


def _round_up(number: float) -> int:
    """Return the next round number for the end of an axis: 1, 2, 3, 4, 5, 6 or 8 and zeros."""
    zeros: int = 10 ** (len(str(int(number))) - 1)
    return next(n * zeros for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * zeros >= number)
