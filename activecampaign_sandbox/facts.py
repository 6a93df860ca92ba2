"""A file of facts: the switches by name, as JSON."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from activecampaign_sandbox.options import Switch, switches


class FactsError(Exception):
    """The file can't be used; the text says why, without the file's name."""


def read_facts(file: str) -> dict[str, str]:
    """Return the switches that a file sets, each with its value as a text.

    The file is a JSON object such as ``{"index_base": 0, "split_tags": true}``. Names may have
    hyphens. True and false are yes and no; null leaves a switch at its default.

    It may also be the result of ``target-activecampaign --verify``, in JSON. What was seen of a
    switch counts; other facts say nothing about a sandbox.

    Raises:
        FactsError: It can't be read, is no such object, or has an unknown name or a wrong value.
    """
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise FactsError(f"it can't be read: {error.strerror}") from None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise FactsError('it is no JSON object of switches, such as {"index_base": 0}')
    known = {switch.name: switch for switch in switches()}
    if isinstance(document.get("facts"), list):
        document = _of_verification(document["facts"], known)
    facts = {}
    for given, value in document.items():
        name = given.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            suggestion = f"; did you mean '{near[0]}'?" if near else ""
            raise FactsError(f"'{given}' is no switch{suggestion}")
        if value is not None:
            facts[name] = _as_text(known[name], value)
    return facts


def _of_verification(found: list[Any], known: dict[str, Switch]) -> dict[str, Any]:
    """Return what a verification has seen of switches."""
    facts = {}
    for one in found:
        switch = known.get(str(one.get("name"))) if isinstance(one, dict) else None
        if switch is not None and one.get("seen") is not None:
            facts[switch.name] = one["seen"]
    return facts


def _as_text(switch: Switch, value: Any) -> str:
    """Return a value as it would be written on the command line."""
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    if switch.choices and text not in switch.choices:
        raise FactsError(f"'{switch.name}' must be one of {', '.join(switch.choices)}")
    if not switch.choices and not isinstance(switch.default, str):
        try:
            number = type(switch.default)(text)
        except ValueError:
            number = None
        if number is None or (switch.minimum is not None and number < switch.minimum):
            raise FactsError(f"'{switch.name}' must be a number, such as {switch.default}")
    return text
