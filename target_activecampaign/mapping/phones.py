"""What the setting `default_country` does to phones: it gives them their international form.

A phone that is not clearly a number goes as it came: it is never a reason to leave out a person,
and a number must not become another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_activecampaign.config.settings import SettingError
from target_activecampaign.mapping.values import to_line
from target_activecampaign.text import how_to_install

if TYPE_CHECKING:
    from collections.abc import Callable


def phone_converter(country: str, setting: str = "default_country") -> Callable[[Any], str | None]:
    """The converter of phones, from any JSON value to text.

    Args:
        country: The country of numbers that are written without one, by the two letters of
            ISO 3166 in either case.
        setting: The setting that names it, for messages.

    Raises:
        SettingError: There is no such country, or the extra `phone` is not installed.
    """
    try:
        from target_activecampaign.model import phone as e164  # noqa: PLC0415 - an extra's package
    except ImportError:
        raise SettingError(
            f"The setting '{setting}' needs phonenumbers, which is not installed. "
            f"{how_to_install('phone')}"
        ) from None
    region = country.strip().upper()
    if region not in e164.REGIONS:
        meant = e164.likely_region(region)
        hint = f" Did you mean '{meant}'?" if meant else ""
        raise SettingError(
            f"The setting '{setting}' names no country with phone numbers of its own: give the two "
            f"letters that ISO 3166 has for it, such as DE, GB or US.{hint}"
        )

    def convert(value: Any) -> str | None:
        text = to_line(value)
        return None if text is None else e164.to_e164(text, region)

    return convert
