"""Make the pictures of docs/pictures/ anew: `.venv/bin/python scripts/screenshots.py`.

It loads sample_data/ into a sandbox, a day later a changed copy of it, and takes pictures of the
pages that come of it in Chromium. Names and times of runs are set, so that pictures of pages that
did not change hardly differ.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from target_activecampaign.reporting import page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ViewportSize

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
SANDBOX = "sandbox.db"
CONFIG = {
    "sandbox": True,
    "sandbox_path": SANDBOX,
    "connection_name": "Coffee shop",
    "list_id": "Newsletter",
    "sync_mode": "mirror",
    "complete_stream": True,
    "field_mapping": {
        "FullName": "ignore",
        "CreatedOn": "ignore",
        "MarketingConsent": "ignore",
        "PreferredLanguage": "ignore",
        "LoyaltyTier": "TIER",
        "BirthDate": "BIRTHDAY",
    },
}
NULLABLE = {"LoyaltyPoints": "integer", "LifetimeValue": "number", "MarketingConsent": "boolean"}
STARTED = datetime(2026, 3, 2, 6, 0, tzinfo=timezone.utc)
"""When the first of the runs begins, as the pictures have it."""


def main() -> int:
    """Take the pictures; 1 if there is no Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("There is no Chromium: on Debian `apt-get install chromium`.", file=sys.stderr)
        return 1
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        work = Path(folder)
        profiles = (ROOT / "sample_data" / "profiles.jsonl").read_text("utf-8").splitlines()
        for day, lines in enumerate((profiles, _a_day_later(profiles))):
            print("Loading the sample; this takes half a minute.", flush=True)
            _load(work, lines)
            _set(work, day)
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        reports = work / "reports"
        first, last = sorted(path.as_uri() for path in reports.glob("run-*.html"))
        _take(browser, "report", last, "light", (1000, 1120))
        _take(browser, "report-dark", f"{first}#throughput", "dark", (1000, 1230))
        _take(browser, "index", (reports / "index.html").as_uri(), "light", (1200, 290))
        with _sandbox(work) as url:
            _take(browser, "sandbox", url, "light", (1000, 820))
        browser.close()
    return 0


def _a_day_later(profiles: list[str]) -> list[str]:
    """The profiles with some that have changed, some that are new, and some that are gone."""
    records = [json.loads(line) for line in profiles]
    for record in records[::40]:
        record["LoyaltyPoints"] = (record.get("LoyaltyPoints") or 0) + 100
    gone = range(7, len(records), 90)
    kept = [record for number, record in enumerate(records) if number not in gone]
    new = [
        {**record, "CustomerId": f"new{number}", "EMailAddress1": f"new{number}@example.net"}
        for number, record in enumerate(records[:60])
    ]
    return [json.dumps(record) for record in kept + new]


def _load(work: Path, profiles: list[str]) -> None:
    """Load profiles as the tap would write them."""
    names = dict.fromkeys(name for line in profiles[:200] for name in json.loads(line))
    properties: dict[str, Any] = {
        name: {"type": ["null", NULLABLE.get(name, "string")]} for name in names
    }
    properties["Interests"] = {"type": ["null", "array"], "items": {"type": "string"}}
    schema = {
        "type": "SCHEMA",
        "stream": "unified_profiles",
        "schema": {"properties": properties},
        "key_properties": ["CustomerId"],
    }
    record = '{{"type":"RECORD","stream":"unified_profiles","record":{}}}'
    messages = [json.dumps(schema), *(record.format(line) for line in profiles)]
    (work / "config.json").write_text(json.dumps(CONFIG))
    done = subprocess.run(
        [sys.executable, "-m", "target_activecampaign", "--config", "config.json"],
        input="\n".join(messages) + "\n",
        capture_output=True,
        text=True,
        cwd=work,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)


def _set(work: Path, day: int) -> None:
    """Give the run that has just ended a name and times that are always the same."""
    reports = work / "reports"
    path = max(reports.glob("run-*.json"), key=lambda path: path.stat().st_mtime_ns)
    report = json.loads(path.read_text("utf-8"))
    started = STARTED + timedelta(days=day)
    name = f"{started:%Y%m%dT%H%M%S}-{day:012}"
    for old in (path, path.with_suffix(".html")):
        old.unlink()
    text = json.dumps(report).replace(report["run_id"], name)
    report = json.loads(text)
    finished = started + timedelta(seconds=report["duration_seconds"])
    report["started"], report["finished"] = started.isoformat(), finished.isoformat()
    report["address"] = "http://127.0.0.1:8000"
    (reports / f"run-{name}.json").write_text(json.dumps(report))
    page.write_page(report, reports, ())


@contextmanager
def _sandbox(work: Path) -> Iterator[str]:
    """The sandbox with what was loaded; gives its address."""
    command = [sys.executable, "-m", "activecampaign_sandbox", "--exit-with-stdin"]
    with subprocess.Popen(
        [*command, "--path", SANDBOX], cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as sandbox:
        assert sandbox.stdout is not None  # noqa: S101 - a pipe was asked for
        yield json.loads(sandbox.stdout.readline())["url"]
        assert sandbox.stdin is not None  # noqa: S101 - a pipe was asked for
        sandbox.stdin.close()


def _take(browser: Browser, name: str, address: str, scheme: Any, size: tuple[int, int]) -> None:
    viewport: ViewportSize = {"width": size[0], "height": size[1]}
    page = browser.new_page(color_scheme=scheme, viewport=viewport)
    page.goto(address)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    page.close()
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
