"""The client reads who is on a list and since when, and changes what imports can't."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.client import (
    ActiveCampaignError,
    AuthenticationError,
    Client,
    MalformedAnswer,
    Membership,
    NotFound,
    RateLimiter,
)
from tests.support.api_stub import ApiStub, Reply, client_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.sandbox_server import SandboxServer

REASON = "You wrote to me about my illness"
LOST = Reply(fault="reset")
DONE = Reply({})
NO_CONTACTS = Reply({"contacts": [], "meta": {"total": "0"}})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between attempts be as good as none."""
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 1000)


@pytest.fixture
def client(sandbox: SandboxServer) -> Iterator[Client]:
    with Client(sandbox.url, sandbox.api_key, budget=RateLimiter(None, None, None)) as client:
        yield client


def contact(number: int) -> dict[str, Any]:
    return {"id": str(number), "email": f"person{number}@example.com"}


def contacts_page(*numbers: int, total: int | None = None) -> Reply:
    meta = {} if total is None else {"meta": {"total": str(total)}}
    return Reply({"contacts": [contact(number) for number in numbers], **meta})


def sent(stub: ApiStub) -> list[tuple[str, str]]:
    return [(asked.method, asked.path.removeprefix("/api/3")) for asked in stub.asked]


# Contacts of a list


def test_contacts_are_read_by_id(sandbox: SandboxServer, client: Client) -> None:
    people = [
        {"email": f"person{number}@example.com", "lists": {"1": number % 3 + 1}}
        for number in range(250)
    ]
    sandbox.prepare(*people, {"email": "elsewhere@example.com", "lists": {"2": 1}})
    ids = {one["email"]: one["id"] for one in sandbox.export()}

    everybody = list(client.contacts())
    assert [one.id for one in everybody] == sorted(map(int, ids.values()))
    assert {one.email for one in everybody} == set(ids)
    assert [one["path"] for one in sandbox.requests()] == ["/api/3/contacts"] * 3

    members = [one.email for one in client.contacts(list_id=1)]
    assert members == [one["email"] for one in people]
    active = [one.email for one in client.contacts(list_id=1, status=1)]
    assert active == [one["email"] for one in people if one["lists"] == {"1": 1}]

    tenth = everybody[9].id
    assert list(client.contacts(after=tenth)) == everybody[10:]


def test_contacts_are_complete_with_short_pages(
    start_sandbox: Callable[..., SandboxServer],
) -> None:
    sandbox = start_sandbox(page_cap=20)
    sandbox.prepare(*({"email": f"person{number}@example.com"} for number in range(50)))
    with Client(sandbox.url, sandbox.api_key) as client:
        assert len(list(client.contacts())) == 50


def test_contacts_page_starts_after_last_id() -> None:
    first, second = contacts_page(*range(5, 105)), contacts_page(200, 201)
    with ApiStub(first, second) as stub, client_of(stub) as client:
        found = [one.id for one in client.contacts(after=4, list_id=7, status=1)]
    assert found == [*range(5, 105), 200, 201]
    same = {"limit": "100", "orders[id]": "ASC", "listid": "7", "status": "1"}
    assert [asked.query for asked in stub.asked] == [
        {**same, "id_greater": "4"},
        {**same, "id_greater": "104"},
    ]


def test_contacts_page_is_read_when_needed() -> None:
    with ApiStub(contacts_page(*range(1, 101))) as stub, client_of(stub) as client:
        contacts = client.contacts()
        assert not stub.asked
        assert next(contacts).id == 1
        assert len(stub.asked) == 1


@pytest.mark.parametrize("total", [None, 0, 2, 1000])
def test_contacts_end_whatever_the_total(total: int | None) -> None:
    replies = (contacts_page(1, 2, total=total), contacts_page(total=total))
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert [one.id for one in client.contacts()] == [1, 2]


@pytest.mark.parametrize(
    "pages",
    [
        [contacts_page(*range(1, 101)), contacts_page(*range(1, 101))],
        [contacts_page(*range(100, 0, -1))],
        [contacts_page(1, 1)],
        [contacts_page(0)],
    ],
    ids=["the filter is ignored", "the order is ignored", "twice the same", "not greater"],
)
def test_contacts_fail_if_server_ignores_order(pages: list[Reply]) -> None:
    with (
        ApiStub(*pages) as stub,
        client_of(stub) as client,
        pytest.raises(MalformedAnswer, match="order of their ids"),
    ):
        list(client.contacts())
    assert len(stub.asked) == len(pages) - 1 + 5


def test_count_contacts_reads_one(sandbox: SandboxServer, client: Client) -> None:
    assert client.count_contacts() == 0
    sandbox.prepare(
        *({"email": f"person{number}@example.com", "lists": {"1": 1}} for number in range(3)),
        {"email": "gone@example.com", "lists": {"1": 2}},
        {"email": "elsewhere@example.com"},
    )
    assert client.count_contacts() == 5
    assert client.count_contacts(list_id=1) == 4
    assert client.count_contacts(list_id=1, status=1) == 3
    assert client.count_contacts(list_id=2) == 0


@pytest.mark.parametrize("meta", [{}, {"meta": []}, {"meta": {"total": None}}])
def test_count_contacts_may_be_unknown(meta: dict[str, Any]) -> None:
    with ApiStub(Reply({"contacts": [contact(1)], **meta})) as stub, client_of(stub) as client:
        assert client.count_contacts(list_id=3, status=0) is None
    assert stub.asked[0].query == {"listid": "3", "status": "0", "limit": "1"}


# Since when, and who ended it


def membership_of(**values: Any) -> Membership:
    row = {"list": "1", "contact": "7", "status": "2", **values}
    with ApiStub(Reply({"contactLists": [row]})) as stub, client_of(stub) as client:
        (membership,) = client.memberships(7)
    return membership


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2021-03-23T06:04:35-05:00", 1616497475),
        ("2021-03-23T11:04:35Z", 1616497475),
        ("2021-03-23T12:04:35.5+01:00", 1616497475.5),
        ("2021-03-23 06:04:35-05:00", 1616497475),
        ("2021-03-23 06:04:35", None),
        ("2021-03-23T06:04:35", None),
        ("0000-00-00 00:00:00", None),
        ("0000-00-00", None),
        ("0", None),
        (0, None),
        ("", None),
        (None, None),
    ],
)
def test_time_without_offset_is_none(text: Any, moment: float | None) -> None:
    membership = membership_of(sdate=text, udate="2021-03-24T00:00:00-05:00")
    assert membership.subscribed_at == moment
    assert membership.ended_at == 1616562000
    assert membership_of(udate=text).ended_at == moment
    assert membership_of().subscribed_at is None


@pytest.mark.parametrize("nothing", [None, "", "0", 0, False])
def test_cause_of_membership_end_may_be_unknown(nothing: Any) -> None:
    membership = membership_of(
        unsubreason=nothing,
        campaign=nothing,
        message=nothing,
        unsubscribeAutomation=nothing,
        automation="5",  # the one that put the contact on the list
        seriesid="5",
    )
    assert membership == Membership(1, 2)
    assert not membership.has_named_cause


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("unsubreason", REASON, "reason"),
        ("campaign", "12", "campaign"),
        ("message", 12, "message"),
        ("unsubscribeAutomation", "12", "automation"),
    ],
)
def test_cause_of_membership_end_in_each_of_four_keys(key: str, value: Any, name: str) -> None:
    membership = membership_of(**{key: value})
    assert getattr(membership, name) == str(value)
    assert membership.has_named_cause
    assert REASON not in repr(membership)


@pytest.mark.parametrize("key", ["unsubreason", "campaign", "message", "unsubscribeAutomation"])
def test_cause_of_membership_end_of_another_shape_is_an_error(key: str) -> None:
    with pytest.raises(MalformedAnswer, match=key):
        membership_of(**{key: {"id": "12"}})


def test_membership_as_recorded() -> None:
    membership = membership_of(
        status=1, list="69", contact="106", sdate="2021-03-23T06:04:35-05:00", udate=None,
        unsubreason="", campaign=None, message=None, first_name="Robin", last_name="Sample",
        sourceid=3, unsubscribeAutomation=None, id="39",
        links={"automation": "https://acct.api-us1.com/api/3/contactLists/39/automation"},
    )  # fmt: skip
    assert membership == Membership(69, 1, subscribed_at=1616497475)


# Subscribing


def test_subscribe_even_unsubscribed_contact(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare({"email": "new@example.com"}, {"email": "left@example.com", "lists": {"1": 2}})
    for one in client.contacts():
        client.subscribe(one.id, 1)
        client.subscribe(one.id, 1)
        (membership,) = client.memberships(one.id)
        assert (membership.list_id, membership.is_subscribed) == (1, True)
        assert membership.subscribed_at == pytest.approx(client.server_time(), abs=60)
        assert not membership.has_named_cause
    assert all(one["lists"] == {"1": 1} for one in sandbox.export())


@pytest.mark.parametrize(("contact_id", "list_id"), [(99, 1), (1, 99)])
def test_subscribe_to_missing_list_or_contact(
    sandbox: SandboxServer, client: Client, contact_id: int, list_id: int
) -> None:
    sandbox.prepare({"email": "one@example.com"})
    with pytest.raises(NotFound):
        client.subscribe(contact_id, list_id)


@pytest.mark.parametrize("reply", [DONE, Reply([], 201), Reply(b"", 204)])
def test_subscribe_ignores_content_of_answer(reply: Reply) -> None:
    with ApiStub(reply) as stub, client_of(stub) as client:
        client.subscribe(106, 69)
    assert sent(stub) == [("POST", "/contactLists")]
    assert json.loads(stub.asked[0].body) == {
        "contactList": {"list": 69, "contact": 106, "status": 1, "sourceid": 4}
    }


@pytest.mark.parametrize("reply", [LOST, Reply(b"", 500)])
def test_subscribe_is_not_repeated_if_answer_is_lost(reply: Reply) -> None:
    with ApiStub(reply, DONE) as stub, client_of(stub) as client:
        with pytest.raises(ActiveCampaignError) as failure:
            client.subscribe(106, 69)
        assert failure.value.effect_unknown
    assert sent(stub) == [("POST", "/contactLists")], "the person may have opted out since"


def test_subscribe_is_repeated_if_it_had_no_effect() -> None:
    with ApiStub(Reply({}, 429), DONE) as stub, client_of(stub) as client:
        client.subscribe(106, 69)
    assert sent(stub) == [("POST", "/contactLists")] * 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(Reply(b""), MalformedAnswer), (Reply(b"<html>Log in</html>"), AuthenticationError)],
)
def test_subscribe_fails_without_success(reply: Reply, kind: type[Exception]) -> None:
    with ApiStub(reply) as stub, client_of(stub) as client, pytest.raises(kind):
        client.subscribe(106, 69)


# Tags


def test_find_tag_and_remove_it_from_contact(sandbox: SandboxServer, client: Client) -> None:
    sandbox.prepare(
        {"email": "one@example.com", "tags": ["VIP", "VIP customer", "Tea"]},
        {"email": "two@example.com", "tags": ["VIP"]},
    )
    found = [client.find_tag(name) for name in (" vip ", "VIP customer", "Tea")]
    vip, customer, tea = (tag.id for tag in found if tag)
    assert client.find_tag("customer") is None

    one, two = client.contacts()
    tags = client.contact_tags(one.id)
    assert set(tags) == {vip, customer, tea}

    client.remove_contact_tag(tags[vip])
    client.remove_contact_tag(tags[vip])
    assert [sorted(one["tags"]) for one in sandbox.export()] == [["Tea", "VIP customer"], ["VIP"]]
    assert vip not in client.contact_tags(one.id)
    assert set(client.contact_tags(two.id)) == {vip}


def test_find_tag_searches_all_pages() -> None:
    rows = [{"id": str(n), "tag": f"Offer {n}"} for n in range(1, 101)]
    pages = [
        Reply({"tags": rows, "meta": {"total": "102"}}),
        Reply({"tags": [{"id": "101", "tag": "OFFER"}, {"id": "102", "tag": "Offer"}],
               "meta": {"total": "102"}}),
    ]  # fmt: skip
    with ApiStub(*pages) as stub, client_of(stub) as client:
        tag = client.find_tag("Offer")
    assert tag is not None
    assert tag.id == 102
    assert [asked.query for asked in stub.asked] == [
        {"search": "Offer", "limit": "100", "offset": "0"},
        {"search": "Offer", "limit": "100", "offset": "100"},
    ]


def test_contact_tags_may_be_empty() -> None:
    with ApiStub(Reply({"contactTags": []})) as stub, client_of(stub) as client:
        assert client.contact_tags(104) == {}
    assert sent(stub) == [("GET", "/contacts/104/contactTags")]


def test_remove_contact_tag_is_repeated_if_answer_is_lost() -> None:
    gone = Reply({"message": "No Result found for SubscriberTag with id 13"}, 404)
    with ApiStub(LOST, gone) as stub, client_of(stub) as client:
        client.remove_contact_tag(13)
    assert sent(stub) == [("DELETE", "/contactTags/13")] * 2


# The time

NOW = 1616497475.0


@pytest.fixture
def local_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of this machine, which then stands still."""

    def set_clock(seconds: float) -> None:
        monkeypatch.setattr("time.time", lambda: seconds)

    set_clock(NOW)
    return set_clock


@pytest.mark.parametrize("ahead", [-3600, 0, 86400])
def test_server_time_comes_from_latest_answer(
    local_clock: Callable[[float], None], ahead: int
) -> None:
    date = NOW + ahead
    dated = Reply(NO_CONTACTS.body, headers={"Date": formatdate(date, usegmt=True)})
    replies = (Reply(b"", 500, {"Date": formatdate(0, usegmt=True)}), dated, dated, NO_CONTACTS)
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert client.server_time() == NOW
        client.count_contacts()
        client.count_contacts()  # a date that is far off counts when a second answer agrees
        assert client.server_time() == date + 0.5  # a date has whole seconds
        local_clock(NOW + 60)
        client.count_contacts()  # an answer without a date changes nothing
        assert client.server_time() == date + 60.5


@pytest.mark.usefixtures("local_clock")
@pytest.mark.parametrize("date", ["", "soon", "Fri, 99 Foo 2021 11:04:47 GMT"])
def test_invalid_date_is_ignored(date: str) -> None:
    reply = Reply(NO_CONTACTS.body, headers={"Date": date})
    with ApiStub(reply) as stub, client_of(stub) as client:
        client.count_contacts()
        assert client.server_time() == NOW
