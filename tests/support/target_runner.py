"""Running the target as a person does: the console script, messages in, what it leaves out.

Every run is searched for the key and for the addresses of its records: neither may stand in
anything that it prints.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCRIPT = str(Path(sys.executable).with_name("target-activecampaign"))
_ADDRESS = re.compile(r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)+")


@dataclass
class Outcome:
    """What a run of the target came to."""

    code: int
    states: list[Any]
    log: str
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """The report of the latest run."""
        path = max((self.folder / "reports").glob("run-*.json"), key=lambda p: p.stat().st_mtime_ns)
        report: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return report

    @property
    def counts(self) -> dict[str, int]:
        """Read and settled, without what is zero."""
        return {name: n for name, n in self.report["counts"].items() if n}

    @property
    def taken(self) -> int:
        """The records that it has read, and those of earlier runs that it has tried again."""
        return self.counts.get("read", 0) + self.counts.get("retried", 0)

    @property
    def reject_files(self) -> list[Path]:
        """The reject files of all runs in the folder."""
        return sorted((self.folder / "rejects").glob("*.jsonl"))

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """The refused records of all runs in the folder, with `_reject_code` and so on."""
        texts = [path.read_text("utf-8") for path in self.reject_files]
        messages = [json.loads(line) for text in texts for line in text.splitlines()]
        return [message["record"] for message in messages if message["type"] == "RECORD"]

    @property
    def codes(self) -> dict[str | None, str]:
        """The codes of refused records by their address as it came."""
        return {record.get("email"): record["_reject_code"] for record in self.rejects}

    @property
    def warnings(self) -> list[str]:
        """What the target has warned of, without time and place."""
        lines = self.log.splitlines()
        return [line.rpartition(" | ")[2] for line in lines if "WARNING  | target-" in line]

    def succeeded(self) -> Outcome:
        """Itself, if it ended well, with its report as a page."""
        assert self.code == 0, self.log
        assert "UndefinedError" not in self.log, "a template names what the report lacks"
        return self


class TargetRunner:
    """Runs the target in a folder of its own, against one account."""

    def __init__(self, folder: Path, url: str, api_key: str) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {
            "api_url": url,
            "api_key": api_key,
            "data_privacy_consent": True,
            "list_id": 1,
            "requests_per_second": 0,
            "imports_per_minute": 0,
            "single_imports_per_minute": 0,
        }
        self.options: list[str] = []
        self.printed: list[str] = []

    def command(self, **changes: Any) -> list[str]:
        """The command with a configuration; None leaves a setting out."""
        config = {k: v for k, v in {**self.config, **changes}.items() if v is not None}
        path = self.folder / "config.json"
        path.write_text(json.dumps(config), "utf-8")
        return [SCRIPT, "--config", str(path), *self.options]

    def __call__(
        self, messages: Iterable[Mapping[str, Any] | str] | bytes, **changes: Any
    ) -> Outcome:
        """Run it on messages."""
        data = messages if isinstance(messages, bytes) else lines(messages)
        done = subprocess.run(
            self.command(**changes),
            input=data,
            capture_output=True,
            cwd=self.folder,
            timeout=120,
            check=False,
        )
        return self.outcome(done.returncode, done.stdout, done.stderr, data)

    def outcome(self, code: int, stdout: bytes, stderr: bytes, data: bytes) -> Outcome:
        """What a process came to, after a search of all that it printed."""
        out, log = stdout.decode(), stderr.decode()
        self.searched(out + log, data)
        return Outcome(code, [json.loads(line) for line in out.splitlines()], log, self.folder)

    def searched(self, printed: str, data: bytes) -> None:
        """See that neither the key nor an address of the records was printed."""
        self.printed.append(printed)
        assert self.config["api_key"] not in printed
        text = data.decode("utf-8", "replace").lower()
        words = " ".join(word for word in printed.lower().split() if "@" in word)
        for address in set(_ADDRESS.findall(words)):
            assert address not in text, f"an address of the records was printed: {address}"
        assert "Traceback" not in printed, printed


def lines(messages: Iterable[Mapping[str, Any] | str]) -> bytes:
    """Messages as a tap writes them; a string is taken as it is."""
    return "".join(
        f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in messages
    ).encode("utf-8", "surrogatepass")


def schema(stream: str = "profiles", **properties: Any) -> dict[str, Any]:
    """A SCHEMA message; properties are strings unless another type is given."""
    types = {"email": "string", "first_name": "string", **properties}
    return {
        "type": "SCHEMA",
        "stream": stream,
        "key_properties": [],
        "schema": {
            "type": "object",
            "properties": {
                name: {"type": [kind, "null"]} if isinstance(kind, str) else kind
                for name, kind in types.items()
            },
        },
    }


def record(email: Any, stream: str = "profiles", **values: Any) -> dict[str, Any]:
    """A RECORD message."""
    return {"type": "RECORD", "stream": stream, "record": {"email": email, **values}}


def state(value: Any) -> dict[str, Any]:
    """A STATE message."""
    return {"type": "STATE", "value": value}


def batch(encoding: Mapping[str, Any], *manifest: Path | str | None, **more: Any) -> dict[str, Any]:
    """A BATCH message."""
    urls = [path.as_uri() if isinstance(path, Path) else path for path in manifest]
    return {"type": "BATCH", "stream": "profiles", "encoding": encoding, "manifest": urls, **more}


def people(count: int, stream: str = "profiles", **values: Any) -> list[dict[str, Any]]:
    """RECORD messages of so many people."""
    return [
        record(f"person{n}@example.com", stream, first_name=f"Person {n}", **values)
        for n in range(count)
    ]
