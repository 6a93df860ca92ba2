"""Resources needed to load many contacts: the arithmetic of docs/scale.md.

    python scripts/scale.py [--accounts 40] [--profiles 3000000] [--changed 0.02] [--hours 6]

`GIVEN` is what one may ask for, `MEASURED` what was measured, each once. All else is computed by
the formulas that the document shows.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 25_000
"""ActiveCampaign's: 100 imports of 250 contacts per minute and account."""


class Quantity(NamedTuple):
    """A quantity that formulas name."""

    symbol: str
    value: float
    meaning: str


class Line(NamedTuple):
    """A line of the arithmetic; later formulas may name its symbol."""

    symbol: str
    what: str
    formula: str


GIVEN = (
    Quantity("n", 1_000_000, "profiles per account"),
    Quantity("d", 0.01, "share of them that changes in a day"),
    Quantity("F", 24, "hours for the first load"),
    Quantity("H", 4, "hours for the runs of a day"),
)
MEASURED = (
    Quantity("s", 6, "CPU seconds of a job's start: Meltano, tap with discovery, and target"),
    Quantity("tap", 70, "µs of CPU per profile, of tap and Meltano"),
    Quantity("new", 45, "µs of CPU per profile that is sent, of the target"),
    Quantity("same", 9.5, "µs of CPU per profile that is unchanged, of the target"),
    Quantity("more_new", 34, "µs more for a profile that is sent, if the ledger is on PostgreSQL"),
    Quantity("more_same", 3, "µs more for a profile that is unchanged, likewise"),
    Quantity("m", 360, "MiB of memory per job: Meltano, tap and target"),
    Quantity("pg_new", 27, "µs of CPU per profile that is sent, of PostgreSQL"),
    Quantity("pg_same", 4, "µs of CPU per profile that is unchanged, of PostgreSQL"),
    Quantity("row", 160, "bytes per person in the ledger"),
    Quantity("row_m", 350, "bytes per person in the ledger of a mirror"),
    Quantity("wal_new", 340, "bytes of write-ahead log per profile of a first load"),
    Quantity("wal_later", 710, "bytes of write-ahead log per profile that has changed"),
    Quantity("wal_seen", 320, "bytes of write-ahead log per profile that a mirror has seen again"),
    Quantity("sent", 435, "bytes to and from ActiveCampaign per profile that is sent"),
    Quantity("read", 220, "bytes from the warehouse per profile"),
    Quantity("asked", 180, "bytes to and from the ledger per profile that is unchanged"),
)
"""On the machine that docs/scale.md names. `new` and `same` are those of docs/performance.md."""

A_PROFILE = (
    Line("u", "µs of CPU of a job, when it is sent", "tap + new + more_new"),
    Line("v", "µs of CPU of a job, when it is unchanged", "tap + same + more_same"),
)
FIRST_LOAD = (
    Line("", "contacts", "A * n"),
    Line("", "minutes per account, at ActiveCampaign's limit", "n / L"),
    Line("J", "jobs at once, to finish in `F` hours", "min(A, ceil(A * n / L / 60 / F))"),
    Line("K", "their cores", "J * L / 60 * u / 1e6"),
    Line("G", "their memory, GiB", "J * m / 1024"),
    Line("", "machines of 4 cores and 16 GiB", "ceil(max(K / 4, G / 16))"),
    Line("", "CPU hours in all", "A * (s + n * u / 1e6) / 3600"),
    Line("", "cores of PostgreSQL", "J * L / 60 * pg_new / 1e6"),
    Line("", "its write-ahead log, MB/s", "J * L / 60 * wal_new / 1e6"),
    Line("", "its connections", "2 * J"),
    Line("", "the ledger, GB", "A * n * row / 1e9"),
    Line("", "the ledger of mirrors, GB", "A * n * row_m / 1e9"),
    Line("", "sent to ActiveCampaign, GB", "A * n * sent / 1e9"),
)
DAY = (
    Line("", "contacts sent", "A * n * d"),
    Line("", "minutes per account, at ActiveCampaign's limit", "n * d / L"),
    Line("C", "CPU hours of the jobs", "A * (s + n * (d * u + (1 - d) * v) / 1e6) / 3600"),
    Line("K", "cores, to finish in `H` hours", "C / H"),
    Line("J", "jobs at once, one per core", "ceil(K)"),
    Line("G", "their memory, GiB", "J * m / 1024"),
    Line("", "machines of 4 cores and 16 GiB", "ceil(max(K / 4, G / 16))"),
    Line("", "cores of PostgreSQL", "A * n * (pg_same + d * pg_new) / 1e6 / 3600 / H"),
    Line("", "its write-ahead log, GB", "A * n * d * wal_later / 1e9"),
    Line("", "the same of mirrors, GB", "A * n * (wal_seen + d * wal_later) / 1e9"),
    Line("", "read from the warehouse, GB", "A * n * read / 1e9"),
    Line("", "between jobs and ledger, GB", "A * n * asked / 1e9"),
    Line("", "sent to ActiveCampaign, GB", "A * n * d * sent / 1e9"),
)
CHANGES_ONLY = (
    Line("", "CPU hours of the jobs", "A * (s + n * d * u / 1e6) / 3600"),
    Line("", "read from the warehouse, GB", "A * n * d * read / 1e9"),
)
PARTS = (
    ("A profile", A_PROFILE),
    ("First load", FIRST_LOAD),
    ("Each day, where the tap reads everything", DAY),
    ("Each day, where the tap reads what changed", CHANGES_ONLY),
)
ACCOUNTS = (1, 100, 1000)
_TWO_DIGITS = 10


def results(given: Iterable[Quantity], accounts: int) -> list[list[float]]:
    """Return the result of each formula, which may use the results before it."""
    known: dict[str, object] = {"ceil": math.ceil, "max": max, "min": min}
    known |= {"A": accounts, "L": LIMIT}
    known |= {one.symbol: one.value for one in (*given, *MEASURED)}
    parts = []
    for _, lines in PARTS:
        found: list[float] = []
        for line in lines:
            value = float(eval(line.formula, {"__builtins__": {}}, known))  # noqa: S307 - our own
            known[line.symbol] = value
            found.append(value)
        parts.append(found)
    return parts


def quantities_table() -> str:
    """Return the table of the quantities in the formulas."""
    rows = ["| symbol | value | meaning |", "| --- | --- | --- |"]
    rows += ["| `A` | | accounts |", f"| `L` | {LIMIT:,} | contacts per minute and account |"]
    rows += [f"| `{one.symbol}` | {one.value:,} | {one.meaning} |" for one in (*GIVEN, *MEASURED)]
    return "\n".join(rows)


def arithmetic_table(given: Iterable[Quantity] = GIVEN, accounts: Iterable[int] = ACCOUNTS) -> str:
    """Return the table of the results for several numbers of accounts."""
    given, accounts = tuple(given), tuple(accounts)
    heads = ["", "formula", *(f"{one:,} account{'s' if one > 1 else ''}" for one in accounts)]
    rows = [heads, ["---"] * len(heads)]
    columns = [results(given, one) for one in accounts]
    for (title, lines), *parts in zip(PARTS, *columns, strict=True):
        rows.append([f"**{title}**", *[""] * (len(heads) - 1)])
        for line, *values in zip(lines, *parts, strict=True):
            name = f"{line.what}, `{line.symbol}`" if line.symbol else line.what
            rows.append([name, f"`{line.formula}`", *map(_rounded, values)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _rounded(value: float) -> str:
    """A number with its digits before the point, or two that count."""
    return f"{value:,.0f}" if value >= _TWO_DIGITS or value.is_integer() else f"{value:.2g}"


def main() -> int:
    """Print the table for what is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = dict(zip(("profiles", "changed", "first-hours", "hours"), GIVEN, strict=True))
    parser.add_argument("--accounts", type=int, nargs="+", default=ACCOUNTS)
    for name, one in names.items():
        parser.add_argument(
            f"--{name}", type=float, default=one.value, dest=one.symbol, help=one.meaning
        )
    options = parser.parse_args()
    given = [one._replace(value=getattr(options, one.symbol)) for one in GIVEN]
    print(arithmetic_table(given, options.accounts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
