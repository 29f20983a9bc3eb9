"""Who waits on PostgreSQL is told by the server, a poll stands behind it, and nothing makes it wait for ever."""

import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from refold.engine.errors import StoreBusy, StoreUnavailable
from refold.engine.ports import NewEvent, Write
from refold.eventstore.postgres import waiting

ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])
LONG_S = 60
FOR_EVER_S = 3600
LISTENERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
COUNTED = f"SELECT count(*) FROM ({LISTENERS}) AS each"


@pytest.fixture
def no_poll(monkeypatch):
    monkeypatch.setattr(waiting, "_POLL_S", FOR_EVER_S)


@pytest.fixture
def begin_waiting(postgres_server, until, background):
    """Let threads wait, and return their futures when one of them listens for all."""

    def begun(store, *positions, **options):
        waits = [background(store.wait_for, each, **options) for each in positions]
        until(lambda: postgres_server.ask(LISTENERS))
        return waits

    return begun


@pytest.fixture
def overheard(postgres_server):
    """Listen to the channels of a schema on a connection that holds no lock; return what arrives of two."""

    def listen(url, act):
        with postgres_server.connect(url) as other:
            (channel,) = other.execute(waiting._CHANNEL).fetchone()
            other.execute(waiting._LISTEN.format(psycopg.sql.Identifier(channel)))
            act()
            other.execute("SELECT pg_notify('end', '')")
            other.execute("LISTEN \"end\"; SELECT pg_notify('end', '')")
            return [each.channel for each in other.notifies(timeout=LONG_S, stop_after=1)].count(channel)

    return listen


# ---- who waits


@pytest.mark.usefixtures("no_poll")
def test_all_threads_that_wait_share_one_connection_that_listens(
    open_postgres, begin_waiting, postgres_server
):
    store, other = open_postgres(), open_postgres()
    waits = begin_waiting(store, 1, 2, 3, 4, 5, 6)
    for number, each in enumerate(waits, 1):
        assert postgres_server.ask(COUNTED) <= (1,)
        assert other.append(ONE).last == number
        assert each.result(LONG_S)


def test_nothing_listens_when_nobody_waits(open_postgres, begin_waiting, postgres_server):
    store = open_postgres()
    (wait,) = begin_waiting(store, 1)
    store.append(ONE)
    assert wait.result(LONG_S)
    assert postgres_server.ask(COUNTED) == (0,)
    with store._readers.one() as connection:
        assert connection.execute("SELECT * FROM pg_listening_channels()").fetchall() == []


@pytest.mark.usefixtures("no_poll")
def test_who_waits_is_woken_though_the_server_ended_the_connection_that_listened(
    open_postgres, begin_waiting, postgres_server, until
):
    store, other = open_postgres(), open_postgres()
    waits = begin_waiting(store, 1, 2)
    for number in (1, 2):
        (pid,) = until(lambda: postgres_server.ask(LISTENERS))
        postgres_server.ask("SELECT pg_terminate_backend(%s)", pid)
        until(lambda pid=pid: postgres_server.ask(LISTENERS) not in {None, (pid,)})
        other.append(ONE)
        assert any(each.result(LONG_S) for each in waits[number - 1 : number])


@pytest.mark.usefixtures("no_poll")
def test_the_move_of_a_checkpoint_wakes_who_waits_for_it(open_postgres, begin_waiting):
    store, other = open_postgres(), open_postgres()
    store.append(ONE)
    (wait,) = begin_waiting(store, 1, subscription="a")
    other.advance("a", expected=None, position=0)
    with other.batch():
        other.advance("a", expected=0, position=1)
    assert wait.result(LONG_S)


@pytest.mark.usefixtures("no_poll")
def test_a_subscription_that_is_made_wakes_who_waits_for_it(open_postgres, begin_waiting):
    store, other = open_postgres(), open_postgres()
    (wait,) = begin_waiting(store, 0, subscription="a")
    other.advance("a", expected=None, position=0)
    assert wait.result(LONG_S)


@pytest.mark.usefixtures("no_poll")
def test_a_batch_under_way_keeps_nobody_from_beginning_to_wait(open_postgres, begin_waiting):
    store, other = open_postgres(), open_postgres()
    with other.batch():
        other.append(ONE)
        other.advance("a", expected=None, position=1)
        (wait,) = begin_waiting(store, 1, subscription="a")
    assert wait.result(LONG_S)


def test_an_event_that_nobody_was_told_of_is_found_all_the_same(
    open_postgres, begin_waiting, postgres_server, postgres_url
):
    store = open_postgres()
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TRIGGER tell_waiters ON head")
    (wait,) = begin_waiting(store, 1)
    store.append(ONE)
    assert wait.result(LONG_S)


def test_who_cannot_listen_looks_now_and_then(open_postgres, monkeypatch, background):
    monkeypatch.setattr(waiting, "_POLL_S", 0.01)
    monkeypatch.setattr(waiting, "_SHARE", "SELECT no_such_function()")
    store, looks = open_postgres(), threading.Semaphore(0)
    head = store.head

    def looked():
        looks.release()
        return head()

    monkeypatch.setattr(store, "head", looked)
    wait = background(store.wait_for, 1)
    for _ in range(3):
        assert looks.acquire(timeout=LONG_S)
    store.append(ONE)
    assert wait.result(LONG_S)


def test_who_waits_is_told_that_the_server_is_gone(postgres_server, proxy, open_postgres, begin_waiting):
    name = f"waits_{proxy.folder.name[-8:]}"
    postgres_server.schema(name)
    store = open_postgres(postgres_server.url(host=proxy.folder, search_path=name), timeout_s=0.2)
    (wait,) = begin_waiting(store, 1)
    proxy.close_door()
    with pytest.raises(StoreUnavailable):
        wait.result(LONG_S)


def test_a_store_opened_for_reading_waits_too(open_postgres, begin_waiting):
    store = open_postgres()
    (wait,) = begin_waiting(open_postgres(read_only=True), 1)
    store.append(ONE)
    assert wait.result(LONG_S)


def test_a_commit_tells_nobody_where_nobody_waits(open_postgres, overheard, begin_waiting, postgres_url):
    store = open_postgres()
    assert overheard(postgres_url, lambda: store.append(ONE)) == 0
    (wait,) = begin_waiting(store, 3)
    assert overheard(postgres_url, lambda: store.append(ONE)) == 1
    store.append(ONE)
    assert wait.result(LONG_S)


def test_a_connection_that_cannot_stop_listening_is_closed(
    open_postgres, begin_waiting, postgres_server, monkeypatch, until
):
    store = open_postgres()
    monkeypatch.setattr(waiting, "_END", "SELECT no_such_function()")
    (wait,) = begin_waiting(store, 1)
    store.append(ONE)
    assert wait.result(LONG_S)
    until(lambda: postgres_server.ask(COUNTED) == (0,))


# ---- when a wait ends


@pytest.fixture
def roles(open_postgres, begin_waiting, background):
    """Give how to begin a wait of the thread that listens for all, and of one that is told by it."""
    leading = []

    def waits(role, **options):
        store = open_postgres()
        if role == "follows":
            leading.append((store, *begin_waiting(store, 3)))
        return store, background(store.wait_for, 1, **options)

    yield waits
    for store, leader in leading:
        for _ in range(3):
            store.append(ONE)
        assert leader.result(LONG_S)


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize("role", ["listens", "follows"])
@pytest.mark.parametrize("timeout_s", [-1, 0, 0.01, 0.2])
def test_a_wait_ends_when_its_time_is_over(roles, role, timeout_s):
    _, wait = roles(role, timeout_s=timeout_s)
    assert wait.result(LONG_S) is False


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize("role", ["listens", "follows"])
def test_a_wait_ends_when_it_is_told_to_stop_though_the_server_tells_nothing(
    roles, role, postgres_server, until
):
    stop = threading.Event()
    _, wait = roles(role, stop=stop)
    until(lambda: postgres_server.ask(LISTENERS))
    stop.set()
    assert wait.result(LONG_S) is False


@pytest.mark.usefixtures("no_poll")
@pytest.mark.parametrize("role", ["listens", "follows"])
def test_a_wait_that_could_be_stopped_ends_with_what_it_waits_for(roles, role, postgres_server, until):
    store, wait = roles(role, stop=threading.Event())
    until(lambda: postgres_server.ask(LISTENERS))
    store.append(ONE)
    assert wait.result(LONG_S) is True


@pytest.mark.usefixtures("no_poll")
def test_what_is_told_between_a_look_and_the_wait_is_not_missed(open_postgres, background):
    waits = open_postgres()._waiting
    looks = []

    def reached():
        looks.append(len(looks))
        if len(looks) == 1:
            waits._tell()  # it happened behind the look
        return len(looks) > 1

    with waits._listens:
        wait = background(waits.until, reached, timeout_s=None, stop=None)
        assert wait.result(LONG_S)


# ---- beginning to listen


@pytest.fixture
def committing(postgres_server, postgres_url):
    """Hold what a commit holds while it tells nobody."""

    @contextmanager
    def held():
        with postgres_server.connect(postgres_url) as other:
            other.execute(waiting._SHARE.replace("lock_shared", "lock"))
            yield

    return held


def test_who_cannot_begin_to_listen_waits_no_longer_than_it_may(open_postgres, background, committing):
    store = open_postgres(timeout_s=FOR_EVER_S)
    with committing():
        assert background(store.wait_for, 1, timeout_s=0.05).result(LONG_S) is False


@pytest.mark.parametrize(
    ("timeout_s", "patience_s"), [(0.01, FOR_EVER_S), (FOR_EVER_S, 0.0001), (FOR_EVER_S, -1)]
)
def test_beginning_to_listen_has_an_end(open_postgres, background, committing, timeout_s, patience_s):
    store = open_postgres()
    waits = waiting.Waiting(store._readers, timeout_s=timeout_s)

    def listen():
        with store._readers.one() as connection, waits._listening(connection, patience_s):
            pass

    with committing(), pytest.raises(StoreBusy):
        background(listen).result(LONG_S)


def test_who_could_not_begin_to_listen_says_so(open_postgres, background, monkeypatch):
    monkeypatch.setattr(waiting, "_SHARE", "SELECT no_such_function()")
    waits = open_postgres()._waiting
    wait = waiting._Wait(lambda: False, time.monotonic() + FOR_EVER_S, None)
    assert waits._listens.acquire(blocking=False)
    assert background(waits._listened, wait).result(LONG_S) is False
    assert waits._listens.acquire(blocking=False)  # another may try
