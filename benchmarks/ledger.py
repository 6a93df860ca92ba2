"""What a ledger of many people needs: room on disk, time, memory.

    python benchmarks/ledger.py [--people 1000000] [--url postgresql+psycopg://...]

Fills a ledger as a first run does, in windows of 1,000 contacts and imports of 250, and then
looks all of them up as a second run does that finds them unchanged, and as a mirror that has
to note that it has seen them. Once without addresses, and once with them, as a mirror keeps
them. Without --url it is a SQLite file in the temporary folder; a database that is named is to
be one made for this: the ledger in it is dropped at the end.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from target_activecampaign.ledger import Ledger, Mark, digest
from target_activecampaign.ledger.forms import SCHEMA
from target_activecampaign.ledger.tables import OURS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL = 120e6
WINDOW = 1000
IMPORT = 250


@dataclass
class Measured:
    """What a ledger needed; seconds are those of all people."""

    bytes: int
    filled: float
    looked_up: float
    noted: float
    peak: int


def windows(ledger: Ledger, people: int) -> Iterator[list[tuple[bytes, bytes, str]]]:
    """(hash, digest, address) of people, as many at a time as are compared at once."""
    for start in range(0, people, WINDOW):
        addresses = [f"first.last{n}@example.com" for n in range(start, start + WINDOW)]
        yield [(ledger.person(one), digest(one.encode()), one) for one in addresses]


def measure(url: str, people: int, *, mirror: bool) -> Measured:
    """Fill a ledger, and look everyone up twice."""
    ledger = Ledger(url, "https://benchmark.example", "benchmark", time.time)
    segment = ledger.segments.claim("profiles", 1, mirror=mirror, mark=None).id
    filled = looked_up = noted = 0.0
    for window in windows(ledger, people):
        began = time.perf_counter()
        ledger.members.known([segment], [person for person, _, _ in window])
        for start in range(0, WINDOW, IMPORT):
            number = ledger.journal.posting(
                (
                    person,
                    [Mark(segment, values, OURS, 1, address)]
                    if mirror
                    else [Mark(segment, values, UNKNOWN)],
                )
                for person, values, address in window[start : start + IMPORT]
            )
            ledger.journal.accepted(number, str(number))
            ledger.journal.imported(number, set())
        filled += time.perf_counter() - began
    for window in windows(ledger, people):
        began = time.perf_counter()
        hashes = [person for person, _, _ in window]
        known = ledger.members.known([segment], hashes)
        looked_up += time.perf_counter() - began
        assert [known[person][segment].digest for person in hashes] == [d for _, d, _ in window]
        began = time.perf_counter()
        seen = 2 if mirror else None
        ledger.members.note(segment, seen, unchanged=hashes, outdated=[])
        noted += time.perf_counter() - began
    ledger.end(clean=True, outcome="completed", counts={})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Measured(_size(url), filled, looked_up, noted, peak * 1024)


def _size(url: str) -> int:
    """The bytes that the ledger has on disk."""
    if make_url(url).get_backend_name() == "sqlite":
        path = Path(make_url(url).database or "")
        return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    engine = sa.create_engine(url)
    with engine.begin() as db:
        total = sa.func.sum(sa.func.pg_total_relation_size(sa.text("c.oid")))
        tables = sa.text("pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace")
        ours = sa.text("n.nspname = :schema AND c.relkind = 'r'").bindparams(schema=SCHEMA)
        size = int(db.execute(sa.select(total).select_from(tables).where(ours)).scalar() or 0)
        db.execute(sa.schema.DropSchema(SCHEMA, cascade=True))
    engine.dispose()
    return size


def main() -> int:
    """Measure and print; returns 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--url")
    parser.add_argument("--mirror", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.one:
        # Each in a process of its own: the peak of memory is a process's.
        print(
            "                    MB on disk   µs a person: fill   look up   note   peak MB",
            flush=True,
        )
        command = [sys.executable, *sys.argv, "--one"]
        runs = [subprocess.run([*command, *kind], check=False) for kind in ([], ["--mirror"])]
        return max(run.returncode for run in runs)
    with tempfile.TemporaryDirectory() as folder:
        url = options.url or f"sqlite:///{folder}/ledger.db"
        one = measure(url, options.people, mirror=options.mirror)
    name = "with addresses" if options.mirror else "without addresses"
    times = [1e6 * seconds / options.people for seconds in (one.filled, one.looked_up, one.noted)]
    print(
        f"{name:<20}{one.bytes / 1e6:>10,.1f}{times[0]:>20,.1f}{times[1]:>10,.1f}"
        f"{times[2]:>7,.1f}{one.peak / 1e6:>10,.0f}"
    )
    return 0 if one.bytes <= GOAL * options.people / 1e6 else 1


if __name__ == "__main__":
    sys.exit(main())
