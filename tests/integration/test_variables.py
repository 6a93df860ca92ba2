"""Variables: what they hold is understood or refused; `.env` is read where it can be trusted."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import _content, _file
from tests.support.target_runner import lines, people, schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick

PREFIX = "TARGET_ACTIVECAMPAIGN_"
MESSAGES = [schema(), *people(2)]


def run(
    load: ForkedTargetRunner,
    variables: Mapping[str, str] | None = None,
    *arguments: str,
    folder: Path | None = None,
) -> Outcome:
    """Run it with variables besides its configuration file."""
    data = lines(MESSAGES)
    stdout, stderr = _file(), _file()
    with _file(data) as stdin, stdout, stderr:
        process = load.server.fork(
            [*load.command(), "--config=ENV", *arguments],
            stdin,
            stdout,
            stderr,
            folder=folder or load.folder,
            environment={**os.environ, **{f"{PREFIX}{k}": v for k, v in (variables or {}).items()}},
        )
        code = load.server.wait(process)
        out, err = _content(stdout), _content(stderr)
    if "--test" in arguments:  # what it prints is no STATE
        out, err = b"", out + err
    return load.outcome(code, out, err, data)


@pytest.mark.parametrize("text", ["true\n", " true ", "y", "ON", "T"])
def test_a_variable_that_says_preview_is_understood(
    load: ForkedTargetRunner, sandbox: SandboxServer, text: str
) -> None:
    assert run(load, {"DRY_RUN": text}).succeeded().report["dry_run"] is True
    assert sandbox.export() == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DRY_RUN", "enabled"),
        ("DRY_RUN", " "),
        ("MAX_REJECTS", "3.5"),
        ("REQUEST_TIMEOUT", "inf"),
        ("GUARDS", '{"max_leave": "some"}'),
        ("STREAMS", '{"profiles": {"complete_stream": "si"}}'),
        ("FIELD_MAPPING", "{"),
        ("TAGS", "[vip"),
    ],
)
def test_a_variable_that_is_not_understood_stops_the_run(
    load: ForkedTargetRunner, sandbox: SandboxServer, name: str, text: str
) -> None:
    outcome = run(load, {name: text})
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert f"The environment variable {PREFIX}{name}" in last
    assert "can't be read: it must be " in last
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"max_leave_pct": NaN}', "holds NaN, which is not JSON: give a number, or null."),
        ('{"max_leave": 1, "max_leave": 2}', "holds 'max_leave' twice: remove one of them."),
        (f'{{"max_leave": {"9" * 5000}}}', "holds a number that has too many digits."),
    ],
)
def test_json_in_a_variable_that_says_nothing_clear_stops_the_run(
    load: ForkedTargetRunner, text: str, why: str
) -> None:
    outcome = run(load, {"GUARDS": text})
    assert outcome.code == 1
    assert outcome.log.endswith(f"The environment variable {PREFIX}GUARDS {why}\n")


def test_variables_are_stripped_and_an_empty_one_counts_as_not_given(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    given = {"LIST_ID": " VIP customers\n", "TAGS": "a, b ", "DRY_RUN": "", "SYNC_MODE": "Upsert"}
    run(
        load, {**given, "REQUEST_TIMEOUT": "2.5", "GUARDS": '{"max_leave_pct": " 2.5 "}'}
    ).succeeded()
    assert [contact["lists"] for contact in sandbox.export()] == [{"2": 1}] * 2
    assert sandbox.export()[0]["tags"] == ["a", "b"]


def test_a_variable_that_names_no_setting_is_told_and_fails_the_test(
    load: ForkedTargetRunner,
) -> None:
    given = {"DRYRUN": "true", "LOGLEVEL": "INFO", "GUARDS_MAX_LEAVE": "3", "_DIALECT": "x"}
    (told,) = run(load, given).succeeded().warnings
    assert told == (
        f"The environment variable {PREFIX}DRYRUN names no setting and has no effect. "
        f"Did you mean '{PREFIX}DRY_RUN'?"
    )
    tested = run(load, given, "--test")
    assert tested.code == 1
    assert re.search(rf"^settings +failed .*{PREFIX}DRYRUN names no", tested.log, re.MULTILINE)


# .env


def env_file(folder: Path, *variables: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text("".join(f"{one}\n" for one in variables), "utf-8")
    path.chmod(mode)
    return path


def test_env_gives_settings_only_and_says_so(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    env_file(
        load.folder,
        "HTTP_PROXY=http://127.0.0.1:9",
        f"{PREFIX}LOGLEVEL=ERROR",
        f"export {PREFIX}LIST_ID='VIP customers'",
        f"{PREFIX}TAGS=",
    )
    outcome = run(load).succeeded()
    assert [contact["lists"] for contact in sandbox.export()] == [{"2": 1}] * 2
    assert f"Read from .env in the current folder: {PREFIX}LIST_ID.\n" in outcome.log


@pytest.mark.parametrize(
    "line",
    [
        f"{PREFIX}DRY_RUN='true",
        f'export {PREFIX}DRY_RUN="true" please',
        f"{PREFIX}DRY_RUN: true",
        f"{PREFIX}DRY_RUN",
        f"set {PREFIX}DRY_RUN=true",
    ],
)
def test_a_line_of_env_that_is_no_assignment_stops_the_run(
    load: ForkedTargetRunner, sandbox: SandboxServer, line: str
) -> None:
    env_file(load.folder, "# how to preview", "", line, "DATABASE='here")
    outcome = run(load)
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert "The file .env in the current folder can't be read at line 3: write NAME=value" in last
    assert sandbox.requests() == []


def test_what_others_have_in_env_may_be_as_it_likes(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    comment = f"  # {PREFIX}DRY_RUN=true"
    env_file(load.folder, comment, "set -a", "X", f"{PREFIX}LIST_ID=2", "DATABASE='here")
    outcome = run(load).succeeded()
    assert [contact["lists"] for contact in sandbox.export()] == [{"2": 1}] * 2
    assert not outcome.warnings
    assert "dotenv" not in outcome.log


def test_the_environment_wins_over_env(load: ForkedTargetRunner, sandbox: SandboxServer) -> None:
    env_file(load.folder, f"{PREFIX}API_URL=http://127.0.0.1:9", f"{PREFIX}LIST_ID=1")
    outcome = run(load, {"API_URL": sandbox.url, "LIST_ID": "2"}).succeeded()
    assert [contact["lists"] for contact in sandbox.export()] == [{"2": 1}] * 2
    assert f"The environment overrides .env for {PREFIX}API_URL, {PREFIX}LIST_ID." in outcome.log


def test_an_env_of_a_parent_folder_is_not_read(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    env_file(load.folder, f"{PREFIX}API_URL=http://127.0.0.1:9")
    below = load.folder / "below" / "it"
    below.mkdir(parents=True)
    outcome = run(load, folder=below)
    assert outcome.code == 0, outcome.log
    assert len(sandbox.export()) == 2
    assert ".env" not in outcome.log


def other_user(path: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 65534, -1)
    return "it belongs to another user"


def writable_by_group(path: Path) -> str:
    path.chmod(0o660)
    return "`chmod go-w .env`"


def writable_by_all(path: Path) -> str:
    path.chmod(0o602)
    return "`chmod go-w .env`"


def link_to_what_others_can_write(path: Path) -> str:
    path.rename(path.with_name("elsewhere"))
    path.with_name("elsewhere").chmod(0o666)
    path.symlink_to("elsewhere")
    return "`chmod go-w .env`"


def link_of_another_user(path: Path) -> str:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    if os.geteuid() != 0:
        pytest.skip("only root can give a link away")
    os.chown(path, 65534, -1, follow_symlinks=False)
    return "it belongs to another user"


def pipe(path: Path) -> str:
    path.unlink()
    os.mkfifo(path)
    return "is not a regular file"


def no_text(path: Path) -> str:
    path.write_bytes(b"\xff\xfe\xff")
    return "is not UTF-8 text"


@pytest.mark.parametrize(
    "make",
    [
        other_user,
        writable_by_group,
        writable_by_all,
        link_to_what_others_can_write,
        link_of_another_user,
        pipe,
        no_text,
    ],
)
def test_an_env_that_others_may_have_written_ends_the_run(
    load: ForkedTargetRunner, sandbox: SandboxServer, make: Any
) -> None:
    told = make(env_file(load.folder, f"{PREFIX}API_URL=http://127.0.0.1:9"))
    outcome = run(load)
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert "The file .env in the current folder" in last
    assert told in last
    assert sandbox.requests() == []


def test_an_env_of_others_without_a_setting_is_left_alone(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    env_file(load.folder, "DATABASE=here", mode=0o666)
    run(load).succeeded()
    assert len(sandbox.export()) == 2


def test_an_env_of_others_does_no_harm_where_the_environment_has_all_of_it(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    """As under Meltano, which reads the file itself."""
    env_file(load.folder, f"{PREFIX}LIST_ID=2", mode=0o666)
    outcome = run(load, {"LIST_ID": "2"}).succeeded()
    assert [contact["lists"] for contact in sandbox.export()] == [{"2": 1}] * 2
    assert ".env" not in outcome.log


def test_a_folder_called_env_is_left_alone(load: ForkedTargetRunner) -> None:
    (load.folder / ".env").mkdir()
    run(load).succeeded()


def test_no_env_is_read_without_config_env(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    env_file(load.folder, f"{PREFIX}DRY_RUN=true", mode=0o666)
    load(MESSAGES).succeeded()
    assert len(sandbox.export()) == 2
