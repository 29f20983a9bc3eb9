"""Connections to the file: the pragmas that make commits durable, read back; and SQLite's errors in our words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

from ...engine.errors import (
    CorruptLog,
    InvalidInput,
    InvalidSetting,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    UnsafeDurability,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ...engine.errors import RefoldError

Durability = Literal["full", "relaxed"]

SET_SYNCHRONOUS: Final = {"full": "PRAGMA synchronous = FULL", "relaxed": "PRAGMA synchronous = NORMAL"}
_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")
_WANTED: Final = {"full": _SYNCHRONOUS.index("FULL"), "relaxed": _SYNCHRONOUS.index("NORMAL")}
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_READ_ONLY: Final = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_DAMAGED: Final = {
    sqlite3.SQLITE_CORRUPT: "the file is damaged: SQLite cannot read one of its pages",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database",
    sqlite3.SQLITE_CONSTRAINT: "the file contradicts itself",
}
FOREIGN: Final = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError)
"""What SQLite raises, and Python where it gives SQLite a value or takes one."""
_PRIMARY: Final = 0xFF
"""SQLite's extended result codes carry the primary code in the low byte."""


def check_setting(durability: str) -> None:
    """Raise `InvalidSetting` unless the durability is one there is."""
    if durability not in _WANTED:
        raise InvalidSetting("durability", f"{durability!r} is unknown; use 'full' or 'relaxed'")


def open_writer(path: Path, *, timeout_s: float, durability: Durability, create: bool) -> sqlite3.Connection:
    """Open a connection that waits for the disk at each commit and folds its write-ahead log only when told to.

    What it deletes it overwrites, so that an erased message body leaves no bytes in the file.

    Raises:
        UnsafeDurability: the pragmas do not read back as set.
        StoreError: the file cannot be opened, or not written.
    """
    with translated(path, timeout_s):
        connection = _connect(path, "rwc" if create else "rw", timeout_s)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(SET_SYNCHRONOUS[durability])
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA cache_size = -16384")
            connection.execute("PRAGMA secure_delete = ON")
            check_durable(connection, durability)
        except BaseException:
            connection.close()
            raise
    return connection


def check_durable(connection: sqlite3.Connection, durability: Durability) -> str:
    """Read the pragmas back and return how far a commit waits for the disk.

    Raises:
        UnsafeDurability: the journal is no write-ahead log, or a commit would not wait for the disk.
    """
    (journal,) = connection.execute("PRAGMA journal_mode").fetchone()
    if journal != "wal":
        raise UnsafeDurability(f"journal_mode is {journal}, WAL is needed (a network file system?)")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    wanted = _WANTED[durability]
    if synchronous < wanted:
        raise UnsafeDurability(
            f"synchronous is {_SYNCHRONOUS[synchronous]}, {_SYNCHRONOUS[wanted]} is needed"
        )
    return _SYNCHRONOUS[synchronous]


def open_reader(path: Path, *, timeout_s: float) -> sqlite3.Connection:
    """Open a connection that can only read.

    Raises:
        StoreError: the file cannot be opened.
        CorruptLog: it is no SQLite database.
    """
    with translated(path, timeout_s):
        try:
            return _readable(path, "ro", timeout_s)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_ROLLBACK:
                # The power was cut while the file was made, and what is half made only a writer undoes.
                _readable(path, "rw", timeout_s).close()
                return _readable(path, "ro", timeout_s)
            # A folder that cannot be written has no room for SQLite's index of the write-ahead log. Without such a
            # log the file is complete in itself, and nobody can start one there.
            if _primary(error) != sqlite3.SQLITE_CANTOPEN or not _complete(path):
                raise
            return _readable(path, "ro&immutable=1", timeout_s)


def _readable(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    connection = _connect(path, mode, timeout_s)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _complete(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return (
        path.is_file() and not (log.exists() and log.stat().st_size) and not os.access(path.parent, os.W_OK)
    )


def _connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode={mode}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


@contextmanager
def translated(path: Path, timeout_s: float) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except FOREIGN as error:
        raise translation(error, path, timeout_s) from error


_OVERFLOW: Final = "integer overflow"


def translation(error: Exception, path: Path, timeout_s: float) -> RefoldError:
    """Return our error for one of SQLite's, or of Python's where it gives SQLite a value or takes one."""
    found = _by_code(error, path, timeout_s)
    if found is not None:
        return found
    if isinstance(error, OverflowError | UnicodeError) or str(error) == _OVERFLOW:
        return InvalidInput(f"SQLite cannot hold a value: {error}")
    if not_text(error):
        return CorruptLog(f"{path}: a text is no UTF-8")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StoreUnavailable(f"{path}: {name}: {error}")


def _by_code(error: Exception, path: Path, timeout_s: float) -> RefoldError | None:
    primary = _primary(error)
    if primary in _BUSY:
        return StoreBusy(timeout_s)
    if primary in _READ_ONLY:
        return StoreReadOnly(str(path))
    if primary in _DAMAGED:
        return CorruptLog(f"{path}: {_DAMAGED[primary]} ({error})")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return StoreUnavailable(
            f"{path} cannot be opened; does its folder exist, and may this user write there?"
        )
    return StoreFull() if is_full(error) else None


def is_full(error: Exception) -> bool:
    """Tell whether SQLite ran out of space, for its pages or for the index of its write-ahead log."""
    return (
        _primary(error) == sqlite3.SQLITE_FULL
        or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE
    )


def not_text(error: Exception) -> bool:
    """Tell whether a text in the file is no UTF-8; the message is Python's own, as is the error."""
    return isinstance(error, sqlite3.OperationalError) and "Could not decode to UTF-8" in str(error)


def rows_as_kept(
    connection: sqlite3.Connection, select: str, arguments: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    """Return what a SELECT finds; text that is no UTF-8, as a flipped bit can leave it, with lone surrogates."""
    try:
        return connection.execute(select, arguments).fetchall()
    except sqlite3.OperationalError as error:
        if not not_text(error):
            raise
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        return connection.execute(select, arguments).fetchall()
    finally:
        connection.text_factory = str


def _primary(error: Exception) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY


class Identity:
    """Which file was opened: the path may come to name another one, or none.

    A process that goes on writing to a file that was removed or replaced would acknowledge what nobody finds again.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._file: tuple[int, int] | None = None

    def check(self) -> None:
        """Remember the file that the path names, and later make sure that it still does.

        Raises:
            StoreUnavailable: it names another one, or none.
        """
        try:
            found = os.stat(self._path)  # noqa: PTH116 - once a transaction: no object more
        except OSError:
            found = None
        file = None if found is None else (found.st_dev, found.st_ino)
        if self._file is None:
            self._file = file
        elif file != self._file:
            raise StoreUnavailable(f"{self._path} was removed or replaced since it was opened; open it again")
