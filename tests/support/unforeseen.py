"""Refusals that come as a surprise, and the questions that they cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer

CONTACTS, EXCLUSIONS = "/api/3/contacts", "/api/3/lists/exclusions"


def hide_refusals(sandbox: SandboxServer) -> None:
    """Let the first run see an account in which nobody has opted out, bounced or is excluded.

    The import knows them all the same.
    """
    nobody = {"contacts": [], "meta": {"total": "0"}}
    sandbox.fault("altered", match={"path": CONTACTS}, values=nobody, times=2)
    none = {"exclusions": [], "meta": {"total": 0}}
    sandbox.fault("altered", match={"path": EXCLUSIONS}, values=none)


def questions(sandbox: SandboxServer) -> int:
    """How many contacts were looked up by their address."""
    return sum("email=" in one["query"] for one in sandbox.requests(path=CONTACTS))
