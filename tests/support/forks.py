"""Many processes for the price of one start: a process that has imported a program forks them.

Each child is a process of its own, with arguments, files, folder and environment of its own: it
can be signalled and killed. The forking process is a module that is run with the number of its
socket as first argument, imports all that it needs, and calls `serve`.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
_CHUNK = 1 << 16
_ROOT = Path(__file__).parents[2]


class Forks:
    """A process that forks a child for each request.

    Args:
        module: The module that it runs.
        arguments: What it gets besides its socket.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=_ROOT,
            )
        self._answers = self._socket.makefile("r")

    def stop(self) -> None:
        """End the process; children that still run go on without it."""
        self._answers.close()
        self._socket.close()
        self._process.wait(timeout=10)

    def fork(
        self,
        arguments: list[str],
        stdin: IO[Any] | int,
        stdout: IO[Any] | int,
        stderr: IO[Any] | int,
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        more: Any = None,
    ) -> int:
        """Start a child; returns its process id, which stays its own until `wait`.

        Args:
            arguments: The command, its name first.
            stdin: What it reads: a file, or the end of a pipe.
            stdout: Where it writes.
            stderr: Likewise.
            folder: Its working directory; the caller's own by default.
            environment: Its environment; the caller's own by default.
            more: What `serve` returns in the child.
        """
        request = {
            "more": more,
            "arguments": arguments,
            "folder": str(folder or Path.cwd()),
            "environment": dict(os.environ if environment is None else environment),
        }
        files = [one if isinstance(one, int) else one.fileno() for one in (stdin, stdout, stderr)]
        return self.ask({"start": request}, files)

    def wait(self, process: int, timeout: float) -> int:
        """Wait for the end of a child; returns its exit code, negative if a signal ended it.

        Raises:
            TimeoutError: It did not end within so many seconds, and was killed.
        """
        late = threading.Timer(timeout, os.kill, (process, signal.SIGKILL))
        late.start()
        if hasattr(os, "pidfd_open"):  # where it is not, a wait lets other requests wait
            ended = os.pidfd_open(process)
            try:
                select.select([ended], [], [])
            finally:
                os.close(ended)
        code = self.ask({"wait": process}, [])
        if not late.is_alive():
            raise TimeoutError(f"a process did not end within {timeout} s")
        late.cancel()
        return code

    def ended(self, process: int) -> bool:
        """Whether a child has ended; it is still to be waited for."""
        return bool(self.ask({"ended": process}, []))

    def ask(self, request: dict[str, Any], files: list[int]) -> int:
        """What the process answers to a request."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode() + b"\n"], files)
            answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the forking process ended with exit code {self._process.wait()}")
        return int(json.loads(answer))


# In the forking process


def serve(door: socket.socket) -> Any:
    """Answer requests until the other side goes; returns `more` of a request in its child."""
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
        if "ready" in request:
            answer = 0
        elif "ended" in request:
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            answer = int(os.waitid(os.P_PID, request["ended"], options) is not None)
        elif "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                door.close()
                _become(request["start"], files)
                return request["start"]["more"]
        for number in files:
            os.close(number)
        door.sendall(f"{answer}\n".encode())


def _become(request: Mapping[str, Any], files: list[int]) -> None:
    """Take on what makes one child differ from another."""
    for place, number in enumerate(files):
        os.dup2(number, place)
        os.close(number)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = list(request["arguments"])
