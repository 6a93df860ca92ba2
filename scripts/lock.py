"""Make the lock files in requirements/ anew: `python3 scripts/lock.py`.

dev.txt holds what the project, its sandbox, its tests and its build need, and package.txt only what
the installed package and its sandbox need, in the same versions; meltano.txt holds Meltano,
pictures.txt what draws pictures, and witness.txt a tap of others that reads the sandbox in tests.
Each has an environment of its own. Some packages of witness.txt have no wheel: witness-build.txt
holds what builds them. All fit all supported Pythons, carry hashes, and name no index. `--upgrade`
moves to the newest releases; without it, what still fits stays.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from environments import ROOT, Environment, SetUpError

FORM = (
    "--quiet",
    "--universal",
    "--python-version=3.10",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
)
LOCKS = {
    "requirements/dev.txt": (
        "pyproject.toml",
        "requirements/build.in",
        "--extra=parquet",
        "--extra=phone",
        "--extra=postgres",
        "--extra=redis",
        "--extra=sandbox",
        "--group=dev",
    ),
    "requirements/package.txt": (
        "pyproject.toml",
        "--extra=sandbox",
        "--constraints=requirements/dev.txt",
    ),
    "requirements/meltano.txt": ("requirements/meltano.in",),
    "requirements/pictures.txt": ("requirements/pictures.in",),
    "requirements/witness.txt": ("requirements/witness.in",),
    "requirements/witness-build.txt": ("requirements/witness-build.in",),
}


def main() -> int:
    """Compile each lock file; the exit code of the first that fails, or 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    meltano = Environment(".venv-meltano", "meltano.txt", "Meltano, which brings uv")
    try:
        meltano.ensure()
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    uv = str(meltano.bin / "uv")
    for lock, sources in LOCKS.items():
        command = [uv, "pip", "compile", *FORM, *upgrade, *sources, f"--output-file={lock}"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
        print(f"{lock} is as its sources say.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
