"""The page at /, which shows the account and its latest imports and requests in a browser.

It needs no key, counts for no limit, is not logged, and only answers to a loopback name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from activecampaign_sandbox import clock, records
from activecampaign_sandbox.control import is_local

if TYPE_CHECKING:
    from sqlite3 import Row

    from starlette.requests import Request

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.store import Store

CONTACTS_A_PAGE = 50
LATEST = 20  # imports and requests shown
MOST_COUNTED = 10_000  # contacts up to which values are counted: the API waits meanwhile
_LONGEST_PAGE_NUMBER = 9  # in digits: far more pages than a file can hold

_STATUSES = {1: "Active", 2: "Unsubscribed", 3: "Bounced", 0: "Unconfirmed"}

# The parameters whose values are shown. Any other may hold an address, a name or a key.
_PLAIN = {
    "batchId", "exclude", "filters[fieldid]", "filters[perstag]", "id_greater", "id_less", "ids[]",
    "limit", "listid", "offset", "orders[id]", "status", "tagid",
}  # fmt: skip

_HEADERS = {
    "Cache-Control": "no-store",
    # Whatever values contain, no script runs, and nothing is loaded from elsewhere.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self';"
        " base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # a search is in the page's address
    "X-Content-Type-Options": "nosniff",
}


def routes(account: Account) -> list[Route]:
    """Return the route of the page."""
    environment = Environment(
        loader=PackageLoader("activecampaign_sandbox"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(local=clock.local, iso=clock.iso)

    async def show(request: Request) -> Response:
        if not is_local(request):
            return PlainTextResponse("loopback only", 403)
        search = request.query_params.get("search", "").strip()
        page = _page_number(request.query_params.get("page", ""))
        template = environment.get_template("webpage.html")  # compiled once, when it is asked for
        return HTMLResponse(
            template.render(_template_values(account, search, page)), headers=_HEADERS
        )

    return [Route("/", show, methods=["GET"])]


def _page_number(text: str) -> int:
    """Return the requested page of contacts; the first for anything that is not a number."""
    return max(1, int(text)) if text.isdecimal() and len(text) <= _LONGEST_PAGE_NUMBER else 1


def _template_values(account: Account, search: str, page: int) -> dict[str, Any]:
    """Return the values of the template."""
    store = account.store
    imports = {
        row["state"]: row["n"]
        for row in store.all(
            "SELECT coalesce(status, 'queued') AS state, count(*) AS n FROM import GROUP BY 1"
        )
    }
    return {
        "path": store.path,
        "zone": clock.CLOCK.zone_name,
        "statuses": _STATUSES,
        "lists": _lists(store),
        "contacts": _contacts(store, search, page),
        "fields": _fields(store),
        "import_counts": imports,
        "imports": _imports(store),
        "only_new": account.options.success_lists == "created",
        "request_count": store.number("SELECT value FROM counter WHERE name = 'requests'"),
        "requests": _requests(store),
    }


def _lists(store: Store) -> list[dict[str, Any]]:
    """Return the lists with the number of their members by status."""
    members = {
        (row["list"], row["status"]): row["n"]
        for row in store.all("SELECT list, status, count(*) AS n FROM membership GROUP BY 1, 2")
    }
    return [
        {**row, "members": [members.get((row["id"], status), 0) for status in _STATUSES]}
        for row in store.all("SELECT id, name, stringid FROM list ORDER BY id")
    ]


def _contacts(store: Store, search: str, page: int) -> dict[str, Any]:
    """Return one page of the contacts whose address contains a text, the newest first."""
    where = " WHERE instr(lower(email), lower(?)) > 0" if search else ""
    values = [search] if search else []
    found = store.number(f"SELECT count(*) FROM contact{where}", *values)  # noqa: S608 - constant
    pages = max(1, -(-found // CONTACTS_A_PAGE))
    page = min(page, pages)
    rows = store.all(
        f"{records.CONTACT}{where} ORDER BY contact.id DESC LIMIT ? OFFSET ?",
        *values, CONTACTS_A_PAGE, (page - 1) * CONTACTS_A_PAGE,
    )  # fmt: skip
    return {
        "total": store.number("SELECT count(*) FROM contact"),
        "found": found,
        "first": (page - 1) * CONTACTS_A_PAGE + 1,
        "page": page,
        "pages": pages,
        "search": search,
        "rows": _contact_rows(store, rows),
    }


def _contact_rows(store: Store, rows: list[Row]) -> list[dict[str, Any]]:
    """Return contacts with the names of their lists and tags, and the values of their fields."""
    contacts: dict[int, dict[str, Any]] = {
        row["id"]: {**row, "lists": [], "tags": [], "values": []} for row in rows
    }
    # The statements are composed of question marks, never of values.
    of_these = f"contact IN ({', '.join('?' * len(contacts))})"
    for row in store.all(
        "SELECT contact, name, status FROM membership JOIN list ON list.id = list"  # noqa: S608
        f" WHERE {of_these} ORDER BY list.id",
        *contacts,
    ):
        contacts[row["contact"]]["lists"].append((row["name"], _STATUSES.get(row["status"], "?")))
    for row in store.all(
        "SELECT contact, name FROM contact_tag JOIN tag ON tag.id = tag"  # noqa: S608
        f" WHERE {of_these} ORDER BY name",
        *contacts,
    ):
        contacts[row["contact"]]["tags"].append(row["name"])
    for row in store.all(
        "SELECT contact, title, value FROM field_value JOIN field ON field.id = field"  # noqa: S608
        f" WHERE {of_these} ORDER BY field.id",
        *contacts,
    ):
        contacts[row["contact"]]["values"].append((row["title"], row["value"]))
    return list(contacts.values())


def _fields(store: Store) -> list[dict[str, Any]]:
    """Return the custom fields with their options and the number of contacts with a value.

    The number is None if there are more than `MOST_COUNTED` contacts.
    """
    options: dict[int, list[str]] = {}
    for row in store.all("SELECT field, label FROM field_option ORDER BY field, id"):
        options.setdefault(row["field"], []).append(row["label"])
    counted = store.number("SELECT count(*) FROM contact") <= MOST_COUNTED
    filled = {
        row["field"]: row["n"]
        for row in store.all(
            "SELECT field, count(*) AS n FROM field_value WHERE ? AND value <> '' GROUP BY field",
            counted,
        )
    }
    return [
        {
            **row,
            "options": options.get(row["id"], []),
            "filled": filled.get(row["id"], 0) if counted else None,
        }
        for row in store.all("SELECT id, title, perstag, type FROM field ORDER BY id")
    ]


def _imports(store: Store) -> list[dict[str, Any]]:
    """Return the latest imports, with the numbers of created and refused contacts."""
    rows = store.all("SELECT * FROM import ORDER BY id DESC LIMIT ?", LATEST)
    return [
        {
            **row,
            "success": len(json.loads(row["success"])),
            "failure": len(json.loads(row["failure"])),
        }
        for row in rows
    ]


def _requests(store: Store) -> list[dict[str, Any]]:
    """Return the latest requests, with personal data in their queries masked."""
    rows = store.all("SELECT * FROM request ORDER BY id DESC LIMIT ?", LATEST)
    return [{**row, "query": _masked(row["query"])} for row in rows]


def _masked(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(f"{name}={value if name in _PLAIN else '…'}" for name, value in pairs)
