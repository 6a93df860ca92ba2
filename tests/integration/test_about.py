"""What the command tells of itself, and that what it claims to be able to do is so."""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from singer_sdk.helpers.capabilities import FLATTENING_CONFIG, STREAM_MAPS_CONFIG

from target_activecampaign.config.definitions import SETTINGS
from tests.integration import test_batch_files, test_refusals, test_stream_maps
from tests.support.fork_server import run_script
from tests.support.target_runner import SCRIPT, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

ALL = [*(setting.name for setting in SETTINGS), *STREAM_MAPS_CONFIG["properties"]]
ALL += FLATTENING_CONFIG["properties"]
"""Every setting: ours, and those of the SDK that mean something here."""
MELTANO_YML = Path(__file__).resolve().parents[2] / "meltano.yml"
STRUCTURED = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"structured": {"()": "singer_sdk.logging.StructuredFormatter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "structured",
            "stream": "ext://sys.stderr",
        }
    },
    "root": {"level": "INFO", "handlers": ["console"]},
}
"""What Meltano has a plugin log by that says that it can log structured."""


def told(*arguments: str, **variables: str) -> str:
    """What the command prints where there is neither a configuration nor an input."""
    with TemporaryDirectory() as folder:
        done = run_script([SCRIPT, *arguments], folder=Path(folder), variables=variables)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert list(Path(folder).iterdir()) == [], "it leaves nothing behind"
    return done.stdout


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    text = told("--about", "--format=json")
    loaded: dict[str, Any] = json.loads(text, object_pairs_hook=without_duplicates)
    return loaded


# Settings


def test_the_settings_are_the_targets_and_those_of_the_sdk_that_mean_something_here(
    about: dict[str, Any],
) -> None:
    assert list(about["settings"]["properties"]) == ALL


def test_a_setting_that_the_sdk_has_too_is_the_targets_own(about: dict[str, Any]) -> None:
    shown = about["settings"]["properties"]
    for setting in SETTINGS:
        assert shown[setting.name] == setting.json_schema()
    assert shown["batch_size_rows"]["maximum"] == 250


def test_what_is_configured_is_not_shown() -> None:
    for form in ("json", "markdown"):
        text = told(
            "--config=ENV",
            "--about",
            f"--format={form}",
            TARGET_ACTIVECAMPAIGN_API_KEY="rumpelstiltskin",
        )
        assert "rumpelstiltskin" not in text


@pytest.mark.parametrize(
    "ignored",
    [
        {"load_method": "overwrite"},
        {"hard_delete": True},
        {"soft_delete": True},
        {"add_record_metadata": True},
        {"default_target_schema": "public"},
        {"process_activate_version_messages": False},
        {"batch_config": {}},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_setting_of_other_targets_has_no_effect_and_a_warning_says_so(
    sandbox: SandboxServer, load: TargetRunner, ignored: dict[str, Any]
) -> None:
    sandbox.prepare({"email": "old@example.com", "lists": {"1": 1}})

    outcome = load([schema(), *people(2)], **ignored).succeeded()

    (name,) = ignored
    warned = outcome.warnings
    assert len(warned) == 1
    assert f"The setting '{name}' is unknown and has no effect." in warned[0]
    assert {one["lists"]["1"] for one in sandbox.export()} == {1}
    assert len(sandbox.export()) == 3, "nobody was deleted"


# Capabilities


def test_a_log_config_makes_every_line_of_the_log_a_json_object(
    load: TargetRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = load.folder / "logging.json"
    path.write_text(json.dumps(STRUCTURED), "utf-8")
    monkeypatch.setenv("SINGER_SDK_LOG_CONFIG", str(path))

    outcome = load([schema(), record("nobody"), *people(3), state(1)], max_rejects=0)

    assert outcome.code == 1
    entries = [json.loads(line) for line in outcome.log.splitlines()]
    assert Counter(entry["level"] for entry in entries)["error"] == 1
    assert entries[-1]["level"] == "error"
    assert "'max_rejects'" in entries[-1]["message"]
    assert {"pid", "ts", "logger_name", "thread_name", "app_name"} <= set(entries[-1])


PROOFS: dict[str, Callable[..., None]] = {
    "about": test_the_settings_are_the_targets_and_those_of_the_sdk_that_mean_something_here,
    "activate-version": test_batch_files.test_version_of_batch_message_applies_to_its_records,
    "batch": test_batch_files.test_lines_and_row_groups_are_split_into_imports_of_250,
    "schema-flattening": (
        test_stream_maps.test_nested_properties_are_mapped_as_far_down_as_flattening_goes
    ),
    "stream-maps": test_stream_maps.test_the_example_makes_two_segments_of_one_stream,
    "structured-logging": test_a_log_config_makes_every_line_of_the_log_a_json_object,
    "validate-records": test_refusals.test_invalid_records_are_rejected_and_the_run_continues,
}
"""By capability: a test that would fail without it."""


def test_the_capabilities_are_those_that_a_test_proves(about: dict[str, Any]) -> None:
    assert about["capabilities"] == sorted(PROOFS)


def test_meltano_is_told_of_the_same_capabilities(about: dict[str, Any]) -> None:
    loader, *_ = yaml.safe_load(MELTANO_YML.read_text("utf-8"))["plugins"]["loaders"]
    assert loader["capabilities"] == about["capabilities"]


# The other options


def test_the_version_is_the_one_that_is_installed() -> None:
    ours, sdk = version("target-activecampaign"), version("singer-sdk")
    assert told("--version") == f"target-activecampaign v{ours}, Meltano SDK v{sdk}\n"


def test_help_names_every_option() -> None:
    text = told("--help")
    for option in (
        "--about",
        "--catalog",
        "--config",
        "--format",
        "--help",
        "--input",
        "--rejects",
        "--test",
        "--version",
    ):
        assert f"  {option} " in text
