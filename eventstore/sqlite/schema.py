"""The schema of the file and its migrations, on sqlite-utils."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlite_utils.db import Database
from sqlite_utils.migrations import Migrations

from ...engine.errors import SchemaTooNew, StoreUnavailable

if TYPE_CHECKING:
    import sqlite3

migrations = Migrations("refold")

_MIGRATIONS: Final = Migrations.migrations_table
_APPLIED: Final = "SELECT name FROM _sqlite_migrations WHERE migration_set = ?"

# Plain SQL where sqlite-utils has no word for it: AUTOINCREMENT keeps the last position even if the tail of the table
# is deleted behind our back, and the triggers keep the log append-only for every program that opens the file.
_LOG: Final = """
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    data TEXT NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (stream, version)
);
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    digest BLOB NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE bodies (
    digest TEXT PRIMARY KEY,
    salt BLOB NOT NULL,
    headers TEXT NOT NULL,
    content BLOB NOT NULL
);
"""


_APPEND_ONLY: Final = """
CREATE TRIGGER events_keep_insert BEFORE INSERT ON events
WHEN NEW.position <= (SELECT max(position) FROM events)
OR NEW.version <= (SELECT max(version) FROM events WHERE stream = NEW.stream)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER events_keep_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER events_keep_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
"""

# All that an outline asks of most events stands in the index, so that it reads no event for it. That no version comes
# twice is the trigger's part.
_INDEXED: Final = """
CREATE TABLE events_indexed (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    data TEXT NOT NULL,
    digest BLOB NOT NULL
);
INSERT INTO events_indexed SELECT position, stream, version, type, time, data, digest FROM events ORDER BY position;
DELETE FROM sqlite_sequence WHERE name = 'events_indexed';
INSERT INTO sqlite_sequence SELECT 'events_indexed', seq FROM sqlite_sequence WHERE name = 'events';
DROP TABLE events;
ALTER TABLE events_indexed RENAME TO events;
CREATE INDEX events_by_stream ON events (stream, version, type, time);
"""
_ADDED: Final = (
    "SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND type IN ('index', 'trigger') AND sql IS NOT NULL"
    " AND name NOT IN ('events_keep_insert', 'events_keep_update', 'events_keep_delete')"
)
"""What somebody else has added to the log's table."""


# AUTOINCREMENT: a token is never used again, however many leases have ended.
_LEASES: Final = """
CREATE TABLE leases (
    token INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    holder TEXT NOT NULL,
    until TEXT NOT NULL
);
"""

_SUBSCRIPTIONS: Final = """
CREATE TABLE subscriptions (
    name TEXT PRIMARY KEY,
    checkpoint INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE dead_letters (
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    data TEXT NOT NULL,
    digest BLOB NOT NULL,
    error TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    set_aside_at TEXT NOT NULL,
    PRIMARY KEY (name, position)
);
CREATE INDEX dead_letters_by_stream ON dead_letters (name, stream, position);
"""


@migrations()
def m001_log(db: Database) -> None:
    """Create the log, its idempotency keys and the message bodies."""
    for statement in _statements(_LOG + _APPEND_ONLY):
        db.conn.execute(statement)
    db["views"].create({"name": str, "definition": str}, pk="name")  # type: ignore[union-attr]


@migrations()
def m002_leases(db: Database) -> None:
    """Create the leases of workers."""
    db.conn.execute(_LEASES)


@migrations()
def m003_subscriptions(db: Database) -> None:
    """Create the checkpoints of subscriptions and what they have set aside."""
    for statement in _statements(_SUBSCRIPTIONS):
        db.conn.execute(statement)


@migrations()
def m004_outlines(db: Database) -> None:
    """Index streams by all that says how they stand; the events are copied once, as they are."""
    added = [sql for (sql,) in db.conn.execute(_ADDED)]
    db.conn.execute("PRAGMA legacy_alter_table = ON")  # leave what others have made of the log as it is
    try:
        for statement in (*_statements(_INDEXED + _APPEND_ONLY), *added):
            db.conn.execute(statement)
    finally:
        db.conn.execute("PRAGMA legacy_alter_table = OFF")


def _statements(script: str) -> list[str]:
    found, lines = [], []
    for line in script.strip().splitlines():
        lines.append(line)
        whole = "\n".join(lines)
        if line.endswith(";") and ("CREATE TRIGGER" not in whole or line.endswith("END;")):
            found.append(whole)
            lines = []
    return found


def applied(connection: sqlite3.Connection) -> int:
    """Return how many of our migrations the file has; 0 for an empty file. Nothing is written.

    Raises:
        SchemaTooNew: it has some that this code does not know.
        StoreUnavailable: it holds tables of something else.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    found = connection.execute(_APPLIED, (migrations.name,)).fetchall() if _MIGRATIONS in tables else []
    if not found:
        raise StoreUnavailable("the file holds tables of something else; choose another file")
    known = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - the list has no public reader
    if not {name for (name,) in found} <= known:
        raise SchemaTooNew(len(found), len(known))
    return len(found)


def is_current(connection: sqlite3.Connection) -> bool:
    """Tell whether the file has all migrations this code has."""
    return applied(connection) == len(migrations._migrations)  # noqa: SLF001 - the list has no public reader


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this code's schema, inside the open transaction."""
    if not is_current(connection):
        migrations.apply(Database(connection, execute_plugins=False))
