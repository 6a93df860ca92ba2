"""A plain writer to ActiveCampaign, as most are: each contact synced, then put on the list.

Two requests a record, one after the other, on a connection that is kept open. When the account
says that there were too many, it waits as long as it is told to.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

import requests
from singer_sdk import RecordSink, Target

FIELDS = (
    "customer_id",
    "city",
    "country",
    "tier",
    "birthday",
    "loyalty_points",
    "lifetime_value",
    "last_seen",
)


class ContactSink(RecordSink):
    """Writes one contact after the other."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Api-Token"] = self.config["api_key"]
        found = self._call("GET", "fields?limit=100")["fields"]
        self._fields = {field["perstag"].lower(): field["id"] for field in found}

    def process_record(self, record: dict[str, Any], context: dict[str, Any]) -> None:  # noqa: ARG002
        """Write a contact, and put it on the list."""
        contact = {
            "email": record["email"],
            "firstName": record["first_name"],
            "lastName": record["last_name"],
            "phone": record["phone"],
            "fieldValues": [
                {"field": self._fields[name], "value": str(record[name])} for name in FIELDS
            ],
        }
        known = self._call("POST", "contact/sync", {"contact": contact})["contact"]
        membership = {"list": self.config["list_id"], "contact": known["id"], "status": 1}
        self._call("POST", "contactLists", {"contactList": membership})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        while True:
            url = f"{self.config['api_url']}/api/3/{path}"
            answer = self._session.request(method, url, json=body, timeout=60)
            if answer.status_code != requests.codes.too_many_requests:
                answer.raise_for_status()
                return answer.json()
            time.sleep(float(answer.headers.get("Retry-After", 1)))


class PlainWriter(Target):
    """A target with such a sink."""

    name = "target-plain-writer"
    default_sink_class = ContactSink
    config_jsonschema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "api_url": {"type": "string"},
            "api_key": {"type": "string", "secret": True},
            "list_id": {"type": "integer"},
        },
    }


if __name__ == "__main__":
    PlainWriter.cli()
