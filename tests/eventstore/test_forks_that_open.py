"""Forks: a child may open a store of its own, whatever its parent had open, and takes nothing from it."""

import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest

from refold.engine.errors import StoreUnavailable
from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore
from refold.eventstore.sqlite.waiting import Commits

# A test that forks while its threads run is what these are for.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def event(number):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{number}}}')


def append(store, number, stream="refund-a"):
    return store.append(Write(stream, None, [event(number)])).last


def test_a_child_appends_to_a_store_of_its_own_and_the_parents_close_takes_nothing_away(
    fork, open_store, path
):
    store = open_store()
    append(store, 1)

    def work(wait):
        with_own = SqliteStore(path)
        first = append(with_own, 2)
        os.write(appended, b"x")
        wait()
        return first, append(with_own, 3), [each.position for each in with_own.read_all()]

    seen, appended = os.pipe()
    child = fork(work)
    os.read(seen, 1)
    store.close()
    child.let()
    assert child.ended() == "(2, 3, [1, 2, 3])"
    assert [each.position for each in open_store().read_all()] == [1, 2, 3]
    os.close(seen)
    os.close(appended)


def test_a_process_started_by_multiprocessing_opens_its_own_store(open_store, path):
    store = open_store()
    append(store, 1)
    process = multiprocessing.get_context("fork").Process(target=append_one, args=(path,))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert append(store, 3) == 3


def append_one(path):
    store = SqliteStore(path)
    append(store, 2)
    store.close()


def test_a_child_opens_what_several_stores_of_its_parent_have_open(fork, open_store, path):
    stores = [open_store(timeout_s=0.05) for _ in range(3)]
    for number, store in enumerate(stores, 1):
        append(store, number)
    assert fork(lambda _: append(SqliteStore(path), 4)).ended() == "4"
    assert [append(store, number) for number, store in enumerate(stores, 5)] == [5, 6, 7]


def test_a_child_cannot_open_what_was_in_use_at_the_fork(fork, held, path, tmp_path):
    def open_both(_):
        try:
            SqliteStore(path)
        except StoreUnavailable as error:
            other = SqliteStore(tmp_path / "other.db")
            return append(other, 1), "was in use at the fork" in str(error)

    store, end = held
    assert fork(open_both).ended() == "(1, True)"
    end()
    assert store.head() == 1
    fork(lambda _: SqliteStore(path).close()).ended()


WAITS = {
    "wait_for": lambda store, stop: store.wait_for(9, stop=stop),
    "a subscription": lambda store, stop: store.subscribe("s", clock=now, start="end").run(print, stop=stop),
    "wait_for, reading only": lambda store, stop: store.wait_for(9, stop=stop),
}


def now():
    return datetime.now(UTC)


@pytest.mark.parametrize("kind", WAITS)
def test_a_child_opens_what_is_only_waited_for_at_the_fork(fork, open_store, path, kind, monkeypatch):
    """Between two looks at the file, who waits has no connection."""
    with closing(SqliteStore(path)) as made:
        append(made, 1)
    store, stop = open_store(read_only="only" in kind), threading.Event()
    waits, wait = threading.Event(), Commits.wait

    def watched(self, seen, timeout_s):
        waits.set()
        return wait(self, seen, timeout_s)

    monkeypatch.setattr(Commits, "wait", watched)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(WAITS[kind], store, stop)
        assert waits.wait(20)
        child = fork(lambda _: append(SqliteStore(path), 2))
        said = child.ended()
        waits.clear()
        assert waits.wait(20)  # and it goes on in the parent
        assert not waiting.done()
        stop.set()
        waiting.result(20)
    assert said == "2"


def test_who_waits_learns_what_a_child_appended(fork, open_store, path):
    store = open_store()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.wait_for, 3, timeout_s=20)
        for number in (1, 2, 3):
            assert fork(lambda _, number=number: append(SqliteStore(path), number)).ended() == str(number)
        assert waiting.result(30)


ENDS_AS_USUAL = """
import os, sys
from refold.eventstore import SqliteStore

class Watched:
    def __init__(self, connection):
        self.connection = connection

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def __del__(self):
        os.write(1, b"finalised")

store = SqliteStore(sys.argv[1])
store._writer._connection = Watched(store._writer._connection)
batch = store.batch()
batch.__enter__()
child = os.fork()
if not child:
    del store, batch
    sys.exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_no_connection_of_the_parent_is_finalised_in_a_child_even_at_the_interpreters_end(path):
    # SQLite would undo the parent's transaction, and delete a write-ahead log that others may have written since.
    done = subprocess.run(
        [sys.executable, "-c", ENDS_AS_USUAL, path], capture_output=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


FORKS_WHILE_IT_WRITES = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
from refold.engine.errors import WrongProcess
from refold.engine.ports import NewEvent, Write
from refold.eventstore import SqliteStore
store = SqliteStore(sys.argv[1])
stop, written = threading.Event(), []

def write():
    while not stop.is_set():
        event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")
        written.append(store.append(Write("refund-a", None, [event]), key=str(len(written))).last)

def read():
    while not stop.is_set():
        store.version("refund-a")
        list(store.read_stream("refund-a", after=len(written) - 5))

threads = [threading.Thread(target=each, daemon=True) for each in (write, read)]
for thread in threads:
    thread.start()
for _ in range(8):
    seen = len(written)
    while len(written) == seen:
        pass
    child = os.fork()
    if not child:
        try:
            store.head()
        except WrongProcess:
            sys.exit(0)  # the interpreter finalises what is left
        sys.exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
assert written == list(range(1, len(written) + 1)), written
assert [event.position for event in store.read_all()] == written
print("kept", len(written) > 8)
"""


def test_children_that_end_as_usual_take_nothing_from_a_parent_whose_threads_write_and_read(path, raw):
    done = subprocess.run(
        [sys.executable, "-c", FORKS_WHILE_IT_WRITES, path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "kept True\n", done.stderr
    with raw() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
