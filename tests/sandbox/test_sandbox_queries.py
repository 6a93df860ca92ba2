"""The sandbox's queries: filters that filter, and refusals of those that could not."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


CONTACTS = "/api/3/contacts"
DAY = 24 * 3600
BOB = {"email": "b@example.com", "first_name": "Zoe", "last_name": "Ab", "phone": "+3247"}
ANN = {"email": "a@example.org", "first_name": "Ann", "last_name": "Zu"}
CLEO = {"email": "c@example.com", "first_name": "Ann", "last_name": "Ba", "phone": "0032"}
PEOPLE: tuple[dict[str, Any], ...] = (
    {**BOB, "tags": ["x"]},
    {**ANN, "organization": "Acme Ltd"},
    {**CLEO, "lists": {"1": 1}},
)
NUMBERS = ("ids[]", "ids", "exclude", "id_less", "id_greater", "listid", "tagid", "status")


@pytest.fixture(scope="module")
def people() -> Iterator[SandboxServer]:
    """Three contacts, 1 to 3, of which the last was created and changed a day later."""
    with SandboxServer() as server:
        server.prepare(*PEOPLE[:2])
        server.advance(DAY)
        server.prepare(PEOPLE[2])
        yield server


def ids(answer: dict[str, Any], key: str = "contacts") -> list[str]:
    return [one["id"] for one in answer[key]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"ids[]": ["1", "3"]}, "13"),
        ({"ids": "1,3"}, "13"),
        ({"ids[]": "99"}, ""),
        ({"exclude": "2"}, "13"),
        ({"exclude": ["2", "3"]}, "1"),
        ({"id_less": "2"}, "1"),
        ({"id_greater": "1", "id_less": "3"}, "2"),
        ({"email": "A@example.org"}, "2"),
        ({"email_like": "example.COM"}, "13"),
        ({"phone": "+32"}, "1"),
        ({"search": "003"}, "3"),
        ({"search": "acme"}, "2"),
        ({"search": "ann zu"}, "2"),
        ({"search": "nobody"}, ""),
        ({"tagid": "1"}, "1"),
        ({"listid": "1"}, "3"),
        ({"listid": "0", "status": "-1", "tagid": "0", "segmentid": "0"}, "123"),
        ({"in_group_lists": "true", "forceQuery": "1"}, "123"),
    ],
)
def test_filter_selects_contacts(people: SandboxServer, query: dict[str, Any], found: str) -> None:
    answer = people.get(CONTACTS, **query, **{"orders[id]": "ASC"})
    assert ids(answer) == list(found)
    assert answer["meta"]["total"] == str(len(found))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("created_after", "3"),
        ("created_before", "12"),
        ("updated_after", "3"),
        ("updated_before", "12"),
    ],
)
def test_filter_of_times_selects_contacts(people: SandboxServer, name: str, found: str) -> None:
    old, new = (people.get(f"{CONTACTS}/{n}")["contact"]["cdate"] for n in (2, 3))
    moment = old if name.endswith("after") else new
    answer = people.get(CONTACTS, **{f"filters[{name}]": moment, "orders[id]": "ASC"})
    assert ids(answer) == list(found)


@pytest.mark.parametrize(
    ("orders", "found"),
    [
        ({"orders[name]": "ASC"}, "321"),
        ({"orders[name]": "DESC"}, "123"),
        ({"orders[first_name]": "ASC", "orders[last_name]": "DESC"}, "231"),
        ({"orders[email]": "ASC"}, "213"),
        ({"orders[score]": "ASC"}, "123"),
        ({"orders[score]": "DESC"}, "321"),
        ({"orders[cdate]": "ASC", "orders[id]": "DESC"}, "213"),
    ],
)
def test_orders_of_contacts(people: SandboxServer, orders: dict[str, str], found: str) -> None:
    assert ids(people.get(CONTACTS, **orders)) == list(found)


@pytest.mark.parametrize("name", ["segmentid", "formid", "seriesid", "waitid"])
def test_filter_by_unknown_things_is_refused(people: SandboxServer, name: str) -> None:
    answer = people.call("GET", CONTACTS, params={name: "7"})
    assert answer.status_code == 501
    assert f"'{name}'" in answer.json()["message"]
    assert people.stats()["refusals"]["query"] >= 1


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        *((CONTACTS, name, value) for name in NUMBERS for value in ("", "x", "1x")),
        *((CONTACTS, name, "") for name in ("email", "email_like", "phone", "search")),
        (CONTACTS, "filters[updated_after]", ""),
        (CONTACTS, "filters[email]", "b@example.com"),
        (CONTACTS, "filters", "1"),
        ("/api/3/lists", "filters[name][like]", "x"),
        ("/api/3/lists", "filters[stringid]", "x"),
        ("/api/3/lists", "filters[id]", "x"),
        ("/api/3/tags", "filters[tag]", "x"),
        ("/api/3/fields", "filters[title]", "x"),
        ("/api/3/fieldValues", "filters[fieldid]", "x"),
        ("/api/3/fieldValues", "filters[value]", "x"),
    ],
)  # fmt: skip
def test_filter_that_cannot_be_applied_is_refused_by_strangers_sandbox_too(
    lenient: SandboxServer, path: str, name: str, value: str
) -> None:
    answer = lenient.call("GET", path, params={name: value})
    assert answer.status_code == 400
    assert name in answer.json()["message"]


@pytest.fixture(scope="module")
def lenient() -> Iterator[SandboxServer]:
    """A sandbox as strangers start it."""
    with SandboxServer(strict_queries="no") as server:
        server.prepare(*PEOPLE)
        yield server


def test_include_side_loads_what_belongs_to_contacts_of_page(people: SandboxServer) -> None:
    answer = people.get(CONTACTS, include="contactLists,contactTags", limit=2)
    assert [row["contact"] for row in answer["contactLists"]] == ["3"]
    assert answer["contactTags"] == []
    assert answer["contacts"][0]["contactLists"] == ids(answer, "contactLists")
    refused = people.call("GET", CONTACTS, params={"include": "deals"})
    assert refused.status_code == 501


UNKNOWN = [
    ("GET", "contacts", "colour"),
    ("GET", "contacts", "orders[colour]"),
    ("GET", "contacts/1", "include"),
    ("GET", "contactLists", "filters[list]"),
    ("GET", "users/me", "limit"),
    ("GET", "import/info", "batch"),
    ("POST", "tags", "dry"),
    ("DELETE", "contacts/3", "force"),
]


@pytest.mark.parametrize(("method", "path", "name"), UNKNOWN)
def test_strict_queries_refuse_unknown_parameter(
    people: SandboxServer, method: str, path: str, name: str
) -> None:
    before = people.export()
    query = {name: "1", "batchId": "x"} if path == "import/info" else {name: "1"}
    answer = people.call(
        method, f"/api/3/{path}", params=query, json={"tag": {"tag": "new", "tagType": "contact"}}
    )
    assert answer.status_code == 400
    assert f"'{name}'" in answer.json()["message"]
    assert f"{method} {path}" in answer.json()["message"]
    assert people.export() == before
    assert ids(people.get("/api/3/tags"), "tags") == ["1"]


def test_unknown_parameter_is_logged_once_without_strict_queries() -> None:
    command = [sys.executable, "-m", "activecampaign_sandbox", "--path=:memory:", "--no-limits"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().split('"')[3]
        headers = {"Api-Token": "sandbox-key"}
        for query in ({"colour": "red"}, {"colour": "blue"}, {"ann@example.com": "1"}):
            for number in (1, 2):
                answer = requests.get(
                    f"{url}/api/3/lists/{number}", params=query, headers=headers, timeout=10
                )
                assert answer.status_code == 200
        process.terminate()
        log = process.stderr.read()
    assert log.count("colour") == 1
    assert "GET lists/{id:number}: the query parameter colour has no effect here." in log
    assert "red" not in log
    assert "example.com" not in log


@pytest.mark.parametrize("path", ["contacts/", "lists/1/", "contacts/1/contactLists/", "users/me/"])
def test_slash_at_the_end_makes_no_difference(people: SandboxServer, path: str) -> None:
    answer = people.call("GET", f"/api/3/{path}")
    assert answer.status_code == 200
    assert answer.json() == people.get(f"/api/3/{path[:-1]}")
    assert people.requests(limit=100_000)[-1]["path"] == f"/api/3/{path[:-1]}"


def test_root_answers(people: SandboxServer) -> None:
    assert people.call("GET", "/api/3/").status_code == 200
    refused = requests.get(f"{people.url}/api/3/", timeout=10)
    assert refused.status_code == 403


class TestLists:
    @pytest.fixture
    def lists(self, sandbox: SandboxServer) -> SandboxServer:
        sandbox.prepare({"email": "a@example.com", "lists": {"1": 1, "2": 2}})
        body = {"name": "News by SMS", "sender_url": "u", "sender_reminder": "r", "channel": "sms"}
        sandbox.post("/api/3/lists", {"list": body})
        return sandbox

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"filters[name]": "NEWS"}, "14"),
            ({"filters[name][contains]": "win"}, "3"),
            ({"filters[name][eq]": "newsletter"}, "1"),
            ({"filters[name][neq]": "Newsletter"}, "234"),
            ({"filters[name][starts_with]": "v"}, "2"),
            ({"filters[name][gte]": "VIP customers"}, "23"),
            ({"filters[name][gt]": "VIP customers"}, "3"),
            ({"filters[name][lt]": "Newsletter"}, "4"),
            ({"filters[name][lte]": "Newsletter"}, "14"),
            ({"filters[id]": "2"}, "2"),
            ({"filters[channel]": "sms"}, "4"),
            ({"filters[channel]": "email", "filters[name]": "news"}, "1"),
            ({"orders[name]": "DESC"}, "3214"),
            ({"orders[id]": "DESC", "limit": "2"}, "43"),
            ({}, "1234"),
        ],
    )
    def test_lists_are_filtered_and_ordered(
        self, lists: SandboxServer, query: dict[str, str], found: str
    ) -> None:
        answer = lists.get("/api/3/lists", **query)
        assert ids(answer, "lists") == list(found)

    def test_order_by_weight_is_refused(self, lists: SandboxServer) -> None:
        answer = lists.call("GET", "/api/3/lists", params={"orders[name]": "weight"})
        assert answer.status_code == 501

    def test_tags_are_filtered_and_ordered(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "a@example.com", "tags": ["vip", "Very", "old"]})
        for query, found in (
            ({"filters[search]": "V"}, "12"),
            ({"filters[search][eq]": "VIP"}, "1"),
            ({"filters[search][contains]": "l"}, "3"),
            ({"filters[search][starts_with]": "ve"}, "2"),
            ({"orders[search]": "ASC"}, "321"),
            ({"search": "ip"}, "1"),
        ):
            assert ids(sandbox.get("/api/3/tags", **query), "tags") == list(found)


class TestSwitches:
    def test_ids_filter_may_be_ignored(self, start_sandbox: Callable[..., SandboxServer]) -> None:
        server = start_sandbox(ids_filter="ignored")
        server.prepare(*PEOPLE)
        assert len(server.get(CONTACTS, **{"ids[]": "1"})["contacts"]) == len(PEOPLE)

    def test_include_may_have_no_effect(self, start_sandbox: Callable[..., SandboxServer]) -> None:
        server = start_sandbox(include="no")
        assert "contactLists" not in server.get(CONTACTS, include="contactLists")

    def test_large_limits(self, start_sandbox: Callable[..., SandboxServer]) -> None:
        for kind, found in (("lower", 2), ("honour", 3), ("refuse", 0)):
            server = start_sandbox(page_cap=2, large_limit=kind)
            server.prepare(*PEOPLE)
            answer = server.call("GET", CONTACTS, params={"limit": 3})
            assert answer.status_code == (200 if found else 400)
            assert len(answer.json().get("contacts", [])) == found
            assert server.call("GET", CONTACTS, params={"limit": 2}).status_code == 200

    @pytest.mark.parametrize(("kind", "found"), [("any", "21"), ("active", "1")])
    def test_list_without_status(
        self, start_sandbox: Callable[..., SandboxServer], kind: str, found: str
    ) -> None:
        server = start_sandbox(listid_alone=kind)
        server.prepare(
            {"email": "in@example.com", "lists": {"1": 1}},
            {"email": "out@example.com", "lists": {"1": 2}},
        )
        assert ids(server.get(CONTACTS, listid=1)) == list(found)
        assert ids(server.get(CONTACTS, listid=1, status=-1)) == ["2", "1"]
        assert ids(server.get(CONTACTS, listid=1, status=2)) == ["2"]
