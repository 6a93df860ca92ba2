"""Unreadable records and records without a key cost only themselves, wherever they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import run_script
from tests.support.target_runner import SCRIPT, batch, lines, people, record, schema, state

if TYPE_CHECKING:
    import subprocess

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

pytestmark = pytest.mark.quick

WAYS: dict[str, dict[str, Any]] = {
    "direct": {},
    "without validation": {"validate_records": False},
    "stream maps": {"stream_maps": {"profiles": {"upper": "first_name.upper()"}}},
    "filter": {"stream_maps": {"profiles": {"__filter__": "first_name != 'x'"}}},
    "alias": {"stream_maps": {"profiles": {"__alias__": "people"}}},
    "flattening": {"flattening_enabled": True, "flattening_max_depth": 3},
}
DEEP = {"levels": "[" * 1000 + "]" * 1000, "objects": '{"a":' * 100_000 + "1" + "}" * 100_000}
NOTES = {
    **DEEP,
    "brackets in texts": "[" * 1000 + r'"]\"]{"' + "]" * 1000,
    "integer": "9" * 5000,
    "negative": "-" + "9" * 5000,
    "inside": f'{{"a": [{"9" * 5000}]}}',
}
REASONS = {"integer", "negative", "inside"}


def raw(email: str, note: str, *, first: str = "A") -> str:
    return (
        f'{{"type": "RECORD", "stream": "profiles", "record": {{"email": "{email}", '
        f'"first_name": "{first}", "notes": {note}}}}}'
    )


def open_schema(**more: Any) -> dict[str, Any]:
    return {**schema(notes={}), **more}


def rejected(outcome: Outcome) -> list[bytes]:
    """The lines of the reject file, its SCHEMA aside."""
    (path,) = outcome.reject_files
    return path.read_bytes().splitlines()[1:]


@pytest.mark.parametrize("way", WAYS)
def test_unreadable_record_costs_only_itself(
    sandbox: SandboxServer, load: TargetRunner, way: str
) -> None:
    bad = [raw(f"bad{n}@example.com", note) for n, note in enumerate(NOTES.values())]
    between = [
        one
        for n, line in enumerate(bad)
        for one in (line, record(f"good{n}@example.com", first_name="A"))
    ]
    outcome = load(
        [open_schema(), record("a@example.com", first_name="A"), *between, state("end")],
        max_reject_pct=None,
        **WAYS[way],
    ).succeeded()

    good = {"a@example.com", *(f"good{n}@example.com" for n in range(len(bad)))}
    assert set(sandbox.contacts()) == good
    assert outcome.states == ["end"]
    assert outcome.counts == {"read": len(bad) + len(good), "added": len(good), "invalid": len(bad)}
    found = rejected(outcome)
    for n, (name, note) in enumerate(NOTES.items()):
        assert note.encode() in found[n], "the record is there as it came"
        assert b'"_reject_code":"RECORD_INVALID"' in found[n]
        why = "holds a number that is too long" if name in REASONS else "is nested too deeply"
        assert f'"Line {3 + 2 * n} of the input {why} to be read."'.encode() in found[n]


@pytest.mark.parametrize("way", WAYS)
def test_bad_record_of_batch_file_costs_only_itself(
    sandbox: SandboxServer, load: TargetRunner, way: str
) -> None:
    path = load.folder / "batch.jsonl"
    records = [json.dumps(one["record"]) for one in people(300)]
    for place, note in enumerate(NOTES.values(), 100):
        records[place] = f'{{"email": "bad{place}@example.com", "notes": {note}}}'
    path.write_text("\n".join(records) + "\n", "utf-8")
    encoding = {"format": "jsonl", "compression": "none"}
    outcome = load([open_schema(), batch(encoding, path), state("end")], **WAYS[way]).succeeded()

    assert outcome.states == ["end"]
    assert len(sandbox.contacts()) == 300 - len(NOTES)
    assert outcome.counts["invalid"] == len(NOTES)
    first = rejected(outcome)[0]
    assert b'"Line 101 of the batch file file:///' in first


@pytest.mark.parametrize("note", ["1e400", "1E-400000", "1E+99999999999999999999", "-1e400"])
@pytest.mark.parametrize("kind", ["integer", "number", "string", None])
@pytest.mark.parametrize("way", ["direct", "stream maps", "flattening"])
def test_huge_number_costs_at_most_its_record(
    sandbox: SandboxServer, load: TargetRunner, way: str, kind: str | None, note: str
) -> None:
    one = schema(notes=kind or {})
    good = (record(f"{name}@example.com", first_name="A") for name in ("a", "c"))
    messages: list[Any] = [one, next(good), raw("b@example.com", note), next(good)]
    outcome = load([*messages, state("end")], max_reject_pct=None, **WAYS[way]).succeeded()
    assert {"a@example.com", "c@example.com"} <= set(sandbox.contacts())
    assert outcome.states == ["end"]


@pytest.mark.parametrize("way", WAYS)
def test_record_without_key_property_costs_only_itself(
    sandbox: SandboxServer, load: TargetRunner, way: str
) -> None:
    one = {**schema(id="integer"), "key_properties": ["id", "email"]}
    nobody = {"type": "RECORD", "stream": "profiles", "record": {"first_name": "A"}}
    messages = [
        one,
        record("a@example.com", id=1, first_name="A"),
        state(1),
        record("nokey@example.com", first_name="A"),
        nobody,
        record("null@example.com", id=None, first_name="A"),
        record("b@example.com", id=2, first_name="A"),
        state(2),
    ]
    outcome = load(messages, max_reject_pct=None, **WAYS[way]).succeeded()
    assert set(sandbox.contacts()) == {"a@example.com", "b@example.com", "null@example.com"}
    assert outcome.states[-1] == 2
    assert [one["_reject_reason"] for one in outcome.rejects] == [
        "Line 4 of the input lacks the key property 'id'.",
        "Line 5 of the input lacks the key property 'email', 'id'.",
    ]
    assert set(outcome.codes.values()) == {"RECORD_INVALID"}


def test_record_without_key_in_batch_file_is_named_by_file_and_line(load: TargetRunner) -> None:
    path = load.folder / "batch.jsonl"
    path.write_text('{"email": "a@example.com", "id": 1}\n\n{"email": "b@example.com"}\n')
    one = {**schema(id="integer"), "key_properties": ["id"]}
    encoding = {"format": "jsonl", "compression": "none"}
    outcome = load([one, batch(encoding, path)], max_reject_pct=None).succeeded()
    (refused,) = outcome.rejects
    assert refused["_reject_reason"] == (
        f"Line 3 of the batch file {path.as_uri()} lacks the key property 'id'."
    )


def test_invalid_utf_8_costs_only_its_record(sandbox: SandboxServer, load: TargetRunner) -> None:
    bad = lines([raw("bad@example.com", '"Andr~"')]).replace(b"~", b"\xe9")
    data = lines([open_schema(), record("a@example.com")]) + bad
    data += lines([record("b@example.com"), state("end")])
    outcome = load(data, max_reject_pct=None).succeeded()
    assert set(sandbox.contacts()) == {"a@example.com", "b@example.com"}
    (line,) = rejected(outcome)
    assert b'"Andr\xe9"' in line
    assert b"Line 3 of the input is not text in UTF-8." in line


def test_reject_file_of_unreadable_records_can_be_shown_and_replayed(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    first = load([open_schema(), *(raw("a@example.com", note) for note in NOTES.values())])
    (path,) = first.reject_files
    shown = run_script([SCRIPT, "--rejects", path], folder=load.folder)
    assert shown.returncode == 0
    assert f"{len(NOTES)} rejected records in 1 file" in shown.stdout
    again = load(path.read_bytes(), max_reject_pct=None)
    second = max(again.reject_files, key=lambda one: one.stat().st_mtime_ns)
    assert len(second.read_bytes().splitlines()) == 1 + len(NOTES)
    mended = path.read_bytes()
    for note in sorted(NOTES.values(), key=len, reverse=True):
        mended = mended.replace(note.encode(), b"null")
    load(mended).succeeded()
    assert set(sandbox.contacts()) == {"a@example.com"}


def test_mirror_keeps_contact_of_unreadable_record(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    mirror = {"sync_mode": "mirror", "complete_stream": True, "guards": {"max_leave_pct": 100}}
    messages = [open_schema(), *people(10)]
    load(messages, **mirror).succeeded()
    load(messages, **mirror).succeeded()
    messages[3] = raw("person2@example.com", DEEP["levels"])  # type: ignore[call-overload]
    outcome = load(messages[:-1], max_reject_pct=None, **mirror).succeeded()
    assert outcome.report["left"] == 1, "only the one that is no longer in the stream"
    assert outcome.counts["invalid"] == 1


@pytest.mark.parametrize(
    "value", [DEEP["levels"], DEEP["objects"], "9" * 5000, '{"a": "é\\ud800"}']
)
def test_state_is_passed_on_unchanged(load: TargetRunner, value: str) -> None:
    messages: list[Any] = [
        schema(),
        record("a@example.com"),
        f'{{"type": "STATE", "value": {value}}}',
    ]
    done = run_script(load.command(), lines(messages), folder=load.folder)
    assert done.returncode == 0
    assert done.stdout.isascii()
    last = done.stdout.splitlines()[-1]
    assert last.replace(r"\u00e9", "é").replace(" ", "") == value.replace(" ", "")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"type": "RECORD", "stream": "profiles", "record": {"email": "x"', "is not valid JSON"),
        (raw("x", "[" * 1000), "is not valid JSON"),
        (raw("x", "[" * 1000 + "]" * 999), "is not valid JSON"),
        (f'{{"type": "SCHEMA", "stream": {DEEP["levels"]}}}', "is not valid JSON"),
        (raw("x", "1")[:-1] + f', "version": {"9" * 5000}}}', "is not valid JSON"),
        (
            raw("x", "1")[:-1] + ', "version": [1]}',
            "'version' of a RECORD message must be a number",
        ),
    ],
)
def test_line_that_is_not_a_message_ends_the_run(
    sandbox: SandboxServer, load: TargetRunner, line: str, why: str
) -> None:
    outcome = load([open_schema(), record("a@example.com"), state(1), line, state(2)])
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert "Line 4 of the input" in last
    assert why in last
    assert outcome.states == [1]
    assert set(sandbox.contacts()) == {"a@example.com"}


@pytest.mark.parametrize(
    "keys", ["id", [None], [1], [["id"]], {"id": 1}, 5, True, ["id", "ID"], ["gone"], [""]]
)
def test_invalid_key_properties_are_an_error_at_schema_message(
    sandbox: SandboxServer, load: TargetRunner, keys: Any
) -> None:
    one = {**schema(id="integer"), "key_properties": keys}
    outcome = load([one, record("a@example.com", id=1)])
    assert outcome.code == 1
    last = outcome.log.splitlines()[-1]
    assert "Line 1 of the input: The 'key_properties' of stream 'profiles'" in last
    assert "fix the tap" in last.lower()
    assert not sandbox.contacts()


@pytest.mark.parametrize("keys", ["id", [None], 5, ["gone"]])
def test_test_option_finds_invalid_key_properties(load: TargetRunner, keys: Any) -> None:
    one = {**schema(id="integer"), "key_properties": keys}
    done = looked_first(load, [one])
    assert done.returncode == 1
    assert "'key_properties' of stream 'profiles'" in done.stdout


def test_test_option_stops_at_unreadable_record(load: TargetRunner) -> None:
    assert looked_first(load, [schema(), raw("a@example.com", DEEP["levels"])]).returncode == 0


def looked_first(load: TargetRunner, messages: list[Any]) -> subprocess.CompletedProcess[str]:
    return run_script([*load.command(), "--test"], lines(messages), folder=load.folder)


@pytest.mark.parametrize("bookmarks", ["updated", [None], [1], {"a": 1}, 5, [["updated"]]])
def test_invalid_bookmark_properties_are_an_error_at_schema_message(
    load: TargetRunner, bookmarks: Any
) -> None:
    outcome = load([{**schema(), "bookmark_properties": bookmarks}, record("a@example.com")])
    assert outcome.code == 1
    assert "The 'bookmark_properties' of stream 'profiles' must be" in outcome.log.splitlines()[-1]


@pytest.mark.parametrize("keys", [None, [], ["id"], ["id", "email"]])
def test_valid_key_properties_are_accepted(load: TargetRunner, keys: Any) -> None:
    one = {**schema(id="integer"), "key_properties": keys}
    load([one, record("a@example.com", id=1)]).succeeded()
    del one["key_properties"]
    load([one, record("a@example.com", id=1)]).succeeded()


@pytest.mark.parametrize("version", [0, -1, 1.5, "a", "", True, None, 10**30, "\ud800", "\0"])
@pytest.mark.parametrize("mode", ["upsert", "mirror"])
def test_version_of_any_scalar_is_accepted(load: TargetRunner, version: Any, mode: str) -> None:
    one = {**record("a@example.com"), "version": version}
    end = {"type": "ACTIVATE_VERSION", "stream": "profiles", "version": version}
    load([schema(), one, one, end, state("end")], sync_mode=mode).succeeded()
