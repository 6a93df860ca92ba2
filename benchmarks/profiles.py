"""Profiles for the benchmarks: 12 properties, about 450 bytes a line."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT = {"type": ["string", "null"]}
PROPERTIES: dict[str, dict[str, Any]] = {
    "customer_id": {"type": "string"},
    "email": _TEXT,
    "first_name": _TEXT,
    "last_name": _TEXT,
    "phone": _TEXT,
    "city": _TEXT,
    "country": _TEXT,
    "tier": _TEXT,
    "birthday": {"type": ["string", "null"], "format": "date"},
    "loyalty_points": {"type": ["integer", "null"]},
    "lifetime_value": {"type": ["number", "null"]},
    "last_seen": {"type": ["string", "null"], "format": "date-time"},
}
_TIERS = ("Bronze", "Silver", "Gold", "Platinum")
_CITIES = ("Lisboa", "Oslo", "Göteborg", "San Francisco", "Zürich")
_STATE_EVERY = 10_000


def profile(number: int, *, points: int = 0) -> dict[str, Any]:
    """One person's profile; `points` tells one version from another."""
    return {
        "customer_id": f"27045eed-c051-0eb5-11ab-{number:012d}",
        "email": f"Person.{number}@shop{number % 97}.example.com",
        "first_name": f"Beatriz {number % 1000}",
        "last_name": f"Brandão-{number % 313}",
        "phone": f"+55 11 9{number % 10_000_000:07d}",
        "city": _CITIES[number % 5],
        "country": "Brazil",
        "tier": _TIERS[number % 4],
        "birthday": f"19{number % 90 + 10}-0{number % 9 + 1}-1{number % 9}",
        "loyalty_points": number % 20_000 + points,
        "lifetime_value": number % 100_000 / 100,
        "last_seen": f"2025-08-{number % 28 + 1:02d}T23:58:{number % 60:02d}-03:00",
    }


def messages(count: int, *, changed: int = 0) -> Iterator[bytes]:
    """SCHEMA, RECORD and STATE messages of so many people, the first `changed` in a new version."""
    schema = {"type": "object", "properties": PROPERTIES}
    yield _line(
        {"type": "SCHEMA", "stream": "profiles", "schema": schema, "key_properties": ["email"]}
    )
    for number in range(count):
        record = profile(number, points=7 if number < changed else 0)
        yield _line({"type": "RECORD", "stream": "profiles", "record": record})
        if number % _STATE_EVERY == _STATE_EVERY - 1:
            yield _line({"type": "STATE", "value": {"bookmarks": {"profiles": number}}})


def write(file: IO[bytes], count: int, *, changed: int = 0) -> None:
    """Write these messages."""
    file.writelines(messages(count, changed=changed))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
