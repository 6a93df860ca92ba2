"""The client asks ActiveCampaign, reads its many spellings, and does not give up too soon."""

from __future__ import annotations

import gzip
import logging
import re
import socket
import socketserver
import threading
import time
import traceback
from base64 import b64encode
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from target_activecampaign.client import (
    AcceptedImport,
    AuthenticationError,
    Client,
    ClientClosed,
    ConnectionFailed,
    ContactList,
    Field,
    ImportRateLimited,
    ImportStatus,
    MalformedAnswer,
    Membership,
    PermissionDenied,
    RateLimited,
    RateLimiter,
    Redirected,
    ServerError,
    parse_api_url,
)
from tests.support.api_stub import KEY, ApiStub, Reply, client_of, needs_openssl

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

EMAIL = "Someone.Private@example.com"
QUEUED = {"success": 1, "queued_contacts": 2, "batchId": "b-1", "message": "Contact import queued"}
USER = Reply({"user": {"id": "1", "username": "admin", "localZoneid": "America/Chicago"}})
FULL_MINUTE = Reply(
    {
        "success": 0,
        "message": "Rate limit exceeded.",
        "failureReasons": ["Up to 100 imports may be requested per minute."],
    },
    400,
)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between attempts be as good as none."""
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 1000)


# The address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://acct.api-us1.com", "https://acct.api-us1.com"),
        ("https://acct.api-us1.com/", "https://acct.api-us1.com"),
        ("https://acct.api-us1.com/api/3", "https://acct.api-us1.com"),
        ("https://acct.api-us1.com/api/3/", "https://acct.api-us1.com"),
        ("acct.api-us1.com", "https://acct.api-us1.com"),
        ("acct.api-us1.com/api/3/", "https://acct.api-us1.com"),
        ("HTTPS://Acct.API-us1.com:443", "https://acct.api-us1.com"),
        ("https://acct.api-us1.com:8443/", "https://acct.api-us1.com:8443"),
        ("acct.api-us1.com:8443", "https://acct.api-us1.com:8443"),
        ("http://127.0.0.1:8080/api/3", "http://127.0.0.1:8080"),
        ("http://127.99.0.1", "http://127.99.0.1"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("localhost:9000", "https://localhost:9000"),
        ("https://proxy", "https://proxy"),
    ],
)
def test_parse_api_url_accepts_every_form(text: str, address: str) -> None:
    assert parse_api_url(text) == address
    assert parse_api_url(address) == address


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "is empty"),
        (" https://acct.api-us1.com", "white space"),
        ("https://acct.api-us1.com\n", "white space"),
        ("https://acct.api-us1.com\t", "white space"),
        ("https://äcct.api-us1.com", "characters that no URL has"),
        ("https://user:pass@acct.api-us1.com", "user name"),
        ("https://good.com\\@evil.com", "user name"),
        ("https://acct.api-us1.com?api_key=1", "before any ?"),
        ("https://acct.api-us1.com/api/3?", "before any ?"),
        ("https://acct.api-us1.com/#top", "before any ?"),
        ("https://acct.api-us1.com/admin", "no path"),
        ("https://acct.api-us1.com/api/3/lists", "no path"),
        ("https://acct.api-us1.com//", "no path"),
        ("https://", "no valid host"),
        ("https:///api/3", "no valid host"),
        ("https://-acct.com", "no valid host"),
        ("https://acct..com", "no valid host"),
        ("https://acct.com:0", "no valid host"),
        ("https://acct.com:99999", "no valid host"),
        ("https://acct.com:port", "no valid host"),
        ("https://[::1", "no valid host"),
        ("https://" + "a" * 64 + ".com", "no valid host"),
        ("https://" + "a." * 130 + "com", "no valid host"),
        ("javascript:alert(1)", "no valid host"),
        ("ftp://acct.api-us1.com", "begin with https"),
        ("http://acct.api-us1.com", "read the key"),
        ("http://127.0.0.1.evil.com", "read the key"),
        ("http://localhost.evil.com", "read the key"),
        ("http://128.0.0.1", "read the key"),
        ("http://[::2]", "read the key"),
        ("http://[::ffff:127.0.0.1]", "read the key"),
        ("acct", "only a name"),
        ("0123456789abcdef0123456789abcdef", "only a name"),
    ],
)
def test_parse_api_url_refuses_invalid_addresses_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ValueError, match=re.escape(advice)) as caught:
        parse_api_url(text)
    assert caught.value.__cause__ is None
    for part in re.findall(r"[\w:]{5,}", text):
        if part not in {"https", "https:", "http:", "localhost"}:
            assert part not in str(caught.value)


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=2, max_size=4).map(".".join)


@given(
    HOSTS,
    st.none() | st.integers(1, 65535),
    st.sampled_from(["", "https://", "HTTPS://"]),
    st.sampled_from(["", "/", "/api/3", "/api/3/"]),
)
def test_parse_api_url_accepts_every_host(
    host: str, port: int | None, scheme: str, path: str
) -> None:
    shown_port = "" if port in {None, 443} else f":{port}"
    given_port = "" if port is None else f":{port}"
    assert parse_api_url(f"{scheme}{host}{given_port}{path}") == f"https://{host}{shown_port}"


@given(
    st.text()
    | st.text(alphabet="htps:/@?#.[]:%127acom\\ \t", max_size=40)
    | st.text(alphabet="a.:/[]@%\\1", max_size=20).map("http://".__add__)
)
@example("http://127.0.0.1")
def test_parse_api_url_returns_only_safe_addresses(text: str) -> None:
    try:
        address = parse_api_url(text)
    except ValueError as error:
        assert "API address" in str(error)  # noqa: PT017 - most texts are refused
        return
    assert parse_api_url(address) == address
    assert re.fullmatch(
        r"https://[a-z0-9.:\[\]-]+|http://(localhost|127\.[0-9.]+|\[::1\])(:\d+)?", address
    )


# Asking


@pytest.fixture
def other_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Log-ins for every host in a .netrc, as people have them."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password other\ndefault login me password other")
    monkeypatch.setenv("NETRC", str(netrc))


def assert_nothing_but_the_key_was_sent(stub: ApiStub) -> None:
    assert len(stub.asked) == 2
    for asked in stub.asked:
        assert asked.path == "/api/3/users/me"
        assert asked.headers["Api-Token"] == KEY
        assert asked.headers["User-Agent"] == "target-activecampaign"
        assert not {"Authorization", "Cookie"} & set(asked.headers)


WITH_COOKIE = Reply(USER.body, headers={"Set-Cookie": "PHPSESSID=1"})


@pytest.mark.usefixtures("other_credentials")
def test_request_carries_key_without_netrc_cookies_or_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with ApiStub(WITH_COOKIE) as stub, client_of(stub) as client:
        client.whoami()
        client.whoami()
    assert_nothing_but_the_key_was_sent(stub)


@needs_openssl
@pytest.mark.usefixtures("other_credentials")
def test_request_over_tls_carries_key_without_netrc_or_cookies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with ApiStub(WITH_COOKIE) as stub:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stub.speak_tls(tmp_path)))
        with client_of(stub) as client:
            client.whoami()
            client.whoami()
    assert_nothing_but_the_key_was_sent(stub)


class Proxy:
    """A proxy on loopback that lets everything through. Use as a context manager."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                head = b"".join(iter(self.rfile.readline, b"\r\n")).decode()
                proxy.heads.append(head)
                host, port = head.split()[1].split(":")
                with socket.create_connection((host, int(port))) as there:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=passed_on, args=(there, self.connection))
                    back.start()
                    passed_on(self.connection, there)
                    back.join()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.place = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def passed_on(here: socket.socket, there: socket.socket) -> None:
    """Pass on all that comes, and its end."""
    with suppress(OSError):
        while data := here.recv(65536):
            there.sendall(data)
        there.shutdown(socket.SHUT_WR)


@needs_openssl
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_proxy_gets_its_own_credentials_and_not_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    with ApiStub(USER) as stub, Proxy() as proxy:
        monkeypatch.setenv("CURL_CA_BUNDLE", str(stub.speak_tls(tmp_path)))
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"{scheme}me:p%40ss@{proxy.place}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        with client_of(stub) as client:
            assert client.whoami().id == "1"
            client.whoami()
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{stub.url.rpartition(':')[2]} ")
    assert f"Proxy-Authorization: Basic {b64encode(b'me:p@ss').decode()}" in head
    assert KEY not in head
    assert [asked.headers["Api-Token"] for asked in stub.asked] == [KEY, KEY]
    assert "Proxy-Authorization" not in stub.asked[0].headers


@pytest.mark.parametrize("proxy", ["http://", "gopher://me:secret@proxy", "socks9://me:secret@a"])
def test_unusable_proxy_fails_when_client_is_created(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    with pytest.raises(ConnectionFailed, match=r"the proxy.* can't be used") as caught:
        Client("acct.api-us1.com", KEY)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_repr_hides_key() -> None:
    with Client("acct.api-us1.com", KEY) as client:
        assert repr(client) == "Client('https://acct.api-us1.com')"
        assert client.base_url == "https://acct.api-us1.com"


@pytest.mark.parametrize("key", ["", " ", KEY + "\n", "key with space", "schlüssel"])
def test_key_with_invalid_characters_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        Client("acct.api-us1.com", key)
    assert not key.strip() or key.strip() not in str(caught.value)


def test_redirect_is_not_followed() -> None:
    with ApiStub(USER) as elsewhere:
        reply = Reply(b"", 307, {"Location": f"{elsewhere.url}/api/3/users/me"})
        with ApiStub(reply) as stub, client_of(stub) as client, pytest.raises(Redirected):
            client.whoami()
        assert not elsewhere.asked


def test_whoami() -> None:
    with ApiStub(USER) as stub, client_of(stub) as client:
        user = client.whoami()
    assert (user.id, user.username) == ("1", "admin")
    assert "admin" not in repr(user)


def test_gzip_answer_is_unpacked() -> None:
    reply = Reply(gzip.compress(USER.content), headers={"Content-Encoding": "gzip"})
    with ApiStub(reply) as stub, client_of(stub) as client:
        assert client.whoami().id == "1"
    assert "gzip" in stub.asked[0].headers["Accept-Encoding"]


def test_lists_reads_all_pages() -> None:
    rows = [{"id": str(n), "name": f"List {n}", "stringid": f"list-{n}"} for n in range(230)]
    pages = [
        Reply({"lists": rows[start : start + 100], "meta": {"total": "230"}})
        for start in (0, 100, 200)
    ]
    with ApiStub(*pages) as stub, client_of(stub) as client:
        lists = client.lists()
    assert lists == [ContactList(n, f"List {n}", f"list-{n}") for n in range(230)]
    assert [one.query for one in stub.asked] == [
        {"limit": "100", "offset": "0"},
        {"limit": "100", "offset": "100"},
        {"limit": "100", "offset": "200"},
    ]


def test_pages_may_be_short_and_overlap() -> None:
    def page(*ids: int) -> Reply:
        return Reply({"lists": [{"id": n, "name": None} for n in ids], "meta": {"total": 5}})

    with ApiStub(page(1, 2), page(2, 3), page(4)) as stub, client_of(stub) as client:
        assert [one.id for one in client.lists()] == [1, 2, 3, 4]


@pytest.mark.parametrize(("rows", "meta"), [(100, []), (100, {}), (20, {"total": "1000"})])
def test_paging_stops_when_server_ignores_it(rows: int, meta: Any) -> None:
    body = {"contactLists": [{"list": n, "status": "1"} for n in range(rows)], "meta": meta}
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        assert len(client.memberships(7)) == rows
    assert len(stub.asked) == 2


def test_lists_may_be_empty() -> None:
    body = {"lists": [], "meta": {"total": "0"}}
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        assert client.lists() == []


def test_fields_have_options_in_order() -> None:
    body = {
        "fieldOptions": [
            {"field": "2", "orderid": "2", "value": "gold", "label": "Gold", "id": "8"},
            {"field": "2", "orderid": "1", "value": "silver", "label": "Silver", "id": "9"},
            {"field": 3, "orderid": None, "value": "", "label": "Yes", "id": 10},
        ],
        "fields": [
            {"id": "1", "title": "Born", "type": "date", "perstag": "BORN"},
            {"id": "2", "title": "Tier", "type": "dropdown", "perstag": "TIER"},
            {"id": 3, "title": "Agreed", "type": "checkbox", "perstag": None},
        ],
        "meta": {"total": "3", "selected": None},
    }
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        assert client.fields() == [
            Field(1, "Born", "date", "BORN"),
            Field(2, "Tier", "dropdown", "TIER", ("silver", "gold")),
            Field(3, "Agreed", "checkbox", "", ("Yes",)),
        ]


@pytest.mark.parametrize(
    ("body", "queued"),
    [
        (QUEUED, 2),
        (QUEUED | {"Success": 5, "queued_contacts": "1"}, 1),
        (QUEUED | {"queued_contacts": 2.0}, 2),
        (QUEUED | {"success": 0, "queued_contacts": 0}, 0),
    ],
)
def test_import_is_accepted(body: dict[str, Any], queued: int) -> None:
    reply = Reply(body, headers={"Content-Type": "text/html; charset=UTF-8"})
    with ApiStub(reply) as stub, client_of(stub) as client:
        assert client.import_contacts(b'{"contacts":[]}', 3) == AcceptedImport("b-1", queued)
    (asked,) = stub.asked
    assert (asked.method, asked.path) == ("POST", "/api/3/import/bulk_import")
    assert asked.body == b'{"contacts":[]}'
    assert asked.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "body",
    [
        {"Success": 1, "batchId": "b-1"},
        *(QUEUED | {"queued_contacts": odd} for odd in (None, True, -1, 4, "", "two", 1.5, [2])),
        QUEUED | {"queued_contacts": 10**400},
        QUEUED | {"queued_contacts": "9" * 5000},
        QUEUED | {"Success": 0},
        QUEUED | {"Success": False},
        QUEUED | {"failureReasons": [{"contact": 1, "failureReason": "bad"}]},
    ],
)
def test_accepted_import_with_contradictory_answer_has_no_count(body: dict[str, Any]) -> None:
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        accepted = client.import_contacts(b'{"contacts":[]}', 3)
    assert (accepted.batch_id, accepted.queued) == ("b-1", None)
    assert len(accepted.contradictions) == 1


@pytest.mark.parametrize("odd", [None, "", " ", True, 1.5, ["b"], {"id": "b"}, "b" * 5000, "b\n1"])
@pytest.mark.usefixtures("no_pauses")
def test_invalid_batch_id_is_an_error(odd: Any) -> None:
    reply = Reply(QUEUED | {"batchId": odd})
    with ApiStub(reply) as stub, client_of(stub) as client, pytest.raises(MalformedAnswer):
        client.import_contacts(b"{}", 3)


@pytest.mark.parametrize("odd", ["a b", "a&b=c#d?e/f%20", "ü", 17])
def test_batch_id_with_any_characters_is_sent_unchanged(odd: Any) -> None:
    replies = [Reply(QUEUED | {"batchId": odd}), Reply({"status": "active"})]
    with ApiStub(*replies) as stub, client_of(stub) as client:
        client.import_status(client.import_contacts(b"{}", 2).batch_id)
    assert stub.asked[1].query == {"batchId": str(odd)}


@pytest.mark.parametrize(
    ("days", "count"),
    [
        ([], 0),
        (None, 0),
        ([{"forDate": "2026-11-30", "batches": "3", "contacts": "750"}, {"batches": 4}], 7),
        ({"1": {"batches": "2"}}, 2),
    ],
)
def test_outstanding_imports_are_counted(days: Any, count: int) -> None:
    reply = Reply({"outstanding": days, "recentlyCompleted": [{"batches": "9"}]})
    with ApiStub(reply) as stub, client_of(stub) as client:
        assert client.count_outstanding_imports() == count


@pytest.mark.parametrize("body", [{}, {"outstanding": "none"}, {"outstanding": [{"contacts": 1}]}])
@pytest.mark.usefixtures("no_pauses")
def test_unreadable_queue_is_an_error(body: dict[str, Any]) -> None:
    with ApiStub(Reply(body)) as stub, client_of(stub) as client, pytest.raises(MalformedAnswer):
        client.count_outstanding_imports()


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("has_arrived", [True, False])
def test_import_is_not_repeated_if_it_has_arrived(has_arrived: bool) -> None:
    with ApiStub(Reply(b""), Reply(QUEUED)) as stub, client_of(stub) as client:
        accepted = client.import_contacts(b"{}", 2, lambda: has_arrived)
    assert accepted.batch_id == ("" if has_arrived else "b-1")
    assert len(stub.asked) == (1 if has_arrived else 2)


def test_imports_of_one_contact_have_their_own_limit() -> None:
    budget = RateLimiter(None, 100, 1)
    with ApiStub(Reply(QUEUED)) as stub, client_of(stub, budget=budget) as client:
        client.import_contacts(b"{}", 1)
        client.import_contacts(b"{}", 2)
        assert budget.seconds_until_free("single_import") > 50
        assert budget.seconds_until_free("import") == 0


@pytest.mark.parametrize(
    ("body", "status", "done", "broken"),
    [
        ({"status": False}, "waiting", False, False),
        ({"status": None, "success": None, "failure": None}, "waiting", False, False),
        ({"status": "claimed", "success": [], "failure": []}, "claimed", False, False),
        ({"status": "Active"}, "active", False, False),
        ({"status": "completed"}, "completed", True, False),
        ({"status": "failed"}, "failed", False, True),
        ({"status": "interrupted"}, "interrupted", False, True),
    ],
)
def test_import_status(body: Any, status: str, *, done: bool, broken: bool) -> None:
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        found = client.import_status("b-1")
    assert (found.status, found.is_done, found.is_broken) == (status, done, broken)
    assert stub.asked[0].query == {"batchId": "b-1"}


@pytest.mark.parametrize("failure", [[EMAIL, ""], {"0": EMAIL, "2": ""}])
def test_import_status_names_dropped_contacts_and_repr_hides_them(failure: Any) -> None:
    body = {"Status": "completed", "Success": ["123", 124], "Failure": failure}
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        status = client.import_status("b-1")
    assert status == ImportStatus("completed", (EMAIL, ""), ("123", "124"))
    assert repr(status) == "ImportStatus(status='completed')"


@pytest.mark.parametrize("body", [{}, {"status": True}, {"status": "done", "failure": "x"}])
@pytest.mark.usefixtures("no_pauses")
def test_import_status_of_another_shape_is_an_error(body: Any) -> None:
    with ApiStub(Reply(body)) as stub, client_of(stub) as client, pytest.raises(MalformedAnswer):
        client.import_status("b-1")


def test_find_contact_ignores_other_addresses_in_answer() -> None:
    rows = [
        {"id": "1", "email": "other@example.com"},
        {"id": "112", "email": EMAIL, "bounced_hard": "1", "bounced_soft": None, "deleted": "0"},
    ]
    with ApiStub(Reply({"contacts": rows})) as stub, client_of(stub) as client:
        contact = client.find_contact(EMAIL.lower())
        assert client.find_contact("nobody@example.com") is None
    assert contact is not None
    assert (contact.id, contact.bounced_hard) == (112, 1)
    assert EMAIL not in repr(contact)
    assert stub.asked[0].query == {"email": EMAIL.lower()}


@pytest.mark.parametrize(
    ("asked", "answered", "found"),
    [
        ("stra\u00dfe@example.com", "strasse@example.com", False),
        ("\ufb01n@example.com", "fin@example.com", False),
        ("\u00c9va@example.com", "e\u0301va@example.com", True),
    ],
)
def test_find_contact_compares_addresses_without_case_folding(
    asked: str, answered: str, *, found: bool
) -> None:
    rows = [{"id": "111", "email": answered}]
    with ApiStub(Reply({"contacts": rows})) as stub, client_of(stub) as client:
        assert (client.find_contact(asked) is not None) is found


def test_contact_has_name_phone_and_account() -> None:
    jane = {"id": "111", "email": EMAIL, "phone": "123-456-7890", "firstName": "Jane"}
    jane |= {"lastName": "Doe", "organization": "1", "orgid": "1", "orgname": "ActiveCampaign"}
    nobody = {"id": "112", "email": "other@example.com", "phone": "", "firstName": None}
    nobody |= {"lastName": "", "organization": None, "orgid": "0", "orgname": ""}
    with ApiStub(Reply({"contacts": [jane, nobody]})) as stub, client_of(stub) as client:
        one, two = client.contacts()
    assert (one.first_name, one.last_name, one.phone) == ("Jane", "Doe", "123-456-7890")
    assert one.organization == "ActiveCampaign"
    assert (two.first_name, two.last_name, two.phone, two.organization) == ("", "", "", "")
    for text in ("Jane", "Doe", "7890", "ActiveCampaign"):
        assert text not in repr(one)


def test_memberships() -> None:
    rows = [{"list": "1", "status": 1}, {"list": 2, "status": "2"}, {"list": "3", "status": "91"}]
    with ApiStub(Reply({"contactLists": rows})) as stub, client_of(stub) as client:
        memberships = client.memberships(112)
    assert memberships == [Membership(1, 1), Membership(2, 2), Membership(3, 91)]
    assert [one.is_subscribed for one in memberships] == [True, False, False]
    assert [one.is_opted_out for one in memberships] == [False, True, False]
    assert stub.asked[0].path == "/api/3/contacts/112/contactLists"


# Trying again


@pytest.mark.usefixtures("no_pauses")
def test_temporary_failures_are_retried(caplog: pytest.LogCaptureFixture) -> None:
    replies = [
        Reply(b"", 500),
        Reply(fault="reset"),
        Reply(fault="truncate", body=USER.body),
        Reply(b"", 403),
        USER,
    ]
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert client.whoami().id == "1"
        assert client.request_count == len(stub.asked) == 5
    warnings = [r for r in caplog.records if r.name == "target_activecampaign.client"]
    assert {record.levelno for record in warnings} == {logging.WARNING}
    assert [record.getMessage() for record in warnings] == [
        "GET /users/me: 500 server error, trying again in 0.0 s (attempt 2)",
        "GET /users/me: connection failed, trying again in 0.0 s (attempt 3)",
        "GET /users/me: malformed answer, trying again in 0.0 s (attempt 4)",
        "GET /users/me: 403 authentication, trying again in 0.0 s (attempt 5)",
    ]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("reply", "kind", "attempts"),
    [
        (Reply(b"", 403), AuthenticationError, 4),
        (Reply({"message": "Forbidden"}, 403), PermissionDenied, 4),
        (Reply(b"what?"), MalformedAnswer, 5),
    ],
)
def test_some_errors_have_few_attempts(reply: Reply, kind: type[Exception], attempts: int) -> None:
    with ApiStub(reply) as stub, client_of(stub) as client, pytest.raises(kind):
        client.whoami()
    assert len(stub.asked) == attempts


@pytest.mark.usefixtures("no_pauses")
def test_pauses_grow_and_total_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[float] = []

    def full_jitter(seconds: float) -> float:
        asked_for.append(seconds)
        return seconds / 1000

    monkeypatch.setattr("backoff.full_jitter", full_jitter)
    started = time.monotonic()
    with (
        ApiStub(Reply(b"", 500)) as stub,
        client_of(stub, retry_seconds=0.3) as client,
        pytest.raises(ServerError),
    ):
        client.whoami()
    assert asked_for[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert time.monotonic() - started < 1
    assert len(stub.asked) > 7


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("form", ["seconds", "a date"])
def test_retry_after_is_waited(status: int, form: str) -> None:
    headers = {"Retry-After": "1"}
    if form == "a date":  # by a clock that is wrong
        now = datetime(2021, 3, 23, 11, 4, 47, tzinfo=timezone.utc)
        headers = {
            "Date": format_datetime(now, usegmt=True),
            "Retry-After": format_datetime(now + timedelta(seconds=1), usegmt=True),
        }
    with ApiStub(Reply(b"", status, headers), USER) as stub, client_of(stub) as client:
        client.whoami()
    first, second = (asked.moment for asked in stub.asked)
    assert 1 <= second - first < 1.4


@pytest.mark.parametrize("text", ["soon", "Fri, 99 Foo 2021 11:04:47 GMT", "-5", ""])
@pytest.mark.usefixtures("no_pauses")
def test_invalid_retry_after_is_ignored(text: str) -> None:
    replies = (Reply(b"", 500, {"Retry-After": text}), USER)
    with ApiStub(*replies) as stub, client_of(stub) as client:
        assert client.whoami()


@pytest.mark.parametrize(
    "asked", ["3600", "9" * 5000, "1e9, 3600", "Fri, 31 Dec 9999 23:59:59 GMT"]
)
def test_long_retry_after_is_cut_and_logged(asked: str, caplog: pytest.LogCaptureFixture) -> None:
    budget = RateLimiter(5)
    with (
        ApiStub(Reply(b"", 429, {"Retry-After": asked}), USER) as stub,
        client_of(stub, budget=budget, retry_seconds=0.2, max_retry_after=0.5) as client,
    ):
        client.whoami()
    first, second = (one.moment for one in stub.asked)
    assert 0.5 <= second - first < 1.5
    assert "ActiveCampaign asked to wait" in caplog.text
    assert "'max_retry_after'" in caplog.text


def test_repeated_retry_after_ends_with_an_error() -> None:
    with (
        ApiStub(Reply(b"", 429, {"Retry-After": "3600"})) as stub,
        client_of(stub, retry_seconds=0.5, max_retry_after=0.3) as client,
        pytest.raises(RateLimited) as caught,
    ):
        client.whoami()
    assert caught.value.retry_after == 3600
    assert len(stub.asked) == 3


def test_import_rate_limit_holds_imports_alone() -> None:
    budget = RateLimiter(None, 100, 20, minute=0.4)
    replies = [FULL_MINUTE, Reply(QUEUED)]
    with ApiStub(*replies) as stub, client_of(stub, budget=budget) as client:
        first = threading.Thread(target=client.import_contacts, args=(b"{}", 250))
        first.start()
        while not budget.seconds_until_free("import"):
            time.sleep(0.01)
        assert (
            budget.seconds_until_free("request") == budget.seconds_until_free("single_import") == 0
        )
        client.import_contacts(b"{}", 250)
        first.join()
    refused, *others = [asked.moment for asked in stub.asked]
    assert len(others) == 2
    assert all(0.4 <= other - refused < 1 for other in others)


def test_lasting_import_rate_limit_ends_with_an_error() -> None:
    budget = RateLimiter(None, 100, 20, minute=0.1)
    with (
        ApiStub(FULL_MINUTE) as stub,
        client_of(stub, budget=budget, retry_seconds=0.35) as client,
        pytest.raises(ImportRateLimited) as caught,
    ):
        client.import_contacts(b"{}", 250)
    assert 2 <= len(stub.asked) <= 4, "fewer on a busy machine"
    assert not caught.value.effect_unknown


def test_503_holds_all_requests() -> None:
    budget = RateLimiter(5)
    reply = Reply(b"", 503, {"Retry-After": "200"})
    with ApiStub(reply) as stub, client_of(stub, budget=budget, retry_seconds=0) as client:
        with pytest.raises(ServerError):
            client.whoami()
        assert 100 < budget.seconds_until_free("request") <= 200


@pytest.mark.usefixtures("no_pauses")
def test_effect_unknown_is_kept_over_attempts() -> None:
    budget = RateLimiter(None, 100, 20)
    replies = [Reply(fault="reset"), FULL_MINUTE]
    with (
        ApiStub(*replies) as stub,
        client_of(stub, budget=budget, retry_seconds=5) as client,
        pytest.raises(ImportRateLimited) as caught,
    ):
        client.import_contacts(b"{}", 2)
    assert caught.value.effect_unknown


def test_wrong_address_fails_sooner_than_lost_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backoff.full_jitter", lambda _: 31)
    with ApiStub(USER) as stub:
        early = client_of(stub)
        late = client_of(stub)
        late.whoami()
    with early, pytest.raises(ConnectionFailed):
        early.whoami()
    closing = threading.Timer(0.1, late.close)
    closing.start()
    with pytest.raises(ClientClosed):
        late.whoami()
    closing.join()


def test_budget_learns_from_answers() -> None:
    budget = RateLimiter(5)
    reply = Reply(USER.body, headers={"ratelimit-limit": "5", "ratelimit-remaining": "0"})
    with ApiStub(reply) as stub, client_of(stub, budget=budget) as client:
        client.whoami()
        assert budget.seconds_until_free("request") > 0.5


def test_many_threads_share_a_client() -> None:
    with ApiStub(USER) as stub, client_of(stub, pool_size=4) as client:
        threads = [
            threading.Thread(target=lambda: [client.whoami() for _ in range(25)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.request_count == len(stub.asked) == 200


def test_close_lets_requests_in_flight_end() -> None:
    with ApiStub(Reply(USER.body, delay=0.2)) as stub:
        client = client_of(stub)
        closing = threading.Timer(0.1, client.close)
        closing.start()
        assert client.whoami().id == "1"
        closing.join()
        with pytest.raises(ClientClosed):
            client.whoami()
    assert len(stub.asked) == 1
