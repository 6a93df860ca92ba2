"""The tables of docs/support.md: what was verified, by what, and what was not."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from environments import NEWEST, OLDEST

from activecampaign_sandbox.options import switches
from target_activecampaign.model.facts import ANY, FACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

CALLS = {
    "GET /users/me": "check the key",
    "GET /users/:id/userGroup": "find the groups of the key's user, for `create_list`",
    "GET /lists": "find the list",
    "POST /lists": "create a list, with `create_list`",
    "POST /listGroups": "show a new list to these groups",
    "GET /lists/exclusions": "read the exclusion list",
    "POST /import/bulk_import": "import contacts",
    "GET /import/bulk_import": "see whether the import queue has work, after a lost answer",
    "GET /import/info": "confirm an import",
    "GET /contacts": "find contacts, members, opt-outs and bounces",
    "GET /contacts/:id": "find out why a contact was refused",
    "PUT /contacts/:id": "rename a contact, or clear its `membership_field`",
    "GET /contacts/:id/contactLists": "read the lists of a contact, and their dates",
    "GET /contacts/:id/bounceLogs": "read the bounces of a contact",
    "GET /contacts/:id/contactTags": "find the tag of a removed contact",
    "GET /contacts/:id/fieldValues": "read values, for `only_if_empty`",
    "POST /contactLists": "unsubscribe a contact, or subscribe it again",
    "DELETE /contactTags/:id": "remove the tag of a removed contact",
    "GET /tags": "find a tag",
    "GET /fields": "read the custom fields",
    "GET /fields/:id": "read a custom field with its options",
    "POST /fields": "create a custom field",
    "POST /fieldRels": "show a custom field on a list",
    "POST /fieldOption/bulk": "add options to a custom field",
    "GET /fieldValues": "read values, for `only_if_empty`",
}
"""The API calls of the client, and what they are for."""

SOURCES = {
    "doc": "documented",
    "rec": "recorded with a real account",
    "rep": "reported by others",
    "unv": "a guess",
}
"""The sandbox's marks in words."""

PLUGINS = {
    "tap-jsonl": "the tests run it with Meltano",
    "tap-spreadsheets": "the tests run it with Meltano",
    "meltanolabs-tap-postgres": "the tests run it with Meltano and PostgreSQL, for whole tables, "
    "changed rows and change logs, and replay what it sent",
    "meltanolabs-target-postgres": "the tests load `tap-activecampaign-consent` into it",
}
"""The plugins of meltano.yml that are not of this package, and what was tried with them."""


def calls_table() -> str:
    """Return the table of API calls, and whether a recording of a real account shows them.

    Raises:
        SystemExit: `CALLS` does not have the calls of the client.
    """
    made = set(_calls_of_the_client())
    if made != set(CALLS):
        raise SystemExit(f"Correct CALLS in {__file__}: {sorted(made ^ set(CALLS))}")
    recorded = set(_recorded_calls())
    rows = [
        "| call | the target uses it to | recorded with a real account |",
        "| --- | --- | --- |",
    ]
    rows += [
        f"| `{call}` | {use} | {'yes' if call in recorded else 'no, only documented'} |"
        for call, use in sorted(CALLS.items(), key=lambda one: one[0].partition(" ")[::-1])
    ]
    return "\n".join(rows)


def _calls_of_the_client() -> Iterator[str]:
    """Yield the calls in the source of the client, such as `GET /contacts/:id`."""
    for path in (ROOT / "target_activecampaign" / "client").glob("*.py"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            paths = {
                node.targets[0].id: node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            for node in ast.walk(function):
                match node:
                    case ast.Call(
                        func=ast.Attribute(attr="_call"), args=[ast.Constant(value=verb), where, *_]
                    ):
                        pass
                    case ast.Call(func=ast.Attribute(attr="_all_pages"), args=[where, *_]):
                        verb = "GET"
                    case _:
                        continue
                if isinstance(where, ast.Name):
                    if where.id not in paths:
                        continue  # a parameter: its callers have the path
                    where = paths[where.id]
                yield f"{verb!s} {_path(where)}"


def _path(node: ast.expr) -> str:
    """Return the path that an expression stands for, with `:id` for each value in it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(one.value) if isinstance(one, ast.Constant) else ":id" for one in parts)


def _recorded_calls() -> Iterator[str]:
    """Yield the calls of which there is a recorded answer that the sandbox is compared with."""
    for path in (ROOT / "tests" / "sandbox" / "expectations").glob("*.json"):
        recorded = json.loads(path.read_text("utf-8"))
        where = re.sub(r"\{\w+\}", ":id", recorded["path"].removeprefix("/api/3"))
        yield f"{recorded['method']} {where.partition('?')[0]}"


def facts_table() -> str:
    """Return the table of assumptions about the API, with their sources."""
    known = {switch.name: switch for switch in switches()}
    rows = ["| question | assumed | source | if it differs |", "| --- | --- | --- | --- |"]
    for fact in FACTS:
        assumed = "nothing" if fact.assumed == ANY else f"`{fact.assumed}`"
        switch = known[fact.name]
        # The mark is that of the sandbox's default, which the target need not assume.
        source = SOURCES[switch.mark if fact.assumed == str(switch.default) else "unv"]
        source = "" if fact.assumed == ANY else source
        effect = "the target adapts" if fact.adapts else "**you have to act**"
        rows.append(f"| {fact.question} | {assumed} | {source} | {effect} |")
    return "\n".join(rows)


def plugins_table() -> str:
    """Return the table of plugins of others that were tried, with their versions.

    Raises:
        SystemExit: `PLUGINS` lacks one.
    """
    project: dict[str, Any] = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))
    urls = [one.get("pip_url", "") for group in project["plugins"].values() for one in group]
    found = dict(url.split("==") for url in urls if "==" in url)
    if found.keys() != PLUGINS.keys():
        raise SystemExit(f"Correct PLUGINS in {__file__}: {found.keys() ^ PLUGINS.keys()}")
    rows = ["| plugin | version | what was tried |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {found[name]} | {tried} |" for name, tried in PLUGINS.items()]
    witness = _locked("witness", "tap-activecampaign")
    tried = "a test reads back with it what the target has loaded, from the sandbox"
    return "\n".join([*rows, f"| `tap-activecampaign` | {witness} | {tried} |"])


def platforms_table() -> str:
    """Return the table of the versions that the target needs, and those of the tests."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (sdk,) = re.findall(r'"singer-sdk>=([\d.]+),<([\d.]+)"', text)
    oldest, newest = (".".join(map(str, one)) for one in (OLDEST, NEWEST))
    rows = (
        ("Python", f"{oldest} to {newest}", "each version, in CI"),
        (
            "Meltano SDK (`singer-sdk`)",
            f"from {sdk[0]}, below {sdk[1]}",
            _locked("package", "singer-sdk"),
        ),
        ("Meltano", "not needed", _locked("meltano", "meltano")),
    )
    head = ["| | needed | tested with |", "| --- | --- | --- |"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _locked(lock: str, package: str) -> str:
    """Return the version of a package in a lock file."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8")
    (version,) = re.findall(rf"^{package}==(\S+)", text, re.MULTILINE)
    return str(version)
