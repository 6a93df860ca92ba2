"""Users: /users, of which there is one, its group, and the API's root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activecampaign_sandbox import shapes
from activecampaign_sandbox.wire import Answer, Call, not_found

if TYPE_CHECKING:
    from activecampaign_sandbox.account import Account

_ONLY = 1


def root(account: Account, call: Call) -> Answer:  # noqa: ARG001 - a handler's form
    """GET /api/3/: 200, by which a client may check its key [rep]; the body is unverified."""
    return Answer(200, {})


def index(account: Account, call: Call) -> Answer:
    """GET /users."""
    users = [shapes.user(call.style, account.started)]
    return Answer(200, {"users": users, "meta": {"total": str(len(users))}})


def me(account: Account, call: Call) -> Answer:
    """GET /users/me."""
    return Answer(200, {"user": shapes.user(call.style, account.started)})


def read(account: Account, call: Call) -> Answer:
    """GET /users/:id."""
    _check(call.id)
    return me(account, call)


def group(account: Account, call: Call) -> Answer:  # noqa: ARG001 - a handler's form
    """GET /users/:id/userGroup, a link of the user [rec]; its answer is unverified."""
    _check(call.id)
    return Answer(200, {"userGroup": shapes.user_group(call.style)})


def _check(number: int) -> None:
    if number != _ONLY:
        not_found("User", number)
