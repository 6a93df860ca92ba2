"""Files with data of people: for their owner alone, never written through a link, named if full."""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledgers import empty_database
from tests.support.target_runner import SCRIPT, lines, people, record, schema, state

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    return empty_database(postgres)


LEDGER = ".activecampaign-ledger.db"
BAD = record("nobody")


def process(load: TargetRunner, messages: list[Any], *, how: Any = None, **changes: Any) -> Outcome:
    """A run in a process of its own, started with arguments of `subprocess.run` in `how`."""
    data = lines(messages)
    done = subprocess.run(
        load.command(**changes),
        input=data,
        capture_output=True,
        cwd=load.folder,
        check=False,
        timeout=120,
        **(how or {}),
    )
    return load.outcome(done.returncode, done.stdout, done.stderr, data)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_files_are_private_whatever_the_umask(load: TargetRunner, umask: int) -> None:
    places = {
        "rejects_path": "a/b/rejects",
        "report_path": "c/reports",
        "ledger_url": "sqlite:///d/e/ledger.db",
        "rate_budget_url": "budget.db",
        "requests_per_second": 50,
    }
    (load.folder / "mine").mkdir(mode=0o755)
    load.command()  # writes the configuration before the umask can forbid it
    outcome = process(load, [schema(), BAD, *people(2)], how={"umask": umask}, **places)
    assert outcome.code == 0, outcome.log
    made = [one for top in "acd" for one in [load.folder / top, *(load.folder / top).rglob("*")]]
    made.append(load.folder / "budget.db")
    assert len(made) > 8
    assert {mode(one) for one in made if one.is_dir()} == {0o700}
    assert {mode(one) for one in made if one.is_file()} == {0o600}
    assert mode(load.folder / "mine") == 0o755


def test_existing_folder_keeps_its_mode(load: TargetRunner) -> None:
    (load.folder / "reports").mkdir()
    (load.folder / "reports").chmod(0o755)
    load([schema(), *people(1)]).succeeded()
    assert mode(load.folder / "reports") == 0o755


@pytest.mark.parametrize("loose", [0o644, 0o660, 0o666])
def test_open_ledger_file_is_made_private_with_a_warning(load: TargetRunner, loose: int) -> None:
    load([schema(), *people(1)]).succeeded()
    (load.folder / LEDGER).chmod(loose)
    outcome = load([schema(), *people(1)]).succeeded()
    assert mode(load.folder / LEDGER) == 0o600
    assert [f"file mode 0{loose:o}" in one for one in outcome.warnings] == [True]
    assert load([schema(), *people(1)]).succeeded().warnings == []


def test_open_budget_and_sandbox_files_are_made_private_with_a_warning(
    load: TargetRunner,
) -> None:
    load.config = {"api_key": load.config["api_key"], "sandbox": True, "list_id": 1}
    changes = {"sandbox_path": "account.db", "rate_budget_url": "budget.db"}
    load([schema(), *people(1)], **changes).succeeded()
    for name in ("account.db", "budget.db"):
        (load.folder / name).chmod(0o664)
    outcome = load([schema(), *people(1)], **changes).succeeded()
    assert {mode(load.folder / name) for name in ("account.db", "budget.db")} == {0o600}
    assert "The rate budget in budget.db could be used by others" in outcome.log
    assert "Other users could access account.db (mode 0664)" in outcome.log


@pytest.mark.parametrize(
    "changes",
    [
        {"ledger_url": "sqlite:///planted"},
        {"rate_budget_url": "planted", "requests_per_second": 50},
        {"sandbox": True, "sandbox_path": "planted"},
    ],
    ids=["ledger", "rate budget", "sandbox"],
)
@pytest.mark.parametrize("what", ["link", "dangling link", "pipe", "folder"])
def test_database_behind_a_link_or_special_file_is_refused(
    load: TargetRunner, changes: dict[str, Any], what: str
) -> None:
    target, planted = load.folder / "target", load.folder / "planted"
    if what == "link":
        target.write_bytes(b"")
    if "link" in what:
        planted.symlink_to(target)
    elif what == "pipe":
        os.mkfifo(planted)
    else:
        planted.mkdir()
    outcome = load([schema(), *people(1), state(1)], **changes)
    assert outcome.code == 1
    assert outcome.states == []
    assert "planted" in outcome.log.splitlines()[-1]
    assert target.read_bytes() == b"" if what == "link" else not target.exists()
    if "link" in what:
        assert "symbolic link" in outcome.log.splitlines()[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"ledger_url": "sqlite:///precious"},
        {"rate_budget_url": "precious", "requests_per_second": 50},
        {"sandbox": True, "sandbox_path": "precious"},
    ],
    ids=["ledger", "rate budget", "sandbox"],
)
def test_file_of_another_program_keeps_its_mode(
    load: TargetRunner, changes: dict[str, Any]
) -> None:
    precious = load.folder / "precious"
    precious.write_text("root:x:0:0:\n")
    precious.chmod(0o644)
    outcome = load([schema(), *people(1), state(1)], **changes)
    assert outcome.code == 1
    assert "precious" in outcome.log.splitlines()[-1]
    assert (mode(precious), precious.read_text()) == (0o644, "root:x:0:0:\n")


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_link_beside_the_ledger_is_not_followed(load: TargetRunner, ending: str) -> None:
    load([schema(), *people(1)]).succeeded()
    target = load.folder / "target"
    target.write_text("precious")
    (load.folder / f"{LEDGER}{ending}").symlink_to(target)
    outcome = load([schema(), *people(1)])
    assert outcome.code == 1
    assert f"{LEDGER}{ending}" in outcome.log.splitlines()[-1]
    assert target.read_text() == "precious"


def without_rights(command: list[str]) -> list[str]:
    """Let a command have no more rights than another user, also where the tests run as root."""
    if os.geteuid():
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("this needs `setpriv`, or a user who is not root")
    return [setpriv, "--bounding-set=-all", "--inh-caps=-all", *command]


def run_without_rights(load: TargetRunner, **changes: Any) -> tuple[int, str]:
    done = subprocess.run(
        without_rights(load.command(**changes)),
        input=lines([schema(), *people(1)]),
        capture_output=True,
        cwd=load.folder,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stderr.decode()


def test_preview_of_a_read_only_ledger_creates_no_files(
    load: TargetRunner,
) -> None:
    load([schema(), *people(1)]).succeeded()
    (load.folder / LEDGER).chmod(0o400)
    code, log = run_without_rights(load, dry_run=True)
    assert code == 0, log
    assert "1 would be unchanged" in log
    assert [one.name for one in load.folder.glob(f"{LEDGER}*")] == [LEDGER]


def test_files_beside_the_ledger_are_private(load: TargetRunner) -> None:
    load([schema(), *people(1)]).succeeded()
    for ending in ("-wal", "-shm"):
        beside = load.folder / f"{LEDGER}{ending}"
        beside.write_bytes(b"")
        beside.chmod(0o400)
    code, log = run_without_rights(load)
    assert code == 0, log


@pytest.mark.parametrize("query", ["uri=true", "uri=1&mode=rwc", "uri=false"])
def test_special_sqlite_names_are_refused_as_ledger(load: TargetRunner, query: str) -> None:
    target = load.folder / "target"
    target.write_bytes(b"")
    (load.folder / "planted").symlink_to(target)
    url = f"sqlite:///file:planted?{query}"
    for changes in ({}, {"dry_run": True}):
        outcome = load([schema(), *people(1)], ledger_url=url, **changes)
        assert outcome.code == 1
        assert "without `uri`" in outcome.log.splitlines()[-1]
    assert target.read_bytes() == b""
    assert not (load.folder / "file:planted").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_ledger_of_another_user_is_a_clear_error(load: TargetRunner) -> None:
    load([schema(), *people(1)]).succeeded()
    os.chown(load.folder / LEDGER, 4321, 4321)
    last = load([schema(), *people(1)]).log.splitlines()[-1]
    assert "it belongs to another user. Give it to this user, or name another place." in last


def test_dangling_link_is_refused_by_check_and_run(load: TargetRunner) -> None:
    (load.folder / "reports").symlink_to("nowhere")
    done = subprocess.run(
        [*load.command(), "--test"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=load.folder,
        check=False,
        timeout=60,
        text=True,
    )
    assert done.returncode == 1
    assert "'report_path' names reports, which is not a writable folder" in done.stdout


def test_link_in_place_of_the_report_index_is_replaced(load: TargetRunner) -> None:
    target = load.folder / "target"
    target.write_text("precious")
    (load.folder / "reports").mkdir()
    (load.folder / "reports" / "index.html").symlink_to(target)
    load([schema(), *people(1)]).succeeded()
    assert target.read_text() == "precious"
    assert not (load.folder / "reports" / "index.html").is_symlink()


def test_folder_may_be_a_link(load: TargetRunner) -> None:
    for name in ("reports", "rejects"):
        (load.folder / f"disk-{name}").mkdir()
        (load.folder / name).symlink_to(load.folder / f"disk-{name}")
    outcome = load([schema(), BAD, *people(1)]).succeeded()
    assert len(outcome.reject_files) == 1
    assert list((load.folder / "disk-reports").glob("run-*.json"))


def test_no_temporary_files_remain(load: TargetRunner) -> None:
    load([schema(), *people(1)]).succeeded()
    assert [one.name for one in (load.folder / "reports").iterdir() if one.name[0] == "."] == []


# What can't be written is named


def limited(size: int) -> dict[str, Any]:
    """Let a process write files of so many bytes at most."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


def test_reject_file_over_the_size_limit_is_named(load: TargetRunner) -> None:
    large = record("nobody", first_name="x" * 3_000_000)
    outcome = process(load, [schema(), large, state(1)], how=limited(2_000_000))
    assert outcome.code == 1
    assert "rejects/profiles-" in outcome.log.splitlines()[-1]
    assert "ulimit -f" in outcome.log.splitlines()[-1]
    assert outcome.states == []


def test_report_over_the_size_limit_is_named(load: TargetRunner) -> None:
    names = {f"{'x' * 2_000}{n}": "string" for n in range(1_000)}
    outcome = process(load, [schema(**names), *people(1)], how=limited(1_500_000))
    assert outcome.code == 1
    assert "The report can't be written: reports/run-" in outcome.log.splitlines()[-1]


def test_ledger_over_the_size_limit_is_named(load: TargetRunner) -> None:
    outcome = process(load, [schema(), *people(1), state(1)], how=limited(8_192))
    assert outcome.code == 1
    assert f"The ledger at {LEDGER} can't be used" in outcome.log.splitlines()[-1]
    assert "psycopg" not in outcome.log


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ledger_url": "sqlite:///full/ledger.db"}, "full/ledger.db"),
        ({"rejects_path": "full"}, "full/profiles-"),
        ({"report_path": "full"}, "full/run-"),
        ({"rate_budget_url": "full/budget.db", "requests_per_second": 50}, "full/budget.db"),
        ({"sandbox": True, "sandbox_path": "full/account.db"}, "full/account.db"),
    ],
    ids=["ledger", "rejects", "report", "rate budget", "sandbox"],
)
def test_full_disk_error_names_the_file(
    load: TargetRunner, changes: dict[str, Any], told: str
) -> None:
    full = load.folder / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", str(full)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this needs the right to mount")
    try:
        (full / "rest").write_bytes(b"x" * 4096)
        outcome = load([schema(), BAD, *people(1), state(1)], **changes)
    finally:
        subprocess.run(["umount", str(full)], check=True)
    last = outcome.log.splitlines()[-1]
    assert outcome.code == 1
    assert told in last
    assert "the disk is full" in last.lower()
    assert "Make room" in last or "make room" in last


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_budget_url": "no/budget.db", "requests_per_second": 50},
        {"sandbox": True, "sandbox_path": "no/account.db"},
    ],
    ids=["rate budget", "sandbox"],
)
def test_missing_folder_is_a_clear_error(load: TargetRunner, changes: dict[str, Any]) -> None:
    last = load([schema(), *people(1)], **changes).log.splitlines()[-1]
    assert "no/" in last
    assert "its folder is missing" in last
    assert "Make the folder, or name another place." in last


@pytest.mark.parametrize("how", [{}, {"dry_run": True}])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url: f"{url}-other", "it has no such database or user"),
        (
            lambda url: re.sub(r"//[^@]*@[^:/]*", "//u:Secr3t@Pw@no-such-host.invalid", url),
            "the host name is not known",
        ),
    ],
    ids=["database", "host"],
)
def test_unusable_server_error_has_one_cause(
    load: TargetRunner, postgres_url: str, change: Any, told: str, how: dict[str, Any]
) -> None:
    url = change(postgres_url)
    outcome = load([schema(), *people(1)], ledger_url=url, **how)
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert told in last
    assert "locked" not in last
    assert "Secr3t" not in outcome.log
    assert "Pw@" not in outcome.log


# Standard output


@pytest.mark.parametrize("seconds", [30, 0])
def test_closed_stdout_means_state_not_written(
    load: TargetRunner, sandbox: SandboxServer, seconds: float
) -> None:
    started = load.command(checkpoint_seconds=seconds)
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *started]
    data = lines([schema(), *people(2), state(1)])
    done = subprocess.run(
        command, input=data, capture_output=True, cwd=load.folder, check=False, timeout=60
    )
    log = done.stderr.decode()
    assert done.returncode == 1
    assert "STATE could not be written to standard output" in log.splitlines()[-1]
    assert "Traceback" not in log
    assert len(sandbox.export()) == 2
    again = load([schema(), *people(2), state(1)]).succeeded()
    assert again.states == [1]


def test_closed_stderr_is_harmless(load: TargetRunner, sandbox: SandboxServer) -> None:
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *load.command()]
    data = lines([schema(), *people(2), state(1)])
    done = subprocess.run(
        command, input=data, capture_output=True, cwd=load.folder, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, b"1\n")
    assert len(sandbox.export()) == 2


def test_broken_pipe_means_state_not_written(
    load: TargetRunner,
) -> None:
    read, write = os.pipe()
    with subprocess.Popen(
        load.command(),
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=load.folder,
    ) as target:
        os.close(write)
        os.close(read)
        _, err = target.communicate(lines([schema(), *people(2), state(1)]), timeout=60)
    log = err.decode()
    assert target.returncode == 1
    assert "STATE could not be written to standard output" in log.splitlines()[-1]
    assert "Traceback" not in log
    assert "Exception ignored" not in log


def test_full_disk_behind_stdout_is_an_error(load: TargetRunner) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            load.command(),
            input=lines([schema(), *people(2), state(1)]),
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=load.folder,
            check=False,
            timeout=60,
        )
    last = done.stderr.decode().splitlines()[-1]
    assert done.returncode == 1
    assert "STATE could not be written to standard output: the disk is full" in last


def test_closed_stdout_is_harmless_without_state(load: TargetRunner) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *load.command()]
    done = subprocess.run(
        command,
        input=lines([schema(), *people(2)]),
        capture_output=True,
        cwd=load.folder,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("options", [["--test"], ["--about"], ["--version"], ["--help"]])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_command_with_closed_stdout_has_no_traceback(
    load: TargetRunner, options: list[str], where: str
) -> None:
    code, log = in_shell(load, [*load.command(), *options], where)
    assert "Traceback" not in log
    assert "Exception ignored" not in log
    if where == ">/dev/full":
        assert code == 1
        assert "Standard output can't be written: the disk is full" in log.splitlines()[-1]


@pytest.mark.parametrize(
    ("option", "where", "told"),
    [
        ("show", ">/dev/full", "the disk is full"),
        ("show", ">&-", "standard output is closed"),
        ("--help", ">/dev/full", "the disk is full"),
    ],
)
def test_ledger_command_with_closed_stdout(
    load: TargetRunner, option: str, where: str, told: str
) -> None:
    load([schema(), *people(1)]).succeeded()
    command = [str(Path(SCRIPT).with_name("target-activecampaign-ledger")), option]
    code, log = in_shell(load, command, where)
    assert code == 1
    assert log.splitlines() == [
        f"target-activecampaign-ledger: Standard output can't be written: {told}."
    ]


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_run_with_closed_stderr_succeeds(
    load: TargetRunner, sandbox: SandboxServer, options: list[str]
) -> None:
    code, _ = in_shell(load, [*load.command(), *options], "2>&-")
    assert code == 0
    assert len(sandbox.export()) == (0 if options else 2)


def in_shell(load: TargetRunner, command: list[str], where: str) -> tuple[int, str]:
    """Run a command whose output goes elsewhere; returns its exit code and its log."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {where}', "sh", *command],
        input=lines([schema(), *people(2), state(1)]),
        capture_output=True,
        cwd=load.folder,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr.decode()


# Reports of old runs


def ids(folder: Path) -> list[str]:
    return sorted({one.stem for one in folder.glob("run-*.*")})


def test_oldest_reports_are_deleted(load: TargetRunner) -> None:
    reports = load.folder / "reports"
    stay = ["run-2020.json", "run-20200101T000000-abc.json", "notes.html", "run-x.html"]
    for n in range(4):
        load([schema(), BAD, *people(n)], keep_reports=3).succeeded()
        if n == 0:
            for name in stay:
                (reports / name).write_text("{}")
            (first,) = reports.glob("run-*T*-????????????.json")
        time.sleep(1.1)  # a name has whole seconds
    ours = [one for one in ids(reports) if len(one) == len(first.stem)]
    assert len(ours) == 3
    assert first.stem not in ours
    assert not first.with_suffix(".html").exists()
    assert all((reports / name).exists() for name in stay)
    assert len(list((load.folder / "rejects").glob("*.jsonl"))) == 4
    index = (reports / "index.html").read_text("utf-8")
    assert first.stem not in index
    assert all(f"{one}.html" in index for one in ours)


def test_latest_report_is_kept_whatever_the_clock_says(
    load: TargetRunner,
) -> None:
    reports = load.folder / "reports"
    reports.mkdir()
    future = reports / "run-29990101T000000-0123456789ab.json"
    future.write_text("{}")
    outcome = load([schema(), *people(1)], keep_reports=1, dry_run=True).succeeded()
    assert outcome.report["dry_run"]
    assert not future.exists()
    assert len(ids(reports)) == 1


@pytest.mark.parametrize("keep", [0, None])
def test_keep_reports_default_and_zero(load: TargetRunner, keep: int | None) -> None:
    reports = load.folder / "reports"
    reports.mkdir()
    for n in range(105):
        (reports / f"run-20200101T000000-{n:012x}.json").write_text("{}")
    load([schema(), *people(1)], keep_reports=keep).succeeded()
    assert len(ids(reports)) == (106 if keep == 0 else 100)


def test_negative_keep_reports_is_refused(load: TargetRunner) -> None:
    assert load([schema()], keep_reports=-1).code == 1


# Drivers


@pytest.mark.parametrize(
    ("module", "extra", "changes"),
    [
        ("psycopg", "postgres", {"ledger_url": "postgresql+psycopg://u:pw@127.0.0.1:1/db"}),
        (
            "psycopg",
            "postgres",
            {"ledger_url": "postgresql+psycopg://u:pw@127.0.0.1:1/db", "dry_run": True},
        ),
        ("psycopg", "postgres", {"rate_budget_url": "postgresql://u:pw@127.0.0.1:1/db"}),
        ("redis", "redis", {"rate_budget_url": "redis://127.0.0.1:1/0"}),
        ("phonenumbers", "phone", {"default_country": "DE"}),
        ("starlette", "sandbox", {"sandbox": True}),
        ("uvicorn", "sandbox", {"sandbox": True}),
    ],
)
def test_missing_driver_names_the_extra(
    load: TargetRunner, module: str, extra: str, changes: dict[str, Any]
) -> None:
    absent = load.folder / "absent"
    absent.mkdir()
    text = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')\n"
    (absent / f"{module}.py").write_text(text)
    how = {"env": {**os.environ, "PYTHONPATH": str(absent)}}
    outcome = process(load, [schema(), *people(1)], how=how, **changes)
    assert outcome.code == 1
    # A setting is checked with the others, before the last line.
    last = outcome.log if extra == "phone" else outcome.log.splitlines()[-1]
    assert module in last
    assert f"pip install 'target-activecampaign[{extra}]'" in last
    assert f"pip_url: target-activecampaign[{extra}]" in last


def test_sandbox_in_use_is_a_clear_error(load: TargetRunner, start_sandbox: Any) -> None:
    start_sandbox(path=str(load.folder / "account.db"))
    outcome = load([schema(), *people(1)], sandbox=True, sandbox_path="account.db")
    last = outcome.log.splitlines()[-1]
    assert outcome.code == 1
    assert "in use by another sandbox" in last
    assert "pip install" not in outcome.log


# Proxies


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_dead_proxy_is_named_without_its_password(load: TargetRunner, variable: str) -> None:
    load.command(api_url="https://acct.api-us1.com")
    env = {name: one for name, one in os.environ.items() if not name.lower().endswith("_proxy")}
    env[variable] = "http://user:Secr3t-Passw0rd@127.0.0.1:9"
    done = subprocess.run(
        [SCRIPT, "--test", "--config", "config.json"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        cwd=load.folder,
        env=env,
        check=False,
        timeout=60,
        text=True,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"nothing listens at the proxy http://127.0.0.1:9 (from {variable})" in printed
    assert "at that address" not in printed
    assert "Secr3t" not in printed
