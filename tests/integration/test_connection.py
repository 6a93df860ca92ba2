"""Connecting: consent, addresses, keys, the embedded sandbox."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.sandbox_server import SandboxServer
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from tests.support.target_runner import TargetRunner


def test_nothing_is_sent_without_consent(sandbox: SandboxServer, load: TargetRunner) -> None:
    outcome = load([schema(), record("a@example.com"), state(1)], data_privacy_consent=False)
    assert outcome.code == 1
    assert "'data_privacy_consent'" in outcome.log
    assert sandbox.requests() == []
    assert outcome.states == []


@pytest.mark.parametrize("ending", ["", "/", "/api/3", "/api/3/"])
def test_every_form_of_api_url_is_accepted_and_logged(
    sandbox: SandboxServer, load: TargetRunner, ending: str
) -> None:
    outcome = load([schema(), record("a@example.com")], api_url=sandbox.url + ending).succeeded()
    assert f"Connected to {sandbox.url}:" in outcome.log
    assert len(sandbox.export()) == 1


@pytest.mark.parametrize(
    "address", ["http://acct.api-us1.com", "ftp://acct.api-us1.com", "https://acct/other", "a b"]
)
def test_invalid_api_url_is_refused(load: TargetRunner, address: str) -> None:
    outcome = load([schema(), record("a@example.com")], api_url=address)
    assert outcome.code == 1
    assert "'api_url'" in outcome.log


def test_wrong_key_is_a_clear_error(load: TargetRunner) -> None:
    load.config["api_key"] = "not-the-key-that-it-takes"
    outcome = load([schema(), record("a@example.com"), state(1)])
    assert outcome.code == 1
    assert "did not accept the API key" in outcome.log.splitlines()[-1]
    assert outcome.states == []


def test_connection_name_is_in_log_and_report(load: TargetRunner) -> None:
    outcome = load([schema(), record("a@example.com")], connection_name="Marketing EU").succeeded()
    assert "Connected to 'Marketing EU' at " in outcome.log
    assert outcome.report["connection"] == "Marketing EU"


def test_settings_come_from_environment_and_dotenv_file(
    sandbox: SandboxServer, load: TargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (load.folder / ".env").write_text(f"TARGET_ACTIVECAMPAIGN_API_KEY={sandbox.api_key}\n")
    for name, value in {
        "API_URL": sandbox.url,
        "DATA_PRIVACY_CONSENT": "true",
        "LIST_ID": "VIP customers",
        "FIELD_MAPPING": '{"work": "email"}',
    }.items():
        monkeypatch.setenv(f"TARGET_ACTIVECAMPAIGN_{name}", value)
    messages = [
        schema(work="string"),
        {"type": "RECORD", "stream": "profiles", "record": {"work": "a@example.com"}},
    ]
    data = "".join(json.dumps(message) + "\n" for message in messages).encode()
    done = subprocess.run(
        [SCRIPT, "--config", "ENV"], input=data, capture_output=True, cwd=load.folder, check=False
    )
    load.outcome(done.returncode, done.stdout, done.stderr, data).succeeded()
    assert [one["lists"] for one in sandbox.export()] == [{"2": 1}]


def test_unknown_setting_is_named_with_nearest(load: TargetRunner) -> None:
    outcome = load([schema(), record("a@example.com")], feild_mapping={}).succeeded()
    assert "'feild_mapping' is unknown" in outcome.log
    assert "Did you mean 'field_mapping'?" in outcome.log


def embedded(load: TargetRunner) -> dict[str, Any]:
    load.config = {"api_key": load.config["api_key"], "sandbox": True, "list_id": "newsletter"}
    return {"sandbox_path": "account.db"}


def test_embedded_sandbox_keeps_its_data(load: TargetRunner) -> None:
    settings = embedded(load)
    load([schema(), *people(3)], **settings).succeeded()
    load([schema(), record("late@example.com")], **settings).succeeded()
    with SandboxServer(path=str(load.folder / "account.db")) as server:
        assert len(server.export()) == 4


def test_invalid_sandbox_file_is_a_clear_error(load: TargetRunner) -> None:
    settings = embedded(load)
    (load.folder / "account.db").write_text("something else altogether" * 50)
    outcome = load([schema(), record("a@example.com")], **settings)
    assert outcome.code == 1
    assert "The embedded sandbox with its data in account.db did not start" in outcome.log


def test_embedded_sandbox_ends_with_the_target(load: TargetRunner) -> None:
    with subprocess.Popen(
        load.command(**embedded(load)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=load.folder,
    ) as target:
        assert target.stdin is not None
        assert target.stderr is not None
        target.stdin.write(json.dumps(schema()).encode() + b"\n")
        target.stdin.flush()
        for line in target.stderr:
            if b"Connected" in line:
                break
        (child,) = _children(target.pid)
        target.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not _alive(child):
            return
        time.sleep(0.05)
    pytest.fail("the sandbox is still there")


def test_embedded_sandbox_refuses_other_processes(load: TargetRunner) -> None:
    keys = set()
    for _ in range(2):
        with subprocess.Popen(
            load.command(**embedded(load)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=load.folder,
        ) as target:
            assert target.stdin is not None
            assert target.stderr is not None
            target.stdin.write(json.dumps(schema()).encode() + b"\n")
            target.stdin.flush()
            url = ""
            for line in target.stderr:
                if match := re.search(rb"Connected to (http://\S+)", line):
                    url = match[1].decode()
                    break
            (child,) = _children(target.pid)
            arguments = Path(f"/proc/{child}/cmdline").read_bytes()
            environment = Path(f"/proc/{child}/environ").read_bytes()
            key = re.search(rb"SANDBOX_API_KEY=([0-9a-f]+)", environment)
            assert key is not None
            keys.add(key[1])
            found = [
                requests.get(f"{url}{path}", headers={"Api-Token": token}, timeout=10).status_code
                for path in ("/api/3/contacts", "/_sandbox/export", "/")
                for token in ("sandbox-key", "")
            ]
            target.communicate()
        assert url
        assert found == [403, 403, 404, 404, 404, 404]
        assert b"api-key" not in arguments
        assert key[1] not in arguments
    assert len(keys) == 2
    assert {len(key) for key in keys} == {64}


def _children(pid: int) -> list[int]:
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=False)
    return [int(word) for word in out.stdout.split()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("around", ["{}\n", " {} "])
def test_white_space_around_key_is_ignored(load: TargetRunner, around: str) -> None:
    key = around.format(load.config["api_key"])
    load([schema(), record("a@example.com")], api_key=key).succeeded()


def test_invalid_key_is_a_clear_error(load: TargetRunner) -> None:
    outcome = load([schema(), record("a@example.com")], api_key="two words")
    assert outcome.code == 1
    assert "'api_key' can't be used" in outcome.log.splitlines()[-1]


@pytest.mark.parametrize("setting", ["rejects_path", "report_path"])
def test_unwritable_folder_is_found_before_sending(
    sandbox: SandboxServer, load: TargetRunner, setting: str
) -> None:
    (load.folder / "file").touch()
    outcome = load([schema(), record("a@example.com")], **{setting: "file"})
    assert outcome.code == 1
    assert f"'{setting}'" in outcome.log
    assert sandbox.requests() == []
