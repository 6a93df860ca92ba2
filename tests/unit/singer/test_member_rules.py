"""Records of members: which values of a record equal those of `member_when`."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from target_activecampaign.singer.member_rules import MemberRules

COMPOSED, DECOMPOSED = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"


def is_member(record: dict[str, Any], rules: dict[str, tuple[Any, ...]], *names: str) -> bool:
    return not MemberRules(rules, names).exclude(record)


@pytest.mark.parametrize(
    ("wanted", "same", "others"),
    [
        ("active", ["active", " active\n"], ["Active", "inactive", "", None, True, 1]),
        (1, [1, 1.0, Decimal("1.00"), "1", "1.0", " 1 "], [True, "01x", 2, "", None, "one"]),
        ("1", [1, 1.0, Decimal(1), "1"], ["1.0", "01", True, None]),
        (0.1, [0.1, Decimal("0.1"), "0.1", "0.10"], [0, "0", 1]),
        (True, [True, "true", "True", " TRUE "], [False, "false", 1, "1", "t", None]),
        ("false", [False, "false", "False"], [True, 0, "0", None, ""]),
        (None, [None, float("nan"), Decimal("NaN")], ["", "null", 0, False, []]),
        ("", ["", "  "], [None, 0, False]),
        (COMPOSED, [COMPOSED, DECOMPOSED], ["größ"]),
        ("a", [["b", "a"], ["a"]], [[], ["b"], {"a": "a"}, "['a']"]),
    ],
)
def test_values_are_compared_across_types(wanted: Any, same: list[Any], others: list[Any]) -> None:
    rules = {"status": (wanted,)}
    assert [one for one in same if not is_member({"status": one}, rules)] == []
    assert [one for one in others if is_member({"status": one}, rules)] == []


def test_one_value_of_each_property_is_needed() -> None:
    rules = {"status": ("active", "trial"), "country": ("DE", None)}
    assert is_member({"status": "trial", "country": "DE"}, rules)
    assert is_member({"status": "active"}, rules)
    assert not is_member({"status": "active", "country": "FR"}, rules)
    assert not is_member({"country": "DE"}, rules)
    assert not is_member({}, rules)
    assert is_member({}, {})


def test_property_is_found_in_any_case_and_unicode_form() -> None:
    rules = {COMPOSED: ("a",)}
    for name in (COMPOSED, DECOMPOSED, COMPOSED.upper()):
        assert is_member({name: "a"}, rules, name)
        assert not is_member({name: "b"}, rules, name)


def test_path_leads_into_objects_and_names_may_have_dots() -> None:
    rules = {"meta.state.name": ("a",)}
    for record in (
        {"meta": {"state": {"name": "a"}}},
        {"META": {"State": {"NAME": "a"}}},
        {"meta": {"state.name": "a"}},
        {"meta.state.name": "a"},
    ):
        assert is_member(record, rules)
    assert not is_member({"meta": {"state": {"name": "b"}}}, rules)
    assert not is_member({"meta": {"state": "a"}}, rules)
