"""Answers that never end, are too long, or hold what nobody can read: the run goes on in time."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import Client, MalformedAnswer, RequestTimeout
from target_activecampaign.client.rate_limit.limiter import RateLimiter
from target_activecampaign.model.timings import Timings
from tests.support.api_stub import ApiStub, Reply, client_of
from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.odd_server import ENDLESS, ODD, OddServer, at_once, hang, whole
from tests.support.sandbox_server import API_KEY
from tests.support.target_runner import lines, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

LISTS = "/api/3/lists"
IMPORT = "/api/3/import/bulk_import"
INFO = "/api/3/import/info"
DATA = [schema(), record("a@example.com"), state(1)]


@pytest.fixture
def odd(sandbox: SandboxServer) -> Iterator[OddServer]:
    with OddServer(sandbox.url) as server:
        yield server


def _ask(server: OddServer, **options: Any) -> list[Any]:
    how = {"timeout": 0.4, "budget": RateLimiter(None, None, None), "retry_seconds": 0, **options}
    with Client(server.url, "key", **how) as client:
        return list(client.lists())


@pytest.mark.parametrize("kind", ENDLESS)
def test_request_has_a_deadline_in_every_state(kind: str) -> None:
    with OddServer("http://127.0.0.1:9") as server:
        server.odd(LISTS, ENDLESS[kind])
        started = time.monotonic()
        with pytest.raises(RequestTimeout, match="no whole answer came within"):
            _ask(server)
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("kind", ODD)
def test_unreadable_answer_is_malformed(kind: str) -> None:
    with OddServer("http://127.0.0.1:9") as server:
        server.odd(LISTS, ODD[kind])
        with pytest.raises(MalformedAnswer) as caught:
            _ask(server, timeout=20)
    assert "777" not in str(caught.value)


@pytest.mark.parametrize("kind", ["a body that drips", "a gzip bomb", "a header without end"])
@pytest.mark.parametrize("path", [LISTS, IMPORT, INFO])
def test_run_retries_after_unreadable_answer(
    sandbox: SandboxServer, load: TargetRunner, odd: OddServer, path: str, kind: str
) -> None:
    odd.odd(path, {**ENDLESS, **ODD}[kind])
    outcome = load(DATA, api_url=odd.url, request_timeout=1).succeeded()
    assert odd.given == 1
    assert "trying again in" in outcome.log
    assert outcome.counts["added"] == 1
    assert len(sandbox.export()) == 1


@pytest.mark.parametrize("total", ["-5", "9" * 5000, "1e400", "true", '"soon"', "[]", "0"])
def test_invalid_total_is_ignored(
    sandbox: SandboxServer, load: TargetRunner, odd: OddServer, total: str
) -> None:
    content = '{"lists": [{"id": "1", "name": "A", "stringid": "a"}], "meta": {"total": %s}}'
    if total in {"9" * 5000, "1e400"}:
        total = f'"{total}"'
    odd.odd(LISTS, at_once(whole((content % total).encode())))
    load(DATA, api_url=odd.url, list_id=1).succeeded()
    assert len(sandbox.export()) == 1


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (429, [("Retry-After", "9" * 5000)]),
        (503, [("Retry-After", "86400")]),
        (429, [("Retry-After", "-7")]),
        (429, [("Retry-After", "0")]),
        (429, [("Retry-After", "nan")]),
        (429, [("Retry-After", "inf")]),
        (429, [("Retry-After", "")]),
        (429, [("Retry-After", "0.5")]),
        (429, [("Retry-After", "1, 99999")]),
        (429, [("Retry-After", "1"), ("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT")]),
        (429, [("Retry-After", "Mon, 01 Jan 0001 00:00:00 +2359")]),
        (429, [("Retry-After", "Mon, 01 Jan 99999 00:00:00 GMT")]),
        (429, [("Retry-After", "\u00b2\u00b3")]),
        (429, [("RateLimit-Limit", "9" * 5000), ("RateLimit-Remaining", "-1")]),
        (429, [("RateLimit-Limit", "0"), ("Date", "Mon, 01 Jan 0001 00:00:00 +2359")]),
        (200, [("RateLimit-Limit", "9" * 5000), ("RateLimit-Remaining", "9" * 5000)]),
        (200, [("Date", "Fri, 31 Dec 9999 23:59:59 GMT"), ("RateLimit-Limit", "nan")]),
    ],
)
def test_invalid_headers_delay_only_briefly(
    load: TargetRunner, odd: OddServer, status: int, headers: list[tuple[str, str]]
) -> None:
    answer = whole(b'{"lists": []}', status, headers).replace("²".encode(), b"\xb2")
    odd.odd(LISTS if status != 200 else "/api/3/fields", at_once(answer))
    more = {"requests_per_second": 50, "max_retry_after": 1.5}
    place = str(load.folder / "budget.db")
    started = time.monotonic()
    first = load(DATA, api_url=odd.url, rate_budget_url=place, **more)
    load(DATA, api_url=odd.url, rate_budget_url=place, **more).succeeded()
    assert time.monotonic() - started < 20
    if status != 200:
        first.succeeded()


def test_run_cuts_and_logs_long_retry_after(load: TargetRunner, odd: OddServer) -> None:
    odd.odd(LISTS, at_once(whole(b"", 429, [("Retry-After", "86400")])))
    outcome = load(DATA, api_url=odd.url, max_retry_after=1).succeeded()
    told = "ActiveCampaign asked to wait 86,400 s, which is more than 'max_retry_after' allows"
    assert told in outcome.log


def test_single_wrong_date_is_ignored() -> None:
    user = {"user": {"id": "1"}}
    odd_date = {"Date": "Thu, 01 Jan 2099 00:00:00 GMT"}
    replies = Reply(user), Reply(user, 200, odd_date), Reply(user)
    with ApiStub(*replies) as stub, client_of(stub) as client:
        for _ in range(3):
            client.whoami()
            assert abs(client.server_time() - time.time()) < 5


IMPATIENT = Timings(max_silence_seconds=1.0, stop_check_seconds=0.1, progress_log_seconds=0.2)
NO_ANSWERS: dict[str, Callable[[Any], None]] = {
    "no answer": hang,
    "a body that drips": ENDLESS["a body that drips"],
    "a long wait": at_once(whole(b"", 429, [("Retry-After", "250")])),
    "one refusal after the other": at_once(whole(b"", 429)),
    "one error after the other": at_once(whole(b"", 500)),
    "no sense": at_once(whole(b"{}")),
}


@pytest.fixture(scope="module")
def impatient() -> ForkServer:
    return ForkServer(IMPATIENT)


def test_requested_wait_is_in_progress_line(
    odd: OddServer, impatient: ForkServer, tmp_path: Path
) -> None:
    odd.odd(INFO, at_once(whole(b"", 429, [("Retry-After", "4")])))
    outcome = ForkedTargetRunner(tmp_path, odd.url, API_KEY, impatient)(DATA).succeeded()
    assert "waiting 3 s as requested by ActiveCampaign" in outcome.log


def test_too_small_total_does_not_end_paging() -> None:
    rows = [{"id": n, "name": f"List {n}", "stringid": f"list-{n}"} for n in range(1, 151)]
    pages = [Reply({"lists": some, "meta": {"total": "3"}}) for some in (rows[:100], rows[100:])]
    with ApiStub(*pages) as stub, client_of(stub) as client:
        assert len(client.lists()) == 150


@pytest.mark.parametrize("path", [IMPORT, INFO])
@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_signal_ends_run_without_answers(
    odd: OddServer, impatient: ForkServer, tmp_path: Path, kind: str, path: str
) -> None:
    odd.odd(path, NO_ANSWERS[kind], times=10_000)
    load = ForkedTargetRunner(tmp_path, odd.url, API_KEY, impatient)
    load.config.update(checkpoint_seconds=0.1, request_timeout=600)
    running = load.start()
    running.feed(lines([schema(), *people(3), state("end")]))
    end = time.monotonic() + 30
    while not odd.given:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.3)
    running.kill(signal.SIGTERM)
    stopped = time.monotonic()
    outcome = running.wait(timeout=40)
    assert time.monotonic() - stopped < 15
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    # What makes no sense is asked for five times, which may be over before the signal is heard.
    by_itself = kind == "no sense" and "not a valid answer of ActiveCampaign's API" in last
    assert "Nothing is lost" in last or by_itself
