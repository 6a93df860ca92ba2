"""The code speaks the field's plain English: no name and no phrase of the language it once had.

CONTRIBUTING says how to write; here stands what can be checked by a program.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("target_activecampaign", "activecampaign_sandbox")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TEXTS = [
    *MODULES,
    *sorted((ROOT / "target_activecampaign").rglob("*.html")),
    *sorted((ROOT / "activecampaign_sandbox").rglob("*.html")),
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "meltano.yml")),
]

OLD_NAMES = {
    "Flights",
    "Flight",
    "came_to_nothing",
    "UnderWay",
    "enter_once_there_is_room",
    "Leaving",
    "_let_go",
    "_sort_out",
    "_goes",
    "Returns",
    "bring_back",
    "comes_back",
    "Intake",
    "long_way",
    "_long_way",
    "_see_to",
    "_put",
    "Comparison",
    "proved",
    "raws_to_note",
    "Candidate",
    "find_members",
    "Roster",
    "began",
    "tell_of_dropped",
    "kept_where_filled",
    "Passage",
    "took",
    "peopled",
    "number_of_pass",
    "Suspects",
    "guilty",
    "IndexBase",
    "Diagnosis",
    "may_ask",
    "seems_full",
    "Settlement",
    "SETTLED",
    "kept",
    "settled",
    "where_it_failed",
    "shareable",
    "several",
    "Announced",
    "Waiting",
    "write_if_among",
    "allowed",
    "surely_left",
    "let_stay",
    "asked_to_return",
    "OURS",
    "FOUND",
    "LEFT",
    "GONE",
    "MAYBE",
    "UNKNOWN",
    "makes",
    "provable",
    "person",
    "Placing",
    "misfit",
    "listed",
    "became",
    "hint",
    "remembered",
    "dumped",
    "loaded",
    "leaves_alone",
    "removes",
    "taken_back",
    "_bear_with_silence",
    "_refusals_in_vain",
}
"""Names that may not be given to anything: function, class, parameter, attribute or variable."""

OLD_FUNCTIONS = {"attempt", "held_back", "install", "mark"}
"""Names that functions may not have. As variables they are plain; `held_back` is a report key."""

OLD_PHRASES = (
    "asking what became of them",
    "what has become of",
    "what becomes of",
    "come to nothing",
    "came to nothing",
    "nobody leaves, whatever",
    "takes stock",
    "this is a fault of ours",
    "whom a complete stream no longer has",
    "that have no place",
    "although the tap never says so",
    "is where it belongs",
    "to whose membership nothing has happened",
    "stop nothing",
    "has it looked at anew",
    "how often state may leave",
    "contacts an import",
    "leave for activecampaign",
    "bear with",
    "in vain",
    "let go",
)
"""Phrases that stand in no text, whatever the case and however the lines are broken."""

QUESTION = re.compile(r"(What|Whether|Whom|Whose|Who|Where|Which|When|Why|How)\b")


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a module gives to something, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Docstrings of a module, its classes, functions and attributes, with their lines."""
    for node in ast.walk(tree):
        body = getattr(node, "body", ())
        for statement in body if isinstance(body, list) else ():
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield statement.lineno, statement.value.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_name_is_of_the_old_language(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    found = [f"{line}: {name}" for line, name in bound_names(tree) if name in OLD_NAMES]
    found += [
        f"{node.lineno}: {node.name}()"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name in OLD_FUNCTIONS
    ]

    assert not found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_of_the_old_language(path: Path) -> None:
    # Adjacent literals are one text; so are lines of a paragraph.
    text = re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8"))
    text = re.sub(r"[\s#]+", " ", text).lower()

    assert not [phrase for phrase in OLD_PHRASES if phrase in text]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_is_a_question(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))

    assert not [line for line, text in docstrings(tree) if QUESTION.match(text.strip())]
