"""The country of phone numbers that are written without one, as the settings name it."""

from __future__ import annotations

from target_activecampaign.errors import SettingError
from target_activecampaign.text import install_hint


def phone_region(country: str, setting: str = "default_country") -> str:
    """Return a country by the two letters of ISO 3166, in upper case.

    Args:
        country: The country, in either case.
        setting: The setting that names it, for messages.

    Raises:
        SettingError: There is no such country, or the extra `phone` is not installed.
    """
    try:
        from target_activecampaign.model import phone  # noqa: PLC0415 - an extra's package
    except ImportError:
        raise SettingError(
            f"The setting '{setting}' needs phonenumbers, which is not installed. "
            f"{install_hint('phone')}"
        ) from None
    region = country.strip().upper()
    if region not in phone.REGIONS:
        meant = phone.likely_region(region)
        hint = f" Did you mean '{meant}'?" if meant else ""
        raise SettingError(
            f"The setting '{setting}' names no country with phone numbers of its own: give the two "
            f"letters that ISO 3166 has for it, such as DE, GB or US.{hint}"
        )
    return region
