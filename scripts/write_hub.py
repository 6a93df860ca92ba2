"""Write what Meltano Hub and Meltano want to know of the target into hub/.

The entry for Meltano Hub and the definition that Meltano keeps in a project say the same: the
target's settings and capabilities as `--about` tells them, and the commands in meltano.yml. A test
says when they are out of date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from environments import NEWEST, OLDEST
from settings_reference import schemas
from write_meltano import kind_of

from target_activecampaign.target import TargetActiveCampaign

ROOT = Path(__file__).resolve().parent.parent
VARIANT = "original"
"""What Meltano calls the variant of a plugin that has no other; see hub/README.md."""

ENTRY = ROOT / "hub/loaders/target-activecampaign" / f"{VARIANT}.yml"
LOCK = ROOT / "hub/loaders" / f"target-activecampaign--{VARIANT}.lock"

GROUPS = [
    ["sandbox", "list_id"],
    ["sandbox", "streams"],
    ["api_url", "api_key", "data_privacy_consent", "list_id"],
    ["api_url", "api_key", "data_privacy_consent", "streams"],
]
"""Each is enough to run with; `streams` when it has a list for each stream."""

PREAMBLE = """\
To try it without an account, set `sandbox` to true and `list_id` to a name. To load into an \
account, set `api_url`, `api_key`, `list_id` and, once someone who may decide that has agreed to \
it, `data_privacy_consent`.
"""

ONLY_ON_THE_HUB = ("domain_url", "keywords", "maintenance_status", "quality", "settings_preamble")
"""What the Hub shows to people, and doesn't hand on to Meltano."""


def entry() -> dict[str, Any]:
    """The target as Meltano Hub describes plugins."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    (loader,) = project["plugins"]["loaders"]
    return {
        "name": loader["name"],
        "namespace": loader["namespace"],
        "variant": VARIANT,
        "label": loader["label"],
        "description": "Email marketing and marketing automation",
        "domain_url": "https://www.activecampaign.com",
        "keywords": ["meltano_sdk"],
        "maintenance_status": "beta",
        "quality": "unknown",
        "pip_url": "target-activecampaign[sandbox]",
        "executable": loader["executable"],
        "supported_python_versions": [f"3.{n}" for n in range(OLDEST[1], NEWEST[1] + 1)],
        "capabilities": sorted(one.value for one in TargetActiveCampaign.capabilities),
        "commands": loader["commands"],
        "settings": _settings(),
        "settings_group_validation": GROUPS,
        "settings_preamble": PREAMBLE,
    }


def _settings() -> list[dict[str, Any]]:
    """The settings that `--about` tells of, in the order of their names as the Hub has them."""
    return [_setting(name, schema) for name, schema in sorted(schemas().items())]


def _setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    setting = {
        "name": name,
        "label": _words(name),
        "description": schema["description"],
        "kind": kind_of(schema["type"]),
    }
    if "enum" in schema:
        options = [{"label": _words(value), "value": value} for value in schema["enum"]]
        setting |= {"kind": "options", "options": options}
    if schema.get("secret"):
        setting["sensitive"] = True
    if "default" in schema:
        setting["value"] = schema["default"]
    return setting


def _words(value: str) -> str:
    words = value.replace("_", " ").capitalize()
    return words.replace("Api", "API").replace(" url", " URL")


def definition() -> dict[str, Any]:
    """The target as Meltano keeps the definitions of plugins in a project."""
    told = {name: value for name, value in entry().items() if name not in ONLY_ON_THE_HUB}
    return {"plugin_type": "loaders", **told}


def written() -> dict[Path, str]:
    """The files in hub/ as they should be."""
    return {
        ENTRY: yaml.safe_dump(entry(), allow_unicode=True),
        LOCK: f"{json.dumps(definition(), indent=2, ensure_ascii=False)}\n",
    }


if __name__ == "__main__":
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
