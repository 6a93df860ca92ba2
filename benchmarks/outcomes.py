"""What rows of outcomes cost: fresh and unchanged profiles without them, and with each place."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

from figures import Figure
from processes import accepted
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processes import Cost

_ROUNDS = 3
_OFF = "off"


def measure(count: int, most: int, postgres: str | None) -> Iterator[Figure]:
    """Load profiles without rows, and in turn the same ones with rows in each place.

    A place has the rows of all loads: a load adds rows, or replaces the latest of each key.

    Args:
        count: Profiles.
        most: Profiles of the loads whose memory is measured besides.
        postgres: A database for rows on PostgreSQL; None leaves that out.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield from _measure(count, most, _places(folder, postgres))


def _places(folder: str, postgres: str | None) -> dict[str, dict[str, Any]]:
    """Return the settings of each place."""
    places: dict[str, dict[str, Any]] = {
        _OFF: {},
        "files": {"outcomes_url": f"file://{folder}/outcomes"},
        "SQLite": {"outcomes_url": "sqlite:///outcomes.db"},
    }
    if postgres is not None:
        places["PostgreSQL"] = {"outcomes_url": postgres, "outcomes_schema": "benchmark_outcomes"}
    return places


def _measure(count: int, most: int, places: dict[str, dict[str, Any]]) -> Iterator[Figure]:
    fresh: dict[str, list[Cost]] = {name: [] for name in places}
    unchanged: dict[str, list[Cost]] = {name: [] for name in places}
    for _ in range(_ROUNDS):
        for name, settings in places.items():
            with accepted(**settings) as target:
                for costs, cost in zip(
                    (fresh, unchanged), target.load_twice(Profiles(count)), strict=True
                ):
                    costs[name].append(cost)
    for what, costs in (("fresh", fresh), ("unchanged", unchanged)):
        best = {name: min(cost.cpu for cost in some) for name, some in costs.items()}
        for name, cpu in best.items():
            each, more = cpu / count * 1e6, (cpu - best[_OFF]) / count * 1e6
            beside = "" if name == _OFF else f"{more:+.1f} µs, {cpu / best[_OFF]:.2f} of off"
            yield Figure(f"outcomes {name}, {what}, best of {_ROUNDS}", each, "µs", beside=beside)
    for name, settings in places.items():
        with accepted(**settings) as target:
            peak = target.load(Profiles(most)).peak
        small = min(cost.peak for cost in fresh[name])
        yield Figure(
            f"outcomes {name}, memory at {most:,}", peak, "MiB", beside=f"{small:.0f} at {count:,}"
        )
