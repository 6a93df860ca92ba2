"""What the tests share: a sandbox with its limits off, and the target to run against it.

Modules marked `quick` have both in the form in which an import takes no time worth mentioning.
"""

from __future__ import annotations

import itertools
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.model.timings import Timings
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.installed import ROOT, built, installed
from tests.support.mirrors import QUICK, quick_sandbox
from tests.support.postgres_server import PostgresServer, require
from tests.support.sandbox_server import API_KEY, SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.target_runner import TargetRunner


LONG = (
    "tests/meltano",
    "tests/docs/test_benchmarks.py",
    "tests/integration/test_volume.py",
    "tests/integration/test_kills.py",
    "tests/integration/test_random_profiles.py",
    "tests/docs/test_scale.py",
    "tests/integration/test_three_ways.py",
)
"""Where the tests are that take longest."""


@pytest.hookimpl(trylast=True)  # after tests were deselected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each process begin with its share of the longest tests.

    With `--dist=worksteal`, a process gets one block of the list, and whose block is done takes the
    end of another's. If one process had all long tests, it would work when all others are done.
    """
    places = {item: item.path.relative_to(config.rootpath).as_posix() for item in items}
    longest = [item for place in LONG for item in items if places[item].startswith(place)]
    others = (item for item in items if not places[item].startswith(LONG))
    blocks = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    dealt: list[pytest.Item] = []
    for number in range(blocks):
        end = len(dealt) + (len(items) - len(dealt)) // (blocks - number)
        dealt += longest[number::blocks]
        dealt += itertools.islice(others, max(0, end - len(dealt)))
    items[:] = [*dealt, *others]


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
    """What forks a child for each run of the target, with times that fit the usual sandbox."""
    return ForkServer(Timings(lost_answer_seconds=0.5, lost_answer_patience_seconds=5.0))


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
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests that need no more than a database of it."""
    require()
    with PostgresServer() as server:
        yield server


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
