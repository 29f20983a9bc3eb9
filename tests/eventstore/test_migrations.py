"""Files of an older refold: what they hold stays as it is, and everything new works on them."""

import sqlite3
from contextlib import closing

import pytest
from sqlite_utils.db import Database

from refold.engine.errors import StoreUnavailable
from refold.engine.ports import Appended, NewEvent, Write
from refold.eventstore import SqliteStore
from refold.eventstore.codec import event_digest
from refold.eventstore.sqlite import schema

TIME = "2026-01-02T03:04:05Z"


@pytest.fixture
def older(path):
    """Make a file as refold made it before outlines, with events, and return those."""

    def made(*, lost=0, count=40):
        rows = []
        for position in range(1, count + 1):
            fields = (
                position,
                f"refund-{position % 7}",
                (position - 1) // 7 + 1,
                "refund.requested",
                TIME,
                "{}",
            )
            rows.append((*fields, event_digest(*fields)))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            schema.migrations.apply(Database(connection, execute_plugins=False), stop_before="m004_outlines")
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if lost:
                connection.execute("DROP TRIGGER events_keep_delete")
                connection.execute("DELETE FROM events WHERE position > ?", (count - lost,))
                connection.execute(
                    "CREATE TRIGGER events_keep_delete BEFORE DELETE ON events BEGIN SELECT 1; END"
                )
        return rows[: count - lost]

    return made


def test_the_migrations_are_written_down(store, raw):
    with raw() as connection:
        names = connection.execute(
            "SELECT name FROM _sqlite_migrations WHERE migration_set = 'refold'"
        ).fetchall()
        assert schema.is_current(connection)
    assert [name for (name,) in names] == [
        "m001_log",
        "m002_leases",
        "m003_subscriptions",
        "m004_outlines",
    ]


def test_a_file_from_before_the_leases_is_brought_up_to_date(open_store, append, raw):
    append(open_store(), 3)
    with raw() as connection:
        connection.execute("DROP TABLE leases")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm002_leases'")
    store = open_store()
    assert store.claim("refund-a", holder="worker", now="2026", until="2027") == 1
    assert store.head() == 3


def test_the_events_of_a_file_from_before_outlines_stay_as_they_are(older, open_store, raw):
    rows = older()
    store = open_store()
    assert [tuple(each) for each in store.read_all()] == rows
    assert [each.version for each in store.read_stream("refund-3")] == [1, 2, 3, 4, 5, 6]
    write = Write("refund-3", 6, [NewEvent("refund.requested", TIME, "{}")])
    assert store.append(write, key="k") == Appended(41, 41)
    with raw() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute(
            "SELECT name FROM sqlite_sequence WHERE name LIKE 'events%'"
        ).fetchall() == [("events",)]


def test_the_last_position_of_a_file_from_before_outlines_is_not_forgotten(older, open_store):
    """Its tail was lost: what stood there is missing, and its positions are not used again."""
    older(lost=3)
    store = open_store()
    assert (store.head(), store.first_missing()) == (40, 38)


def test_all_of_a_lost_log_is_not_forgotten_either(older, open_store):
    older(lost=40)
    assert open_store().head() == 40


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '[]' WHERE position = 1",
        "DELETE FROM events WHERE position = 1",
        "INSERT OR REPLACE INTO events VALUES (1, 'refund-1', 1, 't', 't', '{}', x'00')",
        "INSERT INTO events VALUES (99, 'refund-1', 1, 't', 't', '{}', x'00')",
    ],
    ids=["update", "delete", "replace", "a version again"],
)
def test_a_log_that_was_brought_up_to_date_is_append_only_again(older, open_store, raw, statement):
    older()
    open_store()
    with raw() as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)


def test_what_others_have_added_to_the_log_stays(older, open_store, raw):
    rows = older()
    with raw() as connection:
        connection.execute("CREATE INDEX mine ON events (type)")
        connection.execute("CREATE VIEW report AS SELECT count(*) AS number FROM events")
        connection.execute("CREATE TABLE outbox (position INTEGER REFERENCES events (position))")
        connection.execute(
            "CREATE TRIGGER tell AFTER INSERT ON events BEGIN INSERT INTO outbox VALUES (NEW.position); END"
        )
        before = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name IN ('mine', 'report', 'outbox', 'tell')"
        )
        before = sorted(before.fetchall())
    store = open_store()
    store.append(Write("refund-new", 0, [NewEvent("refund.requested", TIME, "{}")]))
    with raw() as connection:
        after = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name IN ('mine', 'report', 'outbox', 'tell')"
        )
        assert sorted(after.fetchall()) == before
        assert connection.execute("SELECT number FROM report").fetchone() == (len(rows) + 1,)
        assert connection.execute("SELECT position FROM outbox").fetchall() == [(len(rows) + 1,)]


def test_a_migration_that_is_interrupted_leaves_the_older_file(older, path, open_store, monkeypatch):
    rows = older()
    monkeypatch.setattr(schema, "_INDEXED", schema._INDEXED + "SELECT nothing;\n")
    with pytest.raises(StoreUnavailable):
        SqliteStore(path)
    monkeypatch.undo()
    with closing(SqliteStore(path, read_only=True)) as reader:
        assert [tuple(each) for each in reader.read_all()] == rows
    assert [tuple(each) for each in open_store().read_all()] == rows
