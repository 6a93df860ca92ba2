"""A real Redis server of a test's own, on a free loopback port, gone when the test ends.

    with RedisServer() as server:
        client = redis.Redis.from_url(server.url)

It needs `redis-server`; `RedisServer.missing()` says whether it is there.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, final

import redis

if TYPE_CHECKING:
    from types import TracebackType

HOW_TO_GET_IT = (
    "Redis is not on this machine: on Debian and Ubuntu `apt-get install redis-server`, "
    "elsewhere put `redis-server` on the PATH."
)


@final
class RedisServer:
    """A running server that keeps nothing on disk.

    Attributes:
        url: Its address, as redis-py takes it.
    """

    def __init__(self) -> None:
        if self.missing():
            raise RuntimeError(HOW_TO_GET_IT)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    @staticmethod
    def missing() -> bool:
        """Whether this machine lacks the server's program."""
        return shutil.which("redis-server") is None

    def start(self) -> None:
        """Start it (again, after a `stop`: on the same port, with nothing in it)."""
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""],
            stdout=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
        )
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server did not start")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it; what it knew is lost."""
        self._process.terminate()
        self._process.wait(timeout=30)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client, suppress(redis.ConnectionError):
            return bool(client.ping())
        return False

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
