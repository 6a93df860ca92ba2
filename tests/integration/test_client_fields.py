"""The client makes custom fields and their options, and reads what contacts have in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import (
    Client,
    Field,
    FieldValue,
    InvalidRequest,
    MalformedAnswer,
    NotFound,
    RateLimiter,
    ServerError,
)
from tests.support.api_stub import ApiStub, Reply, client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.sandbox_server import SandboxServer

LOST = Reply(fault="reset")
DONE = Reply({})
OPTIONS = {"method": "POST", "path": "/api/3/fieldOption/bulk"}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between attempts be as good as none."""
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 1000)


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[Client]:
    with Client(sandbox.url, sandbox.api_key, budget=RateLimiter(None, None, None)) as client:
        yield client


def sent(stub: ApiStub) -> list[tuple[str, str]]:
    return [(asked.method, asked.path.removeprefix("/api/3")) for asked in stub.asked]


# Making one


def test_create_field_for_all_lists(sandbox: SandboxServer, client: Client) -> None:
    made = client.create_field("Favourite coffee", "text")
    assert made in client.fields()
    assert (made.title, made.type, made.tag) == ("Favourite coffee", "text", "FAVOURITE_COFFEE")
    relations = sandbox.get("/api/3/fieldRels", limit=100)["fieldRels"]
    assert [one["relid"] for one in relations if one["field"] == str(made.id)] == ["0"]

    before = client.fields()
    with pytest.raises(InvalidRequest) as caught:
        client.create_field("Favourite coffee", "text")
    assert caught.value.errors[0]["code"] == "duplicate"
    assert not caught.value.effect_unknown
    assert client.fields() == before


def test_create_field_for_one_list(sandbox: SandboxServer, client: Client) -> None:
    made = client.create_field("Favourite coffee", "text", list_id=2)
    relations = sandbox.get("/api/3/fieldRels", limit=100)["fieldRels"]
    assert [one["relid"] for one in relations if one["field"] == str(made.id)] == ["2"]


@pytest.mark.parametrize("takes_effect", [True, False])
def test_create_field_creates_one_if_answer_is_lost(
    sandbox: SandboxServer, client: Client, *, takes_effect: bool
) -> None:
    match = {"method": "POST", "path": "/api/3/fields"}
    sandbox.fault("reset", match=match, times=1, takes_effect=takes_effect)
    made = client.create_field("Favourite coffee", "text")
    assert [one for one in client.fields() if one.title == "Favourite coffee"] == [made]
    relations = sandbox.get("/api/3/fieldRels", limit=100)["fieldRels"]
    assert [one["relid"] for one in relations if one["field"] == str(made.id)] == ["0"]
    posts = sandbox.requests(method="POST", path="/api/3/fields")
    assert len(posts) == (1 if takes_effect else 2)


MADE = {"id": "19", "title": "Tier", "type": "text", "perstag": "TIER"}
NO_FIELDS = Reply({"fields": [], "meta": {"total": "0"}})
ONE_FIELD = Reply({"fields": [MADE], "meta": {"total": "1"}})
OTHER_TYPE = Reply({"fields": [{**MADE, "type": "date"}], "meta": {"total": "1"}})
DUPLICATE = Reply({"errors": [{"title": "There is already a field", "code": "duplicate"}]}, 422)


def test_create_field_finds_late_field_after_duplicate_error() -> None:
    replies = (LOST, NO_FIELDS, DUPLICATE, ONE_FIELD, DONE)
    with ApiStub(*replies) as stub, client_of(stub) as client:
        made = Field(19, "Tier", "text", "TIER", lists=(0,))
        assert client.create_field("Tier", "text") == made
    post, look = ("POST", "/fields"), ("GET", "/fields")
    assert sent(stub) == [post, look, post, look, ("POST", "/fieldRels")]
    assert json.loads(stub.asked[0].body) == {
        "field": {"title": "Tier", "type": "text", "visible": 1}
    }
    assert json.loads(stub.asked[-1].body) == {"fieldRel": {"field": 19, "relid": 0}}


def test_create_field_ignores_field_of_another_type() -> None:
    replies = (LOST, OTHER_TYPE, DUPLICATE, OTHER_TYPE)
    with ApiStub(*replies) as stub, client_of(stub) as client, pytest.raises(InvalidRequest):
        client.create_field("Tier", "text")
    assert sent(stub) == [("POST", "/fields"), ("GET", "/fields")] * 2


def test_create_field_fails_in_the_end() -> None:
    failed = Reply(b"", 500)
    with (
        ApiStub(failed, NO_FIELDS, failed, NO_FIELDS) as stub,
        client_of(stub, retry_seconds=0) as client,
        pytest.raises(ServerError),
    ):
        client.create_field("Tier", "text")
    assert sent(stub) == [("POST", "/fields"), ("GET", "/fields")]


@pytest.mark.parametrize("second", [DONE, DUPLICATE])
def test_create_field_shows_it_again_if_answer_is_lost(second: Reply) -> None:
    replies = (Reply({"field": MADE}, 201), LOST, second)
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert client.create_field("Tier", "text").id == 19
    assert sent(stub)[1:] == [("POST", "/fieldRels")] * 2


def test_create_field_fails_if_showing_it_is_refused() -> None:
    replies = (Reply({"field": MADE}, 201), DUPLICATE)
    with ApiStub(*replies) as stub, client_of(stub) as client, pytest.raises(InvalidRequest):
        client.create_field("Tier", "text")


# Reading one


def test_field_has_its_options(client: Client) -> None:
    fields = client.fields()
    assert [client.field(one.id) for one in fields] == fields
    assert {one.lists for one in fields} == {(0,)}


def test_field_as_recorded() -> None:
    field = {"title": "Custom text", "type": "text", "perstag": "PERSTAG", "options": [], "id": "5"}
    body = {"fieldOptions": [], "fieldRels": [], "field": field}
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        assert client.field(5) == Field(5, "Custom text", "text", "PERSTAG")
    assert sent(stub) == [("GET", "/fields/5")]


def test_field_may_be_missing(client: Client) -> None:
    with pytest.raises(NotFound):
        client.field(99)


# Options


@pytest.fixture
def size(client: Client) -> Field:
    """A field that has one option."""
    field = client.create_field("Size", "dropdown")
    client.add_options(field.id, ["small"])
    return field


def test_add_options_in_order(client: Client, size: Field) -> None:
    client.add_options(size.id, ["large", "medium", "large"])
    assert client.field(size.id).options == ("small", "large", "medium")


def test_add_options_sends_nothing_without_options(
    sandbox: SandboxServer, client: Client, size: Field
) -> None:
    before = len(sandbox.requests())
    client.add_options(size.id, [])
    assert len(sandbox.requests()) == before


def test_add_options_as_recorded() -> None:
    with ApiStub(Reply({"fieldOptions": []}, 201)) as stub, client_of(stub) as client:
        client.add_options(10, ["Option 1", "Option 2"])
    assert sent(stub) == [("POST", "/fieldOption/bulk")]
    assert json.loads(stub.asked[0].body) == {
        "fieldOptions": [
            {"field": "10", "label": "Option 1", "value": "Option 1"},
            {"field": "10", "label": "Option 2", "value": "Option 2"},
        ]
    }


def test_add_options_to_missing_field(client: Client) -> None:
    with pytest.raises(NotFound):
        client.add_options(99, ["large"])


@pytest.mark.parametrize("takes_effect", [True, False])
def test_add_options_adds_one_if_answer_is_lost(
    sandbox: SandboxServer, client: Client, size: Field, *, takes_effect: bool
) -> None:
    sandbox.fault("reset", match=OPTIONS, times=1, takes_effect=takes_effect)
    before = len(sandbox.requests(**OPTIONS))
    client.add_options(size.id, ["medium", "large"])
    assert client.field(size.id).options == ("small", "medium", "large")
    assert len(sandbox.requests(**OPTIONS)) - before == (1 if takes_effect else 2)


def test_add_options_repeats_only_missing_ones() -> None:
    field = {"id": "10", "title": "Size", "type": "dropdown", "perstag": "SIZE"}
    options = [{"field": "10", "orderid": "1", "value": "small ", "label": "small", "id": "5"}]
    half = Reply({"field": field, "fieldOptions": options})
    with ApiStub(LOST, half, DONE) as stub, client_of(stub) as client:
        client.add_options(10, ["small", "large"])
    post = ("POST", "/fieldOption/bulk")
    assert sent(stub) == [post, ("GET", "/fields/10"), post]
    assert [one["value"] for one in json.loads(stub.asked[-1].body)["fieldOptions"]] == ["large"]


def test_add_options_fails_if_refused() -> None:
    text = "Bulk operation failed. Request must contain an array of fieldOption objects."
    reply = Reply({"errors": text}, 422)
    with ApiStub(reply) as stub, client_of(stub) as client, pytest.raises(InvalidRequest):
        client.add_options(10, ["small"])
    assert sent(stub) == [("POST", "/fieldOption/bulk")]


# Values


def test_field_values_are_read_page_by_page(sandbox: SandboxServer, client: Client) -> None:
    people = [
        {"email": f"person{number}@example.com", "fields": {"TIER": f"tier {number}"}}
        for number in range(250)
    ]
    sandbox.prepare(*people, {"email": "other@example.com", "fields": {"CITY": "Ghent"}})
    (tier,) = (one.id for one in client.fields() if one.tag == "TIER")
    ids = {one.email: one.id for one in client.contacts()}
    assert client.count_field_values(tier) == 250
    asked = len(sandbox.requests())

    assert list(client.field_values(tier)) == [
        FieldValue(ids[f"person{number}@example.com"], tier, f"tier {number}")
        for number in range(250)
    ]
    assert [one["path"] for one in sandbox.requests()[asked:]] == ["/api/3/fieldValues"] * 3


def test_field_values_are_complete_with_short_pages(
    start_sandbox: Callable[..., SandboxServer],
) -> None:
    sandbox = start_sandbox(page_cap=20)
    people = ({"email": f"person{n}@example.com", "fields": {"TIER": "gold"}} for n in range(50))
    sandbox.prepare(*people)
    with Client(sandbox.url, sandbox.api_key, budget=RateLimiter(None, None, None)) as client:
        (tier,) = (one.id for one in client.fields() if one.tag == "TIER")
        assert len(list(client.field_values(tier))) == 50


def value(contact: int, text: Any = "gold", field: int = 57) -> dict[str, Any]:
    return {"contact": str(contact), "field": str(field), "value": text, "id": "31"}


def values_page(*contacts: int, total: int | None = None) -> Reply:
    meta = {} if total is None else {"meta": {"total": str(total)}}
    return Reply({"fieldValues": [value(contact) for contact in contacts], **meta})


def test_field_value_as_recorded() -> None:
    reply = Reply({"fieldValues": [value(48, "Text field value")], "meta": {"total": "1"}})
    with ApiStub(reply) as stub, client_of(stub) as client:
        (found,) = client.field_values(57)
    assert found == FieldValue(48, 57, "Text field value")
    assert "Text" not in repr(found)
    assert [asked.query for asked in stub.asked] == [
        {"filters[fieldid]": "57", "limit": "100", "offset": "0"}
    ]


@pytest.mark.parametrize("total", [None, 0, 2, 1000])
def test_field_values_end_whatever_the_total(total: int | None) -> None:
    replies = (values_page(1, 2, total=total), values_page(total=total))
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert [one.contact_id for one in client.field_values(57)] == [1, 2]


def test_field_values_without_total_continue_after_full_page() -> None:
    replies = (values_page(*range(100)), values_page(100))
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert [one.contact_id for one in client.field_values(57)] == list(range(101))
    assert [asked.query["offset"] for asked in stub.asked] == ["0", "100"]


def test_count_field_values_may_be_unknown() -> None:
    with ApiStub(values_page(1)) as stub, client_of(stub) as client:
        assert client.count_field_values(57) is None
    assert stub.asked[0].query == {"filters[fieldid]": "57", "limit": "1"}


def test_field_values_of_other_fields_are_ignored() -> None:
    rows = [value(1), value(1, "44", field=58), value(2)]
    with ApiStub(Reply({"fieldValues": rows})) as stub, client_of(stub) as client:
        assert [one.contact_id for one in client.field_values(57)] == [1, 2]


def test_field_values_fail_if_server_ignores_offset() -> None:
    with (
        ApiStub(values_page(*range(20), total=1000)) as stub,
        client_of(stub) as client,
        pytest.raises(MalformedAnswer, match="those of the previous page"),
    ):
        list(client.field_values(57))
    assert len(stub.asked) == 1 + 5


def test_contact_field_values(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare(
        {"email": "one@example.com", "fields": {"TIER": "gold", "CITY": "Ghent"}},
        {"email": "two@example.com"},
    )
    tags = {one.id: one.tag for one in client.fields()}
    one, two = client.contacts()
    found = client.contact_field_values(one.id)
    assert {tags[value.field_id]: value.value for value in found} == {
        "TIER": "gold",
        "CITY": "Ghent",
    }
    assert {value.contact_id for value in found} == {one.id}
    assert client.contact_field_values(two.id) == []
    with pytest.raises(NotFound):
        client.contact_field_values(99)


@pytest.mark.parametrize("nothing", [None, "", False])
def test_field_value_may_be_empty(nothing: Any) -> None:
    reply = Reply({"fieldValues": [value(1, nothing)]})
    with ApiStub(reply) as stub, client_of(stub) as client:
        assert client.contact_field_values(1) == [FieldValue(1, 57, "")]
    assert sent(stub) == [("GET", "/contacts/1/fieldValues")]
