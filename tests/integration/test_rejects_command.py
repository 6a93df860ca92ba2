"""`--rejects` shows why records were refused and what to do, and shows no one's data."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_activecampaign.model.codes import CODES
from tests.support.fork_server import run_script
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

ROOT = Path(__file__).resolve().parents[2]
VALUE = "Rumpelstiltskin"


def rejects(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the command shows, in a folder without a configuration in it."""
    return run_script([SCRIPT, "--rejects", *arguments], folder=folder)


def test_causes_are_counted_by_stream_and_code_with_what_to_do(load: TargetRunner) -> None:
    outcome = load(
        [
            schema(birthday="string", age="integer"),
            record("nobody"),
            record("no one"),
            record("Rumpelstiltskin@nowhere@example.com"),
            record("a@example.com", birthday=VALUE),
            record("b@example.com", age=VALUE),
            record(None),
            *people(2),
            state(1),
        ],
        field_mapping={"birthday": "Birthday"},
    ).succeeded()
    (file,) = outcome.reject_files
    name = file.relative_to(load.folder)

    done = rejects(load.folder, name)

    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    assert shown[:8] == [
        "6 rejected records in 1 file.",
        "",
        "stream    code            records  retried",
        "profiles  EMAIL_INVALID         3  no",
        "profiles  EMAIL_MISSING         1  no",
        "profiles  RECORD_INVALID        1  no",
        "profiles  VALUE_INVALID         1  no",
        "",
    ]
    for code in ("EMAIL_INVALID", "EMAIL_MISSING", "RECORD_INVALID", "VALUE_INVALID"):
        place = shown.index(code)
        assert shown[place + 1] == f"  {CODES[code].meaning}"
        assert shown[place + 2] == f"  What to do: {CODES[code].advice}"
    assert any("1 record: Property 'birthday' does not fit" in line for line in shown)
    assert shown[-1] == f"  cat {name} | target-activecampaign --config config.json"
    for value in (VALUE, "nobody", "no one", "example.com"):
        assert value not in done.stdout
    assert {path.name for path in load.folder.iterdir()} == {
        "config.json", ".activecampaign-ledger.db", "rejects", "reports",
    }  # fmt: skip


def test_what_the_command_says_at_its_end_sends_the_corrected_file_in(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load([schema(), record("ada(at)example.com"), state(1)]).succeeded()
    (file,) = outcome.reject_files
    file.write_text(file.read_text("utf-8").replace("(at)", "@"), "utf-8")
    way = rejects(load.folder, file.relative_to(load.folder)).stdout.splitlines()[-1]

    path = f"{Path(SCRIPT).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", way],
        capture_output=True,
        cwd=load.folder,
        env={**os.environ, "PATH": path},
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode()
    assert [one["email"] for one in sandbox.export()] == ["ada@example.com"]


def test_the_files_of_several_runs_are_added_up_as_json_for_programs(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare({"email": "gone@example.com", "lists": {"1": 2}})
    messages = [schema(), record("gone@example.com"), record("nobody"), state(1)]
    load(messages).succeeded()
    outcome = load(messages).succeeded()
    assert outcome.counts == {"read": 2, "invalid": 1, "rejected": 1}, "looked at anew"
    files = [str(path) for path in outcome.reject_files]

    done = rejects(load.folder, *files, "--format", "json")

    told = json.loads(done.stdout)
    assert told["files"] == files
    assert told["records"] == 4
    assert [(one["stream"], one["code"], one["records"]) for one in told["refused"]] == [
        ("profiles", "EMAIL_INVALID", 2),
        ("profiles", "OPTED_OUT", 2),
    ]
    assert told["refused"][1]["reasons"] == [
        {"reason": "The person has unsubscribed from list 1.", "records": 2}
    ]
    assert told["codes"]["OPTED_OUT"] == {
        "meaning": CODES["OPTED_OUT"].meaning,
        "do": CODES["OPTED_OUT"].advice,
        "resent": False,
        "retried": False,
    }
    assert "gone" not in done.stdout


def test_what_someone_else_said_or_named_stays_in_the_file(tmp_path: Path) -> None:
    refused = [
        ("REFUSED_BY_IMPORT", f"invalid: {VALUE}"),
        ("RECORD_INVALID", f"'notes.{VALUE}' breaks the schema's rule 'type'."),
        ("OF_A_NEWER_VERSION", VALUE),
        ("EMAIL_INVALID", "Written by hand: ada@example.com \x1b[2J"),
    ]
    file = tmp_path / "profiles.jsonl"
    file.write_text("".join(line(code, reason) for code, reason in refused), "utf-8")

    for form in ((), ("--format=json",)):
        done = rejects(tmp_path, file, *form)
        assert done.returncode == 0
        assert all(code in done.stdout for code, _ in refused)
        assert "Written by hand: [address] ?[2J" in done.stdout
        for value in (VALUE, "ada@", "\x1b"):
            assert value not in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file or directory."),
        ("", "is not a reject file: it has no records."),
        (f"email,name\n{VALUE},x\n", "is not a reject file: line 1 is not JSON"),
        (
            json.dumps(record(VALUE)),
            "is not a reject file: line 1 is a record without a valid '_reject_code'",
        ),
        (json.dumps([VALUE]), "is not a reject file: line 1 is not a Singer message"),
        (json.dumps(schema()), "is not a reject file: it has no records."),
        (
            '{"type": "RECORD", "stream": "x"}',
            "is not a reject file: line 1 is a record without a valid '_reject_code'",
        ),
    ],
)
def test_a_file_that_is_missing_or_something_else_is_an_error(
    tmp_path: Path, content: str | None, said: str
) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text(line("EMAIL_MISSING", "x"), "utf-8")
    if content is not None:
        bad.write_text(content, "utf-8")

    done = rejects(tmp_path, good, bad)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"target-activecampaign: {bad} {said}")
    assert len(done.stderr.splitlines()) == 1
    assert VALUE not in done.stderr


def test_a_file_that_was_cut_off_names_the_line_and_a_value_of_any_kind_is_no_matter(
    tmp_path: Path,
) -> None:
    whole = line("VALUE_INVALID", "x", half="\ud800", huge=10**400, deep=[[[{"a": None}]]])
    file = tmp_path / "profiles.jsonl"

    file.write_text(whole * 2, "utf-8")
    assert "2 rejected records" in rejects(tmp_path, file).stdout

    file.write_text(whole + whole[:-20], "utf-8")
    assert "line 2 is not JSON" in rejects(tmp_path, file).stderr


def test_a_file_without_the_option_is_no_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, "rejects.jsonl"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "Files can only be given to --rejects and --input." in done.stderr
    assert rejects(tmp_path, "x.jsonl", "--format=markdown").returncode == 2


def test_every_code_is_documented_with_meaning_advice_and_whether_it_was_retried() -> None:
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    table = text.partition("<!-- codes -->")[2].partition("<!-- /codes -->")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines() if row]
    documented = {row[0].strip("`"): row[1:] for row in rows[2:]}
    assert documented == {
        name: [
            code.kind,
            "yes" if code.retry else "no",
            code.meaning,
            code.advice,
        ]
        for name, code in CODES.items()
    }
    assert all(code.meaning.endswith(".") and code.advice.endswith(".") for code in CODES.values())


def test_every_code_that_the_target_gives_has_an_entry() -> None:
    """Codes begin with a word that another code begins with, or stand in a `Refusal`."""
    modules = (ROOT / "target_activecampaign").rglob("*.py")
    others = {"client", "ledger"}  # whose errors and tables have names of the same kind
    source = "".join(
        path.read_text("utf-8")
        for path in modules
        if path.name != "codes.py" and path.parent.name not in others
    )
    words = "|".join({name.partition("_")[0] for name in CODES})
    given = set(re.findall(rf'"((?:{words})(?:_[A-Z]+)*)"', source))
    given |= set(re.findall(r'Refusal\(\s*"(\w+)"', source))
    assert given - {"RECORD", "ACCOUNT"} == set(CODES), "a message, and a name in --help"


def line(code: str, reason: str, **values: Any) -> str:
    """A line of a reject file."""
    added = {"_reject_code": code, "_reject_reason": reason, "_reject_at": "2026-01-01T00:00:00Z"}
    return json.dumps(record("a@example.com", **values, **added)) + "\n"
