"""sample_data/ is what its generator makes, and what its README says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

from email_validator import EmailNotValidError, validate_email

from tests.support.sample_profiles import PATH, ROOT, profiles, usable_address

if TYPE_CHECKING:
    from pathlib import Path

RESERVED = {"example.com", "example.org", "example.net"}


def test_the_generator_makes_the_file_byte_for_byte() -> None:
    script = ROOT / "scripts" / "make_sample_data.py"

    made = subprocess.run(
        [sys.executable, str(script), "--output", "-"], capture_output=True, check=True
    )

    assert made.stdout == PATH.read_bytes()


def test_it_is_large_and_holds_what_real_exports_hold() -> None:
    people = profiles()

    assert len(people) >= 5000
    assert PATH.stat().st_size < 4_000_000
    assert len({profile["CustomerId"] for profile in people}) == len(people)
    addresses = Counter(filter(None, map(usable_address, people)))
    assert sum(addresses.values()) - len(addresses) == 110  # second profiles of a person
    assert len(people) - sum(addresses.values()) == 55  # without a usable address
    assert len({profile["PreferredLanguage"] for profile in people}) == 35


def test_every_address_is_reserved_and_good_or_bad_as_intended() -> None:
    for profile in profiles():
        address = (profile.get("EMailAddress1") or "").strip()
        if usable_address(profile) is None:
            assert not _valid(address)
        else:
            assert _valid(address)
            assert ".".join(address.lower().rpartition("@")[2].split(".")[-2:]) in RESERVED


def _valid(address: str) -> bool:
    try:
        validate_email(address, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


def test_the_readme_names_the_counts_that_the_generator_prints(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_sample_data.py"
    printed = subprocess.run(
        [sys.executable, str(script), "--output", f"{tmp_path}/profiles.jsonl"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    counts = re.findall(r"([\d,]+) (.+)", printed)
    readme = (ROOT / "sample_data" / "README.md").read_text("utf-8")

    assert counts
    for count, what in counts:
        assert f"| {what} | {count} |" in readme
