"""The web application: the routes of the API, the control API and the page."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from activecampaign_sandbox import (
    contacts,
    control,
    exclusions,
    fields,
    imports,
    links,
    lists,
    memberships,
    pages,
    selection,
    tags,
    users,
    values,
    webpage,
)
from activecampaign_sandbox.clock import CLOCK
from activecampaign_sandbox.gateway import ApiRoute, Gateway
from activecampaign_sandbox.wire import Answer, Call, whole_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from activecampaign_sandbox.account import Account

_PAGES = pages.PARAMETERS

_ROUTES = (
    ApiRoute("GET", "", users.root),
    ApiRoute("GET", "users", users.index, _PAGES),
    ApiRoute("GET", "users/me", users.me),
    ApiRoute("GET", "users/{id:number}", users.read),
    ApiRoute("GET", "users/{id:number}/userGroup", users.group),
    ApiRoute("GET", "lists", lists.index, lists.PARAMETERS),
    ApiRoute("POST", "lists", lists.create),
    ApiRoute("GET", "lists/exclusions", exclusions.index, exclusions.PARAMETERS),
    ApiRoute("GET", "lists/exclusions/{id:number}", exclusions.read),
    ApiRoute("PUT", "lists/exclusions/{id:number}", exclusions.update),
    ApiRoute("GET", "lists/{id:number}", lists.read),
    ApiRoute("PUT", "lists/{id:number}", lists.update),
    ApiRoute("DELETE", "lists/{id:number}", lists.delete),
    ApiRoute("POST", "listGroups", lists.add_group),
    ApiRoute("GET", "contactLists", memberships.index, _PAGES),
    ApiRoute("POST", "contactLists", memberships.save),
    ApiRoute("GET", "fields", fields.index, fields.PARAMETERS),
    ApiRoute("POST", "fields", fields.create),
    ApiRoute("GET", "fields/{id:number}", fields.read),
    ApiRoute("PUT", "fields/{id:number}", fields.update),
    ApiRoute("DELETE", "fields/{id:number}", fields.delete),
    ApiRoute("GET", "fieldRels", fields.relations, _PAGES),
    ApiRoute("POST", "fieldRels", fields.relate),
    ApiRoute("GET", "fieldRels/{id:number}", fields.read_relation),
    ApiRoute("DELETE", "fieldRels/{id:number}", fields.delete_relation),
    ApiRoute("POST", "fieldOption/bulk", fields.create_options),
    ApiRoute("GET", "fieldOptions/{id:number}", fields.read_option),
    ApiRoute("DELETE", "fieldOptions/{id:number}", fields.delete_option),
    ApiRoute("GET", "fieldValues", values.index, values.PARAMETERS),
    ApiRoute("POST", "fieldValues", values.create),
    ApiRoute("GET", "fieldValues/{id:number}", values.read),
    ApiRoute("PUT", "fieldValues/{id:number}", values.update),
    ApiRoute("DELETE", "fieldValues/{id:number}", values.delete),
    ApiRoute("GET", "contacts", contacts.index, selection.PARAMETERS),
    ApiRoute("POST", "contacts", contacts.create),
    ApiRoute("GET", "contacts/{id:number}", contacts.read),
    ApiRoute("PUT", "contacts/{id:number}", contacts.update),
    ApiRoute("DELETE", "contacts/{id:number}", contacts.delete),
    # These answer with everything, whatever the limit (unverified).
    ApiRoute("GET", "contacts/{id:number}/contactLists", contacts.memberships, _PAGES),
    ApiRoute("GET", "contacts/{id:number}/bounceLogs", contacts.bounce_logs, _PAGES),
    ApiRoute("GET", "contacts/{id:number}/contactTags", contacts.tags, _PAGES),
    ApiRoute("GET", "contacts/{id:number}/fieldValues", contacts.values, _PAGES),
    ApiRoute("POST", "contact/sync", contacts.sync),
    ApiRoute("GET", "tags", tags.index, tags.PARAMETERS),
    ApiRoute("POST", "tags", tags.create),
    ApiRoute("GET", "tags/{id:number}", tags.read),
    ApiRoute("PUT", "tags/{id:number}", tags.update),
    ApiRoute("DELETE", "tags/{id:number}", tags.delete),
    ApiRoute("GET", "contactTags", tags.contact_tags, _PAGES),
    ApiRoute("POST", "contactTags", tags.add),
    ApiRoute("GET", "contactTags/{id:number}", tags.read_contact_tag),
    ApiRoute("DELETE", "contactTags/{id:number}", tags.remove),
    ApiRoute("POST", "import/bulk_import", imports.create),
    ApiRoute("GET", "import/bulk_import", imports.index),
    ApiRoute("GET", "import/info", imports.info, frozenset({"batchId"})),
    *(ApiRoute("GET", *link) for link in links.ROUTES),
)


class _Number(Convertor[int]):
    """A number in a path, of any length."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        return whole_number(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())

_API = "/api/3/"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _not_found(account: Account, call: Call) -> Answer:  # noqa: ARG001 - a handler's form
    message = "The requested resource does not exist."
    return Answer(404, {"message": message}, refusal="status_404")


def _outermost(app: ASGIApp) -> ASGIApp:
    """Return an application that ignores a slash at the end of the API's paths [rep].

    It also sets the ``Date`` of each answer by the account's clock.
    """

    async def outermost(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(_API) and scope["path"] != _API:
            scope["path"] = scope["path"].removesuffix("/")

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(CLOCK.now(), usegmt=True).encode()
                message["headers"] = [(b"date", date), *message["headers"]]
            await send(message)

        await app(scope, receive, send_dated)

    return outermost


def build(account: Account, *, api_only: bool = False) -> ASGIApp:
    """Return the ASGI application that serves an account and applies its queued imports.

    Args:
        account: The account.
        api_only: Whether to serve neither the page nor the control API, which need no key.
    """
    gateway = Gateway(account)

    def route(served: ApiRoute) -> Route:
        async def endpoint(request: Request) -> Response:
            return await gateway.serve(request, served)

        methods = [served.method] if served.method else _METHODS
        return Route(f"{_API}{served.path}", endpoint, methods=methods)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(account.queue.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    routes = [route(served) for served in _ROUTES]
    routes.append(route(ApiRoute(None, "{rest:path}", _not_found, None)))
    if not api_only:
        routes += [*control.routes(account), *webpage.routes(account)]
    return _outermost(Starlette(routes=routes, lifespan=lifespan))
