"""Run in a mount namespace of its own: a file of an older refold on a file system that has no room for its migration."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from sqlite_utils.db import Database

from refold.engine.errors import StoreFull
from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore
from refold.eventstore.codec import event_digest
from refold.eventstore.sqlite import schema

folder = Path(sys.argv[1])
TIME = "2026-01-02T03:04:05Z"
COUNT = 600
ROOM = 100_000


def row(position):
    fields = (position, f"refund-{position % 7}", (position - 1) // 7 + 1, "refund.requested", TIME)
    data = f'"{position:0400}"'
    return (*fields, data, event_digest(*fields, data))


def rows():
    with closing(sqlite3.connect(folder / "log.db")) as connection:
        return connection.execute("SELECT * FROM events ORDER BY position").fetchall()


subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as connection:
    connection.execute("PRAGMA journal_mode = WAL")
    schema.migrations.apply(Database(connection, execute_plugins=False), stop_before="m004_outlines")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", map(row, range(1, COUNT + 1)))
    connection.execute("COMMIT")
older = rows()
ballast = folder / "ballast"
free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
ballast.write_bytes(bytes(free - ROOM))
for _ in range(2):
    try:
        SqliteStore(folder / "log.db")
    except StoreFull:
        print("no room")
    assert rows() == older
ballast.unlink()
store = SqliteStore(folder / "log.db")
assert [tuple(event) for event in store.read_all()] == older
assert store.append(Write("refund-new", 0, [NewEvent("refund.requested", TIME, "{}")])).first == COUNT + 1
print("migrated once there is room")
store.close()
