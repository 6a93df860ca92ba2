"""Pages of collections: the ``limit`` and ``offset`` of a call, and the rows that they select."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activecampaign_sandbox.wire import fail, refuse_query

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from sqlite3 import Row

    from activecampaign_sandbox.account import Account
    from activecampaign_sandbox.options import Options
    from activecampaign_sandbox.wire import Call

    # Conditions, each with the values for its question marks.
    Terms = Sequence[tuple[str, list[Any]]]

_DEFAULT_LIMIT = 20


# The operators of filters of texts [doc]; case does not count (unverified).
_OPERATORS = {
    "eq": "lower({}) = lower(?)",
    "neq": "lower({}) <> lower(?)",
    "lt": "lower({}) < lower(?)",
    "lte": "lower({}) <= lower(?)",
    "gt": "lower({}) > lower(?)",
    "gte": "lower({}) >= lower(?)",
    "contains": "instr(lower({}), lower(?)) > 0",
    "starts_with": "instr(lower({}), lower(?)) = 1",
}
PARAMETERS = frozenset({"limit", "offset"})
"""The query parameters of every collection [doc]."""


def page_bounds(call: Call, options: Options) -> tuple[int, int]:
    """Return limit and offset: 20 without a limit, at most ``page_cap`` [doc; beyond it unv].

    Raises:
        ApiError: The limit is too large, and the options refuse that.
    """
    limit = call.number("limit", _DEFAULT_LIMIT)
    limit = limit if limit > 0 else _DEFAULT_LIMIT
    if limit > options.page_cap and options.large_limit != "honour":
        if options.large_limit == "refuse":
            fail(400, message=f"The limit may be at most {options.page_cap}.")
        limit = options.page_cap
    return limit, max(0, call.number("offset", 0))


def read_page(
    account: Account,
    call: Call,
    query: str,
    terms: Terms = (),
    *,
    table: str,
    order: str = "id",
) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of one page, and the answer's ``meta`` with the number of rows on all pages.

    All texts are SQL of this package, never a client's.

    Args:
        account: The account.
        call: The call, whose query holds limit and offset.
        query: ``SELECT ... FROM ...``.
        terms: The conditions that all rows must meet.
        table: The table in which the rows are counted.
        order: The columns of the ORDER BY clause.
    """
    limit, offset = page_bounds(call, account.options)
    where = f" WHERE {' AND '.join(term for term, _ in terms)}" if terms else ""
    values = [value for _, some in terms for value in some]
    rows = account.store.all(
        f"{query}{where} ORDER BY {order} LIMIT ? OFFSET ?", *values, limit, offset
    )
    total = account.store.number(f"SELECT count(*) FROM {table}{where}", *values)  # noqa: S608
    return rows, {"total": str(total)}


def check_filters(call: Call, known: Collection[str]) -> None:
    """Refuse filters that are not known, as one without effect would select everything."""
    for name, _ in call.query:
        if name.startswith("filters") and name not in known:
            refuse_query(name, "it is no filter that the sandbox knows here.")


def text_filters(name: str) -> frozenset[str]:
    """Return the names of a filter of texts: alone, and with each operator."""
    return frozenset({name, *(f"{name}[{operator}]" for operator in _OPERATORS)})


def text_terms(call: Call, name: str, column: str) -> Terms:
    """Return the conditions of a filter of texts, which alone is as with ``contains`` [doc]."""
    terms = []
    for operator, term in (("", _OPERATORS["contains"]), *_OPERATORS.items()):
        value = call.filter_text(f"{name}[{operator}]" if operator else name)
        if value is not None:
            terms.append((term.format(column), [value]))
    return terms


def order_by(call: Call, columns: Mapping[str, str], default: str) -> str:
    """Return the columns of the ORDER BY clause that a call asks for.

    Args:
        call: The call.
        columns: The column of each ``orders[NAME]``.
        default: The column that orders what is equal otherwise.
    """
    terms = []
    for key, value in call.query:
        column = columns.get(key[len("orders[") : -1]) if key.startswith("orders[") else None
        if column and value.lower() == "weight":
            refuse_query(key, "the sandbox has no order by weight.", 501)
        if column:
            terms.append(f"{column} {'DESC' if value.upper() == 'DESC' else 'ASC'}")
    return ", ".join([*terms, default])
