"""The streams that stream maps make of a tap's stream."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from singer_sdk.mapper import PluginMapper

from target_activecampaign.singer.stream_maps import MappedStream, StreamMaps

PROPERTIES = {name: {"type": "string"} for name in ("email", "mail", "first_name", "config")}
FLAT = {"flattening_enabled": True, "flattening_max_depth": 1}


def mapped(rules: Any, **config: Any) -> MappedStream:
    """Return the only stream that `profiles` comes to."""
    stream_maps = {} if rules is None else {"profiles": rules}
    mapper = PluginMapper({"stream_maps": dict(stream_maps), **config}, logging.getLogger("test"))
    maps = StreamMaps(stream_maps, mapper)
    schema: dict[str, Any] = {"properties": dict(PROPERTIES)}
    maps.spell("profiles", schema)
    mapper.register_raw_stream_schema("profiles", schema, ["email"])
    (one,) = maps.streams_of("profiles")
    return one


@pytest.mark.parametrize(
    "rule",
    [
        "first_name.upper()",
        "md5(config['seed'] + email)",
        "[one for one in first_name.split()]",
        "json.loads(first_name)['a']",
        "'x' if record.get('mail') else None",
        "str(int(first_name) * 10)",
        None,
    ],
)
def test_pure_maps_have_a_fingerprint(rule: str | None) -> None:
    assert mapped({"last_name": rule}).fingerprint


@pytest.mark.parametrize(
    "rule",
    [
        "datetime.datetime.now().isoformat()",
        "datetime.date.today().isoformat()",
        "fake.email()",
        "str(rand())",
        "randint(10)",
        "str({first_name, mail})",
        "[datetime for one in first_name]",
    ],
)
def test_maps_with_a_clock_or_chance_have_no_fingerprint(rule: str) -> None:
    assert mapped({"last_name": rule}).fingerprint is None
    assert mapped({"__filter__": rule}).fingerprint is None


def test_fingerprint_covers_all_that_a_mapped_record_depends_on() -> None:
    configs: list[tuple[Any, dict[str, Any]]] = [
        ({"last_name": "'a'"}, {}),
        ({"last_name": "'b'"}, {}),
        ({"last_name": "'a'", "__filter__": "email"}, {}),
        ({"last_name": "'a'", "__alias__": "people"}, {}),
        ({"last_name": "'a'", "__key_properties__": ["mail"]}, {}),
        ({"last_name": "'a'"}, {"stream_map_config": {"seed": "1"}}),
        ({"last_name": "'a'"}, FLAT),
        (None, FLAT),
    ]
    found = [mapped(rules, **config).fingerprint for rules, config in configs]
    assert None not in found
    assert len(set(found)) == len(found)
    again = [mapped(rules, **config).fingerprint for rules, config in configs]
    assert again == found


def test_stream_without_a_map_stays_as_it_is() -> None:
    one = mapped(None)
    assert one.transform is None
    assert one.fingerprint == ""
    assert one.unmapped_name("email") == "email"


@pytest.mark.parametrize(
    ("rules", "config", "expected"),
    [
        ({"first_name": "'x'"}, {}, "email"),
        ({"email": "mail"}, {}, "mail"),
        ({"email": "email"}, {}, "email"),
        ({"email": "email.lower()"}, {}, None),
        ({"email": "config"}, {}, None),
        ({"email": "__stream_name__"}, {}, None),
        ({"__else__": None, "__key_properties__": []}, {}, None),
        ({"__else__": None, "email": "mail"}, {}, "mail"),
        ({"first_name": "'x'"}, FLAT, "email"),
        (None, FLAT, "email"),
    ],
)
def test_source_of_a_property_that_is_handed_on(
    rules: Any, config: dict[str, Any], expected: str | None
) -> None:
    assert mapped(rules, **config).unmapped_name("email") == expected


def test_name_that_flattening_could_make_has_no_source() -> None:
    assert mapped(None, **FLAT).unmapped_name("a__b") is None
