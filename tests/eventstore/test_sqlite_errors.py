"""Interrupts and errors come out of the SQLite store as they are or as ours, and leave it usable."""

# The blocks that raise are batches, and some tests go on whether a call raises or not.
# ruff: noqa: PT012, PT017

import os
import sqlite3

import pytest
from totals import TOTALS

from refold.engine.errors import (
    CorruptLog,
    RefoldError,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from refold.engine.ports import Appended, Body, Given, NewEvent, Upsert, Write
from refold.eventstore.sqlite.connection import translation

BODY = Body("b" * 64, b"salt", "{}", b"x" * 30_000)

# ---- interrupts


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_an_interrupt_undoes_a_batch_and_leaves_the_store_usable(store, append, error):
    with pytest.raises(error), store.batch():
        append(store, key="k")
        raise error
    assert store.settle("k") is None
    assert append(store, key="k") == Appended(1, 1)


def test_a_transaction_left_open_by_an_interrupt_is_undone_by_the_next_append(store, append):
    store._writer._connection.execute("BEGIN IMMEDIATE")
    store._writer._connection.execute("INSERT INTO keys VALUES ('k', x'00', 1, 1)")
    assert append(store, key="k") == Appended(1, 1)


def test_errors_of_the_callers_own_database_come_out_of_a_batch_as_they_are(store):
    with pytest.raises(sqlite3.OperationalError, match="theirs"), store.batch():
        raise sqlite3.OperationalError("theirs")
    with pytest.raises(UnicodeEncodeError), store.batch():
        "\ud800".encode()


def test_errors_of_the_changes_of_a_rebuild_come_out_as_they_are(open_store):
    def changes():
        yield Upsert(TOTALS, ("t", 1))
        raise sqlite3.OperationalError("theirs")

    store = open_store(views=[TOTALS])
    with pytest.raises(sqlite3.OperationalError, match="theirs"):
        store.rebuild(Given([TOTALS], changes()))
    assert list(store.rows(TOTALS)) == []


# ---- no error of SQLite leaks


def failure(code):
    error = sqlite3.OperationalError("planted")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, code), code
    return error


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (failure("SQLITE_BUSY"), StoreBusy, "locked"),
        (failure("SQLITE_BUSY_SNAPSHOT"), StoreBusy, "locked"),
        (failure("SQLITE_LOCKED"), StoreBusy, "locked"),
        (failure("SQLITE_FULL"), StoreFull, "no space"),
        (failure("SQLITE_IOERR_SHMSIZE"), StoreFull, "no space"),
        (failure("SQLITE_READONLY_DBMOVED"), StoreReadOnly, "read-only"),
        (failure("SQLITE_PERM"), StoreReadOnly, "read-only"),
        (failure("SQLITE_CANTOPEN"), StoreUnavailable, "cannot be opened"),
        (failure("SQLITE_IOERR_FSYNC"), StoreUnavailable, "SQLITE_IOERR_FSYNC"),
        (failure("SQLITE_CORRUPT_VTAB"), CorruptLog, "damaged"),
        (failure("SQLITE_NOTADB"), CorruptLog, "no SQLite database"),
        (failure("SQLITE_CONSTRAINT_UNIQUE"), CorruptLog, "contradicts itself"),
        (sqlite3.OperationalError("Could not decode to UTF-8 column"), CorruptLog, "no UTF-8"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), StoreUnavailable, "closed"),
        (sqlite3.Warning("one statement at a time"), StoreUnavailable, "Warning"),
    ],
    ids=str,
)
def test_each_error_of_sqlite_has_a_name_of_ours(path, error, expected, text):
    translated = translation(error, path, 5)
    assert type(translated) is expected
    assert text in str(translated)


def closed(store, path):
    store.close()


def closed_underneath(store, path):
    store._writer._connection.close()
    for connection in store._readers._idle:
        connection.close()


def locked(store, path):
    store.other = sqlite3.connect(path, isolation_level=None)
    store.other.execute("BEGIN EXCLUSIVE")


def overwritten(store, path):
    for file in path.parent.iterdir():
        file.write_bytes(os.urandom(file.stat().st_size))


def deleted(store, path):
    for file in path.parent.iterdir():
        file.unlink()


def emptied(store, path):
    for table in ("events", "keys", "bodies", "views", "totals"):
        store._writer._connection.execute(f"DROP TABLE {table}")


CALLS = {
    "append": lambda store: store.append(
        Write("refund-b", 0, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")]),
        key="k",
        bodies=[BODY],
        changes=[Upsert(TOTALS, ("t", 1))],
    ),
    "batch": lambda store: store.batch().__enter__(),
    "settle": lambda store: store.settle("k"),
    "head": lambda store: store.head(),
    "version": lambda store: store.version("refund-a"),
    "read_stream": lambda store: list(store.read_stream("refund-a")),
    "read_all": lambda store: list(store.read_all()),
    "read_category": lambda store: list(store.read_category("refund")),
    "streams": lambda store: list(store.streams("refund")),
    "body": lambda store: store.body(BODY.digest),
    "erase_body": lambda store: store.erase_body(BODY.digest),
    "row": lambda store: store.row(TOTALS, ("t",)),
    "rows": lambda store: list(store.rows(TOTALS)),
    "rebuild": lambda store: store.rebuild(Given([TOTALS], [Upsert(TOTALS, ("t", 1))])),
    "describe": lambda store: store.describe(),
    "checkpoint": lambda store: store.checkpoint(),
    "surrogates": lambda store: store.version("\ud800"),
    "surrogates in rows": lambda store: list(store.rows(TOTALS, where={"id": "\ud800"})),
    "numbers beyond 64 bits": lambda store: list(store.read_stream("refund-a", after=2**70)),
    "limits beyond 64 bits": lambda store: list(store.rows(TOTALS, limit=2**70)),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("fault", [closed, closed_underneath, locked, overwritten, deleted, emptied])
@pytest.mark.parametrize("call", CALLS)
def test_no_call_lets_an_error_of_sqlite_out(path, open_store, append, fault, call):
    store = open_store(views=[TOTALS], timeout_s=0)
    append(store, 3, changes=[Upsert(TOTALS, ("t", 1))])
    if fault is overwritten:
        store._readers._idle.pop().close()
    fault(store, path)
    try:
        CALLS[call](store)
    except RefoldError as error:
        assert "sqlite3." not in str(error)
    finally:
        if fault is locked:
            store.other.close()
