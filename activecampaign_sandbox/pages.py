"""Pages of collections: the ``limit`` and ``offset`` of a call, and the rows that they select."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.wire import Call

_DEFAULT_LIMIT = 20


def page_bounds(call: Call, cap: int) -> tuple[int, int]:
    """Return limit and offset: 20 without a limit, at most ``cap`` [doc; beyond 100 unverified]."""
    limit = call.number("limit", _DEFAULT_LIMIT)
    return min(limit if limit > 0 else _DEFAULT_LIMIT, cap), max(0, call.number("offset", 0))


def read_page(
    account: Account,
    call: Call,
    query: str,
    *values: Any,
    table: str,
    where: str = "",
    order: str = "id",
) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of one page, and the answer's ``meta`` with the number of rows on all pages.

    All texts are SQL of this package, never a client's.

    Args:
        account: The account.
        call: The call, whose query holds limit and offset.
        query: ``SELECT ... FROM ...``.
        *values: The values of the WHERE clause.
        table: The table in which the rows are counted.
        where: The condition of the WHERE clause, with question marks numbered from ``?1``.
        order: The columns of the ORDER BY clause.
    """
    limit, offset = page_bounds(call, account.options.page_cap)
    where = f" WHERE {where}" if where else ""
    number = len(values)
    rows = account.store.all(
        f"{query}{where} ORDER BY {order} LIMIT ?{number + 1} OFFSET ?{number + 2}",
        *values, limit, offset,
    )  # fmt: skip
    total = account.store.number(f"SELECT count(*) FROM {table}{where}", *values)  # noqa: S608
    return rows, {"total": str(total)}
