"""The target as Meltano describes plugins: in meltano.yml, on Meltano Hub, and in a lock file.

All three are made from the settings and capabilities that `--about` shows. Run
`scripts/write_docs.py` to write them.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml
from environments import NEWEST, OLDEST
from settings_reference import schemas

from target_activecampaign.target import TargetActiveCampaign

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "meltano.yml"
VARIANT = "original"
"""Meltano's name for the variant of a plugin that has no other; see hub/README.md."""
ENTRY = ROOT / "hub/loaders/target-activecampaign" / f"{VARIANT}.yml"
LOCK = ROOT / "hub/loaders" / f"target-activecampaign--{VARIANT}.lock"

BEGIN = "    # Written by scripts/write_docs.py.\n"
END = "    # End of the part written by scripts/write_docs.py.\n"
WIDTH = 88
COMMANDS = """\
    commands:
      ledger:
        executable: target-activecampaign-ledger
        args: ''
        description: Show the contents of the ledger, and forget parts of it.
      preview:
        args: --config=ENV --dry-run
        description: Show what a run would do. Nothing is sent; STATE and the ledger do not change.
      test:
        args: --config=ENV --test
        description: Check that everything is ready for a run. Nothing is sent or created.
"""

GROUPS = [
    ["sandbox", "list_id"],
    ["sandbox", "streams"],
    ["api_url", "api_key", "data_privacy_consent", "list_id"],
    ["api_url", "api_key", "data_privacy_consent", "streams"],
]
"""Sets of settings that are enough for a run; `streams` if it has a list for each stream."""

PREAMBLE = """\
To try it without an account, set `sandbox` to true and `list_id` to a name. To load into an \
account, set `api_url`, `api_key`, `list_id` and, once someone authorised has agreed to the \
transfer of profile data, `data_privacy_consent`.
"""

ONLY_ON_THE_HUB = ("domain_url", "keywords", "maintenance_status", "quality", "settings_preamble")
"""Keys of the Hub's entry that Meltano does not use."""


def kind_of(types: str | list[str]) -> str:
    """Return Meltano's kind for a JSON type.

    All but objects and arrays are of kind `string`, which the target converts. Meltano takes a
    boolean that it does not understand for false, does not take a fraction for an `integer`, and
    fails to pass on a `decimal`.
    """
    first = types if isinstance(types, str) else types[0]
    return first if first in {"array", "object"} else "string"


def project() -> str:
    """Return the text of meltano.yml with the current settings and commands of the loader."""
    before, _, rest = PROJECT.read_text("utf-8").partition(BEGIN)
    settings = "".join(_setting_yaml(name, schema) for name, schema in schemas().items())
    return f"{before}{BEGIN}    settings:\n{settings}{COMMANDS}{END}{rest.partition(END)[2]}"


def _setting_yaml(name: str, schema: dict[str, Any]) -> str:
    lines = [f"- name: {name}", f"  kind: {kind_of(schema['type'])}"]
    lines += ["  sensitive: true"] if schema.get("secret") else []
    lines += ["  description: >-"]
    # YAML folds line breaks to blanks, so a line must not end within a word.
    lines += [
        f"    {line}"
        for line in textwrap.wrap(
            schema["description"], WIDTH, break_on_hyphens=False, break_long_words=False
        )
    ]
    return "".join(f"    {line}\n" for line in lines)


def entry_file() -> str:
    """Return the text of the entry for Meltano Hub."""
    return yaml.safe_dump(_entry(), allow_unicode=True)


def lock_file() -> str:
    """Return the text of the definition that Meltano keeps in a project."""
    entry = {name: value for name, value in _entry().items() if name not in ONLY_ON_THE_HUB}
    return f"{json.dumps({'plugin_type': 'loaders', **entry}, indent=2, ensure_ascii=False)}\n"


def _entry() -> dict[str, Any]:
    (loader,) = yaml.safe_load(PROJECT.read_text("utf-8"))["plugins"]["loaders"]
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
        # The Hub wants them in the order of their names.
        "settings": [_setting(name, schema) for name, schema in sorted(schemas().items())],
        "settings_group_validation": GROUPS,
        "settings_preamble": PREAMBLE,
    }


def _setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    setting = {
        "name": name,
        "label": _label(name),
        "description": schema["description"],
        "kind": kind_of(schema["type"]),
    }
    if "enum" in schema:
        options = [{"label": _label(value), "value": value} for value in schema["enum"]]
        setting |= {"kind": "options", "options": options}
    if schema.get("secret"):
        setting["sensitive"] = True
    if "default" in schema:
        setting["value"] = schema["default"]
    return setting


def _label(name: str) -> str:
    words = name.replace("_", " ").capitalize()
    return words.replace("Api", "API").replace(" url", " URL")
