"""The checkpoints and dead letters of subscriptions, and waiting for what they wait for."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

from ...engine.errors import CorruptLog
from ..checkpoints import Checkpoints
from ..request import checked_changes
from ..subscribing import check_move, in_order, nothing_ahead, settled, taken_over
from . import log
from . import views as tables
from .waiting import Commits, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from threading import Event

    from ...engine.ports import Change, DeadLetter
    from .readers import Readers
    from .writer import Writer

_DATA_VERSION: Final = "PRAGMA data_version"
_CHECKPOINT: Final = "SELECT checkpoint FROM subscriptions WHERE name = ?"
_MOVE: Final = "INSERT OR REPLACE INTO subscriptions (name, checkpoint) VALUES (?, ?)"
_HOLDS: Final = "SELECT 1 FROM leases WHERE token = ?"
_SETTLE: Final = "DELETE FROM dead_letters WHERE name = ? AND position = ?"
_IS_BEHIND: Final = "SELECT 1 FROM dead_letters WHERE name = ? AND stream = ? AND position < ? LIMIT 1"
_SET_ASIDE: Final = (
    "INSERT OR REPLACE INTO dead_letters"
    " (name, position, stream, version, type, time, data, digest, error, reason, attempts, set_aside_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_COLUMNS: Final = (
    "SELECT position, stream, version, type, time, data, digest, error, reason, attempts, set_aside_at"
    " FROM dead_letters WHERE name = ? AND position > ?"
)
_LETTERS: Final = _COLUMNS + " ORDER BY position LIMIT ?"
_OF_STREAM: Final = _COLUMNS + " AND stream = ? ORDER BY position LIMIT ?"
_IS_THERE: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'subscriptions'"
_ALL: Final = (
    "SELECT name, checkpoint, (SELECT count(*) FROM dead_letters WHERE dead_letters.name = subscriptions.name)"
    " FROM subscriptions ORDER BY name"
)


class SqliteSubscribing(Checkpoints[sqlite3.Connection]):
    """The part of the SQLite store that subscriptions are made of."""

    _readers: Readers
    _writer: Writer | None

    if TYPE_CHECKING:

        def _writing(self) -> AbstractContextManager[sqlite3.Connection]: ...
        def _translated(self) -> AbstractContextManager[None]: ...

    def _wait_until(
        self, reached: Callable[[], bool], *, timeout_s: float | None, stop: Event | None
    ) -> bool:
        commits = Commits() if self._writer is None else self._writer.commits
        return wait_until(reached, self._look, commits, timeout_s=timeout_s, stop=stop)

    def _look(self) -> tuple[sqlite3.Connection, int]:
        """Return something else than before where others have changed the file, or where another connection is asked.

        Between two looks none is lent: a fork that finds one in use makes the file unusable to the child.
        """
        with self._readers.one() as connection:
            return connection, connection.execute(_DATA_VERSION).fetchone()[0]

    def advance(
        self,
        name: str,
        *,
        expected: int | None,
        position: int,
        changes: Sequence[Change] = (),
        set_aside: Sequence[DeadLetter] = (),
        resolved: Sequence[int] = (),
        fence: int | None = None,
    ) -> None:
        """Move a checkpoint, apply view changes, and set events aside or settle them; all of it or nothing."""
        told = list(checked_changes(changes))
        with self._writing() as connection, self._translated():
            actual = self._checkpoint(connection, name)
            check_move(name, expected, actual, position, log.head(connection))
            if fence is not None and connection.execute(_HOLDS, (fence,)).fetchone() is None:
                raise taken_over(name, actual)
            for each in resolved:
                if not connection.execute(_SETTLE, (name, each)).rowcount:
                    raise settled(name, actual, each)
            for letter in in_order(set_aside):
                event = letter.event
                behind = (name, event.stream, event.position)
                if not letter.attempts and connection.execute(_IS_BEHIND, behind).fetchone() is None:
                    raise nothing_ahead(name, actual, letter)
                connection.execute(_SET_ASIDE, (name, *event, *letter[1:]))
            if told:
                tables.apply(connection, told)
            connection.execute(_MOVE, (name, position))

    def _checkpoint(self, connection: sqlite3.Connection, name: str) -> int | None:
        found = connection.execute(_CHECKPOINT, (name,)).fetchone()
        if found is None:
            return None
        if not isinstance(found[0], int):
            raise CorruptLog(f"the checkpoint of a subscription is damaged: {found[0]!r}")
        return found[0]

    def _letters(
        self, connection: sqlite3.Connection, name: str, stream: str | None, after: int, limit: int
    ) -> list[tuple[Any, ...]]:
        if stream is None:
            return connection.execute(_LETTERS, (name, after, limit)).fetchall()
        return connection.execute(_OF_STREAM, (name, after, stream, limit)).fetchall()

    def _checkpoints(self, connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
        # A file that an older refold has written, opened for reading only, has no such table yet.
        there = connection.execute(_IS_THERE).fetchone() is not None
        return connection.execute(_ALL).fetchall() if there else []
