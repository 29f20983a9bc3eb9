"""The schema of the database and its migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from ...engine.errors import SchemaTooNew, StoreReadOnly, StoreUnavailable
from .ddl import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...engine.ports import View
    from .connection import Connection

_KNOWN: Final = len(MIGRATIONS)
_SCHEMA: Final = "SELECT current_schema()"
_IS_THERE: Final = (
    "SELECT 1 FROM pg_class WHERE relname = 'migrations'"
    " AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
)
_APPLIED: Final = "SELECT coalesce(max(number), 0) FROM migrations"
_CREATE: Final = "CREATE TABLE migrations (number int PRIMARY KEY)"
_RECORD: Final = "INSERT INTO migrations (number) VALUES (%s)"
# All who open a store in this schema wait here for the first; the number is "refold" in ASCII.
_ALONE: Final = (
    "SELECT pg_advisory_xact_lock("
    "x'7265666f6c64'::bigint # to_regnamespace(quote_ident(current_schema()))::oid::bigint)"
)
_WRITES: Final = {
    "events": ("SELECT", "INSERT"),
    "head": ("SELECT", "UPDATE"),
    "keys": ("SELECT", "INSERT"),
    "bodies": ("SELECT", "INSERT"),
    "leases": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "subscriptions": ("SELECT", "INSERT", "UPDATE"),
    "dead_letters": ("SELECT", "INSERT", "DELETE"),
}
"""What a role must be granted to write: all but the erasure of bodies, which may be another's."""
_WRITES_VIEW: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
# A table that is not there yet is left out: the migration that makes it needs more than grants.
_NOT_GRANTED: Final = (
    "SELECT name, privilege, current_schema(), current_user"
    " FROM unnest(%s::text[], %s::text[]) AS needed (name, privilege)"
    " WHERE NOT has_table_privilege("
    "to_regclass(quote_ident(current_schema()) || '.' || quote_ident(name))::oid, privilege)"
)

_GRANT: Final = sql.SQL("GRANT {} ON {} TO {}")


def applied(connection: Connection) -> int:
    """Return how many of our migrations the schema has; 0 where it holds no store. Nothing is written.

    Raises:
        SchemaTooNew: it has some that this code does not know.
        StoreUnavailable: there is no schema, or it holds tables of something else.
    """
    if connection.execute(_SCHEMA).fetchall()[0][0] is None:
        raise StoreUnavailable("the search_path names no schema that there is; CREATE SCHEMA makes one")
    if connection.execute(_IS_THERE).fetchone() is None:
        return 0
    try:
        (found,) = connection.execute(_APPLIED).fetchall()[0]
    except psycopg.errors.UndefinedColumn:
        raise _foreign("migrations") from None
    if found > _KNOWN:
        raise SchemaTooNew(found, _KNOWN)
    return int(found)


def is_current(connection: Connection) -> bool:
    """Tell whether the schema has all migrations this code has."""
    return applied(connection) == _KNOWN


def migrate(connection: Connection) -> None:
    """Bring the schema to this code's state, inside the open transaction.

    Raises:
        StoreUnavailable: a table of something else is in the way.
    """
    connection.execute(_ALONE)
    found = applied(connection)
    try:
        if found == 0:
            connection.execute(_CREATE)
        for number, script in enumerate(MIGRATIONS[found:], found + 1):
            connection.execute(script)
            connection.execute(_RECORD, (number,))
    except (psycopg.errors.DuplicateTable, psycopg.errors.DuplicateFunction) as error:
        raise _foreign(error.diag.message_primary or "a table") from error


def check_may_write(connection: Connection, where: str, views: Sequence[View]) -> None:
    """Check that the role may write all that a store writes.

    Raises:
        StoreReadOnly: it may write none of the tables.
        StoreUnavailable: it may write some of them; the grants that it lacks are named.
    """
    needed = _WRITES | {view.name: _WRITES_VIEW for view in views}
    pairs = [(table, privilege) for table, privileges in needed.items() for privilege in privileges]
    missing = connection.execute(_NOT_GRANTED, tuple(map(list, zip(*pairs, strict=True)))).fetchall()
    if not missing:
        return
    lacks = {(table, privilege) for table, privilege, *_ in missing}
    if all(pair in lacks for pair in pairs if pair[1] != "SELECT"):
        raise StoreReadOnly(where)
    *_, own_schema, role = missing[0]
    grants = [
        _GRANT.format(
            sql.SQL(", ".join(privilege for privilege in privileges if (table, privilege) in lacks)),
            sql.Identifier(own_schema, table),
            sql.Identifier(role),
        ).as_string(connection)
        for table, privileges in needed.items()
        if any((table, privilege) in lacks for privilege in privileges)
    ]
    raise StoreUnavailable(
        f"{where}: the role {role} may write some tables of the store and not all; {'; '.join(grants)}"
    )


def _foreign(what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the schema holds tables of something else ({what}); give refold a schema of its own:"
        " …?options=-csearch_path%3Drefold"
    )
