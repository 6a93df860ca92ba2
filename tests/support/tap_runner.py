"""Running the tap as a person does: the console script, and what it writes."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.fork_server import run_script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.sandbox_server import SandboxServer

SCRIPT = str(Path(sys.executable).with_name("tap-activecampaign-consent"))


@dataclass
class TapOutcome:
    """What a run of the tap came to."""

    code: int
    out: str
    log: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that it wrote, those before an error too."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def state(self) -> dict[str, Any]:
        """The last STATE."""
        states: list[dict[str, Any]] = [
            one["value"] for one in self.messages if one["type"] == "STATE"
        ]
        return states[-1]

    def records(self, stream: str) -> list[dict[str, Any]]:
        """The records of a stream."""
        return [
            one["record"]
            for one in self.messages
            if one["type"] == "RECORD" and one["stream"] == stream
        ]

    @property
    def last_line(self) -> str:
        """The text of the last line of the log."""
        return self.log.splitlines()[-1].rpartition(" | ")[2]


class TapRunner:
    """Runs the tap in a folder of its own, against one account; its log is searched each time."""

    def __init__(self, folder: Path, sandbox: SandboxServer) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {
            "api_url": sandbox.url,
            "api_key": sandbox.api_key,
            "requests_per_second": 0,
        }

    def __call__(
        self,
        *arguments: str,
        state: Any = None,
        variables: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> TapOutcome:
        """Run it with arguments and changes to its configuration; None leaves a setting out."""
        config = {k: v for k, v in {**self.config, **changes}.items() if v is not None}
        path = self.folder / "config.json"
        path.write_text(json.dumps(config), "utf-8")
        options = ["--config", str(path)]
        if state is not None:
            (self.folder / "state.json").write_text(json.dumps(state), "utf-8")
            options += ["--state", str(self.folder / "state.json")]
        done = run_script([SCRIPT, *options, *arguments], folder=self.folder, variables=variables)
        assert "@" not in done.stderr, "an address is in the log"
        assert self.config["api_key"] not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr, done.stderr
        return TapOutcome(done.returncode, done.stdout, done.stderr)
