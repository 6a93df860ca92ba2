"""From one account to another, by way of the tap: who has opted out does not arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.guide import example
from tests.support.mirrors import ACTIVE, address, on_list
from tests.support.tap_runner import TapRunner
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

NAMES = ["ada", "bob", "cyd"]


@pytest.mark.parametrize("addresses", ["plain", "sha256"])
def test_opted_out_people_do_not_arrive_as_subscribed(
    load: TargetRunner,
    sandbox: SandboxServer,
    start_sandbox: Callable[..., SandboxServer],
    tmp_path: Path,
    addresses: str,
) -> None:
    old = start_sandbox()
    old.prepare(*({"email": address(name), "lists": {"1": ACTIVE}} for name in NAMES))
    old.opt_out(address("bob"), 1)
    back = TapRunner(tmp_path, old)(addresses=addresses)
    assert back.code == 0, back.log
    opt_outs = [one for one in back.messages if one.get("stream") == "list_opt_outs"]
    contacts = [schema("contacts"), *(record(address(name), "contacts") for name in NAMES)]
    load.config.update(example("consent-tap.md", "round trip"))

    outcome = load([*contacts, *opt_outs]).succeeded()

    assert on_list(sandbox) == "ada cyd"
    assert sandbox.contacts().keys() == {address("ada"), address("cyd")}
    assert outcome.report["skipped"]["SUPPRESSED"]["records"] == 1
