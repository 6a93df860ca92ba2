"""What a pushed tag sets off: notes from the changelog, and an upload without a kept token."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.docs.test_repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CHANGELOG = """\
# Changelog

## Unreleased

- Not yet.

## 1.10.0 - 2026-03-01

### Added

- Something.

## 1.1.0 - 2026-02-01

## 1.0.0

- No date.
"""

Notes = subprocess.CompletedProcess[str]


@pytest.fixture
def notes(tmp_path: Path) -> Callable[[str], Notes]:
    """The script that prints the notes of a tag, in a project with the changelog above."""
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, "utf-8")
    (tmp_path / "scripts").mkdir()
    script = shutil.copy(ROOT / "scripts" / "changelog.py", tmp_path / "scripts")

    def ask(tag: str) -> Notes:
        command = [sys.executable, script, tag]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return ask


def test_a_releases_notes_are_its_section_of_the_changelog(notes: Callable[[str], Notes]) -> None:
    done = notes("v1.10.0")
    assert (done.returncode, done.stdout) == (0, "### Added\n\n- Something.\n")


@pytest.mark.parametrize("tag", ["v1.1.0", "v1.0.0", "v2.0.0", "v1.10"])
def test_a_version_without_a_dated_section_that_says_something_is_not_released(
    notes: Callable[[str], Notes], tag: str
) -> None:
    done = notes(tag)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"'## {tag[1:]} - " in done.stderr


def test_a_tag_is_tested_and_built_then_uploaded_by_proof_of_identity() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    workflow = yaml.safe_load(text)
    jobs = workflow["jobs"]
    # YAML 1.1 takes the key `on` for true.
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert [jobs[name]["needs"] for name in ("publish", "release")] == ["build", "publish"]
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    tests = re.findall(r"tests/[\w/]+\.py", text)
    assert tests
    assert all((ROOT / path).is_file() for path in tests)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_their_major_version(path: Path) -> None:
    used = re.findall(r"uses: (\S+)@(\S+)", path.read_text("utf-8"))
    assert used
    assert all(re.fullmatch(r"v\d+|release/v\d+", version) for _, version in used)
