"""A server before the sandbox that passes all on, but for answers that a test wants odd."""

from __future__ import annotations

import gzip
import http.client
import socketserver
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from typing_extensions import Self

    Answer = Callable[[socket.socket], None]

_NOT_PASSED_ON = {"connection", "transfer-encoding", "content-length"}


class OddServer:
    """Use as a context manager.

    Args:
        url: The sandbox's.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).netloc
        self._odd: list[tuple[str, Answer, int]] = []
        self._lock = threading.Lock()
        self.given = 0
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError, ValueError):
                    server._handle(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def odd(self, path: str, answer: Answer, times: int = 1) -> None:
        """Give an odd answer to requests whose target begins so, so many times."""
        with self._lock:
            self._odd.append((path, answer, times))

    def _handle(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            method, target, _ = file.readline().decode().split(" ")
            headers = {}
            while (line := file.readline().strip()) != b"":
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            body = file.read(int(headers.get("content-length", 0)))
        answer = self._next(target)
        if answer is not None:
            answer(connection)
            return
        host = {"host": self._target, "connection": "close", "accept-encoding": "identity"}
        behind = http.client.HTTPConnection(self._target, timeout=30)
        behind.request(method, target, body or None, {**headers, **host})
        response = behind.getresponse()
        content = response.read()
        passed = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in _NOT_PASSED_ON
        ]
        connection.sendall(whole(content, response.status, passed))
        behind.close()

    def _next(self, target: str) -> Answer | None:
        with self._lock:
            for number, (path, answer, times) in enumerate(self._odd):
                if target.startswith(path) and times:
                    self._odd[number] = path, answer, times - 1
                    self.given += 1
                    return answer
        return None


def whole(content: bytes, status: int = 200, headers: list[tuple[str, str]] | None = None) -> bytes:
    """An answer as it goes over the line."""
    lines = [f"HTTP/1.1 {status} Odd", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers or ()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def at_once(answer: bytes) -> Answer:
    """An answer that comes as a whole."""
    return lambda connection: connection.sendall(answer)


def endless(start: bytes, more: bytes, pause: float = 0.05) -> Answer:
    """An answer that never ends."""

    def give(connection: socket.socket) -> None:
        connection.sendall(start)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            connection.sendall(more)
            time.sleep(pause)

    return give


def hang(connection: socket.socket) -> None:
    """No answer, until the other side has enough."""
    connection.settimeout(60)
    connection.recv(1)


ZEROS = 64 * 1024 * 1024
BOMB = gzip.compress(bytes(ZEROS), 9)
ENDLESS: dict[str, Answer] = {
    "no answer": hang,
    "a header that drips": endless(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
    "a body that drips": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "chunks that drip": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"
    ),
    "the length of a chunk that drips": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"
    ),
    "trailers without end": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", b"X: a\r\n"
    ),
    "to be continued": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
"""Answers that never end, and so meet the deadline."""
ODD: dict[str, Answer] = {
    "a header without end": endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 100_000, 0),
    "headers without end": endless(b"HTTP/1.1 200 OK\r\n", b"X: a\r\n" * 1000, 0),
    "a body without end": endless(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 1_000_000, 0),
    "chunks without end": endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"100000\r\n" + b" " * 0x100000 + b"\r\n",
        0,
    ),
    "a gzip bomb": at_once(whole(BOMB, headers=[("Content-Encoding", "gzip")])),
    "gzip that is none": at_once(whole(b"{}", headers=[("Content-Encoding", "gzip")])),
    "gzip cut off": at_once(whole(BOMB[:50], headers=[("Content-Encoding", "gzip")])),
    "deflate unasked": at_once(whole(b"{}", headers=[("Content-Encoding", "deflate")])),
    "two lengths": at_once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a chunk of a negative length": at_once(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"
    ),
    "no HTTP": at_once(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "status 103": at_once(b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n"),
    "status 799": at_once(whole(b"{}", 799)),
    "an id of 5,000 digits": at_once(
        whole(b'{"lists": [{"id": "' + b"7" * 5000 + b'", "name": "a", "stringid": "a"}]}')
    ),
    "a number of 5,000 digits": at_once(whole(b'{"lists": [{"id": ' + b"7" * 5000 + b"}]}")),
    "an id that is true": at_once(whole(b'{"lists": [{"id": true, "name": "a"}]}')),
    "a negative id": at_once(whole(b'{"lists": [{"id": -1, "name": "a"}]}')),
}
"""Answers that can't be read."""
