"""The SQL of the log: events, idempotency keys and message bodies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from ...engine.errors import CorruptLog, EventMissing, StoreUnavailable
from ...engine.ports import Appended, Body, StoredEvent
from .connection import rows_as_kept

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from ...engine.ports import Value
    from ..codec import EventRow

_MOST_LOOKED_AT: Final = 64
"""Streams and keys that one statement asks for; SQLite takes so many subqueries and more."""
_COLUMNS: Final = "SELECT position, stream, version, type, time, data, digest FROM events"
BY_VERSION: Final = _COLUMNS + " WHERE stream = ? AND version > ? AND version <= ? ORDER BY version LIMIT ?"
FIRST_OF_STREAM: Final = _COLUMNS + " WHERE stream = ? AND version > ? ORDER BY version LIMIT ?"
BY_POSITION: Final = _COLUMNS + " WHERE position > ? AND position <= ? ORDER BY position LIMIT ?"
# The unary plus keeps SQLite on the order of positions: through the stream index it would have to sort, in memory.
BY_CATEGORY: Final = (
    _COLUMNS
    + " WHERE +stream >= ? AND +stream < ? AND position > ? AND position <= ? ORDER BY position LIMIT ?"
)
# Name after name through the index: DISTINCT would read every event.
_NEXT_STREAMS: Final = (
    "WITH RECURSIVE found (stream) AS ("
    "SELECT min(stream) FROM events WHERE stream > ? AND stream < ? UNION ALL"
    " SELECT (SELECT min(stream) FROM events WHERE stream > found.stream AND stream < ?)"
    " FROM found WHERE stream IS NOT NULL"
    ") SELECT stream FROM found WHERE stream IS NOT NULL LIMIT ?"
)
_VERSION: Final = "SELECT max(version) FROM events WHERE stream = ?"
# What AUTOINCREMENT remembers is above the last row where somebody cut off the tail: its positions are not used again.
_HEAD: Final = (
    "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),"
    " coalesce((SELECT max(position) FROM events), 0))"
)
# The columns: what the last position must be at least, then how many there are, and the first and the last of them.
_EXTENT: Final = (
    "SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0),"
    " coalesce((SELECT max(last) FROM keys), 0)),"
    " (SELECT count(*) FROM events), (SELECT min(position) FROM events), (SELECT max(position) FROM events)"
)
_FIRST_GAP: Final = (
    "SELECT coalesce((SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM events WHERE position = 1)),"
    " (SELECT position + 1 FROM events AS each WHERE position > 0"
    " AND NOT EXISTS (SELECT 1 FROM events WHERE position = each.position + 1) ORDER BY position LIMIT 1))"
)
_IS_THERE: Final = "SELECT 1 FROM events WHERE position = ?"
_HAS_KEY: Final = "SELECT 1 FROM keys WHERE key = ?"
_KEY: Final = "SELECT digest, first, last FROM keys WHERE key = ?"
_BODY: Final = "SELECT digest, salt, headers, content FROM bodies WHERE digest = ?"
BODIES: Final = "SELECT digest FROM bodies"
_INSERT_EVENT: Final = (
    "INSERT INTO events (position, stream, version, type, time, data, digest) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_KEY: Final = "INSERT INTO keys (key, digest, first, last) VALUES (?, ?, ?, ?)"
_INSERT_BODY: Final = (
    "INSERT INTO bodies (digest, salt, headers, content) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING"
)
_ERASE_BODY: Final = "DELETE FROM bodies WHERE digest = ?"


# ---- events


def head(connection: sqlite3.Connection) -> int:
    """Return the last position."""
    return _number(connection.execute(_HEAD).fetchone()[0])


def first_missing(connection: sqlite3.Connection) -> int | None:
    """Return the first position that is absent; None where the log is complete.

    A position was there if a later one is, if the counter of positions remembers it, or if a key does.
    """
    claimed, count, first, last = connection.execute(_EXTENT).fetchone()
    head = max(_number(claimed), last or 0)
    # So many different numbers from 1 to `head` are all of them.
    if count == head and (first is None or first > 0):
        return None
    return _number(connection.execute(_FIRST_GAP).fetchone()[0])


def version(connection: sqlite3.Connection, stream: str) -> int:
    """Return the stream's version; 0 where it does not exist."""
    return _number(connection.execute(_VERSION, (stream,)).fetchone()[0] or 0)


def look(
    connection: sqlite3.Connection, streams: Sequence[str], keys: Sequence[str]
) -> tuple[int, dict[str, int], set[str]]:
    """Return the last position, the version of each stream, and which of the keys the log has.

    One statement, whatever is asked: each costs as much as what it asks for, and lets other threads in between.
    """
    if len(streams) + len(keys) > _MOST_LOOKED_AT:
        used = {key for key in keys if connection.execute(_KEY, (key,)).fetchone() is not None}
        return head(connection), {stream: version(connection, stream) for stream in streams}, used
    last, *found = connection.execute(_look(len(streams), len(keys)), (*streams, *keys)).fetchone()
    versions = {name: _number(number or 0) for name, number in zip(streams, found, strict=False)}
    used = {key for key, there in zip(keys, found[len(streams) :], strict=True) if there} if keys else set()
    return _number(last), versions, used


@cache
def _look(streams: int, keys: int) -> str:
    return ", ".join((_HEAD, *(f"({_VERSION})",) * streams, *(f"({_HAS_KEY})",) * keys))


def insert(connection: sqlite3.Connection, events: Sequence[EventRow]) -> None:
    """Store events, each by a statement of its own: to undo one of several rows SQLite would copy every page first.

    Raises:
        StoreUnavailable: a trigger of somebody else kept some of them out.
    """
    stored = connection.executemany(_INSERT_EVENT, events).rowcount
    if stored != len(events):
        raise StoreUnavailable(
            f"a trigger on the table events kept {len(events) - stored} of {len(events)} events out; drop it"
        )


def page(connection: sqlite3.Connection, sql: str, arguments: tuple[Value, ...]) -> list[StoredEvent]:
    """Return the events one of the SELECTs finds, unchecked."""
    return list(map(StoredEvent._make, rows_as_kept(connection, sql, arguments)))


def next_streams(connection: sqlite3.Connection, after: str, end: str, limit: int) -> list[str]:
    """Return the first names between the two, sorted."""
    return [stream for (stream,) in connection.execute(_NEXT_STREAMS, (after, end, end, limit))]


# ---- keys and bodies


def known(connection: sqlite3.Connection, key: str) -> tuple[bytes, Appended] | None:
    """Return what a key stands for and where that was appended; None for a new key.

    Raises:
        EventMissing: what was appended is not there any more.
    """
    found = connection.execute(_KEY, (key,)).fetchone()
    return None if found is None else _known(connection, *found)


def _known(
    connection: sqlite3.Connection, digest: object, first: object, last: object
) -> tuple[bytes, Appended]:
    if not isinstance(digest, bytes):
        raise CorruptLog("the digest of an idempotency key is damaged")
    appended = Appended(_number(first), _number(last))
    if connection.execute(_IS_THERE, (appended.last,)).fetchone() is None:
        raise EventMissing(appended.last)
    return digest, appended


def insert_keys(connection: sqlite3.Connection, keys: Mapping[str, tuple[bytes, Appended]]) -> None:
    """Store what keys stand for."""
    connection.executemany(
        _INSERT_KEY,
        [(key, digest, appended.first, appended.last) for key, (digest, appended) in keys.items()],
    )


def body(connection: sqlite3.Connection, digest: str) -> Body | None:
    """Return a message body; None where there is none."""
    found = connection.execute(_BODY, (digest,)).fetchone()
    if found is None:
        return None
    if [type(value) for value in found] != [str, bytes, str, bytes]:
        raise CorruptLog(f"the message body {digest} is damaged")
    return Body._make(found)


def insert_bodies(connection: sqlite3.Connection, bodies: Sequence[Body]) -> None:
    """Store message bodies; one whose digest is there stays as it is."""
    connection.executemany(_INSERT_BODY, bodies)


def erase_body(connection: sqlite3.Connection, digest: str) -> bool:
    """Delete a message body; tell whether it was there."""
    return connection.execute(_ERASE_BODY, (digest,)).rowcount > 0


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise CorruptLog(f"a number of the log is damaged: {value!r}")
    return value
