"""Running tap-activecampaign, the public tap of others, on the account of a sandbox.

It shares no code with this project, so what it reads is what the sandbox's API says.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.support.sandbox_server import SandboxServer

PYTHON = Path(__file__).resolve().parents[2] / ".venv-witness" / "bin" / "python"
_SCRIPT = Path(__file__).with_name("witness_tap.py")
_MISSING = (
    "tap-activecampaign is not installed, so nobody but this project read the sandbox: "
    "`python3 scripts/test.py` installs it."
)


class Witness:
    """Runs the tap in a folder of its own, against one account.

    Attributes:
        lines: What it wrote, as a target would read it.
    """

    def __init__(self, folder: Path, sandbox: SandboxServer) -> None:
        """Skip the test where the tap is missing; where CI is set, fail it.

        Args:
            folder: Where its files go.
            sandbox: The account.
        """
        if not PYTHON.is_file():
            (pytest.fail if os.environ.get("CI") else pytest.skip)(_MISSING)
        self._folder = folder
        self._write(
            "config",
            api_url=sandbox.url,
            api_token=sandbox.api_key,
            start_date="2000-01-01T00:00:00Z",
            user_agent="tests",
        )
        self.lines = b""

    def read(self, *streams: str) -> list[dict[str, Any]]:
        """Run it for streams, and return the messages that it wrote."""
        catalog = json.loads(self._run("--discover"))
        catalog["streams"] = [one for one in catalog["streams"] if one["stream"] in streams]
        for one in catalog["streams"]:
            (table,) = (part for part in one["metadata"] if not part["breadcrumb"])
            table["metadata"]["selected"] = True
        self.lines = self._run("--catalog", self._write("catalog", **catalog))
        return [json.loads(line) for line in self.lines.splitlines()]

    def _run(self, *arguments: str) -> bytes:
        config = str(self._folder / "witness-config.json")
        done = subprocess.run(
            [PYTHON, "-I", _SCRIPT, "--config", config, *arguments],
            capture_output=True,
            cwd=self._folder,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def _write(self, name: str, **values: Any) -> str:
        path = self._folder / f"witness-{name}.json"
        path.write_text(json.dumps(values), "utf-8")
        return str(path)


def records(messages: Collection[dict[str, Any]], stream: str) -> list[dict[str, Any]]:
    """Return the records of a stream."""
    return [
        one["record"] for one in messages if one["type"] == "RECORD" and one["stream"] == stream
    ]
