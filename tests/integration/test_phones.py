"""`default_country`: phones that are converted to E.164, and others that stay unchanged."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

import target_activecampaign.model
from target_activecampaign.client import Field
from target_activecampaign.config import settings
from target_activecampaign.config import validation as config
from target_activecampaign.config.settings import Settings
from target_activecampaign.errors import SettingError
from target_activecampaign.mapping.formats import make_phone_converter
from tests.support.compiled import compile_mapping
from tests.support.target_runner import record, schema

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer
from tests.support.target_runner import TargetRunner

SANDBOX = {"sandbox": True, "list_id": 1}


def sent(phone: Any, **changes: Any) -> str | None:
    """A phone as the stream 'profiles' sends it."""
    known = Settings.from_config({**SANDBOX, **changes}).for_stream("profiles")
    mapping = compile_mapping(["email", "phone"], known)
    return mapping.to_contact({"email": "ada@example.com", "phone": phone}).phone


def problems(**changes: Any) -> list[str]:
    return config.find_problems({**SANDBOX, **changes}, settings.json_schema())


@pytest.mark.parametrize(
    ("country", "written", "form"),
    [
        ("DE", "030 1234567", "+49301234567"),
        ("DE", "030/1234567", "+49301234567"),
        ("DE", "(030) / 1234567", "+49301234567"),
        ("DE", " (030) 123-45.67 ", "+49301234567"),
        ("DE", "030\u20111234\u00a0567", "+49301234567"),
        ("DE", "0151 12345678", "+4915112345678"),
        ("DE", 15112345678, "+4915112345678"),
        ("US", "(212) 555-0100", "+12125550100"),
        ("US", "212.555.0100", "+12125550100"),
        ("US", "1-212-555-0100", "+12125550100"),
        ("US", "12125550100", "+12125550100"),
        ("US", 2125550100, "+12125550100"),
        ("GB", "020 7946 0123", "+442079460123"),
        ("gb", "07700 900123", "+447700900123"),
        ("FR", "06 12 34 56 78", "+33612345678"),
        ("FR", "33612345678", "+33612345678"),
        ("IT", "06 1234 5678", "+390612345678"),
        ("NO", "47 12 34 56", "+4747123456"),
        # It begins like the country's calling code, yet is no number without the plus
        ("IT", "393 331 2345", "+393933312345"),
        ("IN", "91987 65432", "+919198765432"),
    ],
)
def test_national_number_becomes_international(country: str, written: Any, form: str) -> None:
    assert sent(written, default_country=country) == form


@pytest.mark.parametrize(
    ("country", "written"),
    [
        # Numbers of other countries that lack their plus
        ("DE", "447700900123"),
        ("DE", 919876543210),
        ("DE", "91 98765 43210"),
        ("DE", "(91) 98765-43210"),
        ("DE", "12125550123"),
        ("DE", "1-212-555-0123"),
        ("DE", "33612345678"),
        ("DE", "5511912345678"),
        ("US", "919876543210"),
        ("US", "4915112345678"),
        ("GB", "12125550123"),
        ("IN", "447700900123"),
        ("IT", "919876543210"),
        ("DE", "447700900123.0"),
        ("DE", "393123456789.0"),
        # It may be one of New York, or one of New Zealand
        ("US", "6465550100"),
        # Of the right length, but of no one in the country
        ("GB", "0123456789"),
        ("US", "1234567890"),
        ("US", "416 555 0100"),  # of Canada
        ("BR", "00 0000-0000"),
    ],
)
def test_ambiguous_number_is_unchanged(country: str, written: Any) -> None:
    assert sent(written, default_country=country) == str(written)


@pytest.mark.parametrize(
    ("country", "written", "form"),
    [
        ("GB", "447700900123", "+447700900123"),
        ("IN", "919876543210", "+919876543210"),
        ("IN", 9876543210, "+919876543210"),
        ("IN", 9876543210.0, "+919876543210"),
        # Floats on their way through a file of texts
        ("IN", "9876543210.0", "+919876543210"),
        ("GB", "447700900123.0", "+447700900123"),
        ("DE", "+12125550123.00", "+12125550123"),
        ("IN", "09876543210", "+919876543210"),
        ("BR", "11 91234-5678", "+5511912345678"),
        ("BR", "5511912345678", "+5511912345678"),
        ("DE", 301234567, "+49301234567"),
        ("DE", "00 1 212 555 0123", "+12125550123"),
        ("DE", "0044 7700 900123", "+447700900123"),
    ],
)
def test_unambiguous_number_becomes_international(country: str, written: Any, form: str) -> None:
    assert sent(written, default_country=country) == form


@given(
    st.integers(1, 10**14).map(str) | st.integers(1, 10**12).map(lambda number: f"0{number}"),
    st.sampled_from(["DE", "US", "GB", "IN", "BR", "IT"]),
)
def test_plain_digits_become_valid_number_or_are_unchanged(digits: str, country: str) -> None:
    form = sent(digits, default_country=country)
    assert form is not None
    if form == digits:
        return
    number = phonenumbers.parse(form)
    assert phonenumbers.is_valid_number(number) or form.startswith("+44")
    with suppress(phonenumbers.NumberParseException):
        other = phonenumbers.parse(f"+{digits}")
        assert other == number or not phonenumbers.is_valid_number(other)


@pytest.mark.parametrize("country", ["DE", "US", "IT"])
@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("+49 30 1234567", "+49301234567"),
        ("+49 (0)30 1234567", "+49301234567"),
        ("\uff0b49-30-1234567", "+49301234567"),
        ("+1 (212) 555-0100", "+12125550100"),
        ("+44.20.7946.0123", "+442079460123"),
        ("+39 06 1234 5678", "+390612345678"),
        ("+4915112345678", "+4915112345678"),
    ],
)
def test_international_number_keeps_its_country(country: str, written: str, form: str) -> None:
    assert sent(written, default_country=country) == form


def test_international_prefix_depends_on_country() -> None:
    assert sent("0049 30 1234567", default_country="DE") == "+49301234567"
    assert sent("011 49 30 1234567", default_country="US") == "+49301234567"


@pytest.mark.parametrize(
    ("country", "written"),
    [
        ("US", "555-0100"),  # no area code
        ("DE", "110"),
        ("DE", "0"),
        ("DE", "00000 000000"),
        ("DE", "030 1234567 89012345"),  # too long
        ("DE", "+49 1511 2345678901234"),
        ("DE", "+999 123456"),
        ("DE", "+"),
        ("DE", "-"),
        ("DE", "()"),
        ("DE", "n/a"),
        ("DE", "030 1234567 home"),  # would end in 4663
        ("DE", "ask Bob: 030 1234567"),
        ("US", "1-800-FLOWERS"),
        ("DE", "+49 30 1234567 ext. 5"),  # E.164 has no place for it
        ("DE", "030 1234567;5"),
        ("DE", "030 1234567/68"),  # two numbers
        ("DE", "1234567/7654321"),
        ("DE", "030 1234567, 030 7654321"),
        ("DE", "4915112345678"),  # 04915 112345678, or +49 151 12345678?
        ("DE", "0" * 10_000),
        ("DE", "( " * 10_000),
    ],
)
def test_unclear_text_is_unchanged(country: str, written: str) -> None:
    assert sent(written, default_country=country) == written


def test_missing_phone_is_not_sent() -> None:
    assert sent(None, default_country="DE") is None
    assert sent([], default_country="DE") is None


@pytest.mark.parametrize("country", [None, "DE"])
@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_phone_is_not_sent(country: str | None, blank: str) -> None:
    assert sent(blank, default_country=country) is None


@given(st.none() | st.text() | st.text(st.sampled_from("+0123456789 ()-./x"), max_size=20))
def test_phones_are_unchanged_without_default_country(phone: str | None) -> None:
    assert sent(phone) == (phone if phone and phone.strip() else None)


@given(st.text() | st.text(st.sampled_from("+0123456789 ()-./x"), max_size=24))
def test_conversion_is_idempotent_and_keeps_digits(phone: str) -> None:
    form = sent(phone, default_country="DE")
    if form is None:
        assert not phone.strip()
        return
    assert sent(form, default_country="DE") == form
    if form != phone:
        assert form.startswith("+")
        digits = "".join(filter(str.isdecimal, phone))
        assert digits.endswith(form[-4:]), "a number ends as it was given"


def test_only_phone_properties_are_converted() -> None:
    backup = Field(id=9, title="Second phone", type="text", tag="PHONE2", options=())
    names = ["email", "phone", "first_name", "phone2"]
    known = Settings.from_config({**SANDBOX, "default_country": "DE"}).for_stream("profiles")
    number = "030 1234567"
    contact = compile_mapping(names, known, (backup,)).to_contact(
        {"email": "ada@example.com", "phone": number, "first_name": number, "phone2": number}
    )
    assert contact.phone == "+49301234567"
    assert (contact.first_name, contact.fields) == (number, {9: number})


# The setting


def test_default_country_is_set_per_stream() -> None:
    own = {"default_country": "DE", "streams": {"profiles": {"default_country": "FR"}}}
    assert sent("06 12 34 56 78", **own) == "+33612345678"
    assert sent("030 1234567", **{**own, "streams": {"profiles": {}}}) == "+49301234567"
    assert sent("030 1234567", streams={"others": {"default_country": "DE"}}) == "030 1234567"


@pytest.mark.parametrize(
    ("country", "hint"),
    [
        ("UK", " Did you mean 'GB'?"),
        ("uk", " Did you mean 'GB'?"),
        ("+49", " Did you mean 'DE'?"),
        ("0033", " Did you mean 'FR'?"),
        ("1", " Did you mean 'US'?"),
        ("999", ""),
        ("800", ""),
        ("DEU", ""),
        ("Germany", ""),
        ("ZZ", ""),
        ("AQ", ""),
        (" ", ""),
    ],
)
def test_unknown_country_is_an_error_with_a_hint(country: str, hint: str) -> None:
    (problem,) = problems(default_country=country)
    assert problem.startswith("The setting 'default_country' is not a country")
    assert problem.endswith(f"such as DE, GB or US.{hint}")
    assert country.strip() == "" or f"'{country}'" not in problem
    with pytest.raises(SettingError, match="'default_country'"):
        make_phone_converter(country)


def test_country_error_names_the_stream() -> None:
    found = problems(default_country="DE", streams={"a": {"default_country": "UK"}, "b": {}})
    assert len(found) == 1
    assert "'streams.a.default_country'" in found[0]
    assert problems(default_country=49) == [
        "The setting 'default_country' has the wrong type: it must be of type string."
    ]
    assert problems(default_country="de", streams={"a": {"default_country": "US"}}) == []


def test_missing_extra_is_an_error_with_install_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.delitem(sys.modules, "target_activecampaign.model.phone", raising=False)
    monkeypatch.delattr(target_activecampaign.model, "phone", raising=False)
    (problem,) = problems(default_country="DE")
    assert "'default_country'" in problem
    assert "pip install 'target-activecampaign[phone]'" in problem
    with pytest.raises(SettingError):
        sent("030 1234567", default_country="DE")
    assert problems() == []
    assert sent("030 1234567") == "030 1234567"


# Through the console script


def test_phones_arrive_in_form_of_their_stream(sandbox: SandboxServer, load: TargetRunner) -> None:
    messages = [
        schema(phone="string"),
        record("berlin@example.com", phone="030 1234567"),
        record("abroad@example.com", phone="+1 (212) 555-0100"),
        record("unclear@example.com", phone="ask at the desk"),
        record("none@example.com", phone=None),
        schema("americans", mobile="integer"),
        record("new.york@example.com", "americans", mobile=2125550199),
    ]
    outcome = load(
        messages, default_country="DE", streams={"americans": {"default_country": "US"}}
    ).succeeded()
    people = {one["email"].partition("@")[0]: one for one in sandbox.export()}
    assert {name: one["phone"] for name, one in people.items()} == {
        "berlin": "+49301234567",
        "abroad": "+12125550100",
        "unclear": "ask at the desk",
        "none": "",
        "new.york": "+12125550199",
    }
    assert all(one["lists"] == {"1": 1} for one in people.values())
    assert outcome.counts == {"read": 5, "added": 5}


def test_unknown_country_ends_run_before_sending(
    sandbox: SandboxServer, load: TargetRunner
) -> None:
    outcome = load([schema(phone="string"), record("a@example.com")], default_country="UK")
    assert outcome.code == 1
    assert "Did you mean 'GB'?" in outcome.log
    assert sandbox.requests() == []
