"""The sandbox's PUT contacts/:id with another address."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import AddressTaken, Client, InvalidRequest, NotFound, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.support.sandbox_server import SandboxServer

ANNA, NEW, BEN = "anna@example.com", "anna.new@example.com", "ben@example.com"
IMPORT = "/api/3/import/bulk_import"
DAY = 24 * 3600


def rename(sandbox: SandboxServer, email: str, number: int = 1) -> requests.Response:
    return sandbox.call("PUT", f"/api/3/contacts/{number}", json={"contact": {"email": email}})


def first_error(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 422
    error: dict[str, Any] = answer.json()["errors"][0]
    return error


def test_rename_keeps_all_but_the_address(sandbox: SandboxServer) -> None:
    sandbox.prepare(
        {
            "email": ANNA,
            "first_name": "Anna",
            "phone": "123",
            "organization": "Ltd",
            "lists": {"1": 1, "2": 3},
            "tags": ["vip"],
            "fields": {"TIER": "Gold"},
            "opt_outs": {"3": {"campaign": 5, "reason": "too many mails"}},
        }
    )
    before, memberships = sandbox.export(), sandbox.memberships(ANNA)
    created = sandbox.get("/api/3/contacts/1")["contact"]["cdate"]
    moved = sandbox.advance(DAY)
    answer = rename(sandbox, f"  {NEW} ")
    assert answer.status_code == 200
    contact = answer.json()["contact"]
    assert (contact["id"], contact["email"], contact["cdate"]) == ("1", NEW, created)
    assert datetime.fromisoformat(contact["udate"]).timestamp() >= moved
    assert contact["updated_timestamp"] > contact["created_timestamp"]
    assert sandbox.export() == [{**before[0], "email": NEW}]
    assert sandbox.memberships(NEW) == memberships
    assert sandbox.get("/api/3/contacts", email=ANNA)["contacts"] == []


def test_rename_to_another_spelling_of_its_own_address(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ANNA}, excluded=("@example.com",))
    for email in (ANNA.upper(), ANNA.upper()):
        assert rename(sandbox, email).status_code == 200
        assert sandbox.export()[0]["email"] == email


def test_rename_refuses_addresses(sandbox: SandboxServer) -> None:
    sandbox.prepare(
        *({"email": ANNA}, {"email": BEN}),
        excluded=("@blocked.example",),
        malformed=("odd@example.com",),
    )
    assert first_error(rename(sandbox, BEN.upper())) == {
        "title": "Email address already exists in the system",
        "detail": "",
        "code": "duplicate",
        "source": {"pointer": "/data/attributes/email"},
    }
    for email in ("", "no address", "a@b", "ODD@example.com"):
        assert first_error(rename(sandbox, email))["code"] == "email_invalid"
    excluded = first_error(rename(sandbox, "x@Blocked.example"))
    assert "code" not in excluded
    for path in ("contacts", "contact/sync"):
        person = {"contact": {"email": "x@blocked.example"}}
        answer = sandbox.call("POST", f"/api/3/{path}", json=person)
        assert first_error(answer) == excluded
    assert list(sandbox.contacts()) == [ANNA, BEN]


def test_deleted_contact_is_not_renamed(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ANNA})
    sandbox.delete(ANNA)
    answer = rename(sandbox, NEW)
    assert answer.status_code == 404
    assert answer.json() == {"message": "No Result found for Subscriber with id 1"}
    assert sandbox.export() == []


def test_bounced_contact_is_renamed_and_stays_bounced(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ANNA, "bounced": True})
    assert rename(sandbox, NEW).json()["contact"]["bounced_hard"] == "1"
    assert sandbox.contacts()[NEW]["bounced"]


def test_renames_can_exchange_two_addresses(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ANNA}, {"email": BEN})
    for email, number in (("other@example.com", 1), (ANNA, 2), (BEN, 1)):
        assert rename(sandbox, email, number).status_code == 200
    assert {email: one["id"] for email, one in sandbox.contacts().items()} == {BEN: 1, ANNA: 2}


def test_imports_that_wait_go_by_the_address(start_sandbox: Callable[..., SandboxServer]) -> None:
    sandbox = start_sandbox(latency=3600)
    sandbox.prepare({"email": ANNA, "first_name": "Anna"})
    for email, name in ((ANNA, "Old"), (NEW, "New")):
        sandbox.post(IMPORT, {"contacts": [{"email": email, "first_name": name}]})
    rename(sandbox, NEW)
    sandbox.settle()
    found = {one["email"]: (one["id"], one["first_name"]) for one in sandbox.export()}
    assert found == {NEW: (1, "New"), ANNA: (2, "Old")}


@pytest.mark.parametrize("switch", ["rename", "refuse"])
def test_opted_out_contact_is_renamed_or_refused(
    start_sandbox: Callable[..., SandboxServer], switch: str
) -> None:
    sandbox = start_sandbox(rename_opted_out=switch)
    sandbox.prepare({"email": ANNA, "lists": {"1": 1, "2": 2}}, {"email": BEN, "lists": {"1": 3}})
    answer = rename(sandbox, NEW)
    if switch == "rename":
        assert answer.status_code == 200
        assert sandbox.contacts()[NEW]["lists"] == {"1": 1, "2": 2}
    else:
        error = first_error(answer)
        assert "unsubscribed" in error["title"]
        assert "code" not in error
        assert rename(sandbox, ANNA.upper()).status_code == 200
    assert rename(sandbox, "ben.new@example.com", 2).status_code == 200


def test_client_renames_and_understands_refusals(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ANNA, "lists": {"1": 1}}, {"email": BEN})
    budget = RateLimiter(None, None, None)
    with Client(sandbox.url, sandbox.api_key, budget=budget, retry_seconds=5) as client:
        for _ in range(2):
            client.rename_contact(1, NEW)
        renamed = client.contact(1)
        with pytest.raises(AddressTaken):
            client.rename_contact(2, NEW.upper())
        with pytest.raises(InvalidRequest):
            client.rename_contact(2, "a@b")
        with pytest.raises(NotFound):
            client.rename_contact(3, "new@example.com")
        assert client.contact(3) is None
        assert [one.list_id for one in client.memberships(1)] == [1]
    assert renamed is not None
    assert (renamed.id, renamed.email) == (1, NEW)


def test_client_repeats_a_rename_whose_answer_is_lost(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": ANNA})
    sandbox.fault("reset", takes_effect=True, times=1, match={"method": "PUT"})
    budget = RateLimiter(None, None, None)
    with Client(sandbox.url, sandbox.api_key, budget=budget, retry_seconds=30) as client:
        client.rename_contact(1, NEW)
    assert [one["email"] for one in sandbox.export()] == [NEW]
    assert len(sandbox.requests(method="PUT")) == 2
