"""The sandbox's answers, compared with those of a real account.

Each file in expectations/ was derived from one recorded answer of a real account: its request,
status, headers, and its body with each value replaced by the name of its type. An empty list only
stands for any list.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPECTATIONS = sorted((Path(__file__).parent / "expectations").glob("*.json"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(shapes=2021) as server:
        yield server


@pytest.fixture
def ids(sandbox: SandboxServer) -> dict[str, str]:
    """An account with one thing of each sort, and the ids of all."""
    sandbox.reset(empty=True)

    def made(path: str, key: str, **item: Any) -> str:
        answer = sandbox.post(f"/api/3/{path}", {key: item})
        number: str = answer[key]["id"]
        return number

    site = "https://shop.example"
    list_id = made(
        "lists", "list", name="L", stringid="l", sender_url=site, sender_reminder="Because"
    )
    field = made("fields", "field", title="Choice", type="dropdown")
    option = {"field": field, "label": "One", "value": "One"}
    options = sandbox.post("/api/3/fieldOption/bulk", {"fieldOptions": [option]})
    contact = made("contacts", "contact", email="there@example.com", firstName="T", phone="1")
    tag = made("tags", "tag", tag="Loyal", tagType="contact")
    return {
        "list": list_id,
        "field": field,
        "fieldOption": options["fieldOptions"][0]["id"],
        "contact": contact,
        "tag": tag,
        "new_email": "new@example.com",
    }


def fill_in(value: Any, ids: dict[str, str]) -> Any:
    """The request with its `{placeholders}` replaced."""
    if isinstance(value, dict):
        return {key: fill_in(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, ids) for item in value]
    if isinstance(value, str):
        for key, number in ids.items():
            value = value.replace(f"{{{key}}}", number)
    return value


def prepare(sandbox: SandboxServer, ids: dict[str, str], path: str) -> None:
    """What a recorded request needs to be there beforehand."""
    if "contactTag" in path:
        item = {"contact": ids["contact"], "tag": ids["tag"]}
        ids["contactTag"] = sandbox.post("/api/3/contactTags", {"contactTag": item})["contactTag"][
            "id"
        ]
    if "fieldValue" in path:
        item = {"contact": ids["contact"], "field": ids["field"], "value": "Text field value"}
        ids["fieldValue"] = sandbox.post("/api/3/fieldValues", {"fieldValue": item})["fieldValue"][
            "id"
        ]
    if path == "/api/3/contacts":  # one of the two recorded contacts belongs to a company
        sandbox.prepare({"email": "boss@example.com", "organization": "ActiveCampaign"})


def differences(body: Any, expected: Any, where: str = "body") -> list[str]:
    """Where a body's keys and types aren't the recorded ones."""
    if isinstance(expected, dict):
        if not isinstance(body, dict):
            return [f"{where}: no object"]
        keys = [f"{where}.{key}: only on one side" for key in sorted(set(expected) ^ set(body))]
        inner = [
            difference
            for key in sorted(set(expected) & set(body))
            for difference in differences(body[key], expected[key], f"{where}.{key}")
        ]
        return keys + inner
    if isinstance(expected, list):
        if not isinstance(body, list):
            return [f"{where}: no list"]
        if expected and isinstance(expected[0], dict) and not body:
            return [f"{where}: nothing in the list"]
        return [
            difference
            for item in (body if expected else [])
            for difference in differences(item, expected[0], f"{where}[]")
        ]
    kind = type_name(body)
    return [] if kind in expected.split("|") else [f"{where}: {kind} and not {expected}"]


def type_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string"}
    return names.get(type(value), type(value).__name__)


@pytest.mark.parametrize("file", EXPECTATIONS, ids=lambda file: file.stem)
def test_answers_match_recordings(sandbox: SandboxServer, ids: dict[str, str], file: Path) -> None:
    expected = json.loads(file.read_text())
    if expected["method"] != "POST":
        prepare(sandbox, ids, expected["path"])
    request = fill_in(expected["request"], ids)
    answer = sandbox.call(expected["method"], fill_in(expected["path"], ids), json=request)
    assert answer.status_code == expected["status"], answer.text
    assert answer.headers["Content-Type"] == expected["content_type"]
    for name, value in expected["headers"].items():
        assert answer.headers[name] == value
    body = answer.json() if answer.content else ""
    assert differences(body, expected["body"]) == []


def test_every_recording_has_an_expectation() -> None:
    assert len(EXPECTATIONS) == 40


def test_comparison_finds_a_difference() -> None:
    expected = {"a": "string", "b": [{"c": "number|null"}]}
    assert differences({"a": "x", "b": [{"c": None}, {"c": 1}]}, expected) == []
    assert differences({"a": 1, "b": [{"d": 1}]}, expected) == [
        "body.a: number and not string",
        "body.b[].c: only on one side",
        "body.b[].d: only on one side",
    ]
    assert differences({"a": "x", "b": []}, expected) == ["body.b: nothing in the list"]
