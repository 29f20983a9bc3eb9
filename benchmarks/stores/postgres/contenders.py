"""The contenders on PostgreSQL: each on a database of its own, of the run's one server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from refold.engine.composition import open_store

from ..peer import Recorded, Refunds
from ..place import TIMEOUT_S
from .server import durability_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from refold.engine.ports import EventStore

    from ..place import Place
    from ..raw import RawRow
    from .server import Server

POOL = 16
"""Connections of the raw driver and of the peer, which alone would take 5 to 15; more than that only wait for cores."""
DESCRIBED = ("durability", "fsync", "synchronous_commit", "full_page_writes")
_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text NOT NULL,
    version bigint NOT NULL,
    type text NOT NULL,
    time text NOT NULL,
    data text NOT NULL,
    digest bytea NOT NULL,
    UNIQUE (stream, version)
)
"""
_INSERT = "INSERT INTO events (stream, version, type, time, data, digest) VALUES (%s, %s, %s, %s, %s, %s)"
_COLUMNS = "SELECT position, stream, version, type, time, data, digest FROM events"
_STREAM = _COLUMNS + " WHERE stream = %s ORDER BY version"
_ALL = _COLUMNS + " WHERE position > %s ORDER BY position"
_PAGE = _ALL + " LIMIT %s"
_CHECKPOINT = (
    "INSERT INTO subscriptions (name, checkpoint) VALUES (%s, %s)"
    " ON CONFLICT (name) DO UPDATE SET checkpoint = EXCLUDED.checkpoint"
)
_READ_EVERY = "SELECT count(*), sum(length(stream) + length(type) + length(data)) FROM events"
FILL = "INSERT INTO rebuilt VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
"""What fills the table that the peer's application is folded into."""
CHUNK = 1_000
"""Rows that the driver takes at once where it reads the whole log."""


class RawPostgres:
    """psycopg's own pool: a connection a caller, one INSERT a transaction."""

    def __init__(self, server: Server, name: str) -> None:
        """Create the table, where it is not there."""
        with server.connect(name) as connection:
            connection.execute(_TABLE)
        self._pool = ConnectionPool(
            server.url(name),
            min_size=POOL,
            max_size=POOL,
            timeout=TIMEOUT_S,
            open=True,
            kwargs={"autocommit": True},
        )
        self._pool.wait(TIMEOUT_S)

    def append(self, row: RawRow) -> None:
        """Commit one row."""
        with self._pool.connection() as connection:
            connection.execute(_INSERT, row, prepare=True)

    def append_many(self, rows: Sequence[RawRow]) -> None:
        """Commit many rows at once."""
        with self._pool.connection() as connection, connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_INSERT, rows)

    def durability(self) -> str:
        """Read back how far a commit waits for the disk."""
        with self._pool.connection() as connection:
            return durability_of(connection)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class RawReader:
    """One connection of psycopg's that reads, and keeps how far it is."""

    def __init__(self, server: Server, name: str) -> None:
        """Connect to a database that has our tables."""
        self._connection = server.connect(name)

    def stream(self, stream: str) -> list[Any]:
        """Read one stream."""
        return self._connection.execute(_STREAM, (stream,), prepare=True, binary=True).fetchall()

    def all(self, after: int) -> Iterator[Any]:
        """Read the log above a position, as it comes: one SELECT, and never all of it in memory."""
        with self._connection.cursor() as cursor:
            yield from cursor.stream(_ALL, (after,), binary=True, size=CHUNK)

    def follow(self, name: str, chunk: int) -> int:
        """Read all events, and commit how far that is after each chunk; return how many there were."""
        execute = self._connection.execute
        position = 0
        while page := execute(_PAGE, (position, chunk), prepare=True, binary=True).fetchall():
            position = page[-1][0]
            execute(_CHECKPOINT, (name, position), prepare=True)
        return position

    def pass_over(self) -> int:
        """Let the server read every event; return how many there were."""
        found = self._connection.execute(_READ_EVERY).fetchone()
        return 0 if found is None else int(found[0])

    def durability(self) -> str:
        """Read back how far a commit waits for the disk."""
        return durability_of(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class PeerPostgres(Recorded):
    """The peer's application recorder, with its defaults or with its option `enable_db_functions`.

    By default it takes an exclusive lock on its table for each append, so that no reader sees a number before a
    smaller one is there: the guarantee that ours gives. With the option it appends in one round trip and takes no such
    lock; that is faster and promises less, and is printed beside.
    """

    def __init__(self, server: Server, name: str, *, functions: bool = False) -> None:
        """Create its tables, where they are not there."""
        self.datastore = PostgresDatastore(
            name,
            str(server.folder),
            "5432",
            "postgres",
            "",
            connect_timeout=TIMEOUT_S,
            pool_size=POOL,
            enable_db_functions=functions,
        )
        self.recorder = PostgresApplicationRecorder(self.datastore)
        self.recorder.create_table()

    def durability(self) -> str:
        """Read back how far a commit waits for the disk."""
        with self.datastore.pool.connection() as connection:
            return durability_of(connection.cursor(row_factory=tuple_row))

    def close(self) -> None:
        """Close all its connections."""
        self.datastore.close()


def application(server: Server, name: str) -> Refunds:
    """Open the peer's application on a database."""
    return Refunds(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": name,
            "POSTGRES_HOST": str(server.folder),
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "",
        }
    )


# ---- opened until the end of a row, on an empty database or on one that is named


def _new(place: Place) -> str:
    return place.server().create(place.new_name())


def ours(place: Place, name: str | None = None) -> EventStore:
    """Open our store as the engine does, with its views beside the log."""
    url = place.server().url(name or _new(place))
    store: EventStore = place.closing(open_store(url, timeout_s=TIMEOUT_S))
    found = store.describe()
    place.durability["postgres ours"] = " ".join(f"{name}={found[name]}" for name in DESCRIBED)
    return store


def peer(place: Place, name: str | None = None, *, functions: bool = False) -> PeerPostgres:
    """Open the peer's recorder."""
    opened: PeerPostgres = place.closing(
        PeerPostgres(place.server(), name or _new(place), functions=functions)
    )
    place.durability["postgres peer"] = opened.durability()
    return opened


def raw(place: Place, name: str | None = None) -> RawPostgres:
    """Open the driver's pool."""
    opened: RawPostgres = place.closing(RawPostgres(place.server(), name or _new(place)))
    place.durability["postgres limit"] = opened.durability()
    return opened


def raw_reader(place: Place, name: str) -> RawReader:
    """Open one connection of the driver's."""
    opened: RawReader = place.closing(RawReader(place.server(), name))
    place.durability["postgres limit"] = opened.durability()
    return opened
