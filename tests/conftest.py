"""What the tests share: a sandbox with its limits off, and the target to run against it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.fork_server import ForkedTargetRunner, ForkServer
from tests.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.target_runner import TargetRunner

API_KEY = f"key-{secrets.token_hex(12)}"
"""The key of all sandboxes of these tests: one that can't stand anywhere by chance."""


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[SandboxServer]:
    """One sandbox for all tests that need no special one."""
    with SandboxServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> SandboxServer:
    """A sandbox with the sample account, no limits, and a quick queue."""
    shared_sandbox.clear_faults()
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., SandboxServer]]:
    """Start a sandbox with options of the test's own."""
    started: list[SandboxServer] = []

    def start(*arguments: str, **options: Any) -> SandboxServer:
        started.append(SandboxServer(*arguments, api_key=API_KEY, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """What has imported the target once, and forks a child for each run."""
    with ForkServer() as server:
        yield server


@pytest.fixture
def target_for(tmp_path: Path, fork_server: ForkServer) -> Callable[[SandboxServer], TargetRunner]:
    """The target's console script, configured for a sandbox."""

    def make(server: SandboxServer) -> TargetRunner:
        return ForkedTargetRunner(tmp_path, server.url, server.api_key, fork_server)

    return make


@pytest.fixture
def load(
    sandbox: SandboxServer, target_for: Callable[[SandboxServer], TargetRunner]
) -> TargetRunner:
    """The target's console script, configured for `sandbox`."""
    return target_for(sandbox)
