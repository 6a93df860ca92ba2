"""Connections have a deadline in every state, end when the client is closed, and leave nothing."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import (
    Client,
    ClientClosed,
    ConnectionFailed,
    MalformedAnswer,
    RateLimiter,
    Redirected,
    RequestTimeout,
)
from tests.support.api_stub import KEY, ApiStub, Reply, client_of
from tests.support.odd_server import BOMB, OddServer, at_once, whole

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = Reply({"user": {"id": "1"}})
LISTS = "/api/3/lists"


def client_at(url: str, **options: Any) -> Client:
    return Client(url, KEY, **{"budget": RateLimiter(None), "retry_seconds": 0, **options})


@contextmanager
def listener(backlog: int = 8) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:
        yield server


def test_deadline_covers_a_tls_handshake_that_drips() -> None:
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB follows
            while not over.wait(0.05):
                connection.send(b"\x02")

    with listener() as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        started = time.monotonic()
        with (
            client_at(f"https://127.0.0.1:{server.getsockname()[1]}", timeout=0.4) as client,
            pytest.raises((RequestTimeout, ConnectionFailed)),
        ):
            client.whoami()
        over.set()
        thread.join()
    assert time.monotonic() - started < 3


def test_deadline_covers_all_addresses_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(listener(backlog=0))
        place = server.getsockname()
        for _ in range(4):  # the queue is full: further connections get no answer at all
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(place)
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place)] * 6
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        started = time.monotonic()
        with (
            client_at(f"http://127.0.0.1:{place[1]}", timeout=0.6) as client,
            pytest.raises(ConnectionFailed, match="did not answer in time") as caught,
        ):
            client.whoami()
    assert time.monotonic() - started < 2
    assert not caught.value.effect_unknown


def test_deadline_starts_anew_with_each_request_of_a_connection() -> None:
    with ApiStub(Reply(USER.body, delay=0.3)) as stub, client_of(stub, timeout=1) as client:
        for _ in range(5):
            client.whoami()
    assert len(stub.asked) == 5


def test_close_at_once_ends_requests_in_flight() -> None:
    with ApiStub(Reply(fault="hang")) as stub:
        client = client_of(stub, timeout=60)
        closing = threading.Timer(0.2, client.close, kwargs={"at_once": True})
        closing.start()
        started = time.monotonic()
        with pytest.raises(ClientClosed):
            client.whoami()
        closing.join()
    assert time.monotonic() - started < 5


def test_close_ends_the_thread_that_watches_deadlines() -> None:
    def watchers() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "deadlines"]

    before = watchers()
    with ApiStub(USER) as stub, client_of(stub) as client:
        for _ in range(3):
            client.whoami()
        (watcher,) = set(watchers()) - set(before)
    watcher.join(5)
    assert not watcher.is_alive()


@pytest.mark.parametrize("location", ["http://[", "https://elsewhere.example/", "//x:y:z"])
def test_redirect_is_an_answer_whatever_its_location(location: str) -> None:
    reply = whole(b"", 302, [("Location", location)])
    with OddServer("http://127.0.0.1:9") as server, client_at(server.url) as client:
        server.odd(LISTS, at_once(reply))
        with pytest.raises(Redirected):
            client.lists()


def test_contradictory_lengths_are_invalid_headers() -> None:
    with OddServer("http://127.0.0.1:9") as server, client_at(server.url) as client:
        lengths = b"Content-Length: 2\r\nContent-Length: 9\r\n"
        server.odd(LISTS, at_once(b"HTTP/1.1 200 OK\r\n" + lengths + b"\r\n{}"))
        with pytest.raises(MalformedAnswer, match="its headers are invalid"):
            client.lists()


def test_size_limit_covers_the_content_of_a_redirect() -> None:
    headers = [("Location", "https://elsewhere.example/"), ("Content-Encoding", "gzip")]
    with OddServer("http://127.0.0.1:9") as server, client_at(server.url) as client:
        server.odd(LISTS, at_once(whole(BOMB, 302, headers)))
        with pytest.raises(MalformedAnswer, match="more than 16 MiB"):
            client.lists()


@pytest.mark.parametrize(
    ("item", "detail"),
    [
        ({"id": True}, "expected `int`, got `bool` - at `lists[0].id`"),
        ({"name": "A"}, "object missing required field `id` - at `lists[0]`"),
        ("A", "expected `object`, got `str` - at `lists[0]`"),
    ],
)
@pytest.mark.usefixtures("no_pauses")
def test_answer_of_another_shape_names_the_place(item: Any, detail: str) -> None:
    with (
        ApiStub(Reply({"lists": [item]})) as stub,
        client_of(stub) as client,
        pytest.raises(MalformedAnswer) as caught,
    ):
        client.lists()
    assert detail in str(caught.value)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the pauses between attempts very short."""
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 1000)
