"""Experiments with values: empty, unusual, of fields with options, and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_activecampaign.verify.lab import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_activecampaign.verify.lab import Lab

_EMOJI = "A\N{GRINNING FACE}B"
_LONGEST = 65_000


def empty_values(lab: Lab) -> Iterator[None]:
    """Import values, and then empty texts."""
    field, one = lab.field("empty", "text"), lab.subject()
    full = [{"id": field, "value": "full"}]
    lab.post(lab.entry(one, first_name="Ada", phone="+15555550100", fields=full))
    yield
    contact = lab.read(one)
    values = (contact.first_name, contact.phone, lab.field_values(one).get(field))
    if not all(values):
        raise LabError("The values did not arrive.")
    empty = [{"id": field, "value": ""}]
    lab.post(lab.entry(one, first_name="", phone="", fields=empty))
    yield
    contact = lab.read(one)
    for fact, value in (
        ("empty_name", contact.first_name),
        ("empty_phone", contact.phone),
        ("empty_field", lab.field_values(one).get(field)),
    ):
        lab.found(fact, "keep" if value else "clear")


def options(lab: Lab) -> Iterator[None]:
    """Import an option in capital letters, and a value that is no option."""
    field = lab.field("option", "dropdown", "Red", "Green")
    loud, other = lab.subject(), lab.subject()
    lab.post(
        lab.entry(loud, fields=[{"id": field, "value": "RED"}]),
        lab.entry(other, fields=[{"id": field, "value": "Purple"}]),
    )
    yield
    same = lab.find(loud) is not None and lab.field_values(loud).get(field) == "Red"
    lab.found("option_case", "ignore" if same else "exact")
    if lab.find(other) is None:
        lab.found("unknown_option", "refuse")
    else:
        stored = lab.field_values(other).get(field)
        lab.found("unknown_option", "store" if stored == "Purple" else "drop")


def unusual_values(lab: Lab) -> Iterator[None]:
    """Import a value with an emoji, and a very long one."""
    field = lab.field("long", "textarea")
    smiling, long = lab.subject(), lab.subject()
    lab.post(
        lab.entry(smiling, fields=[{"id": field, "value": _EMOJI}]),
        lab.entry(long, fields=[{"id": field, "value": "x" * _LONGEST}]),
    )
    yield
    value = lab.field_values(smiling).get(field)
    if not value:
        lab.unclear("emoji", "The value did not arrive.")
    elif value == _EMOJI:
        lab.found("emoji", "keep")
    else:
        lab.found("emoji", "cut" if value == "A" else "replace")
    length = len(lab.field_values(long).get(field, ""))
    if length:
        lab.found("longest_value", "0" if length == _LONGEST else str(length))
    else:
        lab.unclear("longest_value", "The value did not arrive.")


def unrelated_field(lab: Lab) -> Iterator[None]:
    """Import a value of a field that no list shows."""
    field, one = lab.field("hidden", "text", shown=False), lab.subject()
    lab.post(lab.entry(one, subscribe=True, fields=[{"id": field, "value": "there"}]))
    yield
    if lab.field_values(one).get(field) == "there":
        lab.found("unrelated_field", "store")
    else:
        reply = lab.client.send("GET", f"/fields/{field}")
        lab.found("unrelated_field", "hide" if reply.ok else "not_found")


def tags(lab: Lab) -> Iterator[None]:
    """Import a tag with a comma, and one in two spellings."""
    split, plain, loud = lab.subject(), lab.subject(), lab.subject()
    name = lab.marks.title("case")
    both = f"{lab.marks.title('left')},{lab.marks.title('right')}"
    lab.post(lab.entry(split, tags=[both]), lab.entry(plain, tags=[name]))
    yield
    lab.post(lab.entry(loud, tags=[name.upper()]))
    yield
    lab.found("split_tags", "yes" if len(lab.tags(split)) > 1 else "no")
    lab.found("tag_case", "ignore" if lab.tags(plain) == lab.tags(loud) else "exact")
