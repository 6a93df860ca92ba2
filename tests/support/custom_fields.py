"""The account's custom fields in tests: made, changed, and read back with their options.

Fields go by their titles.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.support.mirrors import QUICK

if TYPE_CHECKING:
    from tests.support.sandbox_server import SandboxServer

BULK = "/api/3/fieldOption/bulk"
"""Where options are added."""

QUICK_RETRIES = replace(QUICK, max_retry_pause_seconds=0.01)
"""For answers that are lost: the sandbox is not spared by a pause."""


class CustomFields:
    """An account's custom fields, as a person in its settings sees and changes them."""

    def __init__(self, sandbox: SandboxServer) -> None:
        self._sandbox = sandbox

    def add(self, title: str, kind: str = "text", *options: str, tag: str = "") -> int:
        """Make a field that shows on all lists; returns its id."""
        item = {"title": title, "type": kind, "perstag": tag or title}
        number = int(self._sandbox.post("/api/3/fields", {"field": item})["field"]["id"])
        self._sandbox.post("/api/3/fieldRels", {"fieldRel": {"field": number, "relid": 0}})
        self.add_options(number, *options)
        return number

    def add_options(self, number: int, *options: str) -> None:
        """Add options to a field."""
        items = [{"field": str(number), "label": one, "value": one} for one in options]
        self._sandbox.post(BULK, {"fieldOptions": items})

    def change(self, title: str, /, **values: str) -> None:
        """Give a field another `title` or `type`."""
        path = f"/api/3/fields/{self.id(title)}"
        assert self._sandbox.call("PUT", path, json={"field": values}).ok

    def delete(self, title: str) -> None:
        """Delete a field, and all values with it."""
        assert self._sandbox.call("DELETE", f"/api/3/fields/{self.id(title)}").ok

    def id(self, title: str) -> int:
        """A field's id."""
        return int(self._all()[title]["id"])

    def tag(self, title: str) -> str:
        """A field's personalisation tag."""
        return str(self._all()[title]["perstag"])

    def type(self, title: str) -> str:
        """A field's type."""
        return str(self._all()[title]["type"])

    def options(self, title: str) -> list[str]:
        """What can be chosen in a field."""
        found: list[str] = self._all()[title]["options"]
        return found

    def lists(self, title: str) -> list[str]:
        """The ids of the lists that a field shows on; 0 are all."""
        found: list[str] = self._all()[title]["relations"]
        return found

    def held(self, title: str) -> list[str | None]:
        """What everyone's field holds, by address; None where nothing was ever written to it."""
        tag = self._all()[title]["perstag"]
        contacts = sorted(self._sandbox.contacts().items())
        return [contact["fields"].get(tag) for _, contact in contacts]

    def added(self) -> int:
        """How often options were added, by the target or by `add` and `add_options` here."""
        return len(self._sandbox.requests(method="POST", path=BULK))

    def titles(self) -> set[str]:
        """All fields."""
        return set(self._all())

    def _all(self) -> dict[str, dict[str, Any]]:
        answer = self._sandbox.get("/api/3/fields", limit=100)
        options = {one["id"]: one["value"] for one in answer["fieldOptions"]}
        lists = {one["id"]: one["relid"] for one in answer["fieldRels"]}
        return {
            field["title"]: {
                **field,
                "options": [options[one] for one in field["options"]],
                "relations": [lists[one] for one in field["relations"]],
            }
            for field in answer["fields"]
        }
