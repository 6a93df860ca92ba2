"""What the tests through Meltano share: a PostgreSQL server, and a project that reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.meltano_project import MeltanoProject, require_meltano

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres_server import PostgresServer


@pytest.fixture
def server(postgres: PostgresServer) -> PostgresServer:
    """A server whose database is empty."""
    postgres.renew()
    return postgres


@pytest.fixture
def project(tmp_path: Path) -> MeltanoProject:
    require_meltano()
    return MeltanoProject(tmp_path / "project")


@pytest.fixture
def warehouse_project(project: MeltanoProject, server: PostgresServer) -> MeltanoProject:
    """The project, with the server as its warehouse."""
    project.variables["WAREHOUSE_URL"] = server.url
    return project
