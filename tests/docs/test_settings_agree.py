"""Whoever tells of the settings tells the same: the command, the documents, meltano.yml, the Hub.

Each place is read into {setting: {fact: value}}, with the facts that it tells and no others, and
held against the settings themselves. So a setting that one lacks, or has too many, is found.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from singer_sdk.helpers.capabilities import FLATTENING_CONFIG, STREAM_MAPS_CONFIG

from target_activecampaign.config.definitions import SETTINGS, STREAM_SETTINGS
from tests.docs.test_repository import ROOT
from tests.integration.test_about import told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Told = dict[str, dict[str, Any]]

ALL: dict[str, dict[str, Any]] = {
    **{setting.name: setting.json_schema() for setting in SETTINGS},
    **STREAM_MAPS_CONFIG["properties"],
    **FLATTENING_CONFIG["properties"],
}
"""The schema of every setting: ours, and those of the SDK that mean something here."""
RANGES = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}


def types(schema: dict[str, Any]) -> list[str]:
    return [schema["type"]] if isinstance(schema["type"], str) else schema["type"]


def kind(schema: dict[str, Any]) -> str:
    """Meltano's kind for a type: see `kind_of` in scripts/plugin_definition.py."""
    return types(schema)[0] if types(schema)[0] in {"array", "object"} else "string"


def values(schema: dict[str, Any]) -> str:
    """What a setting can be, as the documents say it."""
    ranges = [f"{words} {schema[rule]}" for rule, words in RANGES.items() if rule in schema]
    choices = ", ".join(f"`{value}`" for value in schema.get("enum", ()))
    return ", ".join(
        [" or ".join(types(schema)), *([f"one of {choices}"] if choices else []), *ranges]
    )


FACTS: dict[str, Callable[[str, dict[str, Any]], Any]] = {
    "type": lambda _, schema: schema["type"],
    "type in words": lambda _, schema: values(schema),
    "kind": lambda _, schema: kind(schema),
    "kind on the Hub": lambda _, schema: "options" if "enum" in schema else kind(schema),
    "options": lambda _, schema: schema.get("enum", []),
    "default": lambda _, schema: schema.get("default"),
    "default in words": lambda _, schema: str(schema.get("default")),
    "secret": lambda _, schema: schema.get("secret", False),
    "of a stream": lambda name, _: name in STREAM_SETTINGS,
    "variable": lambda name, _: f"TARGET_ACTIVECAMPAIGN_{name.upper()}",
    "meaning": lambda _, schema: schema["description"],
}


# The places


def once(told: Iterable[tuple[str, dict[str, Any]]]) -> Told:
    """Facts by setting, none of which is told of twice."""
    pairs = list(told)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def about_as_json() -> Told:
    shown = json.loads(told("--about", "--format=json"))["settings"]["properties"]
    return {
        name: {
            "type": schema["type"],
            "default": schema.get("default"),
            "secret": schema.get("writeOnly", False),
            "meaning": schema["description"],
        }
        for name, schema in shown.items()
    }


def about_as_text() -> Told:
    shown = re.findall(
        r"  - Name: (.+)\n    Type: (.+)\n    Environment Variable: (.+)\n", told("--about") + "\n"
    )
    return once(
        (name, {"type": yaml.safe_load(kinds), "variable": variable})
        for name, kinds, variable in shown
    )


def about_as_markdown() -> Told:
    rows = re.findall(
        r"\| (\w+) \| False \| (.+?) \| (.+) \|", told("--about", "--format=markdown")
    )
    return once(
        (name, {"default in words": default, "meaning": meaning}) for name, default, meaning in rows
    )


def reference() -> Told:
    """The pages of docs/ with the settings."""
    pages = sorted((ROOT / "docs").glob("settings-*.md"))
    text = "".join(page.read_text("utf-8") for page in pages)
    found = re.findall(r"^### `(.+)`\n\n\*(.+?)\.\* (.+)\n", text, re.MULTILINE)
    return once((name, {**_facts(facts), "meaning": meaning}) for name, facts, meaning in found)


def _facts(text: str) -> dict[str, Any]:
    kinds, *more = text.split("; ")
    named = dict(one.split(": ", 1) for one in more if ": " in one)
    return {
        "type in words": kinds,
        "default": json.loads(named["default"].strip("`")) if "default" in named else None,
        "secret": "secret" in more,
        "of a stream": "also per stream" in more,
    }


def readme() -> Told:
    """The README, which has the first of them."""
    text = (ROOT / "README.md").read_text("utf-8")
    table = text.partition("<!-- settings -->")[2].partition("<!-- /settings -->")[0]
    rows = re.findall(r"^\| `(\w+)` \| (?:`(.+?)`)? \| (.+) \|$", table, re.MULTILINE)
    return once(
        (name, {"default": json.loads(default) if default else None, "meaning": meaning})
        for name, default, meaning in rows
    )


def meltano_yml() -> Told:
    """It states no default, so that the target's own hold."""
    loader, *_ = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["loaders"]
    assert not any("value" in setting for setting in loader["settings"])
    return once(
        (
            setting["name"],
            {
                "kind": setting["kind"],
                "secret": setting.get("sensitive", False),
                "meaning": setting["description"],
            },
        )
        for setting in loader["settings"]
    )


def hub_entry() -> Told:
    path = ROOT / "hub/loaders/target-activecampaign/original.yml"
    return _on_the_hub(yaml.safe_load(path.read_text("utf-8")))


def hub_definition() -> Told:
    path = ROOT / "hub/loaders/target-activecampaign--original.lock"
    return _on_the_hub(json.loads(path.read_text("utf-8")))


def _on_the_hub(described: dict[str, Any]) -> Told:
    return once(
        (
            setting["name"],
            {
                "kind on the Hub": setting["kind"],
                "options": [option["value"] for option in setting.get("options", ())],
                "default": setting.get("value"),
                "secret": setting.get("sensitive", False),
                "meaning": setting["description"],
            },
        )
        for setting in described["settings"]
    )


PLACES = [
    about_as_json,
    about_as_text,
    about_as_markdown,
    reference,
    readme,
    meltano_yml,
    hub_entry,
    hub_definition,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_every_setting_is_told_of_as_it_is_and_no_other(place: Callable[[], Told]) -> None:
    shown = place()
    if place is readme:
        assert set(shown) < set(ALL)
        assert len(shown) >= 10
    else:
        assert set(shown) == set(ALL)
    for name, facts in shown.items():
        assert facts == {fact: FACTS[fact](name, ALL[name]) for fact in facts}, name


def test_those_that_are_secret_are_known() -> None:
    secret = {name for name, schema in ALL.items() if schema.get("secret")}
    urls = {"ledger_url", "on_complete_webhook", "outcomes_url", "rate_budget_url"}
    assert secret == {"api_key", *urls}
    assert secret == {name for name, schema in ALL.items() if schema.get("writeOnly")}
