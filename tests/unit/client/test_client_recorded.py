"""The client against recorded answers, played back with the network blocked.

Record anew, against a sandbox started for it or against an account of your own::

    pytest tests/unit/client/test_client_recorded.py --record-mode=rewrite

    TARGET_ACTIVECAMPAIGN_API_URL=https://acct.api-us1.com TARGET_ACTIVECAMPAIGN_API_KEY=... \
        pytest tests/unit/client/test_client_recorded.py --record-mode=rewrite

The account needs a list and a custom field. It gets a tag ``recorded``, and two contacts
``recorded.*@example.com``, who are put on its first list without starting automations.
Recordings hold neither the key nor the account's name, and of texts only those under the names
in `KEPT`; names of lists and fields are among them, so look through the recordings before you
publish them.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from target_activecampaign.client import (
    AcceptedImport,
    AuthenticationError,
    Client,
    ImportRefused,
    ImportStatus,
    RateLimiter,
)
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.vcr, pytest.mark.block_network]

ACCOUNT = "https://account.api-us1.com"
PEOPLE = ("recorded.one@example.com", "recorded.two@example.com")
KEPT = {
    *("id", "title", "type", "perstag", "name", "stringid", "label", "value", "field", "list"),
    *("contact", "status", "total", "orderid", "success", "failure", "message", "batchId"),
    *("failureReason", "localZoneid", "code", "bounced_hard", "bounced_soft", "deleted"),
    *("sdate", "udate", "campaign", "unsubscribeAutomation", "tag"),
}
KEPT_HEADERS = {"content-type", "retry-after", "ratelimit-limit", "ratelimit-remaining"}


@pytest.fixture
def vcr_config() -> dict[str, Any]:
    """What goes into a recording, and what a request is recognised by."""
    return {
        "filter_headers": [("Api-Token", "filtered"), "Cookie", "User-Agent"],
        "before_record_request": with_plain_host,
        "before_record_response": without_private_data,
        "decode_compressed_response": True,
        "match_on": ["method", "path", "query", "body"],
    }


@pytest.fixture(scope="session")
def recorded_account(record_mode: str) -> Iterator[tuple[str, str]]:
    """Address and key of what is asked: a real account or a sandbox only when recording."""
    url = os.environ.get("TARGET_ACTIVECAMPAIGN_API_URL")
    key = os.environ.get("TARGET_ACTIVECAMPAIGN_API_KEY")
    if record_mode == "none":
        yield ACCOUNT, "played-back"
    elif url and key:
        yield url, key
    else:
        with SandboxServer(latency=1, false_status=0.4) as sandbox:
            yield sandbox.url, sandbox.api_key


@pytest.fixture
def client(recorded_account: tuple[str, str], record_mode: str) -> Iterator[Client]:
    budget = RateLimiter(None, None, None) if record_mode == "none" else RateLimiter()
    with Client(*recorded_account, budget=budget) as client:
        yield client


def test_the_key_tells_who_asks(client: Client) -> None:
    assert client.whoami().id.isdecimal()


def test_a_wrong_key_is_not_accepted(
    recorded_account: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backoff.full_jitter", lambda seconds: seconds / 100)
    with Client(recorded_account[0], "wrong-key") as client, pytest.raises(AuthenticationError):
        client.whoami()


def test_lists_have_names(client: Client) -> None:
    lists = client.lists()
    assert lists
    assert all(one.id > 0 and one.name and one.string_id for one in lists)


def test_fields_have_tags_and_some_have_options(client: Client) -> None:
    fields = client.fields()
    assert fields
    assert all(one.id > 0 and one.title and one.tag for one in fields)
    choices = {"dropdown", "radio", "checkbox", "listbox"}
    assert all(bool(one.options) == (one.type in choices) for one in fields)


def test_an_import_is_queued_worked_off_and_found_again(client: Client, record_mode: str) -> None:
    list_id = client.lists()[0].id
    accepted = client.import_contacts(body_of(*PEOPLE, list_id=list_id), len(PEOPLE))
    assert accepted.queued == len(PEOPLE)

    seen = worked_off(client, accepted, record_mode)
    assert seen[0].status == "waiting"
    assert seen[-1].status == "completed"
    assert seen[-1].failed == ()

    contact = client.find_contact(PEOPLE[0].upper())
    assert contact is not None
    assert contact.email == PEOPLE[0]
    (membership,) = (one for one in client.memberships(contact.id) if one.list_id == list_id)
    assert membership.is_subscribed


def test_members_are_counted_and_read_by_their_ids(client: Client, record_mode: str) -> None:
    list_id = client.lists()[0].id
    accepted = client.import_contacts(body_of(*PEOPLE, list_id=list_id), len(PEOPLE))
    worked_off(client, accepted, record_mode)

    contact = client.find_contact(PEOPLE[0])
    assert contact is not None
    client.subscribe(contact.id, list_id)
    assert next(client.contacts(after=contact.id - 1, list_id=list_id, status=1)) == contact
    count = client.count_contacts(list_id=list_id, status=1)
    assert count is not None
    assert count >= len(PEOPLE)
    (membership,) = (one for one in client.memberships(contact.id) if one.list_id == list_id)
    assert membership.is_subscribed
    assert membership.subscribed_at is not None
    assert not membership.has_named_cause


def test_a_tag_is_found_and_taken_from_a_contact(client: Client, record_mode: str) -> None:
    body = body_of(PEOPLE[0], list_id=client.lists()[0].id, tags=["recorded"])
    worked_off(client, client.import_contacts(body, 1), record_mode)
    contact = client.find_contact(PEOPLE[0])
    tag = client.find_tag("Recorded")
    assert contact is not None
    assert tag is not None

    client.remove_contact_tag(client.contact_tags(contact.id)[tag.id])
    assert tag.id not in client.contact_tags(contact.id)


def test_an_import_with_a_contact_at_fault_is_refused_whole(client: Client) -> None:
    body = b'{"contacts":[{"email":"recorded.one@example.com"},{"first_name":"No address"}]}'
    with pytest.raises(ImportRefused) as caught:
        client.import_contacts(body, 2)
    assert len(caught.value.contacts) == 1


def test_nobody_is_found_under_an_unknown_address(client: Client) -> None:
    assert client.find_contact("recorded.nobody@example.com") is None


def test_recordings_hold_no_secret_and_no_stranger() -> None:
    recordings = sorted(Path(__file__).parent.glob("cassettes/test_client_recorded/*.yaml"))
    assert len(recordings) == 9
    for recording in recordings:
        text = recording.read_text(encoding="utf-8")
        assert set(re.findall(r"https?://[^/\s\"'\\]+", text)) == {ACCOUNT}
        assert set(re.findall(r"Api-Token:\n *- *(.+)", text)) == {"filtered"}
        assert "127.0.0.1" not in text
        assert "cookie" not in text.lower()
        assert re.findall(r"@(?!example\.com)", text) == []


def worked_off(client: Client, accepted: AcceptedImport, record_mode: str) -> list[ImportStatus]:
    """Each status of an import until it is the last one."""
    seen: list[ImportStatus] = []
    while not seen or not (seen[-1].is_done or seen[-1].is_broken):
        if record_mode != "none":
            time.sleep(0.25)
        seen.append(client.import_status(accepted.batch_id))
    return seen


def body_of(*emails: str, list_id: int, **values: Any) -> bytes:
    lists = {"subscribe": [{"listid": list_id}]}
    contacts = [{"email": email, **lists, **values} for email in emails]
    return json.dumps({"contacts": contacts, "exclude_automations": True}).encode()


def with_plain_host(request: Any) -> Any:
    """Leave out of a recording which account it was; whatever isn't the API is no part of it."""
    parts = urlsplit(request.uri)
    if not parts.path.startswith("/api/3/"):
        return None
    request.uri = f"{ACCOUNT}{parts.path}{f'?{parts.query}' if parts.query else ''}"
    return request


def without_private_data(response: dict[str, Any]) -> dict[str, Any]:
    """Keep of an answer what the client reads, and the types of the rest."""
    try:
        body = json.dumps(scrubbed(json.loads(response["body"]["string"]))).encode()
    except ValueError:
        body = b"<html></html>" if response["body"]["string"].strip() else b""
    headers = {
        name: values for name, values in response["headers"].items() if name.lower() in KEPT_HEADERS
    }
    return {**response, "headers": headers, "body": {"string": body}}


def scrubbed(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: scrubbed(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [scrubbed(item, name) for item in value]
    if isinstance(value, bool) or not value or value in PEOPLE:
        return value
    if isinstance(value, str) and (name not in KEPT or "@" in value or "://" in value):
        return "scrubbed"
    return value
