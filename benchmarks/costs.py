"""What a profile costs: CPU of the target's own process a record, beside the SDK's empty target.

    python benchmarks/costs.py [--profiles 200000] [--changed 1000]

All is measured in this one run, on the same file. The start of a process is part of its figure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import profiles
from local import NO_LIMITS, Cost, configured, measured, sandbox, stats

HERE = Path(__file__).parent
FRESH_GOAL, UNCHANGED_GOAL = 6, 10
"""How many times cheaper than the anchor a record is to be."""
MEMORY_GOAL = 160


def floor(source: Path, count: int) -> float:
    """Microseconds a record that it takes to decode its line, and to do nothing else."""
    decoder = msgspec.json.Decoder()
    began = time.process_time()
    # Not all in memory: a process that is measured later begins with as much as this one has.
    with source.open("rb") as file:
        for line in file:
            decoder.decode(line)
    return (time.process_time() - began) / count * 1e6


def measure(folder: Path, count: int, changed: int) -> list[tuple[str, str, str, str]]:
    """Measure; the rows of the table."""
    source, later = folder / "profiles.jsonl", folder / "later.jsonl"
    with source.open("wb") as file:
        profiles.write(file, count)
    with later.open("wb") as file:
        profiles.write(file, count, changed=changed)
    anchor = measured([sys.executable, str(HERE / "empty_target.py")], source, folder)
    rows = [
        ("the SDK's empty target", _each(anchor, count), "the anchor", ""),
        ("msgspec: decode the line", f"{floor(source, count):.1f} us", "the floor", ""),
    ]
    with sandbox(folder, "--no-limits", "--latency", "0") as url:
        command = configured(folder, url, **NO_LIMITS)
        fresh = measured(command, source, folder)
        same = measured(command, source, folder)
        before = stats(url)
        few = measured(command, later, folder)
        after = stats(url)
    rows.append(_compared("fresh profiles", fresh, anchor, count, FRESH_GOAL))
    rows.append(_compared("unchanged profiles", same, anchor, count, UNCHANGED_GOAL))
    imports = sum(after["imports"].values()) - sum(before["imports"].values())
    calls = after["requests"] - before["requests"]
    rows.append(
        (
            f"{changed:,} of them changed",
            _each(few, count),
            f"{imports} imports, {calls - imports} other calls",
            f"<= {-(-changed // 250)} imports",
        )
    )
    peak = max(fresh.peak, same.peak)
    rows.append(("memory at its most", f"{peak:.0f} MiB", "", f"<= {MEMORY_GOAL} MiB"))
    return rows


def _each(cost: Cost, count: int) -> str:
    return f"{cost.cpu / count * 1e6:.1f} us"


def _compared(
    what: str, cost: Cost, anchor: Cost, count: int, goal: int
) -> tuple[str, str, str, str]:
    return (what, _each(cost, count), f"1/{anchor.cpu / cost.cpu:.1f}", f"1/{goal}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=int, default=200_000)
    parser.add_argument("--changed", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(Path(name), options.profiles, options.changed)
    print(f"{options.profiles:,} profiles of {len(profiles.PROPERTIES)} properties, CPU a record\n")
    for row in [("what", "measured", "of the anchor", "goal"), *rows]:
        print("{:28}{:>12}  {:24}{}".format(*row).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
