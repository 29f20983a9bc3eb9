"""Locks, full disks, failing disks and interrupts: what was acknowledged is there, what was refused is not."""

# The blocks that raise are batches, and some tests go on whether a call raises or not.
# ruff: noqa: PT012, PT017

import errno
import os
import resource
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from refold.engine.errors import (
    CorruptLog,
    MessageNotFound,
    OutcomeUnknown,
    RefoldError,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from refold.engine.ports import Appended, Body, Column, Given, NewEvent, Upsert, View, Write
from refold.eventstore.sqlite import lock, writer
from refold.eventstore.sqlite.connection import translation

TOTALS = View("totals", (Column("id", str), Column("total", int, sums=True)), ("id",))
BODY = Body("b" * 64, b"salt", "{}", b"x" * 30_000)


def state(store):
    return list(store.read_all()), list(store.rows(TOTALS)), list(store.streams("refund"))


def big_append(store):
    """Append what needs several pages in every table."""
    event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", '"' + "x" * 10_000 + '"')
    writes = Write("refund-a", 0, [event] * 3), Write("refund-b", 0, [event])
    return store.append(*writes, key="k", bodies=[BODY], changes=[Upsert(TOTALS, ("t", 1))])


# ---- locks


def test_a_lock_of_another_program_is_waited_for_and_then_reported(open_store, append, raw):
    store = open_store(timeout_s=0.05, views=[TOTALS])
    append(store, stream="refund-c")
    before = state(store)
    with raw() as connection:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StoreBusy, match=r"locked for more than 0\.05 s") as caught:
                big_append(store)
            assert caught.value.timeout_s == 0.05
        assert state(store) == before
        connection.execute("ROLLBACK")
    assert store.settle("k") is None
    assert big_append(store) == Appended(2, 5)
    assert big_append(store) == Appended(2, 5, duplicate=True)


def test_a_batch_of_another_handle_is_waited_for_and_then_reported(open_store, append):
    one, other = open_store(), open_store(timeout_s=0.05)
    with one.batch():
        append(one)
        with pytest.raises(StoreBusy):
            append(other, stream="refund-b", key="k")
        assert other.head() == 0
    assert append(other, stream="refund-b", key="k") == Appended(2, 2)


def test_a_batch_of_another_thread_is_waited_for_and_then_reported(open_store, append):
    store = open_store(timeout_s=0.05)
    with ThreadPoolExecutor(1) as pool, store.batch():
        append(store)
        for call in (lambda: append(store, stream="refund-b"), store.checkpoint, store.close):
            with pytest.raises(StoreBusy):
                pool.submit(call).result()
        append(store)
    assert store.head() == 2


def test_a_batch_keeps_other_programs_from_writing_before_it_wrote_anything(store, raw):
    with store.batch(), raw() as connection, pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.execute("BEGIN IMMEDIATE")


def test_a_store_is_not_created_while_another_process_creates_it(path, open_store, append):
    """Two programs that switch one new file to a write-ahead log would disturb each other."""
    creating = lock.FileLock(path.with_name("log.db-lock"), timeout_s=0)
    creating.acquire()
    with pytest.raises(StoreBusy):
        open_store(timeout_s=0)
    assert not path.exists()
    creating.close()
    assert append(open_store()) == Appended(1, 1)


def test_a_writer_that_waits_goes_on_as_soon_as_the_lock_is_free(open_store, append, monkeypatch):
    one, other = open_store(), open_store(timeout_s=60)
    waits = threading.Event()
    taken = lock.FileLock._taken

    def watched(self):
        got = taken(self)
        if not got:
            waits.set()
        return got

    monkeypatch.setattr(lock.FileLock, "_taken", watched)
    with ThreadPoolExecutor(1) as pool:
        with one.batch():
            append(one)
            waiting = pool.submit(append, other, stream="refund-b")
            assert waits.wait(60)
        assert waiting.result() == Appended(2, 2)


def test_a_store_that_is_busy_while_it_closes_leaves_the_folding_to_others(open_store, append):
    one, other = open_store(timeout_s=0), open_store()
    append(one)
    with other.batch():
        one.close()
    with pytest.raises(StoreClosed):
        one.head()
    assert open_store().head() == 1


def test_a_store_is_not_closed_from_inside_a_batch(open_store, append):
    store = open_store()
    with pytest.raises(StoreUnavailable, match="leave it before closing"), store.batch():
        append(store)
        store.close()


# ---- a full disk


def pages(store, limit=None):
    connection = store._writer._connection
    if limit is not None:
        connection.execute(f"PRAGMA max_page_count = {limit}")
    return connection.execute("PRAGMA page_count").fetchone()[0]


def test_a_disk_that_is_full_at_any_page_leaves_the_store_as_it_was(open_store, append):
    store = open_store(views=[TOTALS])
    append(store, stream="refund-c")
    before, used = state(store), pages(store)
    refused = 0
    for limit in range(used, used + 100):
        pages(store, limit)
        try:
            assert big_append(store) == Appended(2, 5)
            break
        except StoreFull:
            refused += 1
        assert state(store) == before
        assert store.settle("k") is None
        with pytest.raises(MessageNotFound):
            store.body(BODY.digest)
    assert refused > 10
    pages(store, 1_000_000)
    assert append(store) == Appended(6, 6)


def test_an_append_that_finds_the_disk_full_inside_a_batch_undoes_only_itself(open_store, append):
    store = open_store(views=[TOTALS])
    pages(store, pages(store) + 1)
    with store.batch():
        append(store, stream="refund-c")
        with pytest.raises(StoreFull):
            big_append(store)
        append(store, stream="refund-c")
    assert [event.stream for event in store.read_all()] == ["refund-c", "refund-c"]
    assert store.settle("k") is None


# ---- a failing disk


def failure(code):
    error = sqlite3.OperationalError("planted")
    error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, code), code
    return error


class Planted:
    """A connection whose n-th statement fails.

    `late`: after it was carried out. `sticky`: all later ones fail too. `undone`: SQLite undid the whole transaction.
    """

    def __init__(
        self, connection, *, at=0, code="SQLITE_IOERR_WRITE", only="", late=False, sticky=False, undone=False
    ):
        self.connection, self.at, self.code, self.only = connection, at, code, only
        self.late, self.sticky, self.undone, self.count = late, sticky, undone, 0

    def run(self, method, sql, *arguments):
        if not sql.startswith(self.only):
            return method(sql, *arguments)
        self.count += 1
        if self.count == self.at or (self.sticky and self.count > self.at):
            if self.late:
                method(sql, *arguments)
            if self.undone:
                self.connection.execute("ROLLBACK")
            raise failure(self.code)
        return method(sql, *arguments)

    def execute(self, sql, *arguments):
        return self.run(self.connection.execute, sql, *arguments)

    def executemany(self, sql, rows):
        return self.run(self.connection.executemany, sql, rows)

    def __getattr__(self, name):
        return getattr(self.connection, name)


def plant(store, **options):
    store._writer._connection = planted = Planted(store._writer._current(), **options)
    return planted


@pytest.mark.parametrize(
    "code", ["SQLITE_IOERR_WRITE", "SQLITE_FULL", "SQLITE_CORRUPT", "SQLITE_READONLY", "SQLITE_BUSY"]
)
@pytest.mark.parametrize("sticky", [False, True])
def test_an_error_at_any_statement_stores_all_or_nothing_and_is_ours(open_store, append, code, sticky):
    store = open_store(views=[TOTALS])
    append(store, stream="refund-c")
    before = state(store)
    for at in range(1, 100):
        planted = plant(store, at=at, code=code, sticky=sticky)
        try:
            big_append(store)
            break
        except RefoldError as error:
            last = planted.count == at and at > 1
            assert isinstance(
                error, OutcomeUnknown | StoreFull | StoreBusy | StoreReadOnly | StoreUnavailable | CorruptLog
            )
            assert state(store) == before
        if store._writer._connection is planted:
            store._writer._connection = planted.connection
        assert store.settle("k") is None
    assert at > 6
    assert last
    assert store.settle("k") == Appended(2, 5)
    assert len(state(store)[0]) == 5


@pytest.mark.parametrize("key", ["k", None])
def test_a_commit_that_fails_before_it_happened_is_settled_as_absent(store, append, key):
    plant(store, at=1, only="COMMIT")
    with pytest.raises(OutcomeUnknown, match="settle key 'k'" if key else "read the streams again") as caught:
        append(store, key=key)
    assert caught.value.key == key
    assert store.settle("k") is None
    assert store.head() == 0
    assert append(store, key=key) == Appended(1, 1)


def test_a_commit_that_fails_after_it_happened_is_settled_as_there(store, append):
    plant(store, at=1, only="COMMIT", late=True)
    with pytest.raises(OutcomeUnknown):
        append(store, key="k", content="c")
    assert store.settle("k") == Appended(1, 1)
    assert append(store, key="k", content="c") == Appended(1, 1, duplicate=True)
    assert append(store) == Appended(2, 2)


def test_after_a_commit_failed_the_connection_is_a_new_one(store, append):
    planted = plant(store, at=1, only="COMMIT")
    with pytest.raises(OutcomeUnknown):
        append(store)
    append(store)
    assert store._writer._connection not in {planted, planted.connection}
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        planted.connection.execute("SELECT 1")
    assert store.describe()["synchronous"] == "FULL"


def test_a_batch_whose_commit_fails_is_unknown_as_a_whole(store, append):
    plant(store, at=1, only="COMMIT")
    with pytest.raises(OutcomeUnknown), store.batch():
        append(store, key="k")
    assert store.settle("k") is None


@pytest.mark.parametrize("code", ["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"])
def test_a_disk_that_is_full_at_the_commit_stores_nothing(store, append, code):
    plant(store, at=1, only="COMMIT", code=code)
    with pytest.raises(StoreFull):
        append(store, key="k")
    assert store.settle("k") is None
    assert append(store, key="k") == Appended(1, 1)


SETTLING = [
    ("BEGIN", "SQLITE_BUSY", StoreBusy),
    ("PRAGMA user_version", "SQLITE_FULL", StoreFull),
    ("PRAGMA user_version", "SQLITE_READONLY", StoreReadOnly),
    ("PRAGMA user_version", "SQLITE_IOERR_WRITE", StoreUnavailable),
    ("COMMIT", "SQLITE_FULL", StoreFull),
    ("COMMIT", "SQLITE_IOERR_FSYNC", OutcomeUnknown),
]


@pytest.mark.parametrize(("statement", "code", "error"), SETTLING, ids=str)
def test_a_key_is_not_told_to_be_absent_where_nothing_can_be_written(store, append, statement, code, error):
    append(store, key="there")
    planted = plant(store, at=1, only=statement, code=code)
    assert store.settle("there") == Appended(1, 1)
    assert planted.count == 0  # what is there needs no write
    with pytest.raises(error, match="settle key 'k'" if error is OutcomeUnknown else None):
        store.settle("k")
    assert planted.count == 1
    assert store.settle("k") is None


def test_a_store_that_cannot_be_opened_again_says_so_until_it_can(store, append, monkeypatch):
    plant(store, at=1, only="COMMIT")
    with monkeypatch.context() as patch:
        patch.setattr(writer, "open_writer", lambda *_, **__: (_ for _ in ()).throw(StoreUnavailable("gone")))
        with pytest.raises(OutcomeUnknown):
            append(store, key="k")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="gone"):
                append(store, key="k")
    assert append(store, key="k") == Appended(1, 1)


def test_a_rollback_that_fails_hides_neither_the_error_nor_the_store(store, append):
    append(store)
    plant(store, at=1, only="ROLLBACK")
    with pytest.raises(ZeroDivisionError), store.batch():
        append(store)
        raise ZeroDivisionError
    assert store.head() == 1
    assert append(store) == Appended(2, 2)
    assert not isinstance(store._writer._connection, Planted)


@pytest.mark.parametrize("statement", ["ROLLBACK TO", "ROLLBACK"])
def test_a_savepoint_that_cannot_be_undone_undoes_the_batch(store, append, statement):
    plant(store, at=1, only=statement, sticky=True)
    with pytest.raises(StoreUnavailable, match="an earlier error undid the batch"), store.batch():
        append(store)
        with pytest.raises(ZeroDivisionError), store.batch():
            append(store)
            raise ZeroDivisionError
    assert store.head() == 0
    assert append(store) == Appended(1, 1)


def test_a_batch_that_sqlite_undid_is_not_stored_piece_by_piece_where_the_error_is_swallowed(store, append):
    """After some errors SQLite itself undoes the whole transaction; each statement would then be one of its own."""
    plant(store, at=2, only="INSERT INTO events", code="SQLITE_FULL", undone=True)
    with pytest.raises(StoreUnavailable, match="an earlier error undid the batch"), store.batch():
        append(store)
        with pytest.raises(StoreFull):
            append(store)
        with pytest.raises(StoreUnavailable, match="an earlier error undid the batch"):
            append(store)
    assert store.head() == 0
    assert append(store) == Appended(1, 1)


@contextmanager
def file_limit(size):
    """Let every write beyond that size of a file fail, as the system does it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_the_system_refuses_at_any_byte_leaves_all_or_nothing(path, open_store, append):
    store = open_store(views=[TOTALS])
    append(store, stream="refund-c")
    store.close()
    store = open_store(views=[TOTALS])
    before = state(store)
    outcomes = set()
    log = path.with_name("log.db-wal")
    for room in [*range(0, 4200, 700), *range(4200, 10**6, 9001)]:
        start = log.stat().st_size if room < 4200 else 0
        try:
            with file_limit(max(start, 1) + room):
                assert big_append(store) == Appended(2, 5)
            break
        except RefoldError as error:
            outcomes.add(type(error))
        assert store.settle("k") is None
        assert state(store) == before
    assert OutcomeUnknown in outcomes
    assert outcomes <= {OutcomeUnknown, StoreUnavailable, StoreFull}
    assert len(state(store)[0]) == 5
    store.close()
    assert len(state(open_store(views=[TOTALS]))[0]) == 5


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
    "append": big_append,
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


def test_a_lock_file_that_cannot_be_made_means_read_only(path, open_store):
    path.with_name("log.db-lock").mkdir()
    with pytest.raises(StoreReadOnly):
        open_store()


def test_an_error_of_the_lock_itself_is_ours(open_store, append, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    store = open_store()
    with monkeypatch.context() as patch:
        patch.setattr(lock.fcntl, "flock", refused)
        with pytest.raises(StoreUnavailable, match="No locks available"):
            append(store)
    assert append(store) == Appended(1, 1)
