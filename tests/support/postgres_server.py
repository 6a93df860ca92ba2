"""A real PostgreSQL server of a test's own, on a free loopback port, gone when the test ends.

    with PostgresServer() as server, psycopg.connect(server.url) as connection:
        ...

It needs the server's programs (`initdb`, `postgres`); `PostgresServer.missing()` says whether they
are there. PostgreSQL refuses to run as root, so that as root it runs as `postgres` or `nobody`.

`PostgresServer(logical=True)` keeps a log from which taps can read changes (`wal_level=logical`).
They read it by a plugin of the server, wal2json: `require(wal2json=True)`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import psycopg
import pytest

if TYPE_CHECKING:
    from types import TracebackType

HOW_TO_GET_IT = (
    "PostgreSQL's server programs are not on this machine: on Debian and Ubuntu "
    "`apt-get install postgresql`, elsewhere put `initdb` and `postgres` on the PATH."
)
HOW_TO_GET_WAL2JSON = (
    "PostgreSQL's plugin wal2json is not on this machine: on Debian and Ubuntu "
    "`apt-get install postgresql-15-wal2json`, with your server's version instead of 15."
)


def require(*, wal2json: bool = False) -> None:
    """Skip the test that calls it where the programs are missing; where CI is set, fail it.

    Args:
        wal2json: The plugin is needed too.
    """
    refuse = pytest.fail if os.environ.get("CI") else pytest.skip
    programs = _programs()
    if programs is None:
        refuse(HOW_TO_GET_IT)
    elif wal2json and not _has_wal2json(programs):
        refuse(HOW_TO_GET_WAL2JSON)


@final
class PostgresServer:
    """A running server with an empty database `warehouse`.

    Attributes:
        url: The database's address, as libpq and SQLAlchemy take it.
    """

    def __init__(self, *, logical: bool = False) -> None:
        """Make and start it.

        Args:
            logical: Its log holds what changed in which row, for `LOG_BASED` taps.
        """
        programs = _programs()
        if programs is None:
            raise RuntimeError(HOW_TO_GET_IT)
        self._programs = programs
        # Not below pytest's own folder, which only its user can enter.
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._identity = _identity()
        if self._identity:
            os.chown(self._folder, self._identity["user"], self._identity["group"])
        self._data = self._folder / "data"
        self._run("initdb", "--auth=trust", "--username=test", "--encoding=UTF8", "--no-sync")
        self._options = self._logical() if logical else {}
        self.start()
        self.renew()

    def renew(self) -> None:
        """Replace the database by an empty one."""
        self._run_sql("DROP DATABASE IF EXISTS warehouse WITH (FORCE)")
        self._run_sql("CREATE DATABASE warehouse")

    @staticmethod
    def missing() -> bool:
        """Whether this machine lacks the server's programs."""
        return _programs() is None

    @property
    def url(self) -> str:
        """The database's address."""
        return self._url("warehouse")

    def start(self, *, same_port: bool = False) -> None:
        """Start it (again, after a `stop`: on another port, unless told otherwise)."""
        if not same_port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self._port = probe.getsockname()[1]
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._folder,
            "fsync": "off",  # the data need not outlive the machine
            **self._options,
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *settings],
                stdout=log,
                stderr=log,
                **self._identity,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End it; its data stays until the context ends."""
        self._process.send_signal(signal.SIGINT)  # "fast": connections are cut, data is kept
        self._process.wait(timeout=30)

    def close(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self._folder)

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _url(self, database: str) -> str:
        return f"postgresql://test:test@127.0.0.1:{self._port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            check=True,
            capture_output=True,
            **self._identity,
        )

    def _logical(self) -> dict[str, str]:
        """The options of a server whose changes wal2json may read."""
        allowed = "output_plugin_libraries"  # from 15.19 on, the plugins must be named
        try:
            self._run("postgres", "-C", allowed)
        except subprocess.CalledProcessError:
            return {"wal_level": "logical"}
        return {"wal_level": "logical", allowed: "pgoutput, wal2json"}

    def _run_sql(self, statement: str) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self._run_sql("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _programs() -> Path | None:
    """The folder of the newest server's programs; Debian keeps them off the PATH."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    found = installed[-1] if installed else shutil.which("initdb")
    return Path(found).parent if found else None


def _has_wal2json(programs: Path) -> bool:
    """Return whether the plugin lies beside the server's programs."""
    return any(programs.resolve().parent.glob("lib*/**/wal2json.*"))


def _identity() -> dict[str, Any]:
    """The user to run as, as `subprocess` takes it; empty for oneself."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
