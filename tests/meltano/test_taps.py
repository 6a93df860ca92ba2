"""A tap that others have made, through Meltano: people in spreadsheets."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.meltano_project import ROOT, MeltanoProject, require_meltano
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from pathlib import Path

RUN = ("run", "tap-spreadsheets", "target-activecampaign")
TAP = ROOT / ".meltano" / "extractors" / "tap-spreadsheets"

# With the library that the tap brings to read such files.
WRITE_WORKBOOK = """
import json, sys, datetime, openpyxl
book = openpyxl.Workbook()
book.active.title = "Read me"
sheet = book.create_sheet("People")
for row in json.load(sys.stdin):
    sheet.append(row)
for column in "FG":
    for cell in sheet[column][1:]:
        cell.value = cell.value and datetime.datetime.fromisoformat(cell.value)
book.save(sys.argv[1])
"""
HEAD = ["Customer ID", "E-Mail", "First name", "Phone", "Tier", "Birthday", "Last seen"]
HEAD += ["Loyalty points", "Lifetime value"]
PEOPLE = 300


def row(n: int) -> list[Any]:
    """A row with cells as people make them: text, numbers, dates, times, and empty ones."""
    return [
        f"C{n:04}",
        f"Person{n}@example.com",
        f"Zoë {n}",
        493023125000 + n,
        "Gold" if n % 2 else None,
        f"19{50 + n % 50}-02-0{1 + n % 9}",
        f"2026-01-02T03:{n % 60:02}:00",
        n,
        n + 0.5,
    ]


def contact(n: int) -> dict[str, Any]:
    """What the account must hold of it."""
    fields = {
        "CUSTOMER_ID": f"C{n:04}",
        "TIER": "Gold" if n % 2 else None,
        "BIRTHDAY": f"19{50 + n % 50}-02-0{1 + n % 9}",
        "LAST_SEEN": f"2026-01-01T21:{n % 60:02}:00-06:00",  # in the account's zone
        "LOYALTY_POINTS": str(n),
        "LIFETIME_VALUE": f"{n}.5",
    }
    return {
        "email": f"Person{n}@example.com",
        "first_name": f"Zoë {n}",
        "phone": f"{493023125000 + n}",
        "lists": {"1": 1},
        "fields": {tag: value for tag, value in fields.items() if value is not None},
    }


@pytest.fixture
def project(tmp_path: Path) -> MeltanoProject:
    require_meltano(TAP)
    project = MeltanoProject(tmp_path / "project")
    project.variables["SPREADSHEETS_PATH"] = str(tmp_path / "*.xlsx")
    return project


def write_workbook(path: Path, rows: list[list[Any]]) -> None:
    subprocess.run(
        [TAP / "venv" / "bin" / "python", "-c", WRITE_WORKBOOK, path],
        input=json.dumps([HEAD, *rows]).encode(),
        check=True,
    )


def account(project: MeltanoProject) -> list[dict[str, Any]]:
    with SandboxServer(project.sandbox_path) as sandbox:
        contacts = sorted(sandbox.export(), key=lambda one: one["fields"]["CUSTOMER_ID"])
    return [{name: one[name] for name in contact(0)} for one in contacts]


def counts(report: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in report["counts"].items() if count}


def test_a_workbook_becomes_a_list_and_is_read_again_when_it_changes(
    project: MeltanoProject, tmp_path: Path
) -> None:
    rows = [row(n) for n in range(PEOPLE)]
    nobody: list[list[Any]] = [["X1", "nobody"], ["X2"], [None] * len(HEAD)]
    path = tmp_path / "people.xlsx"
    write_workbook(path, [*rows, *nobody])
    os.utime(path, (1_767_000_000, 1_767_000_000))

    assert counts(project.run(*RUN)) == {"read": PEOPLE + 2, "added": PEOPLE, "invalid": 2}
    assert account(project) == [contact(n) for n in range(PEOPLE)]

    assert counts(project.run(*RUN)) == {}, "the tap's state says that it has read the file"

    rows[7][HEAD.index("First name")] = "Zoe"
    write_workbook(path, rows)
    os.utime(path, (1_768_000_000, 1_768_000_000))

    again = counts(project.run(*RUN))

    assert again == {"read": PEOPLE, "changed": 1, "unchanged": PEOPLE - 1}
    assert account(project)[7]["first_name"] == "Zoe"


def test_a_tap_that_writes_batch_files(project: MeltanoProject, tmp_path: Path) -> None:
    write_workbook(tmp_path / "people.xlsx", [*(row(n) for n in range(PEOPLE)), ["X1", "nobody"]])
    folder = tmp_path / "batch files"
    project.variables["TAP_SPREADSHEETS_BATCH_CONFIG"] = json.dumps(
        {
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": {"root": str(folder)},
            "batch_size": 200,
        }
    )

    report = project.run(*RUN)

    assert counts(report) == {"read": PEOPLE + 1, "added": PEOPLE, "invalid": 1}
    assert account(project) == [contact(n) for n in range(PEOPLE)]
    assert len(list(folder.iterdir())) == 2, "what the tap wrote is the tap's"
