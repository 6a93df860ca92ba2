"""What an account must hold after sample_data/ was loaded, worked out without the target.

The rules are those of the README: a later profile of a person wins, value by value; null and
missing values change nothing; a profile without a usable address is refused, and one without
consent is skipped.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "sample_data" / "profiles.jsonl"

FIELDS = {  # as meltano.yml maps them
    "CustomerId": "CUSTOMER_ID",
    "BirthDate": "BIRTHDAY",
    "City": "CITY",
    "Country": "COUNTRY",
    "LoyaltyTier": "TIER",
    "LoyaltyPoints": "LOYALTY_POINTS",
    "LifetimeValue": "LIFETIME_VALUE",
    "Interests": "INTERESTS",
    "LastSeen": "LAST_SEEN",
    "Notes": "NOTES",
}
STANDARD = {"FirstName": "first_name", "LastName": "last_name", "Telephone1": "phone"}
# Narrower than what an address may be, and enough for those of the sample.
_USABLE = re.compile(r"[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@([a-z]+\.)+[a-z]{3}")


def profiles() -> list[dict[str, Any]]:
    """The profiles in the order of the file."""
    return json_lines(PATH)


def one_each() -> list[dict[str, Any]]:
    """One profile of each person who has a usable address and has consented."""
    return list(
        {
            address: one
            for one in profiles()
            if (address := usable_address(one)) and one["MarketingConsent"]
        }.values()
    )


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def expected(people: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By lower-case address: what the account must hold of each person."""
    contacts: dict[str, dict[str, Any]] = {}
    for profile in people:
        address = usable_address(profile)
        if address is None or not profile["MarketingConsent"]:
            continue
        contact = contacts.setdefault(
            address, {"first_name": None, "last_name": None, "phone": None, "fields": {}}
        )
        for name, value in profile.items():
            if value is None or value == []:
                continue
            if name in STANDARD:
                contact[STANDARD[name]] = value
            elif name in FIELDS:
                contact["fields"][FIELDS[name]] = _comparable(FIELDS[name], _form(value))
    return contacts


def arrived(contacts: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The contacts of a sandbox's export in the form of `expected`."""
    return {
        contact["email"].lower(): {
            **{name: contact[name] or None for name in STANDARD.values()},
            "fields": {tag: _comparable(tag, value) for tag, value in contact["fields"].items()},
        }
        for contact in contacts
    }


def usable_address(profile: dict[str, Any]) -> str | None:
    """A profile's address in lower case, unless nobody could write to it."""
    address = (profile.get("EMailAddress1") or "").strip().lower()
    return address if _USABLE.fullmatch(address) else None


def _form(value: Any) -> str:
    if isinstance(value, list):
        return f"||{'||'.join(value)}||"
    return str(value)


def _comparable(tag: str, text: str) -> Any:
    """A field's value as what it means: how a number or a time is written makes no difference."""
    if tag == "LAST_SEEN":
        return (
            datetime.fromisoformat(text.replace("Z", "+00:00")).replace(microsecond=0).timestamp()
        )
    if tag in {"LOYALTY_POINTS", "LIFETIME_VALUE"}:
        return float(text)
    return text
