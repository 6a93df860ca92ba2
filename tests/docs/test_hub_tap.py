"""The tap's entry, its definition, meltano.yml and the guide agree with the tap itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator

from target_activecampaign.tap.definitions import SETTINGS
from tests.docs.test_repository import ROOT
from tests.support.fork_server import run_script
from tests.support.hub_schema import EXTRACTOR
from tests.support.tap_runner import SCRIPT, TapRunner

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer

NAME = "tap-activecampaign-consent"
HUB = ROOT / "hub" / "extractors"
ENTRY = yaml.safe_load((HUB / NAME / "original.yml").read_text("utf-8"))
DEFINITION = json.loads((HUB / f"{NAME}--original.lock").read_text("utf-8"))
MELTANO_YML = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
(OURS,) = (one for one in MELTANO_YML["plugins"]["extractors"] if one["name"] == NAME)
BOTH = pytest.mark.parametrize("told", [ENTRY, DEFINITION], ids=["entry", "definition"])


@pytest.fixture(scope="module")
def about(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("about")
    done = run_script([SCRIPT, "--about", "--format=json"], folder=folder)
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_entry_is_of_the_form_that_the_hub_asks_for() -> None:
    assert [error.message for error in Draft7Validator(EXTRACTOR).iter_errors(ENTRY)] == []
    assert not Draft7Validator(EXTRACTOR).is_valid({**ENTRY, "capabilities": ["target-schema"]})


@BOTH
def test_it_agrees_with_the_tap(told: dict[str, Any], about: dict[str, Any]) -> None:
    for part in ("name", "namespace", "label", "executable"):
        assert told[part] == OURS[part], part
    assert told["capabilities"] == sorted(about["capabilities"]) == OURS["capabilities"]
    known = about["settings"]["properties"]
    assert [one["name"] for one in told["settings"]] == sorted(known)
    for one in told["settings"]:
        schema = known[one["name"]]
        assert one["description"] == schema["description"]
        assert one.get("value") == schema.get("default")
        assert one.get("sensitive", False) == schema.get("secret", False)


def test_meltano_yml_has_the_settings_of_the_tap(about: dict[str, Any]) -> None:
    known = about["settings"]["properties"]
    told = {one["name"]: one for one in OURS["settings"]}
    assert told.keys() == known.keys()
    for name, one in told.items():
        assert one["description"] == known[name]["description"]
        assert one.get("sensitive", False) == known[name].get("secret", False)


def test_guide_has_the_settings_of_the_tap() -> None:
    text = (ROOT / "docs" / "consent-tap.md").read_text("utf-8")
    table = text.partition("<!-- tap-settings -->")[2].partition("<!-- /tap-settings -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.+?)`)? \| (.+) \|$", table, re.MULTILINE)
    assert [(name, meaning) for name, _, meaning in rows] == [
        (one.name, one.description) for one in SETTINGS
    ]


def test_secret_settings_are_known() -> None:
    assert {one.name for one in SETTINGS if one.secret} == {"api_key", "rate_budget_url"}


@pytest.mark.parametrize("group", ENTRY["settings_group_validation"], ids=" ".join)
def test_each_group_of_settings_is_enough(
    group: list[str], sandbox: SandboxServer, tmp_path: Path
) -> None:
    tap = TapRunner(tmp_path, sandbox)
    given: dict[str, Any] = {"sandbox": True, "api_url": sandbox.url, "api_key": sandbox.api_key}
    nothing: dict[str, Any] = dict.fromkeys(given)
    chosen = {name: given[name] for name in group}
    assert tap(**{**nothing, **chosen}).code == 0
    for name in group:
        assert tap(**{**nothing, **chosen, name: None}).code == 1, name
