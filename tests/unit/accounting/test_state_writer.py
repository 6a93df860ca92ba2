"""STATE is written after what it must not run ahead of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from target_activecampaign.accounting.state import Checkpoints, StateWriter
from target_activecampaign.ledger import Ledger, RejectedContact
from tests.support.ledgers import LEDGER, SystemClock, ledger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("at_once", [True, False])
def test_rejected_records_are_in_the_ledger_before_state_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], at_once: bool
) -> None:
    url = f"sqlite:///{tmp_path / LEDGER}"
    opened = Ledger(url, "account", "run", SystemClock())
    checkpoints = Checkpoints()
    writer = StateWriter(checkpoints, 0)
    writer.ledger = opened
    checkpoints.read()
    checkpoints.state({"position": 1})
    opened.rejected.add(RejectedContact(1, b"ada", None, 1, "IMPORT_FAILED", 1, [b"{}"]))
    checkpoints.settle({0: 1})
    with ledger(url) as db:
        assert not db.exec_driver_sql("SELECT * FROM retry").all(), "they are buffered"

    writer.write(at_once=at_once)

    assert capfd.readouterr().out == '{"position":1}\n'
    with ledger(url) as db:
        assert db.exec_driver_sql("SELECT code FROM retry").scalars().all() == ["IMPORT_FAILED"]
    opened.close(clean=True, outcome="completed", counts={})
