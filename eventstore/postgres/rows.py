"""The SELECTs over views, made once from their definitions; every value is bound."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from psycopg import sql

from ...engine.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...engine.ports import View

_AND: Final = sql.SQL(" AND ")
_COMMA: Final = sql.SQL(", ")
_ROW: Final = sql.SQL("SELECT {} FROM {} WHERE {}")
# Whether the table is of this version comes with its rows, also where there are none: a look of its own would be of
# another moment. The rows come in their order: of so few on the left the server makes a loop over those on the right.
_LIVE: Final = sql.SQL(
    "SELECT made.definition = %s::text, NOT (own IS NULL), own.* FROM views AS made"
    " LEFT JOIN LATERAL ({}) AS own ON true WHERE made.name = %s::text"
)


def listed(names: Iterable[str]) -> sql.Composed:
    """Return names, quoted and with commas."""
    return _COMMA.join(map(sql.Identifier, names))


def ordered(view: View, name: str) -> sql.Composed:
    """Return a column as rows are ordered by it: nothing comes before something."""
    # A column of the key is never NULL, and its index has no such words.
    shape = sql.SQL("{}") if name in view.key else sql.SQL("{} NULLS FIRST")
    return shape.format(sql.Identifier(name))


@cache
def one_row(view: View, table: str) -> sql.Composed:
    """Return the SELECT for the row of a key."""
    found = _AND.join(_equals(view, name) for name in view.key)
    return _ROW.format(listed(view.names()), sql.Identifier(table), found)


@cache
def live_row(view: View) -> sql.Composed:
    """Return the SELECT for the row of a key, as `live_rows` takes it.

    Bound are the view's definition, the key and the view's name.
    """
    return _LIVE.format(one_row(view, view.name))


@cache
def some_columns(
    view: View, table: str, names: tuple[str, ...], where: tuple[tuple[str, bool], ...]
) -> sql.Composed:
    """Return the SELECT for some columns of the rows of a table; `where` as for `selection`."""
    found = _AND.join(_conditions(view, where)) if where else sql.SQL("true")
    return _ROW.format(listed(names), sql.Identifier(table), found)


@cache
def selection(
    view: View, where: tuple[tuple[str, bool], ...], order: str | None, *, after: bool
) -> sql.Composed:
    """Return the SELECT for rows, in order, as `live_rows` takes them.

    Bound are the view's definition, the values of `where`, that of `after`, the largest number of rows, or None, and
    the view's name.

    Args:
        view: the view.
        where: the columns that must equal a value, and whether the value is None, which is not bound.
        order: the column that orders; None: the key.
        after: whether the rows begin after a value of that column.

    Raises:
        InvalidInput: a column the view does not have.
    """
    names = view.names()
    by = (order,) if order else view.key
    unknown = [name for name in (*dict(where), *by) if name not in names]
    if unknown:
        raise InvalidInput(f"view {view.name} has no column {unknown[0]}; it has {', '.join(names)}")
    conditions = _conditions(view, where)
    if after:
        conditions.append(_compared(view, by[0], ">"))
    select = sql.SQL("SELECT {} FROM {}").format(listed(names), sql.Identifier(view.name))
    if conditions:
        select += sql.SQL(" WHERE ") + _AND.join(conditions)
    sorting = dict.fromkeys((*by, *view.key))
    select += sql.SQL(" ORDER BY ") + _COMMA.join(ordered(view, name) for name in sorting)
    return _LIVE.format(select + sql.SQL(" LIMIT %s::bigint"))


def _conditions(view: View, where: tuple[tuple[str, bool], ...]) -> list[sql.Composed]:
    return [
        sql.SQL("{} IS NULL").format(sql.Identifier(name)) if none else _equals(view, name)
        for name, none in where
    ]


def _equals(view: View, name: str) -> sql.Composed:
    return _compared(view, name, "=")


def _compared(view: View, name: str, operator: str) -> sql.Composed:
    kind = next(column.kind for column in view.columns if column.name == name)
    shapes: Final = {
        ("=", int): sql.SQL("{} = %s::bigint"),
        ("=", str): sql.SQL("{} = %s::text"),
        (">", int): sql.SQL("{} > %s::bigint"),
        (">", str): sql.SQL("{} > %s::text"),
    }
    return shapes[operator, kind].format(sql.Identifier(name))
