"""`meltano config test` pipes a stream of its own into the target, which tests instead of loading.

Meltano takes it for a success if the exit code is 0 and no line that is printed has "error" or
"exception" in it. Else it shows the last line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

STREAM = "meltano_test_stream"
MESSAGES = [
    {
        "type": "SCHEMA",
        "stream": STREAM,
        "schema": {
            "type": "object",
            "properties": {
                "id": {"type": "integer"},
                "name": {"type": "string"},
                "created_at": {"type": "string", "format": "date-time"},
            },
        },
        "key_properties": ["id"],
    },
    {
        "type": "RECORD",
        "stream": STREAM,
        "record": {"id": 1, "name": "Meltano Test Record", "created_at": "2025-09-29T00:00:00Z"},
    },
    state({"bookmarks": {STREAM: {"last_record": 1}}}),
    {"type": "ACTIVATE_VERSION", "stream": STREAM, "version": 1},
]


def passes(outcome: Outcome) -> bool:
    """Whether Meltano takes it for a success."""
    assert outcome.states == []
    log = outcome.log.lower()
    return outcome.code == 0 and "error" not in log and "exception" not in log


@pytest.mark.parametrize("settings", [{}, {"dry_run": True}, {"sync_mode": "mirror"}])
def test_it_passes_and_sends_and_makes_nothing(
    load: TargetRunner, sandbox: SandboxServer, settings: dict[str, Any]
) -> None:
    # Names that the test of Meltano would take for a failure.
    item = {
        "name": "Error exceptions",
        "sender_url": "https://example.com",
        "sender_reminder": "You asked for it.",
    }
    assert sandbox.call("POST", "/api/3/lists", json={"list": item}).ok
    settings = settings or {"list_id": "Error exceptions"}

    outcome = load(MESSAGES, **settings)

    assert passes(outcome), outcome.log
    assert "Meltano's test: ready for a run, and nothing was sent" in outcome.log.splitlines()[-1]
    asked = {request["method"] for request in sandbox.requests()[-3:]}
    assert asked == {"GET"}
    assert sandbox.export() == []
    assert [path.name for path in load.folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        (
            {"list_id": "Newsleter"},
            "The check 'list' failed: 'list_id' is 'Newsleter', but the account has no",
        ),
        ({"api_key": "none-of-this-account"}, "did not accept the API key"),
        ({"lst_id": 1}, "'lst_id' is unknown and has no effect."),
        ({"dry_run": "enabled"}, "The setting 'dry_run' can't be read"),
        ({"list_id": None}, "The setting 'list_id' is missing"),
        ({"report_path": "config.json"}, "The setting 'report_path' names config.json"),
    ],
)
def test_it_fails_with_the_cause(load: TargetRunner, settings: dict[str, Any], cause: str) -> None:
    outcome = load(MESSAGES, **settings)
    assert not passes(outcome)
    assert outcome.code == 1
    assert cause in outcome.log.splitlines()[-1]


def test_the_embedded_sandbox_is_ready_and_leaves_no_file(load: TargetRunner) -> None:
    load.config = {"api_key": load.config["api_key"], "sandbox": True, "list_id": "Newsletter"}
    assert passes(load(MESSAGES))
    assert [path.name for path in load.folder.iterdir()] == ["config.json"]


def test_a_load_that_has_begun_goes_on(load: TargetRunner, sandbox: SandboxServer) -> None:
    """Only the first stream can be Meltano's test."""
    late = [schema(STREAM), record("late@example.com", STREAM)]
    load([schema(), *people(2), *late]).succeeded()
    assert len(sandbox.export()) == 3
