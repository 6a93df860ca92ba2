"""A hundred thousand profiles: all of them arrive, and the memory stays where it is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.target_runner import record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox_server import SandboxServer
    from tests.target_runner import TargetRunner

PROFILES = 100_000
MEBIBYTE_IN_KILOBYTES = 1024

# A process starts with the peak of the one that it was forked from, so a small one must start it.
MEASURED = """
import pathlib, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
pathlib.Path("peak").write_text(str(peak))
sys.exit(code)
"""


def profile(number: int) -> dict[str, Any]:
    return record(
        f"person{number}@example.com",
        first_name=f"First {number}",
        last_name=f"Läst {number}",
        phone=f"+49 30 23125 {number:06d}",
        tier=("Bronze", "Silver", "Gold")[number % 3],
        birthday=f"19{50 + number % 50}-0{1 + number % 9}-1{number % 10}",
        loyalty_points=number,
        interests=["Tea", "Events"] if number % 2 else [],
        city=None if number % 7 == 0 else "Bärlin",
    )


def write_profiles(path: Path) -> None:
    interests = {"type": ["array", "null"], "items": {"type": "string"}}
    names = dict.fromkeys(("last_name", "phone", "tier", "birthday", "city"), "string")
    with path.open("w") as file:
        head = schema(**names, loyalty_points="integer", interests=interests)
        file.write(json.dumps(head) + "\n")
        for number in range(PROFILES):
            file.write(json.dumps(profile(number)) + "\n")
            if number % 5000 == 4999:
                file.write(json.dumps(state({"read": number + 1})) + "\n")


def test_a_hundred_thousand_profiles_in_bounded_memory(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    source = load.folder / "profiles.jsonl"
    write_profiles(source)
    with source.open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *load.command(checkpoint_seconds=1)],
            stdin=stdin,
            capture_output=True,
            cwd=load.folder,
            check=False,
        )
    outcome = load.outcome(done.returncode, done.stdout, done.stderr, source.read_bytes())
    outcome.succeeded()

    peak = int((load.folder / "peak").read_text())
    assert peak <= 160 * MEBIBYTE_IN_KILOBYTES
    assert outcome.counts == {"read": PROFILES, "added": PROFILES}
    seen = [one["read"] for one in outcome.states]
    assert seen == sorted(seen)
    assert seen[-1] == PROFILES
    assert len(seen) > 1, "state left on the way"

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
