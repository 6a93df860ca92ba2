"""The path of a request to the API: fault, key, limit, handler, log."""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import re
import time
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from activecampaign_sandbox import faults
from activecampaign_sandbox.control import is_local
from activecampaign_sandbox.shapes import Style
from activecampaign_sandbox.wire import Answer, ApiError, Call, refuse_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.faults import Fault

    Handler = Callable[[Account, Call], Answer]

_LOG = logging.getLogger(__name__)

# On every recorded answer.
_HEADERS = {
    "Cache-Control": "no-store, no-cache, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "Thu, 19 Nov 1981 08:52:00 GMT",
}
_NOT_LOCAL = "The sandbox answers only to a loopback name in Host, such as 127.0.0.1 or localhost."
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,30}(\[[A-Za-z_]{0,30}\]){0,2}")
_IMPORT_PATH = "/api/3/import/bulk_import"


class ApiRoute(NamedTuple):
    """A route of the API.

    Attributes:
        method: Its method; None for any.
        path: Its path below ``/api/3/``.
        handler: The function that answers its requests.
        parameters: The query parameters that it knows; None for any.
    """

    method: str | None
    path: str
    handler: Handler
    parameters: frozenset[str] | None = frozenset()


class _Reset(Response):
    """Resets the connection instead of answering; the server's protocol provides the call."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        scope["sandbox.reset"]()
        while (await receive())["type"] != "http.disconnect":
            pass


class _Cut(Response):
    """Closes the connection in the middle of the answer's body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        half = bytes(self.body[: len(self.body) // 2])
        await send({"type": "http.response.body", "body": half, "more_body": True})
        scope["sandbox.close"]()
        while (await receive())["type"] != "http.disconnect":
            pass


class Gateway:
    """Answers the requests to an account's API."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._told: set[tuple[str, str]] = set()

    async def serve(self, request: Request, route: ApiRoute) -> Response:
        """Answer a request and log it."""
        if not is_local(request):  # not a request to the account: no fault, limit or log
            return self._response(Answer(403, {"message": _NOT_LOCAL}), None)
        started, moment = time.time(), time.perf_counter()
        try:
            body = await request.body()
        except ClientDisconnect:  # the client died while it was sending
            return Response(status_code=400)
        call = Call(
            method=request.method,
            path=request.url.path,
            query_string=request.url.query,
            params=request.path_params,
            body=body,
            style=Style(f"{request.base_url}api/3", self._account.options.shapes),
        )
        if body and self._account.options.keep_bodies == "yes":
            self._account.bodies.append(body)
        fault = self._account.faults.pick(call)
        answer = await self._respond(request, call, route, fault)
        response = self._response(answer, fault)
        self._log(
            call,
            at=started,
            seconds=time.perf_counter() - moment,
            status=0 if isinstance(response, _Reset) else answer.status,
            refusal=answer.refusal,
            fault=fault.kind if fault else None,
        )
        return response

    async def _respond(
        self, request: Request, call: Call, route: ApiRoute, fault: Fault | None
    ) -> Answer:
        """Return the answer to a call, with a fault applied to it."""
        if fault is None:
            return self._answer(request, call, route, None)
        instead = fault.answer(call)
        if fault.kind == "slow" and not fault.takes_effect:
            faults_then = self._account.faults
            await asyncio.sleep(fault.seconds)
            if self._account.faults is not faults_then:
                return Answer(503, b"")  # the account was reset while this request waited
        elif (instead or fault.kind == "reset") and not fault.takes_effect:
            return instead or Answer(500, b"")
        answer = self._answer(request, call, route, fault)
        if fault.kind == "slow" and fault.takes_effect:
            await asyncio.sleep(fault.seconds)
        if instead is None:
            first = self._account.store.one("SELECT batch FROM import ORDER BY id LIMIT 1")
            fault.alter(answer, call, first["batch"] if first else None)
        return instead or answer

    def _answer(self, request: Request, call: Call, route: ApiRoute, fault: Fault | None) -> Answer:
        """Return the regular answer; an error in a handler does not change the account."""
        account = self._account
        try:
            self._check_access(request, call)
            with account.store.transaction():
                answer = route.handler(account, call)
                # Afterwards, as the API's own refusals come first; this one undoes all changes.
                self._check_query(call, route)
                effect = fault.queue_effect(call) if fault and call.batch else None
                if call.batch and effect:
                    account.queue.apply_fault(call.batch, effect)
        except ApiError as error:
            answer = error.answer
        except Exception as error:  # noqa: BLE001 - the text may hold personal data
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
            _LOG.error(
                "%s %s failed: %s at %s", call.method, call.path, type(error).__name__, place
            )
            answer = Answer(500, {"message": "Internal Server Error"}, refusal="status_500")
        self._add_limit_headers(answer)
        return answer

    def _check_access(self, request: Request, call: Call) -> None:
        """Check the key, then the limit of requests a second."""
        options = self._account.options
        key = request.headers.get("Api-Token", "")
        if not hmac.compare_digest(key.encode(), options.api_key.encode()):
            answer = getattr(faults, options.bad_key)()
            answer.refusal = "bad_key"
            raise ApiError(answer)
        is_import = call.method == "POST" and call.path == _IMPORT_PATH
        if is_import and options.imports_in_rate == "no":
            return
        wait = self._account.limits.requests.take()
        if wait:
            # Retry-After is a whole number of seconds.
            answer = faults.rate_limited(math.ceil(wait), int(options.rate_limit_status))
            answer.refusal = "rate_limit"
            raise ApiError(answer)

    def _check_query(self, call: Call, route: ApiRoute) -> None:
        """Refuse a query parameter that the route does not know, or log it once."""
        if route.parameters is None:
            return
        for name, _ in call.query:
            if name in route.parameters:
                continue
            if self._account.options.strict_queries == "yes":
                where = call.path.removeprefix("/api/3/")
                refuse_query(name, f"{call.method} {where} has none of this name that it knows.")
            # Only a plain name is shown, as anything else may be personal data.
            shown = name if _PLAIN_NAME.fullmatch(name) else "?"
            endpoint = f"{call.method} {route.path}"
            if (endpoint, shown) not in self._told:
                self._told.add((endpoint, shown))
                _LOG.warning("%s: the query parameter %s has no effect here.", endpoint, shown)

    def _add_limit_headers(self, answer: Answer) -> None:
        window = self._account.limits.requests
        if window.limit:
            answer.headers.setdefault("RateLimit-Limit", str(window.limit))
            answer.headers.setdefault("RateLimit-Remaining", str(window.remaining()))

    def _response(self, answer: Answer, fault: Fault | None) -> Response:
        kind = fault.kind if fault else ""
        if kind == "success_key" and isinstance(answer.body, dict) and "success" in answer.body:
            answer.body = {"Success": answer.body.pop("success"), **answer.body}
        sort = {"reset": _Reset, "cut": _Cut}.get(kind, Response)
        response = sort(answer.encoded(), answer.status)
        response.headers.update(_HEADERS)
        response.headers["X-Request-Id"] = uuid.uuid4().hex
        response.headers.update(answer.headers)
        if answer.content_type:
            response.headers["Content-Type"] = answer.content_type
        return response

    def _log(self, call: Call, **entry: Any) -> None:
        store = self._account.store
        entry.update(
            method=call.method,
            path=call.path,
            query=call.query_string,
            contacts=call.contacts,
            batch=call.batch,
        )
        with store.transaction():
            store.log(entry)
            store.count("requests")
            if entry["refusal"]:
                store.count(f"refused:{entry['refusal']}")
            if entry["fault"]:
                store.count(f"fault:{entry['fault']}")
