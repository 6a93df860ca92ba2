"""The target and the tap as Meltano describes plugins: in meltano.yml, on its Hub, in a lock file.

All three are made from the settings and capabilities that `--about` shows. Run
`scripts/write_docs.py` to write them.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from environments import NEWEST, OLDEST
from settings_reference import schemas

from target_activecampaign.tap.tap import TapActiveCampaignConsent
from target_activecampaign.target import TargetActiveCampaign

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "meltano.yml"
VARIANT = "original"
"""Meltano's name for the variant of a plugin that has no other; see hub/README.md."""

END = "    # End of the part written by scripts/write_docs.py.\n"
WIDTH = 88

ONLY_ON_THE_HUB = ("domain_url", "keywords", "maintenance_status", "quality", "settings_preamble")
"""Keys of the Hub's entry that Meltano does not use."""


@dataclass(frozen=True)
class Plugin:
    """A plugin of the distribution.

    Attributes:
        kind: `extractors` or `loaders`.
        plugin: Its class.
        description: What the Hub says of the service.
        commands: Its commands, as a part of meltano.yml.
        groups: Sets of settings that are enough for a run.
        preamble: What the Hub says above the settings.
    """

    kind: str
    plugin: type[TargetActiveCampaign | TapActiveCampaignConsent]
    commands: str
    groups: tuple[tuple[str, ...], ...]
    preamble: str
    description: str = "Email marketing and marketing automation"

    @property
    def name(self) -> str:
        """Its name."""
        return self.plugin.name

    @property
    def begin(self) -> str:
        """The line above its generated part of meltano.yml."""
        return f"    # {self.name}, written by scripts/write_docs.py.\n"

    @property
    def entry(self) -> Path:
        """The file with its entry for the Hub."""
        return ROOT / "hub" / self.kind / self.name / f"{VARIANT}.yml"

    @property
    def lock(self) -> Path:
        """The file with the definition that Meltano keeps in a project."""
        return ROOT / "hub" / self.kind / f"{self.name}--{VARIANT}.lock"


TARGET = Plugin(
    "loaders",
    TargetActiveCampaign,
    """\
    commands:
      ledger:
        executable: target-activecampaign-ledger
        args: ''
        description: Show the contents of the ledger, and forget parts of it.
      preview:
        args: --config=ENV --dry-run
        description: Show what a run would do. Nothing is sent; STATE and the ledger do not change.
      first:
        args: --config=ENV --limit=10
        description: Send the first 10 contacts and show whether they arrive as meant.
      test:
        args: --config=ENV --test
        description: Check that everything is ready for a run. Nothing is sent or created.
      facts:
        args: --config=ENV --facts
        description: Show what --verify has found out about the account. Nothing is sent.
""",
    # `streams` if it has a list for each stream.
    (
        ("sandbox", "list_id"),
        ("sandbox", "streams"),
        ("api_url", "api_key", "data_privacy_consent", "list_id"),
        ("api_url", "api_key", "data_privacy_consent", "streams"),
    ),
    """\
To try it without an account, set `sandbox` to true and `list_id` to a name. To load into an \
account, set `api_url`, `api_key`, `list_id` and, once someone authorised has agreed to the \
transfer of profile data, `data_privacy_consent`.
""",
)

TAP = Plugin(
    "extractors",
    TapActiveCampaignConsent,
    "",
    (("sandbox",), ("api_url", "api_key")),
    """\
To read an account, set `api_url` and `api_key`; nothing in it is changed. The records are of \
people who do not want mail, or can't get it: set `addresses` to `sha256` to get hashes of their \
addresses.
""",
)

PLUGINS = (TAP, TARGET)


def kind_of(types: str | list[str]) -> str:
    """Return Meltano's kind for a JSON type.

    All but objects and arrays are of kind `string`, which the plugins convert. Meltano takes a
    boolean that it does not understand for false, does not take a fraction for an `integer`, and
    fails to pass on a `decimal`.
    """
    first = types if isinstance(types, str) else types[0]
    return first if first in {"array", "object"} else "string"


def project() -> str:
    """Return the text of meltano.yml with the current settings and commands of the plugins."""
    text = PROJECT.read_text("utf-8")
    for one in PLUGINS:
        before, _, rest = text.partition(one.begin)
        listed = schemas(one.plugin).items()
        settings = "".join(_setting_yaml(name, schema) for name, schema in listed)
        part = f"{one.begin}    settings:\n{settings}{one.commands}{END}"
        text = f"{before}{part}{rest.partition(END)[2]}"
    return text


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


def entry_file(plugin: Plugin) -> str:
    """Return the text of a plugin's entry for Meltano Hub."""
    return yaml.safe_dump(_entry(plugin), allow_unicode=True)


def lock_file(plugin: Plugin) -> str:
    """Return the text of the definition of a plugin that Meltano keeps in a project."""
    entry = {name: value for name, value in _entry(plugin).items() if name not in ONLY_ON_THE_HUB}
    return f"{json.dumps({'plugin_type': plugin.kind, **entry}, indent=2, ensure_ascii=False)}\n"


def _entry(plugin: Plugin) -> dict[str, Any]:
    listed = yaml.safe_load(PROJECT.read_text("utf-8"))["plugins"][plugin.kind]
    (ours,) = (one for one in listed if one["name"] == plugin.name)
    return {
        "name": ours["name"],
        "namespace": ours["namespace"],
        "variant": VARIANT,
        "label": ours["label"],
        "description": plugin.description,
        "domain_url": "https://www.activecampaign.com",
        "keywords": ["meltano_sdk"],
        "maintenance_status": "beta",
        "quality": "unknown",
        "pip_url": "target-activecampaign[sandbox]",
        "executable": ours["executable"],
        "supported_python_versions": [f"3.{n}" for n in range(OLDEST[1], NEWEST[1] + 1)],
        "capabilities": sorted(one.value for one in plugin.plugin.capabilities),
        **({"commands": ours["commands"]} if plugin.commands else {}),
        # The Hub wants them in the order of their names.
        "settings": [
            _setting(name, schema) for name, schema in sorted(schemas(plugin.plugin).items())
        ],
        "settings_group_validation": [list(group) for group in plugin.groups],
        "settings_preamble": plugin.preamble,
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
