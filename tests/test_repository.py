"""What must hold of the repository as a whole: documents that fit the code, no stray hosts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from target_activecampaign.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_generated_parts_of_the_documents_fit_the_code() -> None:
    script = [sys.executable, "scripts/write_docs.py", "--check"]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_meltano_knows_every_setting_as_the_target_does() -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    (loader,) = project["plugins"]["loaders"]
    known: dict[str, dict[str, Any]] = {one["name"]: one for one in loader["settings"]}
    assert set(known) >= {setting.name for setting in SETTINGS}
    for setting in SETTINGS:
        stated = known[setting.name]
        assert stated.get("sensitive", False) == setting.secret, setting.name
        assert stated.get("value") in (None, setting.default), setting.name
        assert stated["description"] == setting.text, setting.name
        kinds = {"number": ("integer", "decimal"), "string": ("string",)}
        first = setting.kind.split(" or ")[0]
        if setting.name != "list_id":
            assert stated["kind"] in kinds.get(first, (first,)), setting.name


def test_no_file_names_a_host_of_a_package_registry() -> None:
    hosts = re.compile(
        rb"pypi" rb"\.org|pythonhosted" rb"\.org|registry\.npm" rb"js|deb\.deb" rb"ian"
    )
    for path in tracked():
        assert not hosts.search(path.read_bytes()), path


def test_readme_begins_with_two_blocks_of_one_command_each() -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert [len(block.strip().splitlines()) for block in blocks[:2]] == [1, 1]


def test_links_between_documents_lead_somewhere() -> None:
    for path in tracked():
        if path.suffix != ".md":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_every_code_of_the_target_has_an_entry() -> None:
    documented = (ROOT / "docs/errors.md").read_text("utf-8")
    sources = " ".join(
        path.read_text("utf-8") for path in (ROOT / "target_activecampaign").glob("*.py")
    )
    used = set(re.findall(r'"((?:EMAIL|VALUE|RECORD|CONTACT|IMPORT|REFUSED)_[A-Z_]+)"', sources))
    assert len(used) >= 8
    assert all(f"`{code}`" in documented for code in used)
