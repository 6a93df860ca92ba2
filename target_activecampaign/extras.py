"""How to get the packages of an extra, for errors that one is missing."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """What to do for an extra's packages, as a sentence: with pip, and with Meltano."""
    package = f"target-activecampaign[{extra}]"
    return (
        f"Install the extra '{extra}': pip install '{package}'. With Meltano, add [{extra}] to the "
        f"loader's 'pip_url' (such as pip_url: {package}) and run `meltano install`."
    )
