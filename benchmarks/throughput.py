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
import urllib.request
from pathlib import Path
from threading import Thread
from typing import IO, Any

LIMIT = 25_000
GOAL = 24_500


def start_sandbox(folder: Path, latency: float) -> tuple[subprocess.Popen[str], str]:
    """A sandbox with its limits on; its process and its address."""
    command = [sys.executable, "-m", "target_activecampaign.sandbox", "--exit-with-stdin"]
    process = subprocess.Popen(
        [*command, "--path", str(folder / "account.db"), "--latency", str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def stats(url: str) -> dict[str, Any]:
    """What the sandbox counted."""
    with urllib.request.urlopen(f"{url}/_sandbox/stats") as answer:  # noqa: S310 - loopback
        counted: dict[str, Any] = json.load(answer)
    return counted


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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sandbox, url = start_sandbox(folder, options.latency)
        config = {"api_url": url, "api_key": "sandbox-key", "data_privacy_consent": True}
        (folder / "config.json").write_text(json.dumps({**config, "list_id": 1}))
        target = subprocess.Popen(
            [Path(sys.executable).with_name("target-activecampaign"), "--config", "config.json"],
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
        if sandbox.stdin is not None:
            sandbox.stdin.close()
        sandbox.wait()
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
