"""Print the changelog's section of a release: `python3 scripts/changelog.py v1.2.3`.

The section must be there, have a date and say something: otherwise the exit code is 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PATH = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def section(text: str, version: str) -> str | None:
    """Return the text below `## version - date`; None if there is none."""
    heading = rf"^## \[?{re.escape(version)}\]? - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    found = re.search(heading, text, re.DOTALL | re.MULTILINE)
    return (found.group(1).strip() or None) if found else None


def main() -> int:
    """Print the section; returns the exit code."""
    version = sys.argv[1].removeprefix("v")
    found = section(PATH.read_text("utf-8"), version)
    if found is None:
        print(f"CHANGELOG.md has no section '## {version} - YYYY-MM-DD'.", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
