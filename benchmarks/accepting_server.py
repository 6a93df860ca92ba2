"""A server that takes imports, counts and forgets them, and says a little later that they are done.

It stands in for the sandbox where millions of contacts would grow its file and its time: what
is measured is the target alone. It prints its address as JSON and ends with its stdin.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from profiles import EXTRA

_LATENCY = 0.3
"""Seconds from accepted to imported: so long that the target has as much under way as it may."""

_OPTIONS = ("Bronze", "Silver", "Gold", "Platinum")
_FIELDS = {
    "CUSTOMER_ID": "text",
    "CITY": "text",
    "COUNTRY": "text",
    "TIER": "dropdown",
    "BIRTHDAY": "date",
    "LOYALTY_POINTS": "number",
    "LIFETIME_VALUE": "number",
    "LAST_SEEN": "datetime",
    **{name.upper(): "text" for name in EXTRA},
}


def _fields() -> dict[str, Any]:
    """The account's fields, as ActiveCampaign lists them."""
    fields = [
        {"id": str(number), "title": tag.replace("_", " ").title(), "type": kind, "perstag": tag}
        for number, (tag, kind) in enumerate(_FIELDS.items(), 1)
    ]
    tier = list(_FIELDS).index("TIER") + 1
    options = [{"field": str(tier), "value": value, "orderid": "0"} for value in _OPTIONS]
    rels = [{"field": field["id"], "relid": "0"} for field in fields]
    meta = {"total": str(len(fields))}
    return {"fields": fields, "fieldOptions": options, "fieldRels": rels, "meta": meta}


class _Account:
    """What the server knows: counts, and when each import will be done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._asked = 0
        self._contacts = 0

    def answer(self, url: str, body: bytes) -> Any:
        """The answer to a request; None to one that it doesn't know."""
        address = urlsplit(url)
        if address.path == "/_sandbox/stats":
            return self._stats()
        with self._lock:
            self._asked += 1
        path = address.path.removeprefix("/api/3")
        if path == "/import/bulk_import":
            return self._take(len(msgspec.json.decode(body)["contacts"]))
        if path == "/import/info":
            return self._status(parse_qs(address.query)["batchId"][0])
        return _FIXED.get(path)

    def _take(self, count: int) -> Any:
        with self._lock:
            self._contacts += count
            batch = str(len(self._due) + 1)
            self._due[batch] = time.monotonic() + _LATENCY
        return {"success": 1, "queued_contacts": count, "batchId": batch, "message": "queued"}

    def _status(self, batch: str) -> Any:
        done = self._due[batch] <= time.monotonic()
        return {"status": "completed" if done else "active", "success": [], "failure": []}

    def _stats(self) -> Any:
        """The sandbox's form of what both count."""
        return {
            "imports": {"completed": len(self._due)},
            "requests": self._asked,
            "lists": {"1": {"1": self._contacts}},
        }


_FIXED: dict[str, Any] = {
    "/users/me": {"user": {"id": "1", "username": "admin", "localZoneid": "UTC"}},
    "/lists": {
        "lists": [{"id": "1", "name": "Newsletter", "stringid": "newsletter"}],
        "meta": {"total": "1"},
    },
    "/fields": _fields(),
    # Of opt-outs a mirror asks before it begins: there are none.
    "/contacts": {"contacts": [], "meta": {"total": "0"}},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer leaves in one piece and at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    account = _Account()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.account.answer(self.path, body)
        content = json.dumps(answer).encode()
        self.send_response(HTTPStatus.NOT_FOUND if answer is None else HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - likewise
        """Say nothing."""


def main() -> None:
    """Serve until stdin ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
