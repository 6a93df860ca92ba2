"""The sample account of a new file: three lists, and custom fields of a coffee shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import fields, records

if TYPE_CHECKING:
    from activecampaign_sandbox.store import Store

_LISTS = (
    ("Newsletter", "newsletter"),
    ("VIP customers", "vip-customers"),
    ("Win-back", "win-back"),
)
_FIELDS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("Tier", "TIER", "dropdown", ("Bronze", "Silver", "Gold", "Platinum")),
    ("Birthday", "BIRTHDAY", "date", ()),
    ("Last seen", "LAST_SEEN", "datetime", ()),
    ("Lifetime value", "LIFETIME_VALUE", "number", ()),
    ("Loyalty points", "LOYALTY_POINTS", "number", ()),
    (
        "Interests",
        "INTERESTS",
        "listbox",
        ("Coffee", "Tea", "Equipment", "Recipes", "Events", "Subscriptions"),
    ),
    ("Country", "COUNTRY", "text", ()),
    ("City", "CITY", "text", ()),
    ("Customer ID", "CUSTOMER_ID", "text", ()),
    ("Notes", "NOTES", "textarea", ()),
    ("Newsletter consent", "NEWSLETTER_CONSENT", "checkbox", ("Yes", "No")),
)


def fill(store: Store) -> None:
    """Write the sample account into an empty store."""
    moment = records.now()
    with store.transaction():
        for name, stringid in _LISTS:
            store.insert(
                "INSERT INTO list (name, stringid, sender_url, sender_reminder, cdate, udate)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                name, stringid, "https://shop.example",
                "You get this because you signed up in our shop.", moment, moment,
            )  # fmt: skip
        for title, perstag, kind, options in _FIELDS:
            field = fields.create_field(store, {"title": title, "perstag": perstag, "type": kind})
            fields.create_rel(store, field, 0)
            for order, value in enumerate(options):
                fields.create_option(store, field, {"value": value, "orderid": str(order)})
