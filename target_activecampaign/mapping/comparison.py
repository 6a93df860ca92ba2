"""Comparison of values that were sent with those that ActiveCampaign has."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from target_activecampaign.mapping.choices import DELIMITER
from target_activecampaign.mapping.formats import DATETIME, NUMBER, form_of


def is_same_value(kind: str, one: str, other: str) -> bool:
    """Return whether two texts are the same value: ActiveCampaign may write it in another form.

    Args:
        kind: The type of the custom field, or a standard field such as `phone`.
        one: A value as text.
        other: Another one.
    """
    one, other = one.strip(), other.strip()
    form = form_of(kind)
    if form.holds_several:
        return set(one.split(DELIMITER)) - {""} == set(other.split(DELIMITER)) - {""}
    with suppress(ValueError, ArithmeticError):  # not a number or date, such as an empty text
        if form is NUMBER:
            return Decimal(one) == Decimal(other)
        if form is DATETIME:
            return datetime.fromisoformat(one) == datetime.fromisoformat(other)
        return form.convert(one) == form.convert(other)
    return one.splitlines() == other.splitlines()
