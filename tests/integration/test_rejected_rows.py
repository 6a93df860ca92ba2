"""Rejected records of rows that are followed: they never give one person's contact to another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.fork_server import ForkedTargetRunner, ForkServer
from tests.support.mirrors import (
    ACTIVE,
    NO_GUARDS,
    QUICK,
    UNCONFIRMED,
    UNSUBSCRIBED,
    address,
    ids,
    on_list,
)
from tests.support.tables import changes, deleted, row

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import Outcome

pytestmark = pytest.mark.quick


@pytest.fixture(scope="module", params=[1, 1000], ids=["single records", "one window"])
def server(request: pytest.FixtureRequest) -> ForkServer:
    return ForkServer(replace(QUICK, window_records=request.param))


@pytest.fixture(params=["upsert", "mirror"])
def people(
    request: pytest.FixtureRequest, server: ForkServer, sandbox: SandboxServer, tmp_path: Path
) -> ForkedTargetRunner:
    load = ForkedTargetRunner(tmp_path, sandbox.url, sandbox.api_key, server)
    load.config.update(
        sync_mode=request.param,
        person_key=True,
        deleted_properties=["_sdc_deleted_at"],
        guards={**NO_GUARDS, "max_rename_pct": None},
        **({"leave_when": "deleted"} if request.param == "mirror" else {}),
    )
    return load


def person(key: int, name: str, now: str | None = None) -> dict[str, Any]:
    """The record of someone who has a first name for ever, and an address."""
    return row(key, now or name, first_name=name.title())


def bad(key: int, name: str) -> dict[str, Any]:
    """A record with a valid address, and a value that its schema does not allow."""
    return row(key, name, first_name=5)


def lost(key: int) -> dict[str, Any]:
    """A record whose address is none."""
    return row(key, "x", email="nonsense")


ADA, BOB, CYD = person(1, "ada"), person(2, "bob"), person(3, "cyd")


def run(people: ForkedTargetRunner, *rows: dict[str, Any]) -> Outcome:
    outcome = people(changes(*rows, log=False)).succeeded()
    assert sum(outcome.counts.values()) == 2 * outcome.taken
    return outcome


def names(sandbox: SandboxServer) -> dict[str, str]:
    """The first name of the contact at each address."""
    return {email.split("@")[0]: one["first_name"] for email, one in sandbox.contacts().items()}


def codes(outcome: Outcome) -> dict[str, int]:
    """The number of rejected records of a run by code."""
    return {code: told["records"] for code, told in outcome.report["refused"].items()}


@pytest.mark.parametrize("is_reversed", [False, True])
def test_contact_gets_the_address_of_its_rejected_record(
    people: ForkedTargetRunner, sandbox: SandboxServer, is_reversed: bool
) -> None:
    run(people, ADA, BOB, CYD)
    before = ids(sandbox)
    swap = [bad(1, "bob"), person(2, "bob", "ada")]

    outcome = run(people, *(reversed(swap) if is_reversed else swap))

    assert codes(outcome) == {"RECORD_INVALID": 1}
    assert ids(sandbox) == {"bob": before["ada"], "ada": before["bob"], "cyd": before["cyd"]}
    assert names(sandbox) == {"bob": "Ada", "ada": "Bob", "cyd": "Cyd"}
    assert run(people, person(1, "ada", "bob")).counts == {"read": 1, "changed": 1}
    assert on_list(sandbox) == "ada bob cyd"


def test_swap_with_a_rejected_record_mails_nobody_who_has_opted_out(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)
    sandbox.opt_out(address("bob"), 1)

    outcome = run(people, bad(1, "bob"), person(2, "bob", "ada"))

    assert codes(outcome) == {"RECORD_INVALID": 1, "OPTED_OUT": 1}
    assert ids(sandbox) == {"bob": before["ada"], "ada": before["bob"]}
    lists = {email.split("@")[0]: one["lists"]["1"] for email, one in sandbox.contacts().items()}
    assert lists == {"bob": ACTIVE, "ada": UNSUBSCRIBED}


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("later", [False, True], ids=["same run", "later run"])
def test_nobody_gets_the_contact_of_a_row_whose_address_is_unknown(
    people: ForkedTargetRunner, sandbox: SandboxServer, is_reversed: bool, later: bool
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)
    records = [lost(1), person(2, "bob", "ada"), person(3, "cyd", "bob"), person(4, "dee", "ada")]
    if later:
        run(people, records.pop(0))

    outcome = run(people, *(reversed(records) if is_reversed else records))

    assert codes(outcome)["ADDRESS_IN_DOUBT"] == 3
    assert ids(sandbox) == before
    assert names(sandbox) == {"ada": "Ada", "bob": "Bob"}
    assert on_list(sandbox) == "ada bob"
    assert "example.com" not in outcome.log
    # The record is corrected, and the others are sent again.
    run(people, person(1, "ada", "ava"), *records[-3:])
    assert ids(sandbox)["ava"] == before["ada"]
    assert ids(sandbox)["ada"] == before["bob"]
    assert on_list(sandbox) == "ada ava bob"


def test_row_whose_address_is_back_is_no_longer_in_doubt(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    run(people, ADA, BOB)
    run(people, lost(1))
    assert run(people, ADA).counts == {"read": 1, "unchanged": 1}

    outcome = run(people, person(2, "ada"))

    assert codes(outcome) == {}
    assert outcome.report["streams"]["people"]["identity"]["address_taken"] == 1


def test_deleted_row_is_no_longer_in_doubt(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    run(people, ADA, BOB)
    run(people, lost(1))

    outcome = run(people, deleted(1), person(2, "bob", "ada"))

    assert codes(outcome) == {}
    assert names(sandbox)["ada"] == "Bob"


def test_rejected_record_that_is_not_the_last_word_changes_nothing(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)

    run(people, bad(1, "eve"), ADA)
    assert ids(sandbox) == before
    run(people, person(1, "ada", "eve"), bad(1, "fay"))
    assert ids(sandbox) == {"fay": before["ada"], "bob": before["bob"]}
    run(people, person(1, "ada", "gil"), bad(1, "fay"))
    assert ids(sandbox) == {"fay": before["ada"], "bob": before["bob"]}
    assert on_list(sandbox) == "bob fay"


def test_contact_that_cannot_get_the_address_of_its_rejected_record_goes_to_nobody(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    sandbox.prepare({"email": address("eve")})
    run(people, ADA, BOB)
    before = ids(sandbox)

    outcome = run(people, person(2, "bob", "ada"), bad(1, "eve"))

    assert codes(outcome) == {"RECORD_INVALID": 1, "ADDRESS_IN_DOUBT": 1}
    assert ids(sandbox) == before
    assert names(sandbox)["ada"] == "Ada"


def test_contact_that_could_not_be_renamed_goes_to_nobody(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)
    sandbox.prepare({"email": address("ada"), "lists": {"1": UNCONFIRMED}})
    path = f"/api/3/contacts/{before['ada']}"
    sandbox.fault("invalid", match={"method": "PUT", "path": path})

    outcome = run(people, person(3, "cyd", "bob"), person(2, "bob", "ada"), person(1, "ada", "eve"))

    assert codes(outcome) == {"RENAME_REFUSED": 1, "ADDRESS_IN_DOUBT": 2}
    assert names(sandbox) == {"ada": "Ada", "bob": "Bob"}


def test_contact_stays_if_the_last_of_several_records_has_no_address(
    people: ForkedTargetRunner, sandbox: SandboxServer
) -> None:
    run(people, ADA, BOB, CYD)

    outcome = run(people, person(1, "ada", "ava"), lost(1), person(2, "bob", "ada"))

    assert codes(outcome).pop("ADDRESS_IN_DOUBT") == 1
    assert sum(codes(outcome).values()) == 3
    assert names(sandbox) == {"ada": "Ada", "bob": "Bob", "cyd": "Cyd"}
    run(people, person(3, "cyd", "ada"), person(2, "bob", "ava"))
    assert names(sandbox) == {"ada": "Ada", "ava": "Bob", "cyd": "Cyd"}


@pytest.mark.parametrize("last", [lost(3), bad(3, "cat"), bad(3, "ada")])
def test_new_row_that_waits_is_rejected_with_its_last_record(
    people: ForkedTargetRunner, sandbox: SandboxServer, last: dict[str, Any]
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)

    outcome = run(people, person(1, "ada", "ava"), person(3, "cyd", "ada"), last)

    assert sum(codes(outcome).values()) == 2
    assert names(sandbox) == {"ava": "Ada", "bob": "Bob"}
    run(people, person(2, "bob", "ada"), person(3, "cyd", "cat"))
    assert names(sandbox) == {"ava": "Ada", "ada": "Bob", "cat": "Cyd"}
    assert ids(sandbox)["ada"] == before["bob"]


@pytest.mark.parametrize("later", [False, True], ids=["same run", "later run"])
def test_deleted_row_that_comes_back_rejected_keeps_its_contact(
    people: ForkedTargetRunner, sandbox: SandboxServer, later: bool
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)
    records = [deleted(1), bad(1, "ava"), person(2, "bob", "ada"), person(3, "cyd", "bob")]
    if later:
        run(people, records.pop(0))

    run(people, *records)

    assert names(sandbox) == {"ava": "Ada", "ada": "Bob", "bob": "Cyd"}
    run(people, person(1, "ada", "ava"))
    assert {one: ids(sandbox)[one] for one in ("ava", "ada")} == {
        "ava": before["ada"],
        "ada": before["bob"],
    }
    assert on_list(sandbox) == "ada ava bob"


@pytest.mark.parametrize("record", [bad(1, "ava"), person(1, "ada", "ava")])
def test_new_row_does_not_get_the_contact_of_a_deleted_row_that_comes_back(
    people: ForkedTargetRunner, sandbox: SandboxServer, record: dict[str, Any]
) -> None:
    run(people, ADA, BOB)
    before = ids(sandbox)
    run(people, deleted(1))

    run(people, person(3, "cyd", "ada"), record)

    assert names(sandbox) == {"ava": "Ada", "ada": "Cyd", "bob": "Bob"}
    assert ids(sandbox)["ava"] == before["ada"]
