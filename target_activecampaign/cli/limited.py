"""The output of a limited run: each value that was sent, beside what ActiveCampaign has.

It goes to standard error, as standard output is for STATE.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from target_activecampaign.cli.output import format_table
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.reporting.report import Report

_HEADER = ("contact", "stream", "destination", "sent", "in ActiveCampaign", "result")
_FOLDED = ("contact", "sent", "in ActiveCampaign")
_LONGEST = 60
"""Limit of characters that are shown of a value."""


def show(report: Report) -> None:
    """Print the contacts of a limited run, and what to do next."""
    contacts: list[dict[str, Any]] = report.samples.get("limited", [])
    lines = []
    if contacts:
        lines.append(format_table(_HEADER, _rows(contacts), folded=_FOLDED, file=sys.stderr))
    if report.limited is not None:
        lines.append(_next_step(report.limited))
    with suppress(OSError, ValueError, AttributeError):  # nobody reads standard error
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()


def _rows(contacts: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for one in contacts:
        start = (one["person"], ", ".join(one["streams"]))
        if one["refused"] is not None:
            yield (*start, "", "", "", f"rejected: {one['refused']}")
        for value in one["values"]:
            sent, found = _shortened(value["sent"], value["found"])
            yield (*start, value["destination"], sent, found, "ok" if value["same"] else "DIFFERS")


def _shortened(sent: str, found: str) -> tuple[str, str]:
    """Return two values for the table: the parts of long ones where they begin to differ."""
    pairs = enumerate(zip(sent, found, strict=False))
    same = next((n for n, (one, other) in pairs if one != other), min(len(sent), len(found)))
    start = 0 if sent == found or same < _LONGEST // 2 else same - _LONGEST // 2
    return _part(sent, start), _part(found, start)


def _part(text: str, start: int) -> str:
    if not text:
        return "(empty)"
    begin, end = "…" if start else "", "…" if len(text) > start + _LONGEST else ""
    return f"{begin}{text[start : start + _LONGEST]}{end}"


def _next_step(figures: dict[str, Any]) -> str:
    """Return what to do after a run whose contacts have all arrived, or that had none."""
    count, arrived = figures["contacts"], figures["arrived"]
    whole = "run without --limit: it reads everything, as this run has stored no STATE"
    if not count:
        return f"No contact had to be sent. To load the whole input, {whole}."
    if arrived < count:
        return f"{arrived:,} of {pluralize(count, 'contact')} arrived as meant."
    return (
        f"{pluralize(count, 'contact')} sent, and all values arrived as meant. Look at them in "
        f"ActiveCampaign. To load the rest, {whole}, and finds these contacts unchanged."
    )
