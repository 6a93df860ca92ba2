"""Starting: the command by either name, and nothing imported that a run does not need."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.target_runner import lines, people, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

HEAVY = {
    "email_validator": "a pattern tells ordinary addresses",
    "phonenumbers": "no default_country is set",
    "psycopg": "the ledger is a file",
    "pyarrow": "there are no BATCH files",
    "redis": "no rate budget is shared",
    "rich": "there is no terminal",
    "starlette": "the sandbox is another process",
    "sqlalchemy.dialects.postgresql": "the ledger is a file",
}


def test_a_run_as_a_module_imports_only_what_it_needs(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    _, *arguments = load.command()
    data = lines([schema(), *people(3)])
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "target_activecampaign", *arguments],
        input=data,
        capture_output=True,
        cwd=load.folder,
        check=False,
    )
    outcome = load.outcome(done.returncode, done.stdout, done.stderr, data).succeeded()
    assert len(sandbox.export()) == 3
    imported = {line.rpartition("|")[2].strip() for line in outcome.log.splitlines()}
    assert "sqlalchemy" in imported
    ended = outcome.log.index("completed processing")
    assert ended < outcome.log.index("| jinja2"), "only for the page"
    assert {name: why for name, why in HEAVY.items() if name in imported} == {}
