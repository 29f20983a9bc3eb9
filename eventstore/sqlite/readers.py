"""The read connections of a store: borrowed for one statement, so that nobody reads from another one's snapshot."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from ...engine.errors import StoreClosed, StoreUnavailable
from .connection import FOREIGN, Identity, open_reader, translation

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path
    from types import TracebackType

    from ...engine.errors import RefoldError

_KEPT: Final = 8
"""Idle connections that are kept; each is an open file."""


class Readers:
    """Lends read connections; as many as there are reads at one moment."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """Open none yet.

        Args:
            path: the file.
            timeout_s: how long a read may wait for a lock.
        """
        self._path = path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._identity = Identity(path)

    def one(self) -> _Lent:
        """Lend a connection to the block and turn SQLite's errors into ours; after an error it is not lent again."""
        return _Lent(self)

    def borrowed(self) -> sqlite3.Connection:
        """Return a connection nobody else reads from; it is to be given back, or closed."""
        with self._lock:
            self.check_open()
            idle = self._idle.pop() if self._idle else None
        try:
            self._identity.check()
        except StoreUnavailable:
            if idle is not None:
                idle.close()
            raise
        return idle or open_reader(self._path, timeout_s=self._timeout_s)

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Take a connection back, to be lent again."""
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def translation(self, error: Exception) -> RefoldError:
        """Return our error for one of SQLite's."""
        return translation(error, self._path, self._timeout_s)

    def check_open(self) -> None:
        """Raise `StoreClosed` after `close`."""
        if self._closed:
            raise StoreClosed

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class _Lent:
    """A connection for one block: a class, because each read comes by here and a generator takes twice as long."""

    __slots__ = ("_connection", "_readers")

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def __enter__(self) -> sqlite3.Connection:
        self._connection = self._readers.borrowed()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self._connection.close()
            if isinstance(error, FOREIGN):
                raise self._readers.translation(error) from error
        else:
            self._readers.give_back(self._connection)
