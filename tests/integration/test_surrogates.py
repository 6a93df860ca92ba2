"""Lone surrogates, which UTF-8 can't encode, cost at most the record that has one."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.api_stub import ApiStub, Reply, client_of
from tests.support.target_runner import SCRIPT, batch, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

HALF = "\ud800"
ANYTHING: Any = {"type": ["array", "object", "string", "null"]}
GOOD = {"a@example.com", "b@example.com"}


def around(*records: Any, stream: str = "profiles") -> list[Any]:
    good = [record(address, stream) for address in sorted(GOOD)]
    return [good[0], *records, good[1], state("end")]


VALUES: list[tuple[dict[str, Any], str]] = [
    ({"first_name": HALF}, "VALUE_INVALID"),
    ({"first_name": f"A{HALF}"}, "VALUE_INVALID"),
    ({"phone": HALF}, "VALUE_INVALID"),
    ({"tags": [f"x{HALF}"]}, "VALUE_INVALID"),
    ({"tags": f"x,{HALF}"}, "VALUE_INVALID"),
    ({"notes": f"A{HALF}"}, "VALUE_INVALID"),
    ({"notes": {f"A{HALF}": [HALF]}}, "VALUE_INVALID"),
    ({"notes": [HALF]}, "VALUE_INVALID"),
    ({"interests": [f"A{HALF}"]}, "VALUE_INVALID"),
    ({"tier": f"A{HALF}"}, "VALUE_INVALID"),
    ({"birthday": f"A{HALF}"}, "VALUE_INVALID"),
    ({"loyalty_points": f"1{HALF}"}, "VALUE_INVALID"),
    ({"email": f"bad{HALF}@example.com"}, "EMAIL_INVALID"),
    ({"email": f"bad@exam{HALF}ple.com"}, "EMAIL_INVALID"),
]


@pytest.mark.parametrize(
    ("way", "values", "code"),
    [
        *(("direct", *one) for one in VALUES),
        *((way, *one) for way in ("batch", "stream maps", "flattening") for one in VALUES[1::4]),
    ],
)
def test_lone_surrogate_in_value_refuses_the_record(
    sandbox: SandboxServer, load: TargetRunner, way: str, values: dict[str, Any], code: str
) -> None:
    ways: dict[str, dict[str, Any]] = {
        "stream maps": {"stream_maps": {"profiles": {"more": "'1'"}}},
        "flattening": {"flattening_enabled": True, "flattening_max_depth": 2},
    }
    names = ("phone", "tags", "notes", "interests", "tier", "birthday", "loyalty_points")
    bad = record("bad@example.com")
    bad["record"].update(values)
    messages = around(bad)
    if way == "batch":
        path = load.folder / "batch.jsonl"
        path.write_text("\n".join(json.dumps(one["record"]) for one in messages[:-1]), "utf-8")
        messages = [batch({"format": "jsonl", "compression": "none"}, path), state("end")]
    outcome = load(
        [schema("profiles", **dict.fromkeys(names, ANYTHING)), *messages],
        field_mapping={"tags": "tags"},
        on_unknown_option="add",
        max_reject_pct=None,
        **ways.get(way, {}),
    ).succeeded()
    assert set(sandbox.contacts()) == GOOD
    assert outcome.states == ["end"]
    assert outcome.report["refused"][code]["records"] == 1
    assert outcome.counts["invalid"] == 1


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"first_name": HALF}, "first_name"),
        ({"phone": f"1{HALF}", "notes": "good"}, "phone"),
        ({"first_name": "good", "notes": HALF}, "the custom field id:10"),
        ({"first_name": "good", "tags": ["good", HALF]}, "tags"),
    ],
)
def test_refusal_names_destination_of_lone_surrogate(
    load: TargetRunner, values: dict[str, Any], place: str
) -> None:
    types = schema("profiles", phone="string", notes="string", tags=ANYTHING)
    outcome = load(
        [types, *around(record("bad@example.com", **values))],
        field_mapping={"tags": "tags"},
        max_reject_pct=None,
    ).succeeded()
    (refused,) = outcome.rejects
    assert f"The value for {place} has a lone surrogate" in refused["_reject_reason"]


def test_lone_surrogate_in_property_name_is_accepted(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    stream, name = f"people{HALF}", f"nick{HALF}"
    one = schema(stream, **{name: "string", f"other{HALF}": "string"})
    values = {name: "Nick", f"other{HALF}": "x"}
    with ApiStub(Reply(b"ok"), Reply(b"ok")) as hook:
        for _ in range(2):
            outcome = load(
                [one, *around(record("bad", stream, **values), stream=stream)],
                field_mapping={name: "first_name"},
                connection_name=f"shop{HALF}",
                on_complete_webhook=hook.url,
                sync_mode="mirror",
                complete_stream=True,
                max_reject_pct=None,
            ).succeeded()
    assert set(sandbox.contacts()) == GOOD
    assert outcome.states == ["end"]
    assert outcome.counts == {"read": 3, "unchanged": 2, "invalid": 1}
    assert outcome.report["connection"] == f"shop{HALF}"
    assert name in outcome.report["streams"][stream]["mapping"]
    assert [json.loads(one.body)["connection"] for one in hook.asked] == [r"shop\ud800"] * 2
    pages = [path.read_text("utf-8") for path in (outcome.folder / "reports").glob("*.html")]
    assert len(pages) == 3
    assert all(r"shop\ud800" in page for page in pages)
    assert "can't be written" not in outcome.log
    assert "could not be notified" not in outcome.log
    assert "again" not in outcome.log.splitlines()[-1]
    shown = subprocess.run(
        [SCRIPT, "--rejects", *outcome.reject_files], capture_output=True, check=True
    )
    assert "EMAIL_INVALID" in shown.stdout.decode("utf-8")
    ledger = subprocess.run(
        [f"{SCRIPT}-ledger", "show"], capture_output=True, cwd=load.folder, check=True
    )
    assert r"people\ud800" in ledger.stdout.decode("utf-8")


@pytest.mark.parametrize("option", ["--test", "--dry-run"])
def test_test_and_preview_show_names_escaped(load: TargetRunner, option: str) -> None:
    messages = [schema(f"people{HALF}", **{f"nick{HALF}": "string"})]
    done = subprocess.run(
        [*load.command(), option],
        input="".join(json.dumps(one) + "\n" for one in messages).encode(),
        capture_output=True,
        cwd=load.folder,
        check=True,
    )
    assert rb"nick\ud800" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["report_path", "rejects_path"])
@pytest.mark.parametrize("path", ["out-\ud800", "out-\0"])
def test_folder_with_invalid_name_is_an_error_reported_to_webhook(
    sandbox: SandboxServer, load: TargetRunner, name: str, path: str
) -> None:
    with ApiStub(Reply(b"ok")) as hook:
        outcome = load([schema(), *around()], on_complete_webhook=hook.url, **{name: path})
    assert outcome.code == 1
    assert f"The setting '{name}' names" in outcome.log.splitlines()[-1]
    assert json.loads(hook.asked[0].body)["outcome"] == "failed"
    assert not sandbox.contacts()


@pytest.mark.parametrize("name", ["ledger_url", "rate_budget_url", "sandbox_path"])
@pytest.mark.parametrize("text", ["x-\ud800/y.db", "x-\0.db"])
def test_path_with_invalid_name_is_an_error(
    sandbox: SandboxServer, load: TargetRunner, name: str, text: str
) -> None:
    value = text if name == "sandbox_path" else f"sqlite:///{text}"
    outcome = load([schema(), *around()], **{name: value})
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert f"The setting '{name}' contains U+0000 or half of a surrogate pair" in last
    assert not sandbox.contacts()


@pytest.mark.parametrize("key", ["__alias__", "__filter__", "last_name"])
def test_lone_surrogate_in_stream_map_is_an_error(load: TargetRunner, key: str) -> None:
    maps = {"profiles": {key: f"'A{HALF}'"}}
    outcome = load([schema(), *around()], stream_maps=maps)
    assert outcome.code == 1
    assert "A stream map of stream 'profiles' can't be parsed" in outcome.log.splitlines()[-1]


def test_field_is_created_once_for_name_with_lone_surrogate(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    size: Any = {"enum": ["S", f"M{HALF}", None]}
    one = schema("profiles", **{f"nick{HALF}": "string", "size": size})
    values = {f"nick{HALF}": "Nick", "size": "S"}
    for _ in range(2):
        load(
            [one, record("a@example.com", **values), record("b@example.com", size=f"M{HALF}")],
            unmapped_properties="create",
            max_reject_pct=None,
        ).succeeded()
    titles = [one["title"] for one in sandbox.get("/api/3/fields", limit=100)["fields"]]
    assert titles.count("Nick\ufffd") == 1
    assert titles.count("Size") == 1


def test_tag_of_settings_gets_replacement_character(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    load([schema(), *around()], tags=[f"VIP{HALF}"]).succeeded()
    assert [one["tags"] for one in sandbox.export()] == [["VIP\ufffd"]] * 2


def test_list_with_lone_surrogate_in_name_is_read() -> None:
    lists = [{"id": "1", "name": f"News{HALF}", "stringid": "news"}]
    body = json.dumps({"lists": lists, "meta": {"total": "1"}}).encode()
    with ApiStub(Reply(body)) as stub, client_of(stub) as client:
        (found,) = client.lists()
    assert found.name == "News?"


def test_sandbox_refuses_lone_surrogate_and_continues(sandbox: SandboxServer) -> None:
    headers = {"Api-Token": sandbox.api_key, "Content-Type": "application/json"}
    bodies = {
        "/api/3/contact/sync": {"contact": {"email": "a@example.com", "firstName": HALF}},
        "/api/3/tags": {"tag": {"tag": HALF, "tagType": "contact"}},
        "/api/3/fields": {"field": {"title": HALF, "type": "text"}},
        "/_sandbox/contacts": {"contacts": [{"email": "a@example.com", "first_name": HALF}]},
        "/_sandbox/faults": {"kind": "slow", "match": {"contains": HALF}},
    }
    for path, body in bodies.items():
        answer = requests.post(sandbox.url + path, json=body, headers=headers, timeout=10)
        assert 400 <= answer.status_code < 500, path
    for query in ("?search=%ED%A0%80", "?search=%FF", "?list=%ED%A0%80"):
        assert requests.get(f"{sandbox.url}/{query}", timeout=10).status_code == 200
