"""E-mail addresses: valid ones, the form that is sent, and the fast pattern for ordinary ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from email_validator import SPECIAL_USE_DOMAIN_NAMES
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from target_activecampaign.model.codes import Refusal
from target_activecampaign.model.email import (
    contact_key,
    match_ordinary,
    valid_address,
    validate_any,
)
from tests.support.guide import DOCS
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
    from tests.support.target_runner import TargetRunner


def words(*lines: str) -> list[str]:
    return [word for line in lines for word in line.split(" ")]


LOCAL_PARTS = words(
    "a 7 x1 1x _ - + ~ ada ada.byron a.b.c.d.e ada+news ada_byron ada-byron -ada ada- _ada_ a--b",
    "o'hara d'arc!ve user%host #1 $cash a&b *all* a/b =eq= what? ^up^ `tick` {set} a|b ~home",
    "bounce+ada=example.org a.1.b 00 first.last+tag.more",
)
CAPITALS = words("Ada.Byron ADA.BYRON Ada1 aDa_ X-1 O'Hara Info2 Sales+EU")
DOMAINS = words(
    "example.com example.co.uk mail.example.org a.io a.b.c.d.example 1.example 123.example",
    "3com.example x-y.example a-b-c.example a1-2b.example sub.x-1.museum test.example",
    "latest.com local.example mylocal.net invalid.org localhost.io contest.tests xn.com",
    "xnexample.com arpanet.org",
)
ORDINARY = {
    **{f"{local}@example.com": f"{local}@example.com" for local in LOCAL_PARTS + CAPITALS},
    **{f"ada@{domain}": f"ada@{domain}" for domain in DOMAINS},
    **{f"{local}@mail-1.example.org": None for local in LOCAL_PARTS},
    **{f"x.y@{domain.upper()}": f"x.y@{domain}" for domain in DOMAINS},
    "ada@" + "d" * 59 + ".com": None,
    "l" * 64 + "@example.com": None,
}
"""Addresses that the pattern tells, and how they are sent; None is as they are."""

UNUSUAL = {
    # Mailboxes whose names have no case, and what looks like one
    **{f"{name.upper()}@example.com": f"{name}@example.com" for name in ("info", "sales", "noc")},
    "Postmaster@Example.com": "postmaster@example.com",
    "Ada@example.com": "Ada@example.com",
    "ADA@EXAMPLE.COM": "ADA@example.com",
    # Long local parts and domains
    "l" * 65 + "@example.com": None,
    "l" * 242 + "@example.com": None,
    "ada@" + "d" * 60 + ".com": None,
    "ada@" + "d" * 63 + ".example.com": None,
    "ada@" + "d.e.f.g." * 12 + "com": None,
    "a@" + "d" * 63 + "." + "e" * 63 + "." + "f" * 63 + ".example.com": None,
    # Hyphens side by side
    "ada@a--b.com": None,
    "ada@abc--d.com": None,
    # Internationalised domains go in ASCII, whichever way they come
    "info@münchen.example": "info@xn--mnchen-3ya.example",
    "info@MÜNCHEN.example": "info@xn--mnchen-3ya.example",
    "info@mu\u0308nchen.example": "info@xn--mnchen-3ya.example",
    "info@xn--mnchen-3ya.example": None,
    "info@XN--MNCHEN-3YA.example": "info@xn--mnchen-3ya.example",
    "info@straße.example": "info@xn--strae-oqa.example",
    "info@例え.jp": "info@xn--r8jz45g.jp",
    "info@例え。jp": "info@xn--r8jz45g.jp",
    "info@\uff45\uff58\uff41mple.com": "info@example.com",
    "info@пример.рф": "info@xn--e1afmkfd.xn--p1ai",
    "info@उदाहरण.भारत": "info@xn--p1b6ci4b4b3a.xn--h2brj9c",
    "info@example.xn--h2brj9c": None,
    # An internationalised local part stays in Unicode
    "jörg@example.com": None,
    "jo\u0308rg@example.com": "jörg@example.com",
    "用户@例え.jp": "用户@xn--r8jz45g.jp",
    "JÖRG@EXAMPLE.COM": "JÖRG@example.com",
}
"""Good addresses that only the library tells."""

DOCUMENTED = {
    # ActiveCampaign documents no rule for dots before the @: some of these are real mailboxes
    **{
        f"{local}@docomo.ne.jp": f"{local}@docomo.ne.jp"
        for local in words("abc. .abc a..b a...b a.b. ..a..b.. . ..")
    },
    "Abc.@DOCOMO.ne.jp": "Abc.@docomo.ne.jp",
    "o'hara.@example.com": "o'hara.@example.com",
    "j\u00f6rg.@m\u00fcnchen.example": "j\u00f6rg.@xn--mnchen-3ya.example",
    "jo\u0308rg..x@example.com": "j\u00f6rg..x@example.com",
    "\u7528\u6237.@\u4f8b\u3048.jp": "\u7528\u6237.@xn--r8jz45g.jp",
    # Nor one for what DNS can hold, though no host has such a name
    **{
        f"ada@{domain}": f"ada@{domain.lower()}"
        for domain in words(
            "ex_ample.com _mail.example.com -example.com example-.com a.-b.com a-.b.com",
            "ab--c.com AB--C.com a---b.com",
        )
    },
}
"""Addresses that only ActiveCampaign's documented rule allows, and how they are sent."""

BAD_LOCAL_PARTS = words(
    'a(b) a,b a:b a;b a<b a>b a[b a\\b a]b a"b "a" "a.b" "" \'\'"\'\'',
    '"a@b" a@b @ a\u200db \u0301a a\u00a0b a\u202eb \ud800 a\x00b a\x7fb a\u2028b',
)
BAD_DOMAINS = words(
    "example com localhost . .com example. example..com .example.com example.com. exa+mple.com",
    "exam%ple.com example.c example.1 example.12 example.c0m example.c-m example.com- example.123",
    "exa!mple.com 127.0.0.1 1.2.3.4 [127.0.0.1] [IPv6:::1] xn--.com xn--a.com xn--zzzzzz.com",
    "xn--mnchen-3ya-.com ex\u2014ample.com a·b.com ½.com 💌.com \u0661\u0662.com x\u200d.com",
    "example.com/path example.com:25 example.com, example.com; example.com> <example.com",
    "example,com example@com @example.com example.com\x00 \ud800.com a\\b.com 'example.com'",
    '"example.com" (x)example.com example.com(x) #.com ..',
)
INVALID = [
    *(f"{local}@example.com" for local in BAD_LOCAL_PARTS),
    *(f"ada@{domain}" for domain in BAD_DOMAINS),
    *(f"ada@{name}" for name in SPECIAL_USE_DOMAIN_NAMES),
    *(f"ada@mail.{name}" for name in SPECIAL_USE_DOMAIN_NAMES),
    *(f"ada@a.b.{name.upper()}" for name in SPECIAL_USE_DOMAIN_NAMES),
    "nobody",
    "@",
    "@example.com",
    "ada@",
    "ada.example.com",
    "ada example.com",
    "ada at example.com",
    "ada\uff20example.com",
    "ada\ufe6bexample.com",
    "two words@example.com",
    "ada@exam ple.com",
    "ada @example.com",
    "ada@ example.com",
    "ada@example .com",
    "ada@example.com, bob@example.com",
    "ada@example.com;bob@example.com",
    "ada@example.com bob@example.com",
    "ada@example.com\nbob@example.com",
    "Ada <ada@example.com>",
    "<ada@example.com>",
    "mailto:ada@example.com",
    "ada@example.com?subject=x",
    "a@b@example.com",
    "ada@@example.com",
    # Too long: a label, the address, the address in ASCII
    "ada@" + "d" * 64 + ".com",
    "ada@mail." + "d" * 64 + ".example.com",
    "l" * 243 + "@example.com",
    "a@" + "d.e." * 64 + "com",
    "ada@" + "ü" * 60 + ".com",
    "ö" * 130 + "@example.com",
    "ada@" + "_" * 64 + ".example.com",
    # What dots don't change
    *(f"{local}@example.com" for local in ("a. b", "a.(b).", 'a.".', ".\u200d.", "a.\x00")),
    *("a.@example..com", "a.@localhost", "a.@mail.test", "a.@127.0.0.1", "a.@xn--a.com"),
    *("a.@b.@example.com", "Ada. <ada.@example.com>", "a.@ex_ample.c0m", "a.@_.", ".@", "@_.com"),
]


@pytest.mark.parametrize(("address", "sent"), ORDINARY.items())
def test_pattern_agrees_with_library_on_ordinary_addresses(address: str, sent: str | None) -> None:
    assert match_ordinary(address) == (sent or address)
    assert validate_any(address) == (sent or address)


@pytest.mark.parametrize(("address", "sent"), UNUSUAL.items())
def test_pattern_leaves_unusual_addresses_to_library(address: str, sent: str | None) -> None:
    assert match_ordinary(address) is None
    assert valid_address(address) == (sent or address)


@pytest.mark.parametrize(("address", "sent"), DOCUMENTED.items())
def test_addresses_documented_as_valid_are_sent(address: str, sent: str) -> None:
    assert match_ordinary(address) is None
    assert valid_address(address) == valid_address(sent) == sent
    assert contact_key(address) == contact_key(sent)


@pytest.mark.parametrize("address", INVALID, ids=ascii)
def test_invalid_address_is_refused_without_quoting_it(address: str) -> None:
    with pytest.raises(Refusal) as refusal:
        valid_address(address)
    assert refusal.value.code == "EMAIL_INVALID"
    assert not any(part in refusal.value.reason for part in address.split("@") if len(part) > 2)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "EMAIL_MISSING"),
        ("", "EMAIL_MISSING"),
        (" \t\u00a0\n", "EMAIL_MISSING"),
        (17, "EMAIL_INVALID"),
        (0, "EMAIL_INVALID"),
        (False, "EMAIL_INVALID"),
        ([], "EMAIL_INVALID"),
        (["ada@example.com"], "EMAIL_INVALID"),
        ({"email": "ada@example.com"}, "EMAIL_INVALID"),
        (b"ada@example.com", "EMAIL_INVALID"),
    ],
)
def test_value_that_is_not_an_address_is_refused(value: object, code: str) -> None:
    with pytest.raises(Refusal) as refusal:
        valid_address(value)
    assert refusal.value.code == code


@pytest.mark.parametrize("space", [" ", "  ", "\t", "\r\n", "\u00a0", "\u3000"])
def test_spaces_around_address_are_ignored(space: str) -> None:
    assert valid_address(f"{space}Ada.Byron@Example.com{space}") == "Ada.Byron@example.com"


# Near the border, where the pattern could be too sure of itself

_characters = st.sampled_from(
    [
        *"aZ09_!#$%&'*+-/=?^`{|}~.-.-",
        *'"(),:;<>@[\\] \t',
        *"äİß。\u017f\u03c3\u03c2\u212a\uff0e\uff20",
    ]
)
_local_parts = st.one_of(
    st.sampled_from([*LOCAL_PARTS, *CAPITALS, *BAD_LOCAL_PARTS]),
    st.sampled_from(CASE_INSENSITIVE_MAILBOX_NAMES).flatmap(
        lambda name: st.sampled_from([name, name.upper(), name.title(), f"{name}1", f"{name}.x"])
    ),
    st.text(_characters, max_size=12),
    st.integers(60, 250).map(lambda size: "l" * size),
)
_labels = st.one_of(
    st.sampled_from(["a", "b1", "1b", "42", "x-y", "com", "example", "münchen", "xn--mnchen-3ya"]),
    st.sampled_from([*SPECIAL_USE_DOMAIN_NAMES, "Local", "TEST", "xn--", "xn--a", "ab--c", "a--b"]),
    st.text(_characters, max_size=6),
    st.text(st.sampled_from("aB0-"), min_size=1, max_size=6),
    st.integers(58, 66).map(lambda size: "d" * size),
)
_domains = st.lists(_labels, min_size=1, max_size=5).map(".".join)
_addresses = st.one_of(
    st.builds("{}@{}".format, _local_parts, _domains),
    st.builds("{}@{}.{}".format, _local_parts, _domains, st.sampled_from(["com", "museum", "De"])),
    st.text(_characters, max_size=20),
    st.text(max_size=20),
)


@settings(max_examples=600)
@given(_addresses)
@example("a@b.\u212aom")  # the Kelvin sign, which is a K without case
@example("a@b.com\n")
@example("a@b.com.")
def test_pattern_agrees_with_library_on_random_addresses(address: str) -> None:
    sent = match_ordinary(address[:254])
    assert sent is None or sent == validate_any(address[:254])


@settings(max_examples=300)
@given(_addresses)
def test_valid_address_is_idempotent(address: str) -> None:
    try:
        sent = valid_address(address)
    except Refusal:
        return
    assert valid_address(sent) == sent
    assert sent.rpartition("@")[2].isascii()
    assert contact_key(sent) == contact_key(address)


# Who is meant


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("info@MÜNCHEN.example", "INFO@xn--mnchen-3ya.example"),
        ("JÖRG@example.com", "jo\u0308rg@Example.com"),
        ("İnfo@example.com", "İnfo@EXAMPLE.com"),
        (" Not An Address ", "not an address"),
        ("NICHT@GÜLTIG", "nicht@gültig"),
    ],
)
def test_spellings_of_an_address_have_one_key(one: str, other: str) -> None:
    assert contact_key(one) == contact_key(other)


def test_guide_lists_addresses_that_are_sent() -> None:
    text = (DOCS / "values.md").read_text("utf-8").partition("Which addresses are sent:")[2]
    table = text.partition("\n- ")[0].splitlines()[3:]
    rows = [line.split("|")[2:4] for line in table if line]
    samples = [(one, verdict) for cell, verdict in rows for one in re.findall("`(.+?)`", cell)]
    assert len(samples) == 13
    for address, verdict in samples:
        if "EMAIL_INVALID" in verdict:
            with pytest.raises(Refusal):
                valid_address(address)
        else:
            assert verdict.strip().startswith("sent")
            assert contact_key(valid_address(address)) == contact_key(address)


def test_address_of_documented_rule_is_sent_and_judged_by_import(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    sandbox.prepare(malformed=("a..b@docomo.ne.jp",))
    messages = [
        schema(),
        record("abc.@docomo.ne.jp", first_name="Earlier"),
        record("ABC.@docomo.ne.jp", first_name="Later"),
        record(".abc@docomo.ne.jp"),
        record("a..b@docomo.ne.jp"),
        record("a b@docomo.ne.jp"),
        record("a.@docomo..jp"),
        record("ada@example.com"),
    ]
    outcome = load(messages).succeeded()
    assert {one["email"].lower(): one["first_name"] for one in sandbox.export()} == {
        "abc.@docomo.ne.jp": "Later",
        ".abc@docomo.ne.jp": "",
        "ada@example.com": "",
    }
    assert outcome.codes == {
        "a..b@docomo.ne.jp": "REFUSED_BY_IMPORT",
        "a b@docomo.ne.jp": "EMAIL_INVALID",
        "a.@docomo..jp": "EMAIL_INVALID",
    }


def test_internationalised_domain_is_sent_in_ascii_as_one_contact(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    messages = [
        schema(),
        record("Info@münchen.example", first_name="Earlier"),
        record("info@xn--mnchen-3ya.example", first_name="Later"),
        record("jörg@example.com"),
    ]
    outcome = load(messages).succeeded()
    assert {one["email"]: one["first_name"] for one in sandbox.export()} == {
        "info@xn--mnchen-3ya.example": "Later",
        "jörg@example.com": "",
    }
    assert outcome.counts == {"read": 3, "added": 2, "merged": 1}


@pytest.mark.parametrize("address", ["abc.@\u2603.net", "a..b@exa mple.com", "abc.@example.test"])
def test_refusal_names_the_error_that_the_documented_rule_does_not_allow(address: str) -> None:
    with pytest.raises(Refusal) as refusal:
        valid_address(address)
    assert refusal.value.reason.startswith("The part after the @-sign")
