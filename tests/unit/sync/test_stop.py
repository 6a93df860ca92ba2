"""The request that the run ends."""

from __future__ import annotations

import pytest

from target_activecampaign.errors import StoppedError
from target_activecampaign.sync.stop import StopRequest


def test_check_ends_what_is_going_on_once_the_request_is_set() -> None:
    stop = StopRequest()
    stop.check()
    stop.set()
    assert stop.is_set
    with pytest.raises(StoppedError):
        stop.check()
