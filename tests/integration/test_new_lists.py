from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import lines, people, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

NAME = "Spring Customers"
POST = {"method": "POST", "path": "/api/3/lists"}


@pytest.fixture
def creating(load: TargetRunner) -> TargetRunner:
    load.config.update(list_id=NAME, create_list=True)
    return load


def named(sandbox: SandboxServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.get("/api/3/lists", limit=100)["lists"]
    return [one for one in found if one["name"] == NAME]


def members(sandbox: SandboxServer, list_id: str) -> int:
    found = sandbox.get("/api/3/contacts", listid=list_id, status=1, limit=1)
    return int(found["meta"]["total"])


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_missing_list_is_created_once_and_shown(
    sandbox: SandboxServer, creating: TargetRunner, mode: str
) -> None:
    first = creating([schema(), *people(3)], sync_mode=mode).succeeded()
    (made,) = named(sandbox)
    assert f"Created list {made['id']} '{NAME}'." in first.log
    assert "could not be shown" not in first.log
    assert [one["path"] for one in sandbox.requests() if one["path"].endswith("/listGroups")]
    assert members(sandbox, made["id"]) == 3
    again = creating([schema(), *people(4)], sync_mode=mode).succeeded()
    assert "Created list" not in again.log
    assert [one["id"] for one in named(sandbox)] == [made["id"]]
    assert members(sandbox, made["id"]) == 4


@pytest.mark.parametrize("takes_effect", [True, False])
def test_lost_answer_makes_no_second_list(
    sandbox: SandboxServer, creating: TargetRunner, takes_effect: bool
) -> None:
    sandbox.fault("reset", match=POST, times=1, takes_effect=takes_effect)
    creating([schema(), *people(2)]).succeeded()
    (made,) = named(sandbox)
    assert members(sandbox, made["id"]) == 2


def test_user_who_may_not_create_lists_is_told(
    sandbox: SandboxServer, creating: TargetRunner
) -> None:
    sandbox.fault("permission", match=POST)
    outcome = creating([schema(), *people(2)])
    assert outcome.code == 1
    assert "the key's user must not create lists" in outcome.log.splitlines()[-1]
    assert not sandbox.export()


def test_list_that_can_not_be_shown_is_used_all_the_same(
    sandbox: SandboxServer, creating: TargetRunner
) -> None:
    sandbox.fault("permission", match={"path": "/api/3/listGroups"})
    outcome = creating([schema(), *people(2)]).succeeded()
    assert "The list could not be shown to the key's user" in outcome.log
    assert members(sandbox, named(sandbox)[0]["id"]) == 2


@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_preview_and_check_create_no_list(
    sandbox: SandboxServer, creating: TargetRunner, mode: str
) -> None:
    outcome = creating([schema(), *people(3)], sync_mode=mode, dry_run=True).succeeded()
    assert f"The list '{NAME}' is missing; a run would create it." in outcome.log
    assert "3 added" in outcome.log
    checked = subprocess.run(
        [*creating.command(sync_mode=mode), "--test"],
        input=lines([schema()]).decode(),
        capture_output=True,
        text=True,
        check=True,
        cwd=creating.folder,
        timeout=60,
    )
    assert f"new: '{NAME}'" in checked.stdout
    assert not named(sandbox)


@pytest.mark.parametrize(
    ("wanted", "create", "text"),
    [
        (77, True, "'list_id' is '77', but the account has no such list"),
        ("77", True, "'list_id' is '77', but the account has no such list"),
        (NAME, False, f"'list_id' is '{NAME}', but the account has no such list"),
    ],
)
def test_list_is_not_created_from_an_id_or_unasked(
    sandbox: SandboxServer, creating: TargetRunner, wanted: object, create: bool, text: str
) -> None:
    outcome = creating([schema(), *people(1)], list_id=wanted, create_list=create)
    assert outcome.code == 1
    assert text in outcome.log.splitlines()[-1]
    assert not named(sandbox)


def test_name_of_two_lists_makes_no_third(sandbox: SandboxServer, creating: TargetRunner) -> None:
    for _ in range(2):
        item = {"name": NAME, "sender_url": "https://example.com", "sender_reminder": "Hello."}
        sandbox.post("/api/3/lists", {"list": item})
    outcome = creating([schema(), *people(1)])
    assert outcome.code == 1
    assert "which is the name of lists" in outcome.log.splitlines()[-1]
    assert len(named(sandbox)) == 2
