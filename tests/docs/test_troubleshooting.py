"""The guide to symptoms quotes the log: each text that it quotes is one that the target has."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from target_activecampaign.model.codes import CODES
from tests.docs.test_repository import ROOT
from tests.support.guide import DOCS

if TYPE_CHECKING:
    from collections.abc import Iterator

ANYTHING = "\0"
"""What stands for a name or a number in a text of the target."""


def quotes() -> list[str]:
    """The quoted texts of the first column: those of several words, or with a colon."""
    lines = (DOCS / "troubleshooting.md").read_text("utf-8").splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| ")]
    found = [text for cell in cells for text in re.findall("`([^`]+)`", cell)]
    return [
        text
        for text in found
        if text not in CODES and (" " in text or text.endswith(":")) and "target-act" not in text
    ]


def texts() -> Iterator[str]:
    """The texts in the target's code, with a mark for each value that is filled in."""
    for path in (ROOT / "target_activecampaign").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            text = "".join(
                part.value
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
                else ANYTHING
                for part in parts
            )
            yield re.sub(r"%[,.\d]*[sdfg]", ANYTHING, text)


TEXTS = "\n".join(texts())


@pytest.mark.parametrize("quote", quotes())
def test_a_quoted_text_is_one_of_the_target(quote: str) -> None:
    pattern = f"[^\n]*{ANYTHING}[^\n]*?".join(map(re.escape, quote.split("...")))
    assert re.search(pattern, TEXTS)


def test_texts_are_quoted() -> None:
    assert len(quotes()) > 25
