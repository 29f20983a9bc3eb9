"""Forks of the process: a child gets none of its parent's stores, and the parent loses nothing by it.

SQLite keeps in memory which locks its process has. A fork copies that memory and not the locks: a connection that the
child then opens to the same file takes some of them for held, and what it commits another process may throw away.
Therefore every store leaves SQLite before a fork, closing all its connections, and comes back afterwards. One that
cannot, because a batch or an iteration is under way, marks its file: the child cannot open that.
(https://sqlite.org/howtocorrupt.html, 2.6, "Carrying an open database connection across a fork()", 2026)

What a child inherits all the same must never be finalised in it: that would undo its parent's transaction, or delete
the write-ahead log.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

from ...engine.errors import RefoldError, StoreUnavailable
from ...engine.ports.process import Process

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path


class _Part(Protocol):
    """The readers or the writer of a store."""

    def away(self) -> AbstractContextManager[None]:
        """Have no connection inside the block. Raises `StoreError` where one is in use."""
        ...

    def forsake(self) -> Iterable[sqlite3.Connection]:
        """In a child: give up the locks without unlocking them, and return every connection there is."""
        ...


class Forks:
    """What a fork does to one store."""

    def __init__(self, path: Path) -> None:
        """Take part in forks from now on; until `opened` the store counts as in use.

        Raises:
            StoreUnavailable: this process was forked from one that was using the file.
        """
        if _file_of(path) in _inherited:
            raise StoreUnavailable(
                f"{path} was in use at the fork of this process, and SQLite cannot open it anew in the child: fork"
                " outside of batches and iterations, or start the child afresh (spawn)"
            )
        self._path = path
        self._process = Process()
        self._parts: tuple[_Part, ...] = ()
        self._ready = False
        self._away: ExitStack | None = None
        _stores.add(self)

    def opened(self, *parts: _Part) -> None:
        """Take part with these from now on; the first is the last to leave."""
        self._parts, self._ready = parts, True

    def is_here(self) -> bool:
        """Tell whether this is the process that opened the store."""
        return self._process.is_here()

    def leave(self) -> None:
        """Before a fork: close all connections and let nobody open one, unless one is in use."""
        if not self._ready:
            return
        stack = ExitStack()
        try:
            for part in self._parts:
                stack.enter_context(part.away())
        except RefoldError:
            stack.close()
        else:
            self._away = stack

    def come_back(self) -> None:
        """In the parent: go on."""
        stack, self._away = self._away, None
        if stack is not None:
            stack.close()

    def forsake(self) -> None:
        """In the child: keep everything as it is for good, unfinalised, and the parent's locks locked."""
        _keep_for_good(self)
        for part in self._parts:
            for connection in part.forsake():
                _keep_for_good(connection)
        if self._away is not None:
            _keep_for_good(self._away)
        elif (file := _file_of(self._path)) is not None:
            _inherited.add(file)


def _keep_for_good(thing: object) -> None:
    """Count one reference more than there are, so that nothing finalises it, not even the end of the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _file_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


# ---- of this process

_stores: Final[WeakSet[Forks]] = WeakSet()
_inherited: Final[set[tuple[int, int]]] = set()
"""Device and number of each file that a store of the parent had open when this process was forked."""
_forking = threading.Lock()
"""Held during a fork: of two at once, neither shall wait for the stores that the other one has."""


def _before() -> None:
    _forking.acquire()
    for store in tuple(_stores):
        store.leave()


def _in_parent() -> None:
    for store in tuple(_stores):
        store.come_back()
    _forking.release()


def _in_child() -> None:
    global _forking  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _forking = threading.Lock()
    for store in tuple(_stores):
        store.forsake()
    _stores.clear()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
