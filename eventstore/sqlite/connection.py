"""Connections to the file: the pragmas that make commits durable, read back; and SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

from ...engine.errors import (
    CorruptLog,
    InvalidSetting,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UnsafeDurability,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...engine.errors import RefoldError

Durability = Literal["full", "relaxed"]

_SYNCHRONOUS: Final = {"full": 2, "relaxed": 1}
_SYNCHRONOUS_NAMES: Final = ("OFF", "NORMAL", "FULL", "EXTRA")
_TRANSLATED: Final = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_CORRUPT: lambda: CorruptLog("the file is damaged: SQLite cannot read one of its pages"),
    sqlite3.SQLITE_NOTADB: lambda: CorruptLog("the file is no SQLite database"),
}
_READ_ONLY: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_PRIMARY: Final = 0xFF
"""SQLite's extended result codes carry the primary code in the low byte."""


def connect(path: Path, *, timeout_s: float, read_only: bool, durability: Durability) -> sqlite3.Connection:
    """Open a connection in manual-commit mode and set what this connection needs.

    Raises:
        StoreUnavailable: the file cannot be opened.
        UnsafeDurability: the pragmas do not read back as set.
    """
    uri = f"file:{quote(str(path))}{'?mode=ro' if read_only else ''}"
    with translated(path, timeout_s):
        connection = sqlite3.connect(
            uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                _make_durable(connection, durability)
        except BaseException:
            connection.close()
            raise
    return connection


def _make_durable(connection: sqlite3.Connection, durability: Durability) -> None:
    if durability not in _SYNCHRONOUS:
        raise InvalidSetting("durability", f"{durability!r} is unknown; use 'full' or 'relaxed'")
    wanted = _SYNCHRONOUS[durability]
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL" if durability == "full" else "PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA foreign_keys = OFF")
    check_durable(connection, wanted)


def check_durable(connection: sqlite3.Connection, wanted: int = _SYNCHRONOUS["full"]) -> None:
    """Read the pragmas back.

    Raises:
        UnsafeDurability: the journal is no write-ahead log, or a commit would not wait for the disk.
    """
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    if journal != "wal":
        raise UnsafeDurability(f"journal_mode is {journal}, WAL is needed (a network file system?)")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if synchronous < wanted:
        raise UnsafeDurability(f"synchronous is {_SYNCHRONOUS_NAMES[synchronous]}, FULL is needed")


@contextmanager
def translated(path: Path, timeout_s: float) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translation(error, path, timeout_s) from error


def translation(error: sqlite3.Error, path: Path, timeout_s: float) -> RefoldError:
    """Return our error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & _PRIMARY if isinstance(code, int) else None
    if primary in _BUSY:
        return StoreBusy(timeout_s)
    if primary in _READ_ONLY:
        return StoreReadOnly(str(path))
    if primary in _TRANSLATED:
        return _TRANSLATED[primary]()
    if primary == sqlite3.SQLITE_CANTOPEN:
        return StoreUnavailable(f"{path} cannot be opened; does its folder exist, and may this user write there?")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreUnavailable(f"{path}: {name}: {error}")
