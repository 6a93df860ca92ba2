"""Each example of the documentation is run, or it is said why it is not.

Those that belong to a feature are run by its tests; here are the shell's, and the check that nobody
has forgotten one. How a test claims an example stands in `tests/support/guide.py`.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml
from jsonschema import Draft7Validator

from target_activecampaign.config import settings
from target_activecampaign.config import validation as config
from target_activecampaign.reporting.progress import Figures
from tests.docs.test_repository import ROOT, tracked
from tests.support.guide import DOCS, block, example, examples
from tests.support.ledgers import LEDGER
from tests.support.shell import Shell
from tests.support.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

NOT_RUN = {
    ("../README.md", "demo"): "`.ci/run` runs it, from a clean clone",
    ("../README.md", "tests"): "it runs these tests",
    ("../CONTRIBUTING.md", "tests"): "it runs these tests",
    ("../CONTRIBUTING.md", "some tests"): "it runs some of these tests",
    ("../CONTRIBUTING.md", "unit tests"): "likewise",
    (
        "../tests/integration/recordings/README.md",
        "record",
    ): "it takes minutes; test_changes.py makes some of them",
    ("architecture.md", "parts"): "a drawing",
    ("architecture.md", "layers"): "a drawing",
    ("operations.md", "journey"): "a drawing",
    (
        "outcomes.md",
        "load the files",
    ): "target-postgres is not installed; test_outcomes.py loads the files by their keys",
    (
        "performance.md",
        "measure",
    ): "it takes minutes; test_benchmarks.py runs a small size",
    ("scale.md", "jobs"): "a drawing",
    ("tutorial.md", "install"): "it asks an index; tests/docs/test_package.py installs the wheel",
}
"""The examples that no test runs, by document and name, and why."""

MELTANO_YML = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))


# All of them


def documents() -> list[str]:
    """Every document, by its path from docs/."""
    return [os.path.relpath(path, DOCS) for path in tracked() if path.suffix == ".md"]


def asked_for() -> set[tuple[str, str]]:
    """The examples that tests ask for, by document and name as they are written there."""
    found = set()
    for path in [*(ROOT / "tests").rglob("*.py"), *(ROOT / "nightly").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(
                    func=ast.Name(id="block" | "example"),
                    args=[ast.Constant(value=str(file)), ast.Constant(value=str(name))],
                ):
                    found.add((file, name))
    return found


def test_every_example_is_run_or_it_is_said_why_not() -> None:
    found = [one for document in documents() for one in examples(document)]
    # Those are a session, which has no names: tests/docs/test_tutorial.py runs them all.
    assert {one.file for one in found if one.language == "console"} == {"tutorial.md"}
    found = [one for one in found if one.language != "console"]
    nameless = [f"{one.file}, line {one.line}" for one in found if not one.name]
    assert not nameless, "write `<!-- example: NAME -->` above them, see tests/support/guide.py"
    names = [(one.file, one.name) for one in found]
    assert len(names) == len(set(names)), "a name stands twice in a document"
    claimed = asked_for()
    assert not claimed & NOT_RUN.keys()
    assert set(names) - claimed - NOT_RUN.keys() == set(), "no test asks for these"
    assert (claimed | NOT_RUN.keys()) - set(names) == set(), "no document has these"


def test_settings_that_sentences_give_are_valid() -> None:
    known = settings.json_schema()["properties"]
    given = [
        (document, *pair)
        for document in documents()
        for pair in re.findall(r"`(\w+): ([^`]+)`", (DOCS / document).read_text("utf-8"))
        if pair[0] in known
    ]
    assert len(given) > 20
    for document, name, value in given:
        # A value that is left open, such as `postgresql://...`, is text to YAML as well.
        problems = [*Draft7Validator(known[name]).iter_errors(yaml.safe_load(value))]
        assert not problems, f"{document}: {name}: {value}"


# The shell's


@pytest.fixture
def shell(load: TargetRunner) -> Shell:
    """A shell beside a configuration for the sandbox."""
    shell = Shell(load.folder)
    for name in ("config.json", "target.json"):
        (shell.folder / name).write_text(json.dumps(load.config), "utf-8")
    (shell.folder / "tap.json").write_text("{}", "utf-8")
    return shell


def some_tap(shell: Shell, *messages: dict[str, Any]) -> None:
    """Let a tap write messages."""
    (shell.folder / "messages.jsonl").write_bytes(lines(messages))
    shell.stand_in("some-tap", "cat messages.jsonl")


def test_readme_a_tap_is_piped_into_the_target(shell: Shell, sandbox: SandboxServer) -> None:
    some_tap(shell, schema(), *people(3), state({"read": 3}))

    shell(block("../README.md", "pipe"))

    assert json.loads((shell.folder / "state.json").read_text("utf-8")) == {"read": 3}
    assert len(sandbox.export()) == 3


def test_readme_meltano_knows_what_it_is_asked_for(shell: Shell) -> None:
    shell.stand_in("meltano")

    shell(block("../README.md", "own account"))

    plugins = MELTANO_YML["plugins"]
    loader, *_ = plugins["loaders"]
    names = {one["name"] for one in plugins["extractors"]} | {loader["name"]}
    invoked, ran = shell.told("meltano")
    for environment, *_ in (invoked, ran):
        assert environment.removeprefix("--environment=") in {
            one["name"] for one in MELTANO_YML["environments"]
        }
    assert invoked[1] == "invoke"
    name, _, command = invoked[2].partition(":")
    assert (name, command in loader["commands"]) == (loader["name"], True)
    assert ran[1] == "run"
    assert set(ran[2:]) <= names


def test_contributing_the_checks_are_those_of_ci() -> None:
    in_ci = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    for command in block("../CONTRIBUTING.md", "checks").split("&&"):
        assert command.strip() in in_ci


def test_settings_the_file_is_a_valid_one() -> None:
    given = {"api_key": "a-key", **example("settings.md", "file")}
    schema = settings.json_schema()
    assert config.find_problems(given, schema) == []
    assert config.unknown_settings(given, schema["properties"]) == []


def test_settings_the_extras_are_those_of_the_package() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    part = pyproject.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    table = (DOCS / "settings.md").read_text("utf-8").partition("| extra |")[2]
    listed = re.findall(r"^\| `(\w+)` \|", table.partition("<!-- settings -->")[0], re.MULTILINE)
    assert listed == re.findall(r"^(\w+) = \[", part, re.MULTILINE)


def test_settings_variables_stand_beside_a_file(
    shell: Shell, load: TargetRunner, sandbox: SandboxServer
) -> None:
    some_tap(shell, schema(), *people(1))
    given = {name: value for name, value in load.config.items() if name != "api_key"}
    (shell.folder / "target.json").write_text(json.dumps(given), "utf-8")

    shell(block("settings.md", "variables").replace("the key from the account", sandbox.api_key))

    (contact,) = sandbox.export()
    assert contact["tags"] == ["from-warehouse"]


def test_errors_refused_records_are_looked_at_corrected_and_sent_in_again(
    shell: Shell, load: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = load([schema(), *people(2), record("ada(at)example.com")]).succeeded()
    again = block("errors.md", "again")
    (file,) = outcome.reject_files
    file = file.rename(shell.folder / shlex.split(again)[1])

    assert re.search(r"profiles +EMAIL_INVALID +1 ", shell(block("errors.md", "look")))

    file.write_text(file.read_text("utf-8").replace("ada(at)", "ada@"), "utf-8")
    shell(again)
    assert "ada@example.com" in sandbox.contacts()


def test_operations_the_target_is_tested_before_the_first_run(shell: Shell) -> None:
    shell.stand_in("meltano")
    assert "Valid; the consent" in shell(block("operations.md", "test"))
    (told,) = shell.told("meltano")
    assert told == ["invoke", "target-activecampaign:test"]


def test_operations_the_mapping_is_tested_with_messages_or_a_catalog(shell: Shell) -> None:
    some_tap(shell, schema(), *people(1))
    entry = {"tap_stream_id": "profiles", "selected": True, "schema": schema()["schema"]}
    catalog = {"streams": [{**entry, "metadata": []}]}
    (shell.folder / "catalog.json").write_text(json.dumps(catalog), "utf-8")

    shown = shell(block("operations.md", "test of the mapping"))

    checks = [line.split("  ")[0] for line in shown.splitlines()]
    assert checks.count("mapping of profiles") == 2


def test_operations_a_run_is_previewed(
    shell: Shell, load: TargetRunner, sandbox: SandboxServer
) -> None:
    some_tap(shell, schema(), *people(1), state({"read": 1}))
    shell.stand_in("meltano", "cat > /dev/null")

    assert shell(block("operations.md", "preview")) == "", "no STATE"

    assert sandbox.export() == []
    (report,) = (shell.folder / "reports").glob("*.json")
    assert json.loads(report.read_text("utf-8"))["preview"]["counts"]["added"] == 1
    piped_from, piped_into, ran = sorted(shell.told("meltano"))
    assert piped_from == ["invoke", "tap-csv"]
    assert piped_into == ["invoke", "target-activecampaign:preview"]
    assert "preview" in MELTANO_YML["plugins"]["loaders"][0]["commands"]
    assert ran == ["run", "tap-csv", "target-activecampaign"]


def test_operations_first_contacts_are_sent_and_read_back(
    shell: Shell, sandbox: SandboxServer
) -> None:
    some_tap(shell, schema(), *people(7), state({"read": 1}))
    shell.stand_in("meltano", "cat > /dev/null")

    assert shell(f"({block('operations.md', 'first contacts')}) 2> log") == "", "no STATE"

    assert len(sandbox.contacts()) == 5
    assert "5 contacts sent, and all values arrived as meant." in (shell.folder / "log").read_text()
    _, piped_into = sorted(shell.told("meltano"))
    assert piped_into == ["invoke", "target-activecampaign", "--limit", "5"]
    first = MELTANO_YML["plugins"]["loaders"][0]["commands"]["first"]
    assert first["args"] == "--config=ENV --limit=10"


def test_operations_audience_is_shown(shell: Shell, load: TargetRunner) -> None:
    load([schema(), *people(2)]).succeeded()
    text, _, rest = shell(block("operations.md", "audience")).partition("{")
    assert "profiles, list 1: 2 contacts" in text
    (connection,) = json.loads("{" + rest)["connections"]
    assert connection["audience"]["segments"][0]["size"] == 2


def test_operations_alerts_can_be_set(load: TargetRunner) -> None:
    some = [schema(), *people(9), record("nobody")]
    outcome = load(some, **example("operations.md", "alerts")).succeeded()
    assert [one["kind"] for one in outcome.report["alerts"]] == ["refused_pct"]


def test_operations_the_log_is_structured_without_meltano(shell: Shell) -> None:
    some_tap(shell, schema(), *people(1))
    logging = block("operations.md", "logging")
    (shell.folder / "logging.yaml").write_text(logging, "utf-8")

    told = shell(f"({block('operations.md', 'structured')}) 2>&1 > state.json")

    for line in told.splitlines():
        assert {"level", "ts", "logger_name", "message"} <= json.loads(line).keys()


def test_operations_progress_is_told_like_that() -> None:
    counts = Counter(read=120_000, added=100_000, unchanged=4_000, rejected=3)
    figures = Figures(counts, 15_997, 402, 24_000, 25_000, 38 * 60, None)
    assert block("operations.md", "progress") == f"Progress: {figures}\n"


def test_privacy_a_person_is_forgotten(shell: Shell, load: TargetRunner) -> None:
    load([schema(), *people(2)]).succeeded()
    assert (shell.folder / LEDGER).exists()

    assert re.search(r"\b1\b", shell(block("privacy.md", "forget"), "person1@example.com\n"))


def test_scale_the_arithmetic_takes_own_numbers() -> None:
    shown = subprocess.run(
        [sys.executable, *shlex.split(block("scale.md", "own numbers"))[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "120,000,000" in shown.stdout, "40 accounts of 3,000,000"


# The sandbox


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[Shell, dict[str, Any]]]:
    """The sandbox as its document starts it, on a free port, and what it says when it is ready."""
    shell = Shell(tmp_path)
    shell.stand_in("pip")
    command = block("sandbox.md", "start").replace("--port 8000", "--port 0")
    with subprocess.Popen(
        ["bash", "-e", "-c", f"{command.rstrip()} --exit-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=shell.environment(),
        text=True,
    ) as process:
        assert process.stdout is not None
        yield shell, json.loads(process.stdout.readline())
        process.communicate(timeout=10)
    assert process.returncode == 0


def test_sandbox_it_starts_and_says_where_it_is(started: tuple[Shell, dict[str, Any]]) -> None:
    shell, ready = started

    shown = example("sandbox.md", "ready")
    port = re.compile(r":\d+$")
    assert list(ready) == list(shown)
    assert port.sub("", ready["url"]) == port.sub("", shown["url"])
    assert ready["path"] == shown["path"]
    assert ready["id"].isdigit()
    ((_, requirement),) = shell.told("pip")
    found = re.fullmatch(r"(.+)\[(.+)\]", requirement)
    pyproject = (ROOT / "pyproject.toml").read_text("utf-8")
    assert found
    assert f'\nname = "{found[1]}"\n' in pyproject
    assert f"\n{found[2]} = [\n" in pyproject


def test_sandbox_a_person_opts_out(sandbox: SandboxServer) -> None:
    person = example("sandbox-control.md", "opt out")
    sandbox.prepare(person)
    (membership,) = sandbox.memberships(person["email"]).values()
    assert membership["status"] == "2"
    assert membership["campaign"] == str(person["opt_outs"]["1"]["campaign"])


def test_sandbox_a_fault_is_added(sandbox: SandboxServer) -> None:
    curl, option, body, url = shlex.split(block("sandbox-control.md", "fault").replace("\\\n", ""))
    assert (curl, option) == ("curl", "-d")
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # which `curl -d` says

    answer = sandbox.call("POST", url.partition(":8000")[2], data=body, headers=form)

    assert answer.ok
    with pytest.raises(requests.ConnectionError):
        sandbox.post("/api/3/import/bulk_import", {"contacts": [{"email": "ada@example.com"}]})
    assert len(sandbox.imports()) == 1, "it takes effect all the same"
