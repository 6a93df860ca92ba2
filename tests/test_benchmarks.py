"""The benchmarks, in a small size: they run, and say what they are to say. Times are not judged."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_what_a_profile_costs_is_printed_beside_the_anchor() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/costs.py", "--profiles", "2000", "--changed", "300"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {line[:28].strip(): line[28:] for line in done.stdout.splitlines()[2:]}
    assert list(rows) == [
        "what",
        "the SDK's empty target",
        "msgspec: decode the line",
        "fresh profiles",
        "unchanged profiles",
        "300 of them changed",
        "memory at its most",
    ]
    assert re.search(r"\d us +1/\d.* 1/6$", rows["fresh profiles"])
    assert re.search(r"\d us +1/\d.* 1/10$", rows["unchanged profiles"])
    assert "2 imports" in rows["300 of them changed"]
    assert "<= 2 imports" in rows["300 of them changed"]
