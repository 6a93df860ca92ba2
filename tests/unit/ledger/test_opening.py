"""Unit tests of the checks before a ledger is opened."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from target_activecampaign.ledger import opening, schema
from target_activecampaign.storage.sqlite_files import State

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 150


def create(path: Path) -> None:
    """Create a ledger's file as another process would, but for what is in its tables."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN IMMEDIATE")
        for name in schema.metadata.tables:
            db.execute(f"CREATE TABLE {name} (a)")
        db.execute(f"PRAGMA application_id = {0x41434C47}")
        db.execute("COMMIT")
        time.sleep(0.002)


def test_ledger_that_is_being_created_is_not_taken_for_damaged(tmp_path: Path) -> None:
    found = set()
    for number in range(ROUNDS):
        path = tmp_path / f"{number}.db"
        path.touch()
        creator = threading.Thread(target=create, args=(path,))
        creator.start()
        while creator.is_alive():
            found.add(opening.check_file(path))
        creator.join()
        assert opening.check_file(path) is State.EXPECTED

    assert found <= {State.NEW, State.EXPECTED}
