"""Confirmed contacts a minute at ActiveCampaign's limits.

    python benchmarks/throughput.py [--minutes 3] [--latency 7]

Runs the target against a sandbox with its limits on (100 imports a minute, 5 requests a
second) and an import queue that takes as long as the real one was recorded to take. What is
counted is what the sandbox itself has applied: the target's own figures are not asked.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread
from typing import IO

from local import configured, sandbox, stats

LIMIT = 25_000
GOAL = 24_500


def feed(pipe: IO[bytes]) -> None:
    """Profiles for as long as the target takes them."""
    names = ("email", "first_name", "last_name", "phone", "tier", "city", "country")
    properties = {name: {"type": ["string", "null"]} for name in names}
    schema = {"type": "object", "properties": properties}
    try:
        pipe.write(json.dumps({"type": "SCHEMA", "stream": "p", "schema": schema}).encode() + b"\n")
        for number in range(10**9):
            values = (f"p{number}@example.com", f"F{number}", "L", "+1", "Gold", "Oslo", "NO")
            record = dict(zip(names, values, strict=True))
            message = {"type": "RECORD", "stream": "p", "record": record}
            pipe.write(json.dumps(message).encode() + b"\n")
            if number % 1000 == 0:
                state = {"type": "STATE", "value": {"number": number}}
                pipe.write(json.dumps(state).encode() + b"\n")
    except BrokenPipeError:
        pass


def main() -> int:
    """Measure and print; returns 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--latency", type=float, default=7)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        sandbox(Path(name), "--latency", str(options.latency)) as url,
    ):
        folder = Path(name)
        target = subprocess.Popen(
            configured(folder, url),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )
        assert target.stdin is not None
        Thread(target=feed, args=(target.stdin,), daemon=True).start()
        # The first minute's imports may all go at once: what counts comes after it.
        time.sleep(60 + options.latency)
        before, began = stats(url), time.monotonic()
        time.sleep(60 * options.minutes)
        after, seconds = stats(url), time.monotonic() - began
        target.terminate()
        code = target.wait()
    rate = (after["contacts_imported"] - before["contacts_imported"]) / seconds * 60
    asked = (after["requests"] - before["requests"]) / seconds
    print(f"confirmed a minute   {rate:,.0f} of {LIMIT:,} (goal {GOAL:,})")
    print(f"requests a second    {asked:.2f} of 5")
    print(f"refused by limits    {sum(after['refusals'].values())}")
    print(f"measured for         {seconds:.0f} s, queue latency {options.latency:g} s")
    print(f"target's exit code   {code} (143: stopped by the benchmark, all settled)")
    return 0 if rate >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
