"""What the target loads is read back by tap-activecampaign, which shares no code with it.

A client of others notices what the sandbox and the target have got wrong in the same way: that tap
drops memberships without `updated_timestamp`, say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.mirrors import ACTIVE, UNSUBSCRIBED
from tests.support.target_runner import record, schema
from tests.support.witness import Witness, records

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner

pytestmark = pytest.mark.quick

COUNT = 301
"""More than three of the tap's pages."""
OPTED_OUT = range(0, COUNT, 20)
VIP = range(0, COUNT, 7)
STREAMS = (
    *("contacts", "contact_custom_fields", "contact_custom_field_values", "contact_lists"),
    *("contact_tags", "lists", "tags"),
)


def address(number: int) -> str:
    return f"person{number}@example.com"


def profile(number: int) -> dict[str, Any]:
    """Return a person's values; each third has no phone."""
    return {
        "first_name": f"Anne-{number}",
        "last_name": "Müller" if number % 2 else "Łuczak",
        **({"phone": f"+49301{number:06}"} if number % 3 else {}),
        "tier": ("Gold", "Silver")[number % 2],
        "interests": ["Tea", "Events"][: 1 + number % 2],
        "loyalty_points": number,
        "birthday": f"1980-01-{1 + number % 28:02}",
        "notes": f'line 1\nline 2 of "{number}"',
        "tags": ["from-warehouse", f"group {number % 5}"],
    }


def stream(name: str, numbers: range) -> list[dict[str, Any]]:
    """Return a stream of people."""
    arrays = {"type": ["array", "null"], "items": {"type": "string"}}
    of = dict.fromkeys(("last_name", "phone", "tier", "birthday", "notes"), "string")
    begin = schema(name, **of, loyalty_points="integer", interests=arrays, tags=arrays)
    return [begin, *(record(address(one), name, **profile(one)) for one in numbers)]


class Account(NamedTuple):
    """An account that was loaded, and what the tap read of it."""

    sandbox: SandboxServer
    messages: list[dict[str, Any]]

    def read(self, name: str) -> list[dict[str, Any]]:
        return records(self.messages, name)

    def of_contact(self, name: str) -> dict[int, list[dict[str, Any]]]:
        """Return the records of a stream by the number of their person."""
        numbers = {
            one["id"]: int(one["email"].partition("@")[0].removeprefix("person"))
            for one in self.read("contacts")
        }
        found: dict[int, list[dict[str, Any]]] = {number: [] for number in numbers.values()}
        for one in self.read(name):
            found[numbers[one["contact"]]].append(one)
        return found


@pytest.fixture
def account(load: TargetRunner, sandbox: SandboxServer, tmp_path: Path) -> Account:
    witness = Witness(tmp_path, sandbox)
    load.config.update(field_mapping={"tags": "tags"}, streams={"vip": {"list_id": 2}})
    load([*stream("profiles", range(COUNT)), *stream("vip", VIP)]).succeeded()
    for number in OPTED_OUT:
        sandbox.opt_out(address(number), 1, campaign=5, reason="too much mail")
    return Account(sandbox, witness.read(*STREAMS))


def test_tap_activecampaign_reads_back_what_was_loaded(account: Account) -> None:
    check_contacts(account)
    check_values(account)
    check_memberships(account)
    check_tags(account)


def check_contacts(account: Account) -> None:
    found = {one["email"]: one for one in account.read("contacts")}
    assert len(account.read("contacts")) == len(found) == COUNT
    for number in range(COUNT):
        one, expected = found[address(number)], profile(number)
        assert one["first_name"] == expected["first_name"]
        assert one["last_name"] == expected["last_name"]
        assert one["phone"] == expected.get("phone", "")


def check_values(account: Account) -> None:
    tags = {one["id"]: one["perstag"] for one in account.read("contact_custom_fields")}
    for number, values in account.of_contact("contact_custom_field_values").items():
        expected = profile(number)
        assert {tags[one["field"]]: one["value"] for one in values} == {
            "TIER": expected["tier"],
            "INTERESTS": f"||{'||'.join(expected['interests'])}||",
            "LOYALTY_POINTS": str(number),
            "BIRTHDAY": expected["birthday"],
            "NOTES": expected["notes"],
        }
        assert len(values) == 5


def check_memberships(account: Account) -> None:
    names = {one["id"]: one["name"] for one in account.read("lists")}
    assert names == {1: "Newsletter", 2: "VIP customers", 3: "Win-back"}
    for number, memberships in account.of_contact("contact_lists").items():
        opted_out = number in OPTED_OUT
        assert {names[one["list"]]: one["status"] for one in memberships} == {
            "Newsletter": UNSUBSCRIBED if opted_out else ACTIVE,
            **({"VIP customers": ACTIVE} if number in VIP else {}),
        }
        assert all(one["sdate"] and one["updated_timestamp"] for one in memberships)
        (newsletter,) = (one for one in memberships if one["list"] == 1)
        assert newsletter["unsubreason"] == ("too much mail" if opted_out else "")
    assert len(account.read("contact_lists")) == COUNT + len(VIP)


def check_tags(account: Account) -> None:
    names = {one["id"]: one["tag"] for one in account.read("tags")}
    for number, tags in account.of_contact("contact_tags").items():
        assert sorted(names[one["tag"]] for one in tags) == sorted(profile(number)["tags"])
