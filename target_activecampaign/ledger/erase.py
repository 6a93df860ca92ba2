"""What an operator may take out of a ledger: a connection, a list, a stream, a person."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.errors import EraseError
from target_activecampaign.ledger import person_hash
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.imports import strip
from target_activecampaign.ledger.runs import living
from target_activecampaign.ledger.write_buffer import write_all

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


class Choice(NamedTuple):
    """What is to be forgotten.

    Attributes:
        connection: An account; as a whole, if neither a list nor a stream is named. None for
            the only one that has what is named.
        list_id: A list.
        stream: A stream.
    """

    connection: str | None
    list_id: int | None
    stream: str | None

    @property
    def whole(self) -> bool:
        """Whether all of the connection is meant."""
        return self.list_id is None and self.stream is None


class Chosen(NamedTuple):
    """What a choice comes to.

    Attributes:
        account: The account's number.
        connection: The account.
        runs: Its runs.
        segments: The numbers of the segments that are meant, with their streams and lists.
        people: How many entries of people these have.
    """

    account: int
    connection: str
    runs: list[str]
    segments: dict[int, tuple[str, int]]
    people: int


class PersonRows(NamedTuple):
    """Where a person was forgotten, in rows."""

    members: int
    existing: int
    in_flight: int


def choose(store: Store, choice: Choice) -> Chosen:
    """Find what a choice comes to.

    Raises:
        EraseError: The ledger has no such thing, or more than one, or a run goes on with it.
        LedgerError: The ledger can't be used.
    """

    def choose_now() -> Chosen:
        with store.transaction() as db:
            write_all(store, db)
            return _chosen(db, choice)

    return store.repeat(choose_now)


def forget(store: Store, choice: Choice) -> Chosen:
    """Forget a connection, a list or a stream, and all the people in it.

    Raises:
        EraseError, LedgerError: As `choose`.
    """
    found: list[Chosen] = []
    return store.repeat(lambda: _forget(store, choice, found))


def _forget(store: Store, choice: Choice, found: list[Chosen]) -> Chosen:
    member, segment = tables.member, tables.segment
    with store.transaction(alone=True) as db:
        write_all(store, db)
        try:
            chosen = _chosen(db, choice)
        except EraseError:
            if found:
                return found[0]  # that was committed, and only the answer to it was lost
            raise
        found[:] = [chosen]
        numbers = list(chosen.segments)
        db.execute(member.delete().where(member.c.segment.in_(numbers)))
        db.execute(segment.delete().where(segment.c.id.in_(numbers)))
        if choice.whole:
            _forget_account(db, chosen)
        else:
            # Else what is in flight would come back, and under a number that is another's then.
            strip(store, db, chosen.runs, segments=numbers)
        return chosen


def forget_person(store: Store, keys: Collection[str], connection: str | None = None) -> PersonRows:
    """Forget a person in all accounts, or in one.

    Args:
        store: The ledger's database.
        keys: The spellings of the address, as `addresses.contact_key` gives them.
        connection: The account; None for all.

    Raises:
        EraseError: There is no such account, or a run goes on that may hold the person.
        LedgerError: The ledger can't be used.
    """
    most = [0, 0, 0]
    store.repeat(lambda: _forget_person(store, keys, connection, most))
    return PersonRows(*most)


def _forget_person(
    store: Store, keys: Collection[str], connection: str | None, most: list[int]
) -> None:
    member, segment, existing = tables.member, tables.segment, tables.existing
    counts = [0, 0, 0]
    with store.transaction(alone=True) as db:
        write_all(store, db)
        for account in _accounts(db, connection):
            runs = _resting_runs(db, account)
            people = {person_hash(store.key, account.identity, key) for key in keys}
            # By segment too: the key begins with it, and without it the whole table is read.
            segments = sa.select(segment.c.id).where(segment.c.account == account.id)
            in_members = member.delete().where(
                member.c.segment.in_(segments), member.c.person.in_(people)
            )
            in_existing = existing.delete().where(
                existing.c.account == account.id, existing.c.person.in_(people)
            )
            counts[0] += db.execute(in_members).rowcount
            counts[1] += db.execute(in_existing).rowcount
            counts[2] += strip(store, db, runs, people=people)
        # After a commit whose answer was lost, another attempt finds none.
        most[:] = map(max, most, counts)


def _chosen(db: sa.Connection, choice: Choice) -> Chosen:
    segment, member = tables.segment, tables.member
    meant = sa.select(segment)
    if choice.list_id is not None:
        meant = meant.where(segment.c.list == choice.list_id)
    if choice.stream is not None:
        forms = {unicodedata.normalize(form, choice.stream) for form in ("NFC", "NFD")}
        meant = meant.where(segment.c.stream.in_({choice.stream, *forms}))
    found = []
    for account in _accounts(db, choice.connection):
        rows = db.execute(meant.where(segment.c.account == account.id)).all()
        if rows or choice.whole:
            found.append((account, {row.id: (row.stream, row.list) for row in rows}))
    if not found:
        raise EraseError("The ledger knows no such stream or list: `show` lists those it knows.")
    if len(found) > 1:
        names = ", ".join(account.identity for account, _ in found)
        raise EraseError(
            f"There is more than one connection that has it: name one with --connection: {names}."
        )
    ((account, segments),) = found
    people = db.execute(
        sa.select(sa.func.count()).where(member.c.segment.in_(list(segments)))
    ).scalar_one()
    return Chosen(account.id, account.identity, _resting_runs(db, account), segments, people)


def _accounts(db: sa.Connection, connection: str | None) -> list[sa.Row[tuple[object, ...]]]:
    rows = db.execute(sa.select(tables.account).order_by(tables.account.c.id)).all()
    found = [row for row in rows if connection in (None, row.identity)]
    if connection is not None and not found:
        known = ", ".join(row.identity for row in rows) or "none"
        raise EraseError(f"The ledger knows no such connection. It knows: {known}.")
    return found


def _resting_runs(db: sa.Connection, account: sa.Row[tuple[object, ...]]) -> list[str]:
    """The account's runs, of which none may go on: it would write what it has in memory."""
    run = tables.run
    runs = db.execute(sa.select(run).where(run.c.account == account.id)).all()
    for one in runs:
        if living(db, one):
            raise EraseError(
                f"A run of {account.identity} goes on ({one.id}, process "
                f"{one.process.partition(':')[0]} on {one.host}): wait until it has ended."
            )
    return [one.id for one in runs]


def _forget_account(db: sa.Connection, chosen: Chosen) -> None:
    existing, run, import_, account = tables.existing, tables.run, tables.import_, tables.account
    db.execute(existing.delete().where(existing.c.account == chosen.account))
    db.execute(import_.delete().where(import_.c.run.in_(chosen.runs)))
    db.execute(run.delete().where(run.c.id.in_(chosen.runs)))
    db.execute(account.delete().where(account.c.id == chosen.account))
