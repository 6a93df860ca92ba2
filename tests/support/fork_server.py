"""Many runs of the target for the price of one start: a process that forks a child for each.

Nearly all of what a short run costs is importing. The server process imports the target once;
each child then does what the console script does, with arguments, files, folder and
environment of its own, and ends as a process of its own: it can be signalled and killed.

with ForkServer() as server:
    load = ForkedTargetRunner(folder, url, api_key, server)
    load([schema(), *people(3)]).succeeded()
    running = load.start([schema(), *people(3)])
    running.kill()
    outcome = running.wait()
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from jinja2 import BytecodeCache
from sqlalchemy import create_engine

from target_activecampaign.__main__ import main
from target_activecampaign.ledger import schema
from target_activecampaign.model.timings import Timings
from target_activecampaign.reporting import page
from tests.support.target_runner import Outcome, TargetRunner, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from jinja2 import Environment
    from jinja2.bccache import Bucket
    from typing_extensions import Self

_COMMAND = "target_activecampaign.cli.options"
_TARGET = "target_activecampaign.target"
_CHUNK = 1 << 16
_ROOT = Path(__file__).parents[2]


class ForkServer:
    """A process that has imported the target, and forks a child for each run.

    Args:
        timings: The target's times and sizes in all runs; those for a real account by default.
    """

    def __init__(self, timings: Timings = Timings()) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.support.fork_server",
                    str(theirs.fileno()),
                    json.dumps(asdict(timings)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
            )
        self._answers = self._socket.makefile("r")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; children that still run go on without it."""
        self._answers.close()
        self._socket.close()
        self._process.wait(timeout=10)

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
        """Start a run; returns its process id, which stays its own until `wait`.

        Args:
            arguments: The command, its name first.
            stdin: What it reads: a file, or the end of a pipe.
            stdout: Where it writes.
            stderr: Likewise.
            folder: Its working directory.
            environment: Its environment; the caller's own by default.
        """
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": dict(os.environ if environment is None else environment),
        }
        files = [stream.fileno() for stream in (stdin, stdout, stderr)]
        return self._ask({"start": request}, files)

    def wait(self, process: int) -> int:
        """Wait for the end of a run; returns its exit code, negative if a signal ended it."""
        return self._ask({"wait": process}, [])

    def _ask(self, request: dict[str, Any], files: list[int]) -> int:
        socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], files)
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the fork server ended with exit code {self._process.wait()}")
        return int(json.loads(answer))


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
            late = threading.Timer(timeout, self.kill)
            late.start()
            code = self._runner.server.wait(self.pid)
            timed_out = not late.is_alive()
            late.cancel()
            if timed_out:
                raise TimeoutError(f"the target did not end within {timeout} s")
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


def _serve(door: socket.socket, timings: Timings) -> None:
    """Answer requests until the other side goes; returns in a child that shall run the target."""
    target = importlib.import_module(_TARGET).TargetActiveCampaign
    importlib.import_module(_COMMAND)
    _ = target.plugin_version  # imports what each run would import for it
    _keep_pages()
    _warm_up_database()
    target.timings = timings
    threads = len(list(Path("/proc/self/task").iterdir())) if Path("/proc").is_dir() else 1
    assert max(threads, threading.active_count()) == 1, "a process with threads can't be forked"
    gc.collect()
    gc.freeze()  # what all children share is not looked at again in each
    while True:
        data, files, _, _ = socket.recv_fds(door, _CHUNK, 3)
        while data and not data.endswith(b"\n"):
            data += door.recv(_CHUNK)
        if not data:
            os._exit(0)
        request = json.loads(data)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                door.close()
                _become_script(request["start"], files)
                return
        for number in files:
            os.close(number)
        door.sendall(f"{answer}\n".encode())


class _Compiled(BytecodeCache):
    """Compiled templates, kept in memory."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


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


def _warm_up_database() -> None:
    """Make the ledger's tables once, in memory: SQLAlchemy then knows their types in each run."""
    engine = create_engine("sqlite://")
    schema.metadata.create_all(engine)
    engine.dispose()


def _become_script(request: Mapping[str, Any], files: list[int]) -> None:
    """Take on what makes one process of the script differ from another."""
    for place, number in enumerate(files):
        os.dup2(number, place)
        os.close(number)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = list(request["arguments"])


def _run_script() -> None:
    """Run the target and end the process, without what the interpreter does at its very end.

    It would visit all objects that the children share, and so copy each of them: that costs a
    quarter of a short run. All before that is done as ever: threads end, exit functions are called.
    """
    code: Any = None
    try:
        main()
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
    _serve(socket.socket(fileno=int(sys.argv[1])), Timings(**json.loads(sys.argv[2])))
    _run_script()
