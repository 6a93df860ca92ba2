"""Memory at its most, with the ledger on, for ever more profiles: it is to stay the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures import Figure, Goal
from processes import accepted
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST = 160
"""MiB."""
GROWTH = 10
"""Per cent, from the smallest to the greatest."""


def measure(sizes: Sequence[int]) -> Iterator[Figure]:
    """Load so many profiles, twice each, from a process that makes them.

    Args:
        sizes: How many.
    """
    fresh, unchanged = [], []
    for count in sizes:
        with accepted() as target:
            first, second = target.load_twice(Profiles(count))
            room = target.ledger_bytes / 1e6
        fresh.append(first.peak)
        unchanged.append(second.peak)
        for kind, cost in (("fresh", first), ("unchanged", second)):
            beside = f"{cost.cpu:.1f} s of CPU in {cost.wall:.1f} s"
            yield Figure(f"{count:,} {kind} profiles", cost.peak, "MiB", Goal(MOST), beside)
        yield Figure(f"the ledger's file at {count:,}", room, "MB")
    for what, peaks in (("fresh", fresh), ("unchanged", unchanged)):
        grown = (max(peaks) / min(peaks) - 1) * 100
        yield Figure(f"between the sizes, {what}", grown, "%", Goal(GROWTH))
