"""What docs/architecture.md says of the code is so, as far as a machine can see."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from target_activecampaign.ledger import schema as tables
from tests.docs.test_repository import ROOT
from tests.support.guide import DOCS

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "target_activecampaign"
TEXT = (DOCS / "architecture.md").read_text("utf-8")
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}


def test_every_module_is_named() -> None:
    described = {name for name in MODULES if not name.endswith("__init__.py")}
    # The long form, as several are called alike.
    missing = {name for name in described if f"`{name}`" not in TEXT}
    assert missing == set(), "say in docs/architecture.md what these are for"


def test_no_module_test_or_script_that_is_named_is_gone() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert name in MODULES or (ROOT / name).is_file(), name
    for folder in re.findall(r"`(\w+/)`", TEXT):
        assert (PACKAGE / folder).is_dir() or (ROOT / folder).is_dir(), folder


def test_no_class_method_or_constant_that_is_named_is_gone() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in MODULES.values()]
    classes = {
        node.name: {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    named = re.findall(r"`([A-Z]\w*[a-z]\w*)(?:\.(\w+))?`", TEXT)
    assert len(named) > 10
    for name, method in named:
        assert name in classes, name
        assert not method or method in classes[name], f"{name}.{method}"
    sources = "\n".join(path.read_text("utf-8") for path in MODULES.values())
    for constant in re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", TEXT):
        assert re.search(rf"^{constant}\b", sources, re.MULTILINE), constant


def test_every_table_of_the_ledger_is_described() -> None:
    part = TEXT.partition("\n## The ledger\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) == set(tables.metadata.tables)


# How modules import each other


def imports(path: Path) -> set[str]:
    """The modules of the package that one imports when it runs."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not for_types:
            waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    known = {_file(name) for name in found} & MODULES.keys()
    return known - {path.relative_to(PACKAGE).as_posix(), "__init__.py"}


def _file(name: str) -> str:
    path = name.partition("target_activecampaign.")[2].replace(".", "/")
    return f"{path}/__init__.py" if (PACKAGE / path).is_dir() else f"{path}.py"


def test_imports_run_one_way() -> None:
    graph = {name: imports(path) for name, path in MODULES.items()}
    # From a module of a package, that package's own `__init__.py` is there already.
    graph = {
        name: {one for one in ones if one != f"{name.rpartition('/')[0]}/__init__.py"}
        for name, ones in graph.items()
    }
    assert sum(map(len, graph.values())) > 200
    TopologicalSorter(graph).prepare()  # raises at a circle, and names it


SHARED = {"extras.py", "private_files.py", "sqlite_files.py"}
"""What the client, the ledger and the sandbox have in common; it knows of nothing else."""


def test_what_all_parts_share_needs_nothing_of_the_package() -> None:
    assert set().union(*(imports(PACKAGE / name) for name in SHARED)) <= SHARED


@pytest.mark.parametrize("folder", ["activecampaign", "ledger", "sandbox"])
def test_the_client_the_ledger_and_the_sandbox_stand_alone(folder: str) -> None:
    for name, path in MODULES.items():
        if name.startswith(f"{folder}/") and name != "ledger/command.py":
            others = {one for one in imports(path) if not one.startswith(f"{folder}/")}
            assert others <= SHARED, name


def test_nothing_imports_the_sandbox() -> None:
    users = {
        name
        for name, path in MODULES.items()
        if not name.startswith("sandbox/")
        and any(one.startswith("sandbox/") for one in imports(path))
    }
    assert users == set()


def test_one_module_alone_may_subscribe_somebody_again() -> None:
    users = {name for name, path in MODULES.items() if ".subscribe(" in path.read_text("utf-8")}
    assert users == {"returning.py"}
