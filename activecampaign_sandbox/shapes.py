"""The resources as the API writes them, with the keys and types of recorded answers [rec].

Each function takes a database row and the style of the answer. The types are those of the answers
that were recorded in 2021. Of 2026 only the keys are known, and the values of keys that are new
since are guesses [unv].
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

from activecampaign_sandbox.clock import CLOCK, iso, local

if TYPE_CHECKING:
    from sqlite3 import Row


class Style(NamedTuple):
    """The way in which answers are written.

    Attributes:
        url: The API's address as the client wrote it, for links.
        shapes: The year of the key sets, from the option ``shapes``.
    """

    url: str
    shapes: str

    @property
    def is_old(self) -> bool:
        """True if answers have the keys of 2021."""
        return self.shapes == "2021"


_CONTACT_LINKS = (
    "bounceLogs", "contactAutomations", "contactData", "contactGoals", "contactLists",
    "contactLogs", "contactTags", "contactDeals", "deals", "fieldValues", "geoIps", "notes",
    "organization", "plusAppend", "trackingLogs", "scoreValues", "accountContacts",
    "automationEntryCounts",
)  # fmt: skip
_LINK_QUERIES = {"contactAutomations": "?limit=1000&orders%5Blastdate%5D=DESC"}


GROUP = 3
"""The id of the only group of users."""

# Keys that contacts have had since 2026 or earlier.
_NEW_CONTACT_KEYS = {
    "best_send_hour": None,
    "last_click_date": None,
    "last_open_date": None,
    "last_mpp_open_date": None,
    "mpp_tracking": "0",
    "sms_consent": "0",
    "sms_consent_updated_at": None,
    "whatsapp_id": None,
    "whatsapp_username": None,
}


def _links(style: Style, resource: str, number: int, names: tuple[str, ...]) -> dict[str, str]:
    return {
        name: f"{style.url}/{resource}/{number}/{name}{_LINK_QUERIES.get(name, '')}"
        for name in names
    }


def _stamps(row: Row, author: str | None = None) -> dict[str, Any]:
    return {
        "created_timestamp": local(row["cdate"]),
        "updated_timestamp": local(row["udate"]),
        "created_by": author,
        "updated_by": author,
    }


def _contact_hash(number: int) -> str:
    return hashlib.md5(f"contact {number}".encode(), usedforsecurity=False).hexdigest()


def user(style: Style, moment: int) -> dict[str, Any]:
    """Return the only user of the account, who owns the key."""
    names = (
        "lists", "userGroup", "dealGroupTotals", "dealGroupUsers", "configs", "dealConnection",
        "userConversationsPermission", "seatUser",
    )  # fmt: skip
    old = {
        "password_updated_utc_timestamp": "0000-00-00 00:00:00",
        "cdate": None,
        "udate": iso(moment),
    }
    return {
        "username": "admin",
        "firstName": "Sandbox",
        "lastName": "Admin",
        "email": "admin@sandbox.example",
        "phone": "",
        "signature": "",
        "localZoneid": CLOCK.zone_name,
        **(old if style.is_old else {"lang": "english", "roles": []}),
        "mfaEnabled": "0",
        "links": _links(style, "users", 1, names),
        "id": "1",
    }


def user_group(style: Style) -> dict[str, Any]:
    """Return the link between the only user and its group; all but the names is unverified."""
    return {
        "userid": "1",
        "groupid": str(GROUP),
        "links": _links(style, "userGroups", 1, ("user", "group")),
        "id": "1",
        "user": "1",
        "group": str(GROUP),
    }


def list_group(row: Row, style: Style) -> dict[str, Any]:
    """Return the link between a list and a group of users [doc]."""
    return {
        "list": row["list"],
        "group": row["user_group"],
        "links": _links(style, "listGroups", row["id"], ("list", "group")),
        "id": str(row["id"]),
    }


def contact(row: Row, style: Style) -> dict[str, Any]:
    """Return a contact as it is read; the row has ``organization_name``."""
    created, updated = local(row["cdate"]), local(row["udate"])
    organization = row["organization"]
    return {
        "cdate": iso(row["cdate"]),
        "email": row["email"],
        "phone": row["phone"],
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "orgid": str(organization or 0),
        "orgname": row["organization_name"] or "",
        "segmentio_id": "",
        "bounced_hard": str(row["bounced"]),
        "bounced_soft": str(row["bounced_soft"]),
        "bounced_date": f"{iso(row['udate']):.10}" if row["bounced"] else None,
        "ip": "0",
        "ua": None,
        "hash": _contact_hash(row["id"]),
        "socialdata_lastcheck": None,
        "email_local": "",
        "email_domain": "",
        "sentcnt": "0",
        "rating_tstamp": None,
        "gravatar": "0",
        "deleted": "0",
        "anonymized": "0",
        "adate": None,
        "udate": iso(row["udate"]),
        "edate": None,
        "deleted_at": None,
        "created_utc_timestamp": created,
        "updated_utc_timestamp": updated,
        "created_timestamp": created,
        "updated_timestamp": updated,
        "created_by": None,
        "updated_by": None,
        **({"email_empty": False} if style.is_old else _NEW_CONTACT_KEYS),
        "links": _links(style, "contacts", row["id"], _CONTACT_LINKS),
        "id": str(row["id"]),
        "organization": str(organization) if organization else None,
    }


def account_contacts(row: Row) -> list[str]:
    """Return the ids of a contact's links to companies: one at most."""
    return [str(row["id"])] if row["organization"] else []


def account_contact_links(row: Row) -> list[dict[str, str]]:
    """Return a contact's links to companies as they are side-loaded."""
    return [
        {"account": str(row["organization"]), "contact": str(row["id"]), "id": number}
        for number in account_contacts(row)
    ]


def new_contact(row: Row, style: Style) -> dict[str, Any]:
    """Return a contact in the answer to its creation, which has fewer keys."""
    return {
        "email": row["email"],
        "phone": row["phone"],
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        **({"email_empty": False} if style.is_old else {}),
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "orgid": "",
        "orgname": "",
        "links": _links(style, "contacts", row["id"], _CONTACT_LINKS),
        "hash": _contact_hash(row["id"]),
        "id": str(row["id"]),
        "organization": "",
    }


_LIST_LINKS = ("contactGoalLists", "user", "addressLists")


def list_(row: Row, style: Style) -> dict[str, Any]:
    """Return a list as it is read; the row has ``active`` and ``members``, if not of 2021."""
    new = (
        {}
        if style.is_old
        else {
            "active_subscribers": str(row["active"]),
            "non_deleted_subscribers": str(row["members"]),
            "channel": row["channel"],
            "description": "",
        }
    )
    empty = (
        "sender_name", "sender_addr1", "sender_addr2", "sender_city", "sender_state",
        "sender_zip", "sender_country", "sender_phone",
    )  # fmt: skip
    return {
        "stringid": row["stringid"],
        "userid": row["userid"],
        "name": row["name"],
        "cdate": iso(row["cdate"]),
        "p_use_tracking": "1",
        "p_use_analytics_read": "0",
        "p_use_analytics_link": "0",
        "p_use_twitter": "0",
        "p_use_facebook": "0",
        "p_embed_image": "1",
        "p_use_captcha": "1",
        "send_last_broadcast": row["send_last_broadcast"],
        "private": "0",
        "analytics_domains": None,
        "analytics_source": "",
        "analytics_ua": "",
        "twitter_token": "",
        "twitter_token_secret": "",
        "facebook_session": None,
        "carboncopy": row["carboncopy"],
        "subscription_notify": row["subscription_notify"],
        "unsubscription_notify": row["unsubscription_notify"],
        "require_name": "0",
        "get_unsubscribe_reason": "0",
        "to_name": "Subscriber",
        "optinoptout": "1",
        **dict.fromkeys(empty, ""),
        "sender_url": row["sender_url"],
        "sender_reminder": row["sender_reminder"],
        "fulladdress": None,
        "optinmessageid": "0",
        "optoutconf": "0",
        "deletestamp": None,
        "udate": iso(row["udate"]),
        **_stamps(row),
        **new,
        "links": _links(style, "lists", row["id"], _LIST_LINKS),
        "id": str(row["id"]),
        "user": None if row["userid"] == "0" else row["userid"],
    }


def new_list(row: Row, style: Style) -> dict[str, Any]:
    """Return a list in the answer to its creation."""
    return {
        "name": row["name"],
        "stringid": row["stringid"],
        "sender_url": row["sender_url"],
        "sender_reminder": row["sender_reminder"],
        **({} if style.is_old else {"channel": row["channel"]}),
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "links": _links(style, "lists", row["id"], _LIST_LINKS),
        "id": str(row["id"]),
    }


_FIELD_LINKS = ("options", "relations")


def field(row: Row, style: Style) -> dict[str, Any]:
    """Return a custom field as it is read, without the ids of its options and relations."""
    return {
        "title": row["title"],
        "descript": row["descript"],
        "type": row["type"],
        "isrequired": row["isrequired"],
        "perstag": row["perstag"],
        "defval": row["defval"],
        "show_in_list": "0",
        "rows": "0",
        "cols": "0",
        "visible": row["visible"],
        "service": "",
        "ordernum": str(row["ordernum"]),
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        **_stamps(row, "1"),
        "links": _links(style, "fields", row["id"], _FIELD_LINKS),
        "id": str(row["id"]),
    }


def new_field(row: Row, style: Style, sent: dict[str, Any]) -> dict[str, Any]:
    """Return a custom field in the answer to its creation: ``ordernum`` is a number here.

    ``defval`` is there only if it was sent [rec].
    """
    return {
        "title": row["title"],
        "type": row["type"],
        "descript": row["descript"],
        "isrequired": row["isrequired"],
        "perstag": row["perstag"],
        **({"defval": row["defval"]} if "defval" in sent else {}),
        "visible": row["visible"],
        "created_by": "1",
        "updated_by": "1",
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "ordernum": row["ordernum"],
        "links": _links(style, "fields", row["id"], _FIELD_LINKS),
        "id": str(row["id"]),
    }


def option(row: Row, style: Style) -> dict[str, Any]:
    """Return an option of a field as it is read."""
    return {
        "field": str(row["field"]),
        "orderid": row["orderid"],
        "value": row["value"],
        "label": row["label"],
        "isdefault": row["isdefault"],
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "links": _links(style, "fieldOptions", row["id"], ("field",)),
        "id": str(row["id"]),
    }


def new_option(row: Row, style: Style) -> dict[str, Any]:
    """Return an option of a field in the answer to its creation."""
    full = option(row, style)
    return {key: full[key] for key in ("label", "value", "field", "cdate", "udate", "links", "id")}


def field_rel(row: Row) -> dict[str, Any]:
    """Return a field's relation to a list as it is read; ``relid`` 0 is all lists."""
    return {**new_field_rel(row), "dorder": "0"}


def new_field_rel(row: Row) -> dict[str, Any]:
    """Return a field's relation to a list in the answer to its creation."""
    return {
        "relid": str(row["relid"]),
        "field": str(row["field"]),
        "cdate": iso(row["cdate"]),
        "links": [],
        "id": str(row["id"]),
    }


def field_value(row: Row, style: Style) -> dict[str, Any]:
    """Return a contact's value of a field as it is read."""
    return {
        "contact": str(row["contact"]),
        "field": str(row["field"]),
        "value": row["value"],
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "created_by": None,
        "updated_by": None,
        "links": _links(style, "fieldValues", row["id"], ("owner", "field")),
        "id": str(row["id"]),
        "owner": str(row["contact"]),
    }


def new_field_value(row: Row, style: Style) -> dict[str, Any]:
    """Return a contact's value of a field in the answer to its creation."""
    full = field_value(row, style)
    del full["created_by"], full["updated_by"]
    return full


def tag(row: Row, style: Style) -> dict[str, Any]:
    """Return a tag as it is read; the row has ``subscribers``."""
    return {
        "tagType": row["type"],
        "tag": row["name"],
        "description": row["description"],
        "subscriber_count": str(row["subscribers"]),
        "cdate": iso(row["cdate"]),
        **_stamps(row),
        **({} if style.is_old else {"deleted": "0"}),
        "links": _links(style, "tags", row["id"], ("contactGoalTags",)),
        "id": str(row["id"]),
    }


def new_tag(row: Row, style: Style) -> dict[str, Any]:
    """Return a tag in the answer to its creation."""
    full = tag(row, style)
    return {key: full[key] for key in ("tag", "description", "tagType", "cdate", "links", "id")}


def contact_tag(row: Row, style: Style) -> dict[str, Any]:
    """Return a contact's tag as it is read."""
    return {
        "contact": str(row["contact"]),
        "tag": str(row["tag"]),
        "cdate": iso(row["cdate"]),
        "created_timestamp": local(row["cdate"]),
        "updated_timestamp": local(row["cdate"]),
        "created_by": None,
        "updated_by": None,
        "links": _links(style, "contactTags", row["id"], ("tag", "contact")),
        "id": str(row["id"]),
    }


def new_contact_tag(row: Row, style: Style) -> dict[str, Any]:
    """Return a contact's tag in the answer to its creation."""
    full = contact_tag(row, style)
    return {key: full[key] for key in ("contact", "tag", "cdate", "links", "id")}


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)


def contact_list(row: Row, style: Style) -> dict[str, Any]:
    """Return a membership as it is read [doc]; ``status`` 1 is active, 2 unsubscribed, 3 bounced.

    The row has the contact's names and the list's ``channel``. ``sdate`` is when the membership
    began and ``udate`` when the contact last opted out, which an active membership may have too.
    """
    names = (
        "automation", "list", "contact", "form", "autosyncLog", "campaign",
        "unsubscribeAutomation", "message",
    )  # fmt: skip
    return {
        "contact": str(row["contact"]),
        "list": str(row["list"]),
        "form": None,
        "seriesid": "0",
        "sdate": iso(row["sdate"]) if row["sdate"] else None,
        "udate": iso(row["udate"]) if row["udate"] else None,
        "status": str(row["status"]),
        "responder": "1",
        "sync": "0",
        "unsubreason": row["unsubreason"],
        "campaign": _id(row["campaign"]),
        "message": _id(row["message"]),
        "first_name": row["first_name"],
        "last_name": row["last_name"],
        "ip4Sub": "0",
        "sourceid": str(row["sourceid"]),
        "autosyncLog": None,
        "ip4_last": "0",
        "ip4Unsub": "0",
        "created_timestamp": local(row["created"]),
        "updated_timestamp": local(row["updated"]),
        "created_by": None,
        "updated_by": None,
        **({} if style.is_old else {"channel": row["channel"]}),
        "unsubscribeAutomation": _id(row["unsubscribe_automation"]),
        "links": _links(style, "contactLists", row["id"], names),
        "id": str(row["id"]),
        "automation": None,
    }


def exclusion(row: Row) -> dict[str, Any]:
    """Return an exclusion [doc]; the row has ``lists``, their ids joined by commas."""
    return {
        "id": str(row["id"]),
        "matchPhrase": row["phrase"],
        "matchType": row["match_type"],
        "channel": row["channel"],
        "hidden": False,
        "lists": row["lists"].split(",") if row["lists"] else [],
    }


def bounce_log(row: Row, style: Style) -> dict[str, Any]:
    """Return an entry of a contact's bounce log [doc]; the row has the contact's ``email``.

    In the documented example ``bounceid`` is not the entry's id; what it counts is unverified.
    """
    campaign, message, code = (_id(row[name]) for name in ("campaign", "message", "code"))
    names = ("bounce", "contact", "campaign", "message", "code")
    return {
        "tstamp": iso(row["at"]),
        "bounceid": "1",
        "subscriberid": str(row["contact"]),
        "campaignid": campaign,
        "messageid": message,
        "codeid": code,
        "email": row["email"],
        "error": row["error"],
        "source": row["source"],
        "created_timestamp": local(row["at"]),
        "updated_timestamp": local(row["at"]),
        "created_by": None,
        "updated_by": None,
        "links": _links(style, "bounceLogs", row["id"], names),
        "id": str(row["id"]),
        "bounce": "1",
        "contact": str(row["contact"]),
        "campaign": campaign,
        "message": message,
        "code": code,
    }


def saved_contact_list(
    row: Row, style: Style, sent: dict[str, Any], *, is_new: bool
) -> dict[str, Any]:
    """Return a membership in the answer to POST /contactLists, which echoes the types sent.

    A new one has fewer keys and a number as its ``sourceid`` [rec]; one that was there before has
    all [doc].
    """
    full = contact_list(row, style)
    echoed = {name: sent[name] for name in ("status", "list", "contact")}
    if not is_new:
        return {**full, **echoed}
    keys = (
        "sdate", "udate", "unsubreason", "campaign", "message", "first_name", "last_name",
        "unsubscribeAutomation", "links", "id",
    )  # fmt: skip
    return {**echoed, **{key: full[key] for key in keys}, "sourceid": row["sourceid"]}
