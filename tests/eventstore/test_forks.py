"""Forks: a child gets none of its parent's stores and locks, and the parent loses nothing by it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from refold.engine.errors import StoreBusy, WrongProcess
from refold.engine.ports import Body, Column, Given, NewEvent, Upsert, View, Write
from refold.eventstore import MemoryStore, SqliteStore
from refold.eventstore.sqlite.lock import FileLock

# A test that forks while its threads run is what these are for.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
NUMBERS = View("numbers", (Column("name", str), Column("number", int)), key=("name",))
CALLS = {
    "append": lambda store: store.append(Write("refund-a", None, [event(9)])),
    "batch": lambda store: store.batch().__enter__(),
    "settle": lambda store: store.settle("k"),
    "head": lambda store: store.head(),
    "first_missing": lambda store: store.first_missing(),
    "version": lambda store: store.version("refund-a"),
    "read_stream": lambda store: list(store.read_stream("refund-a")),
    "read_all": lambda store: list(store.read_all()),
    "read_category": lambda store: list(store.read_category("refund")),
    "streams": lambda store: list(store.streams("refund")),
    "body": lambda store: store.body("0" * 64),
    "erase_body": lambda store: store.erase_body("0" * 64),
    "row": lambda store: store.row(NUMBERS, ("a",)),
    "rows": lambda store: list(store.rows(NUMBERS)),
    "claim": lambda store: store.claim("n", holder="h", now="2026", until="2027"),
    "lease": lambda store: store.lease("n"),
    "release": lambda store: store.release(1),
    "rebuild": lambda store: store.rebuild(Given([NUMBERS], [Upsert(NUMBERS, ("t", 1))])),
    "describe": lambda store: store.describe(),
    "checkpoint": lambda store: store.checkpoint(),
}


def event(number):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{number}}}')


def append(store, number, stream="refund-a"):
    return store.append(Write(stream, None, [event(number)])).last


def refused(store, calls=CALLS):
    """Return the calls of a store that did not raise `WrongProcess`."""
    found = {}
    for name, call in calls.items():
        try:
            call(store)
            found[name] = "no error"
        except WrongProcess:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it was is shown
            found[name] = repr(error)
    return found


@pytest.fixture(params=["memory", "sqlite", "sqlite, reading only"])
def parents(request, path):
    """A store with one event, opened by this process."""
    if request.param == "memory":
        store = MemoryStore()
        append(store, 1)
    else:
        store = SqliteStore(path, views=[NUMBERS])
        append(store, 1)
        if request.param != "sqlite":
            store.close()
            store = SqliteStore(path, views=[NUMBERS], read_only=True)
    yield store
    store.close()


# ---- the parent's store in a child


def test_a_child_is_refused_every_call_of_its_parents_store(fork, parents):
    child = fork(lambda _: refused(parents))
    assert child.ended() == "{}"
    assert parents.head() == 1


def test_a_child_is_refused_and_not_held_up_where_a_thread_of_the_parent_has_the_locks(fork, held):
    store, end = held
    child = fork(lambda _: refused(store))
    assert child.ended() == "{}"
    end()
    assert store.head() == 1


def test_a_child_of_a_memory_store_is_not_held_up_either(fork):
    store, begun, let = MemoryStore(), threading.Event(), threading.Event()

    def hold():
        with store._writers, store._lock:
            begun.set()
            assert let.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(20)
    child = fork(lambda _: refused(store))
    assert child.ended() == "{}"
    let.set()
    thread.join(20)


def test_the_error_names_both_processes(fork, parents):
    def ask(_):
        try:
            parents.head()
        except WrongProcess as error:
            return error.opened_in == os.getppid(), error.used_in == os.getpid()

    assert fork(ask).ended() == "(True, True)"


def test_closing_in_a_child_does_nothing_and_the_parent_goes_on(fork, parents):
    child = fork(lambda _: (parents.close(), refused(parents)))
    assert child.ended() == "(None, {})"
    assert [each.position for each in parents.read_all()] == [1]


def test_the_parent_appends_and_reads_after_a_fork_as_before(fork, open_store):
    store = open_store()
    assert append(store, 1) == 1
    fork(lambda _: None).ended()
    assert append(store, 2) == 2
    assert [each.position for each in store.read_all()] == [1, 2]


def test_a_batch_that_a_child_leaves_is_its_parents(fork, open_store, raw):
    store = open_store()

    def leave(*batches):
        found = []
        for batch in batches:
            try:
                batch.__exit__(None, None, None)
            except WrongProcess:
                found.append("refused")
        return found

    # More than SQLite keeps in memory: what a roll-back undoes is in the shared index of the write-ahead log by then.
    bodies = [Body(f"{number:064}", b"salt", "{}", bytes(100_000)) for number in range(100)]
    with store.batch():
        store.append(Write("refund-a", 0, [event(1)]), bodies=bodies)
        inner, innermost = store.batch(), store.batch()
        inner.__enter__()
        innermost.__enter__()
        append(store, 2)
        assert fork(lambda _: leave(innermost, inner)).ended() == "['refused', 'refused']"
        innermost.__exit__(None, None, None)
        inner.__exit__(None, None, None)
    outer = store.batch()
    outer.__enter__()
    store.append(
        Write("refund-b", 0, [event(3)]),
        bodies=[each._replace(digest="b" + each.digest[1:]) for each in bodies],
    )
    assert fork(lambda _: leave(outer)).ended() == "['refused']"
    outer.__exit__(None, None, None)
    assert [each.position for each in store.read_all()] == [1, 2, 3]
    with raw() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM bodies").fetchall() == [(200,)]


def test_an_iteration_that_a_child_goes_on_with_is_its_parents(fork, open_store):
    store = open_store(views=[NUMBERS])
    store.append(Write("refund-a", 0, [event(1)]), changes=[Upsert(NUMBERS, (name, 1)) for name in "abc"])
    rows = store.rows(NUMBERS)
    assert next(rows)["name"] == "a"

    def go_on(_):
        try:
            return next(rows)
        except WrongProcess:
            return "refused"

    assert fork(go_on).ended() == "'refused'"
    assert [row["name"] for row in rows] == ["b", "c"]


# ---- locks


def test_a_child_does_not_unlock_what_its_parent_has_locked(fork, held, path):
    store, end = held
    fork(lambda _: store.close()).ended()
    lock = FileLock(path.with_name("log.db-lock"), timeout_s=0)
    with pytest.raises(StoreBusy):
        lock.acquire()
    end()
    lock.acquire()
    lock.close()


DIES_IN_A_BATCH = """
import os, sys
from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore
store = SqliteStore(sys.argv[1])
with store.batch():
    store.append(Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")]))
    if os.fork() == 0:
        os.write(1, b"child\\n")
        os.read(0, 1)
        os._exit(0)
    os.write(1, b"parent\\n")
    os.kill(os.getpid(), 9)
"""


def test_a_child_does_not_keep_the_lock_of_a_parent_that_was_killed(path, open_store):
    with subprocess.Popen(
        [sys.executable, "-c", DIES_IN_A_BATCH, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert {parent.stdout.readline() for _ in range(2)} == {b"child\n", b"parent\n"}
        assert parent.wait(20) == -signal.SIGKILL
        assert append(open_store(timeout_s=0), 1) == 1  # the child is still there
        parent.stdin.write(b"x")
