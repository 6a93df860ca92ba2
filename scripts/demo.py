"""Load sample_data/ into an ActiveCampaign list, with Meltano: `python3 scripts/demo.py`.

It makes an environment for Meltano, runs `meltano run tap-warehouse target-activecampaign` into
the embedded sandbox, and then asks the sandbox what arrived. No account and no key are needed, and
it may be run again and again: what is already there stays as it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List  # noqa: UP035 - read by Python 3.7 too

from environments import ROOT, Environment, SetUpError, fingerprint, say

PLUGINS = ("tap-warehouse", "target-activecampaign")
TARGET_BIN = ROOT / ".meltano" / "loaders" / "target-activecampaign" / "venv" / "bin"
REPORTS = ROOT / "reports"
SANDBOX_FILE = ".activecampaign-sandbox.db"  # the target's default
LIST_NAME = "Newsletter"  # as in meltano.yml
ACTIVE = 1  # a membership's status


def main() -> int:
    """Run the demo; 0, or the exit code of what failed."""
    meltano = Environment(".venv-meltano", "meltano.txt", "Meltano")
    try:
        meltano.ensure()
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    program = str(meltano.bin / "meltano")
    stamp = ROOT / ".meltano" / "demo-installed"
    wanted = fingerprint(ROOT / "meltano.yml", ROOT / "pyproject.toml")
    if not stamp.is_file() or stamp.read_text() != wanted:
        code = _meltano(program, "install", *PLUGINS)
        if code:
            return code
        stamp.write_text(wanted)
    earlier = set(REPORTS.glob("run-*.json"))
    code = _meltano(program, "run", *PLUGINS)
    if code:
        return code
    _tell(set(REPORTS.glob("run-*.json")) - earlier)
    return 0


def _meltano(program: str, *arguments: str) -> int:
    command = ["--environment=sandbox", *arguments]
    say("\n$ meltano " + " ".join(command))
    return subprocess.run([program, *command], cwd=ROOT, check=False).returncode


def _tell(new_reports: set[Path]) -> None:
    """Print what the run did, from its report, and what the account now holds, from the sandbox."""
    for path in sorted(new_reports):
        report: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        counts = ", ".join(f"{number:,} {name}" for name, number in report["counts"].items() if number)
        say(f"\nThe run ({path.relative_to(ROOT)}): {counts.replace('_', ' ')}.")
        for code, refused in report["refused"].items():
            say(f"  {code}: {refused['records']:,} records. {refused['meaning']}")
        for file in report["reject_files"].values():
            say(f"  The refused records, ready to be corrected and piped back in: {file}")

    contacts = _contacts()
    on_list = [contact for contact in contacts if ACTIVE in contact["lists"].values()]
    fields = Counter(tag for contact in on_list for tag in contact["fields"])
    say(f"\nThe sandbox's account has {len(contacts):,} contacts, {len(on_list):,} on a list,")
    say(f"with {sum(fields.values()):,} values in {len(fields)} custom fields.")
    say(
        "\nLook for yourself: the same API as ActiveCampaign's, on this machine\n"
        f"  {TARGET_BIN.relative_to(ROOT)}/activecampaign-sandbox --port 8765\n"
        "  curl -H 'Api-Token: sandbox-key' 'http://127.0.0.1:8765/api/3/contacts?listid=1'\n"
        f"To start anew: rm {SANDBOX_FILE}*"
    )


def _contacts() -> List[Dict[str, Any]]:
    """All contacts of the sandbox's file, with their lists and fields."""
    with subprocess.Popen(
        [str(TARGET_BIN / "activecampaign-sandbox"), "--path", SANDBOX_FILE, "--exit-with-stdin"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as sandbox:
        assert sandbox.stdout is not None  # noqa: S101 - a pipe was asked for
        url = json.loads(sandbox.stdout.readline())["url"]
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url + "/_sandbox/export") as lines:
            contacts = [json.loads(line) for line in lines]
        assert sandbox.stdin is not None  # noqa: S101 - a pipe was asked for
        sandbox.stdin.close()
    return contacts


if __name__ == "__main__":
    sys.exit(main())
