"""What a subscription delivers: which events, how often, in which order, and in which chunks."""

import threading
import tracemalloc
from datetime import timedelta

import pytest
from totals import TOTALS

from refold.engine.domain.wire import time_text
from refold.engine.errors import InvalidInput
from refold.engine.ports import Filter, Handled, Progress, Upsert
from refold.eventstore import turn

LONG_S = 60
"""Seconds after which a test gives up waiting for what happens at once."""

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


@pytest.mark.parametrize("lease_s", [1, 60])
def test_nobody_takes_over_while_a_handler_that_failed_is_not_called_again_yet(
    log, put, subscribe, seen, clock, lease_s
):
    """However short the lease is, and however long the pause: who takes over counts the attempts anew."""
    put(["refund-bad"])
    seen.poisoned["refund-bad"] = ValueError()
    waited = []

    class Pause(threading.Event):
        def wait(self, timeout=None):
            clock.tick(timeout)
            now, until = time_text(clock()), time_text(clock() + timedelta(seconds=lease_s))
            assert log.claim("subscription totals", holder="other", now=now, until=until) is None
            waited.append(timeout)
            return False

    done = subscribe(attempts=4, backoff_s=20, lease_s=lease_s).run(seen, stop=Pause(), once=True)
    assert done == Handled(0, 1)
    assert len(seen) == 4
    assert sum(waited) == pytest.approx(20 + 30 + 30)


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


async def a_coroutine(event):
    """Never run."""


async def an_async_generator(event):
    yield event


@pytest.mark.parametrize("handler", [a_coroutine, an_async_generator], ids=lambda each: each.__name__)
def test_a_handler_that_would_never_run_sets_nothing_aside(put, subscribe, handler):
    put("a")
    ended = threading.Event()
    ended.set()
    for call in (subscribe().run, subscribe().retry):
        with pytest.raises(InvalidInput, match="give a plain function"):
            call(handler, stop=ended)
    assert subscribe().describe() == Progress("totals", 0, 1, 0)


@pytest.mark.parametrize(
    "given",
    [
        [Upsert(TOTALS, ("x", "1"))],
        [Upsert(TOTALS, ("x",))],
        [Upsert(TOTALS, ("\0", 1))],
        [Upsert(TOTALS, ("x", 2**63))],
        ["x"],
        7,
    ],
    ids=["another kind", "too few values", "a NUL", "too large", "no change", "no list"],
)
def test_a_row_that_cannot_be_one_sets_its_event_aside_and_others_go_on(put, subscribe, totals, given):
    """Also when it is tried again."""
    put(["refund-bad", "refund-good"])

    def handler(event):
        return given if event.stream == "refund-bad" else [Upsert(TOTALS, (event.stream, 1))]

    member = subscribe(attempts=2)
    assert member.run(handler, once=True) == Handled(1, 1)
    assert totals() == {"good": 1}
    assert member.retry(handler) == Handled(0, 1)
    assert [letter.event.stream for letter in member.dead_letters()] == ["refund-bad"]


def test_a_file_of_an_older_refold_opened_for_reading_has_no_subscriptions(open_store, raw):
    open_store().close()
    with raw() as connection:
        connection.execute("DROP TABLE subscriptions")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm003_subscriptions'")
    assert open_store(read_only=True).subscriptions() == []
