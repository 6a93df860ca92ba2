"""Another address for a contact: who is asked, which answers are believed, and which are not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import (
    ActiveCampaignError,
    AddressTaken,
    AuthenticationError,
    InvalidRequest,
    MalformedAnswer,
    NotFound,
    PermissionDenied,
)
from target_activecampaign.preview.client import PreviewClient
from tests.support.api_stub import KEY, ApiStub, Reply, client_of

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW = "Someone.Private@example.com", "New.Private@example.com"
NOT_THERE = Reply({"message": "No Result found for Subscriber with id 7"}, 404)
DUPLICATE = {
    "title": "Email address already exists in the system",
    "detail": "",
    "code": "duplicate",
    "source": {"pointer": "/data/attributes/email"},
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between attempts be as good as none."""
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 1000)


def contact(email: str, number: Any = "7") -> dict[str, Any]:
    return {"contact": {"id": number, "email": email, "udate": "2021-03-23T06:04:35-05:00"}}


def refused(*found: Any) -> Reply:
    return Reply({"errors": list(found)}, 422)


def test_rename_sends_the_new_address_alone() -> None:
    with ApiStub(Reply(contact(NEW, 7))) as stub, client_of(stub) as client:
        client.rename_contact(7, NEW)
    (asked,) = stub.asked
    assert (asked.method, asked.path) == ("PUT", "/api/3/contacts/7")
    assert json.loads(asked.body) == {"contact": {"email": NEW}}


@pytest.mark.parametrize(
    ("sent", "answered"),
    [(NEW, NEW.lower()), ("\u00c9va@example.com", "e\u0301va@example.com")],
    ids=["case", "Unicode form"],
)
def test_rename_accepts_every_spelling_of_the_address(sent: str, answered: str) -> None:
    with ApiStub(Reply(contact(answered))) as stub, client_of(stub) as client:
        client.rename_contact(7, sent)
    assert len(stub.asked) == 1


@pytest.mark.parametrize("lost", [Reply(b"", 502), Reply(fault="reset"), Reply(b"")])
def test_rename_is_repeated_if_its_effect_is_unknown(lost: Reply) -> None:
    with ApiStub(lost, Reply(contact(NEW))) as stub, client_of(stub) as client:
        client.rename_contact(7, NEW)
    assert [one.method for one in stub.asked] == ["PUT", "PUT"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (NOT_THERE, NotFound),
        (refused({"title": "Contact Email Address is not valid."}), InvalidRequest),
        (refused({"title": NEW, "code": "email_invalid"}), InvalidRequest),
        (Reply({"errors": f"{NEW} is a duplicate"}, 422), InvalidRequest),
        (Reply({"message": NEW}, 400), InvalidRequest),
        (Reply({"message": "Forbidden"}, 403), PermissionDenied),
        (Reply(b"", 403), AuthenticationError),
        (Reply(b"<html>Log in</html>"), AuthenticationError),
        (Reply(contact(OLD)), MalformedAnswer),
        (Reply(contact("")), MalformedAnswer),
        (Reply(contact(NEW, "8")), MalformedAnswer),
        (Reply({"success": 0, **contact(NEW)}), MalformedAnswer),
        (Reply({"success": 0, "message": NEW}), MalformedAnswer),
        (Reply({"contact": []}), MalformedAnswer),
        (Reply(b"", 204), MalformedAnswer),
    ],
)
def test_answer_to_rename_raises_its_kind_of_error(
    reply: Reply, kind: type[ActiveCampaignError], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ApiStub(reply) as stub,
        client_of(stub) as client,
        pytest.raises(ActiveCampaignError) as caught,
    ):
        client.rename_contact(7, NEW)
    assert type(caught.value) is kind
    assert "PUT /contacts/7" in str(caught.value)
    for secret in (NEW, OLD, KEY):
        assert secret not in f"{caught.value}{caught.value!r}{caplog.text}"


@pytest.mark.parametrize("errors", [[DUPLICATE], [NEW, {"code": "other"}, DUPLICATE]])
@pytest.mark.parametrize("now", [Reply(contact(OLD)), NOT_THERE], ids=["old address", "deleted"])
def test_duplicate_address_is_taken(errors: list[Any], now: Reply) -> None:
    with (
        ApiStub(refused(*errors), now) as stub,
        client_of(stub) as client,
        pytest.raises(AddressTaken, match="already has this e-mail address") as caught,
    ):
        client.rename_contact(7, NEW)
    assert [one.method for one in stub.asked] == ["PUT", "GET"]
    assert caught.value.status == 422
    assert not caught.value.effect_unknown
    assert NEW not in str(caught.value)


def test_address_that_the_contact_itself_has_is_not_taken() -> None:
    lost = Reply(b"", 504)
    with (
        ApiStub(lost, refused(DUPLICATE), Reply(contact(NEW.lower()))) as stub,
        client_of(stub) as client,
    ):
        client.rename_contact(7, NEW)
    assert [one.method for one in stub.asked] == ["PUT", "PUT", "GET"]


def test_contact_is_read_by_its_id() -> None:
    with ApiStub(Reply(contact(OLD)), NOT_THERE) as stub, client_of(stub) as client:
        found = client.contact(7)
        assert client.contact(7) is None
    assert found is not None
    assert (found.id, found.email) == (7, OLD)
    assert [(one.method, one.path) for one in stub.asked] == [("GET", "/api/3/contacts/7")] * 2


@pytest.mark.parametrize("body", [contact(OLD, "8"), {}, {"contact": None}, {"success": 0}])
def test_another_contact_than_the_requested_is_an_error(body: Any) -> None:
    with ApiStub(Reply(body)) as stub, client_of(stub) as client, pytest.raises(MalformedAnswer):
        client.contact(7)


# Previews


def found_by(*rows: dict[str, Any]) -> Reply:
    return Reply({"contacts": [row["contact"] for row in rows]})


def preview_of(stub: ApiStub) -> PreviewClient:
    return PreviewClient(stub.url, KEY)


def test_preview_simulates_renames() -> None:
    replies = [
        found_by(),  # looks for NEW
        Reply(contact(OLD)),  # NEW is now that of contact 7
        found_by(contact(OLD)),  # OLD is no longer that of anyone
        found_by(contact(OLD), contact("other@example.com", "8")),
        found_by(contact(OLD)),  # contact 8 may have OLD
    ]
    with ApiStub(*replies) as stub, preview_of(stub) as client:
        client.rename_contact(7, NEW)
        found = client.find_contact(NEW.lower())
        assert found is not None
        assert (found.id, found.email) == (7, NEW)
        assert client.find_contact(OLD) is None
        assert [one.email for one in client.contacts()] == [NEW, "other@example.com"]
        client.rename_contact(8, OLD)
    assert client.simulated == {"rename": 2}
    assert {one.method for one in stub.asked} == {"GET"}


def test_preview_forgets_a_temporary_address() -> None:
    replies = [found_by(), found_by(), found_by()]
    with ApiStub(*replies) as stub, preview_of(stub) as client:
        client.rename_contact(7, "temporary@example.com")
        client.rename_contact(7, NEW)
        assert client.find_contact("temporary@example.com") is None
    assert len(stub.asked) == 3


@pytest.mark.parametrize(
    "rename",
    [
        lambda client: client.rename_contact(7, OLD),
        lambda client: [client.rename_contact(8, NEW), client.rename_contact(7, NEW)],
    ],
    ids=["in the account", "by an earlier rename"],
)
def test_preview_shows_that_an_address_is_taken(rename: Callable[[PreviewClient], Any]) -> None:
    replies = [found_by(contact(OLD, "8")), Reply(contact(OLD, "8"))]
    with (
        ApiStub(*replies) as stub,
        preview_of(stub) as client,
        pytest.raises(AddressTaken),
    ):
        rename(client)
