"""The account's limits are kept, whatever the server's windows, and no time is given away."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_activecampaign.client import Budget, BudgetClosed
from target_activecampaign.client.rate_limit.limiter import ARRIVAL

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

Kind = Literal["request", "import", "single_import"]
KINDS: tuple[Kind, ...] = ("request", "import", "single_import")
WINDOWS = {"request": 1.0, "import": 60.0, "single_import": 60.0}
TICK = 1e-6


@dataclass
class Account:
    """A budget on a clock of its own, and when its requests reached the server."""

    requests_per_second: float | None = 5
    imports_per_minute: float | None = 100
    single_imports_per_minute: float | None = 20
    now: float = 1000.0
    arrivals: dict[Kind, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    out: list[tuple[float, int, AbstractContextManager[None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.budget = Budget(
            self.requests_per_second,
            self.imports_per_minute,
            self.single_imports_per_minute,
            clock=lambda: self.now,
        )

    def send(self, kind: Kind, takes: float, arrives_after: float) -> None:
        """Wait for a slot, as a free thread would, and send a request that takes a while."""
        while (wait := self.budget.wait(kind)) > 0:
            self._pass_time_to(self.now + max(wait, TICK), at_most_one=True)
        slot = self.budget.slot(kind)
        slot.__enter__()
        self.out.append((self.now + takes, len(self.out), slot))
        self.arrivals[kind].append(self.now + arrives_after)
        if kind != "request":
            self.arrivals["request"].append(self.now + arrives_after)

    def pass_time(self, seconds: float) -> None:
        self._pass_time_to(self.now + seconds)

    def most_in_a_window(self, kind: Kind) -> int:
        moments = sorted(self.arrivals[kind])
        return max(
            (
                sum(start <= moment < start + WINDOWS[kind] for moment in moments)
                for start in moments
            ),
            default=0,
        )

    def _pass_time_to(self, moment: float, *, at_most_one: bool = False) -> None:
        """Let answers come, in order, up to a moment; stop at the first if told so."""
        for answered in sorted(self.out, key=lambda one: one[:2]):
            if answered[0] > moment:
                break
            self.now = max(self.now, answered[0])
            answered[2].__exit__(None, None, None)
            self.out.remove(answered)
            if at_most_one:
                return
        self.now = moment


LATENCY = st.floats(0, 3)
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), LATENCY, st.floats(0, 1), st.sampled_from([0, 0, 0, 0.3, 7])),
    max_size=120,
)


@given(STEPS)
def test_no_window_of_the_server_holds_more_imports_than_allowed(
    steps: list[tuple[Kind, float, float, float]],
) -> None:
    account = Account(imports_per_minute=7, single_imports_per_minute=3)
    for kind, takes, way, pause in steps:
        account.send(kind, takes, takes * way)
        account.pass_time(pause)
    assert account.most_in_a_window("import") <= 7
    assert account.most_in_a_window("single_import") <= 3


@given(STEPS)
def test_no_window_of_the_server_holds_more_requests_than_allowed(
    steps: list[tuple[Kind, float, float, float]],
) -> None:
    account = Account(imports_per_minute=None, single_imports_per_minute=None)
    for kind, takes, way, pause in steps:
        account.send(kind, takes, min(takes, ARRIVAL) * way)
        account.pass_time(pause)
    assert account.most_in_a_window("request") <= 5


@given(st.floats(0.3, 20), st.lists(LATENCY, min_size=30, max_size=60))
@settings(max_examples=40)
def test_a_rate_needs_not_be_a_whole_number(rate: float, latencies: list[float]) -> None:
    account = Account(requests_per_second=rate)
    start = account.now
    for takes in latencies:
        account.send("request", takes, 0)
    allowed = rate * (account.now - start) + max(1, rate)
    assert len(latencies) <= allowed + 1e-6


@pytest.mark.parametrize(("answer", "pace"), [(0.05, 4.7), (0.2, 4.1), (5, 3.8)])
def test_requests_keep_their_pace_however_slow_the_answers(answer: float, pace: float) -> None:
    account = Account()
    start = account.now
    for _ in range(200):
        account.send("request", answer, 0.05)
    assert 200 / (account.now - start) > pace


def test_imports_and_questions_together_keep_the_pace_of_100_imports_a_minute() -> None:
    account = Account()
    for _ in range(400):
        account.send("import", 0.2, 0.05)
        account.send("request", 0.2, 0.05)
    sent = account.arrivals["import"]
    assert 300 / (sent[399] - sent[99]) * 60 * 250 > 24_500
    assert account.most_in_a_window("import") == 100
    assert account.most_in_a_window("request") <= 5


def test_imports_do_not_wait_longer_than_the_server_asks() -> None:
    account = Account()
    for _ in range(100):
        account.send("import", 0.2, 0.05)
    account.pass_time(0.2)
    assert account.budget.wait("import") < 60.1 - 18
    assert account.budget.wait("single_import") < 1.1


def test_an_import_whose_answer_is_due_keeps_its_slot() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", 300, 299)
    account.pass_time(200)
    assert account.budget.wait("import") == float("inf")
    account.pass_time(100)
    assert account.budget.wait("import") == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize("nothing", [None, 0])
def test_a_rule_can_be_left_out(nothing: float | None) -> None:
    budget = Budget(nothing, nothing, nothing)
    for kind in KINDS * 200:
        with budget.slot(kind):
            pass
    budget.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
    assert [budget.wait(kind) for kind in KINDS] == [0, 0, 0]


def test_a_refusal_holds_back_what_it_is_about() -> None:
    account = Account()
    assert account.budget.refused("import", None) == 60
    assert account.budget.wait("import") == 60
    assert account.budget.wait("single_import") == account.budget.wait("request") == 0

    assert account.budget.refused("request", 30.0) == 30
    assert [account.budget.wait(kind) for kind in KINDS] == [30, 60, 30]
    account.budget.refused("request", None)
    assert account.budget.wait("request") == 30, "a shorter wait does not undo a longer one"


def test_after_refusals_requests_are_taken_to_arrive_later() -> None:
    account = Account(requests_per_second=1)
    for doubling in (0.3, 0.6, 1.0, 1.0):
        account.send("request", 50, 0)
        assert account.budget.wait("request") == pytest.approx(1 + doubling, abs=0.01)
        account.budget.refused("request", 5.0)
        account.budget.refused("request", 5.0)
        account.pass_time(5)


def test_a_lower_limit_is_learned_and_a_higher_one_is_not() -> None:
    account = Account()
    account.budget.learn({"RateLimit-Limit": "50", "RateLimit-Remaining": "49"})
    account.budget.learn({"RateLimit-Limit": "2", "RateLimit-Remaining": "1"})
    account.budget.learn({"RateLimit-Limit": "many", "RateLimit-Remaining": "-1"})
    for _ in range(2):
        account.send("request", 0, 0)
    assert account.budget.wait("request") == pytest.approx(1 + ARRIVAL, abs=0.01)


def test_when_others_use_up_the_account_we_wait_instead_of_being_refused() -> None:
    account = Account()
    account.send("request", 0, 0)
    account.budget.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
    assert account.budget.wait("request") == pytest.approx(1, abs=0.01)


def test_that_we_used_up_the_second_ourselves_costs_nothing() -> None:
    account = Account()
    for _ in range(5):
        account.send("request", 0.3, 0)
    account.pass_time(0.3)
    before = account.budget.wait("request")
    account.budget.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
    assert account.budget.wait("request") == before < 1.1


def test_threads_share_one_budget() -> None:
    budget = Budget(None, 5, None, minute=0.2)
    moments: list[float] = []

    def work() -> None:
        for _ in range(3):
            with budget.slot("import"):
                moments.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    moments.sort()
    assert len(moments) == 15
    assert all(later - earlier >= 0.2 for earlier, later in zip(moments, moments[5:], strict=False))


def test_an_import_goes_before_questions() -> None:
    budget = Budget(1, 100, None)
    order: list[Kind] = []

    def ask(kind: Kind) -> None:
        with suppress(BudgetClosed), budget.slot(kind):
            order.append(kind)

    with budget.slot("request"):
        pass
    kinds: list[Kind] = [*["request"] * 8, "import"]  # type: ignore[list-item]
    threads = [threading.Thread(target=ask, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    threads[-1].join(10)
    assert order == ["import"]
    budget.close()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_wakes_those_who_wait(kind: Kind) -> None:
    budget = Budget()
    budget.refused(kind, 600.0)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            with budget.slot(kind):
                pass
        except BudgetClosed as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    budget.close()
    thread.join(10)
    assert len(raised) == 1
    with pytest.raises(BudgetClosed), budget.slot("request"):
        pass
