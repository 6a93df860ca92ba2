"""Set up what the tests need and run them: `python3 scripts/test.py`.

Arguments go to pytest: `python3 scripts/test.py -k mirror`. All tests run unless one says
otherwise, on as many processes as there are cores.
"""

from __future__ import annotations

import os
import subprocess
import sys

from environments import ROOT, Environment, SetUpError


def main() -> int:
    """Run pytest; its exit code, or 1 when an environment can't be made."""
    tests = Environment(".venv", "dev.txt", "the target and what its tests need", project=True)
    meltano = Environment(".venv-meltano", "meltano.txt", "Meltano")
    try:
        tests.ensure()
        meltano.ensure()
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    # The tests start the target, the sandbox and Meltano by name.
    path = os.pathsep.join([str(tests.bin), os.environ["PATH"]])
    command = [str(tests.bin / "python"), "-m", "pytest", "--numprocesses=auto", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
