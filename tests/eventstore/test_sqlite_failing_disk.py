"""Full disks and failing disks: what was acknowledged is there, what was refused is not."""

# The blocks that raise are batches, and some tests go on whether a call raises or not.
# ruff: noqa: PT012, PT017

import resource
import sqlite3
from contextlib import contextmanager

import pytest
from totals import TOTALS

from refold.engine.errors import (
    CorruptLog,
    MessageNotFound,
    OutcomeUnknown,
    RefoldError,
    StoreBusy,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from refold.engine.ports import Appended
from refold.eventstore.sqlite import writer

# ---- a full disk


def pages(store, limit=None):
    connection = store._writer._connection
    if limit is not None:
        connection.execute(f"PRAGMA max_page_count = {limit}")
    return connection.execute("PRAGMA page_count").fetchone()[0]


def test_a_disk_that_is_full_at_any_page_leaves_the_store_as_it_was(
    state, big_append, big_body, open_store, append
):
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
            store.body(big_body.digest)
    assert refused > 10
    pages(store, 1_000_000)
    assert append(store) == Appended(6, 6)


def test_an_append_that_finds_the_disk_full_inside_a_batch_undoes_only_itself(big_append, open_store, append):
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
            error = sqlite3.OperationalError("planted")
            error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, self.code), self.code
            raise error
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
def test_an_error_at_any_statement_stores_all_or_nothing_and_is_ours(
    state, big_append, open_store, append, code, sticky
):
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


def test_a_write_that_the_system_refuses_at_any_byte_leaves_all_or_nothing(
    state, big_append, path, open_store, append
):
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
