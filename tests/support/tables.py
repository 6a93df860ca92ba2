"""A table of people as taps bring it: whole, or as the changes of its log."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from tests.support.mirrors import activate, address, wait_for
from tests.support.target_runner import state

if TYPE_CHECKING:
    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer

STREAM = "people"
_PUT = {"method": "PUT", "path": "/api/3/contacts/*"}
_NULLABLE = ["string", "null"]
_numbers = itertools.count(1)


def announce(*, log: bool = False, bookmark: bool = False) -> dict[str, Any]:
    """The SCHEMA message, with the properties of a change log if asked for."""
    properties: dict[str, Any] = {
        "id": {"type": ["integer", "null"]},
        "email": {"type": _NULLABLE},
        "first_name": {"type": _NULLABLE},
        "status": {"type": _NULLABLE},
        "_sdc_deleted_at": {"type": _NULLABLE},
    }
    bookmarks = ["updated_at"] if bookmark else []
    if bookmark:
        properties["updated_at"] = {"type": _NULLABLE}
    if log:
        properties["_sdc_lsn"] = {"type": ["integer", "null"]}
        bookmarks = ["_sdc_lsn"]
    return {
        "type": "SCHEMA",
        "stream": STREAM,
        "schema": {"type": "object", "properties": properties},
        "key_properties": ["id"],
        "bookmark_properties": bookmarks,
    }


def row(key: int | None, name: str | None, **values: Any) -> dict[str, Any]:
    """A RECORD of someone, by the first part of the address."""
    person = {} if name is None else {"email": address(name), "first_name": "Someone"}
    return {"type": "RECORD", "stream": STREAM, "record": {"id": key, **person, **values}}


def deleted(key: int | None, name: str | None = None, **values: Any) -> dict[str, Any]:
    """The RECORD of a deleted row: with its key only, if no name is given."""
    return row(key, name, _sdc_deleted_at="2026-01-01T00:00:00Z", **values)


def table(people: dict[int, str], **values: Any) -> list[dict[str, Any]]:
    """All messages of a complete table: names by key."""
    return whole_table(*(row(key, name, **values) for key, name in people.items()))


def whole_table(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    """All messages of a complete table: its records."""
    version = next(_numbers)
    numbered = [{**one, "version": version} for one in rows]
    return [announce(), *numbered, activate(version, STREAM), state({STREAM: version})]


def changes(*rows: dict[str, Any], log: bool = True) -> list[dict[str, Any]]:
    """All messages of a run that brings changes, with their place in the log."""
    numbered = [
        {**one, "record": {"_sdc_lsn": next(_numbers), **one["record"]}} if log else one
        for one in rows
    ]
    return [announce(log=log), *numbered, state({STREAM: next(_numbers)})]


def cut_off(
    people: ForkedTargetRunner, sandbox: SandboxServer, messages: list[dict[str, Any]]
) -> None:
    """Start a run, and kill it as its first rename took effect, or where it is after a while."""
    sandbox.fault("slow", seconds=0.3, takes_effect=True, match=_PUT)
    running = people.start(messages)
    end = time.monotonic() + 0.4
    while not sandbox.faults()[0]["fired"] and time.monotonic() < end:
        time.sleep(0.02)
    running.kill()
    running.wait()
    if sandbox.faults()[0]["fired"]:
        wait_for(lambda: sandbox.requests(method="PUT") != [])  # none may come in a later test
    sandbox.clear_faults()
