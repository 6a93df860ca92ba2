"""The ledger's database as an outsider sees it, and a run in progress."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from tests.support.mirrors import wait_for
from tests.support.target_runner import people, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fork_server import ForkedTargetRunner, RunningTarget
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer

LEDGER = ".activecampaign-ledger.db"
"""The file that the target creates by default."""
SCHEMA = "activecampaign_ledger"
"""The schema of its tables on PostgreSQL."""


class SystemClock:
    """The machine's clock in the place of ActiveCampaign's."""

    def server_time(self) -> float:
        return time.time()


@contextmanager
def database(url: str) -> Iterator[sa.Connection]:
    """A transaction in a database."""
    engine = sa.create_engine(url)
    try:
        with engine.begin() as db:
            yield db
    finally:
        engine.dispose()


@contextmanager
def ledger(url: str) -> Iterator[sa.Connection]:
    """A transaction among a ledger's own tables."""
    with database(url) as db:
        if db.dialect.name == "postgresql":
            db.exec_driver_sql(f"SET search_path TO {SCHEMA}")
        yield db


def empty_database(server: PostgresServer) -> str:
    """Empty the server's database; returns its URL as the ledger takes it."""
    with psycopg.connect(server.url, autocommit=True) as db:
        db.execute("DROP SCHEMA IF EXISTS activecampaign_ledger CASCADE")
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")
    return server.url.replace("postgresql://", "postgresql+psycopg://")


def wait_for_answers(url: str, count: int) -> None:
    """Wait until the answers to so many imports are written down in a ledger."""

    def are_known() -> bool:
        with ledger(url) as db:
            found = db.exec_driver_sql('SELECT count(*) FROM "import" WHERE batch_id IS NOT NULL')
            known: int = found.scalar_one()
        return known >= count

    wait_for(are_known)


@contextmanager
def run_in_progress(
    load: ForkedTargetRunner, sandbox: SandboxServer, **settings: Any
) -> Iterator[RunningTarget]:
    """A run that has delivered ten contacts and waits for more; killed at the end."""
    run = load.start(checkpoint_seconds=0.1, **settings)
    run.feed([schema(), *people(10)])
    wait_for(lambda: len(sandbox.export()) >= 10)
    yield run
    run.kill()
    run.wait()
