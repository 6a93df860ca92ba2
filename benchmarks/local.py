"""What benchmarks run with: a sandbox in a process of its own, and the target as a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGET = str(Path(sys.executable).with_name("target-activecampaign"))
NO_LIMITS = {
    "requests_per_second": 0,
    "imports_per_minute": 0,
    "single_imports_per_minute": 0,
}


@dataclass(frozen=True)
class Cost:
    """What a process has cost.

    Attributes:
        cpu: Seconds of CPU, in user and system mode.
        wall: Seconds.
        peak: Memory at its most, in MiB.
    """

    cpu: float
    wall: float
    peak: float


@contextmanager
def sandbox(folder: Path, *arguments: str) -> Iterator[str]:
    """Run a sandbox; gives its address."""
    command = [sys.executable, "-m", "target_activecampaign.sandbox", "--exit-with-stdin"]
    process = subprocess.Popen(
        [*command, "--path", str(folder / "account.db"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        process.wait()


def stats(url: str) -> dict[str, Any]:
    """What a sandbox has counted."""
    with urllib.request.urlopen(f"{url}/_sandbox/stats") as answer:  # noqa: S310 - loopback
        counted: dict[str, Any] = json.load(answer)
    return counted


def configured(folder: Path, url: str, **settings: Any) -> list[str]:
    """The target's command for a sandbox."""
    config = {"api_url": url, "api_key": "sandbox-key", "data_privacy_consent": True, "list_id": 1}
    (folder / "config.json").write_text(json.dumps({**config, **settings}))
    return [TARGET, "--config", "config.json"]


def measured(command: Sequence[str], source: Path, folder: Path) -> Cost:
    """Run a command on a file; its own cost, not that of other processes.

    Raises:
        SystemExit: It has failed; the text is the end of its log.
    """
    log = folder / "log"
    began = time.monotonic()
    with source.open("rb") as stdin, log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=stderr, cwd=folder
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n{log.read_text()[-2000:]}")
    return Cost(used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1024)
