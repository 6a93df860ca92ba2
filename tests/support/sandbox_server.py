"""A sandbox in a process of its own, for tests.

with SandboxServer(latency=0.2) as sandbox:
    ...  # the API at sandbox.url, with sandbox.api_key
    assert sandbox.export() == [...]
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import secrets
import signal
import socket
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import requests

from tests.support.forks import Forks, serve

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

API_KEY = f"key-{secrets.token_hex(12)}"
"""The key of all sandboxes of the tests: one that can't stand anywhere by chance."""


class SandboxServer:
    """A running sandbox.

    Args:
        path: Its file; ``:memory:`` keeps nothing.
        arguments: More arguments of its command line, as they are.
        limits: Whether the account's limits are on (off by default, as most tests want).
        options: Its switches by name: ``latency=0.2``, ``requests_per_second=5``, ...

    Attributes:
        url: The account's address, ``http://127.0.0.1:PORT``.
        api_key: The key that it takes.
    """

    def __init__(
        self,
        path: str = ":memory:",
        *arguments: str,
        limits: bool = False,
        latency: float = 0.1,
        false_status: float = 0.02,
        **options: Any,
    ) -> None:
        self.api_key = str(options.setdefault("api_key", "sandbox-key"))
        options.setdefault("strict_queries", "yes")
        options.update(latency=latency, false_status=false_status, path=path)
        self._command = [
            "activecampaign-sandbox",
            "--exit-with-stdin",
            *([] if limits else ["--no-limits"]),
            *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()),
            *arguments,
        ]
        self.start()

    def start(self) -> None:
        """Start it (again, after a `stop`: on another port)."""
        self._code: int | None = None
        stdin, self._stdin = os.pipe()
        stdout, theirs = os.pipe()
        try:
            self._pid = _forks().fork(self._command, stdin, theirs, stderr=2)
        finally:
            os.close(stdin)
            os.close(theirs)
        self._stdout = os.fdopen(stdout)
        line = self._stdout.readline()
        told = json.loads(line) if line else {}
        if "url" not in told:
            raise RuntimeError(f"the sandbox ended with exit code {self._end()}")
        self.url: str = told["url"]
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy between two processes of one machine
        self._http.headers["Api-Token"] = self.api_key

    def stop(self, *, kill: bool = False) -> int:
        """End it, by SIGKILL where asked; returns its exit code, again if it has ended."""
        self._http.close()
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL if kill else signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        if self._code is not None:
            return self._code
        try:
            self._code = _forks().wait(self._pid, timeout=10)
        finally:
            os.close(self._stdin)
            self._stdout.close()
        return self._code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def call(self, method: str, path: str, **how: Any) -> requests.Response:
        """One request to a path below the url, with the key; `how` is for requests."""
        return self._http.request(method, f"{self.url}{path}", timeout=30, **how)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON that GET answers, whatever its status."""
        return self.call("GET", path, params=query).json()

    def post(self, path: str, body: Any) -> Any:
        """The JSON that POST answers, whatever its status."""
        return self.call("POST", path, json=body).json()

    def _control(self, method: str, path: str, **how: Any) -> Any:
        response = self.call(method, f"/_sandbox/{path}", **how)
        assert response.ok, response.text
        return response.json()

    def export(self) -> list[dict[str, Any]]:
        """Every contact, the first that came first; docs/sandbox-control.md has the keys."""
        response = self.call("GET", "/_sandbox/export")
        return [json.loads(line) for line in response.content.splitlines()]

    def contacts(self) -> dict[str, dict[str, Any]]:
        """The export by lower-case e-mail address."""
        return {contact["email"].lower(): contact for contact in self.export()}

    def requests(self, **filters: Any) -> list[dict[str, Any]]:
        """The log: filters `path`, `method`, `status`, `since` (an id), `limit`."""
        found: list[dict[str, Any]] = self._control(
            "GET", "requests", params={"limit": 100_000, **filters}
        )["requests"]
        return found

    def bodies(self) -> str:
        """The bodies of all requests to a sandbox that keeps them."""
        return self.call("GET", "/_sandbox/bodies").text

    def imports(self) -> list[dict[str, Any]]:
        """Every import that was accepted, with its status, success and failure."""
        found: list[dict[str, Any]] = self._control("GET", "imports")["imports"]
        return found

    def stats(self) -> dict[str, Any]:
        """Counts: contacts, lists, imports, requests, refusals and faults by kind."""
        found: dict[str, Any] = self._control("GET", "stats")
        return found

    def fault(self, kind: str, **description: Any) -> dict[str, Any]:
        """Switch a fault on: `match`, `times`, `probability`, `first`, `to` and its kind's own.

        `first` stands for ``from``, which Python keeps for itself.
        """
        if "first" in description:
            description["from"] = description.pop("first")
        fault: dict[str, Any] = self._control("POST", "faults", json={"kind": kind, **description})
        return fault

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are on, with how often each matched (`seen`) and happened (`fired`)."""
        found: list[dict[str, Any]] = self._control("GET", "faults")["faults"]
        return found

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._control("DELETE", "faults")

    def prepare(
        self,
        *contacts: dict[str, Any],
        excluded: tuple[str | dict[str, Any], ...] = (),
        malformed: tuple[str, ...] = (),
    ) -> None:
        """Set up people as in the export (`lists`, `tags`, `fields`, `bounced`), and addresses.

        Beside those keys there are `opt_outs` and `bounces`: see docs/sandbox-control.md.
        """
        body = {"contacts": contacts, "excluded": excluded, "malformed": malformed}
        self._control("POST", "contacts", json=body)

    def opt_out(self, email: str, list_id: int, **how: Any) -> None:
        """Let a person leave a list: `reason`, and `campaign`, `message`, `automation` (ids)."""
        self.prepare({"email": email, "opt_outs": {str(list_id): how}})

    def resubscribe(self, email: str, list_id: int) -> None:
        """Let a person join a list, again or for the first time, as through a form."""
        self.prepare({"email": email, "lists": {str(list_id): 1}})

    def delete(self, email: str) -> None:
        """Delete a contact, through the API (as the log will show)."""
        response = self.call("DELETE", f"/api/3/contacts/{self._contact_id(email)}")
        assert response.ok, response.text

    def memberships(self, email: str) -> dict[str, dict[str, Any]]:
        """A contact's memberships as the API shows them (and its log the request), by list id."""
        rows = self.get(f"/api/3/contacts/{self._contact_id(email)}/contactLists")["contactLists"]
        return {row["list"]: row for row in rows}

    def _contact_id(self, email: str) -> str:
        found: list[dict[str, str]] = self.get("/api/3/contacts", email=email)["contacts"]
        assert found, "no contact has this address"
        return found[0]["id"]

    def advance(self, seconds: float) -> int:
        """Move the account's clock forward; returns its time, in seconds since the epoch."""
        now: int = self._control("POST", "clock", json={"advance": seconds})["now"]
        return now

    def settle(self) -> int:
        """Apply all queued imports at once; returns how many."""
        applied: int = self._control("POST", "settle")["applied"]
        return applied

    def reset(self, *, empty: bool = False) -> None:
        """Start anew and at the true time, with the sample account unless `empty`."""
        self._control("POST", "reset", json={"empty": empty})


@cache
def _forks() -> Forks:
    """What all sandboxes of this process are forked from."""
    forks = Forks("tests.support.sandbox_server")
    atexit.register(forks.stop)
    return forks


if __name__ == "__main__":
    main = importlib.import_module("activecampaign_sandbox.cli").main
    for name in ("server", "sample", "account", "store"):
        importlib.import_module(f"activecampaign_sandbox.{name}")
    serve(socket.socket(fileno=int(sys.argv[1])))
    main()
