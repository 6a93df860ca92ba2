"""Profiles as a tap writes them; one of 12 properties is a line of about 450 bytes.

python benchmarks/profiles.py --count=1000000 | ...
"""

from __future__ import annotations

import argparse
import gzip
import signal
import sys
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As the Meltano SDK's taps announce a column of type VARCHAR(255).
_TEXT = {"type": ["string", "null"], "maxLength": 255}
_TWELVE: dict[str, dict[str, Any]] = {
    "email": _TEXT,
    "first_name": _TEXT,
    "last_name": _TEXT,
    "customer_id": {"type": "string", "maxLength": 255},
    "phone": _TEXT,
    "city": _TEXT,
    "country": _TEXT,
    "tier": _TEXT,
    "birthday": {"type": ["string", "null"], "format": "date"},
    "loyalty_points": {"type": ["integer", "null"]},
    "lifetime_value": {"type": ["number", "null"]},
    "last_seen": {"type": ["string", "null"], "format": "date-time"},
}
EXTRA = tuple(f"extra_{number:02d}" for number in range(1, 29))
"""Further properties, for profiles of up to 40."""
SCHEMA = {**_TWELVE, **dict.fromkeys(EXTRA, _TEXT)}
_TIERS = ("Bronze", "Silver", "Gold", "Platinum")
_CITIES = ("Lisboa", "Oslo", "Göteborg", "San Francisco", "Zürich")
_STATE_EVERY = 10_000
_FILE_OF = 10_000


@dataclass(frozen=True)
class Profiles:
    """So many people, always the same ones.

    Attributes:
        count: How many.
        first: The number of the first.
        changed: So many of them, from the first on, are in a new version.
        properties: How many properties each has: 2, 12, up to 40.
        streams: In how many streams they come, one after the other.
        refusing: Every how manieth does not consent; 0 for no property with consent.
    """

    count: int
    first: int = 0
    changed: int = 0
    properties: int = 12
    streams: int = 1
    refusing: int = 0

    def messages(self) -> Iterator[bytes]:
        """SCHEMA, RECORD and STATE messages."""
        for stream, numbers in self._streams():
            yield self._schema(stream)
            for number in numbers:
                record = self._record(number)
                yield _line({"type": "RECORD", "stream": stream, "record": record})
                if number % _STATE_EVERY == _STATE_EVERY - 1:
                    yield _state(stream, number)

    def write(self, path: Path) -> Path:
        """Write these messages into a file."""
        with path.open("wb") as file:
            file.writelines(self.messages())
        return path

    def write_batches(self, folder: Path, compression: str) -> Path:
        """Write the records into files of JSON lines, `none` or `gzip`.

        Returns:
            A file of the messages that name them.
        """
        folder.mkdir()
        messages = folder / "messages.jsonl"
        with messages.open("wb") as file:
            for stream, numbers in self._streams():
                file.write(self._schema(stream))
                for start in range(0, len(numbers), _FILE_OF):
                    part = folder / f"{stream}-{start}.jsonl"
                    lines = (_line(self._record(one)) for one in numbers[start:][:_FILE_OF])
                    with gzip.open(part, "wb") if compression == "gzip" else part.open("wb") as to:
                        to.writelines(lines)
                    encoding = {"format": "jsonl", "compression": compression}
                    head = {"type": "BATCH", "stream": stream, "encoding": encoding}
                    file.write(_line({**head, "manifest": [part.as_uri()]}))
                    file.write(_state(stream, start))
        return messages

    def command(self) -> list[str]:
        """The command of a process that writes these messages to its stdout."""
        options = [f"--{name}={value}" for name, value in asdict(self).items()]
        return [sys.executable, __file__, *options]

    def _streams(self) -> Iterator[tuple[str, range]]:
        size = -(-self.count // self.streams)
        everyone = range(self.first, self.first + self.count)
        for number in range(self.streams):
            yield f"profiles_{number}", everyone[number * size :][:size]

    def _schema(self, stream: str) -> bytes:
        names = list(SCHEMA)[: self.properties]
        properties = {name: SCHEMA[name] for name in names}
        if self.refusing:
            properties["marketing_consent"] = {"type": ["boolean", "null"]}
        schema = {"type": "object", "properties": properties}
        head = {"type": "SCHEMA", "stream": stream, "schema": schema}
        return _line({**head, "key_properties": ["email"]})

    def _record(self, number: int) -> dict[str, Any]:
        record = {
            "email": f"Person.{number}@shop{number % 97}.example.com",
            "first_name": f"Beatriz {number % 1000}",
            "last_name": f"Brandão-{number % 313}",
            "customer_id": f"27045eed-c051-0eb5-11ab-{number:012d}",
            "phone": f"+55 11 9{number % 10_000_000:07d}",
            "city": _CITIES[number % 5],
            "country": "Brazil",
            "tier": _TIERS[number % 4],
            "birthday": f"19{number % 90 + 10}-0{number % 9 + 1}-1{number % 9}",
            "loyalty_points": number % 20_000,
            "lifetime_value": number % 100_000 / 100,
            "last_seen": f"2025-08-{number % 28 + 1:02d}T23:58:{number % 60:02d}-03:00",
        }
        if number - self.first < self.changed:
            record["first_name"] = f"Bea {number % 1000}"
        if self.refusing:
            record["marketing_consent"] = number % self.refusing != self.refusing - 1
        if self.properties == len(_TWELVE):
            return record
        values = {**record, **{name: f"{name} of {number}" for name in EXTRA}}
        return {name: values[name] for name in list(SCHEMA)[: self.properties]}


def _state(stream: str, number: int) -> bytes:
    return _line({"type": "STATE", "value": {"bookmarks": {stream: number}}})


def _line(message: dict[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\n"


def main() -> None:
    """Write the messages to stdout, until they end or nobody reads them."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for field in fields(Profiles):
        parser.add_argument(f"--{field.name}", type=int, required=field.name == "count")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    sys.stdout.buffer.writelines(Profiles(**given).messages())


if __name__ == "__main__":
    main()
