"""Client for ActiveCampaign's API v3, as far as a loader of contacts needs it.

`Client` sends requests, `RateLimiter` keeps to the account's limits, the models hold the answers,
and every failure is an `ActiveCampaignError`::

    with Client("https://acct.api-us1.com", key) as client:
        print([one.name for one in client.lists()])

Marks name the source of a fact about the API: [doc] official documentation, [rec] recorded
traffic, [rep] reported by a third party, [unv] unverified.
"""

from __future__ import annotations

from target_activecampaign.client.address import parse_api_url
from target_activecampaign.client.client import Client
from target_activecampaign.client.errors import (
    ActiveCampaignError,
    AddressTaken,
    AuthenticationError,
    CertificateRejected,
    ClientClosed,
    ConnectionFailed,
    ImportRateLimited,
    ImportRefused,
    InvalidRequest,
    LimitReached,
    MalformedAnswer,
    NotFound,
    OutcomeUnknown,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    Redirected,
    RequestRefused,
    RequestTimeout,
    ServerError,
)
from target_activecampaign.client.models import (
    AcceptedImport,
    BounceLog,
    Contact,
    ContactList,
    Exclusion,
    Field,
    FieldValue,
    ImportStatus,
    Membership,
    OptOut,
    User,
)
from target_activecampaign.client.rate_limit.limiter import RateLimiter, RateLimiterClosed

__all__ = [
    "AcceptedImport",
    "ActiveCampaignError",
    "AddressTaken",
    "AuthenticationError",
    "BounceLog",
    "CertificateRejected",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "Contact",
    "ContactList",
    "Exclusion",
    "Field",
    "FieldValue",
    "ImportRateLimited",
    "ImportRefused",
    "ImportStatus",
    "InvalidRequest",
    "LimitReached",
    "MalformedAnswer",
    "Membership",
    "NotFound",
    "OptOut",
    "OutcomeUnknown",
    "PaymentRequired",
    "PermissionDenied",
    "RateLimited",
    "RateLimiter",
    "RateLimiterClosed",
    "Redirected",
    "RequestRefused",
    "RequestTimeout",
    "ServerError",
    "User",
    "parse_api_url",
]
