"""What is published: a wheel and an sdist, and how the wheel fares in an empty environment.

The environment holds what the package needs, from its lock, and nothing of the tests; it is made by
`scripts/test.py` for the Python that runs them, and copied here before the wheel goes into it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import pytest
import yaml
from trove_classifiers import classifiers as known_classifiers

from tests.docs.test_repository import ROOT, tracked
from tests.support.guide import block
from tests.support.installed import built
from tests.support.target_runner import lines, people, schema, state

if TYPE_CHECKING:
    from email.message import Message

PACKAGES = ("target_activecampaign", "activecampaign_sandbox")
INFO = "target_activecampaign-{}.dist-info"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("sdist"), ROOT, "-t", "sdist")


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def files(*folders: str) -> set[str]:
    """The repository's files in some of its folders, by their paths."""
    paths = (path.relative_to(ROOT).as_posix() for path in tracked())
    return {path for path in paths if path.startswith(tuple(f"{one}/" for one in folders))}


# What is in them


def test_the_wheel_holds_the_package_and_says_that_it_is_typed(
    wheel: Path, metadata: Message
) -> None:
    info = INFO.format(metadata["Version"])
    beside = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
    with ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert held == files(*PACKAGES) | {f"{info}/{name}" for name in beside}
    assert {f"{one}/py.typed" for one in PACKAGES} <= held


def test_the_sdist_holds_the_package_its_tests_and_its_documents(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    documents = {path.name for path in tracked() if path.parent == ROOT and path.suffix == ".md"}
    beside = {".gitignore", "LICENSE", "PKG-INFO", "pyproject.toml", *documents}
    assert held == files(*PACKAGES, "tests", "sample_data") | beside
    assert {f"{one}/py.typed" for one in PACKAGES} <= held


def test_the_sdist_makes_the_same_wheel_byte_by_byte(
    wheel: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        # The first releases of Python 3.11 have no filters.
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path / "source", **safely)  # noqa: S202 - our own
    (source,) = (tmp_path / "source").iterdir()
    (tmp_path / "wheel").mkdir()
    again = built(tmp_path / "wheel", source, "-t", "wheel")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_what_the_package_says_of_itself_is_known_and_agrees(metadata: Message) -> None:
    said = metadata.get_all("Classifier", [])
    assert set(said) <= known_classifiers
    pythons = [one.rpartition(" ")[2] for one in said if " :: Python :: 3." in one]
    assert pythons == [f"3.{minor}" for minor in range(10, 16)]
    assert metadata["Requires-Python"] == f">={pythons[0]}"
    ci = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    assert ci["jobs"]["everything"]["strategy"]["matrix"]["python"] == pythons
    told = f"Python {pythons[0]} to {pythons[-1]}"
    for document in ("README.md", "CONTRIBUTING.md", "docs/tutorial.md"):
        assert told in (ROOT / document).read_text("utf-8")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text("utf-8")


def test_until_the_release_a_clone_can_be_installed(metadata: Message) -> None:
    command, option, clone = shlex.split(block("unreleased.md", "pip"))
    assert (command, option) == ("pip", "install")
    path, extra = re.fullmatch(r"(.+)\[(.+)\]", clone).groups()  # type: ignore[union-attr]
    assert path == f"/path/to/{metadata['Name']}"
    assert extra in metadata.get_all("Provides-Extra", [])
    assert "unreleased.md" in (ROOT / "README.md").read_text("utf-8")


# In an empty environment


def ran(program: Path, *arguments: str, given: bytes = b"") -> str:
    """What a program prints that ends well, run outside the tree and without its environment."""
    done = subprocess.run(
        [program, *arguments],
        input=given,
        capture_output=True,
        cwd=program.parents[2],
        env={"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_its_programs_tell_of_themselves(programs: Path, metadata: Message) -> None:
    asks_where = "import sys, target_activecampaign as t; print(*sys.version_info[:2], t.__file__)"
    major, minor, file = ran(programs / "python", "-c", asks_where).split()
    assert (int(major), int(minor)) == sys.version_info[:2], "made for the Python of the tests"
    assert Path(file).is_relative_to(programs.parent), "not the one of the tree"
    version = ran(programs / "target-activecampaign", "--version")
    assert version.startswith(f"target-activecampaign v{metadata['Version']}, ")
    about = json.loads(ran(programs / "target-activecampaign", "--about", "--format=json"))
    assert about["version"] == metadata["Version"]
    assert "api_key" in about["settings"]["properties"]
    for name in ("activecampaign-sandbox", "target-activecampaign-ledger"):
        assert f"Usage: {name}" in ran(programs / name, "--help")


def test_it_loads_into_the_embedded_sandbox(programs: Path) -> None:
    folder = programs.parents[1]
    config = folder / "config.json"
    config.write_text(json.dumps({"sandbox": True, "list_id": "Newsletter"}), "utf-8")
    messages = lines([schema(), *people(3), state({"read": 3})])

    out = ran(programs / "target-activecampaign", "--config", str(config), given=messages)

    assert [json.loads(line) for line in out.splitlines()] == [{"read": 3}]
    (report,) = (folder / "reports").glob("run-*.json")
    counts = json.loads(report.read_text("utf-8"))["counts"]
    assert {name: n for name, n in counts.items() if n} == {"read": 3, "added": 3}
