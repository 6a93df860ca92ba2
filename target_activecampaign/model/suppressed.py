"""Suppressed people as they are given: by an address, or by its SHA-256 alone."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, NamedTuple

from target_activecampaign.model.email import contact_key, valid_address

_HEX = re.compile(r"[0-9A-Fa-f]{64}")


class SuppressedPerson(NamedTuple):
    """A person who must not be sent.

    Attributes:
        sha256: The SHA-256 of the address in its normal form.
        key: The address in that form; None if it is not known.
    """

    sha256: bytes
    key: str | None = None


def read_hash(value: Any) -> SuppressedPerson | None:
    """Return the person of a SHA-256 in 64 hex digits; None if the value is none."""
    text = value.strip() if isinstance(value, str) else ""
    return SuppressedPerson(bytes.fromhex(text)) if _HEX.fullmatch(text) else None


def read_person(value: Any) -> SuppressedPerson:
    """Return the person of an address, or of its SHA-256 in 64 hex digits.

    Raises:
        Refusal: `EMAIL_MISSING` or `EMAIL_INVALID`; the reason does not hold the value.
    """
    found = read_hash(value)
    if found is not None:
        return found
    key = contact_key(valid_address(value))
    return SuppressedPerson(sha256(key.encode("utf-8", "surrogatepass")).digest(), key)
