"""The server: runs the application under uvicorn, on a socket that is already bound."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from activecampaign_sandbox.app import build

if TYPE_CHECKING:
    import asyncio
    from types import FrameType

    from activecampaign_sandbox.account import Account


class _Protocol(H11Protocol):
    """HTTP protocol that lets the application reset or close its connection, for faults."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        def reset() -> None:
            # With a linger time of 0 the kernel sends RST instead of FIN.
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

        async def with_connection(scope: Any, receive: Any, send: Any) -> None:
            scope["sandbox.reset"] = reset
            scope["sandbox.close"] = transport.close
            await app(scope, receive, send)

        self.app = with_connection


class _Server(uvicorn.Server):
    """A server that prints a line of JSON on stdout when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: dict[str, str]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(json.dumps(self._ready), flush=True)  # noqa: T201 - the promise to the caller


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        OSError: The port is in use, or the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio switches Nagle's algorithm off, which costs 40 ms an answer.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def serve(
    account: Account, sock: socket.socket, *, exit_with_stdin: bool, api_only: bool = False
) -> None:
    """Serve until SIGTERM, SIGINT or, with `exit_with_stdin`, the end of stdin."""
    host, port = sock.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    config = uvicorn.Config(
        build(account, api_only=api_only),
        http=_Protocol,
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,  # the application's comes from the account's clock
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config, {"url": url, "path": account.store.path, "id": account.store.identity})

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        # While uvicorn runs it has its own handlers. When it is done it raises the signal again,
        # which comes here and must not end the process with an error.
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if exit_with_stdin:
        threading.Thread(target=_stop_at_end_of_stdin, args=(server,), daemon=True).start()
    server.run(sockets=[sock])


def _stop_at_end_of_stdin(server: uvicorn.Server) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    server.should_exit = True
