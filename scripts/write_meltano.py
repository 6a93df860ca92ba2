"""Write the target's settings and commands into meltano.yml, as the target describes them.

Meltano needs the settings there to type and to hide values, and hands them to the commands; a
test says when they are out of date.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from settings_reference import schemas

PATH = Path(__file__).resolve().parent.parent / "meltano.yml"
BEGIN = "    # Written by scripts/write_meltano.py.\n"
END = "    # End of what scripts/write_meltano.py writes.\n"
WIDTH = 88
COMMANDS = """\
    commands:
      ledger:
        executable: target-activecampaign-ledger
        args: ''
        description: See what the ledger holds, and forget parts of it.
      preview:
        args: --config=ENV --dry-run
        description: See what a run would do; nothing is sent, STATE and ledger stay as they are.
      test:
        args: --config=ENV --test
        description: See whether everything is ready for a run; nothing is sent or made.
"""


def settings_yaml() -> str:
    """The `settings` of the loader in meltano.yml."""
    return "    settings:\n" + "".join(_setting_yaml(*one) for one in schemas().items())


def _setting_yaml(name: str, schema: dict[str, Any]) -> str:
    lines = [f"- name: {name}", f"  kind: {kind_of(schema['type'])}"]
    lines += ["  sensitive: true"] if schema.get("secret") else []
    lines += ["  description: >-"]
    # A line of YAML that is folded ends with a space, so none may end within a word.
    whole_words = textwrap.wrap(
        schema["description"], WIDTH, break_on_hyphens=False, break_long_words=False
    )
    lines += [f"    {line}" for line in whole_words]
    return "".join(f"    {line}\n" for line in lines)


def kind_of(types: str | list[str]) -> str:
    """Meltano's word for a JSON type.

    All but objects and arrays are of kind `string`, and the target reads them. Meltano takes a
    boolean that it does not understand for false, takes no fraction for an `integer`, and fails
    to hand on a `decimal`.
    """
    first = types if isinstance(types, str) else types[0]
    return first if first in {"array", "object"} else "string"


def written() -> str:
    """The text of meltano.yml with the settings and commands as they are now."""
    text = PATH.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{settings_yaml()}{COMMANDS}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PATH.write_text(written(), "utf-8")
