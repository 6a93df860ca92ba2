"""All benchmarks: each figure beside its goal, and beside what is measured with it in this run.

    python benchmarks/run.py                     in some minutes
    python benchmarks/run.py --full              everything, in the better part of an hour
    python benchmarks/run.py --only cost start   these parts
    python benchmarks/run.py --small             everything in seconds, to see that it works

The figures are as good as the machine is quiet. It needs Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import consent
import costs
import growth
import limits
import memory
import outcomes
import stages
import start
import suppression
from figures import Figure, Results
from processes import HERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        profiles: Profiles of the file that costs are measured with.
        changed: How many of them change.
        starts: How often the start is timed.
        memory: For how many profiles memory is measured.
        written: Profiles that the plain writer writes without limits.
        writer_seconds: How long it writes at the limits.
        minutes: How long the target runs at the limits.
        latency: Seconds that an import then takes in the queue; the real one was seen to take 7.
        growth: Profiles that growth begins with.
        people: How many a large ledger holds.
    """

    profiles: int = 200_000
    changed: int = 1000
    starts: int = 5
    memory: tuple[int, ...] = (100_000, 1_000_000)
    written: int = 1000
    writer_seconds: float = 60
    minutes: float = 3
    latency: float = 7
    growth: int = 100_000
    people: int = 1_000_000


SMALL = Sizes(
    profiles=2000,
    changed=600,
    starts=1,
    memory=(1000, 2000),
    written=20,
    writer_seconds=5,
    minutes=0.05,
    latency=0.2,
    growth=500,
    people=2000,
)
FULL = replace(Sizes(), memory=(100_000, 1_000_000, 5_000_000))
_EACH = "CPU of the process a record"
_ACCEPTING = "against a server that takes everything"
PARTS: dict[str, tuple[str, Callable[[Sizes, argparse.Namespace, Results], Iterator[Figure]]]] = {
    "cost": (
        "{0.profiles:,} profiles of 12 properties, " + _EACH,
        lambda sizes, options, results: costs.measure(
            sizes.profiles, sizes.changed, options.repeat, results
        ),
    ),
    "stages": (
        "{0.profiles:,} profiles by stage, sampled, " + _EACH,
        lambda sizes, _, results: stages.measure(sizes.profiles, results),
    ),
    "start": (
        "Start",
        lambda sizes, *_: start.measure(sizes.starts),
    ),
    "memory": (
        f"Memory at its most, ledger on, {_ACCEPTING}",
        lambda sizes, *_: memory.measure(sizes.memory),
    ),
    "writer": (
        "A plain writer, contact/sync and contactLists for each record",
        lambda sizes, _, results: limits.measure_writer(
            sizes.written, sizes.writer_seconds, results
        ),
    ),
    "limits": (
        "At ActiveCampaign's limits",
        lambda sizes, _, results: limits.measure(sizes.minutes, sizes.latency, results),
    ),
    "growth": (
        f"How cost grows, {_EACH}, {_ACCEPTING}",
        lambda sizes, options, _: growth.measure(sizes.growth, sizes.people, options.postgres),
    ),
    "consent": (
        f"Consent, {_EACH}, {_ACCEPTING}",
        lambda sizes, *_: consent.measure(sizes.people),
    ),
    "outcomes": (
        f"Rows of outcomes, {_EACH}, {_ACCEPTING}",
        lambda sizes, options, _: outcomes.measure(sizes.growth, sizes.people, options.postgres),
    ),
    "suppression": (
        f"Suppression, {_EACH}, {_ACCEPTING}",
        lambda sizes, *_: suppression.measure(sizes.growth, sizes.people),
    ),
}
"""What can be measured: its title, and what measures it."""
LONG = {
    "limits": "some minutes at the limits",
    "growth": "how cost grows",
    "consent": "what consent costs",
    "outcomes": "what rows of outcomes cost",
    "suppression": "what suppression costs",
}
"""Parts that are left out unless asked for."""


def main() -> int:
    """Measure and print; 0 unless something has failed, which a missed goal is not."""
    options = _options()
    sizes = SMALL if options.small else FULL if options.full else Sizes()
    results = Results()
    print(", ".join(results.machine.values()))
    everything = options.small or options.full
    short = [name for name in PARTS if name not in LONG]
    wanted = options.only or (PARTS if everything else [*short, *options.also])
    for name, (title, measure) in PARTS.items():
        if name in wanted:
            results.part(title.format(sizes), measure(sizes, options, results))
        elif not options.only:
            results.leave_out(f"{name}: --{name}")
    if "memory" in wanted and sizes == Sizes():
        results.leave_out(f"memory at {FULL.memory[-1]:,} profiles: --full")
    if "growth" in wanted and options.postgres is None:
        results.leave_out("growth with a ledger on PostgreSQL: --growth --postgres URL")
    if "outcomes" in wanted and options.postgres is None:
        results.leave_out("outcomes with rows on PostgreSQL: --outcomes --postgres URL")
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=1) + "\n")
    return _draw(options.picture, results) if options.picture else 0


def _draw(path: Path, results: Results) -> int:
    """Draw with what is in an environment of its own; the exit code.

    matplotlib brings numpy, and where that is, the Meltano SDK imports it at each start: in one
    environment with the target, it would be part of what is measured.
    """
    sys.path.insert(0, str(HERE.parent / "scripts"))
    from environments import Environment, SetUpError  # noqa: PLC0415 - it is not installed

    drawing = Environment(".venv-pictures", "pictures.txt", "what draws")
    try:
        drawing.ensure()
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [str(drawing.bin / "python"), str(HERE / "picture.py"), str(path)]
    given = json.dumps(results.as_json())
    return subprocess.run(command, input=given, text=True, check=False).returncode


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--small", action="store_true", help="everything, in seconds")
    size.add_argument("--full", action="store_true", help="everything, in full length")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    for name, what in LONG.items():
        parser.add_argument(
            f"--{name}", dest="also", action="append_const", const=name, default=[], help=what
        )
    parser.add_argument("--repeat", type=int, default=1, help="costs so often, the lowest counts")
    parser.add_argument("--postgres", metavar="URL", help="an empty database for a ledger")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures as JSON")
    parser.add_argument("--picture", type=Path, metavar="PATH", help="draw them: .svg or .png")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
