"""Bulk imports: POST and GET /import/bulk_import, GET /import/info.

An import is validated and queued here; `import_queue` applies it when it is due.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, NoReturn

from activecampaign_sandbox import clock, records
from activecampaign_sandbox.import_plan import list_ids
from activecampaign_sandbox.wire import HTML, Answer, ApiError, Call, parse, reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.options import Options

_NOT_QUEUED = (
    "JSON payload did not pass validation. Please fix failureReasons and retry."
    " The import was not queued for processing."
)
_RATE_REASON = (
    "Up to {limit} imports may be requested per minute.Please batch contacts into larger"
    " requests, or retry this request in a minute."
)
_TEXT_KEYS = ("first_name", "last_name", "phone", "customer_acct_name")
_WEEK = 7 * 24 * 3600


def refuse(status: int, message: str, reasons: list[Any], kind: str) -> NoReturn:
    """End the request with a refused import, in its documented form."""
    body = {"success": 0, "message": message, "failureReasons": reasons}
    raise ApiError(Answer(status, body, content_type=HTML, refusal=kind))


def rate_refusal(limit: int) -> NoReturn:
    """End the request with the answer of the import limit: a 400, not a 429 [doc]."""
    reason = _RATE_REASON.format(limit=limit)
    refuse(400, "Rate limit exceeded.", [reason], "import_rate_limit")


def create(account: Account, call: Call) -> Answer:
    """POST /import/bulk_import: queue all contacts, or none if one is invalid."""
    options = account.options
    if options.body_bytes and len(call.body) > options.body_bytes and options.too_large != "accept":
        reason = f"Payload must be {options.body_bytes} bytes or less"
        refuse(int(options.too_large_status), _NOT_QUEUED, [reason], "import_too_large")
    payload, contacts = _parsed(call)
    call.contacts = len(contacts)
    _take_from_limit(account, len(contacts))
    body = call.body
    if options.contacts_per_import and len(contacts) > options.contacts_per_import:
        if options.too_many == "refuse":
            reason = f"Up to {options.contacts_per_import} contacts may be included in a request"
            refuse(int(options.too_many_status), _NOT_QUEUED, [reason], "import_too_many")
        if options.too_many == "truncate":
            contacts = contacts[: options.contacts_per_import]
            body = json.dumps({"contacts": contacts}).encode()
    _check(account, contacts, payload)
    excluded = _excluded_count(account, contacts)
    uncounted = {"sent": 0, "accepted": _refused_count(account, contacts)}
    call.batch = _queue(account, body, payload, contacts)
    return Answer(
        200,
        {
            # With excluded addresses the documented answer counts the contacts here.
            options.success_key: len(contacts) if excluded else 1,
            "queued_contacts": len(contacts) - uncounted.get(options.queued_contacts, excluded),
            "batchId": call.batch,
            "message": "Contact import queued",
        },
        content_type=HTML,
    )


def _parsed(call: Call) -> tuple[dict[str, Any], list[Any]]:
    try:
        payload = parse(call.body)
    except ValueError:
        refuse(400, _NOT_QUEUED, ["Invalid or unparsable json"], "import_invalid")
    contacts = payload.get("contacts") if isinstance(payload, dict) else None
    if not isinstance(contacts, list) or not contacts:
        refuse(400, _NOT_QUEUED, ["'contacts' is a required field."], "import_invalid")
    return payload, contacts


def _take_from_limit(account: Account, contacts: int) -> None:
    """Count an import against its limit; a refused one counts too (unverified)."""
    limits = account.limits
    window = limits.single_imports if contacts == 1 else limits.multi_imports
    if window.take():
        rate_refusal(window.limit)


def _check(account: Account, contacts: list[Any], payload: dict[str, Any]) -> None:
    """Refuse the whole import if a contact or its callback is invalid [doc]."""
    callback = payload.get("callback")
    if callback is not None and not (
        isinstance(callback, dict) and callback.get("url") and callback.get("requestType")
    ):
        refuse(400, _NOT_QUEUED, ["'callback' requires 'url' and 'requestType'."], "import_invalid")
    options = account.options
    reasons: list[dict[str, Any]] = []
    for number, contact in enumerate(contacts):
        reason = _failure_reason(account, contact)
        if reason:
            reasons.append({"contact": number, "failureReason": reason})
            if options.failure_reasons == "first":
                break
    if reasons:
        base = account.take_index_base()
        for entry in reasons:
            entry["contact"] += base
        refuse(400, _NOT_QUEUED, reasons, "import_invalid")


def _failure_reason(account: Account, contact: Any) -> str | None:
    """Return why a contact is invalid, worded as the documented and the reported case."""
    email = contact.get("email") if isinstance(contact, dict) else None
    if not isinstance(email, str) or not email.strip():
        return "Field 'email' not found"
    refused = account.options.bad_email == "refuse" and not records.is_valid_email(email.strip())
    if refused or (account.malformed and records.email_key(email) in account.malformed):
        return "Field 'email' incorrect format"
    wrong = next((key for key, fits in _FORMS.items() if not fits(contact.get(key))), None)
    return f"Field '{wrong}' incorrect format" if wrong else None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float))


def _is_list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or (isinstance(value, list) and all(map(fits, value)))


def _is_field(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("value"), (str, int, float))
        and reference(value.get("id")) is not None
    )


def _is_list_reference(value: Any) -> bool:
    return isinstance(value, dict) and reference(value.get("listid")) is not None


# The form of each key of a contact, email aside; unknown keys are ignored [rep].
_FORMS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_TEXT_KEYS, lambda value: value is None or _is_scalar(value)),
    "tags": _is_list_of(_is_scalar),
    "fields": _is_list_of(_is_field),
    "subscribe": _is_list_of(_is_list_reference),
    "unsubscribe": _is_list_of(_is_list_reference),
}


def _excluded_count(account: Account, contacts: list[dict[str, Any]]) -> int:
    rules = account.queue.exclusions()
    if not rules:
        return 0
    return sum(
        rules.covers(contact["email"], list_ids(contact, "subscribe")) for contact in contacts
    )


def _refused_count(account: Account, contacts: list[dict[str, Any]]) -> int:
    """Return how many contacts are excluded, bounced, or opted out of a list they would join."""
    rules, count = account.queue.exclusions(), 0
    for contact in contacts:
        wanted = list_ids(contact, "subscribe")
        known = records.contact_by_email(account.store, contact["email"].strip())
        statuses = account.store.all(
            "SELECT list, status FROM membership WHERE contact = ?", known["id"] if known else 0
        )
        out = {row["list"] for row in statuses if row["status"] != records.ACTIVE}
        has_bounced = known is not None and known["bounced"]
        is_excluded = rules.covers(contact["email"], wanted)
        is_out = bool(out.intersection(wanted)) and account.options.opted_out != "subscribe"
        count += bool(is_excluded or has_bounced or is_out)
    return count


def _runs_automations(
    options: Options, payload: dict[str, Any], contacts: list[dict[str, Any]]
) -> bool:
    """Return whether an import runs automations; the place of the key is unverified."""
    at_top = bool(payload.get("exclude_automations"))
    in_contact = any(contact.get("exclude_automations") for contact in contacts)
    if options.exclude_automations == "top":
        return not at_top
    if options.exclude_automations == "contact":
        return not in_contact
    return not (at_top or in_contact)


def _queue(
    account: Account, body: bytes, payload: dict[str, Any], contacts: list[dict[str, Any]]
) -> str:
    """Queue an import in the store, where it survives a restart; return its batchId."""
    batch = str(uuid.uuid4())
    accepted = time.time()
    number = account.store.insert(
        "INSERT INTO import (batch, contacts, accepted, due, exclude_automations)"
        " VALUES (?, ?, ?, ?, ?)",
        batch, len(contacts), accepted, accepted + account.options.latency,
        not _runs_automations(account.options, payload, contacts),
    )  # fmt: skip
    account.store.db.execute("INSERT INTO import_body VALUES (?, ?)", (number, body))
    account.queue.notify()
    return batch


def info(account: Account, call: Call) -> Answer:
    """GET /import/info?batchId=: the status, the contacts' ids, and the refused addresses."""
    batch = call.arg("batchId")
    if batch is None:
        return _batch_required()
    row = account.store.one("SELECT * FROM import WHERE batch = ?", batch)
    if row is None or row["status"] == "forgotten":
        return _unknown_batch(account, batch)
    body = {
        "status": row["status"] or _open_status(row, account.options),
        "success": json.loads(row["success"]),
        "failure": json.loads(row["failure"]),
    }
    return Answer(200, body, content_type=HTML)


def _open_status(row: Row, options: Options) -> str | bool:
    """Return the status of an open import: ``false``, then waiting, claimed, active [doc]."""
    fault = json.loads(row["fault"] or "{}")
    latency = fault.get("latency", options.latency)
    if latency is None:  # stuck: it stays `active`
        latency = options.latency
    age = time.time() - row["accepted"]
    if age < fault.get("false_status", options.false_status):
        return False
    if age < latency * 0.5:
        return "waiting"
    return "claimed" if age < latency * 0.6 else "active"


def _batch_required() -> Answer:
    body = {"success": 0, "message": "'batchId' is a required field."}
    return Answer(400, body, content_type=HTML, refusal="status_400")


def _unknown_batch(account: Account, batch: str) -> Answer:
    """Return the answer for an unknown batch: as for a missing one [rep], or by the options."""
    kind = account.options.unknown_batch
    if kind == "false":
        return Answer(200, {"status": False, "success": [], "failure": []}, content_type=HTML)
    if kind == "empty":
        return Answer(200, b"", content_type=HTML)
    if kind == "bad_request":
        return _batch_required()
    body = {"message": f"No Result found for BulkImport with id {batch}"}
    return Answer(404, body, content_type=HTML, refusal="status_404")


def index(account: Account, call: Call) -> Answer:  # noqa: ARG001 - a handler's form
    """GET /import/bulk_import: open imports, and those completed in the last seven days."""
    outstanding: dict[str, list[int]] = {}
    done: dict[str, list[int]] = {}
    rows = account.store.all(
        "SELECT accepted, done, contacts FROM import WHERE done IS NULL OR done > ?",
        time.time() - _WEEK,
    )
    for row in rows:
        days, moment = (outstanding, "accepted") if row["done"] is None else (done, "done")
        days.setdefault(clock.day(row[moment]), []).append(row["contacts"])
    body = {
        key: [
            {"forDate": date, "batches": str(len(counts)), "contacts": str(sum(counts))}
            for date, counts in sorted(days.items())
        ]
        for key, days in (("outstanding", outstanding), ("recentlyCompleted", done))
    }
    return Answer(200, body, content_type=HTML)
