"""Folding the write-ahead log back into the file: when, how far, and what becomes of what was erased."""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..request import Request

_FOLD_AFTER: Final = 4_000
"""Changed rows after which the write-ahead log is folded back into the file.

Each commit counts as `_ROWS_A_COMMIT` more, and `_BYTES_A_ROW` of data and bodies as one. They are few, so that the log
is soon written over: a file that grows takes longer to reach the disk. They are more than an import commits at once,
because a page that several commits change is folded once.
"""
_ROWS_A_COMMIT: Final = 10
"""A commit writes some pages whatever it changes."""
_BYTES_A_ROW: Final = 2_048
FOLD: Final = "PRAGMA wal_checkpoint(PASSIVE)"
"""Copies what no reader is in the way of into the file."""
_FOLD_AND_EMPTY: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


class WriteAheadLog:
    """The write-ahead log beside one file, as its writer keeps it."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """Know nothing of a connection yet; `timeout_s` is how long it waits for readers and other writers."""
        self._path = path
        self._wait = f"PRAGMA busy_timeout = {round(1000 * timeout_s)}"
        self._folded = self._commits = self._bytes = 0
        self._must_empty = False
        self._log = structlog.wrap_logger(logging.getLogger("refold.store"))

    def begin(self) -> None:
        """Begin with a new connection, which has changed nothing."""
        self._folded = self._commits = self._bytes = 0

    def took(self, requests: Iterable[Request]) -> None:
        """Count what the data and the bodies of appends take."""
        taken = 0  # in plain loops: a generator for each append takes three times as long
        for writes, _, _, bodies, _ in requests:
            for _, _, events in writes:
                for _, _, data in events:
                    taken += len(data)
            for body in bodies:
                taken += len(body.headers) + len(body.content)
        self._bytes += taken

    def must_empty(self) -> None:
        """From the next commit on, let no copy of what was deleted stay behind."""
        self._must_empty = True

    def committed(self, connection: sqlite3.Connection) -> None:
        """Fold where enough was changed since the last time, or something is to leave no copy."""
        self._commits += 1
        changed = connection.total_changes - self._folded
        changed += _ROWS_A_COMMIT * self._commits + self._bytes // _BYTES_A_ROW
        if self._must_empty or changed >= _FOLD_AFTER:
            self.fold(connection)

    def fold(self, connection: sqlite3.Connection, *, empty: bool = False) -> None:
        """Fold; a failure is logged as `store.degraded`, because the events are safe in the write-ahead log."""
        try:
            self._folded, self._commits, self._bytes = connection.total_changes, 0, 0
            if not (empty or self._must_empty):
                connection.execute(FOLD).fetchone()
                return
            # A reader that keeps its snapshot is not waited for: the next fold tries again.
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                (busy, _, _) = connection.execute(_FOLD_AND_EMPTY).fetchone()
                self._must_empty = self._must_empty and bool(busy)
            finally:
                connection.execute(self._wait)
        except sqlite3.Error as error:
            self.degraded(str(error))

    def degraded(self, error: str) -> None:
        """Log that folding failed."""
        self._log.warning("store.degraded", file=str(self._path), error=error)
