import os
import sqlite3
import threading
import traceback
from concurrent.futures import Future
from contextlib import closing, contextmanager

import pytest
from proxy import Proxy
from totals import TOTALS

from refold.engine.ports import Body, NewEvent, Upsert, Write
from refold.eventstore import SqliteStore
from refold.eventstore.postgres import PostgresStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.db"


@pytest.fixture
def open_store(path):
    """Open stores on one file, and close them at the end of the test."""
    stores = []

    def opened(where=path, **options):
        stores.append(SqliteStore(where, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def raw(path):
    """Give a connection of another program; with `unguarded=True` the triggers that guard the log are gone."""

    @contextmanager
    def connected(where=path, *, unguarded=False):
        with closing(sqlite3.connect(where, isolation_level=None, timeout=0)) as connection:
            if unguarded:
                triggers = connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).fetchall()
                for (name,) in triggers:
                    connection.execute(f"DROP TRIGGER {name}")
            yield connection

    return connected


@pytest.fixture
def append():
    """Append events to one stream, numbered in their data."""

    def appended(store, count=1, stream="refund-a", **options):
        start = store.version(stream)
        events = [
            NewEvent("refund.requested", "2026-01-02T03:04:05Z", f'{{"n":{start + n}}}') for n in range(count)
        ]
        return store.append(Write(stream, start, events), **options)

    return appended


@pytest.fixture
def state():
    """Return what a store shows of its log and of the totals."""

    def shown(store):
        return list(store.read_all()), list(store.rows(TOTALS)), list(store.streams("refund"))

    return shown


@pytest.fixture
def big_body():
    return Body("b" * 64, b"salt", "{}", b"x" * 30_000)


@pytest.fixture
def big_append(big_body):
    """Append what needs several pages in every table."""
    event = NewEvent("refund.requested", "2026-01-02T03:04:05Z", '"' + "x" * 10_000 + '"')
    writes = Write("refund-a", 0, [event] * 3), Write("refund-b", 0, [event])

    def appended(store):
        return store.append(*writes, key="k", bodies=[big_body], changes=[Upsert(TOTALS, ("t", 1))])

    return appended


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


@pytest.fixture
def fork():
    """Run a function in a forked process."""
    return Child


@pytest.fixture
def held(open_store, append):
    """A store of which another thread has a batch open, and how to let that end."""
    store, begun, let = open_store(timeout_s=0.05), threading.Event(), threading.Event()

    def hold():
        with store.batch():
            append(store)
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


@pytest.fixture
def open_postgres(postgres_url):
    """Open stores on one schema, or on another URL, and close them at the end of the test."""
    stores = []

    def opened(url=postgres_url, **options):
        stores.append(PostgresStore(url, **options))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def background():
    """Call functions in threads; one that never returns fails its test, and holds up nothing else."""

    def call(function, *arguments, **options):
        future = Future()

        def work():
            try:
                future.set_result(function(*arguments, **options))
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test is told
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    return call


@pytest.fixture
def proxy(postgres_server):
    between = Proxy(postgres_server)
    yield between
    between.close()
