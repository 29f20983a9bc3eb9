"""The rows that write to PostgreSQL: single appends, callers at once, import."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.rows import tuple_row
from psycopg_pool import ConnectionPool

from refold.engine.composition import open_store
from refold.engine.errors import InvalidSetting

from .measuring import Row, Threads, interleaved
from .place import TIMEOUT_S
from .server import durability_of
from .writing import (
    batches,
    our_batch,
    our_write,
    peer_batch,
    peer_note,
    peer_write,
    raw_batch,
    raw_write,
    turn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventsourcing.persistence import StoredEvent

    from refold.engine.ports import EventStore

    from .measuring import Contender
    from .place import Place
    from .raw import RawRow
    from .server import Server

POOL = 16
"""Connections of the raw driver and of the peer, which alone would take 5 to 15; more than that only wait for cores."""
FIVE_TIMES_AT = 32
_TABLE = """
CREATE TABLE events (
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


class RawPostgres:
    """psycopg's own pool: a connection a caller, one INSERT a transaction."""

    def __init__(self, server: Server, name: str) -> None:
        """Create the table in an empty database."""
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


class PeerPostgres:
    """The peer's application recorder, with its defaults or with its option `enable_db_functions`.

    By default it takes an exclusive lock on its table for each append, so that no reader sees a number before a
    smaller one is there: the guarantee that ours gives. With the option it appends in one round trip and takes no such
    lock; that is faster and promises less, and is printed beside.
    """

    def __init__(self, server: Server, name: str, *, functions: bool = False) -> None:
        """Create its tables in an empty database."""
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

    def append(self, stored: StoredEvent) -> None:
        """Commit one event."""
        self.recorder.insert_events([stored])

    def durability(self) -> str:
        """Read back how far a commit waits for the disk."""
        with self.datastore.pool.connection() as connection:
            return durability_of(connection.cursor(row_factory=tuple_row))

    def close(self) -> None:
        """Close all its connections."""
        self.datastore.close()


# ---- rows


class Contenders:
    """All three on databases of their own, of one server; ours is None where there is no such store yet."""

    def __init__(self, place: Place) -> None:
        """Open them until the end of the row."""
        server = place.server()
        self.reason = ""
        self.peer: PeerPostgres = place.closing(PeerPostgres(server, server.create(place.new_name())))
        self.unlocked: PeerPostgres = place.closing(
            PeerPostgres(server, server.create(place.new_name()), functions=True)
        )
        self.raw: RawPostgres = place.closing(RawPostgres(server, server.create(place.new_name())))
        self.ours: EventStore | None = None
        url = server.url(server.create(place.new_name()))
        try:
            self.ours = place.closing(open_store(url, timeout_s=TIMEOUT_S))
        except InvalidSetting as error:
            self.reason = f"ours left out: {error}"
        else:
            place.durability["postgres ours"] = " ".join(
                f"{name}={value}" for name, value in self.ours.describe().items() if name in DESCRIBED
            )
        place.durability["postgres peer"] = self.peer.durability()
        place.durability["postgres limit"] = self.raw.durability()

    def row(self, name: str, unit: str, rates: dict[str, list[float]]) -> Row:
        """Return a row, with the reason where ours is not in it, and the peer without its lock."""
        unlocked = rates.pop("unlocked", None)
        notes = [self.reason] if self.reason else []
        if unlocked is not None:
            notes.append(f"peer with enable_db_functions, which locks nothing: {median(unlocked):,.0f}/s")
        return Row(name=name, unit=unit, notes=notes, **rates)


DESCRIBED = ("durability", "fsync", "synchronous_commit", "full_page_writes")


def single_append(place: Place) -> Row:
    """Append one event to a new stream, durable, one caller."""
    count, three = place.sizes.appends, Contenders(place)
    rates = interleaved(
        place.sizes,
        {
            "ours": None if three.ours is None else turn(count, our_write, three.ours.append),
            "peer": turn(count, peer_write, three.peer.append),
            "limit": turn(count, raw_write, three.raw.append),
            "unlocked": turn(count, peer_write, three.unlocked.append),
        },
    )
    return three.row("single_append_postgres", "appends/s", rates)


def concurrent(place: Place, *, callers: int) -> Row:
    """Append single events from so many threads, each contender through one store of its own."""
    count = max(place.sizes.threaded // callers, 2) * callers
    three = Contenders(place)
    threads, peer_threads, raw_threads = Threads(callers), Threads(callers), Threads(callers)
    rates = interleaved(
        place.sizes,
        {
            "ours": None if three.ours is None else turn(count, our_write, three.ours.append, threads.each),
            "peer": turn(count, peer_write, three.peer.append, peer_threads.each),
            "limit": turn(count, raw_write, three.raw.append, raw_threads.each),
            "unlocked": turn(count, peer_write, three.unlocked.append, Threads(callers).each),
        },
    )
    row = three.row(f"concurrent_{callers}_postgres", "appends/s", rates)
    row.latency = threads.latency() if threads.taken_s else None
    row.notes.append(peer_note(callers, rates["peer"], peer_threads))
    if callers == FIVE_TIMES_AT:
        row.require("peer", 5.0)
    return row


def importing(place: Place) -> Row:
    """Append 1,000 events of 125 new streams at once, one transaction each.

    The peer is the one with `enable_db_functions`: by default it sends such a batch in psycopg's pipeline mode, where
    now and then both sides wait for each other for good.
    """
    three = Contenders(place)
    ours: Contender | None = None
    if three.ours is not None:
        append: Callable[..., object] = three.ours.append
        ours = batches(place, our_batch, lambda writes: append(*writes))
    rates = interleaved(
        place.sizes,
        {
            "ours": ours,
            "peer": batches(place, peer_batch, three.unlocked.recorder.insert_events),
            "limit": batches(place, raw_batch, three.raw.append_many),
        },
    )
    return three.row("import_postgres", "events/s", rates)
