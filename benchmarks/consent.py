"""What consent costs: profiles with a property that is read, or ignored, and some that say no."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import TYPE_CHECKING

from figures import Figure, Goal
from processes import Target, accepted
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

_IGNORED = {"field_mapping": {"marketing_consent": "ignore"}}
_ROUNDS = 3
_NOBODY = 10**9
_GOAL = Goal(1.03)


def measure(count: int) -> Iterator[Figure]:
    """Load profiles whose consent is read, and beside them the same ones with it ignored.

    Both loads of a pair run at the same time: what disturbs the machine disturbs both.

    Args:
        count: Profiles.
    """
    consenting = Profiles(count, refusing=_NOBODY)
    fresh, unchanged = [], []
    for _ in range(_ROUNDS):
        with accepted(**_IGNORED) as ignoring, accepted() as reading:
            fresh.append(_pair(ignoring, reading, consenting))
            unchanged.append(_pair(ignoring, reading, consenting))
    for name, pairs in (("fresh", fresh), ("unchanged", unchanged)):
        for which, costs in zip(("ignored", "read"), zip(*pairs, strict=True), strict=True):
            yield Figure(f"consent {which}, {name}, median of {_ROUNDS}", median(costs), "µs")
        ratio = median(read / ignored for ignored, read in pairs)
        yield Figure(f"read : ignored, {name}, median of {_ROUNDS} pairs", ratio, "", _GOAL)
    refusing = Profiles(count, refusing=3)
    with accepted() as target:
        yield Figure("read, every third says no, fresh", _each(target, refusing), "µs")
        each = min(_each(target, refusing) for _ in range(_ROUNDS))
        yield Figure(f"read, every third says no, unchanged, best of {_ROUNDS}", each, "µs")
        yield Figure("the same, the ledger", target.ledger_bytes / 1e6, "MB")


def _pair(ignoring: Target, reading: Target, profiles: Profiles) -> tuple[float, float]:
    """Load profiles into both targets at the same time; the CPU of each, in µs a profile."""
    with ThreadPoolExecutor(2) as threads:
        ignored, read = threads.map(lambda target: _each(target, profiles), (ignoring, reading))
    return ignored, read


def _each(target: Target, profiles: Profiles) -> float:
    return target.load(profiles).cpu / profiles.count * 1e6
