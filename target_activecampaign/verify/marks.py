"""The marks by which `--verify` recognises what it has made, also after it was killed."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

PREFIX = "tac-verify"
"""The start of each address, name of a tag, title of a field and string id of a list."""

NAME = "target-activecampaign verify"
"""The last name of each contact."""

_ADDRESS = re.compile(rf"{PREFIX}-[0-9a-f]{{8}}-[0-9]+(?:-renamed)?(?:@[^@]+)?", re.IGNORECASE)
"""Without a domain: a malformed address that a server has taken all the same."""


class Marks(NamedTuple):
    """The marks of one verification.

    Attributes:
        number: Eight hexadecimal digits.
        domain: The domain of its contacts' addresses.
    """

    number: str
    domain: str

    @classmethod
    def make(cls, domain: str) -> Marks:
        """Return new marks."""
        return cls(secrets.token_hex(4), domain)

    def address(self, number: int, ending: str = "") -> str:
        """Return the address of a contact, by the contact's number."""
        return f"{PREFIX}-{self.number}-{number}{ending}@{self.domain}"

    def title(self, text: str) -> str:
        """Return the name of a tag, or the title of a field."""
        return f"{PREFIX} {self.number} {text}"

    @property
    def string_id(self) -> str:
        """The string id of a list that is made for it."""
        return f"{PREFIX}-{self.number}"


def is_our_contact(email: str, last_name: str) -> bool:
    """Return whether a contact was made by a verification."""
    return _ADDRESS.fullmatch(email) is not None and last_name == NAME


def is_our_title(title: str) -> bool:
    """Return whether a tag, a field or a list's string id was made by a verification."""
    return title.casefold().startswith((f"{PREFIX} ", f"{PREFIX}-"))
