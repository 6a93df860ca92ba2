"""Environments that `demo.py` and `test.py` set up from the hashed locks.

They run before anything is installed, on whatever `python3` is: only the standard library is used,
and nothing that an older Python would stumble over before its version is checked.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)
NEWEST = (3, 15)


class SetUpError(Exception):
    """An environment can't be made; the text says why and what to do about it."""


def say(text: str) -> None:
    """Tell what happens next, before the output of a program that is started for it."""
    print(text, flush=True)


def fingerprint(*paths: Path) -> str:
    """Return a hash of the contents of files."""
    hashed = hashlib.sha256()
    for path in paths:
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


def supported_python() -> str:
    """A Python of a supported version: the one that runs this, or one on the PATH.

    Raises:
        SetUpError: There is none.
    """
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return sys.executable
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and _works([found, "-c", ""]):
            return found
    running = "{}.{}".format(*sys.version_info)
    raise SetUpError(
        f"This needs Python 3.10 to 3.{NEWEST[1]}. The Python that runs it is {running}, and the "
        f"PATH has no python3.10 to python3.{NEWEST[1]}. Install one of them, from your system's "
        "packages or with `uv python install 3.13`, and start this with it."
    )


class Environment:
    """A virtual environment in the project's folder, made when it is not there or out of date.

    Attributes:
        bin: Where its programs are.
    """

    def __init__(
        self, name: str, lock: str, purpose: str, *, project: bool = False, build: str | None = None
    ) -> None:
        """Describe the environment; `ensure` makes it.

        Args:
            name: Its folder under the project's.
            lock: The lock file under requirements/ that says what is in it.
            purpose: What it is for, in a few words.
            project: Whether the project itself is put into it too, as an editable install.
            build: The lock file of what builds the packages that have no wheel.
        """
        self._folder = ROOT / name
        self._lock = ROOT / "requirements" / lock
        self._purpose = purpose
        self._project = project
        self._build = ROOT / "requirements" / build if build else None
        self.bin = self._folder / "bin"

    def ensure(self) -> None:
        """Make it, unless it is there and was made from the same lock.

        Raises:
            SetUpError: It can't be made.
        """
        python = supported_python()
        stamp = self._folder / ".made-from"
        wanted = self._made_from(python)
        if _holds(stamp, wanted):
            return
        say(f"Setting up {self._folder.name} ({self._purpose}); this takes a minute or so.")
        if self._folder.exists():
            shutil.rmtree(self._folder)
        # The module `venv` is part of Python everywhere; what puts pip into the environment,
        # `ensurepip`, is not on Debian. So pip comes from wherever there is one.
        _run([python, "-m", "venv", "--without-pip", str(self._folder)], "make the environment")
        install = self._installer(python)
        hashed = [*install, "--require-hashes"]
        if self._build:
            _run([*hashed, "-r", str(self._build)], "install what builds it")
            hashed.append("--no-build-isolation")  # isolated, a build fetches tools without a hash
        _run([*hashed, "-r", str(self._lock)], "install what it needs")
        if self._project:
            # What builds it is in the lock, so nothing is fetched without a hash.
            _run([*install, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], "build it")
        stamp.write_text(wanted)

    def _made_from(self, python: str) -> str:
        """Return a hash of everything that the environment depends on: locks, Python, path."""
        sources = [self._lock, *([self._build] if self._build else [])]
        sources += [ROOT / "pyproject.toml"] if self._project else []
        return f"{fingerprint(*sources)}\n{os.path.realpath(python)}\n{self._folder}\n"

    def _installer(self, python: str) -> list[str]:
        """The command that installs packages into the environment, with pip or with uv."""
        inside = str(self.bin / "python")
        if _works([inside, "-m", "ensurepip", "--default-pip"]):
            return [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        uv = shutil.which("uv")
        if uv:
            return [uv, "pip", "install", "--quiet", "--python", inside]
        # Since 22.3, pip installs into other environments than its own.
        if _works([python, "-m", "pip", "--python", inside, "--version"]):
            pip = [python, "-m", "pip", "--python", inside]
            return [*pip, "install", "--quiet", "--disable-pip-version-check"]
        raise SetUpError(
            f"{python} has neither ensurepip nor a pip of version 22.3 or newer, and there is no "
            "uv. Install one of them: on Debian and Ubuntu `apt-get install python3-venv`."
        )


def install_plugins(meltano: Environment, *names: str) -> None:
    """Install plugins of meltano.yml, unless they are there as it and pyproject.toml say.

    Raises:
        SetUpError: One can't be installed.
    """
    wanted = fingerprint(ROOT / "meltano.yml", ROOT / "pyproject.toml")
    stamps = {name: ROOT / ".meltano" / f"{name}-made-from" for name in names}
    stale = [name for name, stamp in stamps.items() if not _holds(stamp, wanted)]
    if stale:
        say(f"Installing {' and '.join(stale)} for Meltano.")
        _run([str(meltano.bin / "meltano"), "install", *stale], "install the plugins")
        for name in stale:
            stamps[name].write_text(wanted)


def _holds(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise SetUpError(f"Could not {purpose}: {' '.join(command)} said\n{last}")
