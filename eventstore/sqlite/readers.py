"""The read connections of a store: borrowed for one statement, so that nobody reads from another one's snapshot."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...engine.errors import StoreClosed, StoreUnavailable
from .connection import FOREIGN, Identity, open_reader, translation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

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

    @contextmanager
    def one(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection to the block and turn SQLite's errors into ours; after an error it is not lent again."""
        connection = self._borrowed()
        try:
            yield connection
        except FOREIGN as error:
            connection.close()
            raise translation(error, self._path, self._timeout_s) from error
        except Exception:
            connection.close()
            raise
        except BaseException:
            self._give_back(connection)
            raise
        self._give_back(connection)

    def _borrowed(self) -> sqlite3.Connection:
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

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

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
