"""A ledger's overview as text: tables that fit a terminal, or a line a row elsewhere."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from target_activecampaign.cli.output import printable
from target_activecampaign.text import pluralize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from target_activecampaign.ledger.history import Audience, AudienceRun, Overlap
    from target_activecampaign.ledger.overview import (
        AccountAudience,
        Connection,
        Index,
        InFlight,
        Overview,
        RefusedByList,
        RunView,
        SegmentView,
    )

_RUNS_SHOWN = 10
_KILO = 1000
_INDENT = "  "
_UNLIMITED = 1_000_000


def as_text(overview: Overview, width: int | None) -> str:
    """Return an overview for people.

    Args:
        overview: The overview.
        width: The width of the terminal; None leaves each row of a table on one line.
    """
    lines = [f"Ledger {overview.place} (version {overview.form}, {format_bytes(overview.bytes)})"]
    lines += [f"Set aside as damaged, to be deleted: {path}" for path in overview.set_aside]
    for connection in overview.connections:
        lines += ["", connection.identity]
        lines += (f"{_INDENT}{line}".rstrip() for line in _describe(connection, width))
    if not overview.connections:
        lines.append("It has no connection.")
    return "\n".join(lines)


def audiences_as_text(audiences: Iterable[AccountAudience], width: int | None) -> str:
    """Return audiences for people.

    Args:
        audiences: The audiences, by account.
        width: As for `as_text`.
    """
    lines: list[str] = []
    for one in audiences:
        lines += ["", one.identity] if lines else [one.identity]
        found = _describe_audience(one.audience, width)
        lines += (f"{_INDENT}{line}".rstrip() for line in found)
    return "\n".join(lines or ["It has no connection."])


def _describe_audience(audience: Audience, width: int | None) -> Iterator[str]:
    if not audience.segments:
        yield "No segments."
    head = ("run", "outcome", "size", "newcomers", "removed", "held back", "refused")
    for segment in audience.segments:
        now = pluralize(segment.size, "contact")
        yield f"{printable(segment.stream)}, list {segment.list}: {now}"
        rows = map(_audience_row, segment.runs)
        yield from _table(head, rows, width) if segment.runs else ["No run has figures yet."]
        yield ""
    if audience.overlaps:
        yield "Shared by segments of one list:"
        shared = ("list", "streams", "contacts in all of them", "of these in no other")
        yield from _table(shared, map(_overlap_row, audience.overlaps), width)
    for number in audience.left_out:
        yield f"List {number} has too many segments to compare them."


def _audience_row(run: AudienceRun) -> tuple[str, ...]:
    counts = (run.size, run.newcomers, run.removed, run.held_back, run.refused)
    return run.run, run.outcome, *(f"{count:,}" for count in counts)


def _overlap_row(overlap: Overlap) -> tuple[str, ...]:
    streams = ", ".join(map(printable, overlap.streams))
    return str(overlap.list), streams, f"{overlap.in_all:,}", f"{overlap.in_no_other:,}"


def format_bytes(count: int) -> str:
    """Return a size such as `1.2 MB`."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < _KILO:
            break
        size, unit = size / _KILO, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def _describe(connection: Connection, width: int | None) -> Iterator[str]:
    runs, earlier = connection.runs[:_RUNS_SHOWN], connection.runs[_RUNS_SHOWN:]
    head = ("run", "outcome", "started", "ended", "records", "note")
    yield from _table(head, map(_run_row, runs), width) if runs else ["No runs."]
    if earlier:
        yield f"and {pluralize(len(earlier), 'earlier run')}"
    yield ""
    segments = connection.segments
    head = ("stream", "list", "mirror", "contacts", "last complete sync", "note")
    yield from _table(head, map(_segment_row, segments), width) if segments else ["No segments."]
    yield ""
    yield f"In flight: {_describe_in_flight(connection.in_flight)}."
    yield f"Index of existing contacts: {_describe_index(connection.existing)}."
    yield f"Suppressed: {_count_people(connection.suppressed)}."
    yield from map(_describe_refused, connection.refused_by_lists)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], width: int | None) -> list[str]:
    """Return the lines of a table."""
    if width is None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    else:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in head:
        # A run's id stays whole, to be copied.
        table.add_column(name, overflow="fold", no_wrap=name == "run")
    for row in rows:
        table.add_row(*row)
    columns = _UNLIMITED if width is None else width - len(_INDENT)
    text = io.StringIO()
    # Names are printed as they are: they may look like markup.
    Console(
        file=text, width=columns, color_system=None, markup=False, emoji=False, highlight=False
    ).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]


def _run_row(run: RunView) -> tuple[str, ...]:
    started, ended = _format_time(run.started), ""
    outcome = run.state if run.state in ("going on", "cut off") else run.outcome or ""
    counts = ", ".join(f"{count:,} {name}" for name, count in run.counts.items() if count)
    note = ""
    if run.state == "going on":
        seen = f", last seen {_format_time(run.last_seen)}" if run.last_seen else ""
        note = f"process {run.process} on {run.host}{seen}"
    elif run.state == "cut off":
        note = "taken over by the next run" if run.finished else "the next run takes over"
    else:
        counts = counts or "nothing was read"
        if run.state == "unfinished":
            note = "resumed by the next run" if run.finished else "the next run resumes it"
        elif run.finished:
            ended = _format_time(run.finished)
    return run.id, outcome, started, ended, counts, note


def _segment_row(segment: SegmentView) -> tuple[str, ...]:
    contacts = ", ".join(
        f"{count:,} {name.replace('_', ' ')}" for name, count in segment.people.items() if count
    )
    sync, notes = "", []
    if segment.complete_pass:
        sync = f"no. {segment.complete_pass}, {pluralize(segment.size or 0, 'contact')}"
    elif segment.mirror:
        sync = "none: the next one only records a baseline"
    if segment.mark:
        notes.append(f"marked by {segment.mark}")
    if segment.guard_tripped:
        notes.append("a guard has stopped a sync since")
    if segment.retries:
        notes.append(f"{pluralize(segment.retries, 'rejected contact')} to be tried again")
    if segment.loaded_by:
        notes.append(f"being loaded by {segment.loaded_by}")
    mirror = "yes" if segment.mirror else "no"
    return segment.stream, str(segment.list), mirror, contacts or "none", sync, "; ".join(notes)


def _describe_in_flight(imports: list[InFlight]) -> str:
    if not imports:
        return "nothing"
    contacts = pluralize(sum(one.contacts for one in imports), "contact")
    first = _format_time(min(one.posted for one in imports))
    return f"{pluralize(len(imports), 'import')} with {contacts}, the first posted {first}"


def _describe_index(index: Index) -> str:
    contacts = pluralize(index.contacts, "contact")
    if index.account_had is None:
        return f"{contacts}, not complete yet" if index.contacts else "none"
    return f"{contacts}, complete when the account had {index.account_had:,}"


def _describe_refused(one: RefusedByList) -> str:
    read = f"read {_format_time(one.read_all)}" if one.read_all else "never read completely"
    return f"List {one.list}: {one.opted_out:,} opted out, {one.bounced:,} bounced, {read}."


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _count_people(count: int) -> str:
    return "1 person" if count == 1 else f"{count:,} people"
