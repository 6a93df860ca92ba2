"""Settings: what is wrong is named, what is secret is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from target_activecampaign.config import definitions, environment, settings
from target_activecampaign.config import validation as config
from target_activecampaign.errors import SettingError
from target_activecampaign.target import TargetActiveCampaign

GOOD: dict[str, Any] = {
    "api_url": "https://acct.api-us1.com",
    "api_key": "0123456789abcdef",
    "data_privacy_consent": True,
    "list_id": 3,
}
PREFIX = "TARGET_ACTIVECAMPAIGN_"


def problems(**changes: Any) -> list[str]:
    given = {k: v for k, v in {**GOOD, **changes}.items() if v is not ...}
    return config.find_problems(given, settings.json_schema())


def test_a_complete_configuration_has_no_problem() -> None:
    assert problems() == []
    assert problems(api_url=..., api_key=..., data_privacy_consent=..., sandbox=True) == []
    assert problems(list_id=..., streams={"vip": {"list_id": "VIP"}}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"api_url": ...}, "'api_url' is missing"),
        ({"api_key": None}, "'api_key' is missing"),
        ({"data_privacy_consent": False}, "'data_privacy_consent' is not true"),
        ({"list_id": ...}, "'list_id' is missing"),
        ({"list_id": [1]}, "'list_id' has the wrong type: it must be of type integer or string"),
        ({"batch_size_rows": 251}, "'batch_size_rows' is out of range: it must be at most 250"),
        ({"max_reject_pct": -1}, "'max_reject_pct' is out of range: it must be at least 0"),
        ({"request_timeout": 0}, "'request_timeout' is out of range: it must be more than 0"),
        ({"streams": {"a": {"tags": "x"}}}, "'streams.a.tags' has the wrong type"),
    ],
)
def test_each_problem_is_named(changes: dict[str, Any], said: str) -> None:
    found = problems(**changes)
    assert len(found) == 1
    assert said in found[0]


def test_no_problem_quotes_the_key() -> None:
    assert "123456789" not in " ".join(problems(api_key=123456789))
    assert GOOD["api_key"] not in repr(settings.Settings.from_config(GOOD))


def test_an_unknown_setting_is_named_with_the_nearest_known_one() -> None:
    given = {"lst_id": 3, "streams": {"vip": {"field_maping": {}}}, "zzz": 1}
    first, second, third = config.unknown_settings(given, settings.json_schema()["properties"])
    assert first == "The setting 'lst_id' is unknown and has no effect. Did you mean 'list_id'?"
    assert second == ("The setting 'zzz' is unknown and has no effect.")
    assert "'streams.vip.field_maping'" in third
    assert "'field_mapping'" in third


def test_every_setting_is_documented_and_becomes_an_attribute() -> None:
    defaults = settings.Settings.from_config({})
    for setting in definitions.SETTINGS:
        assert setting.description.endswith(".")
        default = getattr(defaults, setting.name)
        assert default in ({}, [], setting.default)


def test_variables_give_settings_of_every_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LIST_ID": "VIP customers",
        "CHECKPOINT_SECONDS": "0.5",
        "BATCH_SIZE_ROWS": "100",
        "SANDBOX": "true",
        "FIELD_MAPPING": '{"a": "email"}',
        "TAGS": '["x", "y"]',
        "MAX_REJECTS": "7",
        "PERSON_KEY": "id,country",
        "MEMBER_WHEN": '{"status": ["a", null]}',
        "LEAVE_WHEN": "Deleted",
        "GUARDS": '{"max_renames": "3"}',
    }.items():
        monkeypatch.setenv(PREFIX + name, value)
    target = TargetActiveCampaign(parse_env_config=True)
    assert target.settings.list_id == "VIP customers"
    assert target.settings.checkpoint_seconds == 0.5
    assert target.settings.batch_size_rows == 100
    assert target.settings.sandbox is True
    assert target.settings.field_mapping == {"a": "email"}
    assert target.settings.tags == ["x", "y"]
    assert target.settings.max_rejects == 7
    own = target.settings.for_stream("any")
    assert own.person_key == ("id", "country")
    assert own.member_when == {"status": ("a", None)}
    assert own.leave_when == "deleted"
    assert (own.guards.max_renames, own.guards.max_rename_pct) == (3, 5)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("MAX_REJECTS", "many", "integer"),
        ("CHECKPOINT_SECONDS", "soon", "number"),
        ("FIELD_MAPPING", "{", "JSON"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(SettingError, match=f"{PREFIX}{name} .*{wanted}"):
        environment.read_environment(settings.json_schema(), PREFIX)


@pytest.mark.parametrize(
    ("given", "key"),
    [
        (True, True),
        (" True", True),
        ("false", None),
        (False, None),
        ("", None),
        (None, None),
        ([], None),
        ("id", ("id",)),
        (["id", "country", "id"], ("id", "country")),
        ("id, country", ("id", "country")),
        ('["id", "country"]', ("id", "country")),
        ("['id', 'country']", ("id", "country")),  # Meltano, of a setting of kind `string`
        (["true"], ("true",)),
    ],
)
def test_person_key_is_read_from_every_form(given: Any, key: Any) -> None:
    for config_ in ({"person_key": given}, {"streams": {"vip": {"person_key": given}}}):
        converted, found = config.convert(config_, settings.json_schema())
        assert found == []
        assert problems(**converted) == []
        assert settings.Settings.from_config(converted).for_stream("vip").person_key == key


def test_a_stream_can_switch_off_person_key_and_member_when() -> None:
    own = {"person_key": False, "member_when": {}}
    given = {"person_key": "id", "member_when": {"status": "a"}, "streams": {"vip": own}}
    converted, _ = config.convert(given, settings.json_schema())
    made = settings.Settings.from_config(converted)
    assert made.for_stream("vip").person_key is None
    assert made.for_stream("vip").member_when == {}
    assert made.for_stream("other").member_when == {"status": ("a",)}


@pytest.mark.parametrize(
    "given",
    [
        {"meta.status": ["active", None, 1, True], "tier": "Gold"},
        {"meta": {"status": ["active", None, 1, True]}, "tier": " Gold"},
        '{"meta.status": ["active", null, 1, true], "tier": "Gold"}',
        {"meta.status": '["active", null, 1, true]', "tier": "Gold\n"},
    ],
)
def test_member_when_is_read_from_every_form(given: Any) -> None:
    converted, found = config.convert({"member_when": given}, settings.json_schema())
    assert found == []
    assert problems(**converted) == []
    wanted = {"meta.status": ("active", None, 1, True), "tier": ("Gold",)}
    assert settings.Settings.from_config(converted).for_stream("a").member_when == wanted


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"on_address_change": "new"}, "'on_address_change' has no effect without 'person_key'"),
        (
            {"streams": {"a": {"on_address_change": "reject"}, "b": {"person_key": "id"}}},
            "'streams.a.on_address_change' has no effect without 'person_key'",
        ),
        ({"person_key": 1}, "'person_key' has the wrong type: it must be of type string or array"),
        ({"person_key": ["id", ""]}, "'person_key.1' is empty"),
        ({"leave_when": "gone"}, "'leave_when' must be one of absent, deleted, both"),
        ({"member_when": "active"}, "'member_when' has the wrong type"),
        ({"member_when": {"status": []}}, "'member_when.status' is an empty array"),
        ({"member_when": {"status": [["a"]]}}, "'member_when.status.0' has the wrong type"),
        ({"member_when": {"status": {}}}, "'member_when.status' has the wrong type"),
        ({"guards": {"max_rename_pct": 101}}, "'guards.max_rename_pct' is out of range"),
        ({"guards": {"max_renames": -1}}, "'guards.max_renames' is out of range"),
    ],
)
def test_each_problem_of_deletes_and_identity_is_named(changes: Any, said: str) -> None:
    found = problems(**changes)
    assert len(found) == 1
    assert said in found[0]


def test_on_address_change_of_the_target_may_be_for_one_stream_with_a_key() -> None:
    streams = {"a": {"person_key": "id"}, "b": {"on_address_change": "rename"}}
    assert problems(on_address_change="reject", streams=streams) == []


def test_text_that_is_no_array_is_a_problem() -> None:
    for given in ({"person_key": "[id"}, {"member_when": {"status": "[a"}}):
        _, found = config.convert(given, settings.json_schema())
        assert len(found) == 1
        assert 'it must be a JSON array, such as ["first", "second"]' in found[0]
