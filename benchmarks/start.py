"""From the start of the process to the first byte of its first request."""

from __future__ import annotations

import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from figures import Figure, Goal
from processes import Target
from profiles import Profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 1.5
"""Seconds."""
_WAIT = 60


def measure(times: int) -> Iterator[Figure]:
    """Start the target so many times, with a profile that waits for it."""
    with tempfile.TemporaryDirectory() as name:
        source = Profiles(1).write(Path(name) / "profile.jsonl")
        seconds = [_first_request(Path(name), source) for _ in range(times)]
    slowest = f"the median of {times}, the slowest {max(seconds):.2f} s"
    yield Figure("start to first request", statistics.median(seconds), "s", Goal(MOST), slowest)


def _first_request(folder: Path, source: Path) -> float:
    with socket.create_server(("127.0.0.1", 0)) as server, source.open("rb") as stdin:
        server.settimeout(_WAIT)
        target = Target(folder, f"http://127.0.0.1:{server.getsockname()[1]}")
        began = time.monotonic()
        process = subprocess.Popen(
            target.command,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(_WAIT)
                connection.recv(1)
                return time.monotonic() - began
        finally:
            process.kill()
            process.wait()
