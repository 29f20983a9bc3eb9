"""Subscriptions on both stores: what is delivered, how often, in which order, and what becomes of what fails."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from refold.engine.errors import (
    CheckpointConflict,
    EventCorrupt,
    EventMissing,
    InvalidInput,
    StoreBusy,
    StoreClosed,
    StoreReadOnly,
    StoreUnavailable,
)
from refold.engine.ports import Column, Filter, Handled, NewEvent, Progress, Upsert, View, Write
from refold.eventstore import MemoryStore, subscription, turn
from refold.eventstore import memory as memory_module
from refold.eventstore.postgres import waiting as postgres_waiting
from refold.eventstore.sqlite import waiting

TOTALS = View("totals", (Column("id", str), Column("total", int, sums=True)), ("id",))
LONG_S = 60
"""Seconds after which a test gives up waiting for what happens at once."""

SQLITE_ONLY = pytest.mark.parametrize("kind", ["sqlite"])


class Clock:
    """Stands still until told otherwise."""

    def __init__(self):
        self.now = datetime(2026, 1, 2, 9, tzinfo=UTC)

    def __call__(self):
        return self.now


class Killed(BaseException):
    """Ends a handler as the end of its process would: nothing catches it."""


@pytest.fixture(autouse=True)
def quick(logs, monkeypatch):
    """Log nothing on the terminal, and wait for next to nothing."""
    monkeypatch.setattr(subscription, "_PAUSE_S", 0.001)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def kind(request):
    return request.param


@pytest.fixture
def log(kind, request):
    if kind == "memory":
        return MemoryStore()
    opened = request.getfixturevalue({"sqlite": "open_store", "postgres": "open_postgres"}[kind])
    return opened(views=[TOTALS])


@pytest.fixture
def subscribe(log, clock):
    """Take part in a subscription; waiting for a second attempt takes no time."""

    def subscribed(name="totals", store=None, **options):
        return (store or log).subscribe(name, **{"clock": clock, "backoff_s": 0} | options)

    return subscribed


@pytest.fixture
def put(log):
    """Append events to refund streams, one append for each name; return the head."""

    def appended(names, type_="refund.requested", store=None):
        for name in names:
            stream = name if "-" in name else f"refund-{name}"
            last = (
                (store or log)
                .append(Write(stream, None, [NewEvent(type_, "2026-01-02T03:04:05Z", "{}")]))
                .last
            )
        return last

    return appended


class Seen(list):
    """A handler that notes what it gets, counts each stream, and raises for the streams that are poisoned."""

    def __init__(self):
        super().__init__()
        self.poisoned = {}

    def __call__(self, event):
        self.append(f"{event.stream.removeprefix('refund-')}{event.version}")
        if event.stream in self.poisoned:
            raise self.poisoned[event.stream]
        return [Upsert(TOTALS, (event.stream, 1))]


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def totals(log):
    return lambda: {row["id"].removeprefix("refund-"): row["total"] for row in log.rows(TOTALS)}


@pytest.fixture
def live():
    """Run subscriptions in threads until the end of the test."""
    stop = threading.Event()
    with ThreadPoolExecutor(8) as pool:
        running = []

        def start(member, handler):
            running.append(pool.submit(member.run, handler, stop=stop))
            return running[-1]

        yield start
        stop.set()
        for each in running:
            each.result(LONG_S)


# ---- what is delivered


def test_what_was_there_is_delivered_first_and_then_what_comes(put, subscribe, seen, live, totals):
    put("aba")
    member = subscribe()
    live(member, seen)
    assert member.wait_for(3, timeout_s=LONG_S)
    assert member.wait_for(put("ab"), timeout_s=LONG_S)
    assert seen == ["a1", "b1", "a2", "a3", "b2"]
    assert totals() == {"a": 3, "b": 2}
    assert member.lag == 0


def test_a_caller_reads_its_own_write_in_the_view(put, subscribe, seen, live, totals):
    member = subscribe()
    live(member, seen)
    for n in range(1, 20):
        assert member.wait_for(put("a"), timeout_s=LONG_S)
        assert totals() == {"a": n}


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


@pytest.mark.parametrize(
    ("only", "delivered"),
    [
        (None, ["a1", "payment-x1", "a2", "b1"]),
        (Filter(), ["a1", "payment-x1", "a2", "b1"]),
        (Filter(categories=("refund",)), ["a1", "a2", "b1"]),
        (Filter(categories=("refund", "inbox"), types=("t.two",)), ["a2"]),
        (Filter(types=("t.one", "t.three")), ["a1", "payment-x1", "b1"]),
        (Filter(categories=("pay",)), []),
    ],
    ids=["none", "empty", "category", "both", "types", "half a category"],
)
def test_a_filter_chooses_and_the_checkpoint_moves_over_the_rest(put, subscribe, seen, only, delivered):
    put("a", "t.one")
    put(["payment-x"], "t.one")
    put("a", "t.two")
    put("b", "t.three")
    member = subscribe(filter=only)
    assert member.run(seen, once=True) == Handled(len(delivered), 0)
    assert seen == delivered
    assert member.describe() == Progress("totals", 4, 0, 0)


def test_events_are_committed_in_chunks_with_what_they_change(monkeypatch, log, put, subscribe, seen):
    put("abcdefghij")
    moves = []
    advance = log.advance

    def counted(name, **options):
        moves.append((options["position"], len(options.get("changes", ()))))
        advance(name, **options)

    member = subscribe(chunk=4)
    monkeypatch.setattr(log, "advance", counted)
    member.run(seen, once=True)
    assert moves == [(4, 4), (8, 4), (10, 2)]


def test_a_slow_handler_waits_not_long_for_its_commit(monkeypatch, log, put, subscribe, seen):
    monkeypatch.setattr(turn, "_LONGEST_S", 0)
    put("abc")
    moves = []
    member = subscribe()
    advance = log.advance
    monkeypatch.setattr(
        log, "advance", lambda name, **options: (moves.append(options["position"]), advance(name, **options))
    )
    member.run(seen, once=True)
    assert moves == [1, 2, 3]


def test_events_can_be_iterated_over_and_the_next_one_settles_the_last(put, subscribe):
    put("abc")
    got = []
    for event in subscribe().events(once=True):
        got.append(event.position)
        if event.position == 2:
            break
    events = subscribe().events(once=True)
    assert next(events).position == 2
    events.close()
    got += [event.position for event in subscribe().events(once=True)]
    assert got == [1, 2, 2, 3]
    assert subscribe().lag == 0


def test_a_loop_ends_when_it_is_told_to_stop(put, subscribe):
    put("abc")
    stop = threading.Event()
    got = []
    for event in subscribe().events(stop=stop):
        got.append(event.position)
        stop.set()
    assert got == [1]
    assert subscribe().describe().checkpoint == 1


# ---- what fails


def test_an_event_that_cannot_be_handled_is_set_aside_with_its_stream_and_others_go_on(
    log, put, subscribe, seen, totals
):
    put("abab")
    seen.poisoned["refund-a"] = ValueError("4111111111111111 whsec_secret")
    member = subscribe(attempts=3)
    with capture_logs() as logged:
        assert member.run(seen, once=True) == Handled(2, 2)
    assert seen == ["a1", "a1", "a1", "b1", "b2"]
    assert totals() == {"b": 2}
    first, behind = member.dead_letters()
    assert [first.event, behind.event] == list(log.read_stream("refund-a"))
    assert (first.error, first.attempts, first.time) == ("ValueError", 3, "2026-01-02T09:00:00.000000Z")
    assert first.reason.startswith("raised at test_subscriptions.py:")
    assert (behind.error, behind.attempts) == ("", 0)
    assert member.describe() == Progress("totals", 4, 0, 2)
    assert "secret" not in f"{logged} {first}"
    assert {each["event"] for each in logged} == {"subscription.failed"}


def test_what_comes_later_for_a_stream_that_is_set_aside_waits_behind_it(put, subscribe, seen):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)
    seen.clear()
    put("aba")
    assert subscribe().run(seen, once=True) == Handled(1, 2)
    assert seen == ["b1"]
    assert [letter.event.version for letter in subscribe().dead_letters()] == [1, 2, 3]


def test_repaired_code_gets_what_was_set_aside_in_order(put, subscribe, seen, totals):
    put("abaab")
    seen.poisoned = {"refund-a": ValueError(), "refund-b": KeyError()}
    member = subscribe(attempts=1)
    member.run(seen, once=True)
    del seen.poisoned["refund-a"]
    seen.clear()
    assert member.retry(seen) == Handled(3, 1)
    assert seen == ["a1", "b1", "a2", "a3"]
    assert totals() == {"a": 3}
    assert [(each.error, each.attempts) for each in member.dead_letters()] == [("KeyError", 2), ("", 0)]
    seen.poisoned.clear()
    assert member.retry(seen) == Handled(2, 0)
    assert member.retry(seen) == Handled(0, 0)
    put("ab")
    assert member.run(seen, once=True) == Handled(2, 0)
    assert totals() == {"a": 4, "b": 3}


def test_an_event_never_waits_behind_one_that_was_settled_meanwhile(put, subscribe, seen, totals):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)
    seen.poisoned.clear()
    put("ab")

    def repaired_meanwhile(event):
        if event.stream == "refund-b" and "a1" not in repaired:
            subscribe().retry(repaired)
        return seen(event)

    repaired = Seen()
    subscribe().run(repaired_meanwhile, once=True)
    assert repaired == ["a1"]
    assert totals() == {"a": 2, "b": 1}
    assert list(subscribe().dead_letters()) == []


def test_events_set_aside_during_a_retry_are_retried_too(put, subscribe, seen, totals):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)
    seen.poisoned.clear()

    def with_news(event):
        if event.version == 1:
            put("a")
            assert subscribe().run(seen, once=True) == Handled(0, 1)
        return seen(event)

    assert subscribe().retry(with_news) == Handled(2, 0)
    assert totals() == {"a": 2}


def test_two_do_not_retry_at_once(put, subscribe, seen):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)

    def second(_):
        with pytest.raises(CheckpointConflict, match="being retried"):
            subscribe().retry(seen)

    assert subscribe().retry(second) == Handled(1, 0)


@pytest.mark.parametrize("error", [StoreBusy(1), StoreUnavailable("it restarts")])
def test_a_store_that_fails_the_handler_is_no_fault_of_the_event(put, subscribe, seen, totals, error):
    put("ab")
    failures = [error] * 5

    def handle(event):
        if event.stream == "refund-b" and failures:
            raise failures.pop()
        changes = seen(event)
        if event.stream == "refund-b":
            stop.set()
        return changes

    stop = threading.Event()
    assert subscribe(attempts=1).run(handle, stop=stop) == Handled(2, 0)
    assert seen == ["a1", "b1"]
    assert totals() == {"a": 1, "b": 1}
    put("b")
    failures.append(error)
    with pytest.raises(type(error)):
        subscribe(attempts=1).run(handle, once=True)


def test_an_error_of_the_store_that_waiting_does_not_cure_ends_the_run(put, subscribe):
    put("a")

    def handle(_):
        raise StoreReadOnly("log.db")

    with pytest.raises(StoreReadOnly):
        subscribe().run(handle)
    assert subscribe().describe() == Progress("totals", 0, 1, 0)


def test_a_store_that_fails_for_a_while_is_tried_again(monkeypatch, log, put, subscribe, seen, totals):
    put("ab")
    member = subscribe()
    failures, advance, stop = [StoreBusy(1)] * 3, log.advance, threading.Event()

    def busy(name, **options):
        if failures:
            raise failures.pop()
        advance(name, **options)
        stop.set()

    monkeypatch.setattr(log, "advance", busy)
    assert member.run(seen, stop=stop) == Handled(2, 0)
    assert totals() == {"a": 1, "b": 1}


def test_an_attempt_is_not_waited_for_when_the_run_is_to_stop(put, subscribe, seen):
    put("a")
    stop = threading.Event()

    def handle(_):
        stop.set()
        raise ValueError

    assert subscribe(attempts=9, backoff_s=LONG_S).run(handle, stop=stop) == Handled(0, 0)
    assert subscribe().describe() == Progress("totals", 0, 1, 0)


@SQLITE_ONLY
def test_a_damaged_event_ends_the_run_and_is_never_skipped(path, open_store, put, subscribe, seen, raw):
    store = open_store(views=[TOTALS])
    put("abc", store=store)
    with raw(unguarded=True) as connection:
        connection.execute("UPDATE events SET data = '[]' WHERE position = 2")
    for _ in range(2):
        with pytest.raises(EventCorrupt):
            subscribe(store=store).run(seen)
    assert store.checkpoint_of("totals") == 1
    assert seen == ["a1"]


@SQLITE_ONLY
def test_a_log_that_lost_its_tail_is_noticed_by_the_checkpoint(open_store, put, subscribe, seen, raw):
    store = open_store(views=[TOTALS])
    put("abc", store=store)
    subscribe(store=store).run(seen, once=True)
    with raw(unguarded=True) as connection:
        connection.execute("DELETE FROM events WHERE position = 3")
        connection.execute("UPDATE sqlite_sequence SET seq = 2 WHERE name = 'events'")
    with pytest.raises(EventMissing) as caught:
        subscribe(store=store).run(seen)
    assert caught.value.number == 3


# ---- crashes and other consumers


def test_what_was_not_committed_is_delivered_again_and_no_change_applied_twice(
    monkeypatch, clock, log, put, subscribe, seen, totals
):
    put("ababab")

    def dies(event):
        if event.position == 5:
            monkeypatch.setattr(log, "advance", None)  # a dead process commits nothing more
            raise Killed
        return seen(event)

    with pytest.raises((Killed, TypeError)):
        subscribe(chunk=3).run(dies)
    monkeypatch.undo()
    assert log.checkpoint_of("totals") == 3
    clock.now += timedelta(minutes=1)
    subscribe(chunk=3).run(seen, once=True)
    assert seen == ["a1", "b1", "a2", "b2", "b2", "a3", "b3"]
    assert totals() == {"a": 3, "b": 3}


def test_a_consumer_that_comes_back_after_its_lease_was_taken_over_changes_nothing(
    clock, put, subscribe, seen, totals
):
    put("abc")
    slow, fast = Seen(), Seen()

    def stalls(event):
        if not fast:
            clock.now += timedelta(minutes=1)
            assert subscribe().run(fast, once=True) == Handled(3, 0)
        return slow(event)

    assert subscribe().run(stalls, once=True) == Handled(0, 0)
    assert (slow, fast) == (["a1"], ["a1", "b1", "c1"])
    assert totals() == {"a": 1, "b": 1, "c": 1}


def test_a_consumer_whose_lease_was_taken_over_commits_nothing_though_the_checkpoint_is_where_it_was(
    clock, put, subscribe, seen, totals
):
    put("a")
    stop, other = threading.Event(), []

    def stalls(event):
        clock.now += timedelta(minutes=1)
        other.append(subscribe().events(once=True))
        assert next(other[0]) == event
        stop.set()
        return seen(event)

    assert subscribe().run(stalls, stop=stop) == Handled(0, 0)
    assert (totals(), subscribe().lag) == ({}, 1)
    assert list(other[0]) == []
    assert subscribe().lag == 0


def test_a_lease_is_renewed_while_its_holder_is_alive(clock, put, subscribe, seen):
    put("abcdef")
    other = Seen()
    stop = threading.Event()
    stop.set()

    def handle(event):
        clock.now += timedelta(seconds=20)
        subscribe().run(other, stop=stop)
        with ThreadPoolExecutor(1) as pool:
            waits = threading.Event()
            second = pool.submit(subscribe().run, other, stop=waits)
            waits.set()
            second.result(LONG_S)
        return seen(event)

    subscribe(lease_s=30).run(handle, once=True)
    assert (len(seen), other) == (6, [])


def test_of_two_consumers_one_works_and_the_other_takes_over(put, subscribe, seen, live, totals):
    put("ab")
    entered, leave = threading.Event(), threading.Event()

    def first(event):
        entered.set()
        leave.wait(LONG_S)
        return seen(event)

    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(subscribe().run, first, stop=stop)
        assert entered.wait(LONG_S)
        other = Seen()
        live(subscribe(), other)
        stop.set()
        leave.set()
        working.result(LONG_S)
    assert subscribe().wait_for(put("c"), timeout_s=LONG_S)
    assert seen + other == ["a1", "b1", "c1"]
    assert totals() == {"a": 1, "b": 1, "c": 1}


def test_once_is_over_when_another_consumer_has_done_it(put, subscribe, seen):
    put("ab")
    entered, leave = threading.Event(), threading.Event()

    def first(event):
        entered.set()
        leave.wait(LONG_S)
        return seen(event)

    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(subscribe().run, first, once=True)
        assert entered.wait(LONG_S)
        second = pool.submit(subscribe().run, Seen(), once=True)
        leave.set()
        assert (working.result(LONG_S), second.result(LONG_S)) == (Handled(2, 0), Handled(0, 0))


def test_a_slow_consumer_holds_up_no_writer(log, put, subscribe):
    put("a")
    with ThreadPoolExecutor(1) as pool:

        def handle(_):
            head = log.head()
            if head < 50:
                assert pool.submit(put, "b").result(LONG_S) == head + 1

        subscribe(chunk=1000).run(handle, once=True)
        while subscribe().lag:
            subscribe(chunk=1000).run(handle, once=True)
    assert log.head() == 50


def test_a_long_log_needs_no_memory(open_store, append, clock):
    store = open_store(views=[TOTALS])
    with store.batch():
        for number in range(50):
            append(store, 1000, stream=f"refund-{number}")
    member = store.subscribe("totals", clock=clock)
    tracemalloc.start()
    try:
        done = member.run(
            lambda event: [Upsert(TOTALS, (event.stream, 100))] if event.version % 100 == 0 else None,
            once=True,
        )
        (_, peak) = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done == Handled(50_000, 0)
    assert peak < 4_000_000
    assert [row["total"] for row in store.rows(TOTALS)] == [1000] * 50


# ---- options


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a b"},
        {"name": ""},
        {"attempts": 0},
        {"attempts": True},
        {"chunk": 0},
        {"chunk": 1.5},
        {"backoff_s": -1},
        {"backoff_s": "1"},
        {"lease_s": 0},
        {"filter": Filter(categories="refund")},
        {"filter": Filter(types=(1,))},
        {"lease_s": float("nan")},
    ],
    ids=str,
)
def test_an_option_that_cannot_be_is_refused_and_makes_no_subscription(log, subscribe, options):
    with pytest.raises(InvalidInput):
        subscribe(**options)
    assert log.subscriptions() == []


def test_a_handler_that_cannot_be_called_sets_nothing_aside(put, subscribe):
    put("a")
    for call in (subscribe().run, subscribe().retry):
        with pytest.raises(InvalidInput, match="callable"):
            call([])
    assert subscribe().describe() == Progress("totals", 0, 1, 0)


def test_a_file_of_an_older_refold_opened_for_reading_has_no_subscriptions(open_store, raw):
    open_store().close()
    with raw() as connection:
        connection.execute("DROP TABLE subscriptions")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm003_subscriptions'")
    assert open_store(read_only=True).subscriptions() == []
