"""A server on loopback that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

import pytest

from target_activecampaign.client import Client, RateLimiter

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs openssl to make a certificate"
)

KEY = "0123456789abcdef-the-secret-key"

Fault = Literal["reset", "hang", "truncate"]


@dataclass(frozen=True)
class Reply:
    """An answer, or the lack of one: `reset` and `hang` come after the request was read."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    delay: float = 0

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    moment: float


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # of a shorter one, the kernel lets connections wait for a second


class ApiStub:
    """Use as a context manager. Replies are given in order; the last one is given forever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._connections: list[socket.socket] = []
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

        self._scheme_and_host = "http://127.0.0.1"

    @property
    def url(self) -> str:
        return f"{self._scheme_and_host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):  # closed by the client
                connection.shutdown(socket.SHUT_RDWR)

    def speak_tls(self, folder: Path) -> Path:
        """Take only TLS connections, with a certificate made for this; return its file."""
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
                *("-addext", "subjectAltName=DNS:localhost"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-keyout", key, "-out", certificate),
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme_and_host = "https://localhost"
        return certificate

    def _next_reply(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def _handler(stub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                stub._connections.append(self.connection)

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                reply = stub._next_reply(
                    Asked(
                        self.command,
                        parts.path,
                        dict(parse_qsl(parts.query)),
                        dict(self.headers),
                        body,
                        time.monotonic(),
                    )
                )
                time.sleep(reply.delay)
                if reply.fault == "hang":
                    stub._over.wait()
                if reply.fault in {"hang", "reset"}:
                    # Lingering for 0 seconds makes closing the connection a reset.
                    self.connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    self.close_connection = True
                    return
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                if reply.fault == "truncate":
                    self.wfile.write(reply.content[: len(reply.content) // 2])
                    self.close_connection = True
                else:
                    self.wfile.write(reply.content)

            do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def client_of(stub: ApiStub, **options: Any) -> Client:
    """A client that is held up by nothing but the stub's answers."""
    return Client(
        stub.url, KEY, **{"timeout": 0.5, "budget": RateLimiter(None, None, None), **options}
    )
