"""The progress of a tap's stream: what completes it."""

from __future__ import annotations

import pytest

from target_activecampaign.sync.completeness import StreamProgress


@pytest.mark.parametrize(
    ("version", "activated", "is_complete"),
    [(1, 1, True), (1, "1", True), (None, 7, True), (1, 2, False)],
)
def test_activate_version_after_records_completes_their_version(
    version: object, activated: object, *, is_complete: bool
) -> None:
    progress = StreamProgress()
    progress.add_records(3, version)
    progress.activate(activated)
    assert progress.ended is is_complete


def test_activate_version_before_records_completes_nothing() -> None:
    progress = StreamProgress()
    progress.activate(1)
    assert not progress.ended


def test_record_after_activate_version_makes_it_incomplete() -> None:
    progress = StreamProgress()
    progress.add_records(1, 1)
    progress.activate(1)
    progress.add_records(2, 1)
    assert not progress.ended
    assert progress.records == 3
