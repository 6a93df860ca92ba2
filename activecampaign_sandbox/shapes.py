"""The resources as the API writes them, with the keys and types of recorded answers [rec].

Each function takes a database row and the API's address as the client wrote it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from activecampaign_sandbox.clock import ZONE_NAME, iso, local
from activecampaign_sandbox.store import pair_id

if TYPE_CHECKING:
    from sqlite3 import Row

_CONTACT_LINKS = (
    "bounceLogs", "contactAutomations", "contactData", "contactGoals", "contactLists",
    "contactLogs", "contactTags", "contactDeals", "deals", "fieldValues", "geoIps", "notes",
    "organization", "plusAppend", "trackingLogs", "scoreValues", "accountContacts",
    "automationEntryCounts",
)  # fmt: skip
_LINK_QUERIES = {"contactAutomations": "?limit=1000&orders%5Blastdate%5D=DESC"}


def _links(base: str, resource: str, number: int, names: tuple[str, ...]) -> dict[str, str]:
    return {
        name: f"{base}/{resource}/{number}/{name}{_LINK_QUERIES.get(name, '')}" for name in names
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


def user(base: str, moment: int) -> dict[str, Any]:
    """Return the only user of the account, who owns the key."""
    names = (
        "lists", "userGroup", "dealGroupTotals", "dealGroupUsers", "configs", "dealConnection",
        "userConversationsPermission", "seatUser",
    )  # fmt: skip
    return {
        "username": "admin",
        "firstName": "Sandbox",
        "lastName": "Admin",
        "email": "admin@sandbox.example",
        "phone": "",
        "signature": "",
        "localZoneid": ZONE_NAME,
        "password_updated_utc_timestamp": "0000-00-00 00:00:00",
        "cdate": None,
        "udate": iso(moment),
        "mfaEnabled": "0",
        "links": _links(base, "users", 1, names),
        "id": "1",
    }


def contact(row: Row, base: str) -> dict[str, Any]:
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
        "email_empty": False,
        "links": _links(base, "contacts", row["id"], _CONTACT_LINKS),
        "id": str(row["id"]),
        "organization": str(organization) if organization else None,
    }


def account_contacts(row: Row) -> list[str]:
    """Return the ids of a contact's links to companies: one at most."""
    return [str(row["id"])] if row["organization"] else []


def new_contact(row: Row, base: str) -> dict[str, Any]:
    """Return a contact in the answer to its creation, which has fewer keys."""
    return {
        "email": row["email"],
        "phone": row["phone"],
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "email_empty": False,
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "orgid": "",
        "orgname": "",
        "links": _links(base, "contacts", row["id"], _CONTACT_LINKS),
        "hash": _contact_hash(row["id"]),
        "id": str(row["id"]),
        "organization": "",
    }


_LIST_LINKS = ("contactGoalLists", "user", "addressLists")


def list_(row: Row, base: str) -> dict[str, Any]:
    """Return a list as it is read."""
    empty = (
        "sender_name", "sender_addr1", "sender_addr2", "sender_city", "sender_state",
        "sender_zip", "sender_country", "sender_phone",
    )  # fmt: skip
    return {
        "stringid": row["stringid"],
        "userid": "0",
        "name": row["name"],
        "cdate": iso(row["cdate"]),
        "p_use_tracking": "1",
        "p_use_analytics_read": "0",
        "p_use_analytics_link": "0",
        "p_use_twitter": "0",
        "p_use_facebook": "0",
        "p_embed_image": "1",
        "p_use_captcha": "1",
        "send_last_broadcast": "0",
        "private": "0",
        "analytics_domains": None,
        "analytics_source": "",
        "analytics_ua": "",
        "twitter_token": "",
        "twitter_token_secret": "",
        "facebook_session": None,
        "carboncopy": None,
        "subscription_notify": None,
        "unsubscription_notify": None,
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
        "links": _links(base, "lists", row["id"], _LIST_LINKS),
        "id": str(row["id"]),
        "user": None,
    }


def new_list(row: Row, base: str) -> dict[str, Any]:
    """Return a list in the answer to its creation."""
    return {
        "name": row["name"],
        "stringid": row["stringid"],
        "sender_url": row["sender_url"],
        "sender_reminder": row["sender_reminder"],
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "links": _links(base, "lists", row["id"], _LIST_LINKS),
        "id": str(row["id"]),
    }


_FIELD_LINKS = ("options", "relations")


def field(row: Row, base: str) -> dict[str, Any]:
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
        "links": _links(base, "fields", row["id"], _FIELD_LINKS),
        "id": str(row["id"]),
    }


def new_field(row: Row, base: str) -> dict[str, Any]:
    """Return a custom field in the answer to its creation: ``ordernum`` is a number here."""
    return {
        "title": row["title"],
        "type": row["type"],
        "descript": row["descript"],
        "isrequired": row["isrequired"],
        "perstag": row["perstag"],
        "defval": row["defval"],
        "visible": row["visible"],
        "created_by": "1",
        "updated_by": "1",
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "ordernum": row["ordernum"],
        "links": _links(base, "fields", row["id"], _FIELD_LINKS),
        "id": str(row["id"]),
    }


def option(row: Row, base: str) -> dict[str, Any]:
    """Return an option of a field as it is read."""
    return {
        "field": str(row["field"]),
        "orderid": row["orderid"],
        "value": row["value"],
        "label": row["label"],
        "isdefault": row["isdefault"],
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "links": _links(base, "fieldOptions", row["id"], ("field",)),
        "id": str(row["id"]),
    }


def new_option(row: Row, base: str) -> dict[str, Any]:
    """Return an option of a field in the answer to its creation."""
    full = option(row, base)
    return {key: full[key] for key in ("label", "value", "field", "cdate", "udate", "links", "id")}


def field_rel(row: Row) -> dict[str, Any]:
    """Return a field's relation to a list; ``relid`` 0 is all lists."""
    return {
        "relid": str(row["relid"]),
        "field": str(row["field"]),
        "cdate": iso(row["cdate"]),
        "links": [],
        "id": str(row["id"]),
    }


def field_value(row: Row, base: str) -> dict[str, Any]:
    """Return a contact's value of a field as it is read."""
    number = pair_id(row["contact"], row["field"])
    return {
        "contact": str(row["contact"]),
        "field": str(row["field"]),
        "value": row["value"],
        "cdate": iso(row["cdate"]),
        "udate": iso(row["udate"]),
        "created_by": None,
        "updated_by": None,
        "links": _links(base, "fieldValues", number, ("owner", "field")),
        "id": str(number),
        "owner": str(row["contact"]),
    }


def new_field_value(row: Row, base: str) -> dict[str, Any]:
    """Return a contact's value of a field in the answer to its creation."""
    full = field_value(row, base)
    del full["created_by"], full["updated_by"]
    return full


def tag(row: Row, base: str) -> dict[str, Any]:
    """Return a tag as it is read; the row has ``subscribers``."""
    return {
        "tagType": row["type"],
        "tag": row["name"],
        "description": row["description"],
        "subscriber_count": str(row["subscribers"]),
        "cdate": iso(row["cdate"]),
        **_stamps(row),
        "links": _links(base, "tags", row["id"], ("contactGoalTags",)),
        "id": str(row["id"]),
    }


def new_tag(row: Row, base: str) -> dict[str, Any]:
    """Return a tag in the answer to its creation."""
    full = tag(row, base)
    return {key: full[key] for key in ("tag", "description", "tagType", "cdate", "links", "id")}


def contact_tag(row: Row, base: str) -> dict[str, Any]:
    """Return a contact's tag as it is read."""
    number = pair_id(row["contact"], row["tag"])
    return {
        "contact": str(row["contact"]),
        "tag": str(row["tag"]),
        "cdate": iso(row["cdate"]),
        "created_timestamp": local(row["cdate"]),
        "updated_timestamp": local(row["cdate"]),
        "created_by": None,
        "updated_by": None,
        "links": _links(base, "contactTags", number, ("tag", "contact")),
        "id": str(number),
    }


def new_contact_tag(row: Row, base: str) -> dict[str, Any]:
    """Return a contact's tag in the answer to its creation."""
    full = contact_tag(row, base)
    return {key: full[key] for key in ("contact", "tag", "cdate", "links", "id")}


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)


def contact_list(row: Row, base: str) -> dict[str, Any]:
    """Return a membership as it is read; ``status`` 1 is active, 2 unsubscribed, 3 bounced.

    No answer to a read was recorded: the keys are those of the recorded answer to POST
    /contactLists, with numbers as strings as everywhere else (unverified).
    """
    number = pair_id(row["contact"], row["list"])
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
        "unsubscribeAutomation": _id(row["unsubscribe_automation"]),
        "links": _links(base, "contactLists", number, names),
        "id": str(number),
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


def bounce_log(row: Row, base: str) -> dict[str, Any]:
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
        "links": _links(base, "bounceLogs", row["id"], names),
        "id": str(row["id"]),
        "bounce": "1",
        "contact": str(row["contact"]),
        "campaign": campaign,
        "message": message,
        "code": code,
    }


def new_contact_list(row: Row, base: str, sent: dict[str, Any]) -> dict[str, Any]:
    """Return a membership in the answer to POST /contactLists, which echoes the types sent."""
    full = contact_list(row, base)
    keys = (
        "sdate", "udate", "unsubreason", "campaign", "message", "first_name", "last_name",
        "unsubscribeAutomation", "links", "id",
    )  # fmt: skip
    return {
        "status": sent["status"],
        "list": sent["list"],
        "contact": sent["contact"],
        **{key: full[key] for key in keys},
        "sourceid": row["sourceid"],
    }
