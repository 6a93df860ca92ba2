"""The SDK's standard tests of a tap, against a sandbox with a record for each stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from singer_sdk.testing import get_tap_test_class

from target_activecampaign.tap.tap import TapActiveCampaignConsent

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer

CONFIG: dict[str, Any] = {
    "api_url": "http://127.0.0.1:9",
    "api_key": "key-of-no-account",
    "requests_per_second": 0,
}
"""It names the sandbox once that runs: the SDK's tests take no fixtures."""

Standard = get_tap_test_class(TapActiveCampaignConsent, config=CONFIG)


@pytest.fixture(scope="module", autouse=True)
def account(shared_sandbox: SandboxServer) -> SandboxServer:
    """The account that all tests of the module read."""
    shared_sandbox.reset()
    CONFIG.update(api_url=shared_sandbox.url, api_key=shared_sandbox.api_key)
    shared_sandbox.prepare(
        {"email": "bounced@example.com", "bounces": [{"campaign": 1, "message": 2, "code": 3}]},
        excluded=({"match_phrase": "never@example.com", "lists": [1]},),
    )
    shared_sandbox.opt_out(
        "left@example.com", 1, campaign=1, message=2, automation=3, reason="enough"
    )
    return shared_sandbox


class TestStandard(Standard):  # type: ignore[misc, valid-type]
    """The standard tests."""

    params: ClassVar[dict[str, Any]] = Standard.params
