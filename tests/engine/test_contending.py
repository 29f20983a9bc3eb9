"""Callers that want the same thing at once cost each other little, whoever of them comes first."""

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import DEADLINE_S

from refold.engine import Money
from refold.engine.errors import VersionConflict
from refold.engine.service import contending
from refold.engine.service.contending import Turns, retried

CALLERS = 24


@pytest.fixture
def refused(monkeypatch):
    """Count the appends that came too late."""
    seen = []

    class Counted(VersionConflict):
        def __init__(self, *args):
            seen.append(args)
            super().__init__(*args)

    monkeypatch.setattr("refold.eventstore.codec.VersionConflict", Counted)
    return seen


def ask(engine, number, payment_id="p-1"):
    return engine.request(
        gateway="evonet", payment_id=payment_id, refund_id=f"r-{number}", amount=Money(100, "HKD")
    )


def test_refunds_of_one_payment_asked_for_at_once_do_not_refuse_each_other(tmp_path, open_at, refused):
    """Whoever is refused has read all the others' refunds for nothing, and would be again."""
    engine = open_at(f"sqlite:///{tmp_path / 'refunds.db'}")
    together = threading.Barrier(CALLERS)

    def asked(number):
        together.wait(DEADLINE_S)
        return ask(engine, number)

    with ThreadPoolExecutor(CALLERS) as threads:
        assert len({view.refund_id for view in threads.map(asked, range(CALLERS))}) == CALLERS
    assert refused == []
    assert engine.payment("evonet", "p-1").refunds == CALLERS


def test_a_batch_asks_without_waiting_for_who_waits_for_it(tmp_path, open_at, hook_appends):
    engine = open_at(f"sqlite:///{tmp_path / 'refunds.db'}", timeout_s=2.0)
    arrived = hook_appends(engine.store)
    with ThreadPoolExecutor(1) as threads:
        with engine.store.batch():
            waiting = threads.submit(ask, engine, 1)
            assert arrived.wait(DEADLINE_S)
            ask(engine, 2)
        assert waiting.result(DEADLINE_S).refund_id == "r-1"


@pytest.fixture
def hook_appends(monkeypatch):
    """Tell when another thread is about to append."""

    def hooked(store):
        arrived, append, here = threading.Event(), type(store).append, threading.get_ident()

        def told(self, *args, **options):
            if threading.get_ident() != here:
                arrived.set()
            return append(self, *args, **options)

        monkeypatch.setattr(type(store), "append", told)
        return arrived

    return hooked


# ---- turns


def test_a_stream_is_one_callers_at_a_time():
    turns, inside, together = Turns(), [], threading.Barrier(CALLERS)
    most = []

    def wants():
        together.wait(DEADLINE_S)
        for _ in range(50):
            with turns.of("a"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)  # lets others in, where others may
                inside.pop()

    with turns.of("b"), ThreadPoolExecutor(CALLERS) as threads:
        for wanted in [threads.submit(wants) for _ in range(CALLERS)]:
            wanted.result(DEADLINE_S)
    assert max(most) == 1


def test_who_has_a_turn_may_take_it_once_more(monkeypatch):
    """A hook that is told of a refund may ask for the next one."""
    monkeypatch.setattr(contending, "_PATIENCE_S", 2 * DEADLINE_S)
    turns, taken = Turns(), []

    def wants():
        with turns.of("a"):
            taken.append(_entered(turns))

    caller = threading.Thread(target=wants, daemon=True)
    caller.start()
    caller.join(DEADLINE_S)
    assert taken == [True]


def test_a_turn_ends_with_an_error():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.of("a"):
        raise ZeroDivisionError
    taken = []
    other = threading.Thread(target=lambda: taken.append(_entered(turns)))
    other.start()
    other.join(DEADLINE_S)
    assert taken == [True]


def test_who_gets_no_turn_in_time_goes_on_without(monkeypatch):
    monkeypatch.setattr(contending, "_PATIENCE_S", 0.0)
    turns, taken = Turns(), []
    with turns.of("a"):
        other = threading.Thread(target=lambda: taken.append(_entered(turns)))
        other.start()
        other.join(DEADLINE_S)
    assert taken == [True]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_waits_for_no_turn_of_its_parent(monkeypatch):
    monkeypatch.setattr(contending, "_PATIENCE_S", 2 * DEADLINE_S)
    turns, held, forked = Turns(), threading.Event(), threading.Event()

    def holds():
        with turns.of("a"):
            held.set()
            forked.wait(DEADLINE_S)

    other = threading.Thread(target=holds)
    other.start()
    assert held.wait(DEADLINE_S)
    child = multiprocessing.get_context("fork").Process(target=_entered, args=(turns,))
    child.start()
    forked.set()
    child.join(DEADLINE_S)
    ended = child.exitcode
    child.kill()
    other.join(DEADLINE_S)
    assert ended == 0


def _entered(turns):
    with turns.of("a"):
        return True


def test_turns_nobody_waits_for_are_forgotten():
    turns = Turns()
    for number in range(100):
        with turns.of(f"payment-{number}"):
            pass
    assert len(turns._turns) == 0


# ---- trying again


@pytest.fixture
def pauses(monkeypatch):
    """The pauses that were made, in seconds; none is waited for."""
    made = []

    class Pause:
        def wait(self, pause_s):
            made.append(pause_s)

    monkeypatch.setattr(contending.threading, "Event", Pause)
    return made


def test_another_writer_is_made_room_for_in_pauses_that_grow(pauses):
    tries = iter([VersionConflict("a", 1, 2)] * 12)

    def attempt():
        for error in tries:
            raise error
        return "done"

    assert retried(attempt) == "done"
    assert pauses == [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, *[0.064] * 4]


def test_it_ends_with_the_conflict(pauses):
    tried = []

    def attempt():
        tried.append(1)
        raise VersionConflict("a", 1, 2)

    with pytest.raises(VersionConflict):
        retried(attempt)
    assert len(tried) == 100
