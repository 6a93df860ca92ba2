"""The dbt example, from raw files to lists: docs/examples/dbt."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.support.guide import block
from tests.support.meltano_project import MELTANO, ROOT
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.postgres_server import PostgresServer

EXAMPLE = ROOT / "docs" / "examples" / "dbt"
RUN = block("dbt.md", "run").split()


class Example:
    """A copy of the example, with a database of its own."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLE, folder)
        project = folder / "meltano.yml"
        text = project.read_text("utf-8")
        assert text.count("-e ../../..[sandbox]") == 1
        project.write_text(text.replace("-e ../../..", f"-e {ROOT}"), "utf-8")
        url = make_url(server.url)
        self.url = server.url
        self.variables: dict[str, str] = {
            "WAREHOUSE_URL": server.url,
            "DBT_HOST": url.host or "",
            "DBT_PORT": str(url.port),
            "DBT_USER": url.username or "",
            "DBT_PASSWORD": url.password or "",
            "DBT_DBNAME": url.database or "",
        }

    def __call__(self, *command: str, fails: bool = False) -> str:
        done = subprocess.run(
            [MELTANO, *command],
            cwd=self.folder,
            env={**os.environ, **self.variables},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        log: str = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, log[-5000:]
        return log

    def members(self) -> dict[str, set[str]]:
        """Return the names of the active contacts of each list."""
        with SandboxServer(str(self.folder / ".activecampaign-sandbox.db")) as sandbox:
            lists = {one["id"]: one["name"] for one in sandbox.get("/api/3/lists")["lists"]}
            found: dict[str, set[str]] = {name: set() for name in lists.values()}
            for contact in sandbox.export():
                for number, status in contact["lists"].items():
                    if status == 1:
                        found[lists[number]].add(contact["first_name"])
        return found


@pytest.fixture
def example(tmp_path: Path, server: PostgresServer) -> Example:
    if not MELTANO.is_file():
        pytest.fail("Meltano is not installed: `python3 scripts/test.py` installs it.")
    made = Example(tmp_path / "dbt", server)
    made("install")
    return made


def test_raw_data_become_lists_that_follow_them(example: Example) -> None:
    assert RUN[0] == "meltano"
    example(*RUN[1:])
    members = example.members()
    assert members["VIP customers"] == {"Ada", "Grace"}
    assert members["Lapsed customers"] == {"Grace", "Alan", "Barbara"}

    with (example.folder / "raw" / "orders.csv").open("a") as orders:
        orders.write("7,3,2026-11-01,800.00\n")
    example(*RUN[1:])
    members = example.members()
    assert members["VIP customers"] == {"Ada", "Grace", "Alan"}
    assert members["Lapsed customers"] == {"Grace", "Barbara"}


def test_dbt_test_that_fails_keeps_the_lists_as_they_are(example: Example) -> None:
    example(*RUN[1:])
    before = example.members()
    model = example.folder / "models" / "marts" / "vip_customers.sql"
    model.write_text(
        "select * from {{ ref('unified_profiles') }}"
        " union all select * from {{ ref('unified_profiles') }}"
    )
    log = example(*RUN[1:], fails=True)
    assert "unique_vip_customers_email" in log
    assert example.members() == before


def test_shell_form_does_the_same(example: Example) -> None:
    (example.folder / "run.sh").write_text(f"set -euo pipefail\n{block('dbt.md', 'shell')}\n")
    done = subprocess.run(
        ["bash", "run.sh"],
        cwd=example.folder,
        env={
            **os.environ,
            **example.variables,
            "PATH": f"{MELTANO.parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert example.members()["VIP customers"] == {"Ada", "Grace"}
    with psycopg.connect(example.url) as connection:
        found = connection.execute("SELECT count(*) FROM segments.unified_profiles").fetchone()
    assert found == (5,)
