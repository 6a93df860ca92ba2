"""A shell in which the documentation's commands run as they stand there.

The target's own programs are those of the tests; a program that the machine may lack, or that would
reach beyond it, has a stand-in.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path


class Shell:
    """A shell in a folder.

    Args:
        folder: The folder; the stand-ins' programs are in its `bin`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = folder / "bin"
        self._programs.mkdir(exist_ok=True)

    def stand_in(self, program: str, script: str = "") -> None:
        """Let a program be a shell script that also notes the arguments of each call."""
        path = self._programs / program
        # In one piece: two calls in a pipe note theirs at the same time.
        note = f'told=$(printf \'%q \' "$@"); echo "$told" >> {shlex.quote(f"{path}.told")}'
        path.write_text(f"#!/usr/bin/env bash\n{note}\n{script}\n", "utf-8")
        path.chmod(0o700)

    def told(self, program: str) -> list[list[str]]:
        """The arguments of each call of a stand-in."""
        notes = self._programs / f"{program}.told"
        if not notes.exists():
            return []
        return [shlex.split(line) for line in notes.read_text("utf-8").splitlines()]

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of its commands."""
        places = (str(self._programs), str(Path(sys.executable).parent), os.environ["PATH"])
        return {**os.environ, "PATH": os.pathsep.join(places), **variables}

    def __call__(self, text: str, given: str = "", **variables: str) -> str:
        """Run commands, each of which must succeed; returns what they print.

        Args:
            text: The commands.
            given: What they read from standard input.
            variables: What they have in their environment besides the usual.
        """
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", text],
            input=given,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(**variables),
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout
