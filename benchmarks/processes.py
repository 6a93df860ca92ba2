"""What benchmarks run with: servers and the target, each a process of its own.

What a process has cost the system tells when it ends. Its memory "at its most" begins with
what its parent has when it is started, so the benchmarks themselves stay small.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from profiles import Profiles

HERE = Path(__file__).parent
TARGET = str(Path(sys.executable).with_name("target-activecampaign"))
_NO_LIMITS = {"requests_per_second": 0, "imports_per_minute": 0, "single_imports_per_minute": 0}


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


def cost_of(command: Sequence[str], source: Path | Profiles, folder: Path) -> Cost:
    """Run a command on a file, or on what a process of its own writes meanwhile.

    Raises:
        SystemExit: It has failed; the text is the end of its log.
    """
    log = folder / "log"
    with fed(source) as stdin, log.open("wb") as stderr:
        began = time.monotonic()
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=stderr, cwd=folder
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024)


@contextmanager
def fed(source: Path | Profiles) -> Iterator[int]:
    """The descriptor to read a file from, or a process that makes profiles."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file.fileno()
        return
    with subprocess.Popen(source.command(), stdout=subprocess.PIPE) as tap:
        assert tap.stdout is not None
        yield tap.stdout.fileno()
        tap.stdout.close()
        tap.terminate()
    if tap.returncode not in {0, -signal.SIGTERM, -signal.SIGPIPE}:
        raise SystemExit(f"{tap.args!r} failed.")


class Target:
    """The target's console script in a folder of its own: its first run finds no ledger.

    Args:
        folder: Where it works.
        url: The account's address.
        limits: Whether it keeps ActiveCampaign's limits.
        settings: More settings.
    """

    def __init__(self, folder: Path, url: str, *, limits: bool = False, **settings: Any) -> None:
        self.folder = folder
        self.url = url
        self.config = folder / "config.json"
        account = {"api_url": url, "api_key": "sandbox-key", "data_privacy_consent": True}
        rates = {} if limits else _NO_LIMITS
        self.config.write_text(json.dumps({**account, "list_id": 1, **rates, **settings}))

    @property
    def command(self) -> list[str]:
        """The command that runs it."""
        return [TARGET, "--config", self.config.name]

    def load(self, source: Path | Profiles) -> Cost:
        """Load profiles; what that has cost."""
        return cost_of(self.command, source, self.folder)

    def load_twice(self, source: Path | Profiles) -> tuple[Cost, Cost]:
        """Load profiles, and then the same again, unchanged.

        Raises:
            SystemExit: The first run has sent nothing, or the second something.
        """
        fresh = self.load(source)
        sent, _ = self.calls
        unchanged = self.load(source)
        if not 0 < sent == self.calls[0]:
            raise SystemExit(f"{sent} imports at first, {self.calls[0] - sent} when unchanged.")
        return fresh, unchanged

    @property
    def calls(self) -> tuple[int, int]:
        """Imports and other requests that the account has had so far."""
        counted = stats(self.url)
        imports = sum(counted["imports"].values())
        return imports, counted["requests"] - imports

    @property
    def ledger_bytes(self) -> int:
        """The room on disk that the ledger takes."""
        return sum(file.stat().st_size for file in self.folder.glob(".activecampaign-ledger.db*"))


@contextmanager
def sandboxed(*arguments: str, limits: bool = False, **settings: Any) -> Iterator[Target]:
    """A target with a sandbox of its own, which confirms at once unless told otherwise."""
    options = [] if limits else ["--no-limits"]
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "activecampaign_sandbox", "--exit-with-stdin"]
        options += ["--path", f"{name}/account.db", "--latency", "0", *arguments]
        with _serving([*command, *options]) as url:
            yield Target(Path(name), url, limits=limits, **settings)


@contextmanager
def accepted(**settings: Any) -> Iterator[Target]:
    """A target with a server that takes all imports and keeps nothing: for very many profiles."""
    with (
        tempfile.TemporaryDirectory() as name,
        _serving([sys.executable, str(HERE / "accepting_server.py")]) as url,
    ):
        yield Target(Path(name), url, **settings)


@contextmanager
def _serving(command: Sequence[str]) -> Iterator[str]:
    """Run a server that ends with its stdin; gives the address that it prints first."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def stats(url: str) -> dict[str, Any]:
    """What a server has counted."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", "/_sandbox/stats")
        counted: dict[str, Any] = json.load(connection.getresponse())
    finally:
        connection.close()
    return counted


def members(url: str) -> int:
    """How many people are on the first list."""
    return int(stats(url)["lists"].get("1", {}).get("1", 0))


@contextmanager
def watched(url: str, every: float) -> Iterator[list[tuple[float, int]]]:
    """Look every so many seconds at how many people are on the list: (second, people)."""
    seen: list[tuple[float, int]] = []
    over = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while True:
            seen.append((time.monotonic() - began, members(url)))
            if over.wait(every):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.append((time.monotonic() - began, members(url)))
