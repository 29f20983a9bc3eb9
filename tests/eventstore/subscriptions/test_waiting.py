"""Who waits for a log, or for a subscription, is woken by what happens and by nothing else."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from totals import TOTALS

from refold.engine.errors import StoreClosed, StoreUnavailable
from refold.engine.ports import NewEvent, Write
from refold.eventstore import MemoryStore
from refold.eventstore import memory as memory_module
from refold.eventstore.postgres import waiting as postgres_waiting
from refold.eventstore.sqlite import waiting

LONG_S = 60
"""Seconds after which a test gives up waiting for what happens at once."""
SQLITE_ONLY = pytest.mark.parametrize("kind", ["sqlite"])


def test_a_commit_wakes_who_waits_in_this_process_without_a_look_at_the_clock(
    monkeypatch, log, put, subscribe
):
    for module, name in (
        (waiting, "_POLL_S"),
        (waiting, "_LOOK_AGAIN_S"),
        (postgres_waiting, "_POLL_S"),
        (memory_module, "_STOP_LOOKED_AT_S"),
    ):
        monkeypatch.setattr(module, name, 10 * LONG_S)
    member = subscribe()
    enough = threading.Event()

    def handle(event):
        if event.version == 100:
            enough.set()

    thread = threading.Thread(target=member.run, args=(handle,), kwargs={"stop": enough})
    thread.start()
    for n in range(1, 101):
        with log.batch() if n % 2 else nullcontext():
            put("a")
        assert member.wait_for(n, timeout_s=LONG_S)
    thread.join(LONG_S)
    assert not thread.is_alive()


def test_the_end_of_a_batch_wakes_who_has_looked_during_it(monkeypatch):
    monkeypatch.setattr(memory_module, "_STOP_LOOKED_AT_S", 10 * LONG_S)
    store, looks = MemoryStore(), threading.Semaphore(0)
    head = store.head

    def looked():
        looks.release()
        return head()

    monkeypatch.setattr(store, "head", looked)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(store.wait_for, 1, timeout_s=10)
        assert looks.acquire(timeout=LONG_S)
        with store.batch():
            store.append(Write("refund-a", 0, [NewEvent("refund.requested", "2026", "{}")]))
            assert looks.acquire(timeout=LONG_S)
        assert looks.acquire(timeout=5), "nobody has looked again"
        assert waits.result()


@SQLITE_ONLY
def test_a_commit_of_another_handle_on_the_file_is_noticed_by_the_file_alone(
    monkeypatch, open_store, put, subscribe, seen, live
):
    monkeypatch.setattr(waiting, "_LOOK_AGAIN_S", 10 * LONG_S)
    mine, other = open_store(views=[TOTALS]), open_store(views=[TOTALS])
    live(subscribe(store=mine), seen)
    for n in range(1, 10):
        put("a", store=other)
        assert other.wait_for(n, subscription="totals", timeout_s=LONG_S)
    assert len(seen) == 9


def test_who_waits_notices_that_the_file_was_replaced(monkeypatch, path, open_store):
    monkeypatch.setattr(waiting, "_LOOK_AGAIN_S", 0.01)
    store = open_store()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(store.wait_for, 1, timeout_s=LONG_S)
        path.rename(path.with_name("away.db"))
        with pytest.raises(StoreUnavailable):
            waits.result(LONG_S)
    path.with_name("away.db").rename(path)


def test_who_waits_is_told_that_the_store_was_closed(monkeypatch, log):
    monkeypatch.setattr(waiting, "_LOOK_AGAIN_S", 0.01)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(log.wait_for, 1, timeout_s=LONG_S)
        log.close()
        with pytest.raises(StoreClosed):
            waits.result(LONG_S)
