"""Write sample_data/profiles.jsonl: made-up unified customer profiles, one JSON object a line.

The same lines come out each time, on each Python from 3.10 on, so the file in the repository can
be checked against this program. Nobody in it exists: addresses are at domains reserved for
documentation, telephone numbers are from ranges that nobody is given.

    python3 scripts/make_sample_data.py            # writes the file and prints what is in it
    python3 scripts/make_sample_data.py --output - # to standard output instead
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import unicodedata
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sample_locales import LOCAL_NOTES, LOCALES, LONG_NOTE, NOTES, Locale

PATH = Path(__file__).resolve().parent.parent / "sample_data" / "profiles.jsonl"
SEED = 20260630
PEOPLE = 5390
DUPLICATES = 110
NEWEST = datetime(2026, 6, 30, 12, 0, 0)  # noqa: DTZ001 - each locale puts its own zone behind it

TIERS = ("Bronze", "Bronze", "Bronze", "Silver", "Silver", "Gold", "Platinum", None)
INTERESTS = ("Coffee", "Tea", "Equipment", "Recipes", "Events", "Subscriptions")
DOMAINS = (
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "post.example.org",
    "shop.example.net",
    "team.mail.example.com",
)
NO_ADDRESS = (None, "", "   ")
BAD_ADDRESSES = (
    "{local}(at){domain}",
    "{local}@example",
    "{local}",
    "{local}@",
    "@{domain}",
    "{local} smith@{domain}",
    "{local}@@{domain}",
    "{local}<x>@{domain}",
    "{local}@example,com",
    "{local}@{domain}.",
    "{local}@{domain}; {local}2@{domain}",
    "n/a",
    "unknown",
)
# Every 98th person has no usable address, every third of those none at all.
ADDRESS_FAULT_EVERY = 98

LETTERS = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "Æ": "Ae",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ð": "d",
        "þ": "th",
        "Þ": "Th",
        "ı": "i",  # noqa: RUF001 - the Turkish letter
    }
)

Profile = dict[str, Any]


class People:
    """Makes one person after the other, no two with the same address."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._locales = [locale for locale in LOCALES for _ in range(locale.weight)]
        self._taken: Counter[str] = Counter()

    def profile(self) -> Profile:
        """A person with a good address, some values null and some keys missing."""
        rng = self._rng
        locale = rng.choice(self._locales)
        given, given_latin = _name(rng, locale.given)
        family, family_latin = _name(rng, locale.family)
        names = (family, given) if locale.family_first else (given, family)
        glue = "" if locale.language.startswith(("zh", "ja", "ko")) else " "
        seen = _moment(rng, locale, days=700)
        profile: Profile = {
            "CustomerId": f"{rng.getrandbits(128):032x}",
            "FirstName": given,
            "LastName": family,
            "FullName": glue.join(names),
            "EMailAddress1": self._address(given_latin, family_latin),
            "Telephone1": _phone(rng, locale),
            "BirthDate": _birth_date(rng),
            "City": rng.choice(locale.cities.split("|")),
            "Country": rng.choice(locale.countries) if _happens(rng, 0.2) else locale.countries[0],
            "PreferredLanguage": locale.language,
            "LoyaltyTier": rng.choice(TIERS),
            "LoyaltyPoints": rng.randrange(0, 20_000),
            "LifetimeValue": rng.randrange(1, 900) * rng.randrange(0, 900) / 100,
            "Interests": rng.sample(INTERESTS, rng.randrange(0, 4)),
            "MarketingConsent": _happens(rng, 0.9),
            "LastSeen": seen,
            "CreatedOn": f"{rng.randrange(2009, 2024)}-{_month_day(rng)}T00:00:00Z",
            "Notes": _note(rng, locale),
        }
        self._leave_out(profile)
        return profile

    def _address(self, given: str, family: str) -> str:
        rng = self._rng
        local = rng.choice(
            (
                f"{given}.{family}",
                f"{given[0]}{family}",
                f"{given}_{family}",
                f"{family}.{given}",
                f"{given}{rng.randrange(50, 100)}",
                f"{given}.{family}+news",
            )
        )
        domain = rng.choice(DOMAINS)
        self._taken[f"{local}@{domain}"] += 1
        nth = self._taken[f"{local}@{domain}"]
        if nth > 1:
            name, plus, tag = local.partition("+")
            # Three digits and up: never one of the two-digit names above.
            local = f"{name}{99 + nth}{plus}{tag}"
        return f"{local}@{domain}"

    def _leave_out(self, profile: Profile) -> None:
        """Real exports have holes: some values are null, some keys not there."""
        rng = self._rng
        for key in ("Telephone1", "BirthDate", "Interests", "LastSeen", "LoyaltyPoints", "City"):
            if _happens(rng, 0.03):
                profile[key] = None
            elif _happens(rng, 0.01):
                del profile[key]
        if _happens(rng, 0.01):  # people with one name
            profile["LastName"] = None
            profile["FullName"] = profile["FirstName"]
        if _happens(rng, 0.01):
            profile["FirstName"] = f"  {profile['FirstName']} "
        if _happens(rng, 0.02) and profile["FirstName"].isascii():
            profile["LastName"] = str(profile["LastName"] or "").upper() or None
        if _happens(rng, 0.01):  # as a Mac would have typed it
            profile["FirstName"] = unicodedata.normalize("NFD", profile["FirstName"])


def _happens(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def _name(rng: random.Random, names: str) -> tuple[str, str]:
    """One of `names`, and how it looks in an address."""
    name, _, latin = rng.choice(names.split("|")).partition("=")
    plain = unicodedata.normalize("NFKD", (latin or name).translate(LETTERS))
    return name, "".join(c for c in plain.lower() if c.isascii() and (c.isalnum() or c == "-"))


def _phone(rng: random.Random, locale: Locale) -> str:
    pattern = rng.choice(locale.phones.split("|"))
    return "".join(rng.choice("0123456789") if c == "#" else c for c in pattern)


def _month_day(rng: random.Random) -> str:
    return f"{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}"


def _birth_date(rng: random.Random) -> str:
    if _happens(rng, 0.004):
        return f"{rng.choice((1964, 1976, 1988, 2000))}-02-29"
    return f"{rng.randrange(1936, 2008)}-{_month_day(rng)}"


def _moment(rng: random.Random, locale: Locale, *, days: int) -> str:
    """A time up to `days` before the newest one, in the zone of the locale."""
    moment = NEWEST - timedelta(seconds=rng.randrange(days * 86_400))
    fraction = f".{rng.randrange(1000):03d}" if _happens(rng, 0.3) else ""
    return f"{moment.isoformat()}{fraction}{rng.choice(locale.offsets)}"


def _note(rng: random.Random, locale: Locale) -> str | None:
    if _happens(rng, 0.55):
        return None
    if _happens(rng, 0.02):
        return LONG_NOTE * rng.randrange(3, 7)
    local = LOCAL_NOTES.get(locale.language[:2])
    return local if local and _happens(rng, 0.5) else rng.choice(NOTES)


def _spoil_addresses(rng: random.Random, people: list[Profile]) -> list[Profile]:
    """Take the address away from one person in `ADDRESS_FAULT_EVERY`, or make it unusable."""
    spoilt = people[ADDRESS_FAULT_EVERY // 2 :: ADDRESS_FAULT_EVERY]
    for number, profile in enumerate(spoilt):
        if number % 3:
            local, domain = profile["EMailAddress1"].split("@")
            fault = BAD_ADDRESSES[number % len(BAD_ADDRESSES)]
            profile["EMailAddress1"] = fault.format(local=local, domain=domain)
        elif number % 6:
            del profile["EMailAddress1"]
        else:
            profile["EMailAddress1"] = rng.choice(NO_ADDRESS)
    return spoilt


def _respell(rng: random.Random, address: str) -> str:
    """The same address as another source would have it."""
    return rng.choice((address.upper(), address.title(), f"  {address}", f"{address} \t"))


def _second_profile(rng: random.Random, first: Profile) -> Profile:
    """A later profile of somebody already there, which the export failed to unify."""
    second = dict(first)
    second["CustomerId"] = f"{rng.getrandbits(128):032x}"
    second["EMailAddress1"] = _respell(rng, first["EMailAddress1"].strip().lower())
    second["LoyaltyPoints"] = rng.randrange(20_000, 30_000)
    second["LoyaltyTier"] = rng.choice(("Gold", "Platinum"))
    second["LifetimeValue"] = rng.randrange(900_000, 2_000_000) / 100
    if _happens(rng, 0.3):
        second["Telephone1"] = None
    if _happens(rng, 0.3):
        second["FirstName"] = str(first["FirstName"]).strip()[0] + "."
    return second


def profiles() -> list[Profile]:
    """All profiles in the order of the file."""
    rng = random.Random(SEED)  # noqa: S311 - made-up people are no secret
    make = People(rng)
    people = [make.profile() for _ in range(PEOPLE)]
    spoilt = {profile["CustomerId"] for profile in _spoil_addresses(rng, people)}
    good = [number for number, p in enumerate(people) if p["CustomerId"] not in spoilt]
    for number in good:
        if _happens(rng, 0.04):
            people[number]["EMailAddress1"] = _respell(rng, people[number]["EMailAddress1"])
    # Behind the first, near or far: within one import of 250 contacts as well as between two.
    twins = [
        (number + rng.choice((1, 40, 400, 3000)), _second_profile(rng, people[number]))
        for number in sorted(rng.sample(good, DUPLICATES))
    ]
    for position, profile in sorted(twins, key=lambda twin: twin[0], reverse=True):
        people.insert(position, profile)
    return people


def summary(people: list[Profile]) -> dict[str, int]:
    """Counts that sample_data/README.md names."""
    addresses = [str(p.get("EMailAddress1") or "").strip().lower() for p in people]
    filled = Counter(address for address in addresses if address)
    return {
        "profiles": len(people),
        "countries": len({p["PreferredLanguage"] for p in people}),
        "without an address": addresses.count(""),
        "second profiles of a person": sum(n - 1 for a, n in filled.items() if "@" in a),
        "addresses in capitals or padded": sum(
            str(p.get("EMailAddress1") or "").strip() != ""
            and p["EMailAddress1"] != p["EMailAddress1"].strip().lower()
            for p in people
        ),
        "without consent to marketing": sum(not p["MarketingConsent"] for p in people),
        "values that are null": sum(value is None for p in people for value in p.values()),
    }


def render(people: list[Profile]) -> str:
    """The text of the file."""
    lines = (json.dumps(p, ensure_ascii=False, separators=(",", ":")) for p in people)
    return "".join(f"{line}\n" for line in lines)


def main() -> None:
    """Write the file, or standard output."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", default=str(PATH), help="a path, or - for standard output")
    output = parser.parse_args().output
    people = profiles()
    data = render(people).encode()
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    Path(output).write_bytes(data)
    for name, count in summary(people).items():
        print(f"{count:7,d} {name}")


if __name__ == "__main__":
    main()
