"""Rebuilding the views of the PostgreSQL store: the new tables, and what outlines put into them.

The new tables are filled on a connection of the readers, beside the writer of this process and those of others: the row
of the head is not held for it. What keeps two rebuilds apart is the row of the number (`Tables.number`).
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled

from ...engine.errors import InvalidInput
from .. import outlining
from ..rebuilding import NUMBER, Rebuilding
from . import grants, outlines, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...engine.ports import Change, Difference, Row, Value, View
    from ...engine.ports.projecting import Outline, Projection
    from ..outlining import Part
    from .connection import Connection
    from .readers import Readers
    from .writer import Writer

_NEW: Final = "__new"
# Nobody reads the new tables before the swap, whose own commit waits for the disk and for all before it. Enough memory
# for a part keeps it out of the server's temporary files.
_FILLING: Final = (
    "SET TRANSACTION READ WRITE; SET LOCAL synchronous_commit = off; SET LOCAL work_mem = '64MB'"
)
# A rebuild that begins changes the row first of all: until the end of a transaction that has read it, none begins.
_LAST: Final = "SELECT definition FROM views WHERE name = %s FOR SHARE"
_NEXT: Final = (
    "INSERT INTO views (name, definition) VALUES (%s, '1') ON CONFLICT (name)"
    " DO UPDATE SET definition = (views.definition::bigint + 1)::text RETURNING definition"
)
# Who waits for a table keeps all from reading it that come after, and the writer keeps others from writing. It is the
# statement that is not to take long: each of its tables may be waited for.
_NOT_LONG: Final = (
    "SELECT current_setting('statement_timeout'), set_config('statement_timeout', '200ms', true)"
)
_AS_LONG_AS: Final = "SELECT set_config('statement_timeout', %s, true)"
# The last where a session reads the tables one by one, in another order, and the server looks for that early.
_IN_USE: Final = (QueryCanceled, LockNotAvailable, DeadlockDetected)
_SEIZE: Final = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
_RENAME_TABLE: Final = sql.SQL("ALTER TABLE {} RENAME TO {}")
_RENAME_INDEX: Final = sql.SQL("ALTER INDEX {} RENAME TO {}")


class Tables:
    """The tables beside the live ones."""

    stale = staticmethod(views.stale)

    @staticmethod
    def create(connection: Connection, declared: Iterable[View]) -> None:
        """Make the live tables of views that have no definition, empty."""
        views.keep_to_own_schema(connection)
        new = views.never_made(connection, declared)
        views.check_replaceable(connection, new)
        views.recreate(connection, new)

    @staticmethod
    def are_there(connection: Connection, declared: Iterable[View]) -> bool:
        """Tell whether there is a new table of one of these views."""
        return not views.tables(connection).isdisjoint(view.name + _NEW for view in declared)

    @staticmethod
    def begin(connection: Connection, rebuilt: Sequence[View]) -> int:
        """Make empty tables, and return the number of the rebuild.

        Raises:
            StoreUnavailable: a live table is none of ours, or something of somebody else's hangs on it.
        """
        views.keep_to_own_schema(connection)
        views.check_replaceable(connection, rebuilt)
        # Before any table is touched: who fills those of an older rebuild holds the row before them, too.
        (number,) = connection.execute(_NEXT, (NUMBER,)).fetchall()[0]
        for view in rebuilt:
            views.run(connection, views.DROP_TABLE, sql.Identifier(view.name + _NEW))
            views.create(connection, view, _NEW)
            views.create_functions(connection, view, _NEW)
        return int(number)

    @staticmethod
    def number(connection: Connection) -> int:
        """Return the number of the last rebuild that began; none begins until the end of the transaction."""
        found = connection.execute(_LAST, (NUMBER,)).fetchone()
        return int(found[0]) if found is not None else 0

    @staticmethod
    def fill(connection: Connection, changes: Sequence[Change]) -> None:
        """Apply changes to the new tables."""
        views.apply(connection, changes, _NEW)

    @staticmethod
    def index(connection: Connection, view: View, number: int) -> None:  # noqa: ARG004 - an index can be renamed here
        """Give a new table its indexes."""
        views.keep_to_own_schema(connection)
        views.create_indexes(connection, view, _NEW)

    @staticmethod
    def rows(connection: Connection, view: View, where: Mapping[str, Value]) -> list[Row]:
        """Return the rows of a new table whose columns equal values."""
        return views.rows_of_any_version(connection, view, where, _NEW)

    @staticmethod
    def differences(connection: Connection, view: View) -> Iterator[Difference]:
        """Yield every key whose row is not the same in the live and the new table."""
        return views.differences(connection, view, _NEW)

    @staticmethod
    def can_swap(connection: Connection, rebuilt: Iterable[View]) -> bool:
        """Tell whether no transaction has read a live table and is still open; afterwards one may have."""
        try:
            with connection.transaction(force_rollback=True):
                _seize(connection, rebuilt)
        except _IN_USE:
            return False
        return True

    @staticmethod
    def swap(connection: Connection, rebuilt: Sequence[View]) -> bool:
        """Put the new tables in the place of the live ones, with what was granted on those."""
        try:
            with connection.transaction():
                _seize(connection, rebuilt)
        except _IN_USE:
            return False
        views.keep_to_own_schema(connection)
        for view in rebuilt:
            granted = grants.of_table(connection, view.name)
            views.drop_functions(connection, view.name + _NEW)
            views.run(connection, views.DROP_TABLE, sql.Identifier(view.name))
            views.run(connection, _RENAME_TABLE, sql.Identifier(view.name + _NEW), sql.Identifier(view.name))
            for name in views.index_names(view).values():
                views.run(connection, _RENAME_INDEX, sql.Identifier(name + _NEW), sql.Identifier(name))
            views.create_functions(connection, view)
            grants.give(connection, view, granted)
            connection.execute(views.RECORD, (view.name, view.definition()))
        return True

    @staticmethod
    def give_up(connection: Connection, rebuilt: Iterable[View]) -> None:
        """Take the new tables away."""
        views.keep_to_own_schema(connection)
        for view in rebuilt:
            views.drop_functions(connection, view.name + _NEW)
            views.run(connection, views.DROP_TABLE, sql.Identifier(view.name + _NEW))


def _seize(connection: Connection, rebuilt: Iterable[View]) -> None:
    """Let nobody else use the live tables until the end of the transaction.

    Raises:
        QueryCanceled, LockNotAvailable, DeadlockDetected: somebody does.
    """
    views.keep_to_own_schema(connection)
    there = views.tables(connection)
    names = [sql.Identifier(view.name) for view in rebuilt if view.name in there]
    if names:
        otherwise, _ = connection.execute(_NOT_LONG).fetchall()[0]
        views.run(connection, _SEIZE, sql.SQL(", ").join(names))
        connection.execute(_AS_LONG_AS, (otherwise,))


class PostgresRebuilding(Rebuilding):
    """The part of the PostgreSQL store that rebuilds its views."""

    _new = Tables()
    _readers: Readers

    @contextmanager
    def _filling(self, beside: bytes | None = None) -> Iterator[Connection]:  # noqa: ARG002 - for other stores
        if self.in_batch:  # no other connection sees what it has appended
            with self._writing() as connection:
                yield connection
            return
        with self._readers.one() as connection, connection.transaction():
            connection.execute(_FILLING)
            yield connection

    @abstractmethod
    def _checked_writer(self) -> Writer:
        """Return the writer. Raises `StoreReadOnly`."""

    def _outlined(self, number: int, projection: Projection, upto: int) -> Mapping[str, Sequence[str]]:
        with self._reading() as connection:
            found = connection.execute(outlines.AT, (list(outlining.samples(upto)),)).fetchall()
        sampled = [stream for (stream,) in found]
        left: dict[str, Sequence[str]] = {}
        for outline in projection.outlines:
            parts = outlining.parts(outline, upto, sampled)
            left[outline.category] = [
                stream for part in parts for stream in self._filled_in(number, outline, part)
            ]
        return left

    def _filled_in(self, number: int, outline: Outline, part: Part) -> list[str]:
        """Fill in what an outline says of a part of the streams, and return the streams it leaves."""
        text, before, after = outlines.statement(outline, _NEW)
        try:
            with self._tables(number) as connection, self._translated():
                found = connection.execute(text, (*before, *part, *after), prepare=False).fetchall()
        except InvalidInput:
            # Of data that cannot be read, or that no column holds, only the fold can say more.
            with self._reading() as connection:
                found = connection.execute(outlines.STREAMS, part).fetchall()
        return [stream for (stream,) in found]
