"""The Hub's entry and Meltano's definition agree with the target, and Meltano takes them."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator

from tests.docs.test_repository import ROOT
from tests.support.guide import example
from tests.support.hub_schema import LOADER
from tests.support.meltano_project import MeltanoProject, require_meltano
from tests.support.target_runner import SCRIPT, TargetRunner, lines, people, schema

if TYPE_CHECKING:
    from pathlib import Path

HUB = ROOT / "hub" / "loaders"
LOCK = HUB / "target-activecampaign--original.lock"
ENTRY = yaml.safe_load((HUB / "target-activecampaign" / "original.yml").read_text("utf-8"))
DEFINITION = json.loads(LOCK.read_text("utf-8"))
BOTH = pytest.mark.parametrize("told", [ENTRY, DEFINITION], ids=["entry", "definition"])

GIVEN: dict[str, Any] = {
    "api_key": "a-key",
    "api_url": "https://acct.api-us1.com",
    "data_privacy_consent": True,
    "list_id": "Newsletter",
    "sandbox": True,
    "streams": {"profiles": {"list_id": "Newsletter"}},
}
"""A value for each setting that a group names."""


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    done = subprocess.run([SCRIPT, "--about", "--format=json"], capture_output=True, check=True)
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_the_entry_is_of_the_form_that_the_hub_asks_for() -> None:
    assert [error.message for error in Draft7Validator(LOADER).iter_errors(ENTRY)] == []


def test_a_wrong_entry_would_be_found() -> None:
    wrong = [
        {**ENTRY, "qualitty": "gold"},
        {**ENTRY, "quality": "best"},
        {**ENTRY, "capabilities": ["mirror"]},
        {**ENTRY, "settings": [{"name": "list_id", "kind": "number"}]},
        {**ENTRY, "settings": [{"name": "list_id", "default": 1}]},
    ]
    assert not any(Draft7Validator(LOADER).is_valid(entry) for entry in wrong)


@BOTH
def test_it_agrees_with_meltano_yml(told: dict[str, Any]) -> None:
    loader, *_ = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["loaders"]
    for part in ("name", "namespace", "label", "executable", "commands"):
        assert told[part] == loader[part], part


@BOTH
def test_it_claims_what_the_target_claims(told: dict[str, Any], about: dict[str, Any]) -> None:
    assert told["capabilities"] == about["capabilities"]
    pythons = about["supported_python_versions"]
    assert told["supported_python_versions"] == pythons
    package, extra = re.fullmatch(r"(.+)\[(.+)\]", told["pip_url"]).groups()  # type: ignore[union-attr]
    assert (package, extra) == (about["name"], "sandbox")


@pytest.mark.parametrize("group", ENTRY["settings_group_validation"], ids=" ".join)
def test_each_group_of_settings_is_enough_and_nothing_of_it_can_be_left_out(
    group: list[str], load: TargetRunner
) -> None:
    nothing_to_load = b""
    load.config = {"api_key": "key-of-no-account"}
    given = dict.fromkeys(GIVEN) | {name: GIVEN[name] for name in group}

    load(nothing_to_load, **given).succeeded()

    for name in group:
        assert load(nothing_to_load, **{**given, name: None}).code == 1, name


def test_meltano_loads_with_nothing_but_the_definition(tmp_path: Path) -> None:
    require_meltano()
    project = MeltanoProject(tmp_path / "project")
    plugins = project.folder / "plugins" / "loaders"
    plugins.mkdir(parents=True)
    (plugins / LOCK.name).write_bytes(LOCK.read_bytes())
    (loader,) = example("../hub/README.md", "loader")["plugins"]["loaders"]
    given = example("unreleased.md", "loader")
    (until_then,) = given["plugins"]["loaders"]
    assert {**loader, "pip_url": until_then["pip_url"]} == until_then
    # As in the repository's own project, where it is installed already.
    until_then["pip_url"] = until_then["pip_url"].replace("/path/to/target-activecampaign", ".")
    assert until_then["pip_url"] == "-e .[sandbox]"
    (project.folder / "meltano.yml").write_text(
        yaml.safe_dump({**given, "send_anonymous_usage_stats": False})
    )
    (project.folder / "messages.jsonl").write_bytes(lines([schema(), *people(3)]))

    done = project("invoke", "--no-install", "target-activecampaign", "--input", "messages.jsonl")

    assert done.code == 0, done.log
    (report,) = (project.folder / "reports").glob("run-*.json")
    assert json.loads(report.read_text("utf-8"))["counts"]["added"] == 3
    listed = project("invoke", "--list-commands", "target-activecampaign")
    assert "ledger" in listed.out + listed.log
