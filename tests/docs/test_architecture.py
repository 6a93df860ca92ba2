"""What docs/architecture.md says of the code is so, as far as a machine can see."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from target_activecampaign.ledger import schema
from tests.docs.test_repository import ROOT
from tests.support.guide import DOCS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeGuard

PACKAGES = (ROOT / "target_activecampaign", ROOT / "activecampaign_sandbox")
TEXT = (DOCS / "architecture.md").read_text("utf-8")
MODULES = {
    path.relative_to(package).as_posix()
    if package.name.startswith("target")
    else path.relative_to(ROOT).as_posix(): path
    for package in PACKAGES
    for path in package.rglob("*.py")
}


def test_no_module_test_or_script_that_is_named_is_gone() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert name in MODULES or (ROOT / name).is_file(), name


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
        assert re.search(rf"^ *{constant}\b", sources, re.MULTILINE), constant


def test_every_table_of_the_ledger_is_described() -> None:
    part = TEXT.partition("\n## The ledger\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)) == set(schema.metadata.tables)


def test_layers_are_told_as_they_are_checked() -> None:
    contracts = (ROOT / "pyproject.toml").read_text("utf-8")
    layers = re.search(r"layers = \[(.*?)\]", contracts, re.DOTALL)
    assert layers is not None
    told = TEXT.partition("<!-- example: layers -->")[2].split("```")[1].removeprefix("text")
    assert " ".join(told.split()) == " > ".join(re.findall(r'"([^"]+)"', layers[1]))


def test_imports_run_downward_without_a_circle() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_package_says_what_it_is_for() -> None:
    for package in PACKAGES:
        for path in package.rglob("__init__.py"):
            assert len(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "") > 20, path


def test_records_become_contacts_at_one_call_site() -> None:
    ours = {name: path for name, path in MODULES.items() if PACKAGES[0] in path.parents}
    calls = [
        name
        for name, path in ours.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "to_contact"
    ]
    assert calls == ["sync/window.py"]
    made = {
        name
        for name, path in ours.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Contact"
    }
    # The others merge two contacts, look up one, and remove one from a list.
    others = {"model/contact.py", "delivery/control.py", "sync/segment.py"}
    assert made - others == {"mapping/mapping.py"}


MOST_CALLABLES = 8
"""Functions that constructors take in all: parts are handed objects."""


def test_constructors_take_few_functions() -> None:
    found = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found += [f"{name}: {node.name}.{one}" for one in _functions_taken(node)]
    found = [one for one in found if not one.startswith("activecampaign_sandbox")]
    assert len(found) <= MOST_CALLABLES, "\n".join(found)


def _functions_taken(node: ast.ClassDef) -> Iterator[str]:
    """The parameters and fields of a class's constructor that are functions."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            for argument in (*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs):
                if argument.annotation and "Callable" in ast.unparse(argument.annotation):
                    yield argument.arg
        elif isinstance(one, ast.AnnAssign) and "Callable" in ast.unparse(one.annotation):
            yield ast.unparse(one.target)


def test_private_parts_of_the_sdk_are_used_in_one_module() -> None:
    users = set()
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("singer_sdk"):
                parts = [*(node.module or "").split("."), *(one.name for one in node.names)]
                if any(part.startswith("_") for part in parts):
                    users.add(name)
    assert users == {"singer/sdk_compat.py"}


def test_few_modules_stand_at_the_root() -> None:
    assert len(list(PACKAGES[0].glob("*.py"))) <= 7


def test_one_module_alone_may_subscribe_somebody_again() -> None:
    users = {name for name, path in MODULES.items() if ".subscribe(" in path.read_text("utf-8")}
    assert users == {"delivery/resubscribe.py"}


CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")


def test_no_test_patches_a_constant_of_the_target() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in (ROOT / "tests").rglob("*.py")
        for line in _patched_constants(ast.parse(path.read_text("utf-8")))
    ]
    assert not found, f"use `Timings` instead: {found}"


@pytest.mark.parametrize(
    "code",
    [
        "patched = {'target_activecampaign.ledger.retries.LONGEST': 1}",
        "monkeypatch.setattr('target_activecampaign.ledger.retries._LONGEST', 1)",
        "module = 'target_activecampaign.ledger.retries'; patched = {f'{module}._LONGEST': 1}",
        "from target_activecampaign.ledger import retries; setattr(retries, '_LONGEST', 1)",
        "from target_activecampaign.ledger import retries as r; patch.setattr(r, 'LONGEST', 1)",
        "import target_activecampaign.run; target_activecampaign.run.LONGEST = 1",
    ],
)
def test_patched_constant_is_found(code: str) -> None:
    assert _patched_constants(ast.parse(code)) == [1]


def test_patched_constant_of_others_is_allowed() -> None:
    code = "import demo; patch.setattr(demo, 'PORT', 1); TEXT = 'target_activecampaign.run is it'"
    assert not _patched_constants(ast.parse(code))


def _patched_constants(tree: ast.Module) -> list[int]:
    """The lines where code replaces a constant of the target, or names one by its dotted path."""
    ours = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            ours |= {one.asname or one.name for one in node.names}
        elif isinstance(node, ast.Import):
            ours |= {one.asname or PACKAGES[0].name for one in node.names if _is_ours(one.name)}
    named = [node.lineno for node in ast.walk(tree) if _names_constant(node)]
    return named + [node.lineno for node in ast.walk(tree) if _sets_constant(node, ours)]


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGES[0].name


def _names_constant(node: ast.AST) -> TypeGuard[ast.expr]:
    """Return whether a text is the dotted path of a constant."""
    if isinstance(node, ast.JoinedStr):  # such as f"{module}.NAME"
        text = "".join(
            str(part.value) if isinstance(part, ast.Constant) else PACKAGES[0].name
            for part in node.values
        )
    else:
        text = str(node.value) if isinstance(node, ast.Constant) else ""
    module, _, name = text.rpartition(".")
    return bool(re.fullmatch(rf"{PACKAGES[0].name}(\.\w+)*", module) and CONSTANT.fullmatch(name))


def _sets_constant(node: ast.AST, ours: set[str]) -> TypeGuard[ast.expr]:
    """Return whether something sets a constant of an imported module."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "patch.object")):
        target, name = [ast.unparse(one).strip("'") for one in (*node.args, node.func)][:2]
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        target, name = ast.unparse(node.value), node.attr
    else:
        return False
    return target.partition(".")[0] in ours and bool(CONSTANT.fullmatch(name))
