"""Which path leads to which handler."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from target_activecampaign.sandbox import (
    contacts,
    control,
    fields,
    imports,
    lists,
    tags,
    values,
    webpage,
)
from target_activecampaign.sandbox.clock import CLOCK
from target_activecampaign.sandbox.door import Door
from target_activecampaign.sandbox.wire import Answer, Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from target_activecampaign.sandbox.account import Account
    from target_activecampaign.sandbox.door import Handler

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "users/me", lists.me),
    ("GET", "lists", lists.index),
    ("POST", "lists", lists.create),
    ("GET", "lists/{id:int}", lists.read),
    ("PUT", "lists/{id:int}", lists.update),
    ("DELETE", "lists/{id:int}", lists.delete),
    ("GET", "contactLists", lists.memberships),
    ("POST", "contactLists", lists.subscribe),
    ("GET", "fields", fields.index),
    ("POST", "fields", fields.create),
    ("GET", "fields/{id:int}", fields.read),
    ("PUT", "fields/{id:int}", fields.update),
    ("DELETE", "fields/{id:int}", fields.delete),
    ("GET", "fieldRels", fields.relations),
    ("POST", "fieldRels", fields.relate),
    ("POST", "fieldOption/bulk", fields.create_options),
    ("GET", "fieldOptions/{id:int}", fields.read_option),
    ("DELETE", "fieldOptions/{id:int}", fields.delete_option),
    ("GET", "fieldValues", values.index),
    ("POST", "fieldValues", values.create),
    ("GET", "fieldValues/{id:int}", values.read),
    ("PUT", "fieldValues/{id:int}", values.update),
    ("DELETE", "fieldValues/{id:int}", values.delete),
    ("GET", "contacts", contacts.index),
    ("POST", "contacts", contacts.create),
    ("GET", "contacts/{id:int}", contacts.read),
    ("PUT", "contacts/{id:int}", contacts.update),
    ("DELETE", "contacts/{id:int}", contacts.delete),
    ("GET", "contacts/{id:int}/contactLists", contacts.memberships),
    ("GET", "contacts/{id:int}/contactTags", contacts.tags),
    ("GET", "contacts/{id:int}/fieldValues", contacts.values),
    ("POST", "contact/sync", contacts.sync),
    ("GET", "tags", tags.index),
    ("POST", "tags", tags.create),
    ("GET", "tags/{id:int}", tags.read),
    ("PUT", "tags/{id:int}", tags.update),
    ("DELETE", "tags/{id:int}", tags.delete),
    ("POST", "contactTags", tags.give),
    ("GET", "contactTags/{id:int}", tags.read_given),
    ("DELETE", "contactTags/{id:int}", tags.take_away),
    ("POST", "import/bulk_import", imports.create),
    ("GET", "import/bulk_import", imports.index),
    ("GET", "import/info", imports.info),
)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _nothing_here(account: Account, call: Call) -> Answer:  # noqa: ARG001 - a handler's form
    message = "The requested resource does not exist."
    return Answer(404, {"message": message}, refusal="status_404")


def _dated(app: ASGIApp) -> ASGIApp:
    """The application with the account's clock in the ``Date`` of every answer."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = formatdate(CLOCK.now(), usegmt=True).encode()
                message["headers"] = [(b"date", date), *message["headers"]]
            await send(message)

        await app(scope, receive, send_dated)

    return dated


def build(account: Account) -> ASGIApp:
    """The ASGI application that serves one account and applies its import queue."""
    door = Door(account)

    def route(method: str | None, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await door.serve(request, handler)

        return Route(f"/api/3/{path}", endpoint, methods=[method] if method else _METHODS)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(account.queue.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    routes = [route(*entry) for entry in _ROUTES]
    routes.append(route(None, "{rest:path}", _nothing_here))
    routes += [*control.routes(account), *webpage.routes(account)]
    return _dated(Starlette(routes=routes, lifespan=lifespan))
