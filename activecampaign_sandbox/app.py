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
    lists,
    tags,
    values,
    webpage,
)
from activecampaign_sandbox.clock import CLOCK
from activecampaign_sandbox.gateway import Gateway
from activecampaign_sandbox.wire import Answer, Call, whole_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.gateway import Handler

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "users/me", lists.me),
    ("GET", "lists", lists.index),
    ("POST", "lists", lists.create),
    ("GET", "lists/exclusions", exclusions.index),
    ("GET", "lists/exclusions/{id:number}", exclusions.read),
    ("GET", "lists/{id:number}", lists.read),
    ("PUT", "lists/{id:number}", lists.update),
    ("DELETE", "lists/{id:number}", lists.delete),
    ("GET", "contactLists", lists.memberships),
    ("POST", "contactLists", lists.subscribe),
    ("GET", "fields", fields.index),
    ("POST", "fields", fields.create),
    ("GET", "fields/{id:number}", fields.read),
    ("PUT", "fields/{id:number}", fields.update),
    ("DELETE", "fields/{id:number}", fields.delete),
    ("GET", "fieldRels", fields.relations),
    ("POST", "fieldRels", fields.relate),
    ("POST", "fieldOption/bulk", fields.create_options),
    ("GET", "fieldOptions/{id:number}", fields.read_option),
    ("DELETE", "fieldOptions/{id:number}", fields.delete_option),
    ("GET", "fieldValues", values.index),
    ("POST", "fieldValues", values.create),
    ("GET", "fieldValues/{id:number}", values.read),
    ("PUT", "fieldValues/{id:number}", values.update),
    ("DELETE", "fieldValues/{id:number}", values.delete),
    ("GET", "contacts", contacts.index),
    ("POST", "contacts", contacts.create),
    ("GET", "contacts/{id:number}", contacts.read),
    ("PUT", "contacts/{id:number}", contacts.update),
    ("DELETE", "contacts/{id:number}", contacts.delete),
    ("GET", "contacts/{id:number}/contactLists", contacts.memberships),
    ("GET", "contacts/{id:number}/bounceLogs", contacts.bounce_logs),
    ("GET", "contacts/{id:number}/contactTags", contacts.tags),
    ("GET", "contacts/{id:number}/fieldValues", contacts.values),
    ("POST", "contact/sync", contacts.sync),
    ("GET", "tags", tags.index),
    ("POST", "tags", tags.create),
    ("GET", "tags/{id:number}", tags.read),
    ("PUT", "tags/{id:number}", tags.update),
    ("DELETE", "tags/{id:number}", tags.delete),
    ("POST", "contactTags", tags.add),
    ("GET", "contactTags/{id:number}", tags.read_contact_tag),
    ("DELETE", "contactTags/{id:number}", tags.remove),
    ("POST", "import/bulk_import", imports.create),
    ("GET", "import/bulk_import", imports.index),
    ("GET", "import/info", imports.info),
)


class _Number(Convertor[int]):
    """A number in a path, of any length."""

    regex = "[0-9]+"

    def convert(self, value: str) -> int:
        return whole_number(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _not_found(account: Account, call: Call) -> Answer:  # noqa: ARG001 - a handler's form
    message = "The requested resource does not exist."
    return Answer(404, {"message": message}, refusal="status_404")


def _dated(app: ASGIApp) -> ASGIApp:
    """Return an application that sets the ``Date`` of each answer by the account's clock."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(CLOCK.now(), usegmt=True).encode()
                message["headers"] = [(b"date", date), *message["headers"]]
            await send(message)

        await app(scope, receive, send_dated)

    return dated


def build(account: Account, *, api_only: bool = False) -> ASGIApp:
    """Return the ASGI application that serves an account and applies its queued imports.

    Args:
        account: The account.
        api_only: Whether to serve neither the page nor the control API, which need no key.
    """
    gateway = Gateway(account)

    def route(method: str | None, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await gateway.serve(request, handler)

        return Route(f"/api/3/{path}", endpoint, methods=[method] if method else _METHODS)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(account.queue.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    routes = [route(*entry) for entry in _ROUTES]
    routes.append(route(None, "{rest:path}", _not_found))
    if not api_only:
        routes += [*control.routes(account), *webpage.routes(account)]
    return _dated(Starlette(routes=routes, lifespan=lifespan))
