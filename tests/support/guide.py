"""The examples of the documentation, to be run as they stand there.

Each block in backticks follows a comment with its name::

    <!-- example: profile -->

    ```json
    ...
    ```

A test claims it by asking for it, with its file and name written out: `example("mapping.md",
"profile")` for what it says as JSON or YAML, `block("mapping.md", "profile")` for its text.
`tests/docs/test_examples.py` runs the shell's, and tells of those that nobody has claimed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w-]*)\s*")
_NAME = re.compile(r" *<!-- example: (.+) -->\s*")


class Example(NamedTuple):
    """A block of a document.

    Attributes:
        file: The document, by its path from docs/.
        name: Its name; empty if it has none.
        line: Where it begins.
        language: What stands behind its backticks.
        text: What it says.
    """

    file: str
    name: str
    line: int
    language: str
    text: str


def examples(file: str) -> list[Example]:
    """All blocks of a document."""
    found: list[Example] = []
    name, fence, begin = "", None, 0
    lines = (DOCS / file).read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        if fence is not None and line.strip() == fence["fence"]:
            inside = lines[begin + 1 : number]
            text = "".join(f"{one.removeprefix(fence['indent'])}\n" for one in inside)
            found.append(Example(file, name, begin + 1, fence["language"], text))
            name, fence = "", None
        elif fence is None:
            fence, begin = _FENCE.fullmatch(line), number
            if fence is None and line.strip():
                named = _NAME.fullmatch(line)
                name = named[1] if named else ""
    assert fence is None, f"{file}: the block that begins in line {begin + 1} has no end"
    return found


def _named(file: str, name: str) -> Example:
    found = [one for one in examples(file) if one.name == name]
    assert len(found) == 1, f"{file} has {len(found)} examples with the name '{name}'"
    return found[0]


def block(file: str, name: str) -> str:
    """The text of an example.

    Args:
        file: The document, by its path from docs/.
        name: The example's name.
    """
    return _named(file, name).text


def example(file: str, name: str) -> dict[str, Any]:
    """What an example says, as JSON or YAML; see `block`."""
    found = _named(file, name)
    value: dict[str, Any] = (json.loads if found.language == "json" else yaml.safe_load)(found.text)
    return value


def schema_of(value: Any) -> dict[str, Any]:
    """A JSON schema that a value fits, as a tap would announce it."""
    if isinstance(value, dict):
        properties = {name: schema_of(one) for name, one in value.items()}
        return {"type": ["object", "null"], "properties": properties}
    if isinstance(value, list):
        return {"type": ["array", "null"], "items": schema_of(value[0]) if value else {}}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    schema: dict[str, Any] = {"type": [kinds[type(value)], "null"]}
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        schema["format"] = "date-time"
    return schema
