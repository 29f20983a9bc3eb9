"""Locks of the SQLite store: who comes too late waits, and is then told."""

# The blocks that raise are batches.
# ruff: noqa: PT012

import errno
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from totals import TOTALS

from refold.engine.errors import StoreBusy, StoreClosed, StoreReadOnly, StoreUnavailable
from refold.engine.ports import Appended
from refold.eventstore.sqlite import lock


def test_a_lock_of_another_program_is_waited_for_and_then_reported(
    state, big_append, open_store, append, raw
):
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
