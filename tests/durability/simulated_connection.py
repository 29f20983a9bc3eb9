"""A connection to a database on a simulated disk that looks like one of Python's sqlite3.

It is one of apsw underneath; the store uses it unchanged.
"""

import os
import sqlite3
from contextlib import suppress

import apsw

_OPEN = {
    "ro": apsw.SQLITE_OPEN_READONLY,
    "rw": apsw.SQLITE_OPEN_READWRITE,
    "rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
}


class Cursor:
    """The rows of one statement, all taken at once: no statement stays open behind the store's back."""

    def __init__(self, rows, rowcount, lastrowid, description=None):
        self._rows = iter(rows)
        self.description = description
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def __iter__(self):
        return self._rows

    def fetchone(self):
        return next(self._rows, None)

    def fetchall(self):
        return list(self._rows)

    def close(self):
        self._rows = iter(())


class Connection:
    """An apsw connection as one of sqlite3 with `isolation_level=None`; its errors are those of sqlite3."""

    text_factory = str
    isolation_level = None

    def __init__(self, disk, path, mode, timeout_s):
        self._connection = None
        with _as_sqlite3():
            self._connection = apsw.Connection(os.fspath(path), _OPEN[mode], disk.label)
            self._connection.set_busy_timeout(round(1000 * timeout_s))
            self._connection.exec_trace = self._described
        self._description = None

    def execute(self, sql, arguments=()):
        connection = self._open()
        with _as_sqlite3():
            before = connection.total_changes()
            rows = connection.execute(sql, arguments).fetchall()
            changed, row = connection.total_changes() - before, connection.last_insert_rowid()
            return Cursor(rows, changed, row, self._description)

    def _described(self, cursor, _sql, _arguments):
        # Once a statement is over, apsw does not tell its columns any more.
        self._description = [(name, *[None] * 6) for name, _ in cursor.get_description()]
        return True

    def executemany(self, sql, rows):
        connection = self._open()
        with _as_sqlite3():
            before = connection.total_changes()
            connection.executemany(sql, rows).fetchall()
            return Cursor((), connection.total_changes() - before, connection.last_insert_rowid())

    @property
    def in_transaction(self):
        return self._open().in_transaction

    @property
    def total_changes(self):
        return self._open().total_changes()

    def close(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            # sqlite3 does not tell either whether the last fold of the write-ahead log worked.
            with suppress(apsw.Error):
                connection.close()

    def _open(self):
        if self._connection is None:
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
        return self._connection


_CLASSES = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
    apsw.SQLITE_MISMATCH: sqlite3.IntegrityError,
    apsw.SQLITE_TOOBIG: sqlite3.DataError,
    apsw.SQLITE_MISUSE: sqlite3.InterfaceError,
}


class _as_sqlite3:  # noqa: N801 - reads as a word of the `with` statement
    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _where):
        if isinstance(error, apsw.Error):
            code = error.extendedresult
            translated = _CLASSES.get(code & 0xFF, sqlite3.OperationalError)(str(error))
            translated.sqlite_errorcode = code
            translated.sqlite_errorname = apsw.mapping_extended_result_codes.get(
                code, apsw.mapping_result_codes.get(code)
            )
            raise translated from error
