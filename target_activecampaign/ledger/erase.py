"""The erasure of parts of a ledger: an account, a list, a stream or a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from target_activecampaign.errors import EraseError
from target_activecampaign.ledger import contact_hash
from target_activecampaign.ledger import schema as tables
from target_activecampaign.ledger.imports import erase_contacts
from target_activecampaign.ledger.overview import count_suppressed
from target_activecampaign.ledger.runs import is_running, process_number
from target_activecampaign.ledger.write_buffer import write_all
from target_activecampaign.model.names import nfc
from target_activecampaign.model.withheld import WithheldReason

if TYPE_CHECKING:
    from collections.abc import Collection

    from target_activecampaign.ledger.store import Store


_OF_ROWS = (tables.source_row, tables.departure, tables.withheld, tables.retry)
"""The tables of segments, besides the members, that have a column `person`."""


class Choice(NamedTuple):
    """A choice of what to erase.

    Attributes:
        connection: An account; all of it if neither a list nor a stream is chosen. None for the
            only account that has the list or stream.
        list_id: A list.
        stream: A stream.
    """

    connection: str | None
    list_id: int | None
    stream: str | None

    @property
    def is_whole(self) -> bool:
        """True if the whole account is chosen."""
        return self.list_id is None and self.stream is None


class Selection(NamedTuple):
    """The parts of a ledger that a choice selects.

    Attributes:
        account: The account's number.
        connection: The account.
        runs: Its runs.
        renames: The number of contacts that an interrupted run was about to rename.
        segments: The streams and lists of the selected segments, by number.
        members: The number of members in these.
        suppressed: The number of suppressed people of the account.
    """

    account: int
    connection: str
    runs: list[str]
    renames: int
    segments: dict[int, tuple[str, int]]
    members: int
    suppressed: int


class ErasedRows(NamedTuple):
    """The numbers of places in which a person was erased.

    Attributes:
        members: Segments.
        existing: Indexes of contacts.
        in_flight: Imports in flight.
        rejected: Segments in which a rejected record waits to be tried again.
        suppressions: Suppressions of the person, which stay.
    """

    members: int
    existing: int
    opt_outs: int
    in_flight: int
    rejected: int
    suppressions: int


def select(store: Store, choice: Choice) -> Selection:
    """Return what a choice selects.

    Raises:
        EraseError: The ledger has no such thing, or more than one, or a run is using it.
        LedgerError: The ledger can't be used.
    """

    def select_now() -> Selection:
        with store.transaction() as db:
            write_all(store, db)
            return _select(db, choice)

    return store.retry(select_now)


def erase(store: Store, choice: Choice) -> Selection:
    """Erase an account, a list or a stream with all its contacts; returns what was erased.

    Raises:
        EraseError, LedgerError: As for `select`.
    """
    selections: list[Selection] = []
    return store.retry(lambda: _erase(store, choice, selections))


def _erase(store: Store, choice: Choice, selections: list[Selection]) -> Selection:
    member, segment = tables.member, tables.segment
    with store.transaction(alone=True) as db:
        write_all(store, db)
        try:
            selection = _select(db, choice)
        except EraseError:
            if selections:
                return selections[0]  # an attempt was committed, and only its response was lost
            raise
        selections[:] = [selection]
        numbers = list(selection.segments)
        for table in (member, *_OF_ROWS, tables.stream_run):
            db.execute(table.delete().where(table.c.segment.in_(numbers)))
        db.execute(segment.delete().where(segment.c.id.in_(numbers)))
        _erase_waiting(db, selection.runs)
        if choice.is_whole:
            _erase_account(db, selection)
        else:
            # Else the imports in flight would restore them, perhaps under a number that is then
            # another segment's.
            erase_contacts(store, db, selection.runs, segments=numbers)
            _read_lists_again(db, selection)
            _erase_opt_outs(db, selection)
        return selection


def _read_lists_again(db: sa.Connection, selection: Selection) -> None:
    """Store that lists must be read, as those who were to be unsubscribed may be forgotten."""
    segment = tables.segment
    if selection.suppressed:
        lists = {list_id for _, list_id in selection.segments.values()}
        theirs = sa.and_(segment.c.account == selection.account, segment.c.list.in_(lists))
        db.execute(segment.update().where(theirs).values(sweep=True))


def erase_person(store: Store, keys: Collection[str], connection: str | None = None) -> ErasedRows:
    """Erase a person from all accounts, or from one.

    Args:
        store: The ledger's database.
        keys: The keys of all spellings of the address (see `model.email.contact_key`).
        connection: The account; None for all.

    Raises:
        EraseError: There is no such account, or a run is in progress that may have the person.
        LedgerError: The ledger can't be used.
    """
    most = ErasedRows(0, 0, 0, 0, 0, 0)

    def erase_now() -> ErasedRows:
        nonlocal most
        erased = _erase_person(store, keys, connection)
        # After an attempt whose response was lost, the next one finds nothing.
        most = ErasedRows(*map(max, most, erased))
        return most

    return store.retry(erase_now)


def hashes_of(store: Store, keys: Collection[str], connection: str | None = None) -> set[bytes]:
    """Return the hashes of a person in all accounts, or in one; see `erase_person`."""

    def read() -> set[bytes]:
        with store.transaction() as db:
            return {
                contact_hash(store.key, str(account.identity), key)
                for account in accounts_of(db, connection)
                for key in keys
            }

    return store.retry(read)


def _erase_person(store: Store, keys: Collection[str], connection: str | None) -> ErasedRows:
    member, segment, existing = tables.member, tables.segment, tables.existing
    opt_out = tables.opt_out
    members = indexed = opt_outs = in_flight = rejected = suppressed = 0
    with store.transaction(alone=True) as db:
        write_all(store, db)
        for account in accounts_of(db, connection):
            runs = ended_runs(db, account)
            _check_renames(db, account)
            hashes = {contact_hash(store.key, account.identity, key) for key in keys}
            # By segment too: the key begins with it, and without it the whole table is read.
            segments = sa.select(segment.c.id).where(segment.c.account == account.id)
            in_members = member.delete().where(
                member.c.segment.in_(segments), member.c.person.in_(hashes)
            )
            in_index = existing.delete().where(
                existing.c.account == account.id, existing.c.person.in_(hashes)
            )
            in_opt_outs = opt_out.delete().where(
                opt_out.c.account == account.id, opt_out.c.person.in_(hashes)
            )
            rejected += _erase_rows(db, account, hashes)
            _erase_waiting(db, runs)
            members += db.execute(in_members).rowcount
            indexed += db.execute(in_index).rowcount
            opt_outs += db.execute(in_opt_outs).rowcount
            in_flight += erase_contacts(store, db, runs, contacts=hashes)
            suppressed += _count_suppressions(db, account, hashes)
    return ErasedRows(members, indexed, opt_outs, in_flight, rejected, suppressed)


def _erase_rows(
    db: sa.Connection, account: sa.Row[tuple[object, ...]], hashes: Collection[bytes]
) -> int:
    """Erase a person's source rows, departures, withheld and rejected records; no suppression.

    A suppressed person who may be active on a list is still to be unsubscribed from it.

    Returns:
        The number of segments in which a rejected record waited.
    """
    erased: dict[str, int] = {}
    segment = tables.segment
    segments = sa.select(segment.c.id).where(segment.c.account == account.id)
    for table in _OF_ROWS:
        theirs = sa.and_(table.c.segment.in_(segments), table.c.person.in_(hashes))
        if table is tables.withheld:
            stays = sa.and_(theirs, table.c.reason == WithheldReason.SUPPRESSED, table.c.pending)
            db.execute(table.update().where(stays).values(address=None, contact=None))
            theirs = sa.and_(theirs, sa.not_(stays))
        erased[table.name] = db.execute(table.delete().where(theirs)).rowcount
    return erased[tables.retry.name]


def _count_suppressions(
    db: sa.Connection, account: sa.Row[tuple[object, ...]], hashes: Collection[bytes]
) -> int:
    table = tables.suppression
    theirs = sa.and_(table.c.account == account.id, table.c.person.in_(hashes))
    return int(db.execute(sa.select(sa.func.count()).where(theirs)).scalar_one())


def _erase_waiting(db: sa.Connection, runs: Collection[str]) -> None:
    """Erase the records that wait. They are of interrupted runs, and will be read again."""
    db.execute(tables.waiting.delete().where(tables.waiting.c.run.in_(runs)))


def _check_renames(db: sa.Connection, account: sa.Row[tuple[object, ...]]) -> None:
    """Check that no contact is about to get another address.

    Raises:
        EraseError: A run was interrupted meanwhile. Without its plan, contacts would keep a
            temporary address, and opt-outs would be lost.
    """
    if _count_renames(db, account):
        raise EraseError(
            f"A run of {account.identity} was interrupted while it renamed contacts, and some may "
            "have a temporary address. Run the target once, with any input, then forget."
        )


def _count_renames(db: sa.Connection, account: sa.Row[tuple[object, ...]]) -> int:
    theirs = tables.rename.c.account == account.id
    return int(db.execute(sa.select(sa.func.count()).where(theirs)).scalar_one())


def _select(db: sa.Connection, choice: Choice) -> Selection:
    segment, member = tables.segment, tables.member
    chosen = sa.select(segment.c.id, segment.c.stream, segment.c.list)
    if choice.list_id is not None:
        chosen = chosen.where(segment.c.list == choice.list_id)
    found = []
    for account in accounts_of(db, choice.connection):
        rows = db.execute(chosen.where(segment.c.account == account.id)).all()
        segments = {
            row.id: (row.stream, row.list)
            for row in rows
            if choice.stream is None or nfc(row.stream) == nfc(choice.stream)
        }
        if segments or choice.is_whole:
            found.append((account, segments))
    if not found:
        raise EraseError("The ledger has no such stream or list: `show` lists those it has.")
    if len(found) > 1:
        names = ", ".join(account.identity for account, _ in found)
        raise EraseError(
            f"There is more than one connection that has it: name one with --connection: {names}."
        )
    ((account, segments),) = found
    if not choice.is_whole:
        _check_renames(db, account)
    members = db.execute(
        sa.select(sa.func.count()).where(member.c.segment.in_(list(segments)))
    ).scalar_one()
    runs, renames = ended_runs(db, account), _count_renames(db, account)
    suppressed = count_suppressed(db, account.id)
    return Selection(account.id, account.identity, runs, renames, segments, members, suppressed)


def accounts_of(db: sa.Connection, connection: str | None) -> list[sa.Row[tuple[object, ...]]]:
    """Return the accounts of a ledger, or the one of this name.

    Raises:
        EraseError: There is none of this name.
    """
    rows = db.execute(sa.select(tables.account).order_by(tables.account.c.id)).all()
    found = [row for row in rows if connection in (None, row.identity)]
    if connection is not None and not found:
        names = ", ".join(row.identity for row in rows) or "none"
        raise EraseError(f"The ledger has no such connection. It has: {names}.")
    return found


def ended_runs(db: sa.Connection, account: sa.Row[tuple[object, ...]]) -> list[str]:
    """Return the account's runs.

    Raises:
        EraseError: One is in progress: it would write again what it has in memory.
    """
    run = tables.run
    runs = db.execute(sa.select(run).where(run.c.account == account.id)).all()
    for one in runs:
        if is_running(db, one):
            raise EraseError(
                f"A run of {account.identity} is in progress ({one.id}, process "
                f"{process_number(one)} on {one.host}): wait until it has ended."
            )
    return [one.id for one in runs]


def _erase_opt_outs(db: sa.Connection, selection: Selection) -> None:
    """Erase the opt-outs of lists that no segment of the account loads any more."""
    segment = tables.segment
    in_use = sa.select(segment.c.list).where(segment.c.account == selection.account)
    for table in (tables.opt_out, tables.opt_out_reading):
        theirs = sa.and_(table.c.account == selection.account, table.c.list.not_in(in_use))
        db.execute(table.delete().where(theirs))


def _erase_account(db: sa.Connection, selection: Selection) -> None:
    existing, run, import_, account = tables.existing, tables.run, tables.import_, tables.account
    for table in (
        existing,
        tables.opt_out,
        tables.opt_out_reading,
        tables.rename,
        tables.suppression,
    ):
        db.execute(table.delete().where(table.c.account == selection.account))
    db.execute(import_.delete().where(import_.c.run.in_(selection.runs)))
    of_runs = tables.stream_run.c.run.in_(selection.runs)
    db.execute(tables.stream_run.delete().where(of_runs))
    db.execute(run.delete().where(run.c.id.in_(selection.runs)))
    db.execute(account.delete().where(account.c.id == selection.account))
