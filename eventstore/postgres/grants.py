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
# Where nobody changed what everybody may do with a new function, there is nothing to carry over.
_CALLERS: Final = """
SELECT DISTINCT 'EXECUTE', NULL, CASE WHEN each.grantee <> 0 THEN pg_get_userbyid(each.grantee) END, each.is_grantable
FROM pg_proc LEFT JOIN aclexplode(proacl) AS each ON each.grantee <> proowner
WHERE pronamespace = to_regnamespace(quote_ident(current_schema())) AND starts_with(proname, %s) AND proacl IS NOT NULL
"""
_GRANT: Final = sql.SQL("GRANT {}{} ON {} TO {}{}")
_TABLE: Final = sql.SQL("TABLE {}")
_FUNCTION: Final = sql.SQL("FUNCTION {} (jsonb)")
_OWN: Final = sql.SQL("ALTER {} OWNER TO {}")
_NOBODY_CALLS: Final = sql.SQL("REVOKE ALL ON {} FROM PUBLIC")
_EVERYBODY: Final = sql.SQL("PUBLIC")


class Grant(NamedTuple):
    """One privilege on a table, on one of its columns, or on its functions; a role of None is everybody."""

    privilege: str
    column: str | None
    role: str | None
    may_be_passed_on: bool


class Grants(NamedTuple):
    """All of them.

    Attributes:
        owner: None where it is whoever asks.
        granted: on the table and its columns.
        callers: of the functions that change it; None where that is as it is for any new function.
    """

    owner: str | None
    granted: tuple[Grant, ...]
    callers: tuple[Grant, ...] | None


def of_table(connection: Connection, name: str) -> Grants:
    """Return what was granted on a table; nothing where there is no such table."""
    found = connection.execute(_OWNER, (name,)).fetchone()
    if found is None:
        return Grants(None, (), None)
    owner, is_own = found
    granted = (Grant(*each) for each in connection.execute(_GRANTED, (name,)).fetchall())
    calling = connection.execute(_CALLERS, (f"{name}__set_",)).fetchall()
    # One row without a role's right to pass it on stands for nobody.
    callers = tuple(Grant(*each) for each in calling if each[3] is not None) if calling else None
    return Grants(None if is_own else owner, tuple(granted), callers)


def give(connection: Connection, view: View, grants: Grants) -> None:
    """Grant the same on a view's table as it is now; a column it does not have any more is left out."""
    upsert, delete, _ = function_names(view)
    table = _TABLE.format(sql.Identifier(view.name))
    functions = [_FUNCTION.format(sql.Identifier(name)) for name in (upsert, delete)]
    columns = {None, *view.names()}
    statements = [_granting(each, table) for each in grants.granted if each.column in columns]
    if grants.callers is not None:
        statements += [_NOBODY_CALLS.format(each) for each in functions]
        statements += [_granting(caller, each) for each in functions for caller in grants.callers]
    if grants.owner is not None:
        statements += [_OWN.format(each, sql.Identifier(grants.owner)) for each in (table, *functions)]
    for statement in statements:
        connection.execute(statement)


def _granting(grant: Grant, target: sql.Composable) -> sql.Composed:
    return _GRANT.format(
        sql.SQL(grant.privilege),
        sql.SQL("") if grant.column is None else sql.SQL(" ({})").format(sql.Identifier(grant.column)),
        target,
        _EVERYBODY if grant.role is None else sql.Identifier(grant.role),
        sql.SQL(" WITH GRANT OPTION" if grant.may_be_passed_on else ""),
    )
