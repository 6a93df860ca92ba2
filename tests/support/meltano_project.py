"""The repository's Meltano project in a folder of its own, for tests.

It uses the plugins that `scripts/test.py` installed in the repository, and leaves everything else
there alone: state, reports and the sandbox's file are the folder's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MELTANO = ROOT / ".venv-meltano" / "bin" / "meltano"
_MISSING = "Meltano or its plugins are not installed: `python3 scripts/test.py` installs them."

_ADDRESS = re.compile(r"[\w.+-]+@(?:[a-z]+\.)?example\b", re.IGNORECASE)
_OURS = ("TARGET_ACTIVECAMPAIGN_", "ACTIVECAMPAIGN_", "WAREHOUSE_", "SPREADSHEETS_", "MELTANO_")


def require_meltano(*plugins: Path) -> None:
    """Skip the test that calls it where Meltano is missing; where CI is set, fail it.

    Args:
        plugins: Files and folders of plugins that are needed besides the loader.
    """
    loader = ROOT / ".meltano" / "loaders" / "target-activecampaign"
    if not (MELTANO.is_file() and all(one.exists() for one in (loader, *plugins))):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(_MISSING)


@dataclass
class Outcome:
    """What a command of Meltano came to."""

    code: int
    out: str
    log: str


class MeltanoProject:
    """A copy of the project.

    Attributes:
        folder: Where it is.
        variables: What its commands have in their environment besides the usual.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        (folder / ".meltano").mkdir(parents=True)
        for kind in ("extractors", "loaders"):
            (folder / ".meltano" / kind).symlink_to(ROOT / ".meltano" / kind)
        (folder / "sample_data").symlink_to(ROOT / "sample_data")
        (folder / "meltano.yml").write_bytes((ROOT / "meltano.yml").read_bytes())

    def __call__(self, *arguments: str, given: str = "") -> Outcome:
        """Run `meltano` with arguments; no output of any command may hold an address.

        Args:
            arguments: The arguments.
            given: What it reads from standard input.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        done = subprocess.run(
            [MELTANO, *arguments],
            cwd=self.folder,
            env={**kept, **self.variables},
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not _ADDRESS.search(done.stdout + done.stderr)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def configure(self, **settings: Any) -> None:
        """Write settings of the target into meltano.yml, in place of those from the last call."""
        project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
        (loader,) = project["environments"][0]["config"]["plugins"]["loaders"]
        loader["config"].update(settings)
        (self.folder / "meltano.yml").write_text(yaml.safe_dump(project), "utf-8")

    def run(self, *arguments: str, fails: bool = False) -> dict[str, Any]:
        """`meltano run` with arguments; returns the report of the target's run.

        Args:
            arguments: The arguments.
            fails: The run must fail; otherwise it must succeed.
        """
        before = self._reports()
        done = self(*arguments)
        assert (done.code != 0) == fails, done.log
        (report,) = self._reports() - before
        loaded: dict[str, Any] = json.loads(report.read_text("utf-8"))
        return loaded

    def _reports(self) -> set[Path]:
        return set((self.folder / "reports").glob("run-*.json"))

    @property
    def sandbox_path(self) -> str:
        """The file of the embedded sandbox."""
        return str(self.folder / ".activecampaign-sandbox.db")


def counts_of(report: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a report that are not zero."""
    return {name: count for name, count in report["counts"].items() if count}
