"""The sandbox's answers: keys of 2026, ids, links, and resources that no recording shows."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from activecampaign_sandbox.links import NOT_SERVED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.sandbox_server import SandboxServer

ANNA, BEN = "anna@example.com", "ben@example.com"
IMPORT = "/api/3/import/bulk_import"
DAY = 24 * 3600
SENDER = {"sender_url": "https://shop.example", "sender_reminder": "Because"}

# The key sets that were read from a real account in August 2026.
STAMPS = "created_by created_timestamp updated_by updated_timestamp"
KEYS_2026 = {
    "contact": "accountContacts adate anonymized best_send_hour bounced_date bounced_hard"
    " bounced_soft cdate created_utc_timestamp deleted deleted_at edate email email_domain"
    " email_local firstName gravatar hash id ip lastName last_click_date last_mpp_open_date"
    " last_open_date links mpp_tracking organization orgid orgname phone rating_tstamp scoreValues"
    " segmentio_id sentcnt sms_consent sms_consent_updated_at socialdata_lastcheck ua udate"
    f" updated_utc_timestamp whatsapp_id whatsapp_username {STAMPS}",
    "tag": f"cdate deleted description id links subscriber_count tag tagType {STAMPS}",
    "contactTag": f"cdate contact id links tag {STAMPS}",
    "fieldValue": "cdate contact created_by field id links owner udate updated_by value",
    "fieldOption": "cdate field id isdefault label links orderid udate value",
    "fieldRel": "cdate dorder field id links relid",
    "user": "email firstName id lang lastName links localZoneid mfaEnabled phone roles signature"
    " username",
    "list": "active_subscribers analytics_domains analytics_source analytics_ua carboncopy cdate"
    " channel deletestamp description facebook_session fulladdress get_unsubscribe_reason id links"
    " name non_deleted_subscribers optinmessageid optinoptout optoutconf p_embed_image"
    " p_use_analytics_link p_use_analytics_read p_use_captcha p_use_facebook p_use_tracking"
    " p_use_twitter private require_name send_last_broadcast sender_addr1 sender_addr2 sender_city"
    " sender_country sender_name sender_phone sender_reminder sender_state sender_url sender_zip"
    " stringid subscription_notify to_name twitter_token twitter_token_secret udate"
    f" unsubscription_notify user userid {STAMPS}",
    "field": "cdate cols defval descript id isrequired links options ordernum perstag relations"
    f" rows service show_in_list title type udate visible {STAMPS}",
    "contactList": "automation autosyncLog campaign channel contact first_name form id ip4Sub"
    " ip4Unsub ip4_last last_name links list message responder sdate seriesid sourceid status sync"
    f" udate unsubreason unsubscribeAutomation {STAMPS}",
}


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def membership(sandbox: SandboxServer, **item: Any) -> tuple[int, dict[str, Any]]:
    """The status and membership that POST /contactLists answers."""
    body = {"contactList": {"contact": 1, "list": 1, **item}}
    answer = sandbox.call("POST", "/api/3/contactLists", json=body)
    return answer.status_code, answer.json()["contactList"]


class TestShapes:
    @pytest.fixture
    def whole(self, sandbox: SandboxServer) -> SandboxServer:
        sandbox.prepare(
            {"email": ANNA, "lists": {"1": 1}, "tags": ["a"], "fields": {"TIER": "Gold"}}
        )
        return sandbox

    @pytest.mark.parametrize("name", KEYS_2026)
    def test_keys_of_2026(self, whole: SandboxServer, name: str) -> None:
        key = "fields" if name == "fieldOption" else f"{name}s"
        rows = whole.get(f"/api/3/{key}")[f"{name}s"]
        assert rows
        for row in rows:
            assert set(row) == set(KEYS_2026[name].split())

    def test_new_contact_and_list_have_keys_of_their_year(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        for year in ("2021", "2026"):
            server = start_sandbox(shapes=year)
            old = year == "2021"
            made = server.post("/api/3/contacts", {"contact": {"email": ANNA}})["contact"]
            assert ("email_empty" in made) == old
            listed = server.post("/api/3/lists", {"list": {"name": "L", **SENDER}})["list"]
            assert ("channel" in listed) == (not old)
            read = server.get("/api/3/contacts/1")["contact"]
            assert ("sentiment" in read, "sms_consent" in read) == (old, not old)
            membership(server, status=1)
            row = server.memberships(ANNA)["1"]
            assert ("channel" in row) == (not old)

    def test_list_counts_its_members(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": ANNA, "lists": {"1": 1}}, {"email": BEN, "lists": {"1": 2}})
        row = sandbox.get("/api/3/lists/1")["list"]
        assert (row["active_subscribers"], row["non_deleted_subscribers"]) == ("1", "2")


class TestMemberships:
    def test_membership_has_stamps_where_it_is_read(self, sandbox: SandboxServer) -> None:
        sandbox.resubscribe(ANNA, 1)
        before = sandbox.memberships(ANNA)["1"]
        assert before["created_timestamp"] == before["updated_timestamp"]
        assert before["created_timestamp"].replace(" ", "T") == before["sdate"][:19]
        sandbox.advance(DAY)
        sandbox.opt_out(ANNA, 1)
        row = sandbox.memberships(ANNA)["1"]
        assert row["created_timestamp"] == before["created_timestamp"]
        assert row["updated_timestamp"].replace(" ", "T") == row["udate"][:19]
        assert (row["created_by"], row["updated_by"], row["channel"]) == (None, None, "email")
        assert sandbox.get("/api/3/contactLists")["contactLists"] == [row]

    def test_membership_of_import_has_stamps(self, sandbox: SandboxServer) -> None:
        for key in ("subscribe", "unsubscribe"):
            sandbox.post(IMPORT, {"contacts": [{"email": ANNA, key: [{"listid": 1}]}]})
            sandbox.settle()
            sandbox.advance(DAY)
        row = sandbox.memberships(ANNA)["1"]
        assert row["status"] == "2"
        assert row["created_timestamp"].replace(" ", "T") == row["sdate"][:19]
        assert row["updated_timestamp"].replace(" ", "T") == row["udate"][:19]
        assert row["created_timestamp"] < row["updated_timestamp"]

    @pytest.mark.parametrize("door", ["form", "contactLists"])
    @pytest.mark.parametrize("switch", ["renew", "keep"])
    def test_dates_of_reactivation(
        self, start_sandbox: Callable[..., SandboxServer], switch: str, door: str
    ) -> None:
        server = start_sandbox(sdate_on_reactivation=switch)
        server.resubscribe(ANNA, 1)
        server.advance(DAY)
        server.opt_out(ANNA, 1)
        left = server.memberships(ANNA)["1"]
        moved = server.advance(DAY)
        if door == "form":
            server.resubscribe(ANNA, 1)
        else:
            membership(server, status=1)
        row = server.memberships(ANNA)["1"]
        assert (row["status"], row["udate"]) == ("1", left["udate"])
        assert (moment(row["sdate"]) >= moved) == (switch == "renew")
        if switch == "keep":
            assert row["sdate"] == left["sdate"]

    @pytest.mark.parametrize("switch", ["keep", "clear"])
    def test_date_of_opt_out_after_reactivation(
        self, start_sandbox: Callable[..., SandboxServer], switch: str
    ) -> None:
        server = start_sandbox(udate_on_reactivation=switch)
        server.opt_out(ANNA, 1)
        left = server.memberships(ANNA)["1"]["udate"]
        membership(server, status=1)
        assert server.memberships(ANNA)["1"]["udate"] == (left if switch == "keep" else None)

    def test_new_membership_has_short_form_and_known_one_long_form(
        self, sandbox: SandboxServer
    ) -> None:
        sandbox.prepare({"email": ANNA})
        status, new = membership(sandbox, status=1, list="1")
        assert (status, new["sourceid"], new["list"], new["contact"]) == (201, 3, "1", 1)
        assert "form" not in new
        status, known = membership(sandbox, status=2, sourceid=4)
        assert (status, known["sourceid"], known["status"], known["list"]) == (200, "4", 2, 1)
        assert set(known) == set(KEYS_2026["contactList"].split())
        assert known["id"] == new["id"]

    @pytest.mark.parametrize(
        ("switches", "without", "with_it"),
        [
            ({}, 1, 1),
            ({"resubscribe_without_sourceid": "no"}, 2, 1),
            ({"resubscribe_with_sourceid": "no"}, 1, 2),
        ],
    )
    def test_resubscribing_may_have_no_effect(
        self,
        start_sandbox: Callable[..., SandboxServer],
        switches: dict[str, str],
        without: int,
        with_it: int,
    ) -> None:
        server = start_sandbox(**switches)
        for source, expected in (({}, without), ({"sourceid": 4}, with_it)):
            server.prepare({"email": ANNA})
            server.opt_out(ANNA, 1)
            status, row = membership(server, status=1, **source)
            assert (status, row["status"]) == (200, expected)
            assert server.memberships(ANNA)["1"]["status"] == str(expected)


def test_ids_are_small_and_sequential(sandbox: SandboxServer) -> None:
    values = [{"id": 1, "value": "Gold"}, {"id": 8, "value": "Bern"}]
    lists = [{"listid": 1}, {"listid": 2}]
    contacts = [
        {"email": email, "fields": values, "tags": ["a", "b"], "subscribe": lists}
        for email in (ANNA, BEN)
    ]
    for _ in range(3):
        sandbox.post(IMPORT, {"contacts": contacts})
        sandbox.settle()
    sandbox.prepare({"email": "c@example.com", "lists": {"1": 1}, "tags": ["a"]})
    for key, count in (("contactLists", 5), ("contactTags", 5), ("fieldValues", 4)):
        rows = sandbox.get(f"/api/3/{key}")[key]
        assert sorted(row["id"] for row in rows) == [str(n) for n in range(1, count + 1)]
        row = rows[-1]
        if key != "contactLists":
            assert sandbox.get(f"/api/3/{key}/{row['id']}")[key[:-1]] == row


@pytest.mark.parametrize("path", ["contact/sync", "contacts"])
def test_saved_values_are_named_in_the_answer(sandbox: SandboxServer, path: str) -> None:
    values = [{"field": "1", "value": "Gold"}, {"field": "8", "value": "Bern"}]
    person = {"email": ANNA, "fieldValues": values}
    answers = [sandbox.post(f"/api/3/{path}", {"contact": person})]
    if path == "contact/sync":
        answers.append(sandbox.post(f"/api/3/{path}", {"contact": person}))
    for answer in answers:
        assert answer["contact"]["fieldValues"] == [one["id"] for one in answer["fieldValues"]]
        assert len(answer["fieldValues"]) == 2
    bare = sandbox.post("/api/3/contact/sync", {"contact": {"email": BEN}})
    assert "fieldValues" not in bare["contact"]


def links_in(document: Any) -> Iterator[tuple[str, str]]:
    """Each link in an answer, with its name."""
    if isinstance(document, dict):
        links = document.get("links")
        if isinstance(links, dict):
            yield from links.items()
        for value in document.values():
            yield from links_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from links_in(value)


def test_links_lead_somewhere(sandbox: SandboxServer) -> None:
    sandbox.prepare(
        {
            "email": ANNA, "organization": "Acme", "lists": {"1": 1}, "tags": ["a"],
            "fields": {"TIER": "Gold"}, "bounces": [{"hard": False, "campaign": 5}],
        }
    )  # fmt: skip
    group = {"listGroup": {"listid": 1, "groupid": 3}}
    pages = [
        *("users/me", "users/1/userGroup", "lists", "contacts", "contacts/1", "fields", "tags"),
        *("contactTags", "contactLists", "fieldValues", "contacts/1/bounceLogs"),
    ]
    answers = [sandbox.get(f"/api/3/{page}") for page in pages]
    answers.append(sandbox.post("/api/3/listGroups", group))
    seen: set[tuple[str, str]] = set()
    for answer in answers:
        for name, link in links_in(answer):
            path = link.removeprefix(f"{sandbox.url}/api/3/")
            resource = path.split("/")[0]
            if (resource, name) in seen:
                continue
            seen.add((resource, name))
            expected = 404 if name in NOT_SERVED.get(resource, ()) else 200
            assert sandbox.call("GET", f"/api/3/{path}").status_code == expected, path
    unserved = {(resource, name) for resource, names in NOT_SERVED.items() for name in names}
    assert unserved < seen
    assert sandbox.get("/api/3/contactLists/1/list")["list"]["id"] == "1"
    assert sandbox.get("/api/3/fieldValues/1/field")["field"]["id"] == "1"
    assert sandbox.get("/api/3/contacts/1/organization")["organization"]["name"] == "Acme"
    assert sandbox.call("GET", "/api/3/contacts/7/deals").status_code == 404


class TestContactTagsAndFieldRels:
    def test_contact_tags_are_listed(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": ANNA, "tags": ["a", "b"]}, {"email": BEN, "tags": ["a"]})
        answer = sandbox.get("/api/3/contactTags", limit=2)
        assert answer["meta"] == {"total": "3"}
        assert [(row["contact"], row["tag"]) for row in answer["contactTags"]] == [
            ("1", "1"),
            ("1", "2"),
        ]
        assert sandbox.call("DELETE", "/api/3/contactTags/1").json() == {}
        assert sandbox.call("GET", "/api/3/contactTags/1").status_code == 404

    def test_field_relation_is_read_and_deleted(self, sandbox: SandboxServer) -> None:
        made = sandbox.post("/api/3/fieldRels", {"fieldRel": {"field": 1, "relid": 2}})["fieldRel"]
        assert "dorder" not in made
        path = f"/api/3/fieldRels/{made['id']}"
        assert sandbox.get(path)["fieldRel"] == {**made, "dorder": "0"}
        assert sandbox.get("/api/3/fieldRels")["fieldRels"][-1]["dorder"] == "0"
        assert sandbox.call("DELETE", path).json() == {}
        for method in ("GET", "DELETE"):
            answer = sandbox.call(method, path)
            assert answer.status_code == 404
            assert answer.json() == {
                "message": f"No Result found for FieldRel with id {made['id']}"
            }


class TestFields:
    def create(self, sandbox: SandboxServer, **item: Any) -> dict[str, Any]:
        field = {"title": "New field", "type": "text", **item}
        made: dict[str, Any] = sandbox.post("/api/3/fields", {"field": field})["field"]
        return made

    def test_default_value_is_answered_if_it_was_sent(self, sandbox: SandboxServer) -> None:
        assert "defval" not in self.create(sandbox)
        assert self.create(sandbox, title="Other", defval="x")["defval"] == "x"

    def test_position_is_kept(self, sandbox: SandboxServer) -> None:
        made = self.create(sandbox, ordernum="2")
        assert made["ordernum"] == 12, "a new field is the last"
        path = f"/api/3/fields/{made['id']}"
        for change, position in (({"title": "B"}, "12"), ({"ordernum": "3"}, "3"), ({}, "3")):
            answer = sandbox.call("PUT", path, json={"field": change}).json()
            assert answer["field"]["ordernum"] == position
            assert sandbox.get(path)["field"]["ordernum"] == position

    def test_blanks_of_tag_are_lost(self, sandbox: SandboxServer) -> None:
        made = self.create(sandbox, perstag="Personalized Tag")
        assert made["perstag"] == "PERSONALIZEDTAG"


class TestLists:
    def create(self, sandbox: SandboxServer, **item: Any) -> dict[str, Any]:
        made: dict[str, Any] = sandbox.post("/api/3/lists", {"list": {**SENDER, **item}})["list"]
        return made

    def test_name_for_urls_is_derived(self, sandbox: SandboxServer) -> None:
        names = [self.create(sandbox, name="  My new List!")["stringid"] for _ in range(2)]
        assert names == ["my-new-list", "my-new-list-2"]
        assert self.create(sandbox, name="X", stringid="mine")["stringid"] == "mine"

    def test_channel_is_echoed(self, sandbox: SandboxServer) -> None:
        assert self.create(sandbox, name="A")["channel"] == "email"
        made = self.create(sandbox, name="B", channel="sms", user=1, carboncopy="x@example.com")
        assert made["channel"] == "sms"
        read = sandbox.get(f"/api/3/lists/{made['id']}")["list"]
        assert (read["channel"], read["user"], read["userid"]) == ("sms", "1", "1")
        assert read["carboncopy"] == "x@example.com"
        body = {"list": {**SENDER, "name": "C", "channel": "fax"}}
        assert sandbox.call("POST", "/api/3/lists", json=body).status_code == 422

    def test_partial_update_changes_nothing(self, sandbox: SandboxServer) -> None:
        before = sandbox.get("/api/3/lists/1")
        answer = sandbox.call("PUT", "/api/3/lists/1", json={"list": {"name": "Other"}})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["X-Ac-Error"] == "Code 9001"
        assert sandbox.get("/api/3/lists/1") == before

    def test_full_update_changes_the_list(self, sandbox: SandboxServer) -> None:
        body = {"list": {"name": "Other", **SENDER}}
        answer = sandbox.call("PUT", "/api/3/lists/1", json=body).json()
        assert (answer["list"]["name"], answer["list"]["stringid"]) == ("Other", "newsletter")
        assert sandbox.get("/api/3/lists/1") == answer

    def test_list_is_added_to_group(self, sandbox: SandboxServer) -> None:
        group = sandbox.get("/api/3/users/1/userGroup")["userGroup"]["group"]
        body = {"listGroup": {"listid": 2, "groupid": int(group)}}
        answers = [sandbox.call("POST", "/api/3/listGroups", json=body) for _ in range(2)]
        for answer in answers:
            assert answer.status_code == 201
            row = answer.json()["listGroup"]
            assert (row["list"], row["group"], row["id"]) == (2, int(group), "1")
            assert set(row["links"]) == {"list", "group"}
        for wrong in ({"listid": 99, "groupid": 3}, {"listid": 1, "groupid": 99}, {}):
            answer = sandbox.call("POST", "/api/3/listGroups", json={"listGroup": wrong})
            assert answer.status_code == 404

    def test_only_user_is_read(self, sandbox: SandboxServer) -> None:
        me = sandbox.get("/api/3/users/me")
        assert sandbox.get("/api/3/users/1") == me
        assert sandbox.get("/api/3/users")["users"] == [me["user"]]
        for path in ("users/2", "users/2/userGroup"):
            answer = sandbox.call("GET", f"/api/3/{path}")
            assert answer.json() == {"message": "No Result found for User with id 2"}


class TestExclusionUpdate:
    PATH = "/api/3/lists/exclusions/1"

    def put(self, sandbox: SandboxServer, **item: Any) -> tuple[int, Any]:
        answer = sandbox.call("PUT", self.PATH, json=item)
        return answer.status_code, answer.json()

    def test_exclusion_is_changed(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(excluded=("x@example.com", "y@example.com"))
        status, changed = self.put(sandbox, channel="several", lists=["2", 1])
        assert (status, changed["matchPhrase"], changed["lists"]) == (
            200,
            "x@example.com",
            ["2", "1"],
        )
        assert sandbox.get(self.PATH) == changed
        status, changed = self.put(
            sandbox, matchPhrase="@example.org", matchType="end", channel="all"
        )
        assert (changed["lists"], changed["matchType"]) == ([], "end")
        contacts = [{"email": "x@example.com"}, {"email": "z@example.org"}]
        assert sandbox.post(IMPORT, {"contacts": contacts})["queued_contacts"] == 1

    @pytest.mark.parametrize(
        "wrong",
        [
            {"matchType": "start"}, {"channel": "fax"}, {"lists": "1"}, {"lists": ["x"]},
            {"matchPhrase": "y@example.com"}, {"matchPhrase": ""}, {"matchPhrase": []},
        ],
    )  # fmt: skip
    def test_wrong_value_is_refused(self, sandbox: SandboxServer, wrong: dict[str, Any]) -> None:
        sandbox.prepare(excluded=("x@example.com", "y@example.com"))
        before = sandbox.get(self.PATH)
        assert self.put(sandbox, **wrong)[0] == 422
        assert sandbox.get(self.PATH) == before

    def test_unknown_exclusion_is_not_found(self, sandbox: SandboxServer) -> None:
        status, body = self.put(sandbox, channel="all")
        assert status == 404
        assert json.dumps(body) == '{"message": "No Result found for Exclusion with id 1"}'
