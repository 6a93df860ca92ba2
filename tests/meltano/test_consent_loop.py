"""The loop of docs/consent-tap.md through Meltano: who opts out is not exported again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from tests.support.guide import block, example
from tests.support.meltano_project import ROOT, MeltanoProject, require_meltano
from tests.support.mirrors import ACTIVE, UNSUBSCRIBED
from tests.support.sample_profiles import one_each, usable_address
from tests.support.sandbox_server import SandboxServer
from tests.support.warehouse import fill_table

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer

PLUGINS = ("extractors/tap-activecampaign-consent", "loaders/target-warehouse-postgres")
LOOP = [line.split()[1:] for line in block("consent-tap.md", "the loop").splitlines()]


@pytest.fixture
def looped(warehouse_project: MeltanoProject) -> MeltanoProject:
    """The project, set up as the guide says."""
    require_meltano(*(ROOT / ".meltano" / one for one in PLUGINS))
    recipe = example("consent-tap.md", "loop plugins")["plugins"]
    (tap,), (target,) = recipe["extractors"], recipe["loaders"]
    warehouse_project.configure(**target["config"])
    path = warehouse_project.folder / "meltano.yml"
    written = yaml.safe_load(path.read_text("utf-8"))
    written["plugins"]["extractors"].append(tap)
    path.write_text(yaml.safe_dump(written), "utf-8")
    return warehouse_project


def go_round(project: MeltanoProject) -> dict[str, Any]:
    """Run the loop once, and return the report of the export."""
    back, export = LOOP
    done = project(*back)
    assert done.code == 0, done.log
    return project.run(*export)


def test_who_opts_out_is_not_exported_again(looped: MeltanoProject, server: PostgresServer) -> None:
    people = one_each()[:40]
    fill_table(server, people)
    addresses = [usable_address(one) or "" for one in people]
    left, bounced, *others = addresses
    done = looped(*LOOP[0])
    assert done.code == 0, done.log
    with psycopg.connect(server.url) as connection:
        connection.execute(block("consent-tap.md", "the segment's view").encode())
    first = looped.run(*LOOP[1])
    assert (first["counts"]["read"], first["counts"]["added"]) == (40, 40)
    with SandboxServer(looped.sandbox_path) as sandbox:
        sandbox.opt_out(left, 1, campaign=5, reason="enough")
        sandbox.prepare({"email": bounced, "bounces": [{"code": 48}]})

    second = go_round(looped)

    assert (second["counts"]["read"], second["counts"]["unchanged"]) == (38, 38)
    with SandboxServer(looped.sandbox_path) as sandbox:
        lists = {email: one["lists"]["1"] for email, one in sandbox.contacts().items()}
    assert lists[left] == UNSUBSCRIBED, "the mirror changes nothing of it"
    assert {lists[one] for one in others} == {ACTIVE}
