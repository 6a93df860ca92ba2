"""The embedded sandbox: a local server that behaves like ActiveCampaign, for one run."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from typing import IO, cast

from target_activecampaign.errors import SandboxError

_LATENCY_SECONDS = "1"
_KEY_VARIABLE = "ACTIVECAMPAIGN_SANDBOX_API_KEY"


class EmbeddedSandbox:
    """A sandbox in a process of its own, on a free loopback port.

    It ends when its standard input is closed, so it never outlives the target.

    Attributes:
        url: Its URL.
        identity: The identity of its account, which also differs from earlier ones in that file.
        api_key: Its key, a new one for each process.

    Args:
        path: The file with its data. Created if missing.

    Raises:
        SandboxError: It did not start.
    """

    def __init__(self, path: str) -> None:
        # Other processes on this machine can reach the port, but must not know the key.
        self.api_key = secrets.token_hex(32)
        command = [sys.executable, "-m", "activecampaign_sandbox"]
        options = ["--path", path, "--port", "0", "--latency", _LATENCY_SECONDS]
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, *options, "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Not an argument: the process list shows those to everyone.
            env={**os.environ, _KEY_VARIABLE: self.api_key},
            # Ctrl-C is for the target, which still needs the sandbox for records in flight.
            start_new_session=True,
        )
        ready = cast("IO[bytes]", self._process.stdout).readline()
        try:
            info = json.loads(ready)
            self.url, self.identity = str(info["url"]), f"sandbox:{info['id']}"
        except (ValueError, LookupError):
            self.close()
            raise SandboxError(
                f"The embedded sandbox with its data in {path} did not start: {_reason(ready)}"
            ) from None

    def why_gone(self) -> str | None:
        """Return why it does not respond; None while its process runs."""
        code = self._process.poll()
        return None if code is None else f"the embedded sandbox has ended (exit code {code})"

    def close(self) -> None:
        """End the sandbox. Its data stays in the file."""
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _reason(output: bytes) -> str:
    """Return why it did not start, as a sentence."""
    try:
        return f"{str(json.loads(output)['error']).rstrip('.')}."
    except (ValueError, LookupError):
        return "it ended without a message; see the lines above."
