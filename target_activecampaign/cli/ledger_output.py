"""A ledger's figures as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from target_activecampaign.ledger.overview import (
        Connection,
        Index,
        InFlight,
        Overview,
        RunView,
        SegmentView,
    )

_RUNS_SHOWN = 10
_KILO = 1000


def in_words(found: Overview) -> str:
    """A ledger's figures, line by line."""
    lines = [f"Ledger {found.place} (form {found.form}, {in_bytes(found.bytes)})"]
    lines += [f"Set aside as damaged, to be deleted: {path}" for path in found.set_aside]
    for connection in found.connections:
        lines += ["", connection.identity, *(f"  {line}" for line in _connection(connection))]
    if not found.connections:
        lines.append("It knows no connection.")
    return "\n".join(lines)


def in_bytes(count: int) -> str:
    """A size in bytes, in words."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB"):
        if size < _KILO:
            break
        size, unit = size / _KILO, larger
    return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"


def _connection(connection: Connection) -> Iterator[str]:
    runs = connection.runs
    yield "Runs, the latest first:" if runs else "No runs."
    for run in runs[:_RUNS_SHOWN]:
        yield f"  {_run(run)}"
    if runs[_RUNS_SHOWN:]:
        yield f"  and {len(runs) - _RUNS_SHOWN} earlier ones"
    yield "Segments:" if connection.segments else "No segments."
    for segment in connection.segments:
        yield from (f"  {line}" for line in _segment(segment))
    yield f"In flight: {_in_flight(connection.in_flight)}."
    yield f"Index of existing contacts: {_index(connection.existing)}."


def _run(run: RunView) -> str:
    if run.state == "going on":
        seen = f", last seen {_time(run.last_seen)}" if run.last_seen else ""
        where = f"process {run.process} on {run.host}"
        return f"{run.id}: going on since {_time(run.started)}{seen}, {where}"
    if run.state == "cut off":
        over = "taken over by the next one" if run.finished else "the next one will take over"
        return f"{run.id}: cut off, begun {_time(run.started)}, {over}"
    counts = ", ".join(f"{count:,} {name}" for name, count in run.counts.items() if count)
    counts = counts or "nothing was read"
    if run.state == "unfinished":
        on = "went on" if run.finished else "goes on"
        begun = f"begun {_time(run.started)}"
        return f"{run.id}: {run.outcome}, {begun}: {counts}; the next run {on} from it"
    at = f" {_time(run.finished)}" if run.finished else ""
    return f"{run.id}: {run.outcome}{at}: {counts}"


def _segment(segment: SegmentView) -> Iterator[str]:
    mirror = ", mirror" if segment.mirror else ""
    mark = f", marked by {segment.mark}" if segment.mark else ""
    now = f", being loaded by {segment.loaded_by}" if segment.loaded_by else ""
    yield f"{segment.stream} -> list {segment.list}{mirror}{mark}{now}"
    people = ", ".join(
        f"{count:,} {word.replace('_', ' ')}" for word, count in segment.people.items() if count
    )
    yield f"  people: {people or 'none'}"
    if segment.complete_pass:
        yield f"  last complete pass: {segment.complete_pass}, of {segment.size or 0:,} people"
    elif segment.mirror:
        yield "  no complete pass yet: the next one only takes stock"
    if segment.guard_tripped:
        yield "  a guard has stopped a pass since"


def _in_flight(imports: list[InFlight]) -> str:
    if not imports:
        return "nothing"
    contacts = sum(one.contacts for one in imports)
    first = _time(min(one.posted for one in imports))
    return f"{len(imports)} imports with {contacts:,} contacts, the first posted {first}"


def _index(index: Index) -> str:
    if index.account_had is None:
        return f"{index.contacts:,} contacts, not read through yet" if index.contacts else "none"
    return f"{index.contacts:,} contacts, read when the account had {index.account_had:,}"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"
