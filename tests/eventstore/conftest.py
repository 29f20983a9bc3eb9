import sqlite3
from contextlib import closing, contextmanager

import pytest

from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@pytest.fixture
def open_store(path):
    """Open stores on one file, and close them at the end of the test."""
    stores = []

    def opened(where=path, **options):
        stores.append(SqliteStore(where, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def raw(path):
    """Give a connection of another program; with `unguarded=True` the triggers that guard the log are gone."""

    @contextmanager
    def connected(where=path, *, unguarded=False):
        with closing(sqlite3.connect(where, isolation_level=None, timeout=0)) as connection:
            if unguarded:
                triggers = connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).fetchall()
                for (name,) in triggers:
                    connection.execute(f"DROP TRIGGER {name}")
            yield connection

    return connected


@pytest.fixture
def append():
    """Append events to one stream, numbered in their data."""

    def appended(store, count=1, stream="refund-a", **options):
        start = store.version(stream)
        events = [
            NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{start + n}}}') for n in range(count)
        ]
        return store.append(Write(stream, start, events), **options)

    return appended
