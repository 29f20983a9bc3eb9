"""What becomes of events that cannot be handled, and of a store that fails meanwhile."""

import threading

import pytest
from structlog.testing import capture_logs
from totals import TOTALS

from refold.engine.errors import (
    CheckpointConflict,
    EventCorrupt,
    EventMissing,
    StoreBusy,
    StoreReadOnly,
    StoreUnavailable,
    ViewStale,
)
from refold.engine.ports import Column, Handled, Progress, Upsert, View

LONG_S = 60
"""Seconds after which a test gives up waiting for what happens at once."""
SQLITE_ONLY = pytest.mark.parametrize("kind", ["sqlite"])


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
    assert first.reason.startswith("raised at conftest.py:")
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


def test_an_event_never_waits_behind_one_that_was_settled_meanwhile(
    new_handler, put, subscribe, seen, totals
):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)
    seen.poisoned.clear()
    put("ab")

    def repaired_meanwhile(event):
        if event.stream == "refund-b" and "a1" not in repaired:
            subscribe().retry(repaired)
        return seen(event)

    repaired = new_handler()
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


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("by", ["the handler", "its rows"])
def test_a_view_that_nobody_has_made_ends_the_run(log, put, subscribe, by):
    """No pause makes it, and a log line every half second would be all that anybody saw."""
    put("a")
    nowhere, stop = View("nowhere", (Column("id", str),), ("id",)), threading.Event()

    def handle(_):
        handled.append(1)
        if len(handled) == 2:
            stop.set()  # what should have ended has not
        if by == "the handler":
            log.row(nowhere, ("a",))
        return [Upsert(nowhere, ("a",))]

    handled = []
    with pytest.raises(ViewStale, match="nowhere"):
        subscribe().run(handle, stop=stop)
    assert subscribe().lag == 1


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
