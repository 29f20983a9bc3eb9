"""The read connections of a store: borrowed for one statement, so that nobody reads from another one's snapshot."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ...engine.errors import StoreBusy, StoreClosed
from ...engine.ports.process import Process
from .connection import FOREIGN, Identity, open_reader, translation

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from ...engine.errors import RefoldError

_KEPT: Final = 8
"""Idle connections that are kept; each is an open file."""
_PATIENCE_S: Final = 0.5
"""How long a fork waits for what is lent: a page is read in less, and an iteration may never end."""


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
        self._process = Process()
        self._lock = threading.Lock()
        self._returned = threading.Condition(self._lock)
        self._lent = 0
        self._awaited = False
        """Whether a fork waits until none is lent."""
        self._forsaken = False
        """Whether this is a forked child, known without asking the system: for what is done for each row."""
        self._all: set[sqlite3.Connection] = set()
        """Every connection that is open, lent or idle."""
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._identity = Identity(path)

    def one(self) -> _Lent:
        """Lend a connection to the block and turn SQLite's errors into ours; after an error it is not lent again."""
        return _Lent(self)

    def borrowed(self) -> sqlite3.Connection:
        """Return a connection nobody else reads from; it is to be given back, or dropped."""
        self.check_open()  # before the lock: in a forked child nobody would ever release it
        with self._lock:
            if self._closed:
                raise StoreClosed
            connection = self._idle.pop() if self._idle else None
            self._lent += 1
        try:
            self._identity.check()
            if connection is None:
                connection = open_reader(self._path, timeout_s=self._timeout_s)
                self._all.add(connection)
        except BaseException:
            self.drop(connection)
            raise
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Take a connection back, to be lent again."""
        if self._forsaken:
            return
        with self._lock:
            if not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                self._count_back()
                return
        self.drop(connection)

    def drop(self, connection: sqlite3.Connection | None) -> None:
        """Take a connection back that is not to be lent again, or none that could not be opened."""
        if self._forsaken:
            return
        if connection is not None:
            connection.close()
            self._all.discard(connection)
        with self._lock:
            self._count_back()

    def _count_back(self) -> None:
        self._lent -= 1
        if self._awaited and not self._lent:
            self._returned.notify()

    def check_here(self) -> None:
        """Raise `WrongProcess` in a forked child."""
        if self._forsaken:
            self._process.check()

    def translation(self, error: Exception) -> RefoldError:
        """Return our error for one of SQLite's."""
        return translation(error, self._path, self._timeout_s)

    def check_open(self) -> None:
        """Raise `StoreClosed` after `close`, and `WrongProcess` in a forked child."""
        self._process.check()
        if self._closed:
            raise StoreClosed

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        with self._lock:
            self._closed = True
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            connection.close()
            self._all.discard(connection)

    # ---- forks

    @contextmanager
    def away(self) -> Iterator[None]:
        """Have no connection inside the block, and let nobody open one. Raises `StoreBusy` where one stays lent."""
        with self._returned:
            self._awaited = True
            left = self._returned.wait_for(lambda: not self._lent, _PATIENCE_S)
            self._awaited = False
            if not left:
                raise StoreBusy(_PATIENCE_S)
            self._close_idle()
            yield

    def forsake(self) -> Iterable[sqlite3.Connection]:
        """In a forked child: return every connection there is."""
        self._forsaken = True
        return self._all


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
            self._readers.drop(self._connection)
            if isinstance(error, FOREIGN):
                raise self._readers.translation(error) from error
        else:
            self._readers.give_back(self._connection)
