"""`--test` sees whether everything is ready for a run: it sends, makes and shows nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.target_runner import lines, people, schema, state

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.fork_server import ForkedTargetRunner
    from tests.support.sandbox_server import SandboxServer

REST = ["rate budget", "host", "key", "list", "fields", "ledger", "rejects", "reports", "mapping"]


class Shown:
    """What `--test` has shown: exit code, and result and finding by check."""

    def __init__(self, code: int, out: str) -> None:
        self.code = code
        self.out = out

    @property
    def checks(self) -> dict[str, tuple[str, str]]:
        """Result and finding by check, of the JSON that was asked for."""
        found = json.loads(self.out)
        assert found["ok"] == (self.code == 0)
        return {one["name"]: (one["result"], one["found"]) for one in found["checks"]}

    def results(self) -> dict[str, str]:
        """The results that are not ok, by check."""
        return {name: result for name, (result, _) in self.checks.items() if result != "ok"}


def checked(
    load: ForkedTargetRunner,
    *arguments: str,
    messages: Iterable[Mapping[str, Any]] = (),
    form: str | None = "json",
    **changes: Any,
) -> Shown:
    """Run the command, and see that it prints neither the key nor a traceback."""
    command = [*load.command(**changes), "--test", *arguments]
    command += ["--format", form] if form else []
    data = lines(messages)
    paths = [load.folder.parent / f"{load.folder.name}-{name}" for name in ("in", "out", "err")]
    paths[0].write_bytes(data)
    with paths[0].open("rb") as stdin, paths[1].open("wb") as out, paths[2].open("wb") as err:
        process = load.server.fork(command, stdin, out, err, folder=load.folder)
        code = load.server.wait(process)
    shown, log = (path.read_text("utf-8") for path in paths[1:])
    load.searched(shown + log, data)
    return Shown(code, shown)


def test_all_is_well_and_nothing_was_written(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    done = checked(
        load,
        messages=[schema(tier="string", shoe_size="number"), *people(3), state(1)],
        form=None,
    )

    assert done.code == 0
    assert [line.split("  ")[0] for line in done.out.splitlines()] == [
        "settings", *REST[:-1], "mapping of profiles",
    ]  # fmt: skip
    columns = {line.index(" ok ") for line in done.out.splitlines()}
    assert len(columns) == 1
    found = {line.split("  ")[0]: line.partition(" ok  ")[2] for line in done.out.splitlines()}
    assert found["settings"] == "Valid; the consent to send profile data is given."
    assert found["host"] == f"{sandbox.url} responds, on this machine without TLS."
    assert found["key"].startswith("Accepted; it belongs to user 1 '")
    assert found["list"] == "1 'Newsletter'."
    assert found["fields"] == "The account has 11 custom fields."
    assert found["ledger"].startswith("Does not exist yet. The first run creates it at ")
    assert found["rejects"] == "rejects can be created."
    assert found["mapping of profiles"] == (
        "To list 1 'Newsletter': email -> email, first_name -> first_name, tier -> %TIER%. "
        "Unmapped: shoe_size."
    )
    assert asked(sandbox) == [
        "GET /api/3/users/me", "GET /api/3/lists", "GET /api/3/fields",
    ]  # fmt: skip
    assert [path.name for path in load.folder.iterdir()] == ["config.json"]


def test_a_wrong_key_leaves_what_needs_it_unchecked(load: ForkedTargetRunner) -> None:
    done = checked(load, api_key="no-key-of-this-account")

    assert done.code == 1
    assert done.results() == {
        "key": "failed",
        "list": "not checked",
        "fields": "not checked",
        "mapping": "not checked",
    }
    assert "did not accept the API key" in done.checks["key"][1]
    assert "Settings > Developer" in done.checks["key"][1]
    assert done.checks["list"][1] == "Needs 'key' to be ok."
    assert "no-key-of-this-account" not in done.out


def test_a_list_that_is_not_there_is_told_with_the_nearest(load: ForkedTargetRunner) -> None:
    done = checked(load, messages=[schema()], list_id="Newsleter")

    assert done.code == 1
    assert done.results() == {"list": "failed", "mapping": "not checked"}
    assert "Did you mean 'Newsletter'?" in done.checks["list"][1]


def test_a_destination_that_is_not_there_fails_the_mapping_of_its_stream(
    load: ForkedTargetRunner,
) -> None:
    messages = [schema(tier="string"), schema("others"), *people(1)]

    done = checked(
        load, messages=messages, streams={"profiles": {"field_mapping": {"tier": "TEIR"}}}
    )

    assert done.code == 1
    assert done.results() == {"mapping of profiles": "failed"}
    found = done.checks["mapping of profiles"][1]
    assert "'tier'" in found
    assert "Did you mean 'TIER'?" in found


def test_properties_with_consent_are_listed(load: ForkedTargetRunner) -> None:
    done = checked(load, messages=[schema(MarketingConsent="boolean", unsubscribed="boolean")])

    found = done.checks["mapping of profiles"][1]
    assert "Consent: 'MarketingConsent', 'unsubscribed'." in found
    assert "Unmapped" not in found


def test_without_a_stream_the_mapping_is_not_checked_and_nothing_fails(
    load: ForkedTargetRunner,
) -> None:
    done = checked(load)

    assert done.code == 0
    assert done.results() == {"mapping": "not checked"}
    assert "--catalog" in done.checks["mapping"][1]


def test_a_stream_that_has_settings_and_was_not_seen_is_told(load: ForkedTargetRunner) -> None:
    streams = {"profiles": {"tags": ["a"]}, "profile": {"tags": ["b"]}}

    done = checked(load, messages=[schema()], streams=streams)

    assert done.code == 0
    assert done.results() == {"mapping of profile": "not checked"}
    # A run would send its people.
    misspelt = {"profile": {"role": "suppression"}}
    done = checked(load, messages=[schema()], streams=misspelt)
    assert done.results() == {"mapping of profile": "failed"}
    found = done.checks["mapping of profile"][1]
    assert "--catalog" in found
    assert found.endswith("correct the name. Did you mean 'profiles'?")


def test_settings_that_are_not_known_fail_and_all_else_is_checked(load: ForkedTargetRunner) -> None:
    done = checked(load, lst_id=3, streams={"profiles": {"tgas": []}})

    assert done.code == 1
    assert done.results() == {"settings": "failed", "mapping": "not checked"}
    found = done.checks["settings"][1]
    assert "'lst_id' is unknown and has no effect. Did you mean 'list_id'?" in found
    assert "'streams.profiles.tgas' is unknown" in found


def test_a_catalog_shows_the_selected_streams_and_the_fields_that_would_be_made(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    path = load.folder / "catalog.json"
    catalog = {"streams": [entry("profiles"), entry("orders", selected=False)]}
    path.write_text(json.dumps(catalog), "utf-8-sig")

    done = checked(load, "--catalog", "catalog.json", unmapped_properties="create")

    assert done.code == 0
    assert list(done.checks) == ["settings", *REST[:-1], "mapping of profiles"]
    assert done.checks["mapping of profiles"][1] == (
        "To list 1 'Newsletter': email -> email, "
        "shoe_size -> a new field 'Shoe size' of type number."
    )
    assert {request.split()[0] for request in asked(sandbox)} == {"GET"}


def test_a_catalog_that_is_none_fails_the_mapping(load: ForkedTargetRunner) -> None:
    (load.folder / "catalog.json").write_text("[]")

    done = checked(load, "--catalog", "catalog.json")

    assert done.results() == {"mapping": "failed"}
    assert done.checks["mapping"][1] == "The file catalog.json is not the catalog of a Singer tap."


def test_an_incremental_stream_is_no_mirror(load: ForkedTargetRunner) -> None:
    message = {**schema(), "bookmark_properties": ["updated_at"]}

    done = checked(load, messages=[message], sync_mode="mirror")

    assert done.results() == {"mapping of profiles": "failed"}
    assert "it is incremental" in done.checks["mapping of profiles"][1]


def test_a_property_that_only_a_setting_has_fails_the_mapping(load: ForkedTargetRunner) -> None:
    for settings, text in (
        ({"member_when": {"statu": 1}}, "no property 'statu', which 'member_when' names."),
        ({"person_key": True}, "'person_key' is true, but the stream has no key properties."),
    ):
        done = checked(load, messages=[schema(status="string")], **settings)
        assert done.results() == {"mapping of profiles": "failed"}
        assert text in done.checks["mapping of profiles"][1]
    keyed = {**schema(id="string"), "key_properties": ["id"]}
    done = checked(load, messages=[keyed], person_key=True, member_when={"ID": 1})
    assert done.results() == {}


def test_stream_maps_come_before_the_mapping(load: ForkedTargetRunner) -> None:
    maps = {"profiles": {"tier": "first_name", "first_name": None}}

    done = checked(load, messages=[schema()], stream_maps=maps)

    assert done.code == 0
    assert "email -> email, tier -> %TIER%." in done.checks["mapping of profiles"][1]


def test_places_that_can_not_be_written_fail_at_once(load: ForkedTargetRunner) -> None:
    # Below a file nobody can make a folder, not even an administrator.
    done = checked(
        load,
        ledger_url="sqlite:///config.json/ledger.db",
        rejects_path="config.json/rejects",
        report_path="config.json",
    )

    assert done.code == 1
    assert done.results() == {
        "ledger": "failed",
        "rejects": "failed",
        "reports": "failed",
        "mapping": "not checked",
    }
    assert "'ledger_url'" in done.checks["ledger"][1]
    assert "'rejects_path'" in done.checks["rejects"][1]


def test_a_ledger_that_is_there_stays_as_it_is_and_tells_what_has_changed(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    messages = [schema(tier="string"), *people(2, tier="Gold"), state(1)]
    load(messages).succeeded()
    field = next(one for one in sandbox.get("/api/3/fields")["fields"] if one["title"] == "Tier")
    path = f"/api/3/fields/{field['id']}"
    assert sandbox.call("PUT", path, json={"field": {"title": "Rank"}}).ok
    ledger = load.folder / ".activecampaign-ledger.db"
    before = ledger.read_bytes()

    done = checked(load, messages=messages)

    assert done.code == 0
    assert "'Tier' (%TIER%) is now called 'Rank'" in done.checks["mapping of profiles"][1]
    assert done.checks["ledger"][1].endswith("can be read and written.")
    assert ledger.read_bytes() == before


def test_a_terminal_gets_a_table_that_fits_it(load: ForkedTargetRunner, tmp_path: Path) -> None:
    reader, writer = os.openpty()
    with (
        os.fdopen(writer, "wb", buffering=0) as terminal,
        Path(os.devnull).open("rb") as nothing,
        (tmp_path / "log").open("wb") as log,
    ):
        process = load.server.fork(
            [*load.command(), "--test"],
            nothing,
            terminal,
            log,
            folder=load.folder,
            environment={**os.environ, "COLUMNS": "70"},
        )
        assert load.server.wait(process) == 0
        shown = os.read(reader, 1 << 16).decode().splitlines()
    os.close(reader)

    assert shown[0].split() == ["check", "result", "finding"]
    assert 60 < max(map(len, shown)) <= 70
    assert [line.split("  ")[0] for line in shown[1:] if line[0] != " "] == ["settings", *REST]


def test_a_host_that_is_not_known_leaves_the_key_unchecked(load: ForkedTargetRunner) -> None:
    done = checked(load, api_url="https://no-such-account.invalid")

    assert done.code == 1
    assert done.results() == {
        "host": "failed",
        "key": "not checked",
        "list": "not checked",
        "fields": "not checked",
        "mapping": "not checked",
    }
    assert "Check the API address" in done.checks["host"][1]


def test_an_account_that_is_blocked_is_there_all_the_same(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    sandbox.fault("payment", match={"path": "/api/3/users/me"})

    done = checked(load)

    assert (done.checks["host"][0], done.checks["key"][0]) == ("ok", "failed")
    assert "payment issue" in done.checks["key"][1]


def test_a_rate_budget_out_of_reach_sends_nothing(
    load: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    done = checked(load, rate_budget_url="config.json/budget.db")

    assert done.results()["rate budget"] == "failed"
    assert done.results()["host"] == "not checked"
    assert asked(sandbox) == []


def test_invalid_settings_are_told_all_at_once(load: ForkedTargetRunner) -> None:
    done = checked(load, data_privacy_consent=None, list_id=None)

    assert done.code == 1
    assert done.results() == {"settings": "failed", **dict.fromkeys(REST, "not checked")}
    for name in ("data_privacy_consent", "list_id"):
        assert f"'{name}'" in done.checks["settings"][1]


def test_the_embedded_sandbox_leaves_no_file(load: ForkedTargetRunner) -> None:
    done = checked(load, sandbox=True, api_url=None, api_key=load.config["api_key"])

    assert done.code == 0
    assert [path.name for path in load.folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize("arguments", [["--test", "--format", "markdown"], ["--catalog", "c.json"]])
def test_options_that_mean_nothing_are_refused(
    load: ForkedTargetRunner, arguments: list[str], tmp_path: Path
) -> None:
    shown = tmp_path / "shown"
    with shown.open("w+b") as out:
        command = [*load.command(), *arguments]
        process = load.server.fork(command, out, out, out, folder=load.folder)
        assert load.server.wait(process) == 2
    assert "Usage" in shown.read_text("utf-8")


def asked(sandbox: SandboxServer) -> list[str]:
    """The requests that came to the account, in their order."""
    return [f"{one['method']} {one['path']}" for one in sandbox.requests()]


def entry(stream: str, *, selected: bool = True) -> dict[str, Any]:
    """A stream of a catalog, with a property that is not selected."""
    kinds = {"email": "string", "first_name": "string", "shoe_size": "number"}
    return {
        "tap_stream_id": stream,
        "stream": stream,
        "schema": {
            "type": "object",
            "properties": {name: {"type": [kind, "null"]} for name, kind in kinds.items()},
        },
        "metadata": [
            {"breadcrumb": [], "metadata": {"selected": selected}},
            {"breadcrumb": ["properties", "first_name"], "metadata": {"selected": False}},
        ],
    }
