"""Load sample_data/ into an ActiveCampaign list, with Meltano: `python3 scripts/demo.py`.

It makes an environment for Meltano, runs `meltano run tap-warehouse target-activecampaign` into
the embedded sandbox, and then asks the sandbox what arrived. No account and no key are needed, and
it may be run again and again: what is already there stays as it is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING, Any

from environments import ROOT, Environment, SetUpError, install_plugins, say

if TYPE_CHECKING:
    from pathlib import Path

PLUGINS = ("tap-warehouse", "target-activecampaign")
TARGET_BIN = ROOT / ".meltano" / "loaders" / "target-activecampaign" / "venv" / "bin"
REPORTS = ROOT / "reports"
SANDBOX_FILE = ".activecampaign-sandbox.db"  # the target's default
PORT = 8765
ACTIVE = 1  # a membership's status


def main() -> int:
    """Run the demo; 0, or the exit code of what failed."""
    meltano = Environment(".venv-meltano", "meltano.txt", "Meltano")
    try:
        meltano.ensure()
        install_plugins(meltano, *PLUGINS)
    except SetUpError as error:
        print(error, file=sys.stderr)
        return 1
    earlier = set(REPORTS.glob("run-*.json"))
    command = ["meltano", "--environment=sandbox", "run", *PLUGINS]
    say(f"$ {' '.join(command)}")
    command[0] = str(meltano.bin / "meltano")
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code == 0:
        _tell(set(REPORTS.glob("run-*.json")) - earlier)
    return code


def _tell(new_reports: set[Path]) -> None:
    """Print what the run did, from its report, and what the account now holds, from the sandbox."""
    for path in sorted(new_reports):
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        counts = ", ".join(
            f"{number:,} {name}" for name, number in report["counts"].items() if number
        )
        say(f"\nThe run ({path.relative_to(ROOT)}): {counts.replace('_', ' ')}.")
        for code, refused in report["refused"].items():
            say(f"  {code}: {refused['records']:,} records. {refused['meaning']}")
        for code, skipped in report["skipped"].items():
            say(f"  {code}: {skipped['records']:,} records held back. {skipped['meaning']}")
        for file in report["reject_files"].values():
            say(f"  The refused records, ready to be corrected and piped back in: {file}")

    contacts = _contacts()
    on_list = [contact for contact in contacts if ACTIVE in contact["lists"].values()]
    fields = Counter(tag for contact in on_list for tag in contact["fields"])
    say(
        f"\nThe sandbox's account now has {len(contacts):,} contacts, {len(on_list):,} on a list, "
        f"with {sum(fields.values()):,} values in {len(fields)} custom fields.\n"
        f"\n{how_to_look()}"
    )


def how_to_look() -> str:
    """Return the command that shows the account: the sandbox ended with the run, its file stays."""
    return (
        f"Look for yourself. In {ROOT}, this serves the same file until Ctrl-C:\n"
        f"  {TARGET_BIN.relative_to(ROOT)}/activecampaign-sandbox --path {SANDBOX_FILE} "
        f"--port {PORT}\n"
        "Meanwhile its page shows lists, contacts, fields, imports and requests in a browser, and "
        "its API answers:\n"
        f"  http://127.0.0.1:{PORT}/\n"
        f"  curl -H 'Api-Token: sandbox-key' 'http://127.0.0.1:{PORT}/api/3/contacts?listid=1'\n"
        f"To start anew: rm {SANDBOX_FILE}*"
    )


def _contacts() -> list[dict[str, Any]]:
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
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
