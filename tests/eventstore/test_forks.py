"""Forks: a child gets none of its parent's stores and may open its own, and the parent loses nothing by it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest

from refold.engine.errors import StoreBusy, StoreUnavailable, WrongProcess
from refold.engine.ports import Body, Column, Given, NewEvent, Upsert, View, Write
from refold.eventstore import MemoryStore, SqliteStore
from refold.eventstore.sqlite.lock import FileLock
from refold.eventstore.sqlite.waiting import Commits

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
    "release": lambda store: store.release(1),
    "rebuild": lambda store: store.rebuild(Given([NUMBERS], [Upsert(NUMBERS, ("t", 1))])),
    "describe": lambda store: store.describe(),
    "checkpoint": lambda store: store.checkpoint(),
}


def event(number):
    return NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{number}}}')


def append(store, number, stream="refund-a"):
    return store.append(Write(stream, None, [event(number)])).last


class Child:
    """A forked process that runs a function; what it says comes through a pipe."""

    def __init__(self, run):
        self._said, saying = os.pipe()
        self._may, self._letting = os.pipe()
        self._id = os.fork()
        if self._id:
            os.close(saying)
            os.close(self._may)
            return
        os.close(self._said)
        os.close(self._letting)
        said = b"nothing"
        try:
            said = repr(run(lambda: os.read(self._may, 1))).encode()
        except BaseException:  # noqa: BLE001 - a child must never go on with its parent's tests
            said = traceback.format_exc().encode()
        os.write(saying, said)
        os.close(saying)
        os._exit(0)

    def let(self):
        """Let the child go on."""
        os.write(self._letting, b"x")

    def ended(self):
        """Wait for its end, and return what it said."""
        said = b""
        while part := os.read(self._said, 65536):
            said += part
        os.close(self._said)
        os.close(self._letting)
        assert os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1]) == 0
        return said.decode()


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


@pytest.fixture
def held(open_store):
    """A store of which another thread has a batch open, and how to let that end."""
    store, begun, let = open_store(timeout_s=0.05), threading.Event(), threading.Event()

    def hold():
        with store.batch():
            append(store, 1)
            begun.set()
            assert let.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(20)

    def end():
        let.set()
        thread.join(20)

    yield store, end
    end()


# ---- the parent's store in a child


def test_a_child_is_refused_every_call_of_its_parents_store(parents):
    child = Child(lambda _: refused(parents))
    assert child.ended() == "{}"
    assert parents.head() == 1


def test_a_child_is_refused_and_not_held_up_where_a_thread_of_the_parent_has_the_locks(held):
    store, end = held
    child = Child(lambda _: refused(store))
    assert child.ended() == "{}"
    end()
    assert store.head() == 1


def test_a_child_of_a_memory_store_is_not_held_up_either():
    store, begun, let = MemoryStore(), threading.Event(), threading.Event()

    def hold():
        with store._writers, store._lock:
            begun.set()
            assert let.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(20)
    child = Child(lambda _: refused(store))
    assert child.ended() == "{}"
    let.set()
    thread.join(20)


def test_the_error_names_both_processes(parents):
    def ask(_):
        try:
            parents.head()
        except WrongProcess as error:
            return error.opened_in == os.getppid(), error.used_in == os.getpid()

    assert Child(ask).ended() == "(True, True)"


def test_closing_in_a_child_does_nothing_and_the_parent_goes_on(parents):
    child = Child(lambda _: (parents.close(), refused(parents)))
    assert child.ended() == "(None, {})"
    assert [each.position for each in parents.read_all()] == [1]


def test_the_parent_appends_and_reads_after_a_fork_as_before(open_store):
    store = open_store()
    assert append(store, 1) == 1
    Child(lambda _: None).ended()
    assert append(store, 2) == 2
    assert [each.position for each in store.read_all()] == [1, 2]


def test_a_batch_that_a_child_leaves_is_its_parents(open_store, raw):
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
        assert Child(lambda _: leave(innermost, inner)).ended() == "['refused', 'refused']"
        innermost.__exit__(None, None, None)
        inner.__exit__(None, None, None)
    outer = store.batch()
    outer.__enter__()
    store.append(
        Write("refund-b", 0, [event(3)]),
        bodies=[each._replace(digest="b" + each.digest[1:]) for each in bodies],
    )
    assert Child(lambda _: leave(outer)).ended() == "['refused']"
    outer.__exit__(None, None, None)
    assert [each.position for each in store.read_all()] == [1, 2, 3]
    with raw() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM bodies").fetchall() == [(200,)]


def test_an_iteration_that_a_child_goes_on_with_is_its_parents(open_store):
    store = open_store(views=[NUMBERS])
    store.append(Write("refund-a", 0, [event(1)]), changes=[Upsert(NUMBERS, (name, 1)) for name in "abc"])
    rows = store.rows(NUMBERS)
    assert next(rows)["name"] == "a"

    def go_on(_):
        try:
            return next(rows)
        except WrongProcess:
            return "refused"

    assert Child(go_on).ended() == "'refused'"
    assert [row["name"] for row in rows] == ["b", "c"]


# ---- locks


def test_a_child_does_not_unlock_what_its_parent_has_locked(held, path):
    store, end = held
    Child(lambda _: store.close()).ended()
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


# ---- a store of the child's own


def test_a_child_appends_to_a_store_of_its_own_and_the_parents_close_takes_nothing_away(open_store, path):
    store = open_store()
    append(store, 1)

    def work(wait):
        with_own = SqliteStore(path)
        first = append(with_own, 2)
        os.write(appended, b"x")
        wait()
        return first, append(with_own, 3), [each.position for each in with_own.read_all()]

    seen, appended = os.pipe()
    child = Child(work)
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


def test_a_child_opens_what_several_stores_of_its_parent_have_open(open_store, path):
    stores = [open_store(timeout_s=0.05) for _ in range(3)]
    for number, store in enumerate(stores, 1):
        append(store, number)
    assert Child(lambda _: append(SqliteStore(path), 4)).ended() == "4"
    assert [append(store, number) for number, store in enumerate(stores, 5)] == [5, 6, 7]


def test_a_child_cannot_open_what_was_in_use_at_the_fork(held, path, tmp_path):
    def open_both(_):
        try:
            SqliteStore(path)
        except StoreUnavailable as error:
            other = SqliteStore(tmp_path / "other.db")
            return append(other, 1), "was in use at the fork" in str(error)

    store, end = held
    assert Child(open_both).ended() == "(1, True)"
    end()
    assert store.head() == 1
    Child(lambda _: SqliteStore(path).close()).ended()


WAITS = {
    "wait_for": lambda store, stop: store.wait_for(9, stop=stop),
    "a subscription": lambda store, stop: store.subscribe("s", clock=now, start="end").run(print, stop=stop),
    "wait_for, reading only": lambda store, stop: store.wait_for(9, stop=stop),
}


def now():
    return datetime.now(UTC)


@pytest.mark.parametrize("kind", WAITS)
def test_a_child_opens_what_is_only_waited_for_at_the_fork(open_store, path, kind, monkeypatch):
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
        child = Child(lambda _: append(SqliteStore(path), 2))
        said = child.ended()
        waits.clear()
        assert waits.wait(20)  # and it goes on in the parent
        assert not waiting.done()
        stop.set()
        waiting.result(20)
    assert said == "2"


def test_who_waits_learns_what_a_child_appended(open_store, path):
    store = open_store()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.wait_for, 3, timeout_s=20)
        for number in (1, 2, 3):
            assert Child(lambda _, number=number: append(SqliteStore(path), number)).ended() == str(number)
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
for _ in range(20):
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
print("kept", len(written) > 20)
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
