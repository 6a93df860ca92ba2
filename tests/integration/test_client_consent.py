"""The client reads opt-outs, bounces and exclusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import (
    BounceLog,
    Client,
    Exclusion,
    MalformedAnswer,
    OptOut,
    RateLimiter,
)
from tests.support.api_stub import ApiStub, Reply, client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.sandbox_server import SandboxServer

REASON = "You wrote to me about my illness"
DAY = 24 * 3600


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between attempts be as good as none."""
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 1000)


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[Client]:
    with client_for(sandbox) as client:
        yield client


def client_for(sandbox: SandboxServer) -> Client:
    return Client(sandbox.url, sandbox.api_key, budget=RateLimiter(None, None, None))


def found(opt_outs: Iterator[OptOut]) -> list[tuple[str, int]]:
    return [(one.contact.email.partition("@")[0], one.membership.list_id) for one in opt_outs]


# Opt-outs


def test_opt_outs_of_lists_are_read_with_their_cause(
    sandbox: SandboxServer, client: Client
) -> None:
    sandbox.prepare(
        {"email": "here@example.com", "lists": {"1": 1}},
        {"email": "bounced@example.com", "lists": {"1": 3}},
        {"email": "both@example.com", "lists": {"1": 2, "2": 2, "3": 2}},
        {"email": "second@example.com", "lists": {"1": 1, "2": 2}},
    )
    sandbox.opt_out("asked@example.com", 1, campaign=5, reason=REASON)
    asked = list(client.opt_outs([1]))[-1].membership
    assert (asked.campaign, asked.reason) == ("5", REASON)
    assert asked.ended_at == pytest.approx(client.server_time(), abs=60)
    assert found(client.opt_outs([1])) == [("both", 1), ("asked", 1)]
    assert found(client.opt_outs([2, 1])) == [
        ("both", 1),
        ("both", 2),
        ("second", 2),
        ("asked", 1),
    ]
    assert found(client.opt_outs([])) == []
    assert REASON not in repr(list(client.opt_outs([1])))
    assert "asked" not in repr(list(client.opt_outs([1])))


def test_opt_outs_cost_one_request_per_contact(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare({"email": "both@example.com", "lists": {"1": 2, "2": 2}})
    list(client.opt_outs([1, 2]))
    paths = [one["path"].removeprefix("/api/3/") for one in sandbox.requests()]
    assert paths == ["contacts", "contacts/1/contactLists", "contacts"]


def test_opt_outs_of_deleted_contact_are_none(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare({"email": "a@example.com", "lists": {"1": 2}})
    sandbox.prepare({"email": "b@example.com", "lists": {"1": 2}})
    sandbox.fault("not_found", match={"path": "/api/3/contacts/1/contactLists"})
    assert found(client.opt_outs([1])) == [("b", 1)]


def test_opt_outs_are_right_if_server_ignores_list_and_status(client: Client) -> None:
    contacts = {"contacts": [{"id": "1"}, {"id": "2"}, {"id": "3"}]}
    rows: list[dict[str, Any]] = [
        {"list": "1", "status": "1"},
        {"list": "2", "status": "2"},
        {"list": "1", "status": "2"},
    ]
    replies = [Reply(contacts), *(Reply({"contactLists": [row]}) for row in rows)]
    with ApiStub(*replies) as stub, client_of(stub) as other:
        assert [one.contact.id for one in other.opt_outs([1])] == [3]


@pytest.mark.parametrize(("counts", "expected"), [("no", []), ("yes", [("late", 1)])])
def test_opt_outs_after_a_time_are_those_that_the_api_counts_as_changes(
    start_sandbox: Callable[..., SandboxServer], counts: str, expected: list[tuple[str, int]]
) -> None:
    sandbox = start_sandbox(membership_updates_contact=counts)
    sandbox.prepare(
        {"email": "early@example.com", "lists": {"1": 2}},
        {"email": "late@example.com", "lists": {"1": 1}},
    )
    now = sandbox.advance(DAY)
    sandbox.opt_out("late@example.com", 1)
    with client_for(sandbox) as client:
        assert found(client.opt_outs([1], updated_after=now - 60)) == expected
        assert found(client.opt_outs([1], updated_after=0)) == [("early", 1), ("late", 1)]


def test_time_is_sent_with_its_offset() -> None:
    with ApiStub(Reply({"contacts": []})) as stub, client_of(stub) as client:
        list(client.contacts(updated_after=1616497475.9))
    assert stub.asked[0].query["filters[updated_after]"] == "2021-03-23T11:04:35+00:00"


# Bounces


def test_bounces_of_contact(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare(
        {"email": "fine@example.com"},
        {
            "email": "bounced@example.com",
            "bounces": [{"campaign": 5, "message": 7, "code": 48, "error": REASON}, {}],
        },
    )
    assert client.bounce_logs(1) == client.bounce_logs(99) == []
    first, second = client.bounce_logs(2)
    assert first.bounced_at == pytest.approx(client.server_time(), abs=60)
    assert first == BounceLog(1, 2, first.bounced_at, code="48", campaign="5", message="7")
    assert second == BounceLog(2, 2, second.bounced_at)
    soft = next(client.contacts(after=1))
    assert (soft.bounced_hard, soft.bounced_soft) == (2, 0)


def test_more_bounces_than_fit_on_a_page(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare({"email": "bounced@example.com", "bounces": [{}] * 250})
    assert [one.id for one in client.bounce_logs(1)] == list(range(1, 251))


BOUNCE = {"id": "1", "contact": "7"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"bounceLogs": "none"},
        {"bounceLogs": [{**BOUNCE, "contact": "8"}]},
        {"bounceLogs": [{**BOUNCE, "id": None}]},
        {"bounceLogs": [{"id": "1"}]},
        {"bounceLogs": [{**BOUNCE, "campaign": {"id": "1"}}]},
    ],
)
def test_malformed_bounces_are_an_error(body: Any) -> None:
    with (
        ApiStub(Reply(body)) as stub,
        client_of(stub) as client,
        pytest.raises(MalformedAnswer),
    ):
        client.bounce_logs(7)


# Exclusions


def test_exclusions(sandbox: SandboxServer, client: Client) -> None:
    assert client.exclusions() == []
    sandbox.prepare(
        excluded=("x@example.com", {"match_phrase": "@example.org", "lists": [2, 1]}),
    )
    assert client.exclusions() == [
        Exclusion(2, "@example.org", "end", "several", (2, 1)),
        Exclusion(1, "x@example.com", "exact", "all"),
    ]
    assert "example" not in repr(client.exclusions())


def test_exclusions_of_all_pages(sandbox: SandboxServer, client: Client) -> None:
    addresses = [f"person{number}@example.com" for number in range(250)]
    sandbox.prepare(excluded=tuple(addresses))
    assert [one.match_phrase for one in client.exclusions()] == sorted(addresses)


EXCLUSION = {"id": "1", "matchPhrase": "x@example.com", "matchType": "exact", "channel": "all"}


@pytest.mark.parametrize("lists", [None, [], {}, False])
def test_exclusion_of_all_lists(lists: Any) -> None:
    body = {"exclusions": [{**EXCLUSION, "lists": lists}], "meta": {"total": 1}}
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        assert client.exclusions() == [Exclusion(1, "x@example.com", "exact", "all")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "x"},
        {"matchPhrase": ""},
        {"matchPhrase": None},
        {"matchType": None},
        {"matchType": ["exact"]},
        {"channel": ""},
        {"lists": "1"},
        {"lists": ["all"]},
    ],
)
def test_malformed_exclusions_are_an_error(wrong: Any) -> None:
    with (
        ApiStub(Reply({"exclusions": [{**EXCLUSION, **wrong}]})) as stub,
        client_of(stub) as client,
        pytest.raises(MalformedAnswer) as failure,
    ):
        client.exclusions()
    assert "example" not in str(failure.value)
