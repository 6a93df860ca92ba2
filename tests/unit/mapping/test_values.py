"""Values in the text forms of ActiveCampaign's fields: numbers, dates, texts, arrays, objects."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

# On Python 3.10 its SDK patches the parser of dates, as it does in a run.
import target_activecampaign.target  # noqa: F401
from target_activecampaign.mapping.formats import FORMS, NUMBER, STANDARD, TEXT, converter, form_of
from target_activecampaign.mapping.values import (
    UnfitValueError,
    to_date,
    to_datetime,
    to_line,
    to_number,
    to_text,
)

if TYPE_CHECKING:
    from target_activecampaign.mapping.formats import Converter, Form


def compiled(form: Form, schema: Any, on_object: str = "json") -> Converter:
    """The converter of a property's values where no options matter."""
    return converter(
        form,
        schema,
        on_object=on_object,
        on_unknown_option="reject",
        options=None,
        dropped=Counter(),
        name="value",
    )


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (19.990000000000002, "19.99"),
        (3707.6000000000004, "3707.6"),
        (1.1 * 1.1, "1.21"),
        (-(0.1 + 0.7), "-0.8"),
        (4.35 * 100, "435"),
        (1.15 - 1, "0.15"),
        (0.1 * 3e-7, "0.00000003"),
        (Decimal("0.30000000000000004"), "0.3"),
        (Decimal("19.990000000000002"), "19.99"),
        # All digits of a binary fraction, as some databases spell them.
        (Decimal("0.1000000000000000055511151231257827021181583404541015625"), "0.1"),
        (Decimal(float("19.99")), "19.99"),
        (Decimal(float("-2.675")), "-2.675"),
        (Decimal(0.1 + 0.2), "0.3"),
    ],
)
def test_the_noise_of_binary_fractions_is_left_out(value: float | Decimal, text: str) -> None:
    assert to_text(value) == to_number(value) == text
    assert to_number(str(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("19.90", "19.90"),
        ("3.0", "3"),
        ("-0.0", "0"),
        ("1e22", "10000000000000000000000"),
        ("1E+3", "1000"),
        ("1e-7", "0.0000001"),
        ("1234567890123456.7", "1234567890123456.7"),
        ("0.1234567890123456", "0.1234567890123456"),
        ("0.12345678901234567", "0.12345678901234567"),
        ("3.141592653589793", "3.141592653589793"),
        ("0.3333333333333333", "0.3333333333333333"),
        ("0.6666666666666666", "0.6666666666666666"),
        ("12345678901234567890.123", "12345678901234567890.123"),
        ("0.123456789012345678901234567890", "0.123456789012345678901234567890"),
        ("9007199254740993", "9007199254740993"),
        ("1180591620717411303424", "1180591620717411303424"),
        # Whole numbers that look like noise, or like a power of two spelt out: they may be ids.
        ("2000000000000001.0", "2000000000000001"),
        ("3000000000000000.0", "3000000000000000"),
        ("1152921504606846976.0", "1152921504606846976"),
        ("1.0000000000000002e16", "10000000000000002"),
        ("1E+100", "1" + "0" * 100),
        ("1E+400", "1E+400"),
        ("-1E+400", "-1E+400"),
        ("1E-400", "1E-400"),
        ("1E+999999999", "1E+999999999"),
    ],
)
def test_other_numbers_stay_what_they_are(value: str, text: str) -> None:
    """As JSON's numbers are read: whole ones as int, others as Decimal; and as texts."""
    number = int(value) if value.isdigit() else Decimal(value)
    assert to_text(number) == to_number(number) == text
    assert to_number(value) == text
    assert Decimal(text) == number


@pytest.mark.parametrize(
    "value",
    [*(math.nan, math.inf, -math.inf), *map(Decimal, ("NaN", "-Infinity", "sNaN", "NaN123"))],
)
def test_what_is_no_finite_number_does_not_fit(value: float | Decimal) -> None:
    for found in (value, [value, 1], {"a": {"b": [value]}}):
        for convert in (to_text, to_number):
            with pytest.raises(UnfitValueError, match=r"NaN|not a number"):
                convert(found)
    for text in (str(value), f" {value} ".upper()):
        with pytest.raises(UnfitValueError, match=r"NaN|not a number"):
            to_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [(" 42 ", "42"), ("+5", "5"), (".5", "0.5"), ("5.", "5"), ("1e5", "100000"), ("007", "7")],
)
def test_a_text_may_be_a_number(text: str, number: str) -> None:
    assert to_number(text) == number


@pytest.mark.parametrize(
    "value",
    [
        *("much", "1,5", "1.234,56", "1 000", "1_000", "0x10", "12 EUR"),
        *("1E+99999999999999999999", {"a": 1}, [1], {}),
    ],
)
def test_what_is_no_number_does_not_fit_a_number_field(value: Any) -> None:
    with pytest.raises(UnfitValueError, match="not a number"):
        to_number(value)


@pytest.mark.parametrize("value", [None, "", "  ", []])
def test_nothing_is_no_number_and_no_date(value: Any) -> None:
    assert to_number(value) is None
    assert to_date(value) is None
    assert to_datetime(value) is None


@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(-40, 40))
def test_a_decimal_of_fifteen_digits_arrives_exactly(digits: int, exponent: int) -> None:
    number = Decimal(digits).scaleb(exponent)
    for text in (to_text(number), to_number(number), to_number(str(number))):
        assert text is not None
        assert Decimal(text) == number
        assert "E" not in text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_arrives_or_its_neighbour_of_twelve_digits_does(number: float) -> None:
    for spelling in (number, Decimal(repr(number)), Decimal(number)):
        text = to_text(spelling)
        assert text is not None
        if float(text) != number:
            assert len(Decimal(text).normalize().as_tuple().digits) <= 12
            assert math.isclose(float(text), number, rel_tol=1e-14)


@given(st.integers())
def test_a_whole_number_arrives_as_it_is(number: int) -> None:
    assert to_text(number) == to_number(number) == str(number)
    assert to_text(Decimal(f"{number}.0")) in (str(number), f"{number}.0", "-0.0")


# Whole numbers by the schema


@pytest.mark.parametrize("form", [TEXT, NUMBER, STANDARD])
@pytest.mark.parametrize("value", [3.0, Decimal("3.0"), Decimal("3.00"), Decimal("0.3E+1"), 3])
def test_three_point_zero_is_three_where_the_schema_has_whole_numbers(
    form: Form, value: Any
) -> None:
    assert compiled(form, {"type": ["integer", "null"]})(value) == "3"
    assert compiled(form, {"anyOf": [{"type": "integer"}, {"type": "null"}]})(value) == "3"
    assert compiled(form, {"type": ["integer", "string"]})(value) == "3"


@pytest.mark.parametrize("schema", [{"type": "number"}, {"type": ["integer", "number"]}, {}])
@pytest.mark.parametrize("form", [TEXT, NUMBER, STANDARD])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (-0.0, "0"),
        (1e15, "1000000000000000"),
        (15550100199.0, "15550100199"),
        (Decimal("3.0"), "3"),
        (Decimal("-3.00"), "-3"),
        (Decimal("27045.0"), "27045"),
        (Decimal("1E+2"), "100"),
        (Decimal("0E-9"), "0"),
        (Decimal("3.10"), "3.10"),
    ],
)
def test_a_whole_number_has_no_fraction_whatever_the_schema(
    form: Form, schema: dict[str, Any], value: Any, text: str
) -> None:
    assert compiled(form, schema)(value) == text


@pytest.mark.parametrize("value", [Decimal("1E+999999999"), Decimal("1E-999999999")])
def test_a_huge_number_is_not_spelt_out(value: Decimal) -> None:
    for schema in ({"type": "integer"}, {}):
        assert compiled(TEXT, schema)(value) == compiled(NUMBER, schema)(value) == str(value)


def test_a_number_of_more_digits_than_python_writes_does_not_fit() -> None:
    for convert in (to_text, to_number):
        with pytest.raises(UnfitValueError, match="too many digits"):
            convert(10**100_000)


def test_the_schema_of_whole_numbers_changes_nothing_else() -> None:
    convert = compiled(TEXT, {"type": ["integer", "string", "array"]})
    for value in ("3.0", True, ["3.0"], Decimal("3.5"), Decimal("1E+1400")):
        assert convert(value) == to_text(value)
    assert convert(Decimal("1E+300")) == f"1{'0' * 300}"


# Dates


@pytest.mark.parametrize(
    ("value", "day", "moment"),
    [
        ("2024-05-31", "2024-05-31", "2024-05-31T00:00:00+00:00"),
        (" 2024-05-31 ", "2024-05-31", "2024-05-31T00:00:00+00:00"),
        ("20240531", "2024-05-31", "2024-05-31T00:00:00+00:00"),
        ("2024-W22-5", "2024-05-31", "2024-05-31T00:00:00+00:00"),
        ("2024-05-31T18:30", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31 18:30:00", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31T18:30:00Z", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31t18:30:00z", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("20240531T183000Z", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31T18:30:00.5Z", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31T18:30:00.123456789Z", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31T18:30:00,123Z", "2024-05-31", "2024-05-31T18:30:00+00:00"),
        ("2024-05-31T23:30:00-05:00", "2024-05-31", "2024-05-31T23:30:00-05:00"),
        ("2024-05-31T00:30:00+1400", "2024-05-31", "2024-05-31T00:30:00+14:00"),
        ("2024-05-31 18:30:00.99+02", "2024-05-31", "2024-05-31T18:30:00+02:00"),
        # A zone of America or the Pacific can still hold these.
        ("0001-01-01T12:00:00Z", "0001-01-01", "0001-01-01T12:00:00+00:00"),
        ("9999-12-31T09:59:59+00:00", "9999-12-31", "9999-12-31T09:59:59+00:00"),
        ("1899-12-31T00:00:00Z", "1899-12-31", "1899-12-31T00:00:00+00:00"),
        ("2024-02-29", "2024-02-29", "2024-02-29T00:00:00+00:00"),
        (date(2024, 5, 31), "2024-05-31", "2024-05-31T00:00:00+00:00"),
        (
            datetime(2024, 5, 31, 18, 30, tzinfo=timezone(timedelta(hours=2))),
            "2024-05-31",
            "2024-05-31T18:30:00+02:00",
        ),
    ],
)
def test_a_date_has_many_forms(value: Any, day: str, moment: str) -> None:
    assert to_date(value) == day
    assert to_datetime(value) == moment


@pytest.mark.parametrize(
    "value",
    [
        *("next May", "now", "2024", "2024-05", "2023-02-29", "2024-13-01"),
        *("31.05.2024", "5/31/2024", "18:30:00", "1717173000"),
        *("2024-05-31T25:00:00Z", "2024-05-31T18:30:00+25:00"),
        *("2024-05-31T24:00:00Z", "2024-05-31 24:00", "2016-12-31T23:59:60Z"),
        *("0000-01-01", "0000-01-01T00:00:00Z", "10000-01-01", "-0001-01-01T00:00:00Z"),
        *(1717173000, Decimal("1717173000.5"), True, ["2024-05-31"], {}),
    ],
)
def test_what_is_no_date_does_not_fit_a_date_field(value: Any) -> None:
    for convert in (to_date, to_datetime):
        with pytest.raises(UnfitValueError, match="not a date"):
            convert(value)


@pytest.mark.parametrize(
    "value",
    [
        *("0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01T00:00:00+14:00"),
        *("9999-12-31T10:00:00Z", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59+00:00"),
        datetime.min.replace(tzinfo=timezone.utc),
        datetime.max.replace(tzinfo=timezone.utc),
        date.min,
    ],
)
def test_a_date_time_that_not_every_zone_can_hold_does_not_fit(value: Any) -> None:
    with pytest.raises(UnfitValueError, match="end of the calendar"):
        to_datetime(value)
    assert to_date(value) is not None, "a date has no zone"


@given(
    st.datetimes(
        datetime(1, 1, 2, 12),  # noqa: DTZ001 - the zone is given beside it
        datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-9.5))]),
    )
)
def test_a_moment_arrives_to_the_second(moment: datetime) -> None:
    for value in (moment, moment.isoformat(), moment.isoformat(" ")):
        text = to_datetime(value)
        assert text is not None
        assert datetime.fromisoformat(text) == moment.replace(microsecond=0)
        assert to_date(value) == f"{moment:%Y-%m-%d}".zfill(10)


# Texts, arrays, objects


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("  a ", "  a "),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        ([], None),
        ([None], None),
        (["Tea"], "Tea"),
        (["Tea", None, 1, Decimal("2.50"), False], "Tea, 1, 2.50, false"),
        ([{"sku": "A", "price": Decimal("19.90")}, None], '[{"sku":"A","price":19.90},null]'),
        ([["a", "b"], []], '[["a","b"],[]]'),
        ({}, "{}"),
        ({"a": {"b": [1, {"c": None}]}}, '{"a":{"b":[1,{"c":null}]}}'),
        ({"n": 2**70, "m": -(2**70)}, f'{{"n":{2**70},"m":-{2**70}}}'),
        ({"n": Decimal("12345678901234567890.123")}, '{"n":12345678901234567890.123}'),
        ({"n": Decimal("1E+400")}, '{"n":1E+400}'),
        ({"ü": "Bełém ☕ 😀", "quote": '"\\\n'}, '{"ü":"Bełém ☕ 😀","quote":"\\"\\\\\\n"}'),
    ],
)
def test_anything_can_be_text(value: Any, text: str | None) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize("value", [{"a": "\ud83d"}, {"\ud83d": 1}, [{"a": "\ude00"}], [["\ud83d"]]])
def test_half_a_character_in_an_object_does_not_fit(value: Any) -> None:
    with pytest.raises(UnfitValueError, match="surrogate"):
        to_text(value)


def test_what_is_nested_too_deeply_does_not_fit() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UnfitValueError, match="too deeply"):
        to_text(value)


TEXTS = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXTS, JSON))
def test_the_text_of_an_object_is_the_object(value: dict[str, Any]) -> None:
    for given_value in (value, [value]):
        text = to_text(given_value)
        assert text is not None
        assert json.loads(text, parse_float=Decimal) == given_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Ada", "Ada"),
        (7, "7"),
        (0, "0"),
        ([], None),
        ({}, None),
        (None, None),
        ("", None),
        (" \t", None),
    ],
)
def test_a_name_or_phone_is_one_value(value: Any, text: str | None) -> None:
    assert to_line(value) == text


@pytest.mark.parametrize("value", [["Ada"], [None], {"first": "Ada"}])
def test_no_name_or_phone_is_several(value: Any) -> None:
    with pytest.raises(UnfitValueError, match="no single value"):
        to_line(value)


@pytest.mark.parametrize("value", [True, False])
def test_no_name_or_phone_is_a_boolean(value: bool) -> None:
    with pytest.raises(UnfitValueError, match="true or false"):
        to_line(value)


# Forms


@pytest.mark.parametrize("value", [{"a": 1}, {}, [{"a": 1}], [["a"]]])
def test_objects_can_be_refused(value: Any) -> None:
    assert compiled(TEXT, {})(value) is not None
    with pytest.raises(UnfitValueError, match="'on_object' is 'refuse'"):
        compiled(TEXT, {}, on_object="refuse")(value)


def test_refusing_objects_refuses_nothing_else() -> None:
    convert = compiled(TEXT, {}, on_object="refuse")
    assert [convert(value) for value in (["a", 1], [], "{}", 7)] == ["a, 1", None, "{}", "7"]


def test_every_type_of_field_has_one_form_and_an_unknown_one_is_text() -> None:
    types = [kind for form in FORMS for kind in form.types]
    assert len(types) == len(set(types)) == 12
    assert all(kind in form_of(kind).types for kind in types)
    assert form_of("NULL") is form_of("a type of tomorrow") is TEXT


@pytest.mark.parametrize("zone", ["+05:60", "+05:99", "-00:60", "-00:00", "+05:30", "-03:00"])
def test_a_zone_is_written_as_a_clock_shows_it(zone: str) -> None:
    text = f"2018-12-31T10:00:00{zone}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # as later versions of Python say of 60 minutes
        with pytest.raises(UnfitValueError):
            to_datetime(text)
    else:
        assert to_datetime(text) == moment.isoformat()
