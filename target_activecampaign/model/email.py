"""E-mail addresses: which can be sent, in what form, and whom they stand for.

`email-validator` decides what is an address, except where ActiveCampaign documents that it takes
more: then its import decides. But nearly all addresses are of an ordinary form, of which it is
certain what `email-validator` says: those a pattern tells, at a twentieth of the cost.
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
# Domains that email-validator knows no mail to go to; it is only imported once it is needed.
_SPECIAL_USE = (".arpa", ".invalid", ".local", ".localhost", ".onion", ".test")

_LAST_LABEL = re.compile(r"\.(?:[a-z]{2,}|xn--[a-z0-9-]+)\Z")

# What DNS can hold beyond host names: `_` anywhere, and `-` at the ends of a label.
_DNS_DOMAIN = re.compile(r"(?:(?!xn--)[a-z0-9_-]{1,63}\.)+[a-z]{2,63}")


def person_key(address: str) -> str:
    """What the spellings of one address have in common: no outer space, lower case, ASCII domain.

    It takes any text: ActiveCampaign may name an address in another form than it was sent in.
    """
    address = address.strip()
    if not address.isascii():
        with contextlib.suppress(Refusal):
            address = valid_address(address)
    return address.lower()


def valid_address(value: Any) -> str:
    """A record's e-mail address as it is sent: the domain in lower case and in ASCII.

    Whether ActiveCampaign takes internationalised addresses is not known [unv]. Of a domain it
    gets the form in ASCII (`xn--...`), which is what DNS and mail are asked with, and which looks
    like any other domain. The part before the @ has no such form: it is sent in Unicode (NFC).

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
    return by_pattern(address) or by_library(address)


def by_pattern(address: str) -> str | None:
    """An ordinary address of at most 254 characters as it is sent; None when that is not sure."""
    local, _, domain = address.rpartition("@")
    known = _ordinary_domain(domain)
    if known is None or len(local) > _LONGEST_LOCAL or not _ORDINARY_LOCAL.fullmatch(local):
        return None
    if local.isalpha() and not local.islower():
        return None  # It may be a mailbox whose name has no case, such as `Postmaster`.
    return f"{local}@{known}"


@lru_cache(maxsize=4096)
def _ordinary_domain(domain: str) -> str | None:
    """An ordinary domain in lower case; None for any other. Most people share a few of them."""
    # No label of a domain of that length can be too long by itself.
    if len(domain) > _LONGEST_DOMAIN or not _ORDINARY_DOMAIN.fullmatch(domain):
        return None
    domain = domain.lower()
    return None if f".{domain}".endswith(_SPECIAL_USE) else domain


def by_library(address: str) -> str:
    """Return any address as it is sent, by `email-validator`, without DNS.

    It refuses the special characters for which ActiveCampaign's import drops a contact [doc],
    since they can only stand in quotes. The import's other rule comes on top: two letters or
    more after the domain's last dot [doc].

    Raises:
        Refusal: `EMAIL_INVALID`; the reason does not hold the address.
    """
    # It takes 20 ms, in which the pattern tells 15,000 addresses.
    from email_validator import EmailNotValidError  # noqa: PLC0415

    try:
        local, domain = _checked(address)
    except EmailNotValidError:
        try:
            local, domain = _by_documented_rule(address)
        except EmailNotValidError as error:
            raise Refusal("EMAIL_INVALID", _without_value(str(error))) from None
    if not _LAST_LABEL.search(domain):
        raise Refusal("EMAIL_INVALID", "The domain does not end in a dot and two letters or more.")
    return f"{local}@{domain}"


def _checked(address: str) -> tuple[str, str]:
    """Return the parts of an address in their normal form.

    Raises:
        EmailNotValidError: `email-validator` refuses it.
    """
    from email_validator import validate_email  # noqa: PLC0415

    checked = validate_email(address, check_deliverability=False)
    return checked.local_part, checked.ascii_domain


def _by_documented_rule(address: str) -> tuple[str, str]:
    """Return the parts of an address that only ActiveCampaign's documented rule allows.

    It says nothing of where dots stand before the @ (`abc.@docomo.ne.jp` is a real mailbox), and
    of the domain only how it ends. Whatever else makes an address unusable is still refused, as
    are domains that DNS can't hold and those that are reserved.

    Raises:
        EmailNotValidError: It is refused.
    """
    local, _, domain = address.rpartition("@")
    plain = domain.lower()
    takes_any = _DNS_DOMAIN.fullmatch(plain) and not f".{plain}".endswith(_SPECIAL_USE)
    # `email-validator` checks all but what is allowed here: dots alone are a local part too.
    without_dots = ".".join(filter(None, local.split("."))) or local.replace(".", "x")
    _, found = _checked(f"{without_dots}@{'example.com' if takes_any else domain}")
    return nfc(local), plain if takes_any else found


def _without_value(message: str) -> str:
    """The validator's sentence without what may quote the address: all after a colon or bracket."""
    return re.sub(r"\s*[:(].*", ".", message, flags=re.DOTALL)
