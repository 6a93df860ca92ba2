"""What suppression costs: each suppressed person, and each profile beside many of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from figures import Figure
from processes import Target, accepted
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processes import Cost

_ROLE: dict[str, Any] = {"streams": {"profiles_0": {"role": "suppression"}}}


def measure(count: int, people: int) -> Iterator[Figure]:
    """Suppress people, and load profiles beside them.

    Args:
        count: Profiles.
        people: How many people are suppressed. None of them is among the profiles.
    """
    profiles = Profiles(count)
    with accepted() as target:
        yield from _profiles("nobody is suppressed", profiles, target)
    with accepted() as target:
        suppressing = Target(target.folder, target.url, **_ROLE)
        source = Profiles(people, first=count, properties=2)
        for kind in ("new", "known"):
            cost = suppressing.load(source)
            yield Figure(f"a suppressed person, {kind}", _each(cost, people), "µs")
            yield Figure(f"memory at its most, {kind}", cost.peak, "MiB")
        yield Figure(f"{people:,} suppressed people, the ledger", target.ledger_bytes / 1e6, "MB")
        loading = Target(target.folder, target.url)
        yield from _profiles(f"beside {people:,} suppressed", profiles, loading)


def _profiles(what: str, profiles: Profiles, target: Target) -> Iterator[Figure]:
    for kind, cost in zip(("fresh", "unchanged"), target.load_twice(profiles), strict=True):
        yield Figure(f"{what}, {kind}", _each(cost, profiles.count), "µs")
    changed = target.load(replace(profiles, changed=profiles.count))
    yield Figure(f"{what}, changed", _each(changed, profiles.count), "µs")


def _each(cost: Cost, count: int) -> float:
    return cost.cpu / count * 1e6
