"""Consumers that die, stall, meet and take over: no change is applied twice, and none is lost."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest

from refold.engine.domain.wire import time_text
from refold.engine.errors import CheckpointConflict
from refold.engine.ports import Handled
from refold.eventstore import turn

LONG_S = 60
"""Seconds after which a test gives up waiting for what happens at once."""


class Killed(BaseException):
    """Ends a handler as the end of its process would: nothing catches it."""


class Held:
    """A handler that goes on with an event only when it is told to leave."""

    def __init__(self, handler):
        self._handler = handler
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, event):
        self.entered.set()
        self.leave.wait(LONG_S)
        return self._handler(event)


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
    new_handler, clock, put, subscribe, seen, totals
):
    put("abc")
    slow, fast = new_handler(), new_handler()

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


def test_a_lease_is_renewed_while_its_holder_is_alive(new_handler, clock, put, subscribe, seen):
    put("abcdef")
    other = new_handler()
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


def test_of_two_consumers_one_works_and_the_other_takes_over(new_handler, put, subscribe, seen, live, totals):
    put("ab")
    held = Held(seen)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(subscribe().run, held, stop=stop)
        assert held.entered.wait(LONG_S)
        other = new_handler()
        live(subscribe(), other)
        stop.set()
        held.leave.set()
        working.result(LONG_S)
    assert subscribe().wait_for(put("c"), timeout_s=LONG_S)
    assert seen + other == ["a1", "b1", "c1"]
    assert totals() == {"a": 1, "b": 1, "c": 1}


def test_once_is_over_when_another_consumer_has_done_it(new_handler, put, subscribe, seen):
    put("ab")
    held = Held(seen)
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(subscribe().run, held, once=True)
        assert held.entered.wait(LONG_S)
        second = pool.submit(subscribe().run, new_handler(), once=True)
        held.leave.set()
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


# ---- a holder whose clock was ahead


@pytest.fixture
def stopwatch(monkeypatch):
    """The seconds that the stopwatch of leases shows; every look at it adds one."""
    shown = count()
    monkeypatch.setattr(turn, "time", SimpleNamespace(monotonic=lambda: next(shown)))


@pytest.fixture
def ahead(log, clock):
    """Take the lease of a subscription as a process does whose clock is days ahead; return how."""

    def claim(name="subscription totals"):
        day = clock() + timedelta(days=3)
        until = time_text(day + timedelta(seconds=30))
        held = log.lease(name)
        if held is not None:
            log.release(held.token)
        assert log.claim(name, holder="process 1", now=time_text(day), until=until)

    return claim


class Looking(threading.Event):
    """Ends what waits after so many pauses; between them something is done."""

    def __init__(self, most, meanwhile=lambda: None):
        super().__init__()
        self.pauses, self._most, self._meanwhile = 0, most, meanwhile

    def wait(self, timeout=None):
        self.pauses += 1
        self._meanwhile()
        if self.pauses == self._most:
            self.set()
        return self.is_set()


def test_a_consumer_that_died_with_its_clock_days_ahead_is_replaced(
    stopwatch, ahead, put, subscribe, seen, totals, logs
):
    """After the time of a lease, by the stopwatch of who waits; and somebody is told that a clock is wrong."""
    put("ab")
    ahead()
    looking = Looking(200)

    def handle(event):
        if event.stream == "refund-b":
            looking.set()
        return seen(event)

    assert subscribe(lease_s=30).run(handle, stop=looking) == Handled(2, 0)
    assert looking.pauses == 30
    assert totals() == {"a": 1, "b": 1}
    (told,) = [each for each in logs if each["event"] == "lease.taken_over"]
    assert (told["lease"], told["holder"]) == ("subscription totals", "process 1")


def test_one_that_is_alive_is_not_replaced_however_far_ahead_its_clock_is(
    stopwatch, ahead, put, subscribe, seen
):
    """It renews its lease, which can be seen."""
    put("ab")
    ahead()
    looking = Looking(200, ahead)
    done = subscribe(lease_s=30).run(lambda event: looking.set() or seen(event), stop=looking)
    assert (done, seen) == (Handled(0, 0), [])


def test_one_that_is_not_dead_after_all_commits_nothing(
    stopwatch, clock, put, subscribe, new_handler, totals
):
    """Its clock is ahead, so it takes its lease for held; it is fenced off as any other."""
    put("a")
    slow, fast = new_handler(), new_handler()

    def stalls(event):
        clock.now -= timedelta(days=3)
        assert subscribe(lease_s=30).run(fast, stop=Looking(200), once=True) == Handled(1, 0)
        clock.now += timedelta(days=3)
        return slow(event)

    clock.now += timedelta(days=3)
    assert subscribe(lease_s=30).run(stalls, once=True) == Handled(0, 0)
    assert (slow, fast, totals()) == (["a1"], ["a1"], {"a": 1})


def test_dead_letters_are_retried_behind_a_retry_that_died_with_its_clock_days_ahead(
    stopwatch, ahead, put, subscribe, seen
):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)
    seen.poisoned.clear()
    ahead("dead letters totals")
    with pytest.raises(CheckpointConflict, match="being retried"):
        subscribe(lease_s=30).retry(seen, stop=Looking(20))
    assert subscribe(lease_s=30).retry(seen, stop=Looking(200)) == Handled(1, 0)


def test_a_retry_that_has_waited_for_such_a_lease_takes_it_once_it_is_given_back(
    stopwatch, ahead, log, put, subscribe, seen
):
    put("a")
    seen.poisoned["refund-a"] = ValueError()
    subscribe().run(seen, once=True)
    seen.poisoned.clear()
    ahead("dead letters totals")
    looking = Looking(
        200, lambda: looking.pauses == 3 and log.release(log.lease("dead letters totals").token)
    )
    assert subscribe(lease_s=30).retry(seen, stop=looking) == Handled(1, 0)
    assert looking.pauses == 3
