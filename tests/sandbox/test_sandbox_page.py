"""The sandbox's page, which shows the account in a browser."""

from __future__ import annotations

import importlib
import re
import shlex
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.sandbox_server import SandboxServer
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.target_runner import TargetRunner

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
IMPORT = "/api/3/import/bulk_import"
HEADINGS = ["Lists", "Contacts", "Custom fields", "Imports", "Requests"]


class Page(HTMLParser):
    """A page as it is read.

    Attributes:
        tables: By heading: each row's cells as text, the table's header first.
        links: By text: where each link leads.
        tags: The elements in their order, each with its attributes.
        text: All that is shown.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.links: dict[str, str] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self._heading = ""
        self._parts: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self._parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"meta", "link", "input", "br"}:
            return
        self._open.append(tag)
        if tag == "h2":
            self._heading = ""
        elif tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        elif tag in {"th", "td"}:
            self.tables[self._heading][-1].append("")
        elif tag == "a":
            self._link = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "an element is closed that isn't the innermost"
        if tag == "a":
            self.links[self._link] = next(
                attrs["href"] or "" for name, attrs in reversed(self.tags) if name == "a"
            )

    def handle_data(self, data: str) -> None:
        if "style" in self._open or not data.strip():
            return
        text = " ".join(data.split())
        self._parts.append(text)
        if "h2" in self._open:
            self._heading += text
        if {"th", "td"} & set(self._open):
            row = self.tables[self._heading][-1]
            row[-1] = f"{row[-1]} {text}".strip()
        if "a" in self._open:
            self._link += text

    def rows(self, heading: str) -> dict[str, dict[str, str]]:
        """A table's rows by their first cell, each as {column: text}."""
        header, *rows = self.tables[heading]
        return {row[0]: dict(zip(header, row, strict=True)) for row in rows}


def show(sandbox: SandboxServer, path: str = "/", **query: Any) -> Page:
    """The page, without a key."""
    response = requests.get(f"{sandbox.url}{path}", params=query, timeout=30)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return Page(response.text)


def people(count: int) -> list[dict[str, Any]]:
    return [{"email": f"p{number:03}@example.com"} for number in range(count)]


def test_page_shows_loaded_contacts(sandbox: SandboxServer, load: TargetRunner) -> None:
    sandbox.prepare({"email": "gone@example.com", "lists": {"1": 2}})
    ann = record("ann@example.com", first_name="Ann", tier="Gold", city="Berlin")
    load([schema(tier="string", city="string"), ann], tags=["from warehouse"]).succeeded()

    page = show(sandbox)

    assert page.rows("Lists")["Newsletter"] == {
        "Name": "Newsletter", "Id": "1", "String id": "newsletter",
        "Active": "1", "Unsubscribed": "1", "Bounced": "0", "Unconfirmed": "0",
    }  # fmt: skip
    assert list(page.rows("Contacts")) == ["ann@example.com", "gone@example.com"]
    assert page.rows("Contacts")["ann@example.com"] == {
        "Address": "ann@example.com", "Name": "Ann", "Phone": "", "Lists": "Newsletter (active)",
        "Tags": "from warehouse", "Fields": "Tier Gold City Berlin",
    }  # fmt: skip
    tier = page.rows("Custom fields")["Tier"]
    assert (tier["Tag"], tier["Type"]) == ("%TIER%", "dropdown")
    assert tier["Options"] == "Bronze, Silver, Gold, Platinum"
    assert tier["Contacts with a value"] == "1"
    (batch,) = page.rows("Imports").values()
    shown = (batch["Status"], batch["Contacts"], batch["New"], batch["Refused"])
    assert shown == ("completed", "1", "1", "0")
    assert page.rows("Requests")[f"POST {IMPORT}"]["Status"] == "200"


def test_page_shows_queued_and_applied_imports(sandbox: SandboxServer) -> None:
    sandbox.fault("queue_stuck")
    sandbox.post(IMPORT, {"contacts": people(1)})
    (batch,) = show(sandbox).rows("Imports").values()
    assert batch["Status"] == "queued"

    sandbox.prepare(excluded=("p000@example.com",))
    sandbox.clear_faults()
    sandbox.post(IMPORT, {"contacts": people(3)})
    sandbox.settle()

    latest = next(iter(show(sandbox).rows("Imports").values()))
    assert (latest["Status"], latest["Contacts"]) == ("completed", "3")
    assert (latest["New"], latest["Refused"]) == ("2", "1")


def test_page_has_fifty_contacts(sandbox: SandboxServer) -> None:
    sandbox.prepare(*people(120))
    first = show(sandbox)
    second = show(sandbox, first.links["Next"])
    last = show(sandbox, second.links["Last"])

    pages = [list(page.rows("Contacts")) for page in (first, second, last)]
    assert [len(addresses) for addresses in pages] == [50, 50, 20]
    assert [*pages[0], *pages[1], *pages[2]] == [
        person["email"] for person in reversed(people(120))
    ]
    assert "51 to 100 of 120" in second.text
    assert "Page 2 of 3" in second.text
    assert "Previous" not in first.links
    assert "Next" not in last.links
    assert list(show(sandbox, last.links["Previous"]).rows("Contacts")) == pages[1]
    # What is no page of these leads to the nearest one that is.
    for number, nearest in (
        (99, pages[2]),
        ("9" * 5000, pages[0]),
        (-1, pages[0]),
        ("²", pages[0]),
    ):
        assert list(show(sandbox, page=number).rows("Contacts")) == nearest


def test_search_matches_part_of_address_and_is_kept_across_pages(
    sandbox: SandboxServer,
) -> None:
    sandbox.prepare(*people(60), {"email": "Odd+One@example.org", "first_name": "p0"})

    found = show(sandbox, search=" odd+ONE ")
    assert list(found.rows("Contacts")) == ["Odd+One@example.org"]
    assert "1 to 1 of 1 whose address contains “odd+ONE”" in found.text
    assert ("odd+ONE", "search") in {
        (attrs.get("value"), attrs.get("id")) for tag, attrs in found.tags if tag == "input"
    }

    many = show(sandbox, search="@EXAMPLE.com")
    more = show(sandbox, many.links["Next"])
    assert "51 to 60 of 60 whose address contains “@EXAMPLE.com”" in more.text
    assert len(more.rows("Contacts")) == 10
    assert len(show(sandbox, more.links["Show all"]).rows("Contacts")) == 50

    none = show(sandbox, search="%")
    assert "None of the 61 contacts has an address that contains “%”." in none.text
    assert "Contacts" not in none.tables


def test_page_of_empty_account(sandbox: SandboxServer) -> None:
    sandbox.reset(empty=True)
    page = show(sandbox)
    assert page.tables == {}
    for text in (
        "There are no lists.",
        "There are no contacts yet.",
        "There are no custom fields.",
        "There are no imports yet.",
        "There are no requests yet.",
    ):
        assert text in page.text


def test_values_are_escaped(sandbox: SandboxServer) -> None:
    code = "\"'><script>alert(1)</script>&amp;"
    sandbox.post("/api/3/lists", {"list": {
        "name": code, "stringid": code, "sender_url": "x", "sender_reminder": "x",
    }})  # fmt: skip
    sandbox.post("/api/3/fields", {"field": {"title": code, "type": "text", "perstag": "CODE"}})
    sandbox.prepare({
        "email": "a'b&c@example.com", "first_name": code, "phone": code, "organization": code,
        "lists": {"4": 1}, "tags": [code], "fields": {"CODE": code},
    })  # fmt: skip
    sandbox.get(f"/api/3/<script>/{code}", limit=code)

    page = show(sandbox, search="&C@")
    nothing_found = show(sandbox, search=code)

    (person,) = page.rows("Contacts").values()
    assert person["Address"] == "a'b&c@example.com"
    assert person["Name"] == f"{code} {code}"  # the company below the name
    assert (person["Phone"], person["Tags"]) == (code, code)
    assert person["Lists"] == f"{code} (active)"
    assert person["Fields"] == f"{code} {code}"
    assert page.rows("Lists")[code]["String id"] == code
    assert code in page.rows("Custom fields")
    assert any(f"/<script>/{code}?limit={code}" in request for request in page.rows("Requests"))
    assert f"“{code}”" in nothing_found.text
    for tag, attrs in page.tags + nothing_found.tags:
        assert tag != "script"
        assert not any(name.startswith("on") for name in attrs)


def test_requests_are_shown_without_key_and_address(sandbox: SandboxServer) -> None:
    sandbox.prepare({"email": "ann@example.com"})
    sandbox.get("/api/3/contacts", email="bob@example.com", listid=1, limit=5)
    sandbox.get("/api/3/contacts", search="carol", api_key=sandbox.api_key)
    requests.get(f"{sandbox.url}/api/3/users/me", headers={"Api-Token": "wrong-key"}, timeout=30)
    sandbox.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        sandbox.get("/api/3/lists")

    response = requests.get(sandbox.url, timeout=30)
    page = Page(response.text)

    shown = page.rows("Requests")
    assert list(shown) == [
        "GET /api/3/lists",
        "GET /api/3/users/me",
        "GET /api/3/contacts?search=…&api_key=…",
        "GET /api/3/contacts?email=…&listid=1&limit=5",
    ]
    assert shown["GET /api/3/lists"]["Status"] == "reset"
    assert shown["GET /api/3/lists"]["Note"] == "fault: reset"
    assert shown["GET /api/3/users/me"]["Note"] == "bad_key"
    for secret in (sandbox.api_key, "wrong-key", "bob@", "carol"):
        assert secret not in response.text


def test_page_is_not_logged_and_only_answers_to_loopback_names(
    sandbox: SandboxServer,
) -> None:
    show(sandbox)
    other = requests.get(sandbox.url, headers={"Host": "evil.example"}, timeout=30)

    assert sandbox.requests() == []
    assert sandbox.stats()["requests"] == 0
    assert other.status_code == 403
    assert "Newsletter" not in other.text
    assert requests.post(sandbox.url, timeout=30).status_code == 405


def test_page_loads_nothing_and_is_accessible(
    sandbox: SandboxServer,
) -> None:
    sandbox.post(IMPORT, {"contacts": people(60)})
    sandbox.settle()
    response = requests.get(sandbox.url, timeout=30)
    page = Page(response.text)

    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "no-store" in response.headers["Cache-Control"]
    assert "//" not in re.sub(r"<th scope=\"row\">.*", "", response.text)
    assert "prefers-color-scheme: dark" in response.text

    assert list(page.tables) == HEADINGS
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert ("html", {"lang": "en"}) in page.tags
    for tag, attrs in page.tags:
        if tag == "th":
            assert attrs["scope"] in {"col", "row"}
        if tag == "table":
            assert attrs["aria-labelledby"] in ids
        if tag == "input":
            assert ("label", {"for": attrs["id"]}) in page.tags
        if attrs.get("class") == "wide":  # what scrolls can be reached by the keyboard
            assert attrs["tabindex"] == "0"
            assert attrs["aria-labelledby"] in ids
        if tag == "a" and (attrs["href"] or "").startswith("#"):
            assert (attrs["href"] or "")[1:] in ids


def test_values_are_counted_up_to_10_000_contacts(sandbox: SandboxServer) -> None:
    crowd = [{"email": f"p{number}@example.com"} for number in range(9_999)]
    sandbox.prepare({"email": "ann@example.com", "fields": {"TIER": "Gold", "CITY": ""}}, *crowd)
    fields = show(sandbox).rows("Custom fields")
    counts = [fields[title]["Contacts with a value"] for title in ("Tier", "City")]
    assert counts == ["1", "0"]

    sandbox.prepare({"email": "one@example.com"})
    page = show(sandbox)
    assert page.rows("Custom fields")["Tier"]["Contacts with a value"] == "not counted"
    assert "1 to 50 of 10,001" in page.text


def test_demo_ends_with_command_that_shows_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SandboxServer(str(tmp_path / ".activecampaign-sandbox.db")) as sandbox:
        sandbox.prepare({"email": "ann@example.com"})
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.syspath_prepend(SCRIPTS)
    demo = importlib.import_module("demo")
    monkeypatch.setattr(demo, "PORT", port)

    said = demo.how_to_look()

    command = next(line for line in said.splitlines() if "/activecampaign-sandbox " in line)
    program, *arguments = shlex.split(command)
    assert demo.ROOT / program == demo.TARGET_BIN / "activecampaign-sandbox"
    address = f"http://127.0.0.1:{port}/"
    assert f"  {address}\n" in said
    with subprocess.Popen(
        [sys.executable, "-m", "activecampaign_sandbox", *arguments],
        cwd=tmp_path, stdout=subprocess.PIPE,
    ) as served:  # fmt: skip
        assert served.stdout is not None
        served.stdout.readline()
        assert "ann@example.com" in requests.get(address, timeout=30).text
        served.terminate()
    assert served.returncode == 0
