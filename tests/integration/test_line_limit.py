"""`max_line_bytes`, and batch files that are not regular: no input fills the memory or hangs."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import batch, lines, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

JSONL = {"format": "jsonl", "compression": "none"}
GZIP = {"format": "jsonl", "compression": "gzip"}
PARQUET = {"format": "parquet"}
SMALL = 65_536
"""The lowest limit that can be set."""
ROOM = 1_000_000
"""KiB of address space: far less than the inputs would take."""


def long_record(length: int) -> str:
    text = '{"type": "RECORD", "stream": "profiles", "record": {"email": "a@example.com", "x": ""}}'
    return text.replace('""', f'"{"y" * (length - len(text))}"')


def test_line_of_maximum_length_is_read(sandbox: SandboxServer, load: TargetRunner) -> None:
    load([schema(), long_record(SMALL), state(1)], max_line_bytes=SMALL).succeeded()
    assert set(sandbox.contacts()) == {"a@example.com"}


@pytest.mark.parametrize("line", [long_record(SMALL + 1), "x" * 200_000, " " * 200_000])
@pytest.mark.parametrize("end", ["\n", ""])
def test_longer_line_ends_run_with_its_number_and_advice(
    sandbox: SandboxServer, load: TargetRunner, line: str, end: str
) -> None:
    data = lines([schema(), *people(3), state(1)]) + (line + end).encode()
    outcome = load(data, max_line_bytes=SMALL)
    assert outcome.code == 1
    assert outcome.log.splitlines()[-1].endswith(
        "Line 6 of the input is longer than 65,536 bytes. Check whether it is one record, and "
        "raise 'max_line_bytes' if it is."
    )
    assert len(sandbox.contacts()) == 3
    assert outcome.states == [1]


@pytest.mark.parametrize("source", ["/dev/zero", "blanks"])
def test_endless_input_costs_no_memory(load: TargetRunner, source: str) -> None:
    made = "cat /dev/zero" if source == "/dev/zero" else "yes '   ' | tr -d '\\n'"
    outcome = shell(load, made)
    assert outcome.code == 1
    assert "Line 1 of the input is longer than 67,108,864 bytes" in outcome.log


def test_endless_input_file_costs_no_memory(load: TargetRunner) -> None:
    outcome = shell(load, "true", "--input", "/dev/zero")
    assert outcome.code == 1
    assert "Line 1 of the input is longer than 67,108,864 bytes" in outcome.log


def test_named_pipe_is_read_as_input(sandbox: SandboxServer, load: TargetRunner) -> None:
    pipe = load.folder / "pipe"
    os.mkfifo(pipe)
    (load.folder / "input").write_bytes(lines([schema(), record("a@example.com")]))
    outcome = shell(load, f"cat input > {pipe} &", "--input", str(pipe))
    assert outcome.code == 0, outcome.log
    assert set(sandbox.contacts()) == {"a@example.com"}


@pytest.mark.parametrize("encoding", [JSONL, GZIP], ids=["plain", "gzip"])
@pytest.mark.parametrize("what", ["zeros", "blanks", "record"])
def test_long_line_in_batch_file_ends_run_and_costs_no_memory(
    sandbox: SandboxServer, load: TargetRunner, encoding: dict[str, str], what: str
) -> None:
    piece = {"zeros": b"\0", "blanks": b" ", "record": b'{"email": "'}[what]
    rest = b" " if what == "blanks" else b"\0" if what == "zeros" else b"y"
    whole = piece + rest * 10_000_000
    path = load.folder / "batch"
    good = b'{"email": "a@example.com"}\n'
    if encoding is GZIP:
        more = gzip.compress(rest * 10_000_000)
        path.write_bytes(gzip.compress(good + whole) + more * 400)  # unpacked: 4 GB
    else:
        path.write_bytes(good + whole * 8)
    messages = lines([schema(), batch(encoding, path), state(1)])
    (load.folder / "messages").write_bytes(messages)
    outcome = shell(load, "cat messages")
    assert outcome.code == 1
    assert f"batch file {path.as_uri()} can't be read" in outcome.log
    assert "its line 2 is longer than 67,108,864 bytes" in outcome.log.splitlines()[-1]
    assert "'max_line_bytes'" in outcome.log.splitlines()[-1]
    assert set(sandbox.contacts()) == {"a@example.com"}
    assert outcome.states == []


@pytest.fixture
def strange(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Paths of what is no regular file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(tmp_path / "socket"))
        names = ("pipe", "link", "folder", "socket")
        yield {**{name: str(tmp_path / name) for name in names}, "device": "/dev/zero"}


@pytest.mark.parametrize("encoding", [JSONL, GZIP, PARQUET], ids=["plain", "gzip", "parquet"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "socket", "device"])
def test_batch_file_that_is_not_regular_is_refused(
    sandbox: SandboxServer,
    load: TargetRunner,
    strange: dict[str, str],
    encoding: dict[str, str],
    kind: str,
) -> None:
    messages = [schema(), record("a@example.com"), state(1), batch(encoding, strange[kind])]
    outcome = load(messages)
    assert outcome.code == 1
    why = "it is a folder" if kind == "folder" else "it is a pipe, a socket or a device"
    assert why in outcome.log.splitlines()[-1]
    assert strange[kind] in outcome.log.splitlines()[-1]
    assert outcome.states == [1]
    assert set(sandbox.contacts()) == {"a@example.com"}


@pytest.mark.parametrize("url", ["a\0b.jsonl", "file:///tmp/a%00b", "a\ud800.jsonl"])
def test_batch_file_with_invalid_name_is_an_error(load: TargetRunner, url: str) -> None:
    outcome = load([schema(), batch(JSONL, url)])
    assert outcome.code == 1
    assert "can't be the name of a file" in outcome.log.splitlines()[-1]


@pytest.mark.parametrize("limit", [0, -1, 65_535, True, "much"])
def test_max_line_bytes_is_validated(load: TargetRunner, limit: Any) -> None:
    outcome = load([schema()], max_line_bytes=limit)
    assert outcome.code == 1
    assert "max_line_bytes" in outcome.log


def shell(load: TargetRunner, source: str, *options: str) -> Outcome:
    """Run the target on what a shell's command writes, with little room."""
    command = " ".join([*load.command(), *options])
    pipe = source if source.endswith("&") else f"{source} |"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -v {ROOM}; {pipe} {command}"],
        capture_output=True,
        cwd=load.folder,
        timeout=120,
        check=False,
    )
    return load.outcome(done.returncode, done.stdout, done.stderr, b"")
