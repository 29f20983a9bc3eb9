"""The SQL of the views, made once from their definitions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ...engine.errors import InvalidInput
from ...engine.ports import Delete, Difference

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlite_utils.db import Database

    from ...engine.ports import Change, Value, View


class Statements(NamedTuple):
    """One view's statements; every value is bound."""

    upsert: str
    delete: str
    row: str


@cache
def statements(view: View, table: str) -> Statements:
    """Return the statements of a view kept in `table`."""
    names = view.names()
    listed, marks = ", ".join(names), ", ".join("?" * len(names))
    changed = ", ".join(
        f"{column.name} = coalesce({column.name}, 0) + coalesce(excluded.{column.name}, 0)"
        if column.sums
        else f"{column.name} = coalesce(excluded.{column.name}, {column.name})"
        for column in view.columns
        if column.name not in view.key
    )
    action = f"UPDATE SET {changed}" if changed else "NOTHING"
    found = " AND ".join(f"{name} = ?" for name in view.key)
    return Statements(
        upsert=f"INSERT INTO {table} ({listed}) VALUES ({marks}) ON CONFLICT ({', '.join(view.key)}) DO {action}",  # noqa: S608 - names come from code
        delete=f"DELETE FROM {table} WHERE {found}",  # noqa: S608 - names come from code
        row=f"SELECT {listed} FROM {table} WHERE {found}",  # noqa: S608 - names come from code
    )


@cache
def selection(view: View, where: tuple[str, ...], order: str | None, *, after: bool, limited: bool) -> str:
    """Return the SELECT for rows that equal `where`, in order.

    Raises:
        InvalidInput: a column the view does not have.
    """
    names = view.names()
    by = (order,) if order else view.key
    unknown = [name for name in (*where, *by) if name not in names]
    if unknown:
        raise InvalidInput(f"view {view.name} has no column {unknown[0]}; it has {', '.join(names)}")
    conditions = [f"{name} IS ?" for name in where]
    if after:
        conditions.append(f"{by[0]} > ?")
    sql = f"SELECT {', '.join(names)} FROM {view.name}"  # noqa: S608 - names come from code
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    sql += " ORDER BY " + ", ".join(by)
    return sql + (" LIMIT ?" if limited else "")


def apply(connection: sqlite3.Connection, changes: Iterable[Change], suffix: str = "") -> None:
    """Apply view changes inside the open transaction."""
    for change in changes:
        sql = statements(change.view, change.view.name + suffix)
        if isinstance(change, Delete):
            connection.execute(sql.delete, change.key)
        else:
            connection.execute(sql.upsert, change.values)


def create(db: Database, view: View, suffix: str = "") -> None:
    """Create an empty table for a view, without its indexes."""
    db[view.name + suffix].create(  # type: ignore[union-attr]
        {column.name: column.kind for column in view.columns}, pk=view.key[0] if len(view.key) == 1 else view.key
    )


def create_indexes(db: Database, view: View) -> None:
    """Create a view's indexes."""
    for columns in view.indexes:
        db[view.name].create_index(columns, index_name=f"{view.name}_by_{'_'.join(columns)}")  # type: ignore[union-attr]


def definition(view: View) -> str:
    """Return a view's definition as text, so that a file made with another one is noticed."""
    columns = ",".join(f"{name}:{kind.__name__}{'+' if sums else ''}" for name, kind, sums in view.columns)
    indexes = ";".join(",".join(columns) for columns in view.indexes)
    return f"{columns}|{','.join(view.key)}|{indexes}"


def differences(connection: sqlite3.Connection, view: View, suffix: str) -> Iterator[Difference]:
    """Yield every key whose row is not the same in the live and the new table."""
    names = view.names()
    listed = ", ".join(names)
    for mine, other in ((view.name, view.name + suffix), (view.name + suffix, view.name)):
        only_mine = f"SELECT {listed} FROM {mine} EXCEPT SELECT {listed} FROM {other}"  # noqa: S608 - names from code
        for values in connection.execute(only_mine).fetchall():
            row = dict(zip(names, values, strict=True))
            key = tuple(row[name] for name in view.key)
            twin = _row(connection, view, other, key)
            if mine == view.name:
                yield Difference(view.name, key, row, twin)
            elif twin is None:
                yield Difference(view.name, key, None, row)


def _row(
    connection: sqlite3.Connection, view: View, table: str, key: Sequence[Value]
) -> Mapping[str, Value] | None:
    values = connection.execute(statements(view, table).row, tuple(key)).fetchone()
    return None if values is None else dict(zip(view.names(), values, strict=True))
