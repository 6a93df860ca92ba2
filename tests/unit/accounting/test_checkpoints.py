"""STATE leaves in order, as soon as may be, and never ahead of a record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.accounting.state import Checkpoints

moves = st.lists(st.one_of(st.just("read"), st.just("state"), st.integers(0, 99)), max_size=80)


@given(moves)
def test_state_is_released_when_all_records_before_it_are_settled(story: list[str | int]) -> None:
    checkpoints = Checkpoints()
    log: list[object] = []  # what was read, in order: a record's epoch or a state
    open_records: list[tuple[int, int]] = []  # (position in the log, epoch)
    taken = -1
    for move in story:
        if move == "read":
            open_records.append((len(log), checkpoints.read()))
            log.append("record")
        elif move == "state":
            checkpoints.state(len(log))
            log.append("state")
        elif open_records:
            _, epoch = open_records.pop(int(move) % len(open_records))
            checkpoints.settle({epoch: 1})
        barrier = min((position for position, _ in open_records), default=len(log))
        free = [p for p, what in enumerate(log) if what == "state" and taken < p < barrier]
        assert checkpoints.take() == (free[-1] if free else None)
        taken = free[-1] if free else taken
        assert checkpoints.unsettled == len(open_records)
