"""The locks in requirements/ fit pyproject.toml and carry hashes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

ROOT = Path(__file__).resolve().parents[2]
ANEW = "make the locks anew with `python scripts/lock.py`"


def _pyproject() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return found


def _locked(lock: str) -> dict[str, list[Version]]:
    """The versions in a lock by name: more than one where Pythons need different ones."""
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text, re.MULTILINE):
        found.setdefault(name, []).append(Version(version))
    return found


def test_every_direct_requirement_is_locked_within_its_bounds() -> None:
    pyproject = _pyproject()
    wanted = [
        *pyproject["project"]["dependencies"],
        *pyproject["project"]["optional-dependencies"]["sandbox"],
        *pyproject["dependency-groups"]["dev"],
        *pyproject["build-system"]["requires"],
    ]
    locked = _locked("dev.txt")

    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in locked, f"{name}: {ANEW}"
        for version in locked[name]:
            assert version in requirement.specifier, f"{name}: {ANEW}"


@pytest.mark.parametrize(
    ("name", "lock"), [("meltano", "meltano"), ("tap-activecampaign", "witness")]
)
def test_program_of_others_is_the_version_that_the_project_asks_for(name: str, lock: str) -> None:
    (asked,) = (ROOT / "requirements" / f"{lock}.in").read_text("utf-8").split()

    assert f"{name}=={_locked(f'{lock}.txt')[name][0]}" == asked


@pytest.mark.parametrize(
    "lock", ["dev.txt", "meltano.txt", "pictures.txt", "witness.txt", "witness-build.txt"]
)
def test_a_lock_has_hashes_and_names_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text("utf-8")

    entries = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    assert "://" not in text
    assert "index" not in re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
