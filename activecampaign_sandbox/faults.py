"""Faults that can be switched on at run time; docs/sandbox-control.md describes each.

A fault is a JSON object with its ``kind``, a ``match`` (``method``, ``path`` with ``*``,
``contains``: a text in the body), a frequency (``times``; ``probability``; ``from`` and ``to``: the
k-th matching request), and the parameters of its kind.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox import records
from activecampaign_sandbox.wire import HTML, JSON, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from activecampaign_sandbox.wire import Call

_IMPORT_PATH = "/api/3/import/bulk_import"

_LOGIN_PAGE = b"""<!DOCTYPE html>
<html><head><title>ActiveCampaign - Log in</title></head>
<body><form method="post" action="/admin/"><input name="user"><input name="pass"></form></body>
</html>
"""
_GATEWAY_PAGE = b"<html><head><title>%d</title></head><body><h1>%s</h1></body></html>\n"
_NOT_AUTHENTICATED = (
    "The request could not be authenticated or the authenticated user is not authorized to"
    " access the requested resource."
)
_NOT_PAID = "The request could not be processed due to account payment issues."


def _gateway(status: int, words: bytes) -> Answer:
    return Answer(status, _GATEWAY_PAGE % (status, words), content_type="text/html")


def forbidden() -> Answer:
    """Return 403, the documented answer to a missing or wrong key; its body is unverified."""
    return Answer(403, {"message": _NOT_AUTHENTICATED})


def unauthorized() -> Answer:
    """Return 401, which the API reportedly never answers."""
    return Answer(401, {"message": _NOT_AUTHENTICATED})


def login_page() -> Answer:
    """Return 200 with an HTML page, as reported for an expired key [rep]."""
    return Answer(200, _LOGIN_PAGE, content_type="text/html; charset=UTF-8")


def rate_limited(seconds: float, status: int = 429) -> Answer:
    """Return 429 with Retry-After [doc], whose body is unverified; or 503 without it [rep]."""
    if status != 429:  # noqa: PLR2004 - the status's number is its name
        return _gateway(503, b"Service Temporarily Unavailable")
    headers = {"Retry-After": f"{seconds:g}", "RateLimit-Remaining": "0"}
    return Answer(429, {"message": "Too Many Requests"}, headers)


def _import_rate(_: Fault) -> Answer:
    reason = (
        "Up to 100 imports may be requested per minute.Please batch contacts into larger"
        " requests, or retry this request in a minute."
    )
    body = {"success": 0, "message": "Rate limit exceeded.", "failureReasons": [reason]}
    return Answer(400, body, content_type=HTML)


def _import_refused(fault: Fault) -> Answer:
    """Return a refused import; ``reasons`` are strings, or objects with an index."""
    message = (
        "JSON payload did not pass validation. Please fix failureReasons and retry."
        " The import was not queued for processing."
    )
    body = {"success": 0, "message": message, "failureReasons": fault.reasons}
    return Answer(400, body, content_type=HTML)


def _import_refused_all(fault: Fault, call: Call) -> Answer:
    """Return a refused import that names each of its contacts, counted from `base`."""
    contacts = json.loads(call.body)["contacts"]
    reasons = [
        {"contact": number, "failureReason": "Field 'email' incorrect format"}
        for number in range(fault.base, fault.base + len(contacts))
    ]
    return _import_refused(replace(fault, reasons=reasons))


def _invalid(_: Fault) -> Answer:
    title = "The request could not be processed, usually due to a missing or invalid parameter."
    return Answer(422, {"errors": [{"title": title, "detail": ""}]})


_ANSWERS: dict[str, Callable[[Fault], Answer]] = {
    "forbidden": lambda _: forbidden(),
    "forbidden_bare": lambda _: Answer(403, b"", content_type=None),
    "permission": lambda _: Answer(403, {"message": "Forbidden"}),
    "unauthorized": lambda _: unauthorized(),
    "payment": lambda _: Answer(402, {"message": _NOT_PAID}),
    "not_found": lambda _: Answer(404, {"message": "The requested resource does not exist."}),
    "invalid": _invalid,
    "too_large": lambda _: _gateway(413, b"Request Entity Too Large"),
    "rate_limit": lambda fault: rate_limited(fault.retry_after),
    "server_error": lambda _: Answer(500, {"message": "Internal Server Error"}),
    "bad_gateway": lambda _: _gateway(502, b"Bad Gateway"),
    "unavailable": lambda _: _gateway(503, b"Service Temporarily Unavailable"),
    "gateway_timeout": lambda _: _gateway(504, b"Gateway Time-out"),
    "login_page": lambda _: login_page(),
    "malformed": lambda _: Answer(200, b'{"success":1,"queued_', content_type=JSON),
    "empty": lambda _: Answer(200, b""),
    "redirect": lambda fault: Answer(302, b"", {"Location": fault.location}),
    "import_rate_limit": _import_rate,
    "import_refused": _import_refused,
}
_CONNECTION = {"reset", "cut", "slow", "success_key", "altered", "import_batch_again"}
_QUEUE = {
    "queue_failed", "queue_interrupted", "queue_forgotten", "queue_drop", "queue_stuck",
    "queue_false", "queue_slow", "queue_partial",
}  # fmt: skip

KINDS = sorted({*_ANSWERS, *_CONNECTION, *_QUEUE, "import_refused_all"})

_MATCH_KEYS = {"method", "path", "contains"}
_KEYS = {
    "kind", "match", "times", "probability", "seed", "from", "to", "takes_effect", "seconds",
    "retry_after", "location", "reasons", "applied", "contacts", "base", "values", "without",
    "drop",
}  # fmt: skip


class FaultError(Exception):
    """The description of a fault can't be used; the text says why."""


@dataclass
class Fault:
    """A fault; `seen` counts the requests that it matched, `fired` those that it affected."""

    id: int
    kind: str
    method: str = "*"
    path: str = "*"
    contains: bytes = b""
    times: int | None = None
    probability: float = 1.0
    first: int = 1
    last: int | None = None
    takes_effect: bool = False
    seconds: float = 1.0
    retry_after: float = 1.0
    location: str = "http://127.0.0.1:9/"
    reasons: list[Any] = field(default_factory=lambda: ["The import could not be validated."])
    applied: bool | None = None
    contacts: int | list[str] = 1
    base: int = 1
    values: dict[str, Any] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    seen: int = 0
    fired: int = 0
    chance: random.Random = field(default_factory=random.Random, repr=False)

    def should_fire(self, call: Call) -> bool:
        """Return whether the fault is to affect a call; count the call if it matches."""
        if not (
            fnmatchcase(call.method, self.method)
            and fnmatchcase(call.path, self.path)
            and self.contains in call.body
        ):
            return False
        self.seen += 1
        return (
            self.seen >= self.first
            and (self.last is None or self.seen <= self.last)
            and (self.times is None or self.fired < self.times)
            and (self.probability >= 1 or self.chance.random() < self.probability)
        )

    def answer(self, call: Call) -> Answer | None:
        """Return the answer that replaces the regular one; None if this kind replaces none."""
        if self.kind == "import_refused_all":
            return _import_refused_all(self, call)
        make = _ANSWERS.get(self.kind)
        return make(self) if make else None

    def queue_effect(self, call: Call) -> dict[str, Any] | None:
        """Return the effect on the import that the call queued; None if this kind has none."""
        applied = self.applied
        if self.kind in ("queue_failed", "queue_interrupted", "queue_forgotten"):
            status = self.kind.removeprefix("queue_")
            return {"status": status, "applied": bool(applied)}
        if self.kind == "queue_drop":
            return {"drop": self._dropped(call)}
        if self.kind == "queue_partial":
            return {"drop": self._dropped(call), "silent": True}
        if self.drop:
            return {"drop": self.drop}
        if self.kind == "queue_stuck":
            return {"latency": None}
        if self.kind == "queue_false":
            return {"false_status": self.seconds, "latency": self.seconds}
        return {"latency": self.seconds} if self.kind == "queue_slow" else None

    def alter(self, answer: Answer, call: Call, first: str | None) -> None:
        """Change the regular answer, if the fault is of a kind that does.

        Args:
            answer: The answer.
            call: The call that it answers.
            first: The batchId of the account's first import, if there is one.
        """
        body = answer.body
        if not isinstance(body, dict):
            return
        if self.kind == "altered":
            remaining = {key: value for key, value in body.items() if key not in self.without}
            answer.body = {**remaining, **self.values}
        elif self.kind == "queue_partial" and "queued_contacts" in body:
            sent = {records.email_key(one["email"]) for one in json.loads(call.body)["contacts"]}
            missing = len(sent.intersection(map(records.email_key, self._dropped(call))))
            answer.body = {**body, "queued_contacts": body["queued_contacts"] - missing}
        elif self.kind == "import_batch_again" and "batchId" in body:
            answer.body = {**body, "batchId": first}

    def _dropped(self, call: Call) -> list[str]:
        if isinstance(self.contacts, list):
            return self.contacts
        contacts = json.loads(call.body)["contacts"][: self.contacts]
        return [contact["email"].strip() for contact in contacts]

    def summary(self) -> dict[str, Any]:
        """Return the fault as the control API shows it."""
        shown = (
            "id", "kind", "method", "path", "times", "probability", "takes_effect", "seen", "fired",
        )  # fmt: skip
        return {name: getattr(self, name) for name in shown}


class Faults:
    """The faults that are switched on; they are not stored."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last_id = 0

    def add(self, description: Any) -> Fault:
        """Switch on a fault and return it.

        Raises:
            FaultError: The description names an unknown kind or key, or a value of a wrong type.
        """
        if not isinstance(description, dict):
            raise FaultError("A fault is a JSON object.")
        _check_keys(description, _KEYS)
        match = description.get("match", {})
        _check_keys(match, _MATCH_KEYS)
        kind = description.get("kind")
        if kind not in KINDS:
            raise FaultError(f"Unknown kind of fault; the kinds are: {', '.join(KINDS)}.")
        values = {
            key: description[key]
            for key in _KEYS - {"kind", "match", "from", "to", "seed"}
            if key in description
        }
        for_imports = kind in _QUEUE or kind == "success_key" or kind.startswith("import_")
        self._last_id += 1
        fault = Fault(
            id=self._last_id,
            kind=kind,
            method=match.get("method", "POST" if for_imports else "*"),
            path=match.get("path", _IMPORT_PATH if for_imports else "*"),
            contains=str(match.get("contains", "")).encode(),
            first=description.get("from", 1),
            last=description.get("to"),
            chance=random.Random(description.get("seed")),  # noqa: S311 - a fault, no secret
            **values,
        )
        self._faults.append(fault)
        return fault

    def pick(self, call: Call) -> Fault | None:
        """Return the first fault that affects this call, if any; all that match count it."""
        firing = [fault for fault in self._faults if fault.should_fire(call)]
        if not firing:
            return None
        firing[0].fired += 1
        return firing[0]

    def list(self) -> list[dict[str, Any]]:
        """Return all faults, with the numbers of calls that they matched and affected."""
        return [fault.summary() for fault in self._faults]

    def clear(self) -> None:
        """Switch off all faults."""
        self._faults.clear()


def _check_keys(given: Any, known: set[str]) -> None:
    if not isinstance(given, dict):
        raise FaultError("`match` is a JSON object.")
    unknown = sorted(set(given) - known)
    if unknown:
        raise FaultError(
            f"Unknown keys {', '.join(unknown)}; the keys are: {', '.join(sorted(known))}."
        )
