"""BATCH messages: their records are loaded like those of RECORD messages."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_sdk.contrib.batch_encoder_jsonl import JSONLinesBatcher
from singer_sdk.contrib.batch_encoder_parquet import ParquetBatcher
from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig, StorageTarget
from singer_sdk.singerlib.json import deserialize_json, serialize_json

from target_activecampaign.singer.batch_files import record_lines
from tests.support.fork_server import ForkedTargetRunner
from tests.support.target_runner import batch, people, record, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.fork_server import ForkServer
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome, TargetRunner

IMPORT = "/api/3/import/bulk_import"

JSONL = {"format": "jsonl", "compression": "none"}
GZIP = {"format": "jsonl", "compression": "gzip"}
PARQUET = {"format": "parquet", "compression": None}
ARROW = {"format": "arrow", "compression": None}


def write_parquet(path: Path, records: Iterable[Mapping[str, Any]], **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(list(records)), path, **options)
    return path


def write_arrow(path: Path, table: pa.Table, rows_per_batch: int | None = None) -> Path:
    with pyarrow.ipc.new_file(path, table.schema) as file:
        file.write_table(table, rows_per_batch)
    return path


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{serialize_json(one)}\n" for one in records))
    return path


def of_the_sdk(
    folder: Path, encoding: dict[str, Any], records: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """BATCH messages as a tap of the Meltano SDK writes them."""
    if encoding["format"] == "arrow":  # which comes with its release 0.55
        chunks = [records[n : n + 200] for n in range(0, len(records), 200)]
        paths = [folder / f"{n}.arrow" for n in range(len(chunks))]
        for path, chunk in zip(paths, chunks, strict=True):
            write_arrow(path, pa.Table.from_pylist(chunk))
        return [batch(encoding, f"file://{path}") for path in paths]
    config = BatchConfig(
        encoding=BaseBatchFileEncoding(**encoding),
        storage=StorageTarget(root=str(folder)),
        batch_size=200,
    )
    kind = ParquetBatcher if encoding["format"] == "parquet" else JSONLinesBatcher
    batches = kind("tap-x", "profiles", config).get_batches(iter(records))
    return [batch(encoding, *manifest) for manifest in batches]


# The same account


def various(count: int) -> Iterator[dict[str, Any]]:
    """Profiles of all types; some come twice, some can't be sent."""
    for n in range(count):
        yield {
            "email": {0: None, 1: "nobody", 2: ""}.get(n % 60, f"person{n % 300}@example.com"),
            "first_name": f"Pérson {n}",
            "tier": "far beyond platinum" if n % 90 == 7 else "Gold",
            "birthday": date(1950 + n % 50, 1 + n % 12, 1 + n % 28) if n % 3 else None,
            "last_seen": datetime(2026, 1, n % 28 + 1, 3, 4, 5, n % 2),  # noqa: DTZ001
            "lifetime_value": Decimal(n * 101) / 100 if n % 5 else None,
            "loyalty_points": n,
            "interests": ["Tea", "Events"][: n % 3],
            "customer_id": {"number": n, "score": float("nan") if n % 4 else n / 8},
            "newsletter_consent": n % 2 == 0,
            "_sdc_batched_at": time(12, n % 60),
        }


VARIOUS = schema(
    tier={"type": ["string", "null"], "maxLength": 10},
    birthday={"type": ["string", "null"], "format": "date"},
    last_seen={"type": ["string", "null"], "format": "date-time"},
    lifetime_value="number",
    loyalty_points="integer",
    interests={"type": ["array", "null"], "items": {"type": "string"}},
    customer_id={
        "type": ["object", "null"],
        "properties": {"number": {"type": "integer"}, "score": {"type": ["number", "null"]}},
    },
    newsletter_consent="boolean",
)
SETTINGS: dict[str, Any] = {
    "flattening_enabled": True,
    "flattening_max_depth": 1,
    "field_mapping": {"customer_id__number": "CUSTOMER_ID", "customer_id__score": "NOTES"},
    "stream_maps": {"profiles": {"first_name": "first_name.upper()", "country": "'DE'"}},
}


@pytest.mark.parametrize(
    "encoding",
    [JSONL, GZIP, PARQUET, {"format": "parquet", "compression": "gzip"}, ARROW],
    ids=["what the SDK says is plain", "gzip", "parquet", "parquet with gzip", "arrow"],
)
def test_batch_files_of_sdk_load_like_record_messages(
    sandbox: SandboxServer, fork_server: ForkServer, tmp_path: Path, encoding: dict[str, Any]
) -> None:
    def loaded(way: str, messages: list[Any]) -> dict[str, Any]:
        sandbox.reset()
        folder = tmp_path / way
        folder.mkdir()
        load = ForkedTargetRunner(folder, sandbox.url, sandbox.api_key, fork_server)
        outcome = load([VARIOUS, *messages, state("end")], **SETTINGS).succeeded()
        assert "@example.com" not in outcome.log
        # Which of two imports is worked off first is a matter of chance.
        chance = {"id": None, "times_imported": None}
        return {
            "account": {who: {**one, **chance} for who, one in sandbox.contacts().items()},
            "rejects": [{**one, "_reject_at": None} for one in outcome.rejects],
            "counts": outcome.counts,
            "states": outcome.states,
        }

    profiles = list(various(450))
    lines = [serialize_json({**record(""), "record": profile}) for profile in profiles]
    expected = loaded("records", lines)
    assert expected["counts"]["invalid"] == len(expected["rejects"]) == 29
    fields = expected["account"]["person8@example.com"]["fields"]
    assert {"NOTES", "CUSTOMER_ID", "COUNTRY"} <= set(fields)

    assert loaded("batch", of_the_sdk(tmp_path, encoding, profiles)) == expected


def test_lines_and_row_groups_are_split_into_imports_of_250(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    records = [message["record"] for message in people(900)]
    lines = write_jsonl(load.folder / "plain.jsonl", records[:400])
    groups = write_parquet(load.folder / "rows.parquet", records[400:], row_group_size=70)

    outcome = load([schema(), batch(JSONL, lines), batch(PARQUET, groups), state("end")])

    assert outcome.succeeded().counts == {"read": 900, "added": 900}
    assert outcome.states == ["end"]
    posts = sandbox.requests(path=IMPORT, method="POST")
    assert sorted(one["contacts"] for one in posts) == [150, 250, 250, 250]
    assert lines.exists()
    assert groups.exists(), "the files are the tap's"


def test_rejects_of_batch_file_can_be_replayed(sandbox: SandboxServer, load: TargetRunner) -> None:
    path = write_parquet(load.folder / "p.parquet", [{"email": "nobody", "first_name": "Ada"}])
    load([schema(), batch(PARQUET, path, version=7), state(1)]).succeeded()
    (rejects,) = (load.folder / "rejects").glob("*.jsonl")
    (message,) = (json.loads(x) for x in rejects.read_text().splitlines() if '"RECORD"' in x)
    assert message["version"] == 7

    corrected = rejects.read_text().replace("nobody", "ada@example.com")
    load([*corrected.splitlines()]).succeeded()

    assert [one["first_name"] for one in sandbox.export()] == ["Ada"]


def test_version_of_batch_message_applies_to_its_records(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    """A mirror lets nobody leave after an ACTIVATE_VERSION that is not about the records."""
    records = [message["record"] for message in people(20)]
    all_of_them = write_parquet(load.folder / "all.parquet", records)
    fewer = write_parquet(load.folder / "fewer.parquet", records[:18])

    def mirror(path: Path, version: int, activated: int) -> int:
        activate = {"type": "ACTIVATE_VERSION", "stream": "profiles", "version": activated}
        messages = [schema(), batch(PARQUET, path, version=version), activate]
        load(messages, sync_mode="mirror").succeeded()
        return sum(one["lists"] == {"1": 1} for one in sandbox.export())

    assert mirror(all_of_them, 1, 1) == 20
    assert mirror(fewer, 2, 1) == 20
    assert mirror(fewer, 3, 3) == 18


# The same values

BERLIN = timezone(timedelta(hours=1))
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001
nullable = {
    "text": st.text(),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(),
    "exact": st.decimals(-(10**9), 10**9, places=4),
    "yes": st.booleans(),
    "day": st.dates(),
    "moment": moments,
    "zoned": moments.map(lambda moment: moment.replace(tzinfo=BERLIN)),
    "hour": st.times(),
    "several": st.lists(st.text() | st.none()),
    "inner": st.fixed_dictionaries({"day": st.dates() | st.none(), "list": st.lists(st.floats())}),
}
COLUMNS = pa.schema(
    {
        "text": pa.string(),
        "whole": pa.int64(),
        "number": pa.float64(),
        "exact": pa.decimal128(20, 4),
        "yes": pa.bool_(),
        "day": pa.date32(),
        "moment": pa.timestamp("us"),
        "zoned": pa.timestamp("us", tz="+01:00"),
        "hour": pa.time64("us"),
        "several": pa.list_(pa.string()),
        "inner": pa.struct({"day": pa.date32(), "list": pa.list_(pa.float64())}),
    }
)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({k: st.none() | v for k, v in nullable.items()}), max_size=5))
def test_values_of_columns_equal_those_of_record_messages(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("batch") / "values"
    table = pa.Table.from_pylist(records, COLUMNS)
    expected = [deserialize_json(serialize_json(one)) for one in records]
    pq.write_table(table, path)
    assert [deserialize_json(line) for *_, line in record_lines(PARQUET, [str(path)])] == expected
    write_arrow(path, table, 2)
    assert [deserialize_json(line) for *_, line in record_lines(ARROW, [str(path)])] == expected


@pytest.mark.parametrize("encoding", [PARQUET, ARROW], ids=["parquet", "arrow"])
def test_types_without_counterpart_are_converted(
    load: TargetRunner, encoding: dict[str, Any]
) -> None:
    noon = 1_767_268_800_123_456_789
    columns = {
        "nanoseconds": pa.array([noon], pa.timestamp("ns")),
        "in_berlin": pa.array([noon], pa.timestamp("ns", tz="Europe/Berlin")),
        "utc": pa.array([noon // 1000], pa.timestamp("us", tz="UTC")),
        "hour": pa.array([1_123_456_789], pa.time64("ns")),
        "took": pa.array([1_500_000_000], pa.duration("ns")),
        "single": pa.array([19.99], pa.float32()),
        "singles": pa.array([[0.1, None]], pa.list_(pa.float32(), 2)),
        "infinite": pa.array([float("inf")]),
        "tier": pa.array(["Gold"]).dictionary_encode(),
        "map": pa.array([[("a", noon)]], pa.map_(pa.string(), pa.timestamp("ns"))),
        "struct": pa.array([{"x": [0.1]}], pa.struct({"x": pa.large_list(pa.float32())})),
        "bytes": pa.array([b"\0\xff"]),
        "nothing": pa.nulls(1),
        "exact": pa.array([Decimal("12345678901234567890.10")]),
    }
    path = load.folder / "types"
    table = pa.table({"email": ["nobody"], **columns})
    (pq.write_table if encoding is PARQUET else lambda t, p: write_arrow(p, t))(table, path)

    outcome = load([schema(), batch(encoding, path), state("end")]).succeeded()

    (refused,) = outcome.rejects
    assert {name: refused[name] for name in columns if name != "exact"} == {
        "nanoseconds": "2026-01-01T12:00:00.123456",
        "in_berlin": "2026-01-01T13:00:00.123456+01:00",
        "utc": "2026-01-01T12:00:00.123456Z",
        "hour": "00:00:01.123456",
        "took": "PT1.5S",
        "single": 19.99,
        "singles": [0.1, None],
        "infinite": None,
        "tier": "Gold",
        "map": {"a": "2026-01-01T12:00:00.123456"},
        "struct": {"x": [0.1]},
        "bytes": "AP8=",
        "nothing": None,
    }
    assert '"exact":12345678901234567890.10,' in outcome.reject_files[0].read_text()


def test_json_in_arrow_becomes_what_it_holds(load: TargetRunner) -> None:
    def texts(*values: str | None) -> pa.Array:
        return pa.array(values, pa.json_(pa.string()))

    inner = texts('{"a": 1.50}')
    columns = {
        "plain": texts('{"a":\n [1, "x"]}'),
        "broken": texts("{"),
        "empty": texts(None),
        "struct": pa.StructArray.from_arrays([inner, pa.array([1])], ["json", "number"]),
        "several": pa.ListArray.from_arrays([0, 1], inner),
        "map": pa.MapArray.from_arrays([0, 1], ["key"], inner),
    }
    path = write_arrow(load.folder / "json", pa.table({"email": ["nobody"], **columns}))
    outcome = load([schema(), batch(ARROW, path)]).succeeded()
    (refused,) = outcome.rejects
    assert {name: refused[name] for name in columns} == {
        "plain": {"a": [1, "x"]},
        "broken": "{",
        "empty": None,
        "struct": {"json": {"a": 1.5}, "number": 1},
        "several": [{"a": 1.5}],
        "map": {"key": {"a": 1.5}},
    }
    assert '"several":[{"a":1.50}]' in outcome.reject_files[0].read_text()


def test_large_row_group_is_not_read_whole(tmp_path: Path) -> None:
    rows = 100_000
    path = tmp_path / "large.parquet"
    table = pa.table({f"c{i}": [f"{i}-{n:0100}" for n in range(rows)] for i in range(3)})
    whole = table.nbytes
    pq.write_table(table, path, row_group_size=rows, use_dictionary=False, compression="none")
    del table

    before, most, read = pa.total_allocated_bytes(), 0, 0
    for _ in record_lines(PARQUET, [str(path)]):
        read += 1
        most = max(most, pa.total_allocated_bytes() - before)

    assert read == rows
    assert most < whole / 5


# Where the files are


@pytest.mark.parametrize("form", ["as the SDK encodes it", "as it is", "a path", "localhost"])
def test_file_is_found_by_any_spelling_of_its_url(
    sandbox: SandboxServer, load: TargetRunner, form: str
) -> None:
    urls = []
    for number, name in enumerate(["with space", "ümlaut", "100%25 #1?", "plain"]):
        path = load.folder / name / "a=1.jsonl"
        path.parent.mkdir()
        write_jsonl(path, [{"email": f"person{number}@example.com"}])
        urls += {
            "as the SDK encodes it": [StorageTarget(root=str(path.parent)).get_url(path.name)],
            "as it is": [f"file://{path}", f"file:{path}"],
            "a path": [str(path), os.path.relpath(path, load.folder)],
            "localhost": [path.as_uri().replace("file://", "FILE://localhost")],
        }[form]

    outcome = load([schema(), batch(JSONL, *urls), state("end")]).succeeded()

    assert outcome.counts["read"] == len(urls)
    assert len(sandbox.export()) == 4


# Files that can't be read


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("bad")
    records = [message["record"] for message in people(300, notes="n" * 100)]
    parquet = write_parquet(folder / "good.parquet", records, compression="none").read_bytes()
    lines = write_jsonl(folder / "good.jsonl", records).read_bytes()
    arrow = write_arrow(folder / "good.arrow", pa.Table.from_pylist(records)).read_bytes()
    packed = gzip.compress(lines)
    for name, content in {
        "empty": b"",
        "cut.parquet": parquet[:-9],
        "cut.gz": packed[:-9],
        "damaged.gz": packed[:900] + b"x" * 90 + packed[990:],
        "cut.jsonl": lines[:-9],
        "cut.arrow": arrow[:-9],
        "list.jsonl": b"[1]\n",
    }.items():
        (folder / name).write_bytes(content)
    until = pa.array([date(2026, 1, 1), 4_000_000], pa.date32())
    pq.write_table(pa.table({"email": ["a@example.com"] * 2, "until": until}), folder / "far")
    cut_elsewhere = (
        b'{"email": "a@example.com"},{"email": "x@example.com", "t": [1\n'
        b'{"email": "b@example.com"}]}\n'
    )
    (folder / "cut-elsewhere.jsonl").write_bytes(cut_elsewhere)
    return str(folder)


@pytest.mark.parametrize(
    ("encoding", "url", "says"),
    [
        (JSONL, "file://{}/none/a.jsonl", "none/a.jsonl is missing"),
        (PARQUET, "{}/none.parquet", "none.parquet is missing"),
        (JSONL, "file://{}", "it is a folder"),
        (PARQUET, "file://{}", "it is a folder"),
        (PARQUET, "{}/cut.parquet", "cut.parquet can't be read: it is not Parquet, or was cut off"),
        (PARQUET, "{}/empty", "it is not Parquet, or was cut off"),
        (PARQUET, "{}/good.jsonl", "it is not Parquet, or was cut off"),
        (PARQUET, "{}/far", "a value in the column 'until' can't be written as JSON"),
        (JSONL, "{}/good.parquet", "it is Parquet, but its message calls it 'jsonl'"),
        (JSONL, "{}/good.arrow", "it is Arrow, but its message calls it 'jsonl'"),
        (ARROW, "{}/cut.arrow", "it is not an Arrow file, or was cut off"),
        (ARROW, "{}/empty", "it is not an Arrow file, or was cut off"),
        (ARROW, "{}/good.parquet", "it is not an Arrow file, or was cut off"),
        (JSONL, "{}/cut.jsonl", "Line 300 of the batch file"),
        (JSONL, "{}/list.jsonl", "Line 1 of the batch file"),
        (JSONL, "{}/cut-elsewhere.jsonl", "Line 1 of the batch file"),
        (GZIP, "{}/cut.gz", "cut.gz can't be read after record 300: it was cut off or damaged"),
        (GZIP, "{}/damaged.gz", "damaged"),
        (GZIP, "{}/empty", "calls it 'gzip', but it is not, or it was cut off"),
        (GZIP, "{}/good.jsonl", "calls it 'gzip', but it is not, or it was cut off"),
        ({"format": "avro"}, "{}/empty", "plain or 'gzip', 'parquet' and 'arrow'"),
        ({}, "{}/empty", "format 'None'"),
        ({"format": "jsonl", "compression": "zstd"}, "{}/empty", "compression 'zstd'"),
        (JSONL, "s3://key:secret@bucket/a.jsonl?secret", "at s3://, which is not on this machine"),
        (JSONL, "file://server/a.jsonl", "not on this machine"),
        (JSONL, None, "that is not a URL"),
        (JSONL, "", "that is not a URL"),
    ],
)
def test_unreadable_file_ends_run_after_earlier_records_are_delivered(
    sandbox: SandboxServer,
    load: TargetRunner,
    bad_files: str,
    *,
    encoding: dict[str, str],
    url: str | None,
    says: str,
) -> None:
    good = write_parquet(load.folder / "good.parquet", [{"email": "good@example.com"}])
    messages = [schema(), record("first@example.com"), state(1), batch(PARQUET, good), state(2)]
    bad = batch(encoding, url and url.format(bad_files))

    outcome = load([*messages, bad, state(3), record("late@example.com")])

    assert outcome.code == 1
    assert says in outcome.log.splitlines()[-1]
    assert "secret" not in outcome.log
    assert "@example.com" not in outcome.log
    assert outcome.states == [2]
    assert {"first@example.com", "good@example.com"} <= set(sandbox.contacts())
    assert "late@example.com" not in sandbox.contacts()
    assert outcome.report["counts"]["unsettled"] == 0
    assert not Path(bad_files, "none").exists()


def test_rows_before_damage_arrive_and_others_with_repaired_file(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    records = [message["record"] for message in people(5000)]
    path = write_parquet(load.folder / "p.parquet", records, row_group_size=2000)
    good = path.read_bytes()
    place = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    path.write_bytes(good[:place] + b"\xff" * 30 + good[place + 30 :])
    messages = [schema(), state(1), batch(PARQUET, path), state(2)]

    outcome = load(messages)

    assert outcome.code == 1
    assert "p.parquet can't be read after record 4,000: it was cut off or damaged." in outcome.log
    assert outcome.states == [1]
    assert outcome.counts == {"read": 4000, "added": 4000}

    path.write_bytes(good)
    outcome = load(messages).succeeded()

    assert outcome.states == [2]
    assert outcome.counts == {"read": 5000, "unchanged": 4000, "added": 1000}
    assert len(sandbox.export()) == 5000


def test_without_pyarrow_the_error_names_the_extra_and_jsonl_works(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    absent = load.folder / "absent"
    absent.mkdir()
    (absent / "pyarrow.py").write_text("raise ImportError\n")
    lines = write_jsonl(load.folder / "a.jsonl", [{"email": "a@example.com"}])
    rows = write_parquet(load.folder / "b.parquet", [{"email": "b@example.com"}])
    messages = [schema(), batch(JSONL, lines), state(1), batch(PARQUET, rows), state(2)]
    path = os.pathsep.join([str(absent), os.environ.get("PYTHONPATH", "")])

    data = "".join(f"{json.dumps(message)}\n" for message in messages).encode()
    done = subprocess.run(
        load.command(),
        input=data,
        capture_output=True,
        cwd=load.folder,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    outcome: Outcome = load.outcome(done.returncode, done.stdout, done.stderr, data)

    assert outcome.code == 1
    assert "target-activecampaign[parquet]" in outcome.log.splitlines()[-1]
    assert outcome.states == [1]
    assert [one["email"] for one in sandbox.export()] == ["a@example.com"]
