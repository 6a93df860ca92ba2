"""The package as it is published: built, and installed into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EMPTY = ROOT / ".venv-package"
MISSING = "The package's environment is not there: `python3 scripts/test.py` makes it."


def built(folder: Path, source: Path = ROOT, *targets: str) -> Path:
    """The only file that a build of a target leaves in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*command, *targets], cwd=source, capture_output=True, check=True)
    (path,) = folder.iterdir()
    return path


def installed(wheel: Path, folder: Path) -> Path:
    """Make an environment of a wheel and what it needs; returns where its programs are."""
    uv = shutil.which("uv") or ROOT / ".venv-meltano" / "bin" / "uv"
    if not EMPTY.is_dir() or not Path(uv).is_file():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    shutil.copytree(EMPTY, folder, symlinks=True)
    python = folder / "bin" / "python"
    install = [uv, "pip", "install", "--quiet", "--offline", "--no-config", "--no-deps"]
    subprocess.run([*install, "--python", python, wheel], check=True)
    return python.parent
