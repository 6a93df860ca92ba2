"""What a profile costs: CPU of the target's own process, beside the anchor and the floor.

All runs read the same file. The start of the process is part of each figure; what it is alone
is a figure too.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from figures import Figure, Goal, Results
from processes import HERE, Cost, cost_of, sandboxed, watched
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

FRESH_SHARE, UNCHANGED_SHARE = 6, 10
"""How many times cheaper than the anchor a record is to be."""
MAX_IMPORTS, MAX_QUESTIONS = 4, 8
"""Calls for 1,000 changed profiles."""


@dataclass(frozen=True)
class _Pair:
    """Microseconds a record, of a first run and of the next one with the same profiles."""

    fresh: float
    unchanged: float


def measure(count: int, changed: int, repeat: int, results: Results) -> Iterator[Figure]:
    """Measure all that has to do with the cost of a record.

    Args:
        count: Profiles in the file.
        changed: How many of them change.
        repeat: How often each cost is measured: the lowest counts.
        results: Takes the confirmed people of a first run over time.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Profiles(count).write(folder / "profiles.jsonl")

        def alone(script: str) -> float:
            command = [sys.executable, str(HERE / script)]
            return min(_each(cost_of(command, source, folder), count) for _ in range(repeat))

        def pair(path: Path, **settings: Any) -> _Pair:
            runs = [_pair(path, count, **settings) for _ in range(repeat)]
            return _Pair(min(run.fresh for run in runs), min(run.unchanged for run in runs))

        anchor = alone("empty_target.py")
        yield Figure("the SDK's empty target", anchor, "µs", beside="the anchor")
        yield Figure("msgspec decodes the line", alone("floor.py"), "µs", beside="the floor")
        stream = pair(source)
        yield _compared("fresh profiles", stream.fresh, anchor, FRESH_SHARE)
        yield _compared("unchanged profiles", stream.unchanged, anchor, UNCHANGED_SHARE)
        unchecked = pair(source, validate_records=False)
        yield _beside("fresh, validate_records: false", unchecked.fresh, stream.fresh)
        yield _beside("unchanged, validate_records: false", unchecked.unchanged, stream.unchanged)
        for compression in ("none", "gzip"):
            batches = pair(Profiles(count).write_batches(folder / compression, compression))
            form = "plain" if compression == "none" else compression
            yield _beside(f"fresh, {form} BATCH files", batches.fresh, stream.fresh, goal=True)
            yield _beside(
                f"unchanged, {form} BATCH files", batches.unchanged, stream.unchanged, goal=True
            )
        yield from _calls(source, folder, count, changed, results)


def _pair(source: Path, count: int, **settings: Any) -> _Pair:
    with sandboxed(**settings) as target:
        fresh, unchanged = target.load_twice(source)
    return _Pair(_each(fresh, count), _each(unchanged, count))


def _each(cost: Cost, count: int) -> float:
    return cost.cpu / count * 1e6


def _compared(what: str, each: float, anchor: float, share: int) -> Figure:
    beside = f"1/{anchor / each:.1f} of the anchor, goal 1/{share}"
    return Figure(what, each, "µs", Goal(anchor / share), beside)


def _beside(what: str, each: float, stream: float, *, goal: bool = False) -> Figure:
    beside = f"{each / stream:.2f} of the stream's"
    return Figure(what, each, "µs", Goal(stream) if goal else None, beside)


def _calls(
    source: Path, folder: Path, count: int, changed: int, results: Results
) -> Iterator[Figure]:
    """The calls of a first run and of one with few changes; the cost of the start alone."""
    later = Profiles(count, changed=changed).write(folder / "later.jsonl")
    with sandboxed() as target:
        with watched(target.url, 0.5) as seen:
            first = target.load(source)
        results.over_time["the target without limits"] = seen
        imports, others = target.calls
        yield Figure(
            "fresh profiles confirmed by the sandbox a second",
            count / first.wall,
            "/s",
            beside=f"{imports:,} imports, {others:,} other requests",
        )
        yield Figure("start and end alone, CPU", target.load(Profiles(0)).cpu, "s")
        imports, others = target.calls
        target.load(later)
        later_imports, later_others = target.calls
    what = f"for {changed:,} changed of {count:,}"
    yield Figure(f"imports {what}", later_imports - imports, "", Goal(MAX_IMPORTS))
    yield Figure(f"questions {what}", later_others - others, "", Goal(MAX_QUESTIONS))
