"""What PostgreSQL does for subscriptions: who waits is told by the server, and a poll stands behind it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from refold.engine.errors import CheckpointConflict, InvalidInput, OutcomeUnknown, StoreUnavailable
from refold.engine.ports import Column, DeadLetter, Delete, NewEvent, Progress, Upsert, View, Write
from refold.eventstore.postgres import waiting

TOTALS = View("totals", (Column("id", str), Column("total", int, sums=True)), ("id",))
ONE = Write("refund-a", None, [NewEvent("refund.requested", "2026-01-02T03:04:05Z", "{}")])
WHEN = "2026-01-02T09:00:00.000000Z"
LONG_S = 60
LISTENERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
COUNTED = f"SELECT count(*) FROM ({LISTENERS}) AS each"


@pytest.fixture
def no_poll(monkeypatch):
    monkeypatch.setattr(waiting, "_POLL_S", 3600)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.fixture
def begin_waiting(postgres_server, until, pool):
    """Let threads wait, and return their futures when one of them listens for all."""

    def begun(store, *positions, **options):
        waits = [pool.submit(store.wait_for, each, timeout_s=LONG_S, **options) for each in positions]
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


def test_who_cannot_listen_looks_now_and_then(open_postgres, monkeypatch, pool):
    monkeypatch.setattr(waiting, "_POLL_S", 0.01)
    monkeypatch.setattr(waiting, "_SHARE", "SELECT no_such_function()")
    store, looks = open_postgres(), threading.Semaphore(0)
    head = store.head

    def looked():
        looks.release()
        return head()

    monkeypatch.setattr(store, "head", looked)
    wait = pool.submit(store.wait_for, 1, timeout_s=LONG_S)
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


# ---- the checkpoint


def test_of_many_who_make_one_subscription_one_does(open_postgres):
    stores = [open_postgres(timeout_s=30) for _ in range(4)]
    stores[0].append(ONE)
    together = threading.Barrier(8)

    def make(store):
        together.wait(LONG_S)
        try:
            store.advance("a", expected=None, position=1)
        except CheckpointConflict as conflict:
            return conflict.actual
        return "made"

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(make, stores * 2))
    assert sorted(found, key=str) == [1] * 7 + ["made"]


def test_a_lease_that_is_renewed_is_free_for_nobody_in_between(open_postgres, pool, postgres_server, until):
    mine, other = open_postgres(timeout_s=30), open_postgres(timeout_s=30)
    token = mine.claim("lease", holder="me", now="2026-01", until="2026-02")
    blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'refold'"
    with mine.batch():
        mine.release(token)
        attempt = pool.submit(other.claim, "lease", holder="other", now="2026-01", until="2026-02")
        until(lambda: postgres_server.ask(blocked))
        again = mine.claim("lease", holder="me", now="2026-01", until="2026-03")
    assert attempt.result(LONG_S) is None
    mine.advance("a", expected=None, position=0, fence=again)


def test_a_move_whose_answer_is_cut_off_is_of_unknown_outcome(postgres_server, proxy, open_postgres):
    name = f"moved_{proxy.folder.name[-8:]}"
    postgres_server.schema(name)
    store = open_postgres(postgres_server.url(host=proxy.folder, search_path=name))
    store.append(ONE)
    store.advance("a", expected=None, position=0)
    store.advance("a", expected=0, position=0)
    proxy.cut = 0
    with pytest.raises(OutcomeUnknown):
        store.advance("a", expected=0, position=1)
    assert store.checkpoint_of("a") == 1
    store.advance("a", expected=1, position=1)


def test_a_move_that_the_server_refused_has_changed_nothing_and_undoes_no_batch(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(ONE)
    wrong = Upsert(TOTALS, ("t", 2**70))
    with pytest.raises(InvalidInput):
        store.advance("a", expected=None, position=1, changes=[wrong])
    with store.batch():
        store.append(ONE)
        with pytest.raises(InvalidInput):
            store.advance("a", expected=None, position=1, changes=[Upsert(TOTALS, ("t", 1)), wrong])
        store.advance("a", expected=None, position=2, changes=[Upsert(TOTALS, ("u", 1))])
    assert [row["id"] for row in store.rows(TOTALS)] == ["u"]
    assert (store.checkpoint_of("a"), store.head()) == (2, 2)


def test_a_move_that_is_a_conflict_leaves_a_batch_as_it_was(open_postgres):
    store = open_postgres(views=[TOTALS])
    store.append(ONE)
    (event,) = store.read_all()
    letter = DeadLetter(event, "ValueError", "", 1, WHEN)
    store.advance("a", expected=None, position=1, set_aside=[letter])
    with store.batch():
        with pytest.raises(CheckpointConflict, match="event 7 is not set aside any more"):
            store.advance("a", expected=1, position=1, resolved=[1, 7], changes=[Delete(TOTALS, ("t",))])
        store.append(ONE)
    assert list(store.dead_letters("a")) == [letter]
    assert store.subscriptions() == [Progress("a", 1, 1, 1)]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"expected": 2**63}, CheckpointConflict),
        ({"expected": None, "position": 2**63}, InvalidInput),
        ({"expected": None, "fence": 2**63}, CheckpointConflict),
        ({"expected": None, "resolved": [2**63]}, CheckpointConflict),
    ],
    ids=["expected", "position", "fence", "resolved"],
)
def test_a_number_that_the_server_cannot_hold_is_one_that_is_not_there(open_postgres, options, error):
    store = open_postgres()
    with pytest.raises(error):
        store.advance("a", **{"position": 0} | options)
    assert store.checkpoint_of("a") is None


def test_reading_dead_letters_keeps_no_connection(open_postgres):
    store = open_postgres()
    for _ in range(40):
        store.append(ONE)
    letters = [DeadLetter(event, "ValueError", "", 1, WHEN) for event in store.read_all()]
    store.advance("a", expected=None, position=40, set_aside=letters)
    readers = [store.dead_letters("a") for _ in range(20)]  # more than there are connections
    for position in range(1, 41):
        assert {next(each).event.position for each in readers} == {position}


def test_a_schema_of_an_older_refold_opened_for_reading_has_no_subscriptions(
    open_postgres, postgres_server, postgres_url
):
    open_postgres().close()
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TABLE subscriptions; DROP TABLE dead_letters")
        other.execute("DELETE FROM migrations WHERE number = 3")
    assert open_postgres(read_only=True).subscriptions() == []


def test_a_schema_of_an_older_refold_gets_what_subscriptions_need(
    open_postgres, postgres_server, postgres_url
):
    open_postgres().append(ONE)
    with postgres_server.connect(postgres_url) as other:
        other.execute("DROP TABLE subscriptions; DROP TABLE dead_letters; DROP FUNCTION advance_checkpoint")
        other.execute("DROP FUNCTION tell_waiters CASCADE; DELETE FROM migrations WHERE number = 3")
    store = open_postgres()
    store.advance("a", expected=None, position=1)
    assert store.subscriptions() == [Progress("a", 1, 0, 0)]
