"""The questions of docs/outcomes.md, asked of a real PostgreSQL that runs have written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.guide import block, example
from tests.support.ledgers import database, empty_database
from tests.support.outcome_rows import LATEST, OUTCOMES, RUNS
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.postgres_server import PostgresServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick


def test_questions_have_answers(
    sandbox: SandboxServer, load: TargetRunner, postgres: PostgresServer
) -> None:
    settings = example("outcomes.md", "settings")
    url = empty_database(postgres)
    assert settings["outcomes_url"].partition("://")[0] == url.partition("://")[0]
    settings["outcomes_url"] = url
    sandbox.prepare({"email": "eve@example.com", "lists": {"1": 2}})
    head = {**schema(id="string", marketing_consent="boolean"), "key_properties": ["id"]}
    messages = [
        head,
        record("ada@example.com", id="1", marketing_consent=True),
        record("bob@example.com", id="2", marketing_consent=False),
        record("nobody", id="42", marketing_consent=True),
        record("eve@example.com", id="4", marketing_consent=True),
    ]
    first = load(messages, **settings).succeeded().report["run_id"]
    messages[1] = record("ada@example.com", id="1", marketing_consent=True, first_name="Ada")
    messages.insert(2, record("new@example.com", id="5", marketing_consent=True))
    second = load(messages, **settings).succeeded().report["run_id"]

    def ask(question: str) -> list[dict[str, Any]]:
        with database(url) as db:
            db.exec_driver_sql(f"SET search_path TO {settings['outcomes_schema']}")
            return [dict(row._mapping) for row in db.exec_driver_sql(question)]

    (why,) = ask(block("outcomes.md", "why not"))
    assert (why["outcome"], why["code"], why["run"]) == ("invalid", "EMAIL_INVALID", second)
    assert why["reason"]
    (day,) = ask(block("outcomes.md", "refusal rate"))
    assert (day["refused"], day["records"]) == (4, 9)
    assert float(day["percent"]) == 44.44
    (held,) = ask(block("outcomes.md", "held back"))
    assert (held["source_key"], held["code"]) == ('{"id":"2"}', "NO_CONSENT")
    slowest = ask(block("outcomes.md", "slowest"))
    assert {one["run"]: one["contacts"] for one in slowest} == {first: 1, second: 2}
    assert {one["batch_id"] for one in slowest} <= {one["batch"] for one in sandbox.imports()}
    earlier, later = ask(block("outcomes.md", "drift"))
    assert (earlier["run"], earlier["more_read"]) == (first, None)
    assert (later["run"], later["more_read"], later["more_changed"]) == (second, 1, 1)
    assert later["more_refused"] == 0
    _sources_are_as_described(url, settings["outcomes_schema"])


def _sources_are_as_described(url: str, name: str) -> None:
    """The tables, columns and tests of the sources for dbt hold of what was written."""
    (source,) = example("outcomes.md", "dbt sources")["sources"]
    assert source["schema"] == name
    assert {table["name"] for table in source["tables"]} == {RUNS, OUTCOMES, LATEST}
    with database(url) as db:
        inspector = sa.inspect(db)
        for table in source["tables"]:
            found = inspector.get_columns(table["name"], schema=name)
            columns = {column["name"]: column for column in found}
            loaded = table.get("loaded_at_field", source["loaded_at_field"])
            assert isinstance(columns[loaded]["type"], sa.DateTime)
            for column in table["columns"]:
                of = sa.table(table["name"], sa.column(column["name"]), schema=name)
                values = list(db.execute(sa.select(of.c[column["name"]])).scalars())
                assert values
                for one in column["tests"]:
                    _holds(db, one, values, name)


def _holds(db: sa.Connection, test: Any, values: list[Any], name: str) -> None:
    if test == "unique":
        assert len(set(values)) == len(values)
    elif test == "not_null":
        assert None not in values
    elif "accepted_values" in test:
        assert set(values) <= set(test["accepted_values"]["values"])
    else:
        wanted = test["relationships"]
        assert RUNS in wanted["to"]
        runs = sa.table(RUNS, sa.column(wanted["field"]), schema=name)
        assert set(values) <= set(db.execute(sa.select(runs.c[wanted["field"]])).scalars())
