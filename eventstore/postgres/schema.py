"""The schema of the database and its migrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from ...engine.errors import SchemaTooNew, StoreUnavailable
from .ddl import MIGRATIONS

if TYPE_CHECKING:
    from .connection import Connection

_KNOWN: Final = len(MIGRATIONS)
_SCHEMA: Final = "SELECT current_schema()"
_IS_THERE: Final = (
    "SELECT 1 FROM pg_class WHERE relname = 'migrations' AND relnamespace = to_regnamespace(current_schema())"
)
_APPLIED: Final = "SELECT coalesce(max(number), 0) FROM migrations"
_CREATE: Final = "CREATE TABLE migrations (number int PRIMARY KEY)"
_RECORD: Final = "INSERT INTO migrations (number) VALUES (%s)"
# All who open a store in this schema wait here for the first; the number is "refold" in ASCII.
_ALONE: Final = (
    "SELECT pg_advisory_xact_lock(x'7265666f6c64'::bigint # to_regnamespace(current_schema())::oid::bigint)"
)
_MAY_WRITE: Final = (
    "SELECT has_table_privilege('events', 'SELECT, INSERT') AND has_table_privilege('head', 'SELECT')"
    " AND has_table_privilege('head', 'UPDATE') AND has_table_privilege('keys', 'INSERT')"
    " AND has_table_privilege('bodies', 'INSERT')"
)


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


def may_write(connection: Connection) -> bool:
    """Tell whether the role may append."""
    return bool(connection.execute(_MAY_WRITE).fetchall()[0][0])


def _foreign(what: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the schema holds tables of something else ({what}); give refold a schema of its own:"
        " …?options=-csearch_path%3Drefold"
    )
