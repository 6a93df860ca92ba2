"""Configuration files: each is read once, means one thing, and is named when it can't be used."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.shell import Shell
from tests.support.target_runner import lines, people, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

GIVEN = lines([schema(), *people(2)]).decode()


@pytest.fixture
def shell(load: TargetRunner) -> Shell:
    load.command()
    return Shell(load.folder)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty: it must hold a JSON object"),
        (b" \n", "is empty: it must hold a JSON object"),
        (codecs.BOM_UTF8, "is empty: it must hold a JSON object"),
        (b'{"dry_run": NaN}', "holds NaN, which is not JSON"),
        (b'{"guards": {"max_leave_pct": -Infinity}}', "holds -Infinity, which is not JSON"),
        (b'{"dry_run": true, "dry_run": false}', "holds 'dry_run' twice"),
        (b'{"a": ' + b"[" * 100_000, "is nested too deeply"),
        (b'{"max_rejects": ' + b"1" * 5_000 + b"}", "holds a number that has too many digits"),
        (b'"sandbox"', "does not hold a JSON object"),
        (b"{} {}", "is not valid JSON: see line 1, column 4"),
    ],
)
def test_a_file_that_has_no_clear_meaning_is_named(shell: Shell, content: bytes, told: str) -> None:
    (shell.folder / "my.json").write_bytes(content)
    shown = shell("target-activecampaign --config my.json 2>&1 < /dev/null || echo exit $?")
    *_, last, code = shown.splitlines()
    assert last.startswith("Error: The configuration file 'my.json' ")
    assert told in last
    assert code == "exit 1"


def test_a_folder_is_no_configuration(shell: Shell) -> None:
    shown = shell("target-activecampaign --config . 2>&1 < /dev/null || true")
    assert shown == "Error: The configuration file '.' can't be read: Is a directory.\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_does_no_harm(
    load: TargetRunner, shell: Shell, sandbox: SandboxServer, encoding: str
) -> None:
    config = {**load.config, "tags": ["grün"]}
    (shell.folder / "my.json").write_text(json.dumps(config, ensure_ascii=False), encoding)
    shell("target-activecampaign --config my.json", given=GIVEN)
    assert [contact["tags"] for contact in sandbox.export()] == [["grün"]] * 2


def test_files_can_come_through_pipes_and_the_later_wins(
    shell: Shell, sandbox: SandboxServer
) -> None:
    shell(
        "target-activecampaign --config <(cat config.json) "
        """--config <(echo '{"list_id": "VIP customers"}')""",
        given=GIVEN,
    )
    assert [contact["lists"] for contact in sandbox.export()] == [{"2": 1}] * 2


def test_the_ledgers_command_reads_the_same_files(load: TargetRunner, shell: Shell) -> None:
    load([schema(), *people(2)], ledger_url="sqlite:///here.db").succeeded()
    text = (shell.folder / "config.json").read_text("utf-8")
    (shell.folder / "my.json").write_text(text.replace("here.db", "here.db\\n"), "utf-8-sig")
    assert "here.db" in shell("target-activecampaign-ledger show --config <(cat my.json)")


def test_the_cause_is_the_last_line(load: TargetRunner, shell: Shell) -> None:
    (shell.folder / "my.json").write_text(json.dumps({**load.config, "list_id": None}), "utf-8")
    command = "target-activecampaign --config my.json 2>&1 < /dev/null | tail -n 1 || true"
    shown = shell(command, TARGET_ACTIVECAMPAIGN_LIST_ID="1")
    assert "The setting 'list_id' is missing" in shown
