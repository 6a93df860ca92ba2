"""Advice on installing an extra, for errors that a package is missing."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Return how an extra is installed with pip and with Meltano, as a sentence."""
    package = f"target-activecampaign[{extra}]"
    return (
        f"Install the extra '{extra}': pip install '{package}'. With Meltano, add [{extra}] to the "
        f"loader's 'pip_url' (such as pip_url: {package}) and run `meltano install`."
    )
