"""The sandbox's switches: each of their values, the file of facts, clock and time zone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from activecampaign_sandbox.options import switches
from tests.support.guide import example
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., SandboxServer]

ANNA, BEN = "anna@example.com", "ben@example.com"
IMPORT = "/api/3/import/bulk_import"
TIER, INTERESTS, CITY = 1, 6, 8
DAY = 24 * 3600


def load(server: SandboxServer, *contacts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Import contacts, apply the import and return its info."""
    answer = server.post(IMPORT, {"contacts": contacts, **more})
    server.settle()
    info: dict[str, Any] = server.get("/api/3/import/info", batchId=answer["batchId"])
    return info


def saved(server: SandboxServer, **contact: Any) -> dict[str, Any]:
    """What the account has of a contact after its import."""
    load(server, {"email": ANNA, **contact})
    return server.contacts()[ANNA]


def fields_of(server: SandboxServer, field: int, value: str) -> dict[str, str]:
    fields: dict[str, str] = saved(server, fields=[{"id": field, "value": value}])["fields"]
    return fields


class TestImports:
    @pytest.mark.parametrize(
        ("base", "expected"), [("1", [2, 2, 2]), ("0", [1, 1, 1]), ("alternating", [2, 1, 2])]
    )
    def test_index_base(self, start_sandbox: Start, base: str, expected: list[int]) -> None:
        server = start_sandbox(index_base=base)
        body = {"contacts": [{"email": ANNA}, {"email": "none"}]}
        answers = [server.post(IMPORT, body)["failureReasons"][0]["contact"] for _ in range(3)]
        assert answers == expected

    @pytest.mark.parametrize(
        ("kind", "status", "queued"), [("refuse", 400, 0), ("accept", 200, 5), ("truncate", 200, 3)]
    )
    def test_too_many_contacts(
        self, start_sandbox: Start, kind: str, status: int, queued: int
    ) -> None:
        server = start_sandbox(limits=True, contacts_per_import=3, too_many=kind)
        people = [{"email": f"p{number}@example.com"} for number in range(5)]
        answer = server.call("POST", IMPORT, json={"contacts": people})
        assert answer.status_code == status
        assert answer.json().get("queued_contacts", 0) == queued
        server.settle()
        assert [one["email"] for one in server.export()] == [
            one["email"] for one in people[:queued]
        ]

    @pytest.mark.parametrize(("kind", "status"), [("refuse", 400), ("accept", 200)])
    def test_too_many_bytes(self, start_sandbox: Start, kind: str, status: int) -> None:
        server = start_sandbox(limits=True, body_bytes=60, too_large=kind)
        body = {"contacts": [{"email": ANNA, "first_name": "x" * 50}]}
        assert server.call("POST", IMPORT, json=body).status_code == status

    @pytest.mark.parametrize(
        ("kind", "name", "phone", "times"),
        [("merged", "Second", "1", 2), ("last", "Second", "", 1), ("first", "First", "1", 1)],
    )
    def test_same_person_twice(
        self, start_sandbox: Start, kind: str, name: str, phone: str, times: int
    ) -> None:
        server = start_sandbox(same_person_twice=kind)
        first = {"email": ANNA, "first_name": "First", "phone": "1"}
        second = {"email": ANNA.upper(), "first_name": "Second"}
        load(server, {"email": BEN}, first, second)
        contact = server.contacts()[ANNA]
        assert (contact["first_name"], contact["phone"]) == (name, phone)
        assert contact["times_imported"] == times
        assert len(server.export()) == 2

    @pytest.mark.parametrize(
        ("kind", "queued"), [("without_excluded", 4), ("sent", 5), ("accepted", 2)]
    )
    def test_queued_contacts(self, start_sandbox: Start, kind: str, queued: int) -> None:
        server = start_sandbox(queued_contacts=kind)
        server.prepare(
            {"email": "out@example.com", "lists": {"1": 2}},
            {"email": "bounced@example.com", "bounced": True},
            {"email": "in@example.com", "lists": {"1": 1}},
            excluded=("never@example.com",),
        )
        contacts = [
            {"email": f"{name}@example.com", "subscribe": [{"listid": 1}]}
            for name in ("out", "bounced", "in", "never", "new")
        ]
        answer = server.post(IMPORT, {"contacts": contacts})
        assert (answer["queued_contacts"], answer["success"]) == (queued, 5)

    @pytest.mark.parametrize(
        ("kind", "at_top", "in_contact"),
        [("anywhere", 0, 0), ("top", 0, 1), ("contact", 1, 0)],
    )
    def test_place_of_exclude_automations(
        self, start_sandbox: Start, kind: str, at_top: int, in_contact: int
    ) -> None:
        server = start_sandbox(exclude_automations=kind)
        load(server, {"email": ANNA}, exclude_automations=True)
        assert server.stats()["automation_runs"] == at_top
        load(server, {"email": ANNA, "exclude_automations": True})
        assert server.stats()["automation_runs"] == at_top + in_contact

    @pytest.mark.parametrize(("kind", "status"), [("ignore", "completed"), ("fail", "failed")])
    def test_deleted_list(self, start_sandbox: Start, kind: str, status: str) -> None:
        server = start_sandbox(deleted_list=kind, latency=3600, false_status=0)
        contact = {"email": ANNA, "subscribe": [{"listid": 1}]}
        batch = server.post(IMPORT, {"contacts": [contact]})["batchId"]
        server.call("DELETE", "/api/3/lists/1")
        server.settle()
        assert server.get("/api/3/import/info", batchId=batch)["status"] == status
        assert len(server.export()) == (kind == "ignore")
        assert load(server, {"email": BEN, "subscribe": [{"listid": 99}]})["status"] == "completed"

    @pytest.mark.parametrize(
        ("kind", "name", "failure"), [("update", "New", []), ("skip", "Old", [ANNA])]
    )
    def test_opted_out_contact_without_list(
        self, start_sandbox: Start, kind: str, name: str, failure: list[str]
    ) -> None:
        server = start_sandbox(opted_out_without_list=kind, opted_out="update")
        server.prepare({"email": ANNA, "first_name": "Old", "lists": {"1": 2, "2": 1}})
        assert load(server, {"email": ANNA, "first_name": "New"})["failure"] == failure
        assert server.contacts()[ANNA]["first_name"] == name
        assert load(server, {"email": ANNA, "subscribe": [{"listid": 2}]})["failure"] == []

    @pytest.mark.parametrize("dates", ["renew", "keep"])
    def test_import_subscribes_opted_out_contact(self, start_sandbox: Start, dates: str) -> None:
        server = start_sandbox(opted_out="subscribe", sdate_on_reactivation=dates)
        server.resubscribe(ANNA, 1)
        server.opt_out(ANNA, 1, campaign=5)
        left = server.memberships(ANNA)["1"]
        server.prepare({"email": BEN, "lists": {"1": 3}})
        server.advance(DAY)
        contacts = [{"email": email, "subscribe": [{"listid": 1}]} for email in (ANNA, BEN)]
        assert load(server, *contacts)["failure"] == [BEN]
        row = server.memberships(ANNA)["1"]
        assert (row["status"], row["udate"], row["campaign"]) == ("1", left["udate"], None)
        assert (row["sdate"] == left["sdate"]) == (dates == "keep")
        assert server.memberships(BEN)["1"]["status"] == "3"


class TestValues:
    @pytest.mark.parametrize("cleared", ["empty_name", "empty_phone", "empty_field", None])
    def test_empty_text_clears_or_keeps(self, start_sandbox: Start, cleared: str | None) -> None:
        names = ("empty_name", "empty_phone", "empty_field")
        server = start_sandbox(**{name: "clear" if name == cleared else "keep" for name in names})
        value = {"id": CITY, "value": "Bern"}
        saved(server, first_name="A", last_name="B", phone="1", fields=[value])
        empty = {"first_name": "", "last_name": "", "phone": ""}
        contact = saved(server, **empty, fields=[{**value, "value": ""}])
        assert contact["first_name"] == ("" if cleared == "empty_name" else "A")
        assert contact["last_name"] == ("" if cleared == "empty_name" else "B")
        assert contact["phone"] == ("" if cleared == "empty_phone" else "1")
        assert contact["fields"] == {"CITY": "" if cleared == "empty_field" else "Bern"}

    @pytest.mark.parametrize(("case", "value"), [("exact", "gOLD"), ("ignore", "Gold")])
    def test_case_of_options(self, start_sandbox: Start, case: str, value: str) -> None:
        server = start_sandbox(option_case=case)
        assert fields_of(server, TIER, "gOLD") == {"TIER": value}

    @pytest.mark.parametrize("case", ["exact", "ignore"])
    def test_case_of_options_that_are_checked(self, start_sandbox: Start, case: str) -> None:
        server = start_sandbox(option_case=case, unknown_option="drop")
        expected = "||Tea||Coffee||" if case == "ignore" else "||Coffee||"
        assert fields_of(server, INTERESTS, "||tEA||Coffee||Wine||") == {"INTERESTS": expected}

    def test_unknown_option_is_stored(self, sandbox: SandboxServer) -> None:
        assert fields_of(sandbox, TIER, "Iron") == {"TIER": "Iron"}

    def test_unknown_option_is_dropped(self, start_sandbox: Start) -> None:
        server = start_sandbox(unknown_option="drop")
        fields_of(server, TIER, "Gold")
        assert fields_of(server, TIER, "Iron") == {"TIER": "Gold"}
        assert fields_of(server, INTERESTS, "||Wine||") == {"TIER": "Gold"}
        assert fields_of(server, TIER, "") == {"TIER": ""}
        value = {"contact": 1, "field": TIER, "value": "Iron"}
        answer = server.post("/api/3/fieldValues", {"fieldValue": value})
        assert answer["fieldValue"]["value"] == ""

    def test_unknown_option_refuses_the_contact(self, start_sandbox: Start) -> None:
        server = start_sandbox(unknown_option="refuse")
        wrong = {"email": ANNA, "fields": [{"id": INTERESTS, "value": "||Tea||Wine||"}]}
        right = {"email": BEN, "fields": [{"id": INTERESTS, "value": "||Tea||"}]}
        assert load(server, wrong, right)["failure"] == [ANNA]
        assert list(server.contacts()) == [BEN]
        values = [{"field": TIER, "value": "Iron"}]
        person = {"contact": {"email": ANNA, "fieldValues": values}}
        assert server.call("POST", "/api/3/contact/sync", json=person).status_code == 422
        assert list(server.contacts()) == [BEN]

    @pytest.mark.parametrize(
        ("kind", "text"), [("keep", "a😀b😀"), ("replace", "a?b?"), ("cut", "a")]
    )
    def test_emoji(self, start_sandbox: Start, kind: str, text: str) -> None:
        server = start_sandbox(emoji=kind)
        given = "a😀b😀"
        contact = saved(
            server, first_name=given, phone=given, fields=[{"id": CITY, "value": given}]
        )
        assert (contact["first_name"], contact["phone"]) == (text, text)
        assert contact["fields"] == {"CITY": text}
        person = {"email": BEN, "lastName": given, "fieldValues": [{"field": 8, "value": given}]}
        server.post("/api/3/contacts", {"contact": person})
        contact = server.contacts()[BEN]
        assert (contact["last_name"], contact["fields"]) == (text, {"CITY": text})

    @pytest.mark.parametrize(("longest", "length"), [(0, 70_000), (1000, 1000), (65_000, 65_000)])
    def test_longest_value(self, start_sandbox: Start, longest: int, length: int) -> None:
        server = start_sandbox(longest_value=longest)
        assert len(fields_of(server, CITY, "x" * 70_000)["CITY"]) == length

    @pytest.mark.parametrize("kind", ["store", "hide", "not_found"])
    def test_field_without_relation(self, start_sandbox: Start, kind: str) -> None:
        server = start_sandbox(unrelated_field=kind)
        field = server.post("/api/3/fields", {"field": {"title": "New", "type": "text"}})["field"]
        number = int(field["id"])
        stored = fields_of(server, number, "x")
        assert stored == ({} if kind == "not_found" else {"NEW": "x"})
        value = {"fieldValue": {"contact": 1, "field": number, "value": "y"}}
        made = server.call("POST", "/api/3/fieldValues", json=value)
        read = server.call("GET", f"/api/3/fields/{number}")
        expected = (404, 404) if kind == "not_found" else (201, 200)
        assert (made.status_code, read.status_code) == expected
        paths = ("contacts/1/fieldValues", "fieldValues", "contacts/1")
        shown = [len(server.get(f"/api/3/{path}")["fieldValues"]) for path in paths]
        assert shown == [int(kind == "store")] * 3
        server.post("/api/3/fieldRels", {"fieldRel": {"field": number, "relid": 0}})
        assert fields_of(server, number, "z") == {"NEW": "z"}
        assert server.get("/api/3/contacts/1")["fieldValues"][0]["value"] == "z"

    @pytest.mark.parametrize(("kind", "tags"), [("no", ["a, b,,c"]), ("yes", ["a", "b", "c"])])
    def test_tags_with_commas(self, start_sandbox: Start, kind: str, tags: list[str]) -> None:
        assert saved(start_sandbox(split_tags=kind), tags=["a, b,,c"])["tags"] == tags

    @pytest.mark.parametrize(("kind", "count"), [("ignore", 1), ("exact", 2)])
    def test_case_of_tags(self, start_sandbox: Start, kind: str, count: int) -> None:
        server = start_sandbox(tag_case=kind)
        assert len(saved(server, tags=["vip", "VIP"])["tags"]) == count
        server.prepare({"email": BEN, "tags": ["Vip"]})
        found = count if kind == "ignore" else count + 1
        assert len(server.get("/api/3/tags")["tags"]) == found
        answer = server.call("POST", "/api/3/tags", json={"tag": {"tag": "vIP"}})
        assert answer.status_code == (200 if kind == "ignore" else 201)
        answer = server.call("PUT", "/api/3/tags/1", json={"tag": {"tag": "vIp"}})
        assert answer.status_code == 200

    def test_tag_gets_no_name_of_another(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": ANNA, "tags": ["a", "b"]})
        answer = sandbox.call("PUT", "/api/3/tags/1", json={"tag": {"tag": "B"}})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["code"] == "duplicate"

    @pytest.mark.parametrize("kind", ["rename", "refuse"])
    def test_contact_is_renamed_or_not(self, start_sandbox: Start, kind: str) -> None:
        server = start_sandbox(rename_contact=kind)
        server.prepare({"email": ANNA})
        for email, allowed in ((ANNA.upper(), True), (BEN, kind == "rename")):
            body = {"contact": {"email": email, "phone": "1"}}
            answer = server.call("PUT", "/api/3/contacts/1", json=body)
            assert answer.status_code == (200 if allowed else 422)


class TestClock:
    @pytest.mark.parametrize("offset", [3 * DAY, -3 * DAY])
    def test_clock_is_ahead_or_behind(self, start_sandbox: Start, offset: int) -> None:
        server = start_sandbox(clock_offset=offset)
        assert abs(server.get("/_sandbox/clock")["now"] - time.time() - offset) < DAY
        server.advance(DAY)
        server.reset()
        assert abs(server.get("/_sandbox/clock")["now"] - time.time() - offset) < DAY

    @pytest.mark.parametrize("zone", ["Asia/Kolkata", "+05:30"])
    def test_time_zone(self, start_sandbox: Start, zone: str) -> None:
        server = start_sandbox(time_zone=zone)
        value = {"id": 3, "value": "2026-01-05T12:00:00Z"}
        assert saved(server, fields=[value])["fields"]["LAST_SEEN"] == "2026-01-05T17:30:00+05:30"
        assert server.get("/api/3/contacts/1")["contact"]["cdate"].endswith("+05:30")
        assert server.get("/api/3/users/me")["user"]["localZoneid"] == zone


def refused(*arguments: str) -> str:
    """What the command says that refuses to start."""
    run = subprocess.run(
        [sys.executable, "-m", "activecampaign_sandbox", "--path=:memory:", *arguments],
        capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    return " ".join(run.stderr.split())


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc", "Europe", "+99:00", "+24:00"])
def test_unknown_time_zone_is_refused(zone: str) -> None:
    assert "is no time zone, such as Europe/Brussels" in refused(f"--time-zone={zone}")


class TestFacts:
    def start(self, tmp_path: Path, text: str, **options: Any) -> SandboxServer:
        file = tmp_path / "facts.json"
        file.write_text(text)
        return SandboxServer(":memory:", f"--facts={file}", **options)

    def test_example_of_guide_sets_switches(self, tmp_path: Path) -> None:
        text = json.dumps(example("sandbox-behaviour.md", "facts"))
        with self.start(tmp_path, text) as server:
            body = {"contacts": [{"email": "none"}]}
            assert server.post(IMPORT, body)["failureReasons"][0]["contact"] == 0
            contact = saved(server, tags=["a,b"], fields=[{"id": CITY, "value": "x" * 20_000}])
            assert contact["tags"] == ["a", "b"]
            assert len(contact["fields"]["CITY"]) == 10_000
            answer = server.call("GET", "/api/3/import/info?batchId=x")
            assert answer.status_code == 404

    def test_command_line_overrides_file(self, tmp_path: Path) -> None:
        text = (
            '{"unknown-batch": "not_found", "page_cap": 2, "emoji": null, "strict_queries": false}'
        )
        with self.start(tmp_path, text, unknown_batch="empty") as server:
            assert server.call("GET", "/api/3/import/info?batchId=x").status_code == 200
            server.prepare(*({"email": f"p{number}@example.com"} for number in range(3)))
            assert len(server.get("/api/3/contacts", limit=3)["contacts"]) == 2
            assert server.call("GET", "/api/3/contacts?colour=1").status_code == 400

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("{", "it is no JSON object of switches"),
            ("[]", "it is no JSON object of switches"),
            ('{"emojis": "cut"}', "'emojis' is no switch; did you mean 'emoji'?"),
            ('{"qqq": 1}', "'qqq' is no switch"),
            ('{"emoji": "drop"}', "'emoji' must be one of keep, replace, cut"),
            ('{"emoji": {}}', "'emoji' must be one of"),
            ('{"page_cap": "many"}', "'page_cap' must be a number, such as 100"),
            ('{"latency": -1}', "'latency' must be a number"),
            ('{"time_zone": "Mars"}', "is no time zone"),
        ],
    )
    def test_wrong_file_is_refused(self, tmp_path: Path, text: str, reason: str) -> None:
        file = tmp_path / "facts.json"
        file.write_text(text)
        assert reason in refused(f"--facts={file}")

    def test_missing_file_is_refused(self, tmp_path: Path) -> None:
        said = refused(f"--facts={tmp_path / 'none.json'}")
        assert "it can't be read: No such file or directory" in said


def test_help_names_each_switch_with_its_choices_and_mark() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "activecampaign_sandbox", "--help"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    shown = re.sub(r"\s+", "", run.stdout)
    for switch in switches():
        choices = f"[{'|'.join(switch.choices)}]" if switch.choices else ""
        assert f"{switch.option}{choices}" in shown
        assert re.sub(r"\s+", "", f"{switch.text} [{switch.mark}]") in shown


def test_yes_may_be_left_out() -> None:
    with SandboxServer(
        ":memory:", "--keep-bodies", "--strict-queries", strict_queries="no"
    ) as server:
        server.post("/api/3/tags", {"tag": {"tag": "new"}})
        assert server.bodies() == '{"tag": {"tag": "new"}}'
        assert server.call("GET", "/api/3/tags?colour=1").status_code == 400
