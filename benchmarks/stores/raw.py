"""The limit: the driver of the standard library, with our table and its indexes and nothing of our code.

Rows are complete before the clock starts, digests included. The file has no triggers, and a write-ahead log that
SQLite folds back by itself whenever it is 1,000 pages long, its default.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from refold.engine.ports import NewEvent

    RawRow = tuple[str, int, str, str, str, bytes]

INSERT = "INSERT INTO events (stream, version, type, time, data, digest) VALUES (?, ?, ?, ?, ?, ?)"
SELECT_STREAM = (
    "SELECT position, stream, version, type, time, data, digest FROM events WHERE stream = ? ORDER BY version"
)
SELECT_ALL = (
    "SELECT position, stream, version, type, time, data, digest FROM events"
    " WHERE position > ? ORDER BY position"
)
SELECT_PAGE = SELECT_ALL + " LIMIT ?"
_READ_EVERY = "SELECT count(*), sum(length(stream) + length(type) + length(data)) FROM events"
CHECKPOINT = "INSERT OR REPLACE INTO subscriptions (name, checkpoint) VALUES (?, ?)"
_TABLE = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'events'"
_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
_INDEXES = "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' AND sql IS NOT NULL"
_DIGEST = bytes(range(32))
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")


def raw_row(stream: str, version: int, event: NewEvent) -> RawRow:
    """Return an event as the driver takes it."""
    return (stream, version, event.type, event.time, event.data, _DIGEST)


class Raw:
    """One connection, one transaction after another."""

    def __init__(self, path: Path, *, like: Path | None = None) -> None:
        """Open a file.

        Args:
            path: the file; an existing one is a copy of ours, whose triggers are dropped.
            like: a store of ours whose table and indexes a new file gets.
        """
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        if like is not None:
            with closing(sqlite3.connect(f"file:{like}?mode=ro", uri=True)) as ours:
                for (sql,) in [*ours.execute(_TABLE), *ours.execute(_INDEXES)]:
                    self.connection.execute(sql)
        for (name,) in self.connection.execute(_TRIGGERS).fetchall():
            self.connection.execute(f'DROP TRIGGER "{name}"')

    def append(self, row: RawRow) -> None:
        """Commit one row."""
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        execute(INSERT, row)
        execute("COMMIT")

    def append_many(self, rows: Sequence[RawRow]) -> None:
        """Commit many rows at once."""
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(INSERT, rows)
        self.connection.execute("COMMIT")

    def stream(self, stream: str) -> list[Any]:
        """Read one stream."""
        return self.connection.execute(SELECT_STREAM, (stream,)).fetchall()

    def all(self, after: int) -> Iterable[Any]:
        """Read the log above a position."""
        return self.connection.execute(SELECT_ALL, (after,))

    def follow(self, name: str, chunk: int) -> int:
        """Read all events, and commit how far that is after each chunk; return how many there were."""
        execute = self.connection.execute
        position = 0
        while page := execute(SELECT_PAGE, (position, chunk)).fetchall():
            position = page[-1][0]
            execute("BEGIN IMMEDIATE")
            execute(CHECKPOINT, (name, position))
            execute("COMMIT")
        return position

    def pass_over(self) -> int:
        """Let SQLite read every event; return how many there were."""
        count: int = self.connection.execute(_READ_EVERY).fetchone()[0]
        return count

    def durability(self) -> str:
        """Read back how far a commit waits for the disk."""
        return durability_of(self.connection)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def durability_of(connection: Any) -> str:  # noqa: ANN401 - sqlite3's connection or the peer's cursor
    """Read the pragmas of a connection back."""
    (journal,) = tuple(connection.execute("PRAGMA journal_mode").fetchone())
    (synchronous,) = tuple(connection.execute("PRAGMA synchronous").fetchone())
    return f"journal_mode={journal} synchronous={SYNCHRONOUS[synchronous]}"
