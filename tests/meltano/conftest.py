"""What the tests through Meltano share: a PostgreSQL server, and a project that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.meltano_project import MeltanoProject, require_meltano
from tests.support.postgres_server import PostgresServer, require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    require()
    with PostgresServer() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> MeltanoProject:
    require_meltano()
    return MeltanoProject(tmp_path / "project")


@pytest.fixture
def warehouse_project(project: MeltanoProject, server: PostgresServer) -> MeltanoProject:
    """The project, with the server as its warehouse."""
    project.variables["WAREHOUSE_URL"] = server.url
    return project
