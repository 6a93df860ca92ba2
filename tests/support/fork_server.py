"""Many runs of the target for the price of one start: a process that forks a child for each.

Nearly all of what a short run costs is importing. The server process imports the target once;
each child then does what the console script does, with arguments, files, folder and
environment of its own, and ends as a process of its own: it can be signalled and killed.

Also what a process works out once and needs again in each run is done before it forks: statements
of the ledger, templates of pages, and what a run against a sandbox, before all others, leaves in
memory.

load = ForkedTargetRunner(folder, url, api_key, ForkServer())
load([schema(), *people(3)]).succeeded()
running = load.start([schema(), *people(3)])
running.kill()
outcome = running.wait()
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from jinja2 import BytecodeCache
from sqlalchemy import create_engine, event, inspect

from target_activecampaign.__main__ import main
from target_activecampaign.ledger import engine, schema
from target_activecampaign.model.timings import Timings
from target_activecampaign.reporting import page
from tests.support.forks import Forks, serve
from tests.support.mirrors import NO_GUARDS, QUICK, quick_sandbox, whole
from tests.support.target_runner import Outcome, TargetRunner, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import CodeType

    from jinja2 import Environment
    from jinja2.bccache import Bucket
    from sqlalchemy import Engine

    from target_activecampaign.target import TargetActiveCampaign

_COMMAND = "target_activecampaign.cli.options"
_TARGET = "target_activecampaign.target"
_OTHERS = {
    "tap-activecampaign-consent": "target_activecampaign.cli.tap",
    "target-activecampaign-ledger": "target_activecampaign.cli.ledger",
}
"""The modules of the other scripts."""


class ForkServer:
    """Forks a child for each run, all from the one process that has imported the target.

    Args:
        timings: The target's times and sizes in all runs; those for a real account by default.
    """

    def __init__(self, timings: Timings = Timings()) -> None:
        self._timings = asdict(timings)

    def fork(
        self,
        arguments: list[str],
        stdin: IO[bytes],
        stdout: IO[bytes],
        stderr: IO[bytes],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start a run as `Forks.fork` does; returns its process id."""
        return _forks().fork(
            arguments,
            stdin,
            stdout,
            stderr,
            folder=folder,
            environment=environment,
            more=self._timings,
        )

    def wait(self, process: int, timeout: float = 120) -> int:
        """Wait for the end of a run as `Forks.wait` does; returns its exit code."""
        return _forks().wait(process, timeout)

    def ended(self, process: int) -> bool:
        """Whether a run has ended."""
        return _forks().ended(process)


@cache
def _forks() -> Forks:
    """What all runs of this process are forked from, after a rehearsal against a sandbox."""
    with quick_sandbox() as sandbox:
        forks = Forks("tests.support.fork_server", sandbox.url, sandbox.api_key)
        atexit.register(forks.stop)
        forks.ask({"ready": True}, [])
    return forks


def run_script(
    command: Sequence[str | Path],
    given: bytes = b"",
    *,
    folder: Path,
    timeout: float = 60,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a console script of the target, as `subprocess.run` would.

    Args:
        command: The script and its arguments.
        given: What it reads.
        folder: Its working directory.
        timeout: The seconds after which it is killed.
        variables: What it has in its environment besides the usual.

    Raises:
        TimeoutError: It was killed.
    """
    arguments, server = [str(one) for one in command], ForkServer()
    with _file(given) as stdin, _file() as stdout, _file() as stderr:
        pid = server.fork(
            arguments,
            stdin,
            stdout,
            stderr,
            folder=folder,
            environment={**os.environ, **(variables or {})},
        )
        code = server.wait(pid, timeout)
        printed = [_content(file).decode() for file in (stdout, stderr)]
    return subprocess.CompletedProcess(arguments, code, *printed)


@dataclass
class RunningTarget:
    """A run of the target that goes on.

    Attributes:
        pid: Its process id.
    """

    pid: int
    _runner: ForkedTargetRunner
    _stdout: IO[bytes]
    _stderr: IO[bytes]
    _read: bytearray
    _input: BinaryIO | None = None
    _ended: Outcome | None = field(default=None, init=False)

    def feed(self, messages: Iterable[Mapping[str, Any] | str] | bytes) -> None:
        """Write messages to its input, if it was started without any."""
        assert self._input is not None, "its input has ended"
        data = messages if isinstance(messages, bytes) else lines(messages)
        self._read += data
        self._input.write(data)
        self._input.flush()

    def printed(self) -> str:
        """What it has written to its output so far."""
        return os.pread(self._stdout.fileno(), 10**6, 0).decode()

    def logged(self) -> str:
        """What it has written to its log so far."""
        return os.pread(self._stderr.fileno(), 10**6, 0).decode()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended is not None or self._runner.server.ended(self.pid)

    def end_input(self) -> None:
        """Close its input."""
        if self._input is not None:
            self._input.close()
            self._input = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self._ended is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 120) -> Outcome:
        """Wait until it ends, and search all that it printed, as the runner does.

        Raises:
            TimeoutError: It did not end in time, and was killed.
        """
        if self._ended is None:
            self.end_input()
            code = self._runner.server.wait(self.pid, timeout)
            with self._stdout, self._stderr:
                printed = [_content(file) for file in (self._stdout, self._stderr)]
            self._ended = self._runner.outcome(code, printed[0], printed[1], bytes(self._read))
        return self._ended


class ForkedTargetRunner(TargetRunner):
    """Runs the target in children of a fork server, each of which counts as the script itself."""

    def __init__(self, folder: Path, url: str, api_key: str, server: ForkServer) -> None:
        super().__init__(folder, url, api_key)
        self.server = server

    def __call__(
        self, messages: Iterable[Mapping[str, Any] | str] | bytes, **changes: Any
    ) -> Outcome:
        """Run it on messages."""
        return self.start(messages, **changes).wait()

    def start(
        self, messages: Iterable[Mapping[str, Any] | str] | bytes | None = None, **changes: Any
    ) -> RunningTarget:
        """Start it on messages; without any, its input is fed by `RunningTarget.feed`."""
        if messages is None:
            end, beginning = os.pipe()
            stdin: IO[bytes] = os.fdopen(end, "rb")
            feed, data = os.fdopen(beginning, "wb"), b""
        else:
            feed, data = None, messages if isinstance(messages, bytes) else lines(messages)
            stdin = _file(data)
        stdout, stderr = _file(), _file()
        with stdin:
            pid = self.server.fork(
                self.command(**changes), stdin, stdout, stderr, folder=self.folder
            )
        return RunningTarget(pid, self, stdout, stderr, bytearray(data), feed)


def _file(content: bytes = b"") -> IO[bytes]:
    """A file without a name, to be read from its start."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - who asked for it closes it
    file.write(content)
    file.seek(0)
    return file


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


# The server process


def _prepare(url: str, api_key: str) -> type[TargetActiveCampaign]:
    """Import the target, and do before all runs what each would do; returns its class."""
    target: type[TargetActiveCampaign] = importlib.import_module(_TARGET).TargetActiveCampaign
    importlib.import_module(_COMMAND)
    importlib.import_module(_OTHERS["tap-activecampaign-consent"])
    _keep_versions()
    target.print_version(lambda _: None)  # also imports what each run would import for it
    _keep_pages()
    _keep_statements()
    _rehearse(target, url, api_key)
    return target


def _keep_versions() -> None:
    """Remember the versions of packages, which each run looks up in files."""
    metadata.version = cache(metadata.version)


class _Compiled(BytecodeCache):
    """Compiled templates, kept in memory."""

    def __init__(self) -> None:
        self._code: dict[str, CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get(bucket.key)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.code


def _keep_pages() -> None:
    """Compile the templates of the report's pages, which each run would do at its end."""
    make, compiled = page._environment, _Compiled()

    def made(secrets: Iterable[str]) -> Environment:
        environment = make(secrets)
        environment.bytecode_cache = compiled
        return environment

    for name in made(()).list_templates():
        made(()).get_template(name)
    page._environment = made


def _keep_statements() -> None:
    """Let all ledgers in files share their compiled statements, and those that make the tables."""
    make = engine.create_engine
    first = create_engine("sqlite://", hide_parameters=True)
    statements: list[str] = []
    event.listen(first, "before_cursor_execute", lambda *of: statements.append(of[2]))
    schema.metadata.create_all(first)
    first.dispose()
    statements = [one for one in statements if one.lstrip().startswith("CREATE")]
    create_all = schema.metadata.create_all

    def made(url: str, **options: Any) -> Engine:
        own = make(url, **options)
        if own.dialect.name == "sqlite":
            own.dialect, own._compiled_cache = first.dialect, first._compiled_cache
        return own

    def created(db: Any, **options: Any) -> None:
        if db.dialect is not first.dialect or inspect(db).get_table_names():
            create_all(db, **options)
            return
        for statement in statements:
            db.exec_driver_sql(statement)

    engine.create_engine = made
    schema.metadata.create_all = created  # type: ignore[assignment, method-assign]


def _rehearse(target: type[TargetActiveCampaign], url: str, api_key: str) -> None:
    """Run the target in this process, and undo what its children would not find otherwise."""
    handlers = {one: signal.getsignal(one) for one in signal.valid_signals()}
    place, level = Path.cwd(), logging.getLogger("urllib3").level
    logging.disable()
    target.timings = QUICK
    codes = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        config = TargetRunner(Path(folder), url, api_key).config
        for names in ("ada bob eve", "ada bob eve", "ada bob"):
            messages = [*whole(names), *whole(names, first_name=names)]
            Path("input").write_bytes(lines(messages))
            with Path("input").open(encoding="utf-8") as given:
                run = target(config={**config, "sync_mode": "mirror", "guards": NO_GUARDS})
                codes.append(run.load(given))
        os.chdir(place)
    tempfile.tempdir = None  # a child may have another TMPDIR
    logging.disable(logging.NOTSET)
    logging.getLogger("urllib3").setLevel(level)
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
    assert not any(codes), "the rehearsal failed"


def _run_script() -> None:
    """Run the command and end the process, without what the interpreter does at its very end.

    It would visit all objects that the children share, and so copy each of them: that costs a
    quarter of a short run. All before that is done as ever: threads end, exit functions are called.
    """
    code: Any = None
    try:
        module = _OTHERS.get(Path(sys.argv[0]).name)
        if module is None:
            main()
        else:
            code = importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if code is None or isinstance(code, int):
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit((code or 0) & 0xFF)
    sys.exit(code)  # it has something to say, or can't be heard


if __name__ == "__main__":
    prepared = _prepare(*sys.argv[2:])
    prepared.timings = Timings(**serve(socket.socket(fileno=int(sys.argv[1]))))
    _run_script()
