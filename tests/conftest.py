"""What the tests share: a sandbox with its limits off, and the target to run against it.

Modules marked `quick` have both in the form in which an import takes no time worth mentioning.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.installed import ROOT, built, installed
from tests.support.mirrors import QUICK, quick_sandbox
from tests.support.sandbox_server import API_KEY, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.target_runner import TargetRunner


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, or one process would work on them when all others are done."""
    items.sort(key=lambda item: "meltano" not in item.path.parts)


@pytest.fixture(scope="session")
def usual_sandbox_server() -> Iterator[SandboxServer]:
    """A sandbox whose import queue takes its time."""
    with SandboxServer(api_key=API_KEY) as server:
        yield server


@pytest.fixture(scope="session")
def quick_sandbox_server() -> Iterator[SandboxServer]:
    """A sandbox whose import queue takes none."""
    with quick_sandbox() as server:
        yield server


@pytest.fixture(scope="session")
def sdate_keeping_sandbox_server() -> Iterator[SandboxServer]:
    """Likewise, of an account where a membership keeps its `sdate` when it is active again."""
    with quick_sandbox(sdate_on_reactivation="keep") as server:
        yield server


@pytest.fixture(scope="module")
def shared_sandbox(request: pytest.FixtureRequest) -> SandboxServer:
    """One sandbox for all tests of a module that need no special one."""
    server: SandboxServer = request.getfixturevalue(f"{_pace(request)}_sandbox_server")
    return server


@pytest.fixture
def sandbox(shared_sandbox: SandboxServer) -> SandboxServer:
    """A sandbox with the sample account and no limits."""
    shared_sandbox.clear_faults()
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture
def sdate_keeping_sandbox(sdate_keeping_sandbox_server: SandboxServer) -> SandboxServer:
    """Likewise, where a membership keeps its `sdate` when it is active again."""
    sdate_keeping_sandbox_server.clear_faults()
    sdate_keeping_sandbox_server.reset()
    return sdate_keeping_sandbox_server


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
def usual_fork_server() -> ForkServer:
    """What forks a child for each run of the target."""
    return ForkServer()


@pytest.fixture(scope="session")
def quick_fork_server() -> ForkServer:
    """Likewise, with times that fit a quick sandbox."""
    return ForkServer(QUICK)


@pytest.fixture(scope="module")
def fork_server(request: pytest.FixtureRequest) -> ForkServer:
    """What runs the target for all tests of a module."""
    server: ForkServer = request.getfixturevalue(f"{_pace(request)}_fork_server")
    return server


def _pace(request: pytest.FixtureRequest) -> str:
    return "usual" if request.node.get_closest_marker("quick") is None else "quick"


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


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that would be published."""
    return built(tmp_path_factory.mktemp("wheel"), ROOT, "-t", "wheel")


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the programs are of an environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("empty") / "venv"
    yield installed(wheel, folder)
    shutil.rmtree(folder)
