"""The algorithm keeps the account's limits, whatever the server's windows, and wastes no time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_activecampaign.client.rate_limit.state import (
    ARRIVAL,
    LESSON_SECONDS,
    UNANSWERED,
    BudgetState,
    Document,
    Kind,
    Limits,
    decode,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS: tuple[Kind, ...] = ("request", "import", "single_import")
WINDOWS = {"request": 1.0, "import": 60.0, "single_import": 60.0}
LEASE = 120.0
TICK = 1e-6

both = pytest.mark.parametrize("is_shared", [False, True], ids=["memory", "shared"])
"""A store in memory, and one that is shared: there, holders may die and clocks may go back."""


@dataclass
class Account:
    """A budget on a clock of its own, and when its requests reached the server.

    `now` is the time as it really passes; the store's clock shows `behind` seconds less.
    """

    is_shared: bool = True
    requests_per_second: float | None = 5
    imports_per_minute: float | None = 100
    single_imports_per_minute: float | None = 20
    now: float = 100_000.0
    behind: float = 0.0
    content: bytes | None = None
    document: Document | None = None
    arrivals: dict[Kind, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    out: list[tuple[float, str, Kind, float]] = field(default_factory=list)
    slots: int = 0

    def __post_init__(self) -> None:
        self.limits = Limits(
            self.requests_per_second,
            self.imports_per_minute,
            self.single_imports_per_minute,
            lease=LEASE,
            is_shared=self.is_shared,
        )

    def change(self, what: Callable[..., Any], *arguments: Any) -> Any:
        """Change the budget as a store does: only a shared one keeps bytes."""
        document = decode(self.content) if self.is_shared else self.document
        state = BudgetState(document, self.now - self.behind, self.limits)
        result = what(state, *arguments)
        document = state.changed_document()
        if document is not None and self.is_shared:
            self.content = encode(document)
        elif document is not None:
            self.document = document
        return result

    def wait(self, kind: Kind) -> float:
        seconds: float = self.change(BudgetState.seconds_until_free, kind)
        return seconds

    def send(
        self,
        kind: Kind,
        takes: float = 0.0,
        arrives_after: float = 0.0,
        *,
        dawdles: float = 0.0,
        dies: bool = False,
    ) -> None:
        """Wait for a slot, as a free thread would, and send a request that takes a while."""
        self.slots += 1
        slot = f"slot {self.slots}"
        while wait := self.change(BudgetState.take, kind, slot):
            if not self.is_shared and self.out:  # the limiter asks again at each answer
                wait = min(wait, min(self.out)[0] - self.now)
            self.pass_time(max(wait, TICK))
        sent = self.now + dawdles
        for name in {kind, "request"}:
            self.arrivals[name].append(sent + arrives_after)
        if not dies:
            self.out.append((sent + takes, slot, kind, takes))

    def pass_time(self, seconds: float) -> None:
        """Let answers come, in order, while time passes."""
        moment = self.now + seconds
        for answer in sorted(self.out):
            answered, slot, kind, took = answer
            if answered <= moment:
                self.now = max(self.now, answered)
                self.out.remove(answer)
                self.change(BudgetState.give_back, kind, slot, took)
        self.now = moment

    def most_in_a_window(self, kind: Kind) -> int:
        moments = sorted(self.arrivals[kind])
        return max(
            (
                sum(start <= moment < start + WINDOWS[kind] for moment in moments)
                for start in moments
            ),
            default=0,
        )


@dataclass(frozen=True)
class Sent:
    kind: Kind
    takes: float
    way: float
    dawdles: float
    dies: bool
    pause: float
    set_back: float


LATENCY = st.floats(0, 3)
SENT = {
    is_shared: st.lists(
        st.builds(
            Sent,
            kind=st.sampled_from(KINDS),
            takes=LATENCY,
            way=st.floats(0, 1),
            dawdles=st.floats(0, UNANSWERED - ARRIVAL) if is_shared else st.just(0.0),
            dies=st.sampled_from([False] * 7 + [is_shared]),
            pause=st.sampled_from([0, 0, 0, 0.3, 7]),
            set_back=st.sampled_from([0] * 9 + [0.5, 30, 90_000] * is_shared),
        ),
        max_size=120,
    )
    for is_shared in (False, True)
}


@both
@given(data=st.data())
def test_no_window_of_the_server_holds_more_imports_than_allowed(
    data: st.DataObject, is_shared: bool
) -> None:
    account = Account(is_shared, imports_per_minute=7, single_imports_per_minute=3)
    for step in data.draw(SENT[is_shared]):
        arrives_after = step.way * (LEASE / 2 if step.dies else step.takes)
        account.send(
            step.kind, step.takes, arrives_after, dawdles=step.dawdles * 100, dies=step.dies
        )
        account.behind += step.set_back
        account.pass_time(step.pause)
    assert account.most_in_a_window("import") <= 7
    assert account.most_in_a_window("single_import") <= 3


@both
@given(data=st.data())
def test_no_window_of_the_server_holds_more_requests_than_allowed(
    data: st.DataObject, is_shared: bool
) -> None:
    account = Account(is_shared, imports_per_minute=None, single_imports_per_minute=None)
    for step in data.draw(SENT[is_shared]):
        arrives_after = min(step.takes, ARRIVAL) * step.way
        account.send(step.kind, step.takes, arrives_after, dawdles=step.dawdles, dies=step.dies)
        account.behind += step.set_back
        account.pass_time(step.pause)
    assert account.most_in_a_window("request") <= 5


@both
@given(rate=st.floats(0.3, 20), latencies=st.lists(LATENCY, min_size=30, max_size=60))
@settings(max_examples=40)
def test_rate_can_be_a_fraction(is_shared: bool, rate: float, latencies: list[float]) -> None:
    account = Account(is_shared, requests_per_second=rate)
    start = account.now
    for takes in latencies:
        account.send("request", takes, 0)
    allowed = rate * (account.now - start) + max(1, rate)
    assert len(latencies) <= allowed + 1e-6


@pytest.mark.parametrize(
    ("answer", "is_shared", "pace"),
    [
        (0.05, False, 4.7),
        (0.05, True, 4.7),
        (0.2, False, 4.1),
        (0.2, True, 4.1),
        (5, False, 3.8),
        (5, True, 3.3),
    ],
)
def test_requests_keep_their_pace_with_slow_answers(
    answer: float, is_shared: bool, pace: float
) -> None:
    account = Account(is_shared)
    start = account.now
    for _ in range(200):
        account.send("request", answer, 0.05)
    assert 200 / (account.now - start) > pace


@both
def test_imports_and_questions_together_keep_the_pace_of_100_imports_a_minute(
    is_shared: bool,
) -> None:
    account = Account(is_shared)
    for _ in range(400):
        account.send("import", 0.2, 0.05)
        account.send("request", 0.2, 0.05)
    sent = account.arrivals["import"]
    assert 300 / (sent[399] - sent[99]) * 60 * 250 > 24_500
    assert account.most_in_a_window("import") == 100
    assert account.most_in_a_window("request") <= 5


@both
def test_imports_do_not_wait_longer_than_the_server_asks(is_shared: bool) -> None:
    account = Account(is_shared)
    for _ in range(100):
        account.send("import", 0.2, 0.05)
    account.pass_time(0.2)
    assert account.wait("import") < 60.1 - 18
    assert account.wait("single_import") < 1.1


def test_import_in_flight_keeps_its_slot_in_memory() -> None:
    account = Account(is_shared=False, imports_per_minute=1)
    account.send("import", 300, 299)
    account.pass_time(200)
    assert account.wait("import") == float("inf")
    account.pass_time(100)
    assert account.wait("import") == pytest.approx(60, rel=0.01)


def test_import_in_flight_keeps_its_shared_slot() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", 100, 99)
    account.pass_time(99)
    assert account.wait("import") >= 60
    account.pass_time(31)
    assert account.wait("import") == pytest.approx(30, abs=0.1)


def test_slot_of_a_dead_process_is_kept_for_a_lease_and_a_window() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", dies=True)
    died = account.now
    account.send("import")
    assert account.now - died == pytest.approx(LEASE + 60, abs=0.1)


def test_answer_after_the_lease_still_counts() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", LEASE + 100, LEASE + 99)
    account.pass_time(LEASE + 100)
    assert account.wait("import") == pytest.approx(60, rel=0.01)


def test_clock_set_back_costs_no_more_than_the_time_that_passed() -> None:
    account = Account(imports_per_minute=1)
    account.send("import")
    account.pass_time(40)
    account.behind += 90_000
    set_back = account.now
    account.send("import")
    assert account.now - set_back == pytest.approx(60, rel=0.01)


def test_document_holds_only_what_still_counts() -> None:
    account = Account()
    for _ in range(500):
        account.send("import")
        account.send("request")
    assert len(account.content or b"") < 8000


@both
def test_refusal_holds_only_its_kind(is_shared: bool) -> None:
    account = Account(is_shared, imports_per_minute=None)
    account.change(BudgetState.note_refusal, "import", 60.0)
    assert account.wait("import") == 60, "though nothing limits imports here"
    assert account.wait("single_import") == account.wait("request") == 0

    account.change(BudgetState.note_refusal, "request", 30.0)
    assert [account.wait(kind) for kind in KINDS] == [30, 60, 30]
    account.change(BudgetState.note_refusal, "request", 1.0)
    assert account.wait("request") == 30, "a shorter wait does not undo a longer one"


def test_refusals_double_the_arrival_of_unanswered_requests() -> None:
    account = Account(is_shared=False, requests_per_second=1)
    for arrival in (0.3, 0.6, 1.0, 1.0):
        account.send("request", 50, 0)
        assert account.wait("request") == pytest.approx(1 + arrival, abs=0.01)
        account.change(BudgetState.note_refusal, "request", 5.0)
        account.change(BudgetState.note_refusal, "request", 5.0)
        account.pass_time(5)


@both
def test_refusals_double_the_arrival_for_an_hour(is_shared: bool) -> None:
    account = Account(is_shared, requests_per_second=1)

    def wait_after_an_answer() -> float:
        account.send("request", 0.9, 0)
        account.pass_time(0.9)
        return account.wait("request")

    for arrival in (min(ARRIVAL * 2**refusals, 0.9) for refusals in range(1, 6)):
        account.change(BudgetState.note_refusal, "request", 5.0)
        account.change(BudgetState.note_refusal, "request", 5.0)
        account.pass_time(5)
        assert wait_after_an_answer() == pytest.approx(0.1 + arrival, abs=0.01)
    account.pass_time(LESSON_SECONDS)
    assert wait_after_an_answer() == pytest.approx(0.1 + ARRIVAL, abs=0.01)


@both
def test_lower_limit_is_learned_for_an_hour_and_a_higher_one_is_not(is_shared: bool) -> None:
    account = Account(is_shared)
    account.change(BudgetState.learn, 50, 49)
    account.change(BudgetState.learn, 2, 1)
    account.change(BudgetState.learn, None, None)
    for _ in range(2):
        account.send("request")
    until_seen = 0 if is_shared else ARRIVAL  # another process's answer may be there at once
    assert account.wait("request") == pytest.approx(1 + until_seen, abs=0.01)
    account.pass_time(LESSON_SECONDS)
    for _ in range(5):
        assert account.wait("request") == 0
        account.send("request")
    assert account.wait("request") > 0.9


@both
def test_requests_wait_when_others_use_up_the_account(is_shared: bool) -> None:
    account = Account(is_shared)
    account.send("request")
    account.pass_time(0.9)
    account.change(BudgetState.learn, 5, 0)
    assert account.wait("request") == pytest.approx(1, abs=0.01)


@both
def test_using_up_the_second_ourselves_costs_nothing(is_shared: bool) -> None:
    account = Account(is_shared)
    for _ in range(5):
        account.send("request", 0.2, 0)
    account.pass_time(0.3)
    before = account.wait("request")
    account.change(BudgetState.learn, 5, 0)
    assert account.wait("request") == before < 0.95


LIMITS = Limits(5, 100, 20, lease=LEASE)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b"garbage",
        b"\xff\x00",
        b'{"at": "noon"}',
        b'{"at": NaN, "origin": "a"}',
        b'{"at": null, "origin": "a"}',
        b'{"at": 1, "origin": "a", "held_until": {"request": 1e999}}',
    ],
)
def test_damaged_document_is_replaced_after_a_window(
    content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    state = BudgetState(decode(content), 50.0, LIMITS)
    assert "damaged" in caplog.text
    assert 0 < state.seconds_until_allowed("request") <= 1.1
    kept = state.changed_document()
    assert kept is not None
    assert BudgetState(decode(encode(kept)), 52.0, LIMITS).seconds_until_allowed("request") == 0


@pytest.mark.parametrize("at", [50.0, 1e12, 1e300, -1e300])
def test_document_with_absurd_times_heals(at: float) -> None:
    limits = Limits(5, 100, 20, lease=LEASE)
    limits.longest_hold = 30.0
    far = max(at, 50.0) + 1e11
    slots = [[f"{n}", far, far] for n in range(9)]
    document = {
        "at": at,
        "origin": "a",
        "slots": {"request": slots, "import": slots},
        "held_until": {"request": far, "import": far, "unheard of": far},
        "limit": -1,
        "arrival": 1e9,
        "lessons_until": far,
    }
    state = BudgetState(decode(json.dumps(document).encode()), 50.0, limits)
    kept = state.changed_document()
    assert kept is not None
    assert max(state.holds().values(), default=0) <= 30
    assert max(kept.held_until.values(), default=0) <= 50 + 30
    later = BudgetState(decode(encode(kept)), 50.0 + 121, limits)
    assert later.seconds_until_allowed("request") == 0
    assert later.limit("request") == 5
