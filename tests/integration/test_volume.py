"""Many profiles: all arrive, once, and the memory stays where it is.

VOLUME_PROFILES sets how many there are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.support.target_runner import record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

PROFILES = int(os.environ.get("VOLUME_PROFILES", "30000"))
CHANGED = range(0, PROFILES, 100)
FRESH, UNCHANGED = (136, 100) if PROFILES <= 30_000 else (160, 120)
"""The memory of a run in MiB: less than if it kept what it has read."""
IMPORT = "/api/3/import/bulk_import"
MEBIBYTE_IN_KILOBYTES = 1024

# A process starts with the peak of the one that it was forked from, so a small one must start it.
MEASURED = """
import pathlib, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path("peak").write_text(str(peak))
sys.exit(code)
"""


def profile(number: int, points: int = 0) -> dict[str, Any]:
    return record(
        f"person{number}@example.com",
        first_name=f"First {number}",
        last_name=f"Läst {number}",
        phone=f"+49 30 23125 {number:06d}",
        tier=("Bronze", "Silver", "Gold")[number % 3],
        birthday=f"19{50 + number % 50}-0{1 + number % 9}-1{number % 10}",
        loyalty_points=number + points,
        interests=["Tea", "Events"] if number % 2 else [],
        city=None if number % 7 == 0 else "Bärlin",
    )


def write_profiles(path: Path, points_of_changed: int = 0) -> None:
    interests = {"type": ["array", "null"], "items": {"type": "string"}}
    names = dict.fromkeys(("last_name", "phone", "tier", "birthday", "city"), "string")
    with path.open("w") as file:
        head = schema(**names, loyalty_points="integer", interests=interests)
        file.write(json.dumps(head) + "\n")
        for number in range(PROFILES):
            points = points_of_changed if number in CHANGED else 0
            file.write(json.dumps(profile(number, points)) + "\n")
            if number % 5000 == 4999 or number == PROFILES - 1:
                file.write(json.dumps(state({"read": number + 1})) + "\n")


def bounded_run(load: TargetRunner, source: Path, mebibytes: int) -> Outcome:
    """Run the target on a file to its end, within the memory that it may have."""
    with source.open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *load.command(checkpoint_seconds=0.2)],
            stdin=stdin,
            capture_output=True,
            cwd=load.folder,
            check=False,
        )
    outcome = load.outcome(done.returncode, done.stdout, done.stderr, source.read_bytes())
    outcome.succeeded()
    peak = int((load.folder / "peak").read_text())
    assert peak <= mebibytes * MEBIBYTE_IN_KILOBYTES
    seen = [one["read"] for one in outcome.states]
    assert seen == sorted(seen)
    assert seen[-1] == PROFILES
    assert len(seen) > 1, "state left on the way"
    return outcome


def test_profiles_are_loaded_once_in_bounded_memory(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    source = load.folder / "profiles.jsonl"
    write_profiles(source)
    outcome = bounded_run(load, source, FRESH)
    assert outcome.counts == {"read": PROFILES, "added": PROFILES}
    _all_arrived(sandbox)

    asked = len(sandbox.requests())
    outcome = bounded_run(load, source, UNCHANGED)
    assert outcome.counts == {"read": PROFILES, "unchanged": PROFILES}
    paths = [one["path"] for one in sandbox.requests()[asked:]]
    assert paths == ["/api/3/users/me", "/api/3/lists", "/api/3/fields"]

    asked = len(sandbox.requests())
    write_profiles(source, points_of_changed=7)
    outcome = bounded_run(load, source, UNCHANGED)
    changed = len(CHANGED)
    assert outcome.counts == {
        "read": PROFILES,
        "changed": changed,
        "unchanged": PROFILES - changed,
    }
    log = sandbox.requests()[asked:]
    assert sum(one["contacts"] for one in log if one["path"] == IMPORT) == changed
    _only_the_changed_came_again(sandbox)


def _all_arrived(sandbox: SandboxServer) -> None:
    contacts = sandbox.contacts()
    assert len(contacts) == PROFILES
    for number in range(PROFILES):
        given = profile(number)["record"]
        contact = contacts[given["email"]]
        assert contact["lists"] == {"1": 1}
        assert contact["last_name"] == given["last_name"]
        assert contact["phone"] == given["phone"]
        expected = {
            "TIER": given["tier"],
            "BIRTHDAY": given["birthday"],
            "LOYALTY_POINTS": str(number),
            "INTERESTS": "||Tea||Events||" if given["interests"] else None,
            "CITY": given["city"],
        }
        assert contact["fields"] == {k: v for k, v in expected.items() if v is not None}


def _only_the_changed_came_again(sandbox: SandboxServer) -> None:
    contacts = sandbox.contacts()
    assert len(contacts) == PROFILES
    for number in range(PROFILES):
        contact = contacts[f"person{number}@example.com"]
        again = number in CHANGED
        assert contact["times_imported"] == (2 if again else 1)
        assert contact["fields"]["LOYALTY_POINTS"] == str(number + (7 if again else 0))
