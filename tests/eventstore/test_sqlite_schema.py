"""What the SQLite store finds in a file: its schema, something else's, and the guards of the log."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from totals import TOTALS

from refold.engine.errors import CorruptLog, EventMissing, SchemaTooNew, StoreUnavailable
from refold.engine.ports import Appended, NewEvent, Write
from refold.eventstore import SqliteStore
from refold.eventstore.grouping import Member
from refold.eventstore.request import requested

EVENT = NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")


def names_in(folder):
    return sorted(file.name for file in folder.iterdir())


# ---- schema


def test_a_file_of_a_newer_refold_is_refused_and_not_touched(path, open_store, raw):
    open_store().close()
    with raw() as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('refold', 'm999', '')"
        )
    before = path.read_bytes()
    for options in ({}, {"read_only": True}, {"create": False}):
        with pytest.raises(SchemaTooNew) as caught:
            open_store(**options)
        assert (caught.value.found, caught.value.known) == (5, 4)
    assert path.read_bytes() == before


def test_a_database_of_something_else_is_refused_and_not_touched(path, open_store, raw):
    with raw() as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    before = path.read_bytes()
    for options in ({}, {"read_only": True}, {"create": False}):
        with pytest.raises(StoreUnavailable, match="something else"):
            open_store(**options)
    assert path.read_bytes() == before
    assert names_in(path.parent) == ["log.db"]


def test_migrations_of_something_else_do_not_make_a_store(path, open_store, raw):
    with raw() as connection:
        connection.execute("CREATE TABLE _sqlite_migrations (migration_set TEXT, name TEXT)")
        connection.execute("INSERT INTO _sqlite_migrations VALUES ('customers', 'm001_log')")
    with pytest.raises(StoreUnavailable, match="something else"):
        open_store()


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to have a header" * 100, b"x", b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_refused_and_not_touched(path, open_store, content):
    path.write_bytes(content)
    for options in ({}, {"read_only": True}):
        with pytest.raises(CorruptLog, match="no SQLite database"):
            open_store(**options)
    assert path.read_bytes() == content


def test_many_handles_may_create_a_store_at_once(path):
    gate = threading.Barrier(6)

    def opened(_):
        gate.wait()
        store = SqliteStore(path, views=[TOTALS])
        with closing(store):
            return store.views_stale

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(opened, range(6))) == {False}


def test_opening_does_not_wait_for_a_writer(open_store, append):
    with open_store().batch():
        assert open_store(timeout_s=0).head() == 0


# ---- the guards of the log


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}' WHERE position = 1",
        "UPDATE events SET position = 9 WHERE position = 1",
        "DELETE FROM events",
        "DELETE FROM events WHERE position = 3",
        "INSERT OR REPLACE INTO events SELECT position, stream, version, type, time, 'x', digest FROM events",
        "INSERT OR REPLACE INTO events SELECT position + 5, stream, version, type, time, 'x', digest FROM events",
        "INSERT INTO events SELECT position - 5, 'refund-x', 1, type, time, data, digest FROM events LIMIT 1",
    ],
)
def test_no_program_can_change_the_log_by_mistake(store, append, raw, statement):
    append(store, 3)
    before = list(store.read_all())
    with raw() as connection, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    assert list(store.read_all()) == before


# ---- triggers of others


KEEPS_OUT = """
CREATE TRIGGER mine BEFORE INSERT ON events WHEN NEW.version = 2 BEGIN SELECT RAISE(IGNORE); END
"""


@pytest.mark.parametrize("ends", ["by itself", "in a batch that goes on", "beside a neighbour"])
def test_an_event_that_a_trigger_of_others_keeps_out_is_not_acknowledged(store, append, raw, ends):
    append(store)
    with raw() as connection:
        connection.execute(KEEPS_OUT)
    kept_out = pytest.raises(StoreUnavailable, match=r"a trigger on the table events kept 1 of \d events out")
    if ends == "by itself":
        with kept_out:
            append(store)
        stored = 1
    elif ends == "beside a neighbour":
        members = [
            Member(requested([Write(f"refund-{name}", 0, [EVENT] * count)], None, None, (), ()))
            for name, count in (("x", 1), ("y", 3))
        ]
        store._writer._commit_together(members)
        assert members[0].result == Appended(2, 2)
        with kept_out:
            raise members[1].error
        stored = 2
    else:
        with store.batch():
            append(store, stream="refund-b")
            with kept_out:
                append(store, 3, stream="refund-c")
        stored = 2
    assert [each.position for each in store.read_all()] == [*range(1, stored + 1)]
    with raw() as connection:
        connection.execute("DROP TRIGGER mine")
    assert append(store).first == stored + 1


def test_triggers_of_others_say_for_themselves_what_becomes_of_a_conflict(store, append, raw):
    """SQLite lets the statement that fires a trigger overrule it, where that says anything."""
    with raw() as connection:
        connection.execute("CREATE TABLE seen (stream TEXT PRIMARY KEY)")
        connection.execute(
            "CREATE TRIGGER mine AFTER INSERT ON events BEGIN INSERT OR IGNORE INTO seen VALUES (NEW.stream); END"
        )
    append(store, 3)
    append(store)
    assert store.head() == 4
    with raw() as connection:
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (1,)


def test_positions_of_a_tail_that_was_cut_off_are_not_used_again(store, append, raw):
    append(store, 3)
    with raw(unguarded=True) as connection:
        connection.execute("DELETE FROM events WHERE position = 3")
    assert store.head() == 3
    assert append(store) == Appended(4, 4)
    reader = store.read_all()
    assert [next(reader).position, next(reader).position] == [1, 2]
    with pytest.raises(EventMissing) as caught:
        next(reader)
    assert (caught.value.number, caught.value.stream) == (3, None)
    assert [each.position for each in store.read_all(after=3)] == [4]
