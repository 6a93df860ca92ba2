"""Rejected records are tried again by the next run of their stream, by itself."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.custom_fields import CustomFields
from tests.support.fork_server import run_script
from tests.support.guide import block
from tests.support.ledgers import ledger
from tests.support.mirrors import (
    ACTIVE,
    DAY_SECONDS,
    UNSUBSCRIBED,
    activate,
    address,
    quick_sandbox,
)
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

ADA, BOB, CYD = (address(name) for name in ("ada", "bob", "cyd"))
NEW = "Diamond"
IMPORT = {"path": "*bulk_import", "method": "POST"}


class Source:
    """An incremental source: each run brings what changed since the last one.

    The people have a tier. `NEW` is no option of the account's field until `add_option`.
    """

    def __init__(self, load: TargetRunner, sandbox: SandboxServer) -> None:
        self.load = load
        self.sandbox = sandbox

    def __call__(self, *records: dict[str, Any], **settings: Any) -> Outcome:
        """Run it, ending with STATE."""
        return self.load([self.schema(), *records, state("end")], **settings)

    @staticmethod
    def schema(**properties: Any) -> dict[str, Any]:
        return {
            **schema(id="integer", tier="string", consent="boolean", _sdc_deleted_at="string"),
            "key_properties": ["id"],
            "bookmark_properties": ["id"],
            **properties,
        }

    def row(self, email: str, tier: str = NEW, **values: Any) -> dict[str, Any]:
        """A record, whose row's key is the first letter of the address unless it is given."""
        return record(email, **{"id": ord(email[0]), "tier": tier, **values})

    def add_option(self) -> None:
        """Add the tier that was missing."""
        fields = CustomFields(self.sandbox)
        fields.add_options(fields.id("Tier"), NEW)

    def waiting(self) -> int:
        """The number of contacts whose records the next run tries again."""
        shown = self.ledger("show", "--format", "json")
        segments = json.loads(shown)["connections"][0]["segments"]
        return sum(one["retries"] for one in segments)

    def ledger(self, *arguments: str, given: bytes = b"") -> str:
        """Run the command of the ledger."""
        script = SCRIPT.replace("target-activecampaign", "target-activecampaign-ledger")
        path = self.load.folder / ".activecampaign-ledger.db"
        command = [script, *arguments[:1], "--ledger-url", f"sqlite:///{path}", *arguments[1:]]
        done = run_script(command, given, folder=self.load.folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def listed(self, email: str) -> int | None:
        """The status of a contact on the list."""
        contact = self.sandbox.contacts().get(email)
        return None if contact is None else contact["lists"].get("1")


@pytest.fixture
def own_sandbox() -> Any:
    with quick_sandbox() as server:
        yield server


@pytest.fixture(scope="module")
def shared_sandbox() -> Any:
    """Of this module alone: options of a field outlive a reset."""
    with quick_sandbox(keep_bodies="yes") as server:
        yield server


@pytest.fixture
def source(load: TargetRunner, sandbox: SandboxServer) -> Source:
    return Source(load, sandbox)


def retries(outcome: Outcome, stream: str = "profiles") -> dict[str, Any]:
    found: dict[str, Any] = outcome.report["streams"][stream].get("retries", {})
    return found


def test_rejected_record_is_delivered_by_the_next_run(source: Source) -> None:
    first = source(source.row(ADA), source.row(BOB, "Gold")).succeeded()
    assert first.counts == {"read": 2, "added": 1, "invalid": 1}
    assert first.states == ["end"]
    assert retries(first) == {"retried": 0, "given_up": {}, "waiting": 1}
    assert "the next run tries 1 rejected contact again" in first.log
    file = source.load.folder / ".activecampaign-ledger.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    source.add_option()

    second = source(source.row(CYD, "Gold")).succeeded()

    assert second.counts == {"read": 1, "retried": 1, "added": 2}
    assert "1 read + 1 retried = 2 added;" in second.log
    assert retries(second) == {"retried": 1, "given_up": {}, "waiting": 0}
    assert source.listed(ADA) == ACTIVE
    assert source.waiting() == 0
    assert source().succeeded().counts == {}, "once is enough"
    page = next(iter((source.load.folder / "reports").glob(f"run-{second.report['run_id']}.html")))
    assert "read + retried" in page.read_text("utf-8")
