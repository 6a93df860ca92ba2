"""A webhook is told how a run ended: without people, and without ever changing that end."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.model.timings import Timings
from tests.integration.test_about import told
from tests.support.api_stub import ApiStub, Reply, needs_openssl
from tests.support.fork_server import ForkedTargetRunner, ForkServer, RunningTarget
from tests.support.guide import block, example
from tests.support.shell import Shell
from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

PATH = "/services/T0SECRET/B0SECRET"
SECRET = f"{PATH}?token=s3cr3t-token"
QUICK = Timings(
    webhook_timeout_seconds=0.3, webhook_pause_seconds=0.01, webhook_max_wait_seconds=2.0
)


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    return ForkServer(QUICK)


@pytest.fixture
def load(sandbox: SandboxServer, fork_server: ForkServer, tmp_path: Path) -> ForkedTargetRunner:
    return ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, fork_server)


def test_a_run_is_told_as_its_report_with_a_text_and_without_people(
    load: ForkedTargetRunner,
) -> None:
    with ApiStub(Reply(b"ok")) as hook:
        outcome = load(
            [schema(), record("nobody"), *people(3), state(1)],
            on_complete_webhook=hook.url + SECRET,
            rejects_path=str(load.folder / "rejects"),
        ).succeeded()

    (asked,) = hook.asked
    assert (asked.method, asked.path, asked.query) == ("POST", PATH, {"token": "s3cr3t-token"})
    assert asked.headers["Content-Type"] == "application/json"
    sent = json.loads(asked.body)
    text = sent.pop("text")
    (rejected,) = outcome.reject_files
    assert "completed: 4 read = 3 added + 1 invalid; 1 import," in text
    assert text.endswith(f"Rejected: 1 EMAIL_INVALID; see {rejected.name}.")
    report = outcome.report
    assert report.pop("samples")["rejects"], "what is made of records stays here"
    assert sent == {**report, "reject_files": {"profiles": rejected.name}}
    for private in ("example.com", "nobody", "Person", str(load.folder), load.config["api_key"]):
        assert private not in asked.body.decode()
    assert outcome.warnings == []


def test_names_in_the_report_stay_where_a_password_is_one_of_them(
    load: ForkedTargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://user:text@127.0.0.1:9")
    with ApiStub(Reply(b"ok")) as hook:
        load([schema(), *people(1)], on_complete_webhook=hook.url).succeeded()
    (asked,) = hook.asked
    assert "completed" in json.loads(asked.body)["text"]


def test_a_run_that_fails_says_why(load: ForkedTargetRunner) -> None:
    with ApiStub(Reply()) as hook:
        outcome = load(
            [schema(), *people(2), record("nobody"), record("no one")],
            on_complete_webhook=hook.url + SECRET,
            max_rejects=1,
        )

    assert outcome.code == 1
    sent = json.loads(hook.asked[-1].body)
    assert len(hook.asked) == 1
    assert sent["outcome"] == "failed"
    assert sent["problem"] == outcome.report["problem"]
    assert "'max_rejects'" in sent["problem"]


def test_a_problem_goes_without_addresses_and_without_the_home_folder(
    load: ForkedTargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(load.folder))
    lost = load.folder / "batch.jsonl"
    line = {
        "type": "BATCH",
        "stream": "profiles",
        "encoding": {"format": "jsonl", "compression": "none"},
        "manifest": [lost.as_uri()],
    }
    with ApiStub(Reply()) as hook:
        outcome = load(
            [schema(), line],
            on_complete_webhook=hook.url + SECRET,
            connection_name="of jane@example.com",
        )

    assert outcome.code == 1
    sent = json.loads(hook.asked[0].body)
    assert "The batch file file://~/batch.jsonl is missing" in sent["problem"]
    assert sent["connection"] == "of [address]"


def test_a_run_that_a_signal_stops_says_so(load: ForkedTargetRunner) -> None:
    with ApiStub(Reply()) as hook:
        running = started(load, hook)
        running.kill(15)
        outcome = running.wait()

    assert outcome.code == 128 + 15
    assert [json.loads(asked.body)["outcome"] for asked in hook.asked] == ["stopped"]


def test_a_report_that_cannot_be_written_is_told_all_the_same(load: ForkedTargetRunner) -> None:
    with ApiStub(Reply()) as hook:
        running = started(load, hook)
        (load.folder / "reports").rmdir()
        (load.folder / "reports").touch()
        outcome = running.wait()

    assert outcome.code == 1
    (sent,) = [json.loads(asked.body) for asked in hook.asked]
    assert sent["outcome"] == "failed"
    assert sent["problem"].startswith("The report can't be written: reports can't be used: ")
    assert sent["counts"]["added"] == 3


def started(load: ForkedTargetRunner, hook: ApiStub) -> RunningTarget:
    """A run that is connected, and whose input has not ended."""
    running = load.start(on_complete_webhook=hook.url + SECRET)
    running.feed([schema(), *people(3), state(1)])
    for _ in range(500):
        if b"Stream 'profiles' goes to" in os.pread(running._stderr.fileno(), 1 << 16, 0):
            break
        time.sleep(0.02)
    return running


def test_it_is_tried_once_more_where_that_may_help(load: ForkedTargetRunner) -> None:
    with ApiStub(Reply(status=503), Reply(status=200)) as hook:
        assert one_run(load, hook.url).warnings == []
    assert len(hook.asked) == 2


@pytest.mark.parametrize(
    ("reply", "tries", "said"),
    [
        (Reply(status=500), 2, "status 500"),
        (Reply(status=429), 2, "status 429"),
        (Reply(b"no_service", status=404), 1, "status 404"),
        (Reply(fault="reset"), 2, "ConnectionError"),
        (Reply(fault="hang"), 2, "ReadTimeout"),
    ],
)
def test_what_goes_wrong_is_a_warning_that_names_the_host_alone(
    load: ForkedTargetRunner,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    tries: int,
    said: str,
) -> None:
    monkeypatch.setenv("TARGET_ACTIVECAMPAIGN_LOGLEVEL", "DEBUG")
    with ApiStub(reply) as hook:
        (warning,) = one_run(load, hook.url).warnings
    assert warning == (
        f"The webhook at {hook.url} could not be notified ({said}). The run is not affected."
    )
    assert len(hook.asked) == tries


def test_a_redirect_is_not_followed(load: ForkedTargetRunner) -> None:
    with ApiStub(Reply()) as elsewhere:
        redirect = Reply(status=307, headers={"Location": f"{elsewhere.url}/taken"})
        with ApiStub(redirect) as hook:
            (warning,) = one_run(load, hook.url).warnings
    assert "status 307" in warning
    assert (len(hook.asked), elsewhere.asked) == (1, [])


def test_nobody_there_is_a_warning(load: ForkedTargetRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    (warning,) = one_run(load, f"http://127.0.0.1:{port}").warnings
    assert "NewConnectionError" in warning


def test_a_server_that_answers_a_byte_at_a_time_is_not_waited_for(
    load: ForkedTargetRunner,
) -> None:
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while not over.wait(0.1):
                connection.send(b"H")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        (warning,) = one_run(load, f"http://127.0.0.1:{server.getsockname()[1]}").warnings
        over.set()
        thread.join()
    assert "no response within 2 s" in warning


@needs_openssl
def test_over_tls_the_certificate_must_be_trusted(
    load: ForkedTargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiStub(Reply()) as hook:
        certificate = hook.speak_tls(load.folder)
        (warning,) = one_run(load, hook.url).warnings
        assert "SSLError" in warning
        assert hook.asked == []

        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert one_run(load, hook.url).warnings == []
        assert len(hook.asked) == 1


def test_the_proxy_of_the_environment_is_asked_for_the_way(
    load: ForkedTargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []

    def refuse(server: socket.socket) -> None:
        for _ in range(2):
            connection, _address = server.accept()
            with connection:
                heard.append(connection.recv(4096).splitlines()[0])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        thread = threading.Thread(target=refuse, args=(proxy,), daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        (warning,) = one_run(load, "https://hooks.example.com").warnings
        thread.join(timeout=5)
    assert [one.split()[:2] for one in heard] == [[b"CONNECT", b"hooks.example.com:443"]] * 2
    assert "The webhook at https://hooks.example.com could not be notified" in warning


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/s3cr3t",
        "https://user:s3cr3t@hooks.example.com/",
        "hooks.example.com/s3cr3t",
        "ftp://127.0.0.1/s3cr3t",
        "https://hooks.example.com/s3cr3t with a space",
        "https://[s3cr3t/",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_before_the_run(
    load: ForkedTargetRunner, sandbox: SandboxServer, url: str
) -> None:
    outcome = load([schema(), *people(1)], on_complete_webhook=url)
    assert outcome.code == 1
    assert "'on_complete_webhook' must be an https:// URL" in outcome.log
    assert "s3cr3t" not in outcome.log
    assert sandbox.export() == []


def test_the_command_tells_of_the_setting_and_not_of_its_value() -> None:
    url = f"https://hooks.example.com{SECRET}"
    for form in ("json", "markdown"):
        text = told(
            "--config=ENV",
            "--about",
            f"--format={form}",
            TARGET_ACTIVECAMPAIGN_ON_COMPLETE_WEBHOOK=url,
        )
        assert "on_complete_webhook" in text
        assert "hooks.example.com" not in text


# The documentation


def test_the_example_of_the_documentation_is_what_is_told(load: ForkedTargetRunner) -> None:
    with ApiStub(Reply()) as hook:
        load(
            [schema(), record("ada@example.com"), record("grace(at)example.com")],
            on_complete_webhook=hook.url + SECRET,
            imports_per_minute=100,
        ).succeeded()

    shown, sent = example("operations.md", "webhook"), json.loads(hook.asked[0].body)
    assert list(shown) == list(sent)
    assert without_figures(shown.pop("text")) == without_figures(sent.pop("text"))
    assert without_figures(shown.pop("reject_files")) == without_figures(sent.pop("reject_files"))
    for one in (shown, sent):
        for each in one["audience"]["segments"][0]["runs"]:
            assert each.pop("run") == one["run_id"]
            assert each.pop("started") == f"{one['started'][:19]}+00:00" or one is sent
    of_this_run = {"run_id", "connection", "address", "started", "finished"}
    of_this_run |= {"duration_seconds", "requests"}
    for name in shown.keys() - of_this_run:
        assert shown[name] == sent[name], name


def without_figures(value: Any) -> str:
    """What is the same of a text in all runs."""
    return re.sub(r"[\dT]+-[\da-f]{12}|\d+ requests, [\d.]+", "", str(value))


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize(
    ("recipe", "told_with"),
    [
        (
            block("operations.md", "slack"),
            ['{"text": "The segment was not loaded."}', "https://hooks.example.com/x"],
        ),
        (
            block("operations.md", "mail"),
            ["-s", "The segment was not loaded", "data-team@example.com"],
        ),
    ],
    ids=["slack", "mail"],
)
def test_the_recipes_tell_of_a_failure_and_of_nothing_else(
    tmp_path: Path, recipe: str, told_with: list[str], code: int
) -> None:
    shell = Shell(tmp_path)
    shell.stand_in("meltano", f"echo the last line >&2; exit {code}")
    shell.stand_in("curl")
    shell.stand_in("mail", "cat > body")

    shell(recipe, SLACK_WEBHOOK="https://hooks.example.com/x")

    told_by = shell.told("curl") + shell.told("mail")
    assert [one[-len(told_with) :] for one in told_by] == ([told_with] if code else [])
    if shell.told("mail"):
        assert (tmp_path / "body").read_text("utf-8") == "the last line\n"


def one_run(load: ForkedTargetRunner, host: str) -> Outcome:
    """A run whose end is told to a host: it ends well, and shows nothing of the secret."""
    outcome = load(
        [schema(), *people(2), state(1)], on_complete_webhook=host + SECRET, skip_unchanged=False
    ).succeeded()
    assert outcome.states == [1]
    for secret in (PATH, "B0SECRET", "s3cr3t-token"):
        assert secret not in outcome.log
    return outcome
