"""The embedded sandbox: a local ActiveCampaign beside the target, for as long as it runs."""

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

    It ends with its standard input, so it never outlives the target, however that ends.

    Attributes:
        url: Its address.
        identity: What tells its account from others, also from earlier ones in the same file.
        api_key: The key that it takes: a new one each time, which no other process knows.

    Args:
        path: The file that keeps its data; made when it is not there.

    Raises:
        SandboxError: It did not start.
    """

    def __init__(self, path: str) -> None:
        # Other processes of this machine can reach its port: they must not know its key.
        self.api_key = secrets.token_hex(32)
        command = [sys.executable, "-m", "activecampaign_sandbox"]
        options = ["--path", path, "--port", "0", "--latency", _LATENCY_SECONDS]
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, *options, "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # The list of processes shows arguments to everyone.
            env={**os.environ, _KEY_VARIABLE: self.api_key},
            # A Ctrl-C is for the target, which still needs the sandbox to settle what is out.
            start_new_session=True,
        )
        ready = cast("IO[bytes]", self._process.stdout).readline()
        try:
            said = json.loads(ready)
            self.url, self.identity = str(said["url"]), f"sandbox:{said['id']}"
        except (ValueError, LookupError):
            self.close()
            raise SandboxError(
                f"The embedded sandbox with its data in {path} did not start: {_reason(ready)}"
            ) from None

    def why_gone(self) -> str | None:
        """Tell why it answers no more; None while its process lives."""
        code = self._process.poll()
        return None if code is None else f"the embedded sandbox has ended (exit code {code})"

    def close(self) -> None:
        """End the sandbox; its data stays in the file."""
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _reason(said: bytes) -> str:
    """Return why it did not start, as a sentence."""
    try:
        return f"{str(json.loads(said)['error']).rstrip('.')}."
    except (ValueError, LookupError):
        return "it ended without a word of its own; see the lines above."
