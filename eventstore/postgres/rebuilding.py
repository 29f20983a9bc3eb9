"""Rebuilding the views of the PostgreSQL store: the new tables, their functions and indexes, beside the live ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from ..rebuilding import NUMBER, Begun
from . import definitions, grants, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...engine.ports import Change, Difference, View
    from .connection import Connection

_NEW: Final = "__new"
_LAST: Final = "SELECT definition FROM views WHERE name = %s"
_RENAME_TABLE: Final = sql.SQL("ALTER TABLE {} RENAME TO {}")
_RENAME_INDEX: Final = sql.SQL("ALTER INDEX {} RENAME TO {}")


class Tables:
    """The tables beside the live ones."""

    @staticmethod
    def check(declared: Iterable[View]) -> None:
        """Raise `InvalidSetting` for views that cannot be tables."""
        definitions.check(declared)

    @staticmethod
    def begin(connection: Connection, rebuilt: Sequence[View]) -> Begun:
        """Make empty tables; where a live one is lost that one as well, so that both can be read.

        Raises:
            StoreUnavailable: an SQL view reads a live one.
        """
        views.check_replaceable(connection, rebuilt)
        there = views.tables(connection)
        lost = tuple(view for view in rebuilt if view.name not in there)
        for view in lost:
            views.create(connection, view)
            views.create_functions(connection, view)
            connection.execute(views.RECORD, (view.name, ""))
        for view in rebuilt:
            views.run(connection, views.DROP_TABLE, sql.Identifier(view.name + _NEW))
            views.create(connection, view, _NEW)
            views.create_functions(connection, view, _NEW)
        number = Tables.number(connection) + 1
        connection.execute(views.RECORD, (NUMBER, str(number)))
        return Begun(number, lost)

    @staticmethod
    def number(connection: Connection) -> int:
        """Return the number of the last rebuild that began."""
        found = connection.execute(_LAST, (NUMBER,)).fetchone()
        return int(found[0]) if found is not None else 0

    @staticmethod
    def fill(connection: Connection, changes: Sequence[Change]) -> None:
        """Apply changes to the new tables."""
        views.apply(connection, changes, _NEW)

    @staticmethod
    def index(connection: Connection, view: View, number: int) -> None:  # noqa: ARG004 - an index can be renamed here
        """Give a new table its indexes."""
        views.create_indexes(connection, view, _NEW)

    @staticmethod
    def differences(connection: Connection, view: View) -> Iterator[Difference]:
        """Yield every key whose row is not the same in the live and the new table."""
        return views.differences(connection, view, _NEW)

    @staticmethod
    def swap(connection: Connection, rebuilt: Iterable[View]) -> None:
        """Put the new tables in the place of the live ones, with what was granted on those."""
        for view in rebuilt:
            granted = grants.of_table(connection, view.name)
            views.drop_functions(connection, view.name + _NEW)
            views.run(connection, views.DROP_TABLE, sql.Identifier(view.name))
            views.run(connection, _RENAME_TABLE, sql.Identifier(view.name + _NEW), sql.Identifier(view.name))
            for name in views.index_names(view).values():
                views.run(connection, _RENAME_INDEX, sql.Identifier(name + _NEW), sql.Identifier(name))
            views.create_functions(connection, view)
            grants.give(connection, view, granted)
            connection.execute(views.RECORD, (view.name, definitions.definition(view)))

    @staticmethod
    def give_up(connection: Connection, rebuilt: Iterable[View], begun: Begun) -> None:
        """Take the new tables away, and those that stand in the place of lost ones."""
        for name in (*(view.name + _NEW for view in rebuilt), *(view.name for view in begun.lost)):
            views.drop_functions(connection, name)
            views.run(connection, views.DROP_TABLE, sql.Identifier(name))
