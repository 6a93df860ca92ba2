"""Unusual values: the sandbox refuses or stores them, and never fails with an internal error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer

pytestmark = pytest.mark.quick

ADA = "ada@example.com"
IMPORT = "/api/3/import/bulk_import"
UNFORESEEN = 500
LAST_SEEN = 11
"""The sample account's field of date-times."""

TEXTS = [
    *(
        "\0",
        "a\0b",
        "😀",
        "x" * 100_000,
        "\u202e",
        "e\u0301",
        "\u2028\r\n\t",
        "||",
        "<script>",
        "'",
    ),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-12:00", "24:00"),
    *("0000-00-00", "2024-05-31T24:00:00Z", "2016-12-31T23:59:60Z", "2024-W22-5", "nan", "1e999"),
    *("-1", "--5", "²", "٣", "9" * 30, "9" * 5000, "-" + "9" * 5000, "%", "_%", "x" * 60_000),
]
JSONS = [
    *("null", "true", "false", "0", "-1", "1e999", "-1e999", "1.5", "9" * 30, '""', "[]", "{}"),
    *("[null]", "[[]]", "[{}]", '{"a":1}', '"\\u0000"', '"\\ud83d\\ude00"', "[1,2]"),
]
"""Values that are JSON, each as its text."""

NO_JSON = [
    *("NaN", "-Infinity", "Infinity", '"\\ud83d"', '"\\udc00a"', "9" * 5000),
    *("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "{", "'a'"),
]
"""Values that PHP's parser refuses, or that none accepts."""


def send(sandbox: SandboxServer, method: str, path: str, body: str) -> int:
    """The status of a request with this body."""
    return sandbox.call(method, path, data=body.encode()).status_code


def import_of(**contact: str) -> str:
    """An import's body with a contact whose other values are JSON texts."""
    values = "".join(f', "{name}": {value}' for name, value in contact.items())
    return f'{{"contacts": [{{"email": "{ADA}"{values}}}]}}'


def field_number(sandbox: SandboxServer, tag: str) -> str:
    fields = sandbox.get("/api/3/fields", limit=100)["fields"]
    return next(str(one["id"]) for one in fields if one["perstag"] == tag)


@pytest.mark.parametrize("tag", ["LAST_SEEN", "BIRTHDAY", "NOTES", "LOYALTY_POINTS", "TIER"])
def test_any_text_can_be_a_field_value(sandbox: SandboxServer, tag: str) -> None:
    number = field_number(sandbox, tag)
    contacts = [
        {"email": f"p{n}@example.com", "fields": [{"id": number, "value": text}]}
        for n, text in enumerate(TEXTS)
    ]
    assert "batchId" in sandbox.post(IMPORT, {"contacts": contacts})
    sandbox.settle()
    assert [one["status"] for one in sandbox.imports()] == ["completed"]
    assert len(sandbox.export()) == len(TEXTS)
    for n, text in enumerate(TEXTS):
        person = sandbox.get("/api/3/contacts", email=f"p{n}@example.com")["contacts"][0]["id"]
        value = {"contact": person, "field": number, "value": text}
        assert sandbox.call("POST", "/api/3/fieldValues", json={"fieldValue": value}).ok


def test_any_text_can_be_any_other_value(sandbox: SandboxServer) -> None:
    keys = ("first_name", "last_name", "phone", "customer_acct_name")
    contacts: list[dict[str, Any]] = [
        {"email": f"{key}{n}@example.com", key: text, "tags": [text]}
        for n, text in enumerate(TEXTS)
        for key in keys
    ]
    assert "batchId" in sandbox.post(IMPORT, {"contacts": contacts})
    sandbox.settle()
    assert [one["status"] for one in sandbox.imports()] == ["completed"]
    assert len(sandbox.export()) == len(TEXTS) * len(keys)
    assert sandbox.call("GET", "/").ok, "the page shows them"


def test_addresses_with_control_characters_are_refused(sandbox: SandboxServer) -> None:
    for address in ("a\0b@example.com", "a@exa\0mple.com", "a\x1fb@example.com", "a\x7f@b.com"):
        answer = sandbox.call("POST", IMPORT, json={"contacts": [{"email": address}]})
        assert answer.status_code == 400
        assert "incorrect format" in answer.json()["failureReasons"][0]["failureReason"]


@pytest.mark.parametrize(
    "address", ["abc.@docomo.ne.jp", "a..b@docomo.ne.jp", ".a@example.com", "a@ex_ample.com"]
)
def test_addresses_of_documented_rule_are_accepted(sandbox: SandboxServer, address: str) -> None:
    sandbox.post(IMPORT, {"contacts": [{"email": address}]})
    sandbox.settle()
    assert [one["email"] for one in sandbox.export()] == [address]


@pytest.mark.parametrize("value", [*JSONS, *NO_JSON], ids=lambda value: value[:20])
def test_import_with_value_of_wrong_type_is_accepted_or_refused(
    sandbox: SandboxServer, value: str
) -> None:
    keys = ("first_name", "tags", "fields", "subscribe", "unsubscribe", "exclude_automations")
    bodies = [
        *(import_of(**{key: value}) for key in keys),
        *(import_of(tags=f"[{value}]"), import_of(fields=f"[{value}]")),
        import_of(fields=f'[{{"id": {LAST_SEEN}, "value": {value}}}]'),
        import_of(fields=f'[{{"id": {value}, "value": "a"}}]'),
        import_of(subscribe=f'[{{"listid": {value}}}]'),
        *(f'{{"contacts": {value}}}', f'{{"contacts": [{value}]}}', value),
        f'{{"contacts": [{{"email": {value}}}]}}',
        f'{{"contacts": [{{"email": "{ADA}"}}], "callback": {value}}}',
        f'{{"contacts": [{{"email": "{ADA}"}}], "exclude_automations": {value}}}',
    ]
    statuses = {send(sandbox, "POST", IMPORT, body) for body in bodies}
    assert statuses <= ({400} if value in NO_JSON else {200, 400})
    sandbox.settle()
    assert {one["status"] for one in sandbox.imports()} <= {"completed"}
    json.dumps(sandbox.export(), allow_nan=False)


CALLS = [
    ("POST", "/api/3/contacts", '{"contact": {"email": "new@example.com", "firstName": %s}}'),
    ("POST", "/api/3/contacts", '{"contact": {"email": %s}}'),
    ("POST", "/api/3/contacts", '{"contact": %s}'),
    ("POST", "/api/3/contact/sync", '{"contact": {"email": "ada@example.com", "fieldValues": %s}}'),
    ("POST", "/api/3/contact/sync", '{"contact": {"email": "a@b.com", "fieldValues": [%s]}}'),
    (
        "POST",
        "/api/3/contact/sync",
        '{"contact": {"email": "a@b.com", "fieldValues": [{"field": %s, "value": %s}]}}',
    ),
    ("PUT", "/api/3/contacts/1", '{"contact": {"email": %s, "phone": %s, "fieldValues": %s}}'),
    ("POST", "/api/3/contactLists", '{"contactList": {"list": %s, "contact": %s, "status": %s}}'),
    ("POST", "/api/3/contactLists", '{"contactList": {"list": 1, "contact": 1, "status": %s}}'),
    (
        "POST",
        "/api/3/contactLists",
        '{"contactList": {"list": 1, "contact": 1, "status": 1, "sourceid": %s}}',
    ),
    ("POST", "/api/3/contactTags", '{"contactTag": {"contact": %s, "tag": %s}}'),
    ("POST", "/api/3/tags", '{"tag": {"tag": %s, "tagType": %s, "description": %s}}'),
    ("PUT", "/api/3/tags/1", '{"tag": {"tag": %s, "description": %s}}'),
    ("POST", "/api/3/fields", '{"field": {"title": %s, "type": "text"}}'),
    ("POST", "/api/3/fields", '{"field": {"title": "New", "type": %s, "perstag": %s}}'),
    ("PUT", "/api/3/fields/1", '{"field": {"title": %s, "descript": %s, "defval": %s}}'),
    ("POST", "/api/3/fieldRels", '{"fieldRel": {"field": %s, "relid": %s}}'),
    ("POST", "/api/3/fieldOption/bulk", '{"fieldOptions": %s}'),
    ("POST", "/api/3/fieldOption/bulk", '{"fieldOptions": [%s]}'),
    ("POST", "/api/3/fieldOption/bulk", '{"fieldOptions": [{"field": 1, "value": %s}]}'),
    ("POST", "/api/3/fieldValues", '{"fieldValue": {"contact": 1, "field": 1, "value": %s}}'),
    ("POST", "/api/3/fieldValues", '{"fieldValue": {"contact": %s, "field": %s, "value": "a"}}'),
    ("POST", "/api/3/lists", '{"list": {"name": %s, "stringid": %s}}'),
    ("PUT", "/api/3/lists/1", '{"list": {"name": %s, "stringid": %s}}'),
    ("POST", "/_sandbox/contacts", '{"contacts": %s}'),
    ("POST", "/_sandbox/contacts", '{"contacts": [{"email": %s, "lists": %s}]}'),
    ("POST", "/_sandbox/contacts", '{"contacts": [{"email": "c@b.com", "lists": {"1": %s}}]}'),
    ("POST", "/_sandbox/contacts", '{"excluded": [%s], "malformed": [%s]}'),
    ("POST", "/_sandbox/clock", '{"advance": %s}'),
    ("POST", "/_sandbox/reset", "%s"),
    ("POST", "/_sandbox/faults", '{"kind": %s}'),
    ("POST", "/_sandbox/faults", "%s"),
]


@pytest.mark.parametrize(("method", "path", "form"), CALLS, ids=lambda part: part[:50])
def test_no_value_of_a_request_causes_an_internal_error(
    sandbox: SandboxServer, method: str, path: str, form: str
) -> None:
    for value in [*JSONS, *NO_JSON]:
        sandbox.prepare({"email": ADA})
        status = send(sandbox, method, path, form.replace("%s", value))
        assert status < UNFORESEEN, value[:20]
    json.dumps(sandbox.export(), allow_nan=False)


QUERIES = [
    ("/api/3/contacts", name)
    for name in (
        *("limit", "offset", "ids", "ids[]", "listid", "status", "tagid", "id_greater", "id_less"),
        *("exclude", "email", "email_like", "phone", "search", "orders[id]"),
    )
] + [
    ("/api/3/fieldValues", "filters[fieldid]"),
    ("/api/3/fieldValues", "filters[val]"),
    ("/api/3/fields", "filters[perstag]"),
    ("/api/3/lists", "filters[name]"),
    ("/api/3/tags", "search"),
    ("/api/3/import/info", "batchId"),
    ("/_sandbox/requests", "limit"),
    ("/_sandbox/requests", "since"),
    ("/", "search"),
    ("/", "page"),
]


@pytest.mark.parametrize(("path", "name"), QUERIES, ids=lambda part: part)
def test_no_value_of_a_query_causes_an_internal_error(
    sandbox: SandboxServer, path: str, name: str
) -> None:
    sandbox.prepare({"email": ADA, "phone": "100%"})
    for text in [text for text in TEXTS if len(text) <= 5001] + ["1," * 20_000]:
        status = sandbox.call("GET", path, params={name: text}).status_code
        assert status < UNFORESEEN, text[:20]


@pytest.mark.parametrize("kind", ["contacts", "fieldValues", "lists", "fields", "tags"])
def test_number_of_any_length_is_an_unknown_id(sandbox: SandboxServer, kind: str) -> None:
    for number in ("0", "9" * 15, "9" * 19, "9" * 5000):
        for method in ("GET", "DELETE"):
            answer = sandbox.call(method, f"/api/3/{kind}/{number}")
            assert answer.status_code == 404, number[:20]


def test_phone_filter_matches_prefix_as_written(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ADA, "phone": "100%"}, {"email": "b@example.com", "phone": "1000"})

    def found(phone: str) -> list[str]:
        return [one["email"] for one in sandbox.get("/api/3/contacts", phone=phone)["contacts"]]

    assert found("100%") == [ADA]
    assert sorted(found("100")) == [ADA, "b@example.com"]
    assert found("00") == []
