"""The embedded sandbox: a local ActiveCampaign beside the target, for as long as it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import IO, cast

_LATENCY_SECONDS = "1"


class SandboxError(Exception):
    """The sandbox did not start; the text says why and what to do."""


class EmbeddedSandbox:
    """A sandbox in a process of its own, on a free loopback port.

    It ends with its standard input, so it never outlives the target, however that ends.

    Attributes:
        url: Its address.
        identity: What tells its account from others, also from earlier ones in the same file.
        api_key: The key that it takes.

    Args:
        path: The file that keeps its data; made when it is not there.

    Raises:
        SandboxError: It did not start.
    """

    api_key = "sandbox-key"

    def __init__(self, path: str) -> None:
        command = [sys.executable, "-m", "target_activecampaign.sandbox"]
        options = ["--path", path, "--port", "0", "--latency", _LATENCY_SECONDS]
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [*command, *options, "--api-key", self.api_key, "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C is for the target, which still needs the sandbox to settle what is out.
            start_new_session=True,
        )
        ready = cast("IO[bytes]", self._process.stdout).readline()
        try:
            said = json.loads(ready)
            self.url, self.identity = str(said["url"]), f"sandbox:{said['id']}"
        except ValueError:
            self.close()
            raise SandboxError(
                f"The embedded sandbox with its data in {path} did not start; why stands above. "
                "It needs the packages of the extra: pip install 'target-activecampaign[sandbox]'."
            ) from None

    def close(self) -> None:
        """End the sandbox; its data stays in the file."""
        for pipe in (self._process.stdin, self._process.stdout):
            cast("IO[bytes]", pipe).close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
