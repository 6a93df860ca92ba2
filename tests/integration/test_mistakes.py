"""Mistakes that people make: each is told in a line, with what to do, and without a traceback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.mirrors import Mirror, records
from tests.support.shell import Shell
from tests.support.target_runner import people, record, schema

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick


@pytest.fixture
def shell(load: TargetRunner) -> Shell:
    return Shell(load.folder)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "can't be read: No such file or directory."),
        ('{"sandbox": true,}', "is no valid JSON: see line 1, column 18."),
        ("[]", "does not hold a JSON object."),
        (b"\xff", "is not UTF-8 text."),
    ],
)
def test_unreadable_configuration(shell: Shell, content: str | bytes | None, told: str) -> None:
    path = shell.folder / "my.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    shown = shell("target-activecampaign --config my.json 2>&1 < /dev/null || echo exit $?")
    where = shown.splitlines()[0]
    assert where.startswith("Error: The configuration file 'my.json' ")
    assert where.endswith(told) or "column" in told
    assert shown.endswith("exit 1\n")


def test_unread_variables_are_named(shell: Shell) -> None:
    (shell.folder / "my.json").write_text("{}", "utf-8")
    command = "target-activecampaign --config my.json 2>&1 < /dev/null || true"
    shown = shell(command, TARGET_ACTIVECAMPAIGN_API_KEY="abc")
    told = "has TARGET_ACTIVECAMPAIGN_API_KEY, but variables are read only with --config=ENV."
    assert told in shown


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ({"type": "RECORD", "stream": "profiles"}, "A RECORD message lacks record."),
        (
            {"type": "RECORD", "stream": "profiles", "record": []},
            "The 'record' of a RECORD message must be a JSON object.",
        ),
        (record("ada@example.com", "ghosts"), "A record for stream 'ghosts' was encountered"),
    ],
)
@pytest.mark.parametrize("maps", [None, {"profiles": None}], ids=["loaded", "removed"])
def test_invalid_message_is_named_by_its_line(
    load: TargetRunner, maps: dict[str, Any] | None, line: dict[str, Any], told: str
) -> None:
    outcome = load([schema(), *people(2), line], stream_maps=maps)
    assert outcome.code == 1
    assert f"Line 4 of the input: {told}" in outcome.log.splitlines()[-1]


def test_missing_list_of_any_stream_stops_the_run_first(
    load: TargetRunner, sandbox: SandboxServer
) -> None:
    outcome = load([schema(), *people(2)], streams={"vips": {"list_id": "VIP customer"}})
    assert outcome.code == 1
    told = outcome.log.splitlines()[-1]
    assert "'streams.vips.list_id' is 'VIP customer', but the account has no such list." in told
    assert "Did you mean 'VIP customers'?" in told
    assert sandbox.export() == []


def test_reject_file_never_completes_a_mirror(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    mirror = Mirror(load, sandbox)
    settings = {"complete_stream": True, "streams": {"vips": {"list_id": 2}}}
    mirror.load([schema(), *records("ada bob cyd dan")], **settings).succeeded()
    outcome = mirror.load([schema(), *records("ada bob cyd dan"), record("no one")], **settings)
    (file,) = outcome.reject_files
    messages = [json.loads(one) for one in file.read_text("utf-8").splitlines()]
    messages[1]["record"]["email"] = "eve@example.com"

    again = mirror.load(messages, **settings).succeeded()

    assert mirror.members() == "ada bob cyd dan eve"
    assert "comes from a reject file" in again.log
    assert again.warnings == [], "neither of streams that did not come"
