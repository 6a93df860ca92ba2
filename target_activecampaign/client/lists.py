"""The methods of `Client` for lists."""

from __future__ import annotations

from target_activecampaign.client.calls import Caller, ignore_content, json_body
from target_activecampaign.client.decoding import page_of
from target_activecampaign.client.models import ContactList, group_from, list_from
from target_activecampaign.model.names import exact


class ListCalls(Caller):
    """Methods for lists. Args and errors are those of `Client`."""

    def lists(self) -> list[ContactList]:
        """Return all lists of the account."""
        return self._all_pages("/lists", page_of("lists", ContactList))

    def create_list(self, name: str, sender_url: str, sender_reminder: str) -> ContactList:
        """Create a list. Users see it only once `show_list` has shown it to their group [doc].

        A list must not be created twice: if the answer is lost, the list is searched for before
        the request is repeated. The server derives the string id from the name [rep].

        Args:
            name: Its name.
            sender_url: The web address that its campaigns show as the sender's.
            sender_reminder: The text that tells recipients why they get its campaigns.

        Raises:
            PermissionDenied: The owner of the key must not create lists [doc].
        """
        item = {"name": name, "sender_url": sender_url, "sender_reminder": sender_reminder}
        return self._call(
            "POST",
            "/lists",
            list_from,
            body=json_body("list", item),
            find_effect=lambda: self._find_list(name),
        )

    def group_of(self, user_id: str) -> int | None:
        """Return the id of the group that a user is in; None if the answer does not tell.

        The path is that in the user's links [rec]. The form of the answer is unverified.
        """
        return self._call("GET", f"/users/{user_id}/userGroup", group_from)

    def show_list(self, list_id: int, group_id: int) -> None:
        """Show a list to a group of users [doc]."""
        body = json_body("listGroup", {"listid": list_id, "groupid": group_id})
        self._call("POST", "/listGroups", ignore_content, body=body)

    def _find_list(self, name: str) -> ContactList | None:
        found = [one for one in self.lists() if exact(one.name) == exact(name)]
        return found[0] if found else None
