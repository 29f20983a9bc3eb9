"""A store that fails at any moment of a worker's round makes it forget nothing."""

import pytest

from refold.engine import Money, State
from refold.engine.errors import StoreBusy
from refold.engine.service import agenda
from refold.engine.testing.scripted_transport import NOT_SENT


@pytest.fixture
def failing(monkeypatch):
    """Let the reading of refunds for the agenda fail, the given times out of all."""
    read, calls = agenda.load_refund, []

    def fail(*numbers):
        def load(store, refund_id):
            calls.append(refund_id)
            if len(calls) in numbers:
                raise StoreBusy(5)
            return read(store, refund_id)

        monkeypatch.setattr(agenda, "load_refund", load)

    return fail


def planned(store, gateways, clock):
    return agenda.Agenda(store, {gateway.name: gateway for gateway in gateways()}, clock)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_was_open_at_the_start_is_not_forgotten(store, gateways, clock, ask, failing, number):
    for n in range(3):
        ask(f"r-{n}", payment_id=f"p-{n}")
    plan = planned(store, gateways, clock)
    failing(number)
    with pytest.raises(StoreBusy):
        plan.catch_up()
    plan.catch_up()
    assert len(plan) == 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_was_appended_since_is_not_forgotten(store, gateways, clock, ask, failing, number):
    plan = planned(store, gateways, clock)
    plan.catch_up()
    for n in range(3):
        ask(f"r-{n}", payment_id=f"p-{n}")
    failing(number)
    with pytest.raises(StoreBusy):
        plan.catch_up()
    plan.catch_up()
    assert len(plan) == 3


@pytest.mark.parametrize("numbers", [(number,) for number in range(1, 10)] + [(4, 5, 6, 7)])
def test_one_worker_goes_on_after_every_failure(engine, ask, clock, failing, numbers, monkeypatch):
    """Threads that finished together are planned one after the other: a failure in between loses none of them."""
    for n in range(3):
        ask(f"r-{n}", payment_id=f"p-{n}")
    failing(*numbers)
    monkeypatch.setattr("refold.engine.service.working._TICK_S", 0)
    done = Done(clock)
    report = engine.work(done, on_progress=done.look)
    assert (report.under_way, report.rechecks, done.given_up) == (0, 3, False)
    assert {engine.refund(f"r-{n}").state for n in range(3)} == {State.SUCCESS}


class Done:
    """A stop that is set once nothing is waiting or under way, or after far too many rounds; time passes meanwhile."""

    def __init__(self, clock):
        self._clock, self._rounds, self._set = clock, 0, False
        self.given_up = False

    def look(self, report):
        self._rounds += 1
        self._clock.tick(30)
        self.given_up = self._rounds > 3000
        contacts = sum(report.contacts.values())
        # Nothing is late: what waits is an outcome that is asked about again after a day.
        self._set = self.given_up or (contacts >= 3 and report.rechecks == 3 and not report.under_way)

    def is_set(self):
        return self._set


def test_refunds_that_cannot_even_be_built_do_not_keep_a_gateway_from_being_contacted(
    engine, ask, script, clock
):
    """They say nothing about the gateway: its breaker stays closed."""
    for n in range(8):
        ask(f"bad-{n}")
    engine.register_payment(gateway="evonet", payment_id="p-1", captured=Money(6000, "HKD"))
    report = engine.work(once=True)
    assert (report.resting, report.contacts["evonet", "submit", "not_sent"]) == ({}, 8)
    ask("good", payment_id="p-2")
    assert engine.work(once=True).resting == {}
    assert engine.refund("good").state is State.SUCCESS


def test_a_gateway_that_cannot_be_reached_is_left_alone(engine, ask, script):
    script.says(post=[NOT_SENT])
    for n in range(8):
        ask(f"r-{n}", payment_id=f"p-{n}")
    assert set(engine.work(once=True).resting) == {"evonet"}
