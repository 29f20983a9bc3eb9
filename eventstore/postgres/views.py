"""The views: tables beside the log, and the functions that change them within the call of an append."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final

from psycopg import sql
from psycopg.errors import FeatureNotSupported, UndefinedColumn, UndefinedFunction, UndefinedTable

from ...engine.errors import StoreUnavailable, ViewStale
from ...engine.ports import Difference
from ..declared import index_name
from ..rows import live_rows, whole_rows
from . import grants
from .changes import as_json, calls
from .definitions import function_names
from .rows import listed, live_row, one_row, ordered, some_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ...engine.ports import Change, Column, Value, View
    from .connection import Connection

_KEPT: Final = "SELECT name, definition FROM views"
_TABLES: Final = (
    "SELECT relname FROM pg_class WHERE relkind = 'r'"
    " AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
)
_COLUMNS: Final = (
    "SELECT attname, atttypid::regtype::text FROM pg_attribute"
    " WHERE attrelid = to_regclass(quote_ident(%s)) AND attnum > 0 AND NOT attisdropped"
)
_FUNCTIONS: Final = (
    "SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace(quote_ident(current_schema()))"
    " AND starts_with(proname, %s)"
)
# What others have made of a table, and what would go with it unnoticed or keep it from going.
_HANGS_ON: Final = """
WITH replaced AS (SELECT to_regclass(quote_ident(%s))::oid AS id)
SELECT 'the SQL view ' || reader.oid::regclass
FROM replaced, pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid JOIN pg_class AS reader ON reader.oid = ev_class
WHERE classid = 'pg_rewrite'::regclass AND refobjid = id AND reader.oid <> id
UNION SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass FROM replaced, pg_constraint
WHERE contype = 'f' AND confrelid = id
UNION SELECT pg_describe_object(classid, objid, objsubid) FROM (
    SELECT 'pg_class'::regclass AS refclassid, id AS refobjid FROM replaced
    UNION ALL SELECT 'pg_type'::regclass, unnest(ARRAY[pg_type.oid, typarray])
    FROM replaced JOIN pg_class ON pg_class.oid = id JOIN pg_type ON pg_type.oid = reltype
) AS parts JOIN pg_depend USING (refclassid, refobjid)
WHERE deptype = 'n' AND classid NOT IN ('pg_rewrite'::regclass, 'pg_constraint'::regclass)
UNION SELECT 'the row level security' FROM replaced, pg_class WHERE oid = id AND relrowsecurity
UNION SELECT 'the policy ' || polname FROM replaced, pg_policy WHERE polrelid = id
UNION SELECT 'the publication ' || pubname FROM replaced, pg_publication_rel
JOIN pg_publication ON pg_publication.oid = prpubid WHERE prrelid = id
ORDER BY 1
"""
RECORD: Final = (
    "INSERT INTO views (name, definition) VALUES (%s, %s)"
    " ON CONFLICT (name) DO UPDATE SET definition = EXCLUDED.definition"
)
_COMMA: Final = sql.SQL(", ")
_AND: Final = sql.SQL(" AND ")


def stale(connection: Connection, declared: Iterable[View]) -> list[View]:
    """Return the views whose table was made with another definition, was never filled since, or is lost."""
    kept, there = _kept(connection), tables(connection)
    return [view for view in declared if kept.get(view.name) != view.definition() or view.name not in there]


def never_made(connection: Connection, declared: Iterable[View]) -> list[View]:
    """Return the views that have no definition here."""
    kept = _kept(connection)
    return [view for view in declared if view.name not in kept]


def _kept(connection: Connection) -> dict[str, str]:
    return dict(connection.execute(_KEPT).fetchall())


def tables(connection: Connection) -> set[str]:
    """Return the names of all tables there are."""
    return {name for (name,) in connection.execute(_TABLES)}


# ---- tables and functions

# A name without a schema may mean a table of somebody else, in another schema of the search_path.
_IN_ONE_SCHEMA: Final = "SELECT set_config('search_path', quote_ident(current_schema()), true)"
_CREATE_TABLE: Final = sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))")
_CREATE_INDEX: Final = sql.SQL("CREATE INDEX {} ON {} ({})")
DROP_TABLE: Final = sql.SQL("DROP TABLE IF EXISTS {}")
_DROP_FUNCTION: Final = sql.SQL("DROP FUNCTION {}")
_INSERT: Final = sql.SQL("INSERT INTO {} ({})")
_ON_CONFLICT: Final = sql.SQL("ON CONFLICT ({}) DO {}")
_UPSERT: Final = sql.SQL("{} SELECT {} FROM jsonb_array_elements(changed__rows) AS each__row {}")
_DELETE: Final = sql.SQL("DELETE FROM {} WHERE {}")
# A column's name has no two underscores in a row: the variables cannot be taken for one.
_FUNCTION: Final = sql.SQL(
    "CREATE FUNCTION {} (changed__rows jsonb) RETURNS void LANGUAGE plpgsql AS $$\n{}\nEND $$"
)
_ALL: Final = sql.SQL("BEGIN\n    {};")
# One by one: each is found through the key, whatever the planner knows of the table.
_EACH: Final = sql.SQL(
    "DECLARE\n    each__row jsonb;\nBEGIN\n"
    "    FOR each__row IN SELECT jsonb_array_elements(changed__rows) LOOP {}; END LOOP;"
)


def keep_to_own_schema(connection: Connection) -> None:
    """Let names mean what is in the store's own schema and nowhere else, until the end of the transaction."""
    connection.execute(_IN_ONE_SCHEMA)


def check_replaceable(connection: Connection, declared: Iterable[View]) -> None:
    """Check that the tables of these views are ours, and nothing hangs on them, as an SQL view does that reads one.

    Raises:
        StoreUnavailable: one is not, or something does, and would be lost with it.
    """
    kept, there = _kept(connection), tables(connection)
    for view in declared:
        if view.name in there and view.name not in kept:
            raise StoreUnavailable(
                f"the schema holds a table {view.name} of something else; give refold a schema of its own:"
                " …?options=-csearch_path%3Drefold"
            )
        hanging = [what for (what,) in connection.execute(_HANGS_ON, (view.name,)).fetchall()]
        if hanging:
            raise StoreUnavailable(
                f"{', '.join(hanging)} hangs on the table {view.name}, which is to be made anew;"
                " drop it, and create it again afterwards"
            )


def recreate(connection: Connection, changed: Iterable[View]) -> None:
    """Create the tables of views empty, as is right where the log is empty, too."""
    for view in changed:
        granted = grants.of_table(connection, view.name)
        run(connection, DROP_TABLE, sql.Identifier(view.name))
        create(connection, view)
        create_indexes(connection, view)
        create_functions(connection, view)
        grants.give(connection, view, granted)
        connection.execute(RECORD, (view.name, view.definition()))


def run(connection: Connection, shape: sql.SQL, *parts: sql.Composable) -> None:
    """Execute a statement made of these parts."""
    statement = shape.format(*parts)
    connection.execute(statement)


def create(connection: Connection, view: View, suffix: str = "") -> None:
    """Create a view's table, empty and without indexes or functions."""
    columns = (sql.SQL("{} {}").format(sql.Identifier(each.name), _type(each)) for each in view.columns)
    run(connection, _CREATE_TABLE, sql.Identifier(view.name + suffix), _COMMA.join(columns), listed(view.key))


TYPES: Final = {int: "bigint", str: "text"}


def _type(column: Column) -> sql.SQL:
    return sql.SQL("bigint") if column.kind is int else sql.SQL('text COLLATE "C"')


def create_indexes(connection: Connection, view: View, suffix: str = "") -> None:
    """Create the indexes of the table whose name ends so; their own names end so, too."""
    for columns, name in index_names(view).items():
        listed = _COMMA.join(ordered(view, each) for each in columns)
        run(
            connection,
            _CREATE_INDEX,
            sql.Identifier(name + suffix),
            sql.Identifier(view.name + suffix),
            listed,
        )


def index_names(view: View) -> dict[tuple[str, ...], str]:
    """Return the name of each index of a view by its columns."""
    return {tuple(columns): index_name(view, columns) for columns in view.indexes}


def create_functions(connection: Connection, view: View, suffix: str = "") -> None:
    """Create the functions that change the table of that name."""
    drop_functions(connection, view.name + suffix)
    upsert, delete, _ = function_names(view, suffix)
    for name, body in (
        (upsert, _ALL.format(_upsert(view, view.name + suffix))),
        (delete, _EACH.format(_delete(view, view.name + suffix))),
    ):
        run(connection, _FUNCTION, sql.Identifier(name), body)


def drop_functions(connection: Connection, table: str) -> None:
    """Drop those of any definition: they fill the table or none."""
    for start in (f"{table}__set_", f"{table}__unset_"):
        for (name,) in connection.execute(_FUNCTIONS, (start,)).fetchall():
            run(connection, _DROP_FUNCTION, sql.Identifier(name))


def _upsert(view: View, table: str) -> sql.Composed:
    """Return the statement that inserts or changes rows of JSON, each a list of the member and the values."""
    before, after = upsert(view, table)
    values = _COMMA.join(_cell(place, each) for place, each in enumerate(view.columns, 1))
    return _UPSERT.format(before, values, after)


def upsert(view: View, table: str) -> tuple[sql.Composed, sql.Composed]:
    """Return what stands before and behind the rows that a statement puts into `table`."""
    own = sql.Identifier(table)
    changed = [
        sql.SQL("{0} = coalesce({1}.{0}, 0) + coalesce(EXCLUDED.{0}, 0)").format(
            sql.Identifier(each.name), own
        )
        if each.sums
        else sql.SQL("{0} = coalesce(EXCLUDED.{0}, {1}.{0})").format(sql.Identifier(each.name), own)
        for each in view.columns
        if each.name not in view.key
    ]
    action = sql.SQL("UPDATE SET {}").format(_COMMA.join(changed)) if changed else sql.SQL("NOTHING")
    return _INSERT.format(own, listed(view.names())), _ON_CONFLICT.format(listed(view.key), action)


def _delete(view: View, table: str) -> sql.Composed:
    by_name = {each.name: each for each in view.columns}
    found = (
        sql.SQL("{} = {}").format(sql.Identifier(name), _cell(place, by_name[name]))
        for place, name in enumerate(view.key, 1)
    )
    return _DELETE.format(sql.Identifier(table), _AND.join(found))


def _cell(place: int, column: Column) -> sql.Composed:
    shape = sql.SQL("(each__row->>{})::bigint") if column.kind is int else sql.SQL("each__row->>{}")
    return shape.format(sql.Literal(place))


# ---- rows


# The last two where a column has another type: of a statement that the server has prepared, and of others.
_DIFFERS: Final = (UndefinedColumn, UndefinedTable, FeatureNotSupported, UndefinedFunction)
"""How the server says so."""


@contextmanager
def of_this_version(view: View) -> Iterator[None]:
    """Turn the error for a table of another version, or for none, into ours."""
    try:
        yield
    except _DIFFERS as error:
        raise ViewStale(view.name) from error


def row(connection: Connection, view: View, key: Sequence[Value]) -> Mapping[str, Value] | None:
    """Return one row of a live table.

    Raises:
        ViewStale: the table is of another version.
    """
    found = connection.execute(live_row(view), (view.definition(), *key, view.name)).fetchall()
    return next(live_rows(view, found), None)


def rows_of_any_version(
    connection: Connection, view: View, where: Mapping[str, Value], suffix: str = ""
) -> list[Mapping[str, Value]]:
    """Return rows of the table whose name ends so, with the columns of `view` that it has.

    Raises:
        ViewStale: it is lost, or has not all columns of `where`.
    """
    table = view.name + suffix
    there: dict[str, str] = dict(connection.execute(_COLUMNS, (table,)).fetchall())
    own = [column.name for column in view.columns if there.get(column.name) == TYPES[column.kind]]
    if not own or not where.keys() <= set(own):
        raise ViewStale(view.name)
    equal = tuple((name, value is None) for name, value in where.items())
    bound = tuple(value for value in where.values() if value is not None)
    found = connection.execute(some_columns(view, table, tuple(own), equal), bound).fetchall()
    return whole_rows(view, own, found)


# ---- changes and differences

_APPLY: Final = "SELECT apply_changes(%s::jsonb)"
_AT_ONCE: Final = 1_000
"""Changes sent in one call."""
_ALL_ROWS: Final = sql.SQL("SELECT {} FROM {}")
_ONLY_MINE: Final = sql.SQL("SELECT {0} FROM {1} EXCEPT SELECT {0} FROM {2} ORDER BY {3}")


def apply(connection: Connection, changes: Sequence[Change], suffix: str) -> None:
    """Apply changes to the tables whose names end so."""
    each = iter(changes)
    while chunk := list(islice(each, _AT_ONCE)):
        connection.execute(_APPLY, (as_json(calls(((0, change) for change in chunk), suffix)),))


def differences(connection: Connection, view: View, suffix: str) -> Iterator[Difference]:
    """Yield every key whose row is not the same in the live table and in the one whose name ends so.

    A live table that is stale counts as empty.
    """
    names = view.names()
    live, new = view.name, view.name + suffix
    if stale(connection, (view,)):
        every = _ALL_ROWS.format(listed(names), sql.Identifier(new))
        for values in connection.execute(every):
            row = dict(zip(names, values, strict=True))
            yield Difference(view.name, tuple(row[name] for name in view.key), None, row)
        return
    for mine, other in ((live, new), (new, live)):
        only_mine = _ONLY_MINE.format(
            listed(names), sql.Identifier(mine), sql.Identifier(other), listed(view.key)
        )
        for values in connection.execute(only_mine).fetchall():
            row = dict(zip(names, values, strict=True))
            key = tuple(row[name] for name in view.key)
            twin = _twin(connection, view, other, key)
            if mine == live:
                yield Difference(view.name, key, row, twin)
            elif twin is None:
                yield Difference(view.name, key, None, row)


def _twin(connection: Connection, view: View, table: str, key: Sequence[Value]) -> Mapping[str, Value] | None:
    values = connection.execute(one_row(view, table), tuple(key)).fetchone()
    return None if values is None else dict(zip(view.names(), values, strict=True))
