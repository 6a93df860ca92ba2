"""How the cost of a record grows: with records, fields, streams, and what the ledger holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from figures import Figure
from processes import Target, accepted
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator


def measure(count: int, people: int, postgres: str | None) -> Iterator[Figure]:
    """Load profiles of several shapes, twice each.

    Args:
        count: Profiles; also twice and four times as many.
        people: How many a large ledger holds.
        postgres: The URL of an empty database, to keep a ledger in.
    """
    base = Profiles(count)
    for much in (count, 2 * count, 4 * count):
        yield from _pair(f"{much:,} records", replace(base, count=much))
    for properties in (2, 40):
        yield from _pair(f"{properties} properties", replace(base, properties=properties))
    yield from _pair("10 streams", replace(base, streams=10))
    with accepted() as target:
        target.load(Profiles(people, first=count))
        yield from _loaded(f"beside {people:,} others", base, target)
    many = Profiles(people)
    yield from _pair(f"mirror of {people:,}", many, sync_mode="mirror", complete_stream=True)
    yield from _pair(f"{people:,} people with a key", many, person_key=["customer_id"])
    if postgres is not None:
        yield from _on_postgres(postgres, many)


def _pair(what: str, profiles: Profiles, **settings: Any) -> Iterator[Figure]:
    with accepted(**settings) as target:
        yield from _loaded(what, profiles, target)
        yield Figure(f"{what}, the ledger's file", target.ledger_bytes / 1e6, "MB")


def _loaded(what: str, profiles: Profiles, target: Target) -> Iterator[Figure]:
    for kind, cost in zip(("fresh", "unchanged"), target.load_twice(profiles), strict=True):
        yield Figure(f"{what}, {kind}", cost.cpu / profiles.count * 1e6, "µs")


def _on_postgres(url: str, profiles: Profiles) -> Iterator[Figure]:
    # Only here: what a process has in memory its children begin with.
    import sqlalchemy as sa  # noqa: PLC0415

    engine = sa.create_engine(url)
    size = sa.select(sa.func.pg_database_size(sa.func.current_database()))
    with engine.connect() as database:
        before = database.execute(size).scalar_one()
    with accepted(ledger_url=url) as target:
        yield from _loaded("a ledger on PostgreSQL", profiles, target)
    with engine.connect() as database:
        room = database.execute(size).scalar_one() - before
    engine.dispose()
    yield Figure("a ledger on PostgreSQL, its tables", room / 1e6, "MB")
