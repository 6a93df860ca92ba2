"""Several processes keep an account's limits together, wherever they share them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.client import BudgetClosed
from target_activecampaign.client.rate_limit.limiter import ARRIVAL
from target_activecampaign.client.rate_limit.shared import BudgetUnavailable, shared_budget
from target_activecampaign.client.rate_limit.state import (
    LESSON_SECONDS,
    UNANSWERED,
    SharedState,
    limiting_rules,
)
from tests.support import postgres_server, redis_server
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from target_activecampaign.client import RateBudget
    from tests.support.sandbox_server import SandboxServer

Kind = Literal["request", "import", "single_import"]
KINDS: tuple[Kind, ...] = ("request", "import", "single_import")
WINDOWS = {"request": 1.0, "import": 60.0, "single_import": 60.0}
LEASE = 120.0
TICK = 1e-6
RULES = limiting_rules(5, 100, 20, 60.0, LEASE)


# What the shared document allows, on a clock of its own.


@dataclass
class Account:
    """A shared document on a clock of its own, and when requests reached the server.

    `now` is the time as it really passes; the place's clock shows `behind` seconds less.
    """

    requests_per_second: float | None = 5
    imports_per_minute: float | None = 100
    single_imports_per_minute: float | None = 20
    now: float = 100_000.0
    behind: float = 0.0
    document: bytes | None = None
    arrivals: dict[Kind, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    out: list[tuple[float, str, Kind, float]] = field(default_factory=list)
    slots: int = 0

    def __post_init__(self) -> None:
        self.rules = limiting_rules(
            self.requests_per_second,
            self.imports_per_minute,
            self.single_imports_per_minute,
            60.0,
            LEASE,
        )

    def change(self, what: Callable[..., Any], *arguments: Any) -> Any:
        state = SharedState(self.document, self.now - self.behind, self.rules)
        result = what(state, *arguments)
        self.document = state.document() or self.document
        return result

    def wait(self, kind: Kind) -> float:
        """Seconds until a slot may be free: 0 if one is, which is not taken."""
        state = SharedState(self.document, self.now - self.behind, self.rules)
        return state.take(kind, "not kept")

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
        while wait := self.change(SharedState.take, kind, slot):
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
                self.change(SharedState.answered, kind, slot, took)
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


SENT = st.lists(
    st.builds(
        Sent,
        kind=st.sampled_from(KINDS),
        takes=st.floats(0, 3),
        way=st.floats(0, 1),
        dawdles=st.floats(0, UNANSWERED - ARRIVAL),
        dies=st.sampled_from([False] * 7 + [True]),
        pause=st.sampled_from([0, 0, 0, 0.3, 7]),
        set_back=st.sampled_from([0] * 9 + [0.5, 30, 90_000]),
    ),
    max_size=80,
)


@given(SENT)
def test_no_window_of_the_server_holds_more_imports_than_allowed(steps: list[Sent]) -> None:
    account = Account(imports_per_minute=7, single_imports_per_minute=3)
    for step in steps:
        arrives_after = step.way * (LEASE / 2 if step.dies else step.takes)
        account.send(
            step.kind, step.takes, arrives_after, dawdles=step.dawdles * 100, dies=step.dies
        )
        account.behind += step.set_back
        account.pass_time(step.pause)
    assert account.most_in_a_window("import") <= 7
    assert account.most_in_a_window("single_import") <= 3


@given(SENT)
def test_no_window_of_the_server_holds_more_requests_than_allowed(steps: list[Sent]) -> None:
    account = Account(imports_per_minute=None, single_imports_per_minute=None)
    for step in steps:
        arrives_after = min(step.takes, ARRIVAL) * step.way
        account.send(step.kind, step.takes, arrives_after, dawdles=step.dawdles, dies=step.dies)
        account.behind += step.set_back
        account.pass_time(step.pause)
    assert account.most_in_a_window("request") <= 5


@pytest.mark.parametrize(("answer", "pace"), [(0.05, 4.7), (0.2, 4.1), (5, 3.3)])
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


def test_an_import_whose_answer_is_due_keeps_its_slot() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", 100, 99)
    account.pass_time(99)
    assert account.wait("import") >= 60
    account.pass_time(31)
    assert account.wait("import") == pytest.approx(30, abs=0.1)


def test_a_process_that_died_keeps_its_slot_for_a_lease_and_a_window() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", dies=True)
    died = account.now
    account.send("import")
    assert account.now - died == pytest.approx(LEASE + 60, abs=0.1)


def test_an_answer_after_the_lease_still_counts() -> None:
    account = Account(imports_per_minute=1)
    account.send("import", LEASE + 100, LEASE + 99)
    account.pass_time(LEASE + 100)
    assert account.wait("import") == pytest.approx(60, rel=0.01)


def test_a_clock_set_back_costs_no_more_than_the_time_that_passed() -> None:
    account = Account(imports_per_minute=1)
    account.send("import")
    account.pass_time(40)
    account.behind += 90_000
    set_back = account.now
    account.send("import")
    assert account.now - set_back == pytest.approx(60, rel=0.01)


def test_the_document_holds_only_what_still_counts() -> None:
    account = Account()
    for _ in range(500):
        account.send("import")
        account.send("request")
    assert len(account.document or b"") < 8000


def test_a_refusal_holds_back_what_it_is_about() -> None:
    account = Account(imports_per_minute=None)
    account.change(SharedState.refused, "import", 60.0)
    assert account.wait("import") == 60, "though nothing limits imports here"
    assert account.wait("single_import") == account.wait("request") == 0

    account.change(SharedState.refused, "request", 30.0)
    assert [account.wait(kind) for kind in KINDS] == [30, 60, 30]
    account.change(SharedState.refused, "request", 1.0)
    assert account.wait("request") == 30, "a shorter wait does not undo a longer one"


def test_after_refusals_requests_are_taken_to_arrive_later_for_an_hour() -> None:
    account = Account(requests_per_second=1)

    def wait_after_an_answer() -> float:
        account.send("request", 0.9, 0)
        account.pass_time(0.9)
        return account.wait("request")

    for arrival in (min(ARRIVAL * 2**refusals, 0.9) for refusals in range(1, 6)):
        account.change(SharedState.refused, "request", 5.0)
        account.change(SharedState.refused, "request", 5.0)
        account.pass_time(5)
        assert wait_after_an_answer() == pytest.approx(0.1 + arrival, abs=0.01)
    account.pass_time(LESSON_SECONDS)
    assert wait_after_an_answer() == pytest.approx(0.1 + ARRIVAL, abs=0.01)


def test_a_lower_limit_is_learned_for_an_hour_and_a_higher_one_is_not() -> None:
    account = Account()
    account.change(SharedState.learn, 50, 49)
    account.change(SharedState.learn, 2, 1)
    account.change(SharedState.learn, None, None)
    for _ in range(2):
        account.send("request")
    assert account.wait("request") > 0.9
    account.pass_time(LESSON_SECONDS)
    for _ in range(5):
        assert account.wait("request") == 0
        account.send("request")
    assert account.wait("request") > 0.9


def test_when_others_use_up_the_account_we_wait_instead_of_being_refused() -> None:
    account = Account()
    account.send("request")
    account.pass_time(0.9)
    account.change(SharedState.learn, 5, 0)
    assert account.wait("request") == pytest.approx(1, abs=0.01)


def test_that_we_used_up_the_second_ourselves_costs_nothing() -> None:
    account = Account()
    for _ in range(5):
        account.send("request", 0.2, 0)
    account.pass_time(0.3)
    before = account.wait("request")
    account.change(SharedState.learn, 5, 0)
    assert account.wait("request") == before < 0.95


@pytest.mark.parametrize(
    "document",
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
def test_a_damaged_document_is_begun_anew_after_a_window(document: bytes) -> None:
    state = SharedState(document, 50.0, RULES)
    assert 0 < state.own_wait("request") <= 1.1
    kept = state.document()
    assert kept is not None
    assert SharedState(kept, 52.0, RULES).own_wait("request") == 0


@pytest.mark.parametrize("at", [50.0, 1e12, 1e300, -1e300])
def test_a_document_with_absurd_times_heals(at: float) -> None:
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
    state = SharedState(json.dumps(document).encode(), 50.0, RULES, 30.0)
    kept = state.document()
    assert kept is not None
    assert max(state.holds().values(), default=0) <= 30
    later = SharedState(kept, 50.0 + 121, RULES, 30.0)
    assert later.own_wait("request") == 0
    assert later.limit("request") == 5
    assert max(msgspec.json.decode(kept).get("held_until", {}).values(), default=0) <= 50 + 30


# The places: files and real servers.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The URL of a place of some kind; its server is started when first asked for."""
    with ExitStack() as servers:

        @cache
        def url(kind: str) -> str:
            if kind == "sqlite":
                return f"sqlite:///{tmp_path_factory.mktemp('budget')}/shared.db"
            if kind == "redis":
                return servers.enter_context(start_redis()).url
            need(postgres_server.HOW_TO_GET_IT, missing=PostgresServer.missing())
            return servers.enter_context(PostgresServer()).url

        yield url


def start_redis() -> RedisServer:
    need(redis_server.HOW_TO_GET_IT, missing=RedisServer.missing())
    return RedisServer()


def need(how_to_get_it: str, *, missing: bool) -> None:
    if missing and os.environ.get("CI"):
        pytest.fail(how_to_get_it)
    if missing:
        pytest.skip(how_to_get_it)


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def url(request: pytest.FixtureRequest, place: Callable[[str], str]) -> str:
    """Each kind of place in turn."""
    return place(request.param)


@pytest.fixture
def sqlite_url(place: Callable[[str], str]) -> str:
    return place("sqlite")


@pytest.fixture
def account() -> str:
    """An account that no other test uses."""
    return f"https://{secrets.token_hex(8)}.api-us1.com"


@pytest.fixture
def join() -> Iterator[Callable[..., RateBudget]]:
    """Make a budget that is closed in the end."""
    with ExitStack() as budgets:

        def make(url: str, account: str, **options: Any) -> RateBudget:
            return budgets.enter_context(closing(shared_budget(url, account, **LIMITS | options)))

        yield make


LIMITS: dict[str, Any] = {
    "requests_per_second": 5,
    "imports_per_minute": 100,
    "single_imports_per_minute": 20,
}


def seconds_for(budget: RateBudget, kind: Kind) -> float:
    """How long it takes to get a slot; it is given back at once."""
    start = time.monotonic()
    with budget.slot(kind):
        return time.monotonic() - start


WORK = """
import json, sys, threading, time
from target_activecampaign.client import Budget, Client, ClientClosed
from target_activecampaign.client.rate_limit.shared import shared_budget

place, url, key, name, limits, seconds = json.loads(sys.argv[1])
budget = shared_budget(place, url, **limits) if place else Budget(**limits)
client = Client(url, key, budget=budget)
done = {"imports": 0, "questions": 0}

def post():
    for number in range(1000):
        people = [{"email": f"{name}-{number}-{which}@example.com"} for which in "ab"]
        client.import_contacts(json.dumps({"contacts": people}).encode(), 2)
        done["imports"] += 1

def ask():
    while True:
        client.whoami()
        done["questions"] += 1

def until_closed(work):
    try:
        work()
    except ClientClosed:
        pass

threads = [threading.Thread(target=until_closed, args=(work,)) for work in (post, ask, ask)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.start()
time.sleep(seconds)
client.close()
for thread in threads:
    thread.join()
print(json.dumps(done))
"""

TIGHT = {
    "requests_per_second": 10,
    "imports_per_minute": 6,
    "single_imports_per_minute": 2,
    "minute": 1.5,
}


def work_together(
    sandbox: SandboxServer, place: str | None, seconds: list[float]
) -> tuple[list[dict[str, int]], str]:
    """Let processes post and ask as fast as they may, and end together.

    Args:
        sandbox: The account.
        place: Where they share its budget, None if they don't.
        seconds: How long each of them works.

    Returns:
        What each got done, and all they logged.
    """
    with ExitStack() as stack:
        workers = []
        for number, working in enumerate(seconds):
            task = [place, sandbox.url, sandbox.api_key, f"worker{number}", TIGHT, working]
            command = [sys.executable, "-c", WORK, json.dumps(task)]
            workers.append(
                stack.enter_context(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                    )
                )
            )
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker, working, following in zip(workers, seconds, [*seconds[1:], 0], strict=True):
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            time.sleep(working - following)
        said = [worker.communicate(timeout=30) for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * len(workers)
        return [json.loads(done) for done, _ in said], "".join(log for _, log in said)


@pytest.fixture
def tight_sandbox(start_sandbox: Callable[..., SandboxServer]) -> SandboxServer:
    return start_sandbox(
        limits=True,
        requests_per_second=10,
        multi_imports_per_minute=6,
        single_imports_per_minute=2,
        window=1.5,
    )


def test_processes_on_one_account_are_never_refused_and_all_get_on(
    url: str, tight_sandbox: SandboxServer
) -> None:
    done, log = work_together(tight_sandbox, url, [2.5, 2.5, 1.5, 1.5])
    answers = tight_sandbox.requests()
    assert log == ""
    assert [one for one in answers if one["status"] != 200] == []
    assert len(answers) >= 20, "10 a second for 2.5 seconds, on a busy machine"
    assert min(one["imports"] + one["questions"] for one in done) >= 2


def test_processes_that_share_nothing_are_refused(tight_sandbox: SandboxServer) -> None:
    work_together(tight_sandbox, None, [1, 1])
    assert any(one["status"] != 200 for one in tight_sandbox.requests())


HOLD = """
import json, sys, time
from target_activecampaign.client.rate_limit.shared import shared_budget

place, account, limits = json.loads(sys.argv[1])
with shared_budget(place, account, **limits).slot("import"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_killed_with_a_slot_in_hand_does_not_block_the_others_for_good(
    url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    limits = LIMITS | {"imports_per_minute": 1, "minute": 0.4, "lease": 0.6}
    command = [sys.executable, "-c", HOLD, json.dumps([url, account, limits])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        taken = time.monotonic()
        holder.kill()
    budget = join(url, account, **limits)
    with budget.slot("import"):
        assert 0.8 < time.monotonic() - taken < 5


def test_a_slot_counts_for_all_until_a_window_after_its_answer(
    url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    first, second = (join(url, account, imports_per_minute=1, minute=0.5) for _ in "ab")
    with first.slot("import"):
        time.sleep(0.2)
    assert 0.5 < seconds_for(second, "import") < 3
    assert seconds_for(first, "single_import") < 0.4, "another limit"


def test_accounts_do_not_share_and_one_account_has_one_address(
    url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    join(url, account).refused("request", 600.0)
    assert seconds_for(join(url, f"{account}0"), "request") < 1
    assert is_held(join(url, f"{account.upper()}/api/3"), "request")


def test_a_refusal_holds_all_processes(
    url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    first, second, third = (join(url, account) for _ in "abc")
    assert first.refused("import", None) == 60
    assert seconds_for(second, "single_import") < 1
    assert is_held(second, "import")
    assert first.refused("request", 0.5) == 0.5
    assert 0.2 < seconds_for(third, "request") < 3


def test_what_the_server_says_of_its_limit_is_kept_by_all(
    url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    first, second = join(url, account), join(url, account)
    first.learn({"RateLimit-Limit": "1", "RateLimit-Remaining": "1"})
    assert seconds_for(second, "request") < 0.9
    assert seconds_for(first, "request") > 0.9


def is_held(budget: RateBudget, kind: Kind) -> bool:
    """Whether somebody who waits for a slot still does after a moment; closes the budget."""
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            with budget.slot(kind):
                pass
        except BudgetClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.2)
    waits = thread.is_alive()
    budget.close()
    thread.join(10)
    assert not thread.is_alive()
    assert bool(outcome) == waits
    return waits


@pytest.mark.parametrize("kind", KINDS)
def test_closing_wakes_those_who_wait(
    kind: Kind, sqlite_url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    budget = join(sqlite_url, account)
    budget.refused(kind, 600.0)
    assert is_held(budget, kind)
    with pytest.raises(BudgetClosed), budget.slot("request"):
        pass
    budget.refused(kind, 600.0)
    budget.learn({"RateLimit-Limit": "1", "RateLimit-Remaining": "0"})


def test_a_slot_held_while_the_budget_is_closed_is_given_back(
    url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    closed, other = (join(url, account, imports_per_minute=1, minute=0.3) for _ in "ab")
    with closed.slot("import"):
        closed.close()
    assert 0.2 < seconds_for(other, "import") < 5, "sooner than the lease of 120 s"


def test_an_import_goes_before_questions_of_its_process(
    sqlite_url: str, account: str, join: Callable[..., RateBudget]
) -> None:
    budget = join(sqlite_url, account, requests_per_second=1)
    order: list[Kind] = []

    def ask(kind: Kind) -> None:
        with suppress(BudgetClosed), budget.slot(kind):
            order.append(kind)

    seconds_for(budget, "request")
    kinds: list[Kind] = [*["request"] * 8, "import"]  # type: ignore[list-item]
    threads = [threading.Thread(target=ask, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    threads[-1].join(10)
    assert order == ["import"]
    budget.close()
    for thread in threads:
        thread.join(10)


def test_what_is_not_limited_asks_nobody(join: Callable[..., RateBudget], account: str) -> None:
    with start_redis() as server:
        unlimited = dict.fromkeys(LIMITS, 0)
        budget = join(server.url, account, **unlimited)
        questions = join(server.url, account, **unlimited | {"imports_per_minute": 1})
        server.stop()
        for kind in KINDS * 100:
            assert seconds_for(budget, kind) < 1
        for kind in ("request", "single_import") * 100:
            assert seconds_for(questions, kind) < 1
        budget.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
        budget.refused("import", 600.0)
        assert is_held(budget, "import")


# Places that can't be used.


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no file"),
        (":memory:", "no file"),
        ("sqlite://", "no file"),
        ("sqlite:///", "no file"),
        ("sqlite:///:memory:", "no file"),
        ("sqlite:budget.db", "no file"),
        ("mysql://root:hush@127.0.0.1/x", "names no place"),
        ("postgresql+psycopg2://me:hush@127.0.0.1/x", "names no place"),
        ("redis:127.0.0.1", "for certain"),
        ("redis://:hu/sh@127.0.0.1/0", "for certain"),
        ("redis://:hu?sh@127.0.0.1/0", "for certain"),
        ("redis://:hu#sh@127.0.0.1/0", "for certain"),
        ("postgresql://me:hu@sh@127.0.0.1/x", "for certain"),
        ("redis://:hush@127.0.0.1:port/0", "no URL of a Redis"),
        ("redis://:hush@127.0.0.1/0?hush=1", "no URL of a Redis"),
        ("redis://:hush@127.0.0.1/0?socket_timeout=hush", "no URL of a Redis"),
        ("postgresql://me:hush%zz@127.0.0.1/x", "no URL of a PostgreSQL"),
        ("postgresql://me:hush@127.0.0.1/x?hush=1", "no URL of a PostgreSQL"),
    ],
)
def test_a_url_that_names_no_place_is_refused_and_not_repeated(
    url: str, says: str, account: str
) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        shared_budget(url, account, **LIMITS)
    for part in ("hush", "hu/", "hu@", "sh@", "127.0.0.1"):
        assert part not in str(refused.value)


def test_the_address_of_the_account_must_be_one(sqlite_url: str) -> None:
    with pytest.raises(ValueError, match="API address"):
        shared_budget(sqlite_url, "my account", **LIMITS)


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("redis://127.0.0.1", "redis", "redis"),
        ("rediss://127.0.0.1", "redis", "redis"),
        ("postgresql://127.0.0.1/x", "psycopg", "postgres"),
    ],
)
def test_a_missing_driver_is_named_by_its_extra(
    url: str, driver: str, extra: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"target_activecampaign.client.rate_limit.{driver.replace('psycopg', extra)}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ValueError, match=rf"target-activecampaign\[{extra}\]"):
        shared_budget(url, account, **LIMITS)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hush@127.0.0.1:1/0",
        "rediss://me:hush@127.0.0.1:1/0",
        "postgresql://me:hush@127.0.0.1:1/x",
        "/no/such/folder/budget.db",
        "sqlite:////no/such/folder/budget.db",
    ],
)
def test_a_place_that_cannot_be_reached_is_told_at_once(url: str, account: str) -> None:
    with pytest.raises(BudgetUnavailable, match="Check rate_budget_url") as failed:
        shared_budget(url, account, **LIMITS, patience=1.0)
    assert "hush" not in str(failed.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, account: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("by hand " * 1000)
    with pytest.raises(BudgetUnavailable, match="not a database"):
        shared_budget(str(file), account, **LIMITS)
    assert file.read_text() == "by hand " * 1000


def test_the_file_is_for_its_owner_only_and_need_not_be_there(
    tmp_path: Path, account: str, join: Callable[..., RateBudget]
) -> None:
    join(str(tmp_path / "new.db"), account)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "new.db",
        "new.db-shm",
        "new.db-wal",
    ]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_many_may_come_first(
    place: Callable[[str], str], tmp_path: Path, account: str, join: Callable[..., RateBudget]
) -> None:
    def come(url: str) -> None:
        with closing(shared_budget(url, account, **LIMITS)):
            came.append(url)

    came: list[str] = []
    with psycopg.connect(place("postgresql"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS target_activecampaign_rate_budget")
    urls = [str(tmp_path / "new.db"), place("redis"), place("postgresql")] * 8
    threads = [threading.Thread(target=come, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(came) == sorted(urls)


# Places that go away.


def test_requests_wait_for_a_place_that_is_away_and_begin_anew_if_it_forgot(
    account: str, join: Callable[..., RateBudget], caplog: pytest.LogCaptureFixture
) -> None:
    with start_redis() as server:
        budget = join(server.url, account, minute=1.0)
        with budget.slot("import"):
            server.stop()  # the slot can't be given back: nothing happens
        back: list[float] = []

        def wait() -> None:
            with budget.slot("import"):
                back.append(time.monotonic())

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        assert not back
        server.start()
        started = time.monotonic()
        thread.join(10)
        assert back[0] - started > 0.8, "what was sent in the last window is not known"
        assert seconds_for(budget, "import") < 0.8, "once is enough"
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "can't be reached" in said[0]
    assert "is back" in said[1]


def test_after_some_time_waiting_ends_with_advice(
    account: str, join: Callable[..., RateBudget]
) -> None:
    with start_redis() as server:
        budget = join(server.url, account, patience=0.5)
        server.stop()
        start = time.monotonic()
        with pytest.raises(BudgetUnavailable, match="Without rate_budget_url"):
            seconds_for(budget, "request")
        assert 0.5 <= time.monotonic() - start < 5
        with pytest.raises(BudgetUnavailable):
            seconds_for(budget, "request")


def test_closing_does_not_wait_for_a_place_that_is_away(
    account: str, join: Callable[..., RateBudget]
) -> None:
    with start_redis() as server:
        budget = join(server.url, account)
        server.stop()
        assert is_held(budget, "import")


def test_a_lost_connection_to_postgresql_is_made_again(
    place: Callable[[str], str], account: str, join: Callable[..., RateBudget]
) -> None:
    url = place("postgresql")
    budget = join(url, account)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'target-activecampaign'"
        )
    assert seconds_for(budget, "request") < 3
