"""A hundred thousand profiles: all of them arrive, and the memory stays where it is."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

from tests.target_runner import record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox_server import SandboxServer
    from tests.target_runner import TargetRunner

PROFILES = 100_000
MEBIBYTE_IN_KILOBYTES = 1024


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
    with (
        source.open("rb") as stdin,
        (load.folder / "out").open("wb+") as out,
        (load.folder / "err").open("wb+") as err,
    ):
        process = subprocess.Popen(
            load.command(checkpoint_seconds=1), stdin=stdin, stdout=out, stderr=err, cwd=load.folder
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    printed, log = ((load.folder / name).read_bytes() for name in ("out", "err"))
    outcome = load.outcome(process.returncode, printed, log, source.read_bytes()).succeeded()

    assert usage.ru_maxrss <= 160 * MEBIBYTE_IN_KILOBYTES
    assert outcome.counts == {"read": PROFILES, "added_or_changed": PROFILES}
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
