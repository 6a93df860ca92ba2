"""People who wait in the ledger to be written to its table: nothing of them is lost by a kill."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from target_activecampaign.ledger import Ledger, MemberUpdate
from target_activecampaign.model.ownership import Ownership
from tests.support.ledgers import LEDGER, SystemClock, ledger
from tests.support.mirrors import NO_GUARDS, activate, records, wait_for
from tests.support.target_runner import people, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fork_server import ForkedTargetRunner, RunningTarget
    from tests.support.sandbox_server import SandboxServer

pytestmark = pytest.mark.quick

MIRROR: dict[str, Any] = {"sync_mode": "mirror", "guards": NO_GUARDS}


def count(load: ForkedTargetRunner, what: str) -> int:
    """How many rows of a table there are, once there are tables."""
    if not (load.folder / LEDGER).exists():
        return 0
    with ledger(f"sqlite:///{load.folder / LEDGER}") as db:
        if not sa.inspect(db).has_table("existing"):
            return 0
        return int(db.execute(sa.text(f"SELECT count(*) FROM {what}")).scalar_one())  # noqa: S608


def killed(running: RunningTarget) -> None:
    running.kill()
    assert running.wait().code == -signal.SIGKILL


def test_contacts_confirmed_by_a_killed_run_are_not_sent_again(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    messages = [schema(), *people(6)]
    running = load.start(batch_size_rows=2)
    running.feed(messages)
    wait_for(lambda: count(load, "import WHERE confirmed IS NOT NULL") == 3)
    killed(running)
    assert count(load, "member") == 0
    imports = len(sandbox.imports())

    outcome = load([*messages, state("end")]).succeeded()

    assert outcome.counts == {"read": 6, "unchanged": 6}
    assert len(sandbox.imports()) == imports
    assert (count(load, "member"), count(load, "import")) == (6, 0)


def test_contacts_seen_by_a_killed_mirror_are_not_removed(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    everyone = [schema(), *records("ada bob cyd dan", version=1), activate(1), state(1)]
    load(everyone, **MIRROR).succeeded()
    running = load.start(**MIRROR)
    running.feed([schema(), *records("ada bob", version=70)])
    both = "(SELECT 1 FROM sighting GROUP BY segment HAVING sum(length(people)) = 32)"
    wait_for(lambda: count(load, both) == 1)
    killed(running)
    assert count(load, "member WHERE seen = 2") == 0

    rest = [schema(), *records("cyd", version=70), activate(70), state(2)]
    outcome = load(rest, **MIRROR).succeeded()

    assert outcome.report["left"] == 1
    on_the_list = [one["email"] for one in sandbox.export() if one["lists"] == {"1": 1}]
    assert sorted(on_the_list) == ["ada@example.com", "bob@example.com", "cyd@example.com"]
    assert count(load, "sighting") == 0


def test_buffered_contacts_are_written_after_a_time(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    """What waits is written after a time, so that others can see it."""
    running = load.start(checkpoint_seconds=0.1)
    running.feed([schema(), *people(6)])
    wait_for(lambda: count(load, "member") == 6)
    running.wait().succeeded()


def test_repeated_contact_is_compared_with_its_confirmed_values(
    sandbox: SandboxServer, load: ForkedTargetRunner
) -> None:
    running = load.start(batch_size_rows=2)
    running.feed([schema(), *people(6)])
    wait_for(lambda: count(load, "import WHERE confirmed IS NOT NULL") == 3)
    running.feed(people(6))
    outcome = running.wait().succeeded()
    assert outcome.counts == {"read": 12, "added": 6, "unchanged": 6}
    assert len(sandbox.imports()) == 3


def test_late_import_does_not_reset_the_sync_number(tmp_path: Path) -> None:
    book = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "account", "run", SystemClock())
    segment = book.segments.claim("profiles", 1, mirror=True, mark=None).id
    ada = book.contact_hash("ada@example.com")

    def post(seen: int) -> int:
        return book.journal.begin(
            [(ada, [MemberUpdate(segment, b"digest", Ownership.ADDED_BY_US, seen, "ada")])]
        )

    book.journal.confirm(post(1), set())
    late = post(3)
    book.members.record_seen(segment, 4, unchanged=[ada], outdated=())
    assert book.members.count_seen(segment, 4) == 1
    book.journal.confirm(late, set())
    assert book.members.count_seen(segment, 4) == 1
    book.close(clean=True, outcome="completed", counts={})


def test_contacts_of_a_lost_import_count_as_not_delivered(tmp_path: Path) -> None:
    book = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "account", "run", SystemClock())
    segment = book.segments.claim("profiles", 1, mirror=False, mark=None).id
    ada = book.contact_hash("ada@example.com")
    for value in (b"first", b"second"):
        number = book.journal.begin([(ada, [MemberUpdate(segment, value, Ownership.UNTRACKED)])])
        if value == b"first":
            book.journal.confirm(number, set())
    assert book.members.find([segment], [ada])[ada][0].digest == b"first"
    book.journal.mark_lost(number)
    assert book.members.find([segment], [ada])[ada][0].digest is None
    book.close(clean=True, outcome="completed", counts={})
