from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.postgres_server import PostgresServer, require

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    require()
    with PostgresServer() as running:
        yield running
