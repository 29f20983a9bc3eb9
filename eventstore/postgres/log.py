"""The SQL that reads the log: events, idempotency keys and message bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...engine.errors import CorruptLog, EventMissing
from ...engine.ports import Appended, Body, StoredEvent

if TYPE_CHECKING:
    from .connection import Connection

_COLUMNS: Final = "SELECT position, stream, version, type, time, data, digest FROM events"
BY_VERSION: Final = (
    _COLUMNS + " WHERE stream = %s::text AND version > %s::bigint AND version <= %s::bigint"
    " ORDER BY version LIMIT %s::bigint"
)
FIRST_OF_STREAM: Final = (
    _COLUMNS + " WHERE stream = %s::text AND version > %s::bigint ORDER BY version LIMIT %s::bigint"
)
BY_POSITION: Final = (
    _COLUMNS + " WHERE position > %s::bigint AND position <= %s::bigint ORDER BY position LIMIT %s::bigint"
)
# The empty text keeps the planner on the order of positions: through the stream index it would have to sort.
BY_CATEGORY: Final = (
    _COLUMNS + " WHERE stream || '' >= %s::text AND stream || '' < %s::text"
    " AND position > %s::bigint AND position <= %s::bigint ORDER BY position LIMIT %s::bigint"
)
# Name after name through the index: DISTINCT would read every event.
_NEXT_STREAMS: Final = (
    "WITH RECURSIVE found (stream) AS ("
    "SELECT min(stream) FROM events WHERE stream > %s::text AND stream < %s::text UNION ALL"
    " SELECT (SELECT min(stream) FROM events WHERE stream > found.stream AND stream < %s::text)"
    " FROM found WHERE stream IS NOT NULL"
    ") SELECT stream FROM found WHERE stream IS NOT NULL LIMIT %s::bigint"
)
_VERSION: Final = "SELECT max(version) FROM events WHERE stream = %s::text"
# The head is above the last event where somebody cut off the tail: its positions are not used again.
_HEAD: Final = (
    "SELECT greatest((SELECT position FROM head), (SELECT max(position) FROM events)),"
    " EXISTS (SELECT FROM head)"
)
# The columns: what the last position must be at least, then how many there are, and the first and the last of them.
_EXTENT: Final = (
    "SELECT greatest((SELECT position FROM head), (SELECT max(last) FROM keys), 0),"
    " (SELECT count(*) FROM events), (SELECT min(position) FROM events), (SELECT max(position) FROM events)"
)
_FIRST_GAP: Final = (
    "SELECT coalesce((SELECT 1 WHERE NOT EXISTS (SELECT FROM events WHERE position = 1)),"
    " (SELECT position + 1 FROM events AS each WHERE position > 0"
    " AND NOT EXISTS (SELECT FROM events WHERE position = each.position + 1) ORDER BY position LIMIT 1))"
)
_KEY: Final = (
    "SELECT first, last, (SELECT 1 FROM events WHERE position = last) FROM keys WHERE key = %s::text"
)
# Whoever appends holds the table from its first moment on, while it waits for its turn and while it commits, also where
# its client is gone. The row of the head would not do: who queues for it can be overtaken.
_AFTER_ALL_APPENDS: Final = "LOCK TABLE head IN EXCLUSIVE MODE"
_BODY: Final = "SELECT digest, salt, headers, content FROM bodies WHERE digest = %s::text"
_ERASE_BODY: Final = "DELETE FROM bodies WHERE digest = %s::text"
_SIZES: Final = (
    "SELECT current_setting('server_version'), (SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = to_regnamespace(quote_ident(current_schema())) AND (relname IN"
    " ('events', 'head', 'keys', 'bodies', 'views', 'leases', 'subscriptions', 'dead_letters', 'migrations')"
    " OR relname IN (SELECT name FROM views)))"
)


# ---- events


def head(connection: Connection) -> int:
    """Return the last position.

    Raises:
        CorruptLog: the row that counts the positions is lost.
    """
    found, counted = connection.execute(_HEAD).fetchall()[0]
    if not counted:
        raise CorruptLog("the head of the log is lost")
    return int(found)


def first_missing(connection: Connection) -> int | None:
    """Return the first position that is absent; None where the log is complete.

    A position was there if a later one is, if the head counts it, or if a key does.
    """
    claimed, count, first, last = connection.execute(_EXTENT).fetchall()[0]
    end = max(claimed, last or 0)
    # So many different numbers from 1 to the end are all of them.
    if count == end and (first is None or first > 0):
        return None
    return int(connection.execute(_FIRST_GAP).fetchall()[0][0])


def version(connection: Connection, stream: str) -> int:
    """Return the stream's version; 0 where it does not exist."""
    return int(connection.execute(_VERSION, (stream,)).fetchall()[0][0] or 0)


def page(connection: Connection, sql: str, arguments: tuple[str | int, ...]) -> list[StoredEvent]:
    """Return the events one of the SELECTs finds, unchecked."""
    return list(map(StoredEvent._make, connection.execute(sql, arguments, binary=True)))


def next_streams(connection: Connection, after: str, end: str, limit: int) -> list[str]:
    """Return the first names between the two, sorted."""
    return [stream for (stream,) in connection.execute(_NEXT_STREAMS, (after, end, end, limit))]


# ---- keys and bodies


def settled(connection: Connection, key: str) -> Appended | None:
    """Return where a key was appended; None for a new key.

    Raises:
        EventMissing: what was appended is not there any more.
    """
    found = connection.execute(_KEY, (key,)).fetchone()
    if found is None:
        return None
    begin, end, is_there = found
    if is_there is None:
        raise EventMissing(end)
    return Appended(begin, end)


def settled_for_good(connection: Connection, key: str) -> Appended | None:
    """Return the same when every append that the server has begun is over.

    Raises:
        EventMissing: what was appended is not there any more.
    """
    with connection.transaction():
        connection.execute(_AFTER_ALL_APPENDS)
        return settled(connection, key)


def body(connection: Connection, digest: str) -> Body | None:
    """Return a message body; None where there is none."""
    found = connection.execute(_BODY, (digest,), binary=True).fetchone()
    return None if found is None else Body._make(found)


def erase_body(connection: Connection, digest: str) -> bool:
    """Delete a message body; tell whether it was there."""
    return connection.execute(_ERASE_BODY, (digest,)).rowcount > 0


# ---- sizes


def server_and_bytes(connection: Connection) -> tuple[str, int]:
    """Return the server's version and what the store's tables and indexes take."""
    server, taken = connection.execute(_SIZES).fetchall()[0]
    return server, int(taken)
