"""A rate limiter on each store: memory, an SQLite file, a Redis and a PostgreSQL server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from target_activecampaign.client import RateLimiter, RateLimiterClosed
from target_activecampaign.client.rate_limit.limiter import BudgetUnavailable
from target_activecampaign.client.rate_limit.stores import MemoryStore, open_store
from tests.support import postgres_server, redis_server
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from target_activecampaign.client.rate_limit.state import Kind
    from tests.support.sandbox_server import SandboxServer

KINDS: tuple[Kind, ...] = ("request", "import", "single_import")

# Stores: memory, files and real servers.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The URL of a place of some kind; its server is started when first asked for."""
    with ExitStack() as servers:

        @cache
        def url(kind: str) -> str:
            if kind == "memory":
                return "memory"
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
    """Each kind of place that processes can share, in turn."""
    return place(request.param)


@pytest.fixture(params=["memory", "sqlite", "redis", "postgresql"])
def any_url(request: pytest.FixtureRequest, place: Callable[[str], str]) -> str:
    """Each kind of place in turn, memory too."""
    return place(request.param)


@pytest.fixture
def sqlite_url(place: Callable[[str], str]) -> str:
    return place("sqlite")


@pytest.fixture
def account() -> str:
    """An account that no other test uses."""
    return f"https://{secrets.token_hex(8)}.api-us1.com"


@pytest.fixture
def join() -> Iterator[Callable[..., RateLimiter]]:
    """Make a limiter that is closed in the end."""
    with ExitStack() as limiters:

        def make(url: str, account: str, **options: Any) -> RateLimiter:
            return limiters.enter_context(closing(open_limiter(url, account, **options)))

        yield make


def open_limiter(url: str, account: str, **options: Any) -> RateLimiter:
    """Make a limiter whose store can be reached."""
    store = MemoryStore() if url == "memory" else open_store(url, account)
    limiter = RateLimiter(store=store, **LIMITS | options)
    limiter.check()
    return limiter


LIMITS: dict[str, Any] = {
    "requests_per_second": 5,
    "imports_per_minute": 100,
    "single_imports_per_minute": 20,
}


def seconds_for(limiter: RateLimiter, kind: Kind) -> float:
    """How long it takes to get a slot; it is given back at once."""
    start = time.monotonic()
    with limiter.acquire(kind):
        return time.monotonic() - start


# One process, on each store.


@pytest.mark.parametrize("nothing", [None, 0])
def test_limits_can_be_left_out(
    nothing: float | None, any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account, **dict.fromkeys(LIMITS, nothing))
    for kind in KINDS * 200:
        with limiter.acquire(kind):
            pass
    limiter.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
    assert [limiter.seconds_until_free(kind) for kind in KINDS] == [0, 0, 0]


def test_slot_is_free_a_window_after_its_answer(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account, imports_per_minute=1, minute=0.5)
    moments: list[float] = []

    def wait() -> None:
        with limiter.acquire("import"):
            moments.append(time.monotonic())

    thread = threading.Thread(target=wait)
    with limiter.acquire("import"):
        thread.start()
        time.sleep(0.2)
        assert seconds_for(limiter, "single_import") < 0.4, "another limit"
        answered = time.monotonic()
    thread.join(10)
    assert 0.5 <= moments[0] - answered < 3


def test_refusal_holds_only_its_kind(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account)
    assert limiter.note_refusal("import", None) == 60
    assert limiter.seconds_until_free("import") == pytest.approx(60, abs=1)
    assert limiter.seconds_until_free("single_import") == 0
    assert limiter.seconds_until_free("request") == 0
    assert limiter.note_refusal("request", None) == 1
    assert limiter.note_refusal("request", 30.0) == 30
    limiter.note_refusal("request", 1.0)
    waits = [limiter.seconds_until_free(kind) for kind in KINDS]
    assert waits == pytest.approx([30, 60, 30], abs=1), "a shorter wait does not undo a longer one"
    assert limiter.hold_seconds == 0, "nobody waits"
    with waiting(limiter, "request"):
        assert limiter.hold_seconds == pytest.approx(30, abs=1)


def test_refusal_is_held_no_longer_than_max_retry_after(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account, max_retry_after=100.0)
    assert limiter.note_refusal("import", 1e9) == 100
    assert limiter.seconds_until_free("import") == pytest.approx(100, abs=1)


def test_lower_limit_of_the_server_is_learned_and_a_higher_one_is_not(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account)
    limiter.learn({"RateLimit-Limit": "50", "RateLimit-Remaining": "49"})
    limiter.learn({"RateLimit-Limit": "2", "RateLimit-Remaining": "1"})
    limiter.learn({"RateLimit-Limit": "many", "RateLimit-Remaining": "-1"})
    for _ in range(2):
        assert seconds_for(limiter, "request") < 0.9
    assert limiter.seconds_until_free("request") > 0.5


def test_requests_wait_when_others_use_up_the_account(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account)
    seconds_for(limiter, "request")
    limiter.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
    assert limiter.seconds_until_free("request") == pytest.approx(1, abs=0.5)


def test_using_up_the_second_ourselves_holds_nobody(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account, requests_per_second=1)
    seconds_for(limiter, "request")
    limiter.learn({"RateLimit-Limit": "1", "RateLimit-Remaining": "0"})
    with waiting(limiter, "request"):
        assert limiter.hold_seconds == 0


def test_threads_share_one_limiter(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account, requests_per_second=None, imports_per_minute=5, minute=0.2)
    moments: list[float] = []

    def work() -> None:
        for _ in range(3):
            with limiter.acquire("import"):
                moments.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    moments.sort()
    assert len(moments) == 15
    assert all(later - earlier >= 0.2 for earlier, later in zip(moments, moments[5:], strict=False))


def test_import_goes_before_other_requests(
    any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account, requests_per_second=1)
    order: list[Kind] = []

    def ask(kind: Kind) -> None:
        with suppress(RateLimiterClosed), limiter.acquire(kind):
            order.append(kind)

    seconds_for(limiter, "request")
    kinds: list[Kind] = [*["request"] * 8, "import"]  # type: ignore[list-item]
    threads = [threading.Thread(target=ask, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    threads[-1].join(10)
    assert order == ["import"]
    limiter.close()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("kind", KINDS)
def test_closing_wakes_all_who_wait(
    kind: Kind, any_url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limiter = join(any_url, account)
    limiter.note_refusal(kind, 600.0)
    assert is_held(limiter, kind)
    with pytest.raises(RateLimiterClosed), limiter.acquire("request"):
        pass
    limiter.note_refusal(kind, 600.0)
    limiter.learn({"RateLimit-Limit": "1", "RateLimit-Remaining": "0"})


def is_held(limiter: RateLimiter, kind: Kind) -> bool:
    """Whether somebody who waits for a slot still does after a moment; closes the limiter."""
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            with limiter.acquire(kind):
                pass
        except RateLimiterClosed as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.2)
    waits = thread.is_alive()
    limiter.close()
    thread.join(10)
    assert not thread.is_alive()
    assert bool(outcome) == waits
    return waits


@contextmanager
def waiting(limiter: RateLimiter, kind: Kind) -> Iterator[None]:
    """Have a thread wait for a slot meanwhile, which it does not get; closes the limiter."""
    with ExitStack() as stack:
        slots: list[Kind] = []

        def wait() -> None:
            with suppress(RateLimiterClosed), limiter.acquire(kind):
                slots.append(kind)

        thread = threading.Thread(target=wait)
        thread.start()
        stack.callback(thread.join, 10)
        stack.callback(limiter.close)
        time.sleep(0.1)
        yield
        assert not slots


# Several processes.


WORK = """
import json, sys, threading, time
from target_activecampaign.client import Client, ClientClosed, RateLimiter
from target_activecampaign.client.rate_limit.stores import open_store

place, url, key, name, limits, seconds = json.loads(sys.argv[1])
limiter = RateLimiter(store=open_store(place, url) if place else None, **limits)
limiter.check()
client = Client(url, key, budget=limiter)
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
        place: Where they share its limiter, None if they don't.
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


def test_processes_on_one_account_are_never_refused_and_all_progress(
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
from target_activecampaign.client import RateLimiter
from target_activecampaign.client.rate_limit.stores import open_store

place, account, limits = json.loads(sys.argv[1])
with RateLimiter(store=open_store(place, account), **limits).acquire("import"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_slot_of_a_killed_process_expires(
    url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    limits = LIMITS | {"imports_per_minute": 1, "minute": 0.4, "lease": 0.6}
    command = [sys.executable, "-c", HOLD, json.dumps([url, account, limits])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        taken = time.monotonic()
        holder.kill()
    limiter = join(url, account, **limits)
    with limiter.acquire("import"):
        assert 0.8 < time.monotonic() - taken < 5


def test_slot_counts_for_all_processes(
    url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    first, second = (join(url, account, imports_per_minute=1, minute=0.5) for _ in "ab")
    with first.acquire("import"):
        time.sleep(0.2)
        before_release = time.monotonic()
    seconds_for(second, "import")
    # Not from the return of the release, which the store has by then counted for some time.
    assert 0.5 < time.monotonic() - before_release < 3
    assert seconds_for(first, "single_import") < 0.4, "another limit"


def test_each_account_has_its_own_budget_however_its_address_is_written(
    url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    join(url, account).note_refusal("request", 600.0)
    assert seconds_for(join(url, f"{account}0"), "request") < 1
    assert is_held(join(url, f"{account.upper()}/api/3"), "request")


def test_refusal_holds_all_processes(
    url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    first, second, third = (join(url, account) for _ in "abc")
    assert first.note_refusal("import", None) == 60
    assert seconds_for(second, "single_import") < 1
    assert is_held(second, "import")
    assert first.note_refusal("request", 0.5) == 0.5
    assert 0.2 < seconds_for(third, "request") < 3


def test_lower_limit_is_learned_by_all_processes(
    url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    first, second = join(url, account), join(url, account)
    first.learn({"RateLimit-Limit": "1", "RateLimit-Remaining": "1"})
    assert seconds_for(second, "request") < 0.9
    assert seconds_for(first, "request") > 0.9


def test_slot_in_use_when_the_limiter_closes_is_given_back(
    url: str, account: str, join: Callable[..., RateLimiter]
) -> None:
    closed, other = (join(url, account, imports_per_minute=1, minute=0.3) for _ in "ab")
    with closed.acquire("import"):
        closed.close()
    assert 0.2 < seconds_for(other, "import") < 5, "sooner than the lease of 120 s"


def test_unlimited_requests_never_ask_the_store(
    join: Callable[..., RateLimiter], account: str
) -> None:
    with start_redis() as server:
        unlimited = dict.fromkeys(LIMITS, 0)
        limiter = join(server.url, account, **unlimited)
        questions = join(server.url, account, **unlimited | {"imports_per_minute": 1})
        server.stop()
        for kind in KINDS * 100:
            assert seconds_for(limiter, kind) < 1
        for kind in ("request", "single_import") * 100:
            assert seconds_for(questions, kind) < 1
        limiter.learn({"RateLimit-Limit": "5", "RateLimit-Remaining": "0"})
        limiter.note_refusal("import", 600.0)
        assert is_held(limiter, "import")


# Places that can't be used.


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no file"),
        (":memory:", "no file"),
        ("sqlite://", "no file"),
        ("sqlite:///", "no file"),
        ("sqlite:///:memory:", "no file"),
        ("sqlite:limiter.db", "no file"),
        ("mysql://root:hush@127.0.0.1/x", "names no place"),
        ("postgresql+psycopg2://me:hush@127.0.0.1/x", "names no place"),
        ("redis:127.0.0.1", "ambiguous"),
        ("redis://:hu/sh@127.0.0.1/0", "ambiguous"),
        ("redis://:hu?sh@127.0.0.1/0", "ambiguous"),
        ("redis://:hu#sh@127.0.0.1/0", "ambiguous"),
        ("postgresql://me:hu@sh@127.0.0.1/x", "ambiguous"),
        ("redis://:hush@127.0.0.1:port/0", "not a valid Redis URL"),
        ("redis://:hush@127.0.0.1/0?hush=1", "not a valid Redis URL"),
        ("redis://:hush@127.0.0.1/0?socket_timeout=hush", "not a valid Redis URL"),
        ("postgresql://me:hush%zz@127.0.0.1/x", "not a valid PostgreSQL URL"),
        ("postgresql://me:hush@127.0.0.1/x?hush=1", "not a valid PostgreSQL URL"),
    ],
)
def test_unusable_url_is_refused_and_not_repeated(url: str, says: str, account: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        open_limiter(url, account)
    for part in ("hush", "hu/", "hu@", "sh@", "127.0.0.1"):
        assert part not in str(refused.value)


def test_address_of_the_account_is_checked(sqlite_url: str) -> None:
    with pytest.raises(ValueError, match="API address"):
        open_limiter(sqlite_url, "my account")


@pytest.mark.parametrize(
    ("url", "driver", "extra"),
    [
        ("redis://127.0.0.1", "redis", "redis"),
        ("rediss://127.0.0.1", "redis", "redis"),
        ("postgresql://127.0.0.1/x", "psycopg", "postgres"),
    ],
)
def test_missing_driver_is_named_with_its_extra(
    url: str, driver: str, extra: str, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "target_activecampaign.client.rate_limit.redis", raising=False)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ValueError, match=rf"target-activecampaign\[{extra}\]"):
        open_limiter(url, account)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hush@127.0.0.1:1/0",
        "rediss://me:hush@127.0.0.1:1/0",
        "postgresql://me:hush@127.0.0.1:1/x",
        "/no/such/folder/limiter.db",
        "sqlite:////no/such/folder/limiter.db",
    ],
)
def test_unreachable_place_fails_at_once(url: str, account: str) -> None:
    with pytest.raises(BudgetUnavailable, match="Check rate_budget_url") as failed:
        open_limiter(url, account, patience=1.0)
    assert "hush" not in str(failed.value)


def test_file_that_is_no_database_is_not_changed(tmp_path: Path, account: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("by hand " * 1000)
    with pytest.raises(BudgetUnavailable, match="not a database"):
        open_limiter(str(file), account)
    assert file.read_text() == "by hand " * 1000


def test_missing_file_is_made_for_its_owner_only(
    tmp_path: Path, account: str, join: Callable[..., RateLimiter]
) -> None:
    join(str(tmp_path / "new.db"), account)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "new.db",
        "new.db-shm",
        "new.db-wal",
    ]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_many_can_make_the_same_store_at_once(
    place: Callable[[str], str], tmp_path: Path, account: str, join: Callable[..., RateLimiter]
) -> None:
    def come(url: str) -> None:
        with closing(open_limiter(url, account)):
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


def test_requests_wait_for_a_store_that_restarts_and_a_window_if_it_lost_its_data(
    account: str, join: Callable[..., RateLimiter], caplog: pytest.LogCaptureFixture
) -> None:
    with start_redis() as server:
        limiter = join(server.url, account, minute=1.0)
        with limiter.acquire("import"):
            server.stop()  # the slot can't be given back: nothing happens
        back: list[float] = []

        def wait() -> None:
            with limiter.acquire("import"):
                back.append(time.monotonic())

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        assert not back
        server.start()
        started = time.monotonic()
        thread.join(10)
        assert back[0] - started > 0.8, "what was sent in the last window is not known"
        assert seconds_for(limiter, "import") < 0.8, "once is enough"
    said = [record.message for record in caplog.records]
    assert len(said) == 2
    assert "can't be reached" in said[0]
    assert "is back" in said[1]


def test_waiting_for_a_store_ends_with_advice(
    account: str, join: Callable[..., RateLimiter]
) -> None:
    with start_redis() as server:
        limiter = join(server.url, account, patience=0.5)
        server.stop()
        start = time.monotonic()
        with pytest.raises(BudgetUnavailable, match="Without rate_budget_url"):
            seconds_for(limiter, "request")
        assert 0.5 <= time.monotonic() - start < 5
        with pytest.raises(BudgetUnavailable):
            seconds_for(limiter, "request")


def test_closing_does_not_wait_for_a_store_that_is_away(
    account: str, join: Callable[..., RateLimiter]
) -> None:
    with start_redis() as server:
        limiter = join(server.url, account)
        server.stop()
        assert is_held(limiter, "import")


def test_lost_connection_to_postgresql_is_made_again(
    place: Callable[[str], str], account: str, join: Callable[..., RateLimiter]
) -> None:
    url = place("postgresql")
    limiter = join(url, account)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'target-activecampaign'"
        )
    assert seconds_for(limiter, "request") < 3
