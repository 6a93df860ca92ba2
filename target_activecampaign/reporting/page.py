"""The report as a page for people: one of each run, and one that lists the last runs.

A page is one file that holds all it needs and fetches nothing. It is made of what the JSON file
holds, so that it shows no more of anyone.
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
"""Runs that the index lists."""
_BRIEF = 120
"""Characters of a failed run's problem that the index shows."""

_MEANINGS = {
    "added": "delivered, and not known in this stream before",
    "changed": "delivered, and known in this stream before",
    "unchanged": "as it was delivered before, so not sent",
    "skipped": "left out by the stream's mode, or marked as deleted",
    "merged": "went into a later record of the same person",
    "invalid": "refused before it was sent",
    "rejected": "refused by ActiveCampaign",
    "unsettled": "not settled: the run ended first, or something is wrong",
}
_LEAVING = {
    "left": "The stream was complete: who was no longer in it could leave.",
    "incomplete": "The stream did not come to its end, so nobody was to leave.",
    "empty": "The stream was empty, so nobody was to leave.",
    "first run": "It was the first complete run of the mirror, so nobody was to leave.",
    "guard": "A guard kept everybody from leaving.",
}
_STANDARD = {
    "email": "E-mail address",
    "first_name": "First name",
    "last_name": "Last name",
    "phone": "Phone",
    "customer_account": "Account",
    "tags": "Tags",
}
_WIDTH, _HEIGHT = 720, 200
_FEWEST = 6
"""Intervals that a chart has room for at least: one bar alone would be all of it."""


def write(report: dict[str, Any], folder: str | Path, secrets: Iterable[str]) -> Path | None:
    """Write a run's page, and the index anew. It never raises: what goes wrong is a warning.

    Args:
        report: The run as its JSON file has it.
        folder: Where the JSON files are.
        secrets: Texts that must not be shown, such as the API key.

    Returns:
        Where the run's page is; None if it can't be written.
    """
    try:
        return _write(report, Path(folder), _environment(secrets))
    except Exception as error:  # noqa: BLE001 - the run is over, and its JSON file is written
        if isinstance(error, OSError):
            why = private_files.explain(error)
        else:
            why = f"{type(error).__name__}."
        logger.warning("The report's page can't be written: %s The run is not affected.", why)
        return None


def _write(report: dict[str, Any], folder: Path, environment: Environment) -> Path:
    shown = {
        "run": report,
        "verdict": _verdict(report),
        "chart": _chart(report["confirmed_over_time"]),
        "meanings": _MEANINGS,
        "leaving": _LEAVING,
        "kinds": OUTCOMES,
        "standard": _STANDARD,
    }
    page = folder / f"run-{report['run_id']}.html"
    private_files.replace(page, environment.get_template("report.html").render(shown))
    index = environment.get_template("index.html").render(runs=_latest(folder), most=LATEST)
    private_files.replace(folder / "index.html", index)
    return page


def _verdict(report: dict[str, Any]) -> dict[str, Any]:
    """Whether it worked, and what there is to do: texts, each with the section that says more."""
    counts, outcome, preview = report["counts"], report["outcome"], report.get("dry_run")
    refused = counts["invalid"] + counts["rejected"]
    do: list[tuple[str, str | None]] = []
    if outcome == "failed":
        kind, says = "badly", "It failed."
    elif outcome == "stopped":
        kind, says = "partly", "It was stopped before it was through."
        again = "" if preview else ": it goes on from what is settled"
        do.append((f"Run it again{again}.", None))
    elif preview:
        kind = "partly" if refused else "well"
        says = "Nothing was sent. This is what a run would do."
        do.append(("What would be added, changed and removed", "preview"))
    elif refused:
        kind, says = _but_for(refused, counts["read"])
    elif counts["read"]:
        kind, says = "well", "It worked: all that was read is where it belongs."
    else:
        kind, says = "well", "It worked, but there was nothing to read."
        do.append(("See whether the source is meant to be empty.", None))
    do += _to_look_at(report)
    if kind == "well" and not do:
        do.append(("There is nothing to do.", None))
    return {"kind": kind, "says": says, "do": do}


def _to_look_at(report: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return what to look at, whatever the run came to: texts, each with its section."""
    do: list[tuple[str, str | None]] = []
    if report["counts"]["invalid"] + report["counts"]["rejected"]:
        do.append(("See why records were refused, and what to do.", "refused"))
    if report["contradictions"]:
        do.append(("Answers of ActiveCampaign contradict themselves: see which.", "contradictions"))
    kept = sum(one.get("mirror", {}).get("not_left", 0) for one in report["streams"].values())
    if kept:
        do.append((f"{pluralize(kept, 'leaver')} could not leave: see which stream.", "left"))
    if any(one.get("dropped") for one in report["streams"].values()):
        do.append(("Choices were dropped, as their fields lack them: see which.", "mapping"))
    return do


def _but_for(refused: int, read: int) -> tuple[str, str]:
    """How well a run went that came to its end and refused records, and what to say of it."""
    if refused < read:
        return "partly", f"It worked, but for {pluralize(refused, 'refused record')}."
    which = "the only record was" if refused == 1 else f"all {refused:,} records were"
    return "badly", f"Nothing was delivered: {which} refused."


def _environment(secrets: Iterable[str]) -> Environment:
    # Here, as it would cost every start what only the end needs.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    from jinja2.filters import do_truncate  # noqa: PLC0415

    shared = make_redactor(secrets)

    def clean(value: Any) -> Any:
        # A plain text only: what a macro returns is made of texts that came through here, and what
        # a template escapes itself is masked.
        return shared(value) if type(value) is str else value

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
        # Cleaned while it is whole: half an address would not be known for one.
        brief=lambda text: do_truncate(environment, shared(text), _BRIEF),
        moment=lambda iso: f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M:%S %Z}",
    )
    return environment


def _latest(folder: Path) -> list[dict[str, Any]]:
    """The last runs by their JSON files, newest first, with the page of each that has one."""
    runs = []
    # Their names begin with the time, to the second.
    for path in sorted(folder.glob("run-*.json"), reverse=True)[:LATEST]:
        try:
            run = json.loads(path.read_text("utf-8"))
            page = path.with_suffix(".html")
            lists = {one["list"]["name"]: None for one in run["streams"].values() if "list" in one}
            summary = {
                "page": page.name if page.exists() else None,
                "lists": ", ".join(lists),
                "began": datetime.fromisoformat(run["started"]),
                "refused": run["counts"]["invalid"] + run["counts"]["rejected"],
                "problem": run.get("problem"),
                "dry_run": run.get("dry_run", False),
                **{name: run[name] for name in _SUMMARY},
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue  # no report of ours
        runs.append(summary)
    return sorted(runs, key=lambda run: run["began"], reverse=True)


_SUMMARY = (
    "run_id", "started", "outcome", "connection", "address", "counts", "left", "duration_seconds",
)  # fmt: skip


def _chart(confirmed: dict[str, Any]) -> dict[str, Any]:
    """What the template draws: bars, and the limit as a line, all in contacts a minute."""
    seconds, contacts = confirmed["seconds"], confirmed["contacts"]
    limit = confirmed["limit_a_minute"]
    rates = [round(count * 60 / seconds) for count in contacts]
    top = _round_up(max([limit or 0, *rates, 1]))
    room = max(len(rates), _FEWEST)
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


def _round_up(number: float) -> int:
    """The next number that is good at the end of an axis: 1, 2, 3, 4, 5, 6 or 8 and zeros."""
    zeros: int = 10 ** (len(str(int(number))) - 1)
    return next(n * zeros for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * zeros >= number)
