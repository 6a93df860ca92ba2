"""The sandbox: its command, API, import queue, limits and faults."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from activecampaign_sandbox.faults import KINDS
from activecampaign_sandbox.options import switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer

DOCS = Path(__file__).parents[2] / "docs"
IMPORT = "/api/3/import/bulk_import"
LATER = {"latency": 3600, "false_status": 0}  # imports wait until a test settles them


def load(sandbox: SandboxServer, *contacts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Import contacts, apply the import and return its info."""
    answer = sandbox.post(IMPORT, {"contacts": contacts, **more})
    sandbox.settle()
    info: dict[str, Any] = sandbox.get("/api/3/import/info", batchId=answer["batchId"])
    return info


def command(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "activecampaign_sandbox"]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


FOREIGN = [
    "evil.example",
    "evil.example:80",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "127.0.0.1@evil.example",
    "evil.example:1@127.0.0.1",
    "192.168.0.1",
    "10.0.0.1",
    "[2001:db8::1]",
    "127.0.0.1/x",
    "",
]


class TestHost:
    """A web page whose name leads here must learn nothing and do nothing (DNS rebinding)."""

    @pytest.mark.parametrize("host", FOREIGN)
    @pytest.mark.parametrize("path", ["/api/3/contacts", "/api/3/none", "/_sandbox/export", "/"])
    def test_foreign_host_is_refused(self, sandbox: SandboxServer, host: str, path: str) -> None:
        sandbox.fault("server_error", times=1)
        answer = sandbox.call("GET", path, headers={"Host": host})
        assert answer.status_code in ({400, 403} if host == "" else {403})
        assert sandbox.faults()[0]["seen"] == 0
        assert sandbox.requests() == []
        if path.startswith("/api/3") and host:
            assert "loopback name" in answer.json()["message"]

    def test_foreign_host_changes_nothing(self, sandbox: SandboxServer) -> None:
        body = {"contacts": [{"email": "a@example.com"}]}
        answer = sandbox.call("POST", IMPORT, json=body, headers={"Host": "evil.example"})
        assert answer.status_code == 403
        assert sandbox.imports() == []

    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]:80", "127.0.0.2:8000", "localhost:"],
    )
    def test_loopback_name_is_answered(self, sandbox: SandboxServer, host: str) -> None:
        for path in ("/api/3/lists", "/_sandbox/stats", "/"):
            assert sandbox.call("GET", path, headers={"Host": host}).status_code == 200

    def test_key_from_environment_is_needed_everywhere(self) -> None:
        with subprocess.Popen(
            [sys.executable, "-m", "activecampaign_sandbox", "--path=:memory:"],
            stdout=subprocess.PIPE,
            env={**os.environ, "ACTIVECAMPAIGN_SANDBOX_API_KEY": "k3y"},
        ) as process:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]

            def status(path: str, key: str) -> int:
                headers = {"Api-Token": key}
                return requests.get(f"{url}{path}", headers=headers, timeout=10).status_code

            found = [status("/api/3/lists", key) for key in ("k3y", "sandbox-key", "")]
            doors = [status(path, "k3y") for path in ("/", "/_sandbox/export")]
            process.terminate()
        assert found == [200, 403, 403]
        assert doors == [404, 404]


class TestCommand:
    def test_signal_ends_it_with_exit_code_0(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        assert start_sandbox().stop() == 0

    def test_exit_with_stdin_ends_it_when_stdin_closes(self) -> None:
        run = command("--path=:memory:", "--exit-with-stdin")
        assert run.returncode == 0
        assert run.stdout.startswith('{"url": "http://127.0.0.1:')
        assert run.stdout.count("\n") == 1

    def test_port_in_use_is_an_error(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            run = command("--path=:memory:", f"--port={taken.getsockname()[1]}")
        assert run.returncode == 1
        assert "can't listen" in run.stderr
        assert "Traceback" not in run.stderr

    def test_host_must_be_loopback(self) -> None:
        run = command("--host=0.0.0.0")
        assert run.returncode == 2
        assert "loopback" in run.stderr

    @pytest.mark.parametrize("content", [b"no database at all" * 100, None])
    def test_foreign_file_is_refused_and_not_changed(
        self, tmp_path: Path, content: bytes | None
    ) -> None:
        file = tmp_path / "other.db"
        if content:
            file.write_bytes(content)
        else:
            with sqlite3.connect(file) as db:
                db.execute("CREATE TABLE precious (thing)")
            db.close()
        before = file.read_bytes()
        run = command(f"--path={file}")
        assert run.returncode == 1
        assert "is not a file of the sandbox" in run.stderr
        assert "Traceback" not in run.stderr
        assert file.read_bytes() == before

    def test_path_that_cannot_be_created_is_an_error(self, tmp_path: Path) -> None:
        run = command(f"--path={tmp_path / 'none' / 'x.db'}")
        assert run.returncode == 1
        assert "can't open" in run.stderr
        assert "Traceback" not in run.stderr

    @pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
    def test_missing_extra_is_an_error_with_install_hint(self, missing: str) -> None:
        code = (
            f"import sys; sys.modules['{missing}'] = None\n"
            "from activecampaign_sandbox.cli import main; sys.exit(main())"
        )
        run = command(code=code)
        assert run.returncode == 1
        assert "target-activecampaign[sandbox]" in run.stderr
        assert "Traceback" not in run.stderr

    def test_it_imports_nothing_from_the_target(self) -> None:
        code = (
            "import sys; from activecampaign_sandbox import cli, server\n"
            "print(*sorted(name for name in sys.modules if 'activecampaign' in name))"
        )
        names = command(code=code).stdout.split()
        assert "activecampaign_sandbox.server" in names
        assert [name for name in names if name.startswith("target_")] == []

    def test_every_option_and_fault_is_documented(self) -> None:
        options = (DOCS / "sandbox-behaviour.md").read_text("utf-8")
        assert [one.option for one in switches() if f"`{one.option}`" not in options] == []
        faults = (DOCS / "sandbox-control.md").read_text("utf-8")
        assert [kind for kind in KINDS if f"`{kind}`" not in faults] == []


class TestFile:
    def test_file_is_private_to_its_owner(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        start_sandbox(str(tmp_path / "s.db"))
        modes = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        assert modes == {0o600}

    def test_account_and_queue_survive_a_kill(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(str(tmp_path / "s.db"), **LATER)
        load(server, {"email": "a@example.com"})
        batch = server.post(IMPORT, {"contacts": [{"email": "b@example.com"}]})["batchId"]
        server.stop(kill=True)
        server.start()
        assert [contact["email"] for contact in server.export()] == ["a@example.com"]
        assert server.get("/api/3/import/info", batchId=batch)["status"] == "waiting"
        assert server.settle() == 1
        assert [contact["times_imported"] for contact in server.export()] == [1, 1]

    def test_file_is_locked_by_one_sandbox(
        self, tmp_path: Path, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        start_sandbox(str(tmp_path / "s.db"))
        run = command(f"--path={tmp_path / 's.db'}")
        assert run.returncode == 1
        assert "in use by another sandbox" in run.stderr

    def test_new_file_has_the_sample_account(self, sandbox: SandboxServer) -> None:
        names = [item["name"] for item in sandbox.get("/api/3/lists")["lists"]]
        assert names == ["Newsletter", "VIP customers", "Win-back"]
        fields = sandbox.get("/api/3/fields")
        types = {field["perstag"]: field["type"] for field in fields["fields"]}
        assert types["TIER"] == "dropdown"
        assert types["INTERESTS"] == "listbox"
        assert {rel["relid"] for rel in fields["fieldRels"]} == {"0"}
        tier = fields["fields"][0]
        labels = {option["id"]: option["label"] for option in fields["fieldOptions"]}
        assert [labels[number] for number in tier["options"]] == [
            "Bronze",
            "Silver",
            "Gold",
            "Platinum",
        ]

    def test_empty_option_creates_empty_account(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(":memory:", "--empty")
        assert server.get("/api/3/lists") == {"lists": [], "meta": {"total": "0"}}
        assert server.get("/api/3/fields")["fields"] == []


class TestApi:
    def test_wrong_key_is_forbidden(self, sandbox: SandboxServer) -> None:
        for headers in ({"Api-Token": "wrong"}, {}):
            answer = requests.get(f"{sandbox.url}/api/3/users/me", headers=headers, timeout=10)
            assert answer.status_code == 403
            assert "message" in answer.json()
        assert sandbox.stats()["refusals"] == {"bad_key": 2}

    def test_wrong_key_may_get_a_login_page(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(bad_key="login_page")
        answer = requests.get(f"{server.url}/api/3/users/me", timeout=10)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/html")

    @pytest.mark.parametrize(
        ("path", "model"),
        [
            ("contacts/7000", "Subscriber"),
            ("lists/7000", "_List"),
            ("fields/7000", "Field"),
            ("fieldValues/7000", "FieldValue"),
            ("fieldOptions/7000", "FieldOption"),
            ("tags/7000", "Tag"),
            ("contactTags/7000", "SubscriberTag"),
        ],
    )
    def test_missing_resource_is_404_with_its_model(
        self, sandbox: SandboxServer, path: str, model: str
    ) -> None:
        answer = sandbox.call("GET", f"/api/3/{path}")
        assert answer.status_code == 404
        assert answer.json() == {"message": f"No Result found for {model} with id 7000"}

    def test_unknown_path_and_huge_id_are_404(self, sandbox: SandboxServer) -> None:
        assert sandbox.call("GET", "/api/3/import/bulkImport").status_code == 404
        assert sandbox.call("GET", f"/api/3/contacts/{'9' * 40}").status_code == 404

    def test_limit_and_offset_select_a_page(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(*({"email": f"p{number}@example.com"} for number in range(130)))
        first = sandbox.get("/api/3/contacts")
        assert len(first["contacts"]) == 20
        assert first["meta"]["total"] == "130"
        assert len(sandbox.get("/api/3/contacts", limit=5000)["contacts"]) == 100
        page = sandbox.get("/api/3/contacts", limit=100, offset=100, **{"orders[id]": "ASC"})
        assert [contact["id"] for contact in page["contacts"]] == [
            str(number) for number in range(101, 131)
        ]
        page = sandbox.get("/api/3/contacts", id_greater=128, **{"orders[id]": "ASC"})
        assert [contact["id"] for contact in page["contacts"]] == ["129", "130"]

    def test_contacts_are_filtered(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(
            {"email": "Anna@example.com", "first_name": "Anna", "lists": {"1": 1}, "tags": ["x"]},
            {"email": "ben@example.com", "lists": {"1": 2}},
            {"email": "cleo@example.org", "lists": {"2": 1}},
        )

        def found(**query: Any) -> list[str]:
            contacts = sandbox.get("/api/3/contacts", **{"orders[id]": "ASC"}, **query)["contacts"]
            return [contact["id"] for contact in contacts]

        assert found(email="anna@EXAMPLE.com") == ["1"]
        assert found(email="nobody@example.com") == []
        assert found(email_like="example.com") == ["1", "2"]
        assert found(search="ANN") == ["1"]
        assert found(**{"ids[]": ["1", "3"]}) == ["1", "3"]
        assert found(listid=1) == ["1", "2"]
        assert found(listid=1, status=1) == ["1"]
        assert found(status=2) == ["2"]
        assert found(tagid=1) == ["1"]

    def test_contact_is_created_read_updated_and_deleted(self, sandbox: SandboxServer) -> None:
        person = {"email": "anna@example.com", "firstName": "Anna"}
        assert sandbox.post("/api/3/contacts", {"contact": person})["contact"]["id"] == "1"
        again = sandbox.call("POST", "/api/3/contacts", json={"contact": person})
        assert again.status_code == 422
        assert again.json()["errors"][0]["code"] == "duplicate"
        values = [{"field": "1", "value": "Gold"}, {"field": "999", "value": "lost"}]
        change = {"email": "ANNA@example.com", "lastName": "Ek", "fieldValues": values}
        synced = sandbox.call("POST", "/api/3/contact/sync", json={"contact": change})
        assert synced.status_code == 200
        assert synced.json()["contact"]["firstName"] == "Anna"
        assert [value["value"] for value in synced.json()["fieldValues"]] == ["Gold"]
        read = sandbox.get("/api/3/contacts/1")
        assert read["fieldValues"][0]["field"] == "1"
        assert read["contact"]["fieldValues"] == [read["fieldValues"][0]["id"]]
        assert sandbox.call("DELETE", "/api/3/contacts/1").json() == {}
        assert sandbox.export() == []
        again = sandbox.call("DELETE", "/api/3/contacts/1")
        assert again.status_code == 404
        assert again.json() == {"message": "No result found for contact with id 1"}

    def test_sync_refuses_invalid_addresses(self, sandbox: SandboxServer) -> None:
        for address, status in (("", 400), ("no address", 422), ("a@b", 422)):
            body = {"contact": {"email": address}}
            assert sandbox.call("POST", "/api/3/contact/sync", json=body).status_code == status

    def test_contact_lists_undo_an_opt_out(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "anna@example.com", "lists": {"1": 2}})
        body = {"contactList": {"list": 1, "contact": 1, "status": 1}}
        answer = sandbox.call("POST", "/api/3/contactLists", json=body)
        assert answer.status_code == 200
        assert answer.json()["contactList"]["status"] == 1
        lists = sandbox.get("/api/3/contacts/1/contactLists")["contactLists"]
        assert [(item["list"], item["status"]) for item in lists] == [("1", "1")]
        body["contactList"]["status"] = 7
        assert sandbox.call("POST", "/api/3/contactLists", json=body).status_code == 422

    def test_tags_are_created_and_added_once(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "anna@example.com"})
        body = {"tag": {"tag": "VIP", "tagType": "contact"}}
        assert sandbox.call("POST", "/api/3/tags", json=body).status_code == 201
        same = sandbox.call("POST", "/api/3/tags", json={"tag": {"tag": "vip"}})
        assert (same.status_code, same.json()["tag"]["id"]) == (200, "1")
        given = {"contactTag": {"contact": "1", "tag": "1"}}
        answers = [sandbox.call("POST", "/api/3/contactTags", json=given) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 200]
        assert len({answer.json()["contactTag"]["id"] for answer in answers}) == 1
        assert sandbox.get("/api/3/tags", search="vi")["tags"][0]["subscriber_count"] == "1"

    def test_fields_are_created_and_found_by_tag(self, sandbox: SandboxServer) -> None:
        field = {"title": "Shoe size", "type": "text", "perstag": "shoe size"}
        made = sandbox.post("/api/3/fields", {"field": field})["field"]
        assert made["perstag"] == "SHOESIZE"
        again = sandbox.call("POST", "/api/3/fields", json={"field": field})
        assert again.status_code == 422
        assert again.json()["errors"][0]["code"] == "duplicate"
        bulk = sandbox.call("POST", "/api/3/fieldOption/bulk", json={"fieldOptions": 1})
        assert bulk.status_code == 422
        assert isinstance(bulk.json()["errors"], str)
        found = sandbox.get("/api/3/fields", **{"filters[perstag]": "SHOESIZE"})
        assert [item["id"] for item in found["fields"]] == [made["id"]]

    def test_datetime_is_saved_in_zone_of_account(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "anna@example.com"})
        value = {"contact": "1", "field": "3", "value": "2020-05-19T13:05:00-06:00"}
        saved = sandbox.post("/api/3/fieldValues", {"fieldValue": value})["fieldValue"]
        assert saved["value"] == "2020-05-19T14:05:00-05:00"

    def test_invalid_json_is_400(self, sandbox: SandboxServer) -> None:
        assert sandbox.call("POST", "/api/3/contacts", data="{").status_code == 400
        assert sandbox.call("POST", "/api/3/contacts", data="[]").status_code == 422


class TestImport:
    def test_import_status_goes_from_false_to_completed(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(latency=1.0, false_status=0.2)
        batch = server.post(IMPORT, {"contacts": [{"email": "a@example.com"}]})["batchId"]
        seen: list[Any] = []
        deadline = time.monotonic() + 10
        while "completed" not in seen and time.monotonic() < deadline:
            status = server.get("/api/3/import/info", batchId=batch)["status"]
            assert (len(server.export()) == 1) >= (status == "completed")
            if status not in seen:
                seen.append(status)
        assert seen == [False, "waiting", "claimed", "active", "completed"]

    def test_import_writes_all_values_of_a_contact(self, sandbox: SandboxServer) -> None:
        info = load(
            sandbox,
            {
                "email": "Anna@Example.com",
                "first_name": "Anna",
                "last_name": "Ek",
                "phone": "1",
                "customer_acct_name": "Acme",
                "tags": ["new", "New"],
                "fields": [
                    {"id": 1, "value": "Gold"},
                    {"id": "6", "value": "||Tea||Events||"},
                    {"id": 3, "value": "2026-01-05T12:00:00Z"},
                    {"id": 4, "value": ""},
                    {"id": 9999, "value": "lost"},
                ],
                "subscribe": [{"listid": 1}, {"listid": "9999"}],
                "unsubscribe": [{"listid": 2}],
                "whatever": {"is": "ignored"},
            },
        )
        assert info == {"status": "completed", "success": ["1"], "failure": []}
        assert sandbox.export() == [
            {
                "id": 1,
                "email": "Anna@Example.com",
                "first_name": "Anna",
                "last_name": "Ek",
                "phone": "1",
                "organization": "Acme",
                "bounced": False,
                "lists": {"1": 1, "2": 2},
                "tags": ["new"],
                "fields": {
                    "TIER": "Gold",
                    "INTERESTS": "||Tea||Events||",
                    "LAST_SEEN": "2026-01-05T06:00:00-06:00",
                    "LIFETIME_VALUE": "",
                },
                "times_imported": 1,
            }
        ]

    def test_import_keeps_values_that_it_does_not_name(self, sandbox: SandboxServer) -> None:
        fields = [{"id": 1, "value": "Gold"}, {"id": 8, "value": "Bern"}]
        first = {"email": "ÄNN@example.com", "first_name": "A", "phone": "1", "fields": fields}
        load(sandbox, first, {"email": "ben@example.com"})
        change = {"email": "ÄNN@EXAMPLE.com", "phone": "", "fields": [{"id": 8, "value": "Wil"}]}
        info = load(sandbox, change, {**change, "last_name": "Ek"})
        assert info == {"status": "completed", "success": [], "failure": []}
        contact = sandbox.contacts()["änn@example.com"]
        assert (contact["first_name"], contact["last_name"], contact["phone"]) == ("A", "Ek", "")
        assert contact["fields"] == {"TIER": "Gold", "CITY": "Wil"}
        assert contact["times_imported"] == 3
        assert len(sandbox.export()) == 2

    def test_one_bad_contact_refuses_the_import(self, sandbox: SandboxServer) -> None:
        contacts = [{"email": "a@example.com"}, {"first_name": "B"}, {"email": "c@example"}]
        answer = sandbox.call("POST", IMPORT, json={"contacts": contacts})
        assert answer.status_code == 400
        assert answer.json()["success"] == 0
        assert answer.json()["failureReasons"] == [
            {"contact": 2, "failureReason": "Field 'email' not found"},
            {"contact": 3, "failureReason": "Field 'email' incorrect format"},
        ]
        assert sandbox.settle() == 0
        assert sandbox.export() == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"fields": [{"id": 1}]},
            {"fields": [{"id": "%TIER%", "value": "x"}]},
            {"fields": {"1": "x"}},
            {"subscribe": [1]},
            {"tags": "x"},
            {"tags": [["x"]]},
            {"first_name": ["x"]},
        ],
    )
    def test_key_of_wrong_type_refuses_the_import(
        self, sandbox: SandboxServer, wrong: dict[str, Any]
    ) -> None:
        body = {"contacts": [{"email": "a@example.com", **wrong}]}
        answer = sandbox.call("POST", IMPORT, json=body)
        assert answer.status_code == 400
        assert answer.json()["failureReasons"][0]["contact"] == 1

    @pytest.mark.parametrize(
        "body",
        ["{", "[]", "{}", '{"contacts": []}', '{"contacts": {}}', r'{"contacts": ["\ud83d"]}'],
    )
    def test_body_without_contacts_is_refused(self, sandbox: SandboxServer, body: str) -> None:
        answer = sandbox.call("POST", IMPORT, data=body)
        assert answer.status_code == 400
        assert isinstance(answer.json()["failureReasons"][0], str)

    def test_queue_refuses_excluded_bounced_and_opted_out(self, sandbox: SandboxServer) -> None:
        sandbox.prepare(
            {"email": "out@example.com", "first_name": "Out", "lists": {"1": 2}},
            {"email": "bounced@example.com", "bounced": True},
            excluded=("never@example.com", "@blocked.example"),
        )
        people = ["OUT", "bounced", "never", "fine"]
        contacts = [
            {"email": f"{name}@example.com", "first_name": "New", "subscribe": [{"listid": 1}]}
            for name in people
        ]
        contacts.append({"email": "x@Blocked.example"})
        answer = sandbox.post(IMPORT, {"contacts": contacts})
        assert answer["queued_contacts"] == 3
        sandbox.settle()
        info = sandbox.get("/api/3/import/info", batchId=answer["batchId"])
        assert info["failure"] == [contacts[number]["email"] for number in (0, 1, 2, 4)]
        after = sandbox.contacts()
        assert set(after) == {"out@example.com", "bounced@example.com", "fine@example.com"}
        assert after["out@example.com"]["lists"] == {"1": 2}
        assert after["out@example.com"]["first_name"] == "Out"
        assert after["fine@example.com"]["lists"] == {"1": 1}

    def test_opt_out_of_another_list_does_not_count(self, sandbox: SandboxServer) -> None:
        sandbox.prepare({"email": "a@example.com", "lists": {"2": 2}})
        assert (
            load(sandbox, {"email": "a@example.com", "subscribe": [{"listid": 1}]})["failure"] == []
        )
        assert sandbox.export()[0]["lists"] == {"1": 1, "2": 2}

    def test_account_limit_refuses_new_contacts(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        for kind, status in (("failure", "completed"), ("failed", "failed")):
            server = start_sandbox(
                limits=True, account_limit=2, account_limit_as=kind, requests_per_second=0, **LATER
            )
            server.prepare({"email": "old@example.com"})
            names = ("old", "new", "beyond")
            info = load(server, *({"email": f"{name}@example.com"} for name in names))
            assert info["status"] == status
            assert info["failure"] == ["beyond@example.com"]

    def test_options_select_other_behaviours(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(
            success_key="Success", success_lists="all", index_base=0, failure_reasons="first",
            opted_out="update", bad_email="drop", apostrophe="drop", unsubscribe_stranger="ignore",
            **LATER,
        )  # fmt: skip
        answer = server.post(IMPORT, {"contacts": [{"email": ""}, {"email": ""}]})
        assert [reason["contact"] for reason in answer["failureReasons"]] == [0]
        server.prepare({"email": "out@example.com", "lists": {"1": 2}})
        contacts = [
            {"email": "out@example.com", "first_name": "New", "subscribe": [{"listid": 1}]},
            {"email": "no-domain@x"},
            {"email": "o'hara@example.com"},
            {"email": "new@example.com", "unsubscribe": [{"listid": 1}]},
        ]
        answer = server.post(IMPORT, {"contacts": contacts})
        assert answer["Success"] == 1
        server.settle()
        info = server.get("/api/3/import/info", batchId=answer["batchId"])
        assert info["failure"] == ["out@example.com", "no-domain@x", "o'hara@example.com"]
        assert info["success"] == ["2", "1"]
        people = server.contacts()
        assert people["out@example.com"]["first_name"] == "New"
        assert people["out@example.com"]["lists"] == {"1": 2}
        assert people["new@example.com"]["lists"] == {}

    def test_info_of_unknown_batch(self, start_sandbox: Callable[..., SandboxServer]) -> None:
        required = {"success": 0, "message": "'batchId' is a required field."}
        for kind, status, body in (
            ("bad_request", 400, required),
            ("empty", 200, None),
            ("not_found", 404, {"message": "No Result found for BulkImport with id none"}),
            ("false", 200, {"status": False, "success": [], "failure": []}),
        ):
            server = start_sandbox(unknown_batch=kind)
            answer = server.call("GET", "/api/3/import/info?batchId=none")
            assert answer.status_code == status
            assert (answer.json() if answer.content else None) == body
            none = server.call("GET", "/api/3/import/info")
            assert none.status_code == 400
            assert none.json()["message"] == "'batchId' is a required field."

    def test_aggregate_counts_open_and_completed_imports(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(**LATER)
        load(server, {"email": "a@example.com"})
        server.post(IMPORT, {"contacts": [{"email": "b@example.com"}, {"email": "c@example.com"}]})
        body = server.get(IMPORT)
        assert [(day["batches"], day["contacts"]) for day in body["outstanding"]] == [("1", "2")]
        assert [day["contacts"] for day in body["recentlyCompleted"]] == ["1"]

    def test_automations_run_unless_excluded(self, sandbox: SandboxServer) -> None:
        load(sandbox, {"email": "a@example.com"}, exclude_automations=True)
        assert sandbox.stats()["automation_runs"] == 0
        load(sandbox, {"email": "a@example.com"})
        assert sandbox.stats()["automation_runs"] == 1
        assert sandbox.stats()["contacts_imported"] == 2


class TestLimits:
    def test_requests_per_second_are_limited(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(limits=True)
        answers = [server.call("GET", "/api/3/users/me") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == list("432100")
        assert answers[5].headers["Retry-After"] == "1"
        time.sleep(1)
        assert server.call("GET", "/api/3/users/me").status_code == 200
        assert server.stats()["refusals"] == {"rate_limit": 1}

    def test_rate_limit_status_may_be_503(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(limits=True, requests_per_second=1, rate_limit_status=503)
        answers = [server.call("GET", "/api/3/users/me") for _ in range(2)]
        assert answers[1].status_code == 503
        assert "Retry-After" not in answers[1].headers

    def test_imports_per_minute_are_limited(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(
            limits=True, requests_per_second=0, window=1.5, multi_imports_per_minute=2,
            single_imports_per_minute=1,
        )  # fmt: skip
        one = {"contacts": [{"email": "a@example.com"}]}
        two = {"contacts": [{"email": "a@example.com"}, {"email": "b@example.com"}]}
        bodies = (one, one, two, two, two)
        answers = [server.call("POST", IMPORT, json=body) for body in bodies]
        assert [answer.status_code for answer in answers] == [200, 400, 200, 200, 400]
        refused = answers[4].json()
        assert refused["message"] == "Rate limit exceeded."
        assert refused["failureReasons"][0].startswith("Up to 2 imports may be requested per")
        time.sleep(1.5)
        assert server.call("POST", IMPORT, json=one).status_code == 200

    def test_import_size_is_limited(self, start_sandbox: Callable[..., SandboxServer]) -> None:
        server = start_sandbox(limits=True, requests_per_second=0)
        people = [{"email": f"a{number}@example.com"} for number in range(251)]
        assert server.call("POST", IMPORT, json={"contacts": people[:250]}).status_code == 200
        assert server.call("POST", IMPORT, json={"contacts": people}).status_code == 400
        start = b'{"contacts":[{"email":"a@example.com"}]'
        for size, status in ((399_999, 200), (400_000, 400)):
            body = start + b" " * (size - len(start) - 1) + b"}"
            assert server.call("POST", IMPORT, data=body).status_code == status
        kinds = {"import_too_many": 1, "import_too_large": 1}
        assert server.stats()["refusals"] == kinds

    def test_control_api_needs_no_key_and_has_no_limit(
        self, start_sandbox: Callable[..., SandboxServer]
    ) -> None:
        server = start_sandbox(limits=True, requests_per_second=1)
        for _ in range(3):
            assert server.requests() == []
        other = requests.get(
            f"{server.url}/_sandbox/export", headers={"Host": "evil.example"}, timeout=10
        )
        assert other.status_code == 403


ANSWERS = {
    "forbidden": 403, "forbidden_bare": 403, "permission": 403, "unauthorized": 401,
    "payment": 402, "not_found": 404, "invalid": 422, "too_large": 413, "rate_limit": 429,
    "server_error": 500, "bad_gateway": 502, "unavailable": 503, "gateway_timeout": 504,
    "login_page": 200, "malformed": 200, "empty": 200, "redirect": 302, "import_rate_limit": 400,
    "import_refused": 400, "import_refused_all": 400,
}  # fmt: skip
OTHERS = {
    "reset", "cut", "slow", "success_key", "queue_failed", "queue_interrupted", "queue_forgotten",
    "queue_drop", "queue_stuck", "queue_false", "queue_slow", "queue_partial", "altered",
    "import_batch_again",
}  # fmt: skip


class TestFaults:
    PERSON = {"contacts": [{"email": "a@example.com"}]}  # noqa: RUF012 - a constant

    def post(self, sandbox: SandboxServer) -> requests.Response:
        return sandbox.call("POST", IMPORT, json=self.PERSON, allow_redirects=False)

    def test_every_kind_of_fault_is_tested(self) -> None:
        assert set(KINDS) == set(ANSWERS) | OTHERS

    @pytest.mark.parametrize("takes_effect", [False, True])
    @pytest.mark.parametrize("kind", ANSWERS)
    def test_fault_replaces_the_answer(
        self, sandbox: SandboxServer, kind: str, takes_effect: bool
    ) -> None:
        sandbox.fault(kind, times=1, takes_effect=takes_effect)
        answer = self.post(sandbox)
        assert answer.status_code == ANSWERS[kind]
        assert "batchId" not in answer.text
        assert ("Content-Type" in answer.headers) == (kind != "forbidden_bare")
        assert ("Retry-After" in answer.headers) == (kind == "rate_limit")
        assert sandbox.settle() == int(takes_effect)
        assert self.post(sandbox).status_code == 200
        assert sandbox.stats()["faults"] == {kind: 1}

    @pytest.mark.parametrize("takes_effect", [False, True])
    def test_fault_resets_the_connection(self, sandbox: SandboxServer, takes_effect: bool) -> None:
        sandbox.fault("reset", times=1, takes_effect=takes_effect)
        with pytest.raises(requests.ConnectionError):
            self.post(sandbox)
        assert sandbox.settle() == int(takes_effect)
        assert sandbox.requests()[0]["status"] == 0
        assert self.post(sandbox).status_code == 200

    def test_fault_cuts_the_answer(self, sandbox: SandboxServer) -> None:
        sandbox.fault("cut", times=1)
        with pytest.raises(requests.RequestException):
            self.post(sandbox)
        assert sandbox.settle() == 1

    @pytest.mark.parametrize("takes_effect", [False, True])
    def test_fault_delays_the_answer(self, sandbox: SandboxServer, takes_effect: bool) -> None:
        sandbox.fault("slow", times=1, seconds=0.5, takes_effect=takes_effect)
        with pytest.raises(requests.ReadTimeout):
            requests.post(
                f"{sandbox.url}{IMPORT}",
                json=self.PERSON,
                headers={"Api-Token": sandbox.api_key},
                timeout=0.25,
            )
        assert len(sandbox.imports()) == int(takes_effect)

    def test_fault_changes_spelling_of_success(self, sandbox: SandboxServer) -> None:
        sandbox.fault("success_key", times=1)
        assert self.post(sandbox).json()["Success"] == 1
        assert self.post(sandbox).json()["success"] == 1

    @pytest.mark.parametrize("applied", [False, True])
    @pytest.mark.parametrize("kind", ["failed", "interrupted", "forgotten"])
    def test_fault_changes_result_of_import(
        self, sandbox: SandboxServer, kind: str, applied: bool
    ) -> None:
        sandbox.fault(f"queue_{kind}", times=1, applied=applied)
        batch = self.post(sandbox).json()["batchId"]
        sandbox.settle()
        answer = sandbox.call("GET", f"/api/3/import/info?batchId={batch}")
        if kind == "forgotten":
            assert answer.status_code == 400
        else:
            assert answer.json()["status"] == kind
        assert len(sandbox.export()) == int(applied)

    @pytest.mark.parametrize("which", [1, ["A@example.com"]])
    def test_fault_drops_contacts_of_import(self, sandbox: SandboxServer, which: Any) -> None:
        sandbox.fault("queue_drop", contacts=which)
        info = load(sandbox, {"email": "a@example.com"}, {"email": "b@example.com"})
        assert info == {"status": "completed", "success": ["1"], "failure": ["a@example.com"]}

    @pytest.mark.parametrize("which", [1, ["A@example.com"]])
    def test_fault_drops_contacts_silently(self, sandbox: SandboxServer, which: Any) -> None:
        sandbox.fault("queue_partial", contacts=which)
        contacts = [{"email": "a@example.com"}, {"email": "b@example.com"}]
        answer = sandbox.call("POST", IMPORT, json={"contacts": contacts}).json()
        assert answer["queued_contacts"] == 1
        sandbox.settle()
        info = sandbox.get("/api/3/import/info", batchId=answer["batchId"])
        assert info == {"status": "completed", "success": ["1"], "failure": []}
        assert [one["email"] for one in sandbox.export()] == ["b@example.com"]

    def test_fault_alters_the_answer(self, sandbox: SandboxServer) -> None:
        values = {"queued_contacts": "many", "new": 1}
        sandbox.fault("altered", times=1, values=values, without=["message"])
        answer = self.post(sandbox).json()
        assert (answer["queued_contacts"], answer["new"]) == ("many", 1)
        assert "message" not in answer
        assert answer["batchId"]

    def test_fault_repeats_a_batch_id(self, sandbox: SandboxServer) -> None:
        sandbox.fault("import_batch_again", first=2)
        first, second, third = (self.post(sandbox).json()["batchId"] for _ in range(3))
        assert first == second == third

    def test_fault_refuses_all_contacts_of_import(self, sandbox: SandboxServer) -> None:
        sandbox.fault("import_refused_all", base=0)
        contacts = [{"email": "a@example.com"}, {"email": "b@example.com"}]
        reasons = sandbox.post(IMPORT, {"contacts": contacts})["failureReasons"]
        assert [one["contact"] for one in reasons] == [0, 1]

    def test_fault_delays_imports(self, sandbox: SandboxServer) -> None:
        sandbox.fault("queue_stuck", times=1)
        sandbox.fault("queue_false", times=1, seconds=60)
        sandbox.fault("queue_slow", times=1, seconds=60)
        batches = [self.post(sandbox).json()["batchId"] for _ in range(4)]
        deadline = time.monotonic() + 10
        while True:
            statuses = [
                sandbox.get("/api/3/import/info", batchId=batch)["status"] for batch in batches
            ]
            if statuses[3] == "completed" or time.monotonic() > deadline:
                break
        assert statuses == ["active", False, "waiting", "completed"]
        assert sandbox.settle() == 2

    def test_match_selects_the_requests(self, sandbox: SandboxServer) -> None:
        sandbox.fault("server_error", first=2, to=3, match={"path": "/api/3/li*", "method": "GET"})
        statuses = [sandbox.call("GET", "/api/3/lists").status_code for _ in range(4)]
        assert statuses == [200, 500, 500, 200]
        assert sandbox.call("GET", "/api/3/users/me").status_code == 200
        assert sandbox.faults()[0]["seen"] == 4
        assert sandbox.faults()[0]["fired"] == 2
        sandbox.clear_faults()
        sandbox.fault("import_refused", match={"contains": "poison@"})
        assert self.post(sandbox).status_code == 200
        poison = {"contacts": [{"email": "poison@example.com"}]}
        assert sandbox.call("POST", IMPORT, json=poison).status_code == 400

    def test_probability_repeats_with_its_seed(self, sandbox: SandboxServer) -> None:
        def run() -> list[int]:
            sandbox.clear_faults()
            sandbox.fault("server_error", probability=0.5, seed=7)
            return [sandbox.call("GET", "/api/3/users/me").status_code for _ in range(20)]

        first = run()
        assert first == run()
        assert set(first) == {200, 500}

    @pytest.mark.parametrize(
        "wrong",
        [[], {"kind": "none"}, {"kind": "reset", "tmies": 1}, {"kind": "reset", "match": {"p": 1}}],
    )
    def test_invalid_fault_is_refused(self, sandbox: SandboxServer, wrong: Any) -> None:
        answer = sandbox.call("POST", "/_sandbox/faults", json=wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert sandbox.faults() == []
