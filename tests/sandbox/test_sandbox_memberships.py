"""The sandbox's memberships: opt-outs, the clock, and pages of members."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import requests

    from tests.support.sandbox_server import SandboxServer

ANNA = "anna@example.com"
DAY = 24 * 3600
IMPORT = "/api/3/import/bulk_import"
HOW = ("unsubreason", "campaign", "message", "unsubscribeAutomation")
UNKNOWN = ("", None, None, None)

# Values, memberships, tags and lists as format 3 had them, without ids of their own.
FORMAT_3 = """
CREATE TABLE old_value (
    contact INTEGER NOT NULL, field INTEGER NOT NULL, value TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL, PRIMARY KEY (contact, field)) WITHOUT ROWID;
INSERT INTO old_value SELECT contact, field, value, cdate, udate FROM field_value;
DROP TABLE field_value;
ALTER TABLE old_value RENAME TO field_value;
CREATE TABLE old_membership (
    contact INTEGER NOT NULL, list INTEGER NOT NULL, status INTEGER NOT NULL,
    sourceid INTEGER NOT NULL, sdate INTEGER, udate INTEGER,
    unsubreason TEXT NOT NULL DEFAULT '', campaign INTEGER, message INTEGER,
    unsubscribe_automation INTEGER, PRIMARY KEY (contact, list)) WITHOUT ROWID;
INSERT INTO old_membership SELECT contact, list, status, sourceid, sdate, udate, unsubreason,
    campaign, message, unsubscribe_automation FROM membership;
DROP TABLE membership;
ALTER TABLE old_membership RENAME TO membership;
CREATE INDEX membership_list ON membership (list, status, contact);
CREATE TABLE old_contact_tag (
    contact INTEGER NOT NULL, tag INTEGER NOT NULL, cdate INTEGER NOT NULL,
    PRIMARY KEY (contact, tag)) WITHOUT ROWID;
INSERT INTO old_contact_tag SELECT contact, tag, cdate FROM contact_tag;
DROP TABLE contact_tag;
ALTER TABLE old_contact_tag RENAME TO contact_tag;
CREATE INDEX contact_tag_tag ON contact_tag (tag, contact);
CREATE TABLE old_tag (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    type TEXT NOT NULL, description TEXT NOT NULL,
    cdate INTEGER NOT NULL, udate INTEGER NOT NULL);
INSERT INTO old_tag SELECT * FROM tag;
DROP TABLE tag;
ALTER TABLE old_tag RENAME TO tag;
DROP TABLE list_group;
ALTER TABLE list DROP COLUMN channel;
ALTER TABLE list DROP COLUMN userid;
ALTER TABLE list DROP COLUMN send_last_broadcast;
ALTER TABLE list DROP COLUMN carboncopy;
ALTER TABLE list DROP COLUMN subscription_notify;
ALTER TABLE list DROP COLUMN unsubscription_notify;
PRAGMA user_version = 3;
"""

# Exclusions as format 2 had them, and no bounces.
FORMAT_2 = """
CREATE TABLE excluded (pattern TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
INSERT INTO excluded SELECT phrase FROM exclusion;
DROP TABLE exclusion;
DROP TABLE exclusion_list;
DROP TABLE bounce;
ALTER TABLE contact DROP COLUMN bounced_soft;
PRAGMA user_version = 2;
"""

# The memberships' table as format 1 had it, without how a membership ended.
FORMAT_1 = """
CREATE TABLE old (
    contact INTEGER NOT NULL, list INTEGER NOT NULL, status INTEGER NOT NULL,
    sourceid INTEGER NOT NULL, sdate INTEGER, udate INTEGER,
    PRIMARY KEY (contact, list)) WITHOUT ROWID;
INSERT INTO old SELECT contact, list, status, sourceid, sdate, udate FROM membership;
DROP TABLE membership;
ALTER TABLE old RENAME TO membership;
CREATE INDEX membership_list ON membership (list, status, contact);
PRAGMA user_version = 1;
"""


def how(row: dict[str, Any]) -> tuple[Any, ...]:
    """How a membership ended, as the API tells."""
    return tuple(row[key] for key in HOW)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def date(answer: requests.Response) -> float:
    """The one header ``Date`` of an answer."""
    assert answer.headers["Date"].count("GMT") == 1
    return parsedate_to_datetime(answer.headers["Date"]).timestamp()


def subscribe(sandbox: SandboxServer, email: str, list_id: int, status: int) -> dict[str, Any]:
    """POST /contactLists."""
    contact = sandbox.contacts()[email]["id"]
    body = {"contactList": {"list": list_id, "contact": contact, "status": status}}
    row: dict[str, Any] = sandbox.post("/api/3/contactLists", body)["contactList"]
    return row


def unsubscribe_by_import(sandbox: SandboxServer, email: str, list_id: int) -> None:
    contact = {"email": email, "unsubscribe": [{"listid": list_id}]}
    assert sandbox.post(IMPORT, {"contacts": [contact]})["success"] == 1
    sandbox.settle()


class TestClock:
    def now(self, sandbox: SandboxServer) -> int:
        now: int = sandbox.get("/_sandbox/clock")["now"]
        return now

    def test_clock_advances_between_subscribe_and_unsubscribe(self, sandbox: SandboxServer) -> None:
        sandbox.resubscribe(ANNA, 1)
        moved = sandbox.advance(30 * DAY)
        sandbox.opt_out(ANNA, 1)
        row = sandbox.memberships(ANNA)["1"]
        assert moment(row["udate"]) >= moved
        assert 30 * DAY <= moment(row["udate"]) - moment(row["sdate"]) < 31 * DAY

    def test_all_times_of_the_account_follow_its_clock(self, sandbox: SandboxServer) -> None:
        start = sandbox.advance(400 * DAY)
        contact = {
            "email": ANNA,
            "tags": ["new"],
            "fields": [{"id": 1, "value": "Gold"}],
            "subscribe": [{"listid": 1}],
        }
        sandbox.post(IMPORT, {"contacts": [contact]})
        sandbox.settle()
        whole = sandbox.get("/api/3/contacts/1")
        tag = sandbox.get("/api/3/contacts/1/contactTags")["contactTags"][0]
        written = [
            whole["contact"]["cdate"],
            whole["contact"]["udate"],
            whole["contactLists"][0]["sdate"],
            whole["fieldValues"][0]["cdate"],
            tag["cdate"],
        ]
        assert min(map(moment, written)) >= start

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/api/3/users/me", 200),
            ("/api/3/lists/7", 404),
            ("/none", 404),
            ("/_sandbox/stats", 200),
        ],
    )
    def test_date_header_follows_the_clock(
        self, sandbox: SandboxServer, path: str, status: int
    ) -> None:
        moved = sandbox.advance(7 * DAY)
        answer = sandbox.call("GET", path)
        assert answer.status_code == status
        assert moved <= date(answer) < moved + DAY

    def test_date_header_of_fault_follows_the_clock(self, sandbox: SandboxServer) -> None:
        moved = sandbox.advance(7 * DAY)
        for kind in ("forbidden_bare", "bad_gateway"):
            sandbox.fault(kind, times=1)
            assert moved <= date(sandbox.call("GET", "/api/3/users/me")) < moved + DAY

    def test_queue_and_limits_use_machine_time(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(
            limits=True, single_imports_per_minute=1, latency=3600, false_status=0
        )
        body = {"contacts": [{"email": ANNA}]}
        batch = server.post(IMPORT, body)["batchId"]
        server.advance(2 * DAY)
        time.sleep(0.1)  # several times what the queue needs to see that an import is due
        assert server.get("/api/3/import/info", batchId=batch)["status"] == "waiting"
        assert server.post(IMPORT, body)["message"] == "Rate limit exceeded."

    @pytest.mark.parametrize("wrong", ["-1", '"60"', "null", "NaN", "1e300"])
    def test_clock_only_moves_forward(self, sandbox: SandboxServer, wrong: str) -> None:
        moved = sandbox.advance(DAY)
        answer = sandbox.call("POST", "/_sandbox/clock", data=f'{{"advance": {wrong}}}')
        assert answer.status_code == 400
        assert moved <= self.now(sandbox) < moved + DAY

    def test_reset_resets_the_clock(self, sandbox: SandboxServer) -> None:
        sandbox.advance(DAY)
        sandbox.advance(DAY)
        assert self.now(sandbox) > time.time() + DAY
        sandbox.reset()
        assert abs(self.now(sandbox) - time.time()) < DAY
        created = sandbox.get("/api/3/lists/1")["list"]["cdate"]
        assert abs(moment(created) - time.time()) < DAY


class TestOptingOut:
    def test_opt_out_details_are_shown_in_all_memberships(self, sandbox: SandboxServer) -> None:
        sandbox.resubscribe(ANNA, 1)
        sandbox.opt_out(ANNA, 1, campaign=5, message=7, reason="too many mails", automation=9)
        row = sandbox.memberships(ANNA)["1"]
        assert row["status"] == "2"
        assert how(row) == ("too many mails", "5", "7", "9")
        assert sandbox.get("/api/3/contactLists")["contactLists"] == [row]
        assert sandbox.get("/api/3/contacts/1")["contactLists"] == [row]

    def test_opt_out_details_are_optional(self, sandbox: SandboxServer) -> None:
        sandbox.resubscribe(ANNA, 1)
        assert how(sandbox.memberships(ANNA)["1"]) == UNKNOWN
        sandbox.opt_out(ANNA, 1, automation=None)
        row = sandbox.memberships(ANNA)["1"]
        assert (row["status"], how(row)) == ("2", UNKNOWN)

    def test_opt_out_concerns_one_list(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(
            {"email": ANNA, "lists": {"1": 1, "2": 1}, "opt_outs": {"2": {"message": 7}}}
        )
        rows = sandbox.memberships(ANNA)
        assert {number: row["status"] for number, row in rows.items()} == {"1": "1", "2": "2"}
        assert rows["1"]["udate"] is None
        assert rows["2"]["sdate"] is not None

    def test_contact_can_opt_out_again(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": ANNA, "lists": {"1": 2}})
        moved = sandbox.advance(DAY)
        sandbox.opt_out(ANNA, 1, campaign=5)
        row = sandbox.memberships(ANNA)["1"]
        assert moment(row["udate"]) >= moved
        assert row["campaign"] == "5"

    @pytest.mark.parametrize("door", ["form", "contactLists"])
    def test_resubscribing_clears_opt_out_details(self, sandbox: SandboxServer, door: str) -> None:
        sandbox.resubscribe(ANNA, 1)
        sandbox.opt_out(ANNA, 1, campaign=5, message=7, reason="why not", automation=9)
        moved = sandbox.advance(DAY)
        if door == "form":
            sandbox.resubscribe(ANNA, 1)
        else:
            assert how(subscribe(sandbox, ANNA, 1, 1)) == UNKNOWN
        row = sandbox.memberships(ANNA)["1"]
        assert (row["status"], how(row)) == ("1", UNKNOWN)
        assert moment(row["udate"]) < moved <= moment(row["sdate"])

    def test_import_writes_no_opt_out_details(self, sandbox: SandboxServer) -> None:
        sandbox.resubscribe(ANNA, 1)
        moved = sandbox.advance(DAY)
        unsubscribe_by_import(sandbox, ANNA, 1)
        row = sandbox.memberships(ANNA)["1"]
        assert (row["status"], how(row)) == ("2", UNKNOWN)
        assert moment(row["sdate"]) < moved <= moment(row["udate"])

    def test_import_after_opt_out_changes_nothing(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": ANNA, "lists": {"1": 1, "2": 3}})
        sandbox.opt_out(ANNA, 1, campaign=5, reason="too many mails")
        before = sandbox.memberships(ANNA)
        sandbox.advance(DAY)
        unsubscribe_by_import(sandbox, ANNA, 1)
        unsubscribe_by_import(sandbox, ANNA, 2)
        assert sandbox.memberships(ANNA) == before

    def test_deleted_contact_starts_without_memberships(self, sandbox: SandboxServer) -> None:
        sandbox.opt_out(ANNA, 1, campaign=5)
        sandbox.delete(ANNA)
        assert sandbox.export() == []
        sandbox.prepare({"email": ANNA})
        assert sandbox.memberships(ANNA) == {}

    def test_unknown_key_of_opt_out_is_refused(self, sandbox: SandboxServer) -> None:
        person = {"email": ANNA, "opt_outs": {"1": {"campagin": 5}}}
        answer = sandbox.call("POST", "/_sandbox/contacts", json={"contacts": [person]})
        assert answer.status_code == 400
        assert sandbox.export() == []


class TestFile:
    def test_opt_out_details_survive_a_restart(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(str(tmp_path / "s.db"))
        server.opt_out(ANNA, 1, campaign=5, reason="too many mails")
        before = server.memberships(ANNA)
        server.stop()
        server.start()
        assert how(server.memberships(ANNA)["1"]) == how(before["1"])

    def test_file_of_format_1_is_upgraded(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        file = tmp_path / "s.db"
        server = start_sandbox(str(file))
        server.prepare({"email": ANNA, "lists": {"1": 1, "2": 2}, "tags": ["old"]})
        before = server.export()
        server.stop()
        with closing(sqlite3.connect(file)) as db:
            db.executescript(FORMAT_3 + FORMAT_2 + FORMAT_1)
        for _ in range(2):  # the second time there is nothing left to do
            server.start()
            assert server.export() == before
            rows = server.memberships(ANNA)
            assert {number: row["status"] for number, row in rows.items()} == {"1": "1", "2": "2"}
            assert {how(row) for row in rows.values()} == {UNKNOWN}
            server.stop()
        server.start()
        server.opt_out(ANNA, 1, campaign=5)
        assert server.memberships(ANNA)["1"]["campaign"] == "5"

    def test_file_of_format_2_is_upgraded(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        file = tmp_path / "s.db"
        server = start_sandbox(str(file))
        server.prepare({"email": ANNA, "bounced": True}, excluded=("x@example.com", "@Example.org"))
        before = server.export()
        server.stop()
        with closing(sqlite3.connect(file)) as db:
            db.executescript(FORMAT_3 + FORMAT_2)
        server.start()
        assert server.export() == before
        rows = server.get("/api/3/lists/exclusions")["exclusions"]
        assert {(row["matchPhrase"], row["matchType"], row["channel"]) for row in rows} == {
            ("x@example.com", "exact", "all"),
            ("@Example.org", "end", "all"),
        }
        assert len(server.get("/api/3/contacts/1/bounceLogs")["bounceLogs"]) == 1

    def test_file_of_format_3_is_upgraded(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        file = tmp_path / "s.db"
        server = start_sandbox(str(file))
        person = {"email": ANNA, "lists": {"1": 1, "2": 2}, "tags": ["b", "a"]}
        server.prepare({**person, "fields": {"TIER": "Gold", "CITY": "Bern"}})
        server.opt_out(ANNA, 1, campaign=5)
        paths = [
            *("/api/3/contacts/1/contactLists", "/api/3/contacts/1/contactTags"),
            *("/api/3/contacts/1/fieldValues", "/api/3/lists", "/api/3/tags", "/_sandbox/export"),
        ]
        before = [server.call("GET", path).text for path in paths]
        server.stop()
        with closing(sqlite3.connect(file)) as db:
            db.executescript(FORMAT_3)
        server.start()
        port = before[0].split("http://127.0.0.1:")[1].split("/")[0]
        here = server.url.rpartition(":")[2]
        after = [server.call("GET", path).text.replace(here, port) for path in paths]
        assert after == before
        server.resubscribe("new@example.com", 3)
        assert server.memberships("new@example.com")["3"]["id"] == "3"

    def test_file_of_later_format_is_refused_and_not_changed(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        file = tmp_path / "s.db"
        server = start_sandbox(str(file))
        server.stop()
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA user_version = 1000")
        before = file.read_bytes()
        with pytest.raises(RuntimeError):
            server.start()
        assert file.read_bytes() == before


class TestReading:
    @pytest.fixture
    def people(self, sandbox: SandboxServer) -> list[dict[str, Any]]:
        """250 people: on list 1 with any status, on list 2, on both, or on none."""
        sandbox.prepare(
            *(
                {
                    "email": f"p{number:03}@example.{'org' if number % 2 else 'com'}",
                    "lists": {
                        **({"1": number % 4} if number % 5 else {}),
                        **({"2": 1} if number % 3 else {}),
                    },
                }
                for number in range(250)
            )
        )
        return sandbox.export()

    @pytest.mark.parametrize(
        ("list_id", "status"), [(1, 1), (1, 2), (1, -1), (2, 1), (2, 2), (0, -1), (0, 2)]
    )
    def test_pages_of_a_list_are_complete_and_ordered(
        self, sandbox: SandboxServer, people: list[dict[str, Any]], list_id: int, status: int
    ) -> None:
        expected = [
            str(person["id"])
            for person in people
            if (not list_id and status < 0)
            or any(
                int(number) == (list_id or int(number))
                and value == (value if status < 0 else status)
                for number, value in person["lists"].items()
            )
        ]
        read: list[str] = []
        while True:
            page = sandbox.get(
                "/api/3/contacts",
                **({"listid": list_id} if list_id else {}),
                status=status,
                id_greater=read[-1] if read else 0,
                limit=100,
                **{"orders[id]": "ASC"},
            )
            assert page["meta"]["total"] == str(len(expected) - len(read))
            if not page["contacts"]:
                break
            read += [contact["id"] for contact in page["contacts"]]
        assert read == expected

    def test_filters_and_orders_of_a_list(
        self, sandbox: SandboxServer, people: list[dict[str, Any]]
    ) -> None:
        members = [str(one["id"]) for one in people if one["lists"].get("1") == 1]

        def found(**query: Any) -> tuple[list[str], str]:
            body = sandbox.get("/api/3/contacts", listid=1, status=1, limit=100, **query)
            return [contact["id"] for contact in body["contacts"]], body["meta"]["total"]

        total = str(len(members))
        assert found() == (members[::-1], total)
        assert found(**{"orders[email]": "ASC"}) == (members, total)
        assert found(**{"orders[id]": "ASC"}, offset=10) == (members[10:], total)
        assert found(**{"ids[]": ["1", "2", "3"]}) == (["2"], "1")
        assert found(email="p001@example.org") == (["2"], "1")
        assert found(email_like="EXAMPLE.org") == (members[::-1], total)
        assert found(search="example.com") == ([], "0")
        assert found(id_less=members[2]) == (members[1::-1], "2")
        assert found(exclude=members[-1])[1] == str(len(members) - 1)
