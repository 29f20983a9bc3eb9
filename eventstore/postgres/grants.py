"""Who may do what with a view's table: a table that takes its place is given the same owner and the same grants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from .definitions import function_names

if TYPE_CHECKING:
    from ...engine.ports import View
    from .connection import Connection

_OWNER: Final = (
    "SELECT pg_get_userbyid(relowner), relowner = to_regrole(quote_ident(current_user))"
    " FROM pg_class WHERE oid = to_regclass(quote_ident(%s))"
)
# What the owner may do comes with the table. A grantee of 0 is everybody.
_GRANTED: Final = """
SELECT each.privilege_type, attname, CASE WHEN each.grantee <> 0 THEN pg_get_userbyid(each.grantee) END, is_grantable
FROM (
    SELECT oid, relowner, NULL::name AS attname, relacl AS granted FROM pg_class
    UNION ALL
    SELECT pg_class.oid, relowner, attname, attacl FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
) AS parts, aclexplode(granted) AS each
WHERE oid = to_regclass(quote_ident(%s)) AND each.grantee <> relowner
"""
_GRANT: Final = sql.SQL("GRANT {}{} ON {} TO {}{}")
_OWN_TABLE: Final = sql.SQL("ALTER TABLE {} OWNER TO {}")
_OWN_FUNCTION: Final = sql.SQL("ALTER FUNCTION {} (jsonb) OWNER TO {}")
_EVERYBODY: Final = sql.SQL("PUBLIC")


class Grant(NamedTuple):
    """One privilege on a table, or on one of its columns; a role of None is everybody."""

    privilege: str
    column: str | None
    role: str | None
    may_be_passed_on: bool


class Grants(NamedTuple):
    """All of them; the owner is None where it is whoever asks."""

    owner: str | None
    granted: tuple[Grant, ...]


def of_table(connection: Connection, name: str) -> Grants:
    """Return what was granted on a table; nothing where there is no such table."""
    found = connection.execute(_OWNER, (name,)).fetchone()
    if found is None:
        return Grants(None, ())
    owner, is_own = found
    granted = (Grant(*each) for each in connection.execute(_GRANTED, (name,)).fetchall())
    return Grants(None if is_own else owner, tuple(granted))


def give(connection: Connection, view: View, grants: Grants) -> None:
    """Grant the same on a view's table as it is now; a column it does not have any more is left out."""
    table = sql.Identifier(view.name)
    for privilege, column, role, may_be_passed_on in grants.granted:
        if column is not None and column not in view.names():
            continue
        statement = _GRANT.format(
            sql.SQL(privilege),
            sql.SQL("") if column is None else sql.SQL(" ({})").format(sql.Identifier(column)),
            table,
            _EVERYBODY if role is None else sql.Identifier(role),
            sql.SQL(" WITH GRANT OPTION" if may_be_passed_on else ""),
        )
        connection.execute(statement)
    if grants.owner is not None:
        owner = sql.Identifier(grants.owner)
        upsert, delete, _ = function_names(view)
        statements = [
            _OWN_TABLE.format(table, owner),
            *(_OWN_FUNCTION.format(sql.Identifier(each), owner) for each in (upsert, delete)),
        ]
        for statement in statements:
            connection.execute(statement)
