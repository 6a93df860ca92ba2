"""Nothing that the target prints holds the key, an address or another value of a record.

`TargetRunner` searches the output of every run for addresses and the key; here come the ways
in which something could slip out.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, unquote

import pytest

from target_activecampaign.model.timings import Timings
from target_activecampaign.redaction import RedactingFilter, traceback_without_messages
from tests.support.fork_server import ForkServer
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

SECRET_VALUE = "Rumpelstiltskin"


@pytest.fixture(scope="module")
def fork_server() -> ForkServer:
    """One that soon gives up a ledger that can't be reached."""
    return ForkServer(Timings(ledger_patience_seconds=0.5))


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
@pytest.mark.parametrize(
    "messages",
    [
        [schema(), f'{{"type":"RECORD","record":{{"email":"x@example.com","n":"{SECRET_VALUE}"'],
        [schema(), f'["{SECRET_VALUE}"]'],
        [schema(), f'{{"type":"RECORD","stream":"profiles","{SECRET_VALUE}":1}}'],
        [schema(age="integer"), record("a@example.com", age=SECRET_VALUE)],
        [schema(birthday="string"), record("a@example.com", birthday=SECRET_VALUE)],
        [schema(), record(SECRET_VALUE)],
        [schema(), record(f"{SECRET_VALUE}@nowhere@example.com")],
        [schema(), record("a@example.com", first_name=SECRET_VALUE, unknown=SECRET_VALUE)],
        [record("a@example.com", first_name=SECRET_VALUE)],
    ],
)
def test_output_contains_no_values(
    load: TargetRunner, messages: list[Any], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARGET_ACTIVECAMPAIGN_LOGLEVEL", level)
    outcome = load(messages)
    assert SECRET_VALUE.lower() not in outcome.log.lower()
    assert outcome.log.splitlines(), "it says something"


def test_failing_stream_map_is_named_without_the_record(
    load: TargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = {"profiles": {"first_name": "int(first_name)"}}
    outcome = load([schema(), record("a@example.com", first_name=SECRET_VALUE)], stream_maps=maps)
    assert outcome.code == 1
    assert SECRET_VALUE not in outcome.log
    assert "stream map of stream 'profiles' fails" in outcome.log.splitlines()[-1]


def test_bad_configuration_does_not_show_the_key(load: TargetRunner) -> None:
    key = load.config["api_key"]
    assert load([], api_key=[key]).code == 1
    assert load([], list_id=None).code == 1


@pytest.mark.parametrize("kind", ["forbidden", "login_page", "malformed"])
def test_api_error_contains_no_address(
    sandbox: SandboxServer, load: TargetRunner, kind: str
) -> None:
    sandbox.fault(kind, match={"path": "/api/3/users/me"}, times=100)
    outcome = load([schema(), *people(3), state(1)])
    assert outcome.code == 1
    assert outcome.states == []
    assert "users/me" in outcome.log.splitlines()[-1]


def test_reports_and_rejects_are_private(load: TargetRunner) -> None:
    outcome = load([schema(), record("nobody"), record("a@example.com")]).succeeded()
    files = [*outcome.reject_files, *(load.folder / "reports").iterdir()]
    assert {path.suffix for path in files} == {".jsonl", ".json", ".html"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    report = json.dumps(outcome.report)
    assert "a@example.com" not in report
    assert "nobody" not in report


def test_log_filter_removes_addresses_and_secrets() -> None:
    net = RedactingFilter(["s3cret"])
    entry = logging.makeLogRecord(
        {"msg": "key %s of <%s> and %s", "args": ("s3cret", "ada@example.com", "x.y@mail.co.uk;")}
    )
    assert net.filter(entry)
    assert entry.getMessage() == "key [secret] of <[address]> and [address];"


def test_long_word_is_searched_once() -> None:
    started = time.process_time()
    assert RedactingFilter().redact("x" * 50_000) == "x" * 50_000
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("password", ["x", "1", "o", "e.", "in", "a+b", "(", "[a", "read", "\\d"])
def test_short_password_does_not_garble_the_log(load: TargetRunner, password: str) -> None:
    url = f"postgresql://u:{quote(password, safe='')}@127.0.0.1:1/db"
    plain = load([schema(), *people(1)], rate_budget_url=None).succeeded()
    assert "completed processing" in plain.log
    outcome = load([schema(), *people(1)], ledger_url=url.replace(":", "+psycopg:", 1))
    assert outcome.code == 1
    assert "WARNING" in outcome.log or "INFO" in outcome.log
    assert "custom fields" in outcome.log
    assert "ledger_url" in outcome.log.splitlines()[-1]


@pytest.mark.parametrize("secret", ["x", "read", "p.w", "1"])
def test_short_secret_is_masked_as_a_whole_word_only(secret: str) -> None:
    net = RedactingFilter([secret])
    text = f"around {secret}: 'y{secret}z' {secret}{secret} {secret}_ pp.wq 11 <{secret}>"
    said = net.redact(text)
    assert said == f"around [secret]: 'y{secret}z' {secret}{secret} {secret}_ pp.wq 11 <[secret]>"


@pytest.mark.parametrize("secret", ["", " ", "\n", "\t "])
def test_blank_secret_masks_nothing(secret: str) -> None:
    text = "a b\nc\t d"
    assert RedactingFilter([secret]).redact(text) == text


@pytest.mark.parametrize(
    "secret",
    ["p@ss w/rd+100%", 'quo"te\\d back', "schlüssel-ß", ".*.*.*.*", "$^()[]{}|", "a%2Fbc%40de"],
)
def test_secret_is_masked_in_every_encoding(secret: str) -> None:
    net = RedactingFilter([f"{secret}\n", "unrelated"])
    forms = {
        secret,
        unquote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        re.sub("%..", lambda escape: escape[0].lower(), quote(secret, safe="")),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        base64.b64encode(secret.encode()).decode(),
    }
    for form in forms:
        assert net.redact(f"a={form}&b") == "a=[secret]&b"
    assert net.redact("nothing of it") == "nothing of it"


def test_longer_secret_is_masked_first() -> None:
    net = RedactingFilter(["password", "password-and-more"])
    assert net.redact("password-and-more, password") == "[secret], [secret]"


def test_traceback_without_messages() -> None:
    try:
        try:
            int(SECRET_VALUE)
        except ValueError as error:
            raise KeyError(SECRET_VALUE) from error
    except KeyError as error:
        caught = error
    entry = logging.makeLogRecord(
        {"msg": "it failed", "exc_info": (KeyError, caught, caught.__traceback__)}
    )
    RedactingFilter().filter(entry)
    text = logging.Formatter().format(entry)
    assert SECRET_VALUE not in text
    assert "builtins.KeyError" in text
    assert "builtins.ValueError" in traceback_without_messages(caught)
    assert "test_privacy.py" in text


def test_command_is_the_installed_script() -> None:
    assert SCRIPT.endswith("target-activecampaign")
