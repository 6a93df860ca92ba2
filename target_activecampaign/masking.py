"""Personal data masked: enough to recognise one's own, too little to learn another's.

Reports show examples of what records hold. Unless the setting `report_personal_data` is on, the
texts of people are masked there: addresses, names, phones, and what stands in text fields. Choices,
numbers and dates are shown in full.
"""

from __future__ import annotations

from target_activecampaign.forms import FORMS, TEXT

_DOTS = "•••"
"""Always as many, so that nobody learns a length."""

_PLAIN = {kind for form in FORMS if form is not TEXT for kind in form.types}
"""Types of custom fields whose values are no texts that people write."""


def mask_text(text: str) -> str:
    """A text's first character and dots: `Miller` gives `M•••`; nothing of an empty one."""
    return f"{text[0]}{_DOTS}" if text else ""


def mask_address(address: str) -> str:
    """An e-mail address masked: `ann@example.com` gives `a•••@e•••.com`.

    The end of the domain stays; what is no address is masked as a text.
    """
    name, at, domain = address.rpartition("@")
    host, dot, end = domain.rpartition(".")
    if not (name and at):
        return mask_text(address)
    return f"{mask_text(name)}@{mask_text(host)}.{end}" if dot else f"{mask_text(name)}@{_DOTS}"


def masked(value: str, kind: str) -> str:
    """A value of a contact as it may be shown: masked if it is personal.

    Args:
        value: The value.
        kind: `email`, another standard field such as `phone`, or a custom field's type.
    """
    if kind == "email":
        return mask_address(value)
    return value if kind in _PLAIN else mask_text(value)
