"""Which part of the target takes the CPU, of fresh and of unchanged profiles."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, Results
from processes import HERE, Target, cost_of, sandboxed
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

_SMALL = 0.01
"""A smaller share than this counts for what is left over."""


def measure(count: int, results: Results) -> Iterator[Figure]:
    """Load profiles twice under the sampler.

    Args:
        count: How many.
        results: Takes the microseconds a record by stage.
    """
    with tempfile.TemporaryDirectory() as name, sandboxed() as target:
        source = Profiles(count).write(Path(name) / "profiles.jsonl")
        for kind in ("fresh", "unchanged"):
            stages = _stages(target, source, count)
            total = sum(stages.values())
            results.stages[kind] = stages
            for stage, each in stages.items():
                yield Figure(f"{kind}: {stage}", each, "µs", beside=f"{each / total:.0%}")


def _stages(target: Target, source: Path, count: int) -> dict[str, float]:
    """Microseconds a record by stage, the greatest first."""
    result = target.folder / "stages.json"
    options = target.command[1:]
    command = [sys.executable, str(HERE / "sampler.py"), str(result), *options]
    cost_of(command, source, target.folder)
    seconds: dict[str, float] = json.loads(result.read_text())
    del seconds["sampler"]
    least = _SMALL * sum(seconds.values())
    kept = {stage: one for stage, one in seconds.items() if one >= least and stage != "other"}
    kept["other"] = sum(seconds.values()) - sum(kept.values())
    ordered = sorted(kept.items(), key=lambda item: -item[1])
    return {stage: one / count * 1e6 for stage, one in ordered}
