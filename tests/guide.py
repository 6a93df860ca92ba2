"""The examples of the documentation, to be run as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent.parent / "docs"


def example(file: str, name: str) -> dict[str, Any]:
    """The JSON block of a file in docs/ that follows `<!-- example: name -->`."""
    text = (DOCS / file).read_text("utf-8")
    found = re.search(
        rf"<!-- example: {re.escape(name)} -->\n\n```json\n(.+?)\n```", text, re.DOTALL
    )
    assert found, f"docs/{file} has no example '{name}'"
    value: dict[str, Any] = json.loads(found[1])
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
