"""Set up what the tests need and run them: `python3 scripts/test.py`.

Arguments go to pytest: `python3 scripts/test.py -k meltano`. Without any, all tests run, on three
processes a core: they wait for servers for half of their time. Each process gets a block of tests
(see `tests/conftest.py`) and takes some of another's when its own are done.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environments import ROOT, Environment, SetUpError, install_plugins

PLUGINS = (
    "tap-warehouse",
    "tap-warehouse-postgres",
    "tap-spreadsheets",
    "target-activecampaign",
    "tap-activecampaign-consent",
    "target-warehouse-postgres",
)


def main() -> int:
    """Run pytest; its exit code, or 1 when something can't be set up."""
    tests = Environment(".venv", "dev.txt", "the target and what its tests need", project=True)
    package = Environment(".venv-package", "package.txt", "what the installed package needs")
    meltano = Environment(".venv-meltano", "meltano.txt", "Meltano")
    pictures = Environment(".venv-pictures", "pictures.txt", "what draws the benchmarks' picture")
    witness = Environment(
        ".venv-witness", "witness.txt", "a tap that reads the sandbox", build="witness-build.txt"
    )
    try:
        tests.ensure()
        package.ensure()
        meltano.ensure()
        pictures.ensure()
        witness.ensure()
        install_plugins(meltano, *PLUGINS)
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    processes = f"--numprocesses={(os.cpu_count() or 1) * 3}"
    pytest = [str(tests.bin / "python"), "-m", "pytest"]
    command = [*pytest, processes, "--dist=worksteal", *sys.argv[1:]]
    # Thousands of interpreters start: without compiled files each would compile all modules.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
