"""The control API under /_sandbox, by which a test prepares and inspects the sandbox.

Its requests need no key, count for no limit, and are not logged. It only answers to a loopback
name.
"""

from __future__ import annotations

import ipaddress
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from activecampaign_sandbox import exclusion_rules, records, sample
from activecampaign_sandbox.clock import CLOCK, to_account_zone
from activecampaign_sandbox.faults import FaultError
from activecampaign_sandbox.wire import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from sqlite3 import Row

    from starlette.requests import Request

    from activecampaign_sandbox.account import Account

    Endpoint = Callable[[Account, Request], Awaitable[Response]]

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+))(?::[0-9]*)?")
_CHUNK = 1000
_UNUSABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError)


async def _requests(account: Account, request: Request) -> Response:
    """GET requests?path=&method=&status=&since=&limit=: the log of requests, and their number."""
    query = request.query_params
    terms, values = [], []
    for name, term in (
        ("path", "path = ?"),
        ("method", "method = ?"),
        ("status", "status = ?"),
        ("since", "id > ?"),
    ):
        if name in query:
            terms.append(term)
            values.append(query[name])
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    total = account.store.number(f"SELECT count(*) FROM request{where}", *values)  # noqa: S608
    rows = account.store.all(
        f"SELECT * FROM request{where} ORDER BY id LIMIT ?",  # noqa: S608 - constant terms
        *values, int(query.get("limit", _CHUNK)),
    )  # fmt: skip
    return JSONResponse({"count": total, "requests": [dict(row) for row in rows]})


async def _imports(account: Account, request: Request) -> Response:  # noqa: ARG001
    """GET imports: all imports, with their results."""
    rows = account.store.all("SELECT * FROM import ORDER BY id")
    imports = []
    for row in rows:
        entry = dict(row)
        for key in ("success", "failure", "fault"):
            entry[key] = json.loads(row[key] or "null")
        imports.append(entry)
    return JSONResponse({"imports": imports})


async def _stats(account: Account, request: Request) -> Response:  # noqa: ARG001
    """GET stats: counts of contacts, members, imports, requests, refusals and faults."""
    store = account.store
    counters = {row["name"]: row["value"] for row in store.all("SELECT * FROM counter")}
    members: dict[str, dict[str, int]] = {}
    for row in store.all("SELECT list, status, count(*) AS n FROM membership GROUP BY 1, 2"):
        members.setdefault(str(row["list"]), {})[str(row["status"])] = row["n"]
    imports = store.all(
        "SELECT coalesce(status, 'queued') AS s, count(*) AS n FROM import GROUP BY 1"
    )

    def under(prefix: str) -> dict[str, int]:
        return {
            name.removeprefix(prefix): value
            for name, value in counters.items()
            if name.startswith(prefix)
        }

    names = ("requests", "contacts_imported", "contacts_refused", "automation_runs")
    return JSONResponse(
        {
            "contacts": store.number("SELECT count(*) FROM contact"),
            "lists": members,
            "imports": {row["s"]: row["n"] for row in imports},
            **{name: counters.get(name, 0) for name in names},
            "refusals": under("refused:"),
            "faults": under("fault:"),
        }
    )


async def _export(account: Account, request: Request) -> Response:  # noqa: ARG001
    """GET export: a line of JSON for each contact, ordered by id."""

    # A synchronous generator would run in another thread, which must not use the store.
    async def chunks() -> AsyncIterator[bytes]:
        after = 0
        while rows := account.store.all(
            f"{records.CONTACT} WHERE contact.id > ? ORDER BY contact.id LIMIT ?", after, _CHUNK
        ):
            yield b"".join(_export_lines(account, rows))
            after = rows[-1]["id"]

    return StreamingResponse(chunks(), media_type="application/jsonl")


def _export_lines(account: Account, rows: list[Row]) -> Iterator[bytes]:
    span = (rows[0]["id"], rows[-1]["id"])
    contacts: dict[int, dict[str, Any]] = {
        row["id"]: {
            "id": row["id"],
            "email": row["email"],
            "first_name": row["first_name"],
            "last_name": row["last_name"],
            "phone": row["phone"],
            "organization": row["organization_name"],
            "bounced": bool(row["bounced"]),
            "lists": {},
            "tags": [],
            "fields": {},
            "times_imported": row["times_imported"],
        }
        for row in rows
    }
    for row in account.store.all(
        "SELECT contact, list, status FROM membership WHERE contact BETWEEN ? AND ?", *span
    ):
        contacts[row["contact"]]["lists"][str(row["list"])] = row["status"]
    for row in account.store.all(
        "SELECT contact, name FROM contact_tag JOIN tag ON tag.id = tag"
        " WHERE contact BETWEEN ? AND ? ORDER BY contact, name",
        *span,
    ):
        contacts[row["contact"]]["tags"].append(row["name"])
    for row in account.store.all(
        "SELECT contact, perstag, value FROM field_value JOIN field ON field.id = field"
        " WHERE contact BETWEEN ? AND ?",
        *span,
    ):
        contacts[row["contact"]]["fields"][row["perstag"]] = row["value"]
    for contact in contacts.values():
        yield json.dumps(contact, ensure_ascii=False).encode() + b"\n"


async def _prepare(account: Account, request: Request) -> Response:
    """POST contacts: create contacts in any state, exclusions, and addresses to refuse."""
    body = parse(await request.body())
    with account.store.transaction():
        for contact in body.get("contacts", []):
            _prepare_contact(account, contact)
        for wanted in body.get("excluded", []):
            exclusion_rules.add(account.store, wanted)
    account.malformed |= {records.email_key(email) for email in body.get("malformed", [])}
    account.queue.clear_cache()
    return JSONResponse({"contacts": account.store.number("SELECT count(*) FROM contact")})


def _prepare_contact(account: Account, wanted: dict[str, Any]) -> None:
    store = account.store
    columns: dict[str, Any] = {
        name: wanted[name] for name in ("first_name", "last_name", "phone") if name in wanted
    }
    if not wanted.get("bounced", True):
        columns["bounced"] = 0
    if wanted.get("organization"):
        columns["organization"] = records.organization_id(store, wanted["organization"])
    known = records.contact_by_email(store, wanted["email"])
    number = known["id"] if known else records.create_contact(store, wanted["email"], {})
    if columns:
        records.update_contact(store, number, columns)
    contact = records.contact_by_id(store, number)
    if wanted.get("bounced") and contact is not None and not contact["bounced"]:
        records.add_bounce(store, number)
    for bounce in wanted.get("bounces", []):
        records.add_bounce(store, number, **bounce)
    _prepare_memberships(account, number, wanted)
    for name in wanted.get("tags", []):
        records.add_tag(
            store, number, records.tag_id(store, name, exact=account.options.tag_case == "exact")
        )
    for perstag, value in wanted.get("fields", {}).items():
        field = store.one("SELECT * FROM field WHERE perstag = ?", perstag)
        if field is None:
            raise ValueError("unknown field")
        saved = to_account_zone(value) if field["type"] == "datetime" else value
        records.set_value(store, number, field["id"], saved)


def _prepare_memberships(account: Account, number: int, wanted: dict[str, Any]) -> None:
    store, options = account.store, account.options
    for list_id, status in wanted.get("lists", {}).items():
        records.set_membership(store, options, number, int(list_id), int(status))
    for list_id, how in wanted.get("opt_outs", {}).items():
        opt_out, status = records.OptOut(**how), records.UNSUBSCRIBED
        records.set_membership(store, options, number, int(list_id), status, opt_out=opt_out)
    changed = wanted.get("lists") or wanted.get("opt_outs")
    if changed and options.membership_updates_contact == "yes":
        records.update_contact(store, number, {})


async def _read_clock(account: Account, request: Request) -> Response:  # noqa: ARG001
    """GET clock: the account's time in seconds since the epoch."""
    return JSONResponse({"now": CLOCK.now()})


async def _advance_clock(account: Account, request: Request) -> Response:  # noqa: ARG001
    """POST clock: ``{"advance": seconds}`` moves the account's time forward."""
    CLOCK.advance(parse(await request.body())["advance"])
    return JSONResponse({"now": CLOCK.now()})


async def _settle(account: Account, request: Request) -> Response:  # noqa: ARG001
    """POST settle: apply all queued imports at once."""
    return JSONResponse({"applied": account.queue.apply_all()})


async def _reset(account: Account, request: Request) -> Response:
    """POST reset: start over with the sample account, or without it by ``{"empty": true}``."""
    body = parse(await request.body() or b"{}")
    account.reset()
    if not body.get("empty"):
        sample.fill(account.store)
    return JSONResponse({})


async def _list_faults(account: Account, request: Request) -> Response:  # noqa: ARG001
    """GET faults: all faults that are switched on."""
    return JSONResponse({"faults": account.faults.list()})


async def _bodies(account: Account, request: Request) -> Response:  # noqa: ARG001
    """GET bodies: the bodies of all requests, one after the other."""
    return Response(b"\n".join(account.bodies))


async def _add_fault(account: Account, request: Request) -> Response:
    """POST faults: switch on a fault."""
    fault = account.faults.add(parse(await request.body()))
    return JSONResponse({"fault": fault.summary()}, 201)


async def _clear_faults(account: Account, request: Request) -> Response:  # noqa: ARG001
    """DELETE faults: switch off all faults."""
    account.faults.clear()
    return JSONResponse({})


_ENDPOINTS: tuple[tuple[str, str, Endpoint], ...] = (
    ("GET", "requests", _requests),
    ("GET", "bodies", _bodies),
    ("GET", "imports", _imports),
    ("GET", "stats", _stats),
    ("GET", "export", _export),
    ("POST", "contacts", _prepare),
    ("GET", "clock", _read_clock),
    ("POST", "clock", _advance_clock),
    ("POST", "settle", _settle),
    ("POST", "reset", _reset),
    ("GET", "faults", _list_faults),
    ("POST", "faults", _add_fault),
    ("DELETE", "faults", _clear_faults),
)


def is_local(request: Request) -> bool:
    """Return whether a request names a loopback host, as protection from DNS rebinding.

    A website can make its own name resolve to 127.0.0.1 once its page is open. The browser then
    takes the sandbox for that site, and lets the page read all answers.
    """
    hosts = request.headers.getlist("Host")
    return bool(hosts) and all(map(_is_loopback, hosts))


def _is_loopback(host: str) -> bool:
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = (match[1] or match[2]).lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def routes(account: Account) -> list[Route]:
    """Return the routes of the control API."""

    def route(method: str, path: str, endpoint: Endpoint) -> Route:
        async def guarded(request: Request) -> Response:
            if not is_local(request):
                return JSONResponse({"error": "loopback only"}, 403)
            try:
                return await endpoint(account, request)
            except FaultError as error:
                return JSONResponse({"error": str(error)}, 400)
            except (*_UNUSABLE, sqlite3.Error) as error:
                text = f"The request can't be used ({type(error).__name__})."
                return JSONResponse({"error": text}, 400)

        return Route(f"/_sandbox/{path}", guarded, methods=[method])

    return [route(*entry) for entry in _ENDPOINTS]
