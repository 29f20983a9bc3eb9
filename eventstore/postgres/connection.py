"""Connections to the server: the settings of a session, read back; and psycopg's errors in our words."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from ...engine.errors import (
    CorruptLog,
    InvalidInput,
    InvalidSetting,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UnsafeDurability,
    ViewStale,
)
from ..declared import OWN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...engine.errors import RefoldError
    from .address import Address

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
Durability = Literal["full", "relaxed"]

_OLDEST: Final = 140_000
# Every look-up has an index. The planner is kept on it: a plan made while a table was empty, or before the server came
# to count its rows, would read all of it.
_SESSION: Final = (
    "SELECT set_config('lock_timeout', %s, false), set_config('client_min_messages', 'warning', false),"
    " set_config('default_transaction_isolation', 'read committed', false),"
    " set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),"
    " set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false)"
)
_ONLY_READ: Final = "SELECT set_config('default_transaction_read_only', 'on', false)"
# Fixed for the session: a change of the server's configuration must not make it less than what was checked.
_SYNCHRONOUS: Final = "SELECT set_config('synchronous_commit', %s, false)"
_READ_BACK: Final = (
    "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),"
    " current_setting('synchronous_standby_names')"
)
_SERVER: Final = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
    " current_setting('server_encoding'), pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
)

_BUSY: Final = frozenset({"55P03", "40001", "40P01"})
_READ_ONLY: Final = frozenset({"25006", "42501"})
_DAMAGED: Final = frozenset({"P0002", "XX001", "XX002"})
"""A row that must be there is not; a page or an index of the server is damaged."""
_NOT_NULL: Final = "23502"
_DISK_FULL: Final = "53100"
_NO_FUNCTION: Final = "42883"
_NO_TABLE: Final = "42P01"
_LOST: Final = re.compile(r'relation "([a-z0-9_]+)" does not exist')
_CHANGING: Final = re.compile(r"(?<![a-z0-9_])([a-z0-9]+(?:_[a-z0-9]+)*)__(?:un)?set_[0-9a-f]{8}\(")
"""A function that changes a view; its name holds the definition that its table has."""
_VALUES: Final = ("21", "22", "54")
"""Classes of errors that the values of a statement cause: cardinality, data, limits of the program."""
_CONSTRAINTS: Final = "23"


class Settings(NamedTuple):
    """How far a commit of a session waits, as the server says."""

    fsync: str
    full_page_writes: str
    synchronous_commit: str
    synchronous_standby_names: str


def check_setting(durability: str) -> None:
    """Raise `InvalidSetting` unless the durability is one there is."""
    if durability not in {"full", "relaxed"}:
        raise InvalidSetting("durability", f"{durability!r} is unknown; use 'full' or 'relaxed'")


def open_writer(address: Address, *, timeout_s: float, durability: Durability) -> Connection:
    """Open a connection whose commits wait for the disk.

    Raises:
        UnsafeDurability: they would not.
        StoreReadOnly: the server is a standby, or accepts no writes.
        StoreError: the server cannot be reached or used.
    """
    with translated(address, timeout_s):
        connection: Connection = psycopg.connect(address.conninfo, autocommit=True)
        try:
            _check_server(connection, address, writes=True)
            prepare(connection, timeout_s=timeout_s)
            if durability == "relaxed":
                connection.execute(_SYNCHRONOUS, ("off",))
            else:
                connection.execute(_SYNCHRONOUS, (check_durable(connection, durability).synchronous_commit,))
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(address: Address, *, timeout_s: float) -> Connection:
    """Open a connection that can only read.

    Raises:
        StoreError: the server cannot be reached or used.
    """
    with translated(address, timeout_s):
        connection: Connection = psycopg.connect(address.conninfo, autocommit=True)
        try:
            _check_server(connection, address, writes=False)
            prepare_reader(connection, timeout_s=timeout_s)
        except BaseException:
            connection.close()
            raise
    return connection


def prepare(connection: Connection, *, timeout_s: float) -> None:
    """Set what holds for a session, whatever server, database, role or URL say."""
    wait_ms = max(1, round(1000 * timeout_s))  # 0 would be without end
    connection.execute(_SESSION, (str(wait_ms),))


def prepare_reader(connection: Connection, *, timeout_s: float) -> None:
    """Set what holds for a session that only reads."""
    prepare(connection, timeout_s=timeout_s)
    connection.execute(_ONLY_READ)


def check_durable(connection: Connection, durability: Durability) -> Settings:
    """Read back how far a commit waits.

    Raises:
        UnsafeDurability: it does not wait for the disk, or not for the standbys the server has.
    """
    found = settings(connection)
    if durability == "relaxed":
        return found
    for name in ("fsync", "full_page_writes"):
        value = getattr(found, name)
        if value != "on":
            raise UnsafeDurability(f"{name} is {value}, on is needed")
    if found.synchronous_commit == "off":
        raise UnsafeDurability("synchronous_commit is off, on is needed")
    if found.synchronous_commit == "local" and found.synchronous_standby_names:
        raise UnsafeDurability(
            "synchronous_commit is local, on is needed: the server has synchronous standbys"
        )
    return found


def settings(connection: Connection) -> Settings:
    """Read back how far a commit of this session waits."""
    return Settings(*connection.execute(_READ_BACK).fetchall()[0])


def _check_server(connection: Connection, address: Address, *, writes: bool) -> None:
    """Raise the `StoreError` that says why the server, or its database, is none for a store."""
    number, version, encoding, read_only = connection.execute(_SERVER).fetchall()[0]
    if number < _OLDEST:
        raise StoreUnavailable(
            f"{address}: PostgreSQL {version} is too old; {_OLDEST // 10_000} or newer is needed"
        )
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"{address}: the database's encoding is {encoding}; make one with CREATE DATABASE … ENCODING 'UTF8'"
        )
    if writes and read_only:
        raise StoreReadOnly(str(address))


# ---- errors


@contextmanager
def translated(address: Address, timeout_s: float) -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except (psycopg.Error, psycopg.Warning, OverflowError, UnicodeError) as error:
        raise translation(error, address, timeout_s) from error


def translation(error: Exception, address: Address, timeout_s: float) -> RefoldError:
    """Return our error for one of psycopg's, or of Python's where it gives psycopg a value or takes one."""
    if isinstance(error, PoolTimeout):
        return StoreBusy(timeout_s)
    if isinstance(error, PoolClosed):
        return StoreClosed()
    if isinstance(error, UnicodeDecodeError):
        return CorruptLog(f"{address}: a text is no UTF-8")
    code = getattr(error, "sqlstate", None) or ""
    reason = _reason(error, address)
    if isinstance(error, psycopg.Error) and (found := _by_code(code, reason, address, timeout_s)) is not None:
        return found
    if isinstance(error, psycopg.DataError | OverflowError | UnicodeError):
        return InvalidInput(f"PostgreSQL cannot hold a value: {reason}")
    return StoreUnavailable(f"{address}: {reason}")


def _by_code(code: str, reason: str, address: Address, timeout_s: float) -> RefoldError | None:
    if code in _BUSY:
        return StoreBusy(timeout_s)
    if code in _READ_ONLY:
        return StoreReadOnly(f"{address} ({reason})")
    if code == _DISK_FULL:
        return StoreFull()
    if code == _NO_FUNCTION:
        view = _CHANGING.search(reason)
        return None if view is None else ViewStale(view[1])
    if code == _NO_TABLE:
        view = _LOST.fullmatch(reason)
        return None if view is None or view[1] in OWN else ViewStale(view[1])
    return _by_class(code, reason, address)


def _by_class(code: str, reason: str, address: Address) -> RefoldError | None:
    if code == _NOT_NULL or code.startswith(_VALUES):
        return InvalidInput(f"PostgreSQL cannot hold a value: {reason}")
    if code in _DAMAGED or code.startswith(_CONSTRAINTS):
        return CorruptLog(f"{address}: the database contradicts itself ({reason})")
    return None


def _reason(error: Exception, address: Address) -> str:
    """Return what happened on one line, without the rows that PostgreSQL quotes on others."""
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    lines = (told or str(error)).strip().splitlines()
    return address.hidden(lines[0]) if lines else type(error).__name__


def is_refusal(error: BaseException | None) -> bool:
    """Tell whether nothing was done, because the server undid the statement or it could not even be sent."""
    if isinstance(error, psycopg.Error):
        return error.diag.severity_nonlocalized == "ERROR"
    return isinstance(error, UnicodeError)
