"""The SQL of the views, made once from their definitions."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlite_utils.db import Database

from ...engine.errors import InvalidInput, RowCorrupt, StoreUnavailable, ViewStale
from ...engine.ports import Delete, Difference
from ..declared import index_name
from ..rows import as_value, live_rows, tellable, whole_rows
from .connection import not_text, rows_as_kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlite_utils.db import Table

    from ...engine.ports import Change, Column, Upsert, Value, View

_KEPT: Final = "SELECT name, definition FROM views"
_COLUMNS: Final = "SELECT name FROM pragma_table_info(?)"
_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"
_OTHERS: Final = "SELECT type FROM sqlite_master WHERE name = ?"
RECORD: Final = "INSERT OR REPLACE INTO views (name, definition) VALUES (?, ?)"


# ---- statements

# What is no number is damaged, and stays so: with something added to it, it would look like a sum. One that SQLite
# cannot hold becomes a float: in its place stands the smallest number, which abs refuses.
_SUM: Final = (
    "CASE WHEN typeof({0}) NOT IN ('integer', 'null') THEN {0}"
    " WHEN typeof(coalesce({0}, 0) + coalesce({1}, 0)) = 'integer' THEN coalesce({0}, 0) + coalesce({1}, 0)"
    " ELSE abs(-9223372036854775807 - ({1} IS NOT NULL)) END"
)


# Whether the table is of this version comes with its rows, also where there are none: a look of its own would be of
# another moment.
_LIVE: Final = (
    "SELECT made.definition = ?, own.rowid IS NOT NULL, {columns} FROM views AS made"
    ' LEFT JOIN "{table}" AS own ON {found} WHERE made.name = ?'
)


class Statements(NamedTuple):
    """One view's statements, in which every value is bound, and the definition that the table must have."""

    definition: str
    upsert: str
    delete: str
    row: str
    live: str


@cache
def upsert(view: View, table: str) -> tuple[str, str]:
    """Return what stands before and behind the rows that a statement puts into `table`."""
    changed = ", ".join(
        _changed(column, f'excluded."{column.name}"')
        for column in view.columns
        if column.name not in view.key
    )
    action = f"UPDATE SET {changed}" if changed else "NOTHING"
    return (
        f'INSERT INTO "{table}" ({_listed(view.names())})',
        f"ON CONFLICT ({_listed(view.key)}) DO {action}",
    )


@cache
def statements(view: View, table: str) -> Statements:
    """Return the statements of a view kept in `table`."""
    found = " AND ".join(f'"{name}" = ?' for name in view.key)
    before, after = upsert(view, table)
    return Statements(
        definition=view.definition(),
        upsert=f"{before} VALUES ({', '.join('?' * len(view.columns))}) {after}",
        delete=f'DELETE FROM "{table}" WHERE {found}',  # noqa: S608 - names come from code
        row=f'SELECT {_listed(view.names())} FROM "{table}" WHERE {found}',  # noqa: S608 - names come from code
        live=_live(view, [f"{_own(name)} = ?" for name in view.key]),
    )


@cache
def update(view: View, table: str, unchanged: frozenset[str]) -> str | None:
    """Return the statement that changes a row as an upsert does, where its `unchanged` columns are as they will be.

    An upsert names all columns, so SQLite makes the entries of every index anew; this one leaves those alone that it
    does not name. None where there is nothing to change.
    """
    given = {column.name: f"?{place}" for place, column in enumerate(view.columns, 1)}
    kept = {column.name for column in view.columns if column.name in unchanged and not column.sums}
    changed = [
        _changed(column, given[column.name])
        for column in view.columns
        if column.name not in kept and column.name not in view.key
    ]
    found = [f'"{name}" = {given[name]}' for name in view.key]
    found += [f'"{name}" IS coalesce({given[name]}, "{name}")' for name in sorted(kept.difference(view.key))]
    if not changed:
        return None
    return f'UPDATE "{table}" SET {", ".join(changed)} WHERE {" AND ".join(found)}'  # noqa: S608 - names come from code


def _changed(column: Column, value: str) -> str:
    """Return how a column changes that is given a value."""
    name = f'"{column.name}"'
    return f"{name} = {_SUM.format(name, value)}" if column.sums else f"{name} = coalesce({value}, {name})"


@cache
def selection(view: View, where: tuple[str, ...], order: str | None, *, after: bool, limited: bool) -> str:
    """Return the SELECT for rows that equal `where`, in order, as `live_rows` takes them.

    Bound are the view's definition, the values of `where`, that of `after`, the view's name and the limit.

    Raises:
        InvalidInput: a column the view does not have.
    """
    names = view.names()
    by = (order,) if order else view.key
    unknown = [name for name in (*where, *by) if name not in names]
    if unknown:
        raise InvalidInput(f"view {view.name} has no column {unknown[0]}; it has {', '.join(names)}")
    conditions = [f"{_own(name)} IS ?" for name in where]
    if after:
        conditions.append(f"{_own(by[0])} > ?")
    sql = _live(view, conditions) + " ORDER BY " + ", ".join(map(_own, dict.fromkeys((*by, *view.key))))
    return sql + (" LIMIT ?" if limited else "")


def _live(view: View, conditions: Iterable[str]) -> str:
    columns = ", ".join(map(_own, view.names()))
    return _LIVE.format(columns=columns, table=view.name, found=" AND ".join(conditions) or "true")


def _own(name: str) -> str:
    return f'own."{name}"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


# ---- definitions


def stale(connection: sqlite3.Connection, declared: Iterable[View]) -> list[View]:
    """Return the views whose table was made with another definition, was never filled since, or is lost."""
    kept, there = dict(connection.execute(_KEPT)), tables(connection)
    return [view for view in declared if kept.get(view.name) != view.definition() or view.name not in there]


def never_made(connection: sqlite3.Connection, declared: Iterable[View]) -> list[View]:
    """Return the views that have no definition here.

    Raises:
        StoreUnavailable: the table of one is of something else.
    """
    kept = dict(connection.execute(_KEPT))
    new = [view for view in declared if view.name not in kept]
    for view in new:
        for (type_,) in connection.execute(_OTHERS, (view.name,)):
            raise StoreUnavailable(
                f"the file holds a {type_} {view.name} of something else; rename one of the two"
            )
    return new


def tables(connection: sqlite3.Connection) -> set[str]:
    """Return the names of all tables there are."""
    return {name for (name,) in connection.execute(_TABLES)}


def recreate(connection: sqlite3.Connection, changed: Iterable[View]) -> None:
    """Create the tables of views empty, as is right where the log is empty, too."""
    db = Database(connection, execute_plugins=False)
    for view in changed:
        _table(db, view.name).drop(ignore=True)
        create(db, view)
        create_indexes(db, view)
        connection.execute(RECORD, (view.name, view.definition()))


def create(db: Database, view: View, suffix: str = "") -> None:
    """Create a view's table, empty and without indexes."""
    key = view.key[0] if len(view.key) == 1 else view.key
    _table(db, view.name + suffix).create({column.name: column.kind for column in view.columns}, pk=key)


def create_indexes(db: Database, view: View, suffix: str = "", ending: str = "") -> None:
    """Create the indexes of the table whose name ends with `suffix`; their own names end with `ending`."""
    for columns in view.indexes:
        name = index_name(view, columns) + ending
        _table(db, view.name + suffix).create_index(columns, index_name=name)


def _table(db: Database, name: str) -> Table:
    return db.table(name)


# ---- rows

_DIFFERS: Final = ("no such column", "no such table")
"""How SQLite begins to say so."""


@contextmanager
def of_this_version(view: View) -> Iterator[None]:
    """Turn the errors for a table of another version, for none, and for text that is none, into ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if str(error).startswith(_DIFFERS):
            raise ViewStale(view.name) from error
        if not_text(error):
            raise RowCorrupt(view.name) from error
        raise


def row(connection: sqlite3.Connection, view: View, key: Sequence[Value]) -> Mapping[str, Value] | None:
    """Return one row of a live table.

    Raises:
        ViewStale: the table is of another version.
    """
    statement = statements(view, view.name)
    found = rows_as_kept(connection, statement.live, (statement.definition, *key, view.name))
    return next(live_rows(view, found), None)


def rows_of_any_version(
    connection: sqlite3.Connection, view: View, where: Mapping[str, Value], suffix: str = ""
) -> list[Mapping[str, Value]]:
    """Return rows of the table whose name ends so, with the columns of `view` that it has, and values these can hold.

    Raises:
        ViewStale: it is lost, or has not all columns of `where`.
    """
    table = view.name + suffix
    there = {name for (name,) in connection.execute(_COLUMNS, (table,))}
    if not there or not there.issuperset(where):
        raise ViewStale(view.name)
    names = [name for name in view.names() if name in there]
    conditions = " AND ".join(f'"{name}" IS ?' for name in where) or "true"
    select = f'SELECT {_listed(names)} FROM "{table}" WHERE {conditions}'  # noqa: S608 - names come from code
    return whole_rows(view, names, rows_as_kept(connection, select, tuple(where.values())))


# ---- changes


def apply(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Apply changes to the live tables inside the open transaction.

    Raises:
        ViewStale: a table is of another version, whose columns would not be filled, or is lost.
    """
    kept = dict(connection.execute(_KEPT))
    for change in changes:
        if kept.get(change.view.name) != statements(change.view, change.view.name).definition:
            raise ViewStale(change.view.name)
    try:
        fill(connection, changes, "")
    except sqlite3.OperationalError as error:
        for change in changes:
            if str(error) == f"no such table: {change.view.name}":
                raise ViewStale(change.view.name) from error
        raise


def fill(connection: sqlite3.Connection, changes: Iterable[Change], suffix: str) -> None:
    """Apply changes to the tables whose names end so, inside the open transaction."""
    for change in changes:
        view = change.view
        table = view.name + suffix
        sql = statements(view, table)
        if isinstance(change, Delete):
            connection.execute(sql.delete, change.key)
        elif not (change.unchanged and _updated(connection, change, table)):
            connection.execute(sql.upsert, change.values)


def _updated(connection: sqlite3.Connection, change: Upsert, table: str) -> bool:
    """Change a row that is as the caller knew it; tell whether it was."""
    sql = update(change.view, table, change.unchanged)
    return sql is not None and connection.execute(sql, change.values).rowcount > 0


def differences(connection: sqlite3.Connection, view: View, suffix: str) -> Iterator[Difference]:
    """Yield every key whose row is not the same in the live table and in the one whose name ends so.

    A live table that is stale counts as empty.
    """
    names = view.names()
    listed, live, new = _listed(names), view.name, view.name + suffix
    if stale(connection, (view,)):
        every = f'SELECT {listed} FROM "{new}"'  # noqa: S608 - names come from code
        for values in connection.execute(every):
            row = dict(zip(names, values, strict=True))
            yield Difference(view.name, tuple(row[name] for name in view.key), None, row)
        return
    for mine, other in ((live, new), (new, live)):
        only_mine = f'SELECT {listed} FROM "{mine}" EXCEPT SELECT {listed} FROM "{other}"'  # noqa: S608 - names come from code
        for values in rows_as_kept(connection, only_mine, ()):
            row = dict(zip(names, values, strict=True))
            key = tuple(row[name] for name in view.key)
            twin = _row(connection, view, other, key)
            if mine == live:
                yield Difference(view.name, tuple(map(as_value, key)), tellable(row), twin)
            elif twin is None:
                yield Difference(view.name, key, None, row)


def _row(
    connection: sqlite3.Connection, view: View, table: str, key: Sequence[Value]
) -> Mapping[str, Value] | None:
    try:
        found = rows_as_kept(connection, statements(view, table).row, tuple(key))
    except UnicodeEncodeError:  # no text at all, so no key of another table
        return None
    return dict(zip(view.names(), found[0], strict=True)) if found else None
