"""Databases that hold 10^5 and 10^6 events, made once a run and copied for each row that needs one.

They hold what the SQLite files of filled.py hold, byte for byte: the rows that our store has appended there, digests
included, and those of the peer's recorder and application, sent over with COPY. To append them once more would take as
long again as on SQLite. The raw database is a copy of ours without its triggers.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from psycopg import sql

from refold.engine.composition import open_store

from .. import filled as on_sqlite
from . import contenders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Connection

    from ..place import Place

_OURS: Final = "SELECT position, stream, version, type, time, data, digest FROM events ORDER BY position"
_COPY_OURS: Final = "COPY events (position, stream, version, type, time, data, digest) FROM STDIN"
_HEAD: Final = "UPDATE head SET position = (SELECT max(position) FROM events)"
_PEERS: Final = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
)
_COPY_PEERS: Final = sql.SQL(
    "COPY {} (notification_id, originator_id, originator_version, topic, state) FROM STDIN"
)
_TRIGGERS: Final = (
    "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid WHERE NOT tgisinternal"
)
_DROP_TRIGGER: Final = sql.SQL("DROP TRIGGER {} ON {}")
_NUMBERED: Final = sql.SQL(
    "ALTER TABLE events ALTER position ADD GENERATED ALWAYS AS IDENTITY (START WITH {})"
)


class Filled(NamedTuple):
    """A database that nobody is connected to: its name, the refunds in it, and its events."""

    name: str
    refunds: Sequence[str]
    events: int

    def copy(self, place: Place) -> str:
        """Copy the database and return the name of the copy."""
        return place.server().copy(self.name, place.new_name())

    def bare(self, place: Place) -> str:
        """Copy it for the driver alone: no triggers, and positions that count themselves."""
        name = self.copy(place)
        with place.server().connect(name) as connection:
            for trigger, table in connection.execute(_TRIGGERS).fetchall():
                connection.execute(_DROP_TRIGGER.format(sql.Identifier(trigger), sql.Identifier(table)))
            connection.execute(_NUMBERED.format(self.events + 1))
        return name


@cache
def filled(place: Place, events: int) -> Filled:
    """Return our store with as many events, made at the first call."""
    full = on_sqlite.filled(place, events)
    server = place.server()
    name = server.create(place.new_name())
    open_store(server.url(name)).close()
    with server.connect(name) as connection:
        with connection.transaction():
            _send(connection, full, _OURS, _COPY_OURS)
            connection.execute(_HEAD)
        _settled(connection)
    return Filled(name, full.refunds, full.events)


@cache
def peer_filled(place: Place, events: int) -> Filled:
    """Return the peer's recorder with the same events, made at the first call."""
    full = on_sqlite.peer_filled(place, events)
    server = place.server()
    name = server.create(place.new_name())
    contenders.PeerPostgres(server, name).close()
    return _peers(place, full, name, "stored_events")


@cache
def application_filled(place: Place, events: int) -> Filled:
    """Return the peer's application with about as many events of whole refunds, made at the first call."""
    full = on_sqlite.application_filled(place, events)
    server = place.server()
    name = server.create(place.new_name())
    app = contenders.application(server, name)
    app.close()
    return _peers(place, full, name, app.recorder.events_table_name)


def _peers(place: Place, full: on_sqlite.Filled, name: str, table: str) -> Filled:
    with place.server().connect(name) as connection:
        _send(connection, full, _PEERS, _COPY_PEERS.format(sql.Identifier(table)))
        _settled(connection)
    return Filled(name, full.refunds, full.events)


def _send(connection: Connection, full: on_sqlite.Filled, select: str, copy: str | sql.Composed) -> None:
    """Send the rows of a SQLite file."""
    with (
        closing(sqlite3.connect(full.path)) as file,
        connection.cursor() as cursor,
        cursor.copy(copy) as sending,
    ):
        for row in file.execute(select):
            sending.write_row(row)


def _settled(connection: Connection) -> None:
    """Do now what the server would do in the background, while others are measured."""
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")
