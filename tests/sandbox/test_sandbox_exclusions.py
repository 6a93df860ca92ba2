"""The sandbox's exclusions and bounce logs, and contacts by the time of their last change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.guide import example

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer

PATH = "/api/3/lists/exclusions"
IMPORT = "/api/3/import/bulk_import"
DAY = 24 * 3600
EVERYONE = {"match_phrase": "everywhere@example.com"}
ON_SMS = {"match_phrase": "phone@example.com", "channel": "allSms"}
BY_MAIL = {"match_phrase": "mail@example.com", "channel": "allEmail"}
ON_LISTS = {
    "match_phrase": "@Lists.example",
    "match_type": "end",
    "channel": "several",
    "lists": [1, 2],
}
ALL = (EVERYONE, ON_SMS, BY_MAIL, ON_LISTS)


def phrases(answer: dict[str, Any]) -> list[str]:
    return [one["matchPhrase"].partition("@")[0] for one in answer["exclusions"]]


class TestExclusions:
    def test_exclusions_have_documented_shape(self, sandbox: SandboxServer) -> None:
        assert sandbox.get(PATH) == {"exclusions": [], "meta": {"total": 0}}
        sandbox.prepare(excluded=(EVERYONE, ON_LISTS))
        answer = sandbox.get(PATH)
        assert answer["meta"] == {"total": 2}
        first, second = answer["exclusions"]
        assert first == {
            "id": "1",
            "matchPhrase": "everywhere@example.com",
            "matchType": "exact",
            "channel": "all",
            "hidden": False,
            "lists": [],
        }
        assert (second["channel"], second["lists"]) == ("several", ["2", "1"])
        assert sandbox.get(f"{PATH}/2") == second

    def test_exclusions_may_be_forbidden(self, start_sandbox: Callable[..., SandboxServer]) -> None:
        sandbox = start_sandbox(exclusions="no")
        sandbox.prepare(excluded=(EVERYONE,))
        for method, path in (("GET", PATH), ("GET", f"{PATH}/1"), ("PUT", f"{PATH}/1")):
            answer = sandbox.call(method, path, json={"channel": "all"})
            assert answer.status_code == 403
            assert answer.json() == {"message": "You don't have permission to access this resource"}

    def test_unknown_exclusion_is_not_found(self, sandbox: SandboxServer) -> None:
        answer = sandbox.call("GET", f"{PATH}/7")
        assert answer.status_code == 404
        assert answer.json() == {"message": "No Result found for Exclusion with id 7"}

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ({"filters[matchPhrase]": "EXAMPLE.com"}, ["everywhere", "phone", "mail"]),
            ({"filters[lists][]": ["1"]}, [""]),
            ({"filters[lists][]": ["2", "3"]}, [""]),
            ({"filters[lists][]": ["3"]}, []),
            ({"filters[lists][]": ["1"], "filters[matchPhrase]": "mail"}, []),
            ({"orders[matchPhrase]": "ASC"}, ["", "everywhere", "mail", "phone"]),
            ({"orders[matchPhrase]": "DESC", "limit": 1}, ["phone"]),
            ({"orders[lists]": "DESC", "limit": 1}, [""]),
            ({"limit": 2, "offset": 1}, ["phone", "mail"]),
        ],
    )
    def test_exclusions_are_filtered_ordered_and_paged(
        self, sandbox: SandboxServer, query: dict[str, Any], found: list[str]
    ) -> None:
        sandbox.prepare(excluded=ALL)
        assert phrases(sandbox.get(PATH, **query)) == found

    def test_total_counts_all_pages_of_filter(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(excluded=ALL)
        answer = sandbox.get(PATH, **{"filters[matchPhrase]": "example.com", "limit": 1})
        assert answer["meta"] == {"total": 3}

    @pytest.mark.parametrize("name", ["filters[phrase]", "filters[matchPhrase][eq]", "orders[id]"])
    def test_unknown_filter_or_order_is_refused(self, sandbox: SandboxServer, name: str) -> None:
        answer = sandbox.call("GET", PATH, params={name: "x"})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert (error["status"], error["title"]) == (422, "Invalid attribute")
        assert error["source"] == {"pointer": f"/data/attributes/{name}"}

    def test_imports_are_refused_by_channel_and_lists(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(excluded=ALL)
        sent: list[tuple[str, int]] = [
            ("everywhere@example.com", 3),
            ("Mail@example.com", 3),
            ("phone@example.com", 1),
            ("one@lists.example", 2),
            ("two@lists.example", 3),
            ("x@sublists.example", 1),
        ]
        contacts = [{"email": one, "subscribe": [{"listid": number}]} for one, number in sent]
        answer = sandbox.post(IMPORT, {"contacts": contacts})
        assert answer["queued_contacts"] == 3
        sandbox.settle()
        info = sandbox.get("/api/3/import/info", batchId=answer["batchId"])
        assert info["failure"] == [sent[0][0], sent[1][0], sent[3][0]]

    def test_same_phrase_replaces_exclusion(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(excluded=(ON_LISTS, "@lists.example"))
        (row,) = sandbox.get(PATH)["exclusions"]
        assert (row["channel"], row["lists"]) == ("all", [])
        sandbox.prepare(excluded=({**ON_LISTS, "match_type": "exact"},))
        assert len(sandbox.get(PATH)["exclusions"]) == 2

    @pytest.mark.parametrize("wrong", [{"match_type": "start"}, {"channel": "mail"}])
    def test_unknown_match_type_or_channel_is_refused(
        self, sandbox: SandboxServer, wrong: dict[str, str]
    ) -> None:
        body = {"contacts": [], "excluded": [{**EVERYONE, **wrong}]}
        assert sandbox.call("POST", "/_sandbox/contacts", json=body).status_code == 400
        assert sandbox.get(PATH)["exclusions"] == []

    def test_exclusion_of_guide(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(excluded=(example("sandbox-control.md", "exclusion"),))
        (row,) = sandbox.get(PATH)["exclusions"]
        assert (row["matchType"], row["channel"], row["lists"]) == ("end", "several", ["2", "1"])

    def test_deleted_list_is_excluded_from_no_more(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(excluded=(ON_LISTS,))
        sandbox.call("DELETE", "/api/3/lists/1")
        assert sandbox.get(PATH)["exclusions"][0]["lists"] == ["2"]


class TestBounceLogs:
    def logs(self, sandbox: SandboxServer, contact: int = 1) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = sandbox.get(f"/api/3/contacts/{contact}/bounceLogs")[
            "bounceLogs"
        ]
        return rows

    def test_bounce_has_documented_shape(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(example("sandbox-control.md", "bounces"))
        (row,) = self.logs(sandbox)
        assert set(row) == {
            *("tstamp", "bounceid", "subscriberid", "campaignid", "messageid", "codeid", "email"),
            *("error", "source", "created_timestamp", "updated_timestamp", "created_by"),
            *("updated_by", "links", "id", "bounce", "contact", "campaign", "message", "code"),
        }
        assert set(row["links"]) == {"bounce", "contact", "campaign", "message", "code"}
        names = ("contact", "campaign", "message", "code", "email", "error")
        assert [row[name] for name in names] == ["1", "5", "7", "48", "a@example.com", "550"]

    def test_only_hard_bounces_refuse_a_contact(self, sandbox: SandboxServer) -> None:
        soft, hard = "soft@example.com", "hard@example.com"
        sandbox.prepare(
            {"email": soft, "bounces": [{"hard": False}, {"hard": False}]},
            {"email": hard, "bounces": [{}]},
        )
        found = {one["email"]: one for one in sandbox.get("/api/3/contacts")["contacts"]}
        counts = {email: (one["bounced_hard"], one["bounced_soft"]) for email, one in found.items()}
        assert counts == {soft: ("0", "2"), hard: ("1", "0")}
        answer = sandbox.post(IMPORT, {"contacts": [{"email": soft}, {"email": hard}]})
        sandbox.settle()
        info = sandbox.get("/api/3/import/info", batchId=answer["batchId"])
        assert info["failure"] == [hard]

    def test_bounced_contact_has_one_bounce(self, sandbox: SandboxServer) -> None:
        for _ in range(2):
            sandbox.prepare({"email": "a@example.com", "bounced": True})
        assert len(self.logs(sandbox)) == 1
        sandbox.prepare({"email": "b@example.com"})
        assert self.logs(sandbox, 2) == []

    def test_unknown_contact_has_no_bounce_log(self, sandbox: SandboxServer) -> None:
        answer = sandbox.call("GET", "/api/3/contacts/7/bounceLogs")
        assert answer.status_code == 404
        assert answer.json() == {"message": "No Result found for Subscriber with id 7"}


class TestChangedContacts:
    def changed(self, sandbox: SandboxServer, **filters: str) -> list[str]:
        query = {f"filters[{name}]": value for name, value in filters.items()}
        answer = sandbox.get("/api/3/contacts", **{"orders[id]": "ASC", **query})
        assert answer["meta"]["total"] == str(len(answer["contacts"]))
        return [one["email"].partition("@")[0] for one in answer["contacts"]]

    def test_contacts_are_filtered_by_time(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "old@example.com"}, {"email": "changed@example.com"})
        between = max(one["udate"] for one in sandbox.get("/api/3/contacts")["contacts"])
        sandbox.advance(DAY)
        sandbox.prepare(
            {"email": "changed@example.com", "phone": "1"}, {"email": "new@example.com"}
        )
        assert self.changed(sandbox, updated_after=between) == ["changed", "new"]
        assert self.changed(sandbox, created_after=between) == ["new"]
        later = sandbox.get("/api/3/contacts")["contacts"][1]["udate"]
        assert self.changed(sandbox, updated_before=later) == ["old"]
        assert self.changed(sandbox, created_before=later) == ["old", "changed"]
        assert self.changed(sandbox, updated_after="2000-01-01", created_before=later) != []
        assert self.changed(sandbox, updated_after="9000-01-01") == []

    def test_members_are_filtered_by_time(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "old@example.com", "lists": {"1": 1}})
        before = sandbox.get("/api/3/contacts")["contacts"][0]["udate"]
        sandbox.advance(DAY)
        sandbox.prepare({"email": "new@example.com", "lists": {"1": 1}})
        answer = sandbox.get("/api/3/contacts", listid=1, **{"filters[updated_after]": before})
        assert [one["email"] for one in answer["contacts"]] == ["new@example.com"]
        assert answer["meta"]["total"] == "1"

    def test_invalid_time_is_refused(self, sandbox: SandboxServer) -> None:
        answer = sandbox.call("GET", "/api/3/contacts", params={"filters[updated_after]": "soon"})
        assert answer.status_code == 422

    @pytest.mark.parametrize("counts", ["no", "yes"])
    def test_opt_out_changes_contact_if_option_says_so(
        self, start_sandbox: Callable[..., SandboxServer], counts: str
    ) -> None:
        sandbox = start_sandbox(membership_updates_contact=counts)
        sandbox.prepare(
            {"email": "left@example.com", "lists": {"1": 1}},
            {"email": "posted@example.com", "lists": {"1": 1}},
            {"email": "stayed@example.com", "lists": {"1": 1}},
        )
        before = sandbox.get("/api/3/contacts")["contacts"][0]["udate"]
        sandbox.advance(DAY)
        sandbox.opt_out("left@example.com", 1)
        membership = {"list": 1, "contact": 2, "status": 2}
        sandbox.post("/api/3/contactLists", {"contactList": membership})
        found = self.changed(sandbox, updated_after=before)
        assert found == (["left", "posted"] if counts == "yes" else [])
