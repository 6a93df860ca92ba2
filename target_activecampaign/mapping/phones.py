"""What the setting `default_country` does to phones: it gives them their international form.

A phone that is not clearly a number goes as it came: it is never a reason to leave out a contact,
and a number must not become another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_activecampaign.config.validation import phone_region
from target_activecampaign.mapping.values import to_line

if TYPE_CHECKING:
    from collections.abc import Callable


def phone_converter(country: str) -> Callable[[Any], str | None]:
    """Return the converter of phones, from any JSON value to text.

    Args:
        country: The country of numbers that are written without one.

    Raises:
        SettingError: As of `phone_region`.
    """
    region = phone_region(country)
    from target_activecampaign.model.phone import to_e164  # noqa: PLC0415 - an extra's package

    def convert(value: Any) -> str | None:
        text = to_line(value)
        return None if text is None else to_e164(text, region)

    return convert
