"""The mapping of a stream: destinations of properties, and errors before the first record."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_activecampaign.client import Field
from target_activecampaign.config.settings import StreamSettings
from target_activecampaign.errors import MappingError
from target_activecampaign.mapping.automatic import STANDARD_NAMES
from target_activecampaign.model.contact import Contact, Refusal
from target_activecampaign.model.names import normalised
from tests.support.compiled import compile_mapping

if TYPE_CHECKING:
    from target_activecampaign.mapping.mapping import StreamMapping

TIER = Field(id=7, title="Loyalty tier", type="dropdown", tag="TIER", options=("Gold",))
BIRTHDAY = Field(id=2, title="Birthday", type="date", tag="BIRTHDAY", options=())
SEEN = Field(id=3, title="Last seen", type="datetime", tag="LAST_SEEN", options=())
VALUE = Field(id=4, title="Lifetime value", type="number", tag="LIFETIME_VALUE", options=())
INTERESTS = Field(
    id=5, title="Interests", type="listbox", tag="INTERESTS", options=("Tea", "Events")
)
FIELDS = (TIER, BIRTHDAY, SEEN, VALUE, INTERESTS)


def mapping(
    *names: str,
    auto_map: bool = True,
    fields: tuple[Field, ...] = FIELDS,
    own: dict[str, str] | None = None,
    tags: tuple[str, ...] = (),
    **field_mapping: str,
) -> StreamMapping:
    settings = StreamSettings(
        list_id=1,
        field_mapping=field_mapping,
        own_field_mapping=own or {},
        tags=tags,
        auto_map=auto_map,
    )
    return compile_mapping(names, settings, fields)


def placed(compiled: StreamMapping) -> dict[str, str]:
    return dict(str(entry).split(" -> ") for entry in compiled.properties)


@pytest.mark.parametrize("spelling", ["email", "e_mail", "E-Mail", "EMailAddress1", "PrimaryEmail"])
def test_email_property_is_found_by_common_names(spelling: str) -> None:
    assert placed(mapping("id", spelling)) == {spelling: "email"}


def test_every_standard_name_maps_automatically() -> None:
    for destination, names in STANDARD_NAMES.items():
        for name in names:
            properties = ("email", name) if destination != "email" else (name,)
            assert placed(mapping(*properties))[name] == destination
            assert normalised(name) == name


def test_first_standard_name_wins_over_later_ones() -> None:
    compiled = mapping("EMailAddress1", "email", "mobile", "phone")
    assert placed(compiled) == {"email": "email", "phone": "phone"}
    assert compiled.ignored == ["EMailAddress1", "mobile"]


def test_custom_fields_match_by_tag_and_title() -> None:
    assert placed(mapping("email", "tier", "LastSeen", "lifetime value")) == {
        "email": "email",
        "tier": "%TIER%",
        "LastSeen": "%LAST_SEEN%",
        "lifetime value": "%LIFETIME_VALUE%",
    }


@pytest.mark.parametrize(
    "destination", ["TIER", "%TIER%", "%tier%", "Loyalty tier", "loyaltytier", "id:7", " id:7"]
)
def test_destination_is_tag_title_or_id(destination: str) -> None:
    assert placed(mapping("email", "level", level=destination))["level"] == "%TIER%"


def test_field_mapping_wins_over_names() -> None:
    compiled = mapping("email", "work_mail", "tier", work_mail="email", tier="phone")
    assert placed(compiled) == {"work_mail": "email", "tier": "phone"}


def test_own_field_mapping_of_stream_wins() -> None:
    compiled = mapping("email", "level", level="BIRTHDAY", own={"level": "TIER"})
    assert placed(compiled)["level"] == "%TIER%"


def test_without_auto_map_only_field_mapping_maps() -> None:
    compiled = mapping("mail", "tier", "phone", auto_map=False, mail="email")
    assert placed(compiled) == {"mail": "email"}
    assert compiled.ignored == ["tier", "phone"]


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("id", "name"), {}, ["no property for the e-mail address", "'id', 'name'"]),
        (("email", "x"), {"x": "TEIR"}, ["'TEIR'", "Did you mean 'TIER'?", "%BIRTHDAY%"]),
        (("email", "x", "y"), {"x": "phone", "y": "phone"}, ["both 'x' and 'y'", "phone"]),
        (("email", "tier"), {"own": {"tear": "TIER"}}, ["no property 'tear'", "mean 'tier'"]),
        (("a", "b"), {"auto_map": False, "mail": "email"}, ["none of the properties", "'a', 'b'"]),
    ],
)
def test_mapping_error_says_why_and_suggests(
    arguments: tuple[str, ...], options: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(MappingError) as error:
        mapping(*arguments, **options)
    for words in ["'profiles'", *said]:
        assert words in str(error.value)


def test_error_names_both_fields_that_match_equally() -> None:
    twins = (TIER, Field(id=8, title="LOYALTY TIER", type="text", tag="OTHER", options=()))
    with pytest.raises(MappingError, match=r"'Loyalty tier' \(id:7\) and 'LOYALTY TIER' \(id:8\)"):
        mapping("email", "loyalty_tier", fields=twins)


def test_mapped_property_missing_from_stream_is_a_warning() -> None:
    compiled = mapping("email", "tier", tear="TIER")
    assert compiled.warnings == [
        "Stream 'profiles' lacks properties that 'field_mapping' maps: 'tear'. Did you mean 'tier'?"
    ]


def test_values_are_converted_to_type_of_field() -> None:
    compiled = mapping("email", "tier", "birthday", "last_seen", "lifetime_value", "interests")
    contact = compiled.to_contact(
        {
            "email": "ada@example.com",
            "tier": "Gold",
            "birthday": "1980-02-03T00:00:00Z",
            "last_seen": "2024-05-06T07:08:09.123Z",
            "lifetime_value": Decimal("1E+3"),
            "interests": ["Tea", "Events"],
        }
    )
    assert contact.fields == {
        7: "Gold",
        2: "1980-02-03",
        3: "2024-05-06T07:08:09+00:00",
        4: "1000",
        5: "||Tea||Events||",
    }
    assert contact.lists == (1,)


def test_null_and_missing_values_are_not_sent() -> None:
    compiled = mapping("email", "first_name", "phone", "tier", "interests")
    contact = compiled.to_contact({"email": "a@example.com", "phone": None, "interests": []})
    assert contact == Contact("a@example.com", "a@example.com", lists=(1,))


def test_single_choice_of_listbox_has_delimiters() -> None:
    contact = mapping("email", "interests").to_contact(
        {"email": "a@example.com", "interests": "Tea"}
    )
    assert contact.fields == {5: "||Tea||"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("birthday", "next May"),
        ("last_seen", 12),
        ("lifetime_value", "much"),
        ("interests", ["a||b"]),
    ],
)
def test_unfit_value_is_refused_without_quoting_it(name: str, value: Any) -> None:
    with pytest.raises(Refusal) as refusal:
        mapping("email", name).to_contact({"email": "a@example.com", name: value})
    assert refusal.value.code == "VALUE_INVALID"
    assert f"'{name}'" in refusal.value.reason
    assert str(value) not in refusal.value.reason


def test_tags_of_settings_and_properties_are_merged() -> None:
    compiled = mapping("email", "labels", "more", tags=("all",), labels="tags", more="tags")
    contact = compiled.to_contact(
        {"email": "a@example.com", "labels": ["vip", "all", None], "more": "x; y,,z"}
    )
    assert contact.tags == ("all", "vip", "x", "y", "z")


@given(
    st.dictionaries(st.sampled_from(["first_name", "last_name", "phone"]), st.none() | st.text())
)
def test_text_of_standard_fields_is_sent_unchanged(record: dict[str, str | None]) -> None:
    compiled = mapping("email", "first_name", "last_name", "phone")
    contact = compiled.to_contact({"email": "a@example.com", **record})
    for name in ("first_name", "last_name", "phone"):
        text = record.get(name)
        assert getattr(contact, name) == (text if text and not text.isspace() else None)
