"""E-mail addresses: validation, the form that is sent, and the key that identifies a contact.

`email-validator` decides what is an address, except where ActiveCampaign documents that it accepts
more: then its import decides. Nearly all addresses have an ordinary form that `email-validator`
accepts for certain. A pattern recognises those at a twentieth of the cost.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from typing import Any

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.names import nfc

_MAX_ADDRESS = 254

_ATOM = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]+"
_ORDINARY_LOCAL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# Two hyphens in a row are left to the library: they may be Punycode, or forbidden.
_LABEL = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
_ORDINARY_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+[A-Za-z]{{2,}}")
_LONGEST_LOCAL = 64
_LONGEST_DOMAIN = 63
# Reserved domains, which email-validator refuses. A copy: that package is imported when needed.
_SPECIAL_USE = (".arpa", ".invalid", ".local", ".localhost", ".onion", ".test")

_LAST_LABEL = re.compile(r"\.(?:[a-z]{2,}|xn--[a-z0-9-]+)\Z")

# Names that DNS allows beyond host names: `_` anywhere, and `-` at the ends of a label.
_DNS_DOMAIN = re.compile(r"(?:(?!xn--)[a-z0-9_-]{1,63}\.)+[a-z]{2,63}")


def contact_key(address: str) -> str:
    """Return the key of an address, the same for all its spellings: lower case, ASCII domain.

    Accepts any text: ActiveCampaign may return an address in another form than was sent.
    """
    address = address.strip()
    if not address.isascii():
        with contextlib.suppress(Refusal):
            address = valid_address(address)
    return address.lower()


def valid_address(value: Any) -> str:
    """Return a record's e-mail address as it is sent: the domain in lower case and in ASCII.

    It is unverified whether ActiveCampaign accepts internationalised addresses [unv]. A domain is
    sent in its ASCII form (`xn--...`), which DNS and mail use too. The part before the @ has no
    such form and is sent in Unicode (NFC).

    Raises:
        Refusal: `EMAIL_MISSING` or `EMAIL_INVALID`; the reason does not hold the address.
    """
    if value is not None and not isinstance(value, str):
        raise Refusal("EMAIL_INVALID", "The e-mail address is not a string.")
    address = value.strip() if value else ""
    if not address:
        raise Refusal("EMAIL_MISSING", "The record has no e-mail address.")
    if len(address) > _MAX_ADDRESS:
        raise Refusal("EMAIL_INVALID", f"The address is longer than {_MAX_ADDRESS} characters.")
    return match_ordinary(address) or validate_any(address)


def match_ordinary(address: str) -> str | None:
    """Return an ordinary address of at most 254 characters as it is sent; None if unsure."""
    local, _, domain = address.rpartition("@")
    ascii_domain = _match_ordinary_domain(domain)
    if ascii_domain is None or len(local) > _LONGEST_LOCAL or not _ORDINARY_LOCAL.fullmatch(local):
        return None
    if local.isalpha() and not local.islower():
        return None  # It may be a name that email-validator lowers, such as `Postmaster`.
    return f"{local}@{ascii_domain}"


@lru_cache(maxsize=4096)
def _match_ordinary_domain(domain: str) -> str | None:
    """Return an ordinary domain in lower case; None for any other. Cached, as domains repeat."""
    # A domain within the limit for a single label has no label that is too long.
    if len(domain) > _LONGEST_DOMAIN or not _ORDINARY_DOMAIN.fullmatch(domain):
        return None
    domain = domain.lower()
    return None if f".{domain}".endswith(_SPECIAL_USE) else domain


def validate_any(address: str) -> str:
    """Return any address as it is sent, checked by `email-validator` without DNS.

    It refuses the special characters for which ActiveCampaign's import drops a contact [doc],
    as they are only allowed in quotes. The import's other rule is checked here: two letters or
    more after the domain's last dot [doc].

    Raises:
        Refusal: `EMAIL_INVALID`; the reason does not hold the address.
    """
    # The import takes 20 ms, in which the pattern checks 15,000 addresses.
    from email_validator import EmailNotValidError  # noqa: PLC0415

    try:
        local, domain = _validate(address)
    except EmailNotValidError:
        try:
            local, domain = _validate_by_documented_rule(address)
        except EmailNotValidError as error:
            raise Refusal("EMAIL_INVALID", _without_value(str(error))) from None
    if not _LAST_LABEL.search(domain):
        raise Refusal("EMAIL_INVALID", "The domain does not end in a dot and two letters or more.")
    return f"{local}@{domain}"


def _validate(address: str) -> tuple[str, str]:
    """Return the local part and the domain of an address in their normal form.

    Raises:
        EmailNotValidError: `email-validator` refuses it.
    """
    from email_validator import validate_email  # noqa: PLC0415

    checked = validate_email(address, check_deliverability=False)
    return checked.local_part, checked.ascii_domain


def _validate_by_documented_rule(address: str) -> tuple[str, str]:
    """Return the parts of an address that only ActiveCampaign's documented rule allows.

    That rule allows dots anywhere before the @ (`abc.@docomo.ne.jp` is a real mailbox), and only
    restricts how the domain ends. All other errors are still refused, as are reserved domains
    and those that DNS does not allow.

    Raises:
        EmailNotValidError: It is refused.
    """
    local, _, domain = address.rpartition("@")
    plain = domain.lower()
    dns_allows = _DNS_DOMAIN.fullmatch(plain) and not f".{plain}".endswith(_SPECIAL_USE)
    # `email-validator` checks the rest. A local part of dots alone is allowed too.
    without_dots = ".".join(filter(None, local.split("."))) or local.replace(".", "x")
    _, ascii_domain = _validate(f"{without_dots}@{'example.com' if dns_allows else domain}")
    return nfc(local), plain if dns_allows else ascii_domain


def _without_value(message: str) -> str:
    """Return the validator's message up to the first colon or bracket, after which it may quote."""
    return re.sub(r"\s*[:(].*", ".", message, flags=re.DOTALL)
